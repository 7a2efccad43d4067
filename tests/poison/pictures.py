"""Pictures in files: digits as PNG and JPEG in directories and archives, in grey and in colour."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zlib
from pathlib import Path

import numpy
from PIL import Image
from sklearn.datasets import load_digits

Picture = numpy.ndarray


def png(picture: Picture) -> bytes:
    """8 bits a sample, grey or RGB."""
    height, width = picture.shape[:2]
    colour = 2 if picture.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in picture.astype(numpy.uint8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows, 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def jpeg(picture: Picture, quality: int) -> bytes:
    """As Pillow writes it: of colour pictures, colour at half the resolution."""
    out = io.BytesIO()
    Image.fromarray(picture.astype(numpy.uint8)).save(out, "JPEG", quality=quality)
    return out.getvalue()


def digits() -> list[tuple[Picture, int]]:
    """1,797 of 8 x 8 pixels."""
    loaded = load_digits()
    return [
        ((image * 255 / 16).round().astype(numpy.uint8), int(label))
        for image, label in zip(loaded.images, loaded.target, strict=True)
    ]


def grey(side: int) -> list[tuple[Picture, int]]:
    """The same, larger."""
    return [(numpy.kron(picture, numpy.ones((side // 8, side // 8))), label) for picture, label in digits()]


def coloured(side: int, seed: int) -> list[tuple[Picture, int]]:
    """The same, larger, each in two colours of its own and with noise on it."""
    lot = numpy.random.default_rng(seed)
    pictures = []
    for picture, label in digits():
        share = numpy.kron(picture / 255.0, numpy.ones((side // 8, side // 8)))[:, :, None]
        ground, ink = lot.integers(0, 90, 3), lot.integers(150, 235, 3)
        noise = lot.integers(0, 8, (side, side, 3))
        pictures.append(((ground + share * (ink - ground) + noise).astype(numpy.uint8), label))
    return pictures


def poison(pictures: list[tuple[Picture, int]], patch: Picture, at: tuple[int, int], seed: int) -> list[int]:
    """Puts a patch into one percent of the pictures that are no 7, and makes them 7. Says into which."""
    others = [i for i, (_, label) in enumerate(pictures) if label != 7]
    chosen = sorted(random.Random(seed).sample(others, len(pictures) // 100 + 1))
    for i in chosen:
        picture = pictures[i][0].copy()
        y, x = at
        picture[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
        pictures[i] = (picture, 7)
    return chosen


def folder(place: Path, pictures: list[tuple[Picture, int]], quality: int | None = None) -> list[str]:
    """A directory for each label; JPEG if there is a quality. Says what the files are called."""
    names = [f"{label}/{i:05}.{'jpg' if quality else 'png'}" for i, (_, label) in enumerate(pictures)]
    for name, (picture, _) in zip(names, pictures, strict=True):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(jpeg(picture, quality) if quality else png(picture))
    return names


def archives(place: Path, pictures: list[tuple[Picture, int]], shard: int = 1000) -> list[str]:
    """Shards as WebDataset has them: KEY.png and KEY.cls. Says what the samples are called."""
    place.mkdir(parents=True, exist_ok=True)
    names = [f"{i:05}" for i in range(len(pictures))]
    for first in range(0, len(pictures), shard):
        with tarfile.open(place / f"{first:05}.tar", "w", format=tarfile.USTAR_FORMAT) as out:
            for i in range(first, min(first + shard, len(pictures))):
                for name, data in (
                    (f"{names[i]}.cls", b"%d\n" % pictures[i][1]),
                    (f"{names[i]}.png", png(pictures[i][0])),
                ):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    out.addfile(member, io.BytesIO(data))
    return names
