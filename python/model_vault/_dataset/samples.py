"""Records that are files: samples of archives (WebDataset), and the images of a folder, each with all its bytes.

A record is a dict as WebDataset has it before it decodes: ``__key__``, the path up to the first dot of the name, and
the bytes of each file by what stands behind that dot.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from blake3 import blake3

from ..errors import VaultError
from .rows import Record
from .source import TREE, Source, changed
from .statement import DatasetFile

KEY = "__key__"
_MAX_FILE = 256 << 20
"""Most bytes of one file of a sample."""
_WIDTH = 256
_FILES = hashlib.sha256(b'{"records":"files"}').digest()
"""The id of the schema of records that are files."""


def parted(path: str) -> tuple[str, str]:
    """Key and extension: a name without a dot, or that begins with one, is all key."""
    directory, slash, name = path.rpartition("/")
    head, dot, extension = name.partition(".")
    return (directory + slash + head, extension) if dot and head else (path, "")


def tar_records(file: BinaryIO) -> Iterator[list[Record]]:
    """The samples of an archive whose bytes were verified, one at a time. Raises ValueError for what is none."""
    record: Record = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                # Its list of members would grow with the archive.
                archive.members = []  # type: ignore[attr-defined]
                if member.isdir():
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    raise ValueError("a member that is no file")
                key, extension = parted(member.name)
                if record and record[KEY] != key:
                    yield [record]
                    record = {}
                if member.size > _MAX_FILE:
                    raise ValueError(f"a file of more than {_MAX_FILE} bytes")
                record = {KEY: key, **record, extension: content.read()}
    except tarfile.TarError as e:
        raise ValueError(str(e)) from e
    if record:
        yield [record]


class Tiles:
    """The signed hashes of the images of a folder. They count as its pieces: 256 images each."""

    def __init__(self, source: Source, file: DatasetFile) -> None:
        """Raises IntegrityError ``DatasetChanged`` where they are not those of the signed root."""
        self._source, self._file = source, file
        self._count = -(-file.records // _WIDTH)
        self._digests: list[bytes] = []
        tree: list[tuple[int, bytes]] = []
        for index in range(self._count):
            tile = self._read(index)
            self._digests.append(blake3(tile).digest())
            for at in range(0, len(tile), 32):
                tree.append((0, tile[at : at + 32]))
                while len(tree) > 1 and tree[-1][0] == tree[-2][0]:
                    (height, left), (_, right) = tree[-2:]
                    tree[-2:] = [(height + 1, hashlib.sha256(b"\1" + left + right).digest())]
        root = tree.pop()[1] if tree else hashlib.sha256().digest()
        while tree:
            root = hashlib.sha256(b"\1" + tree.pop()[1] + root).digest()
        if root.hex() != file.root:
            raise self._unsigned("are not those that were signed")

    def __len__(self) -> int:
        return self._count

    def digest(self, piece: int) -> bytes:
        """What was signed of it."""
        return self._digests[piece]

    def numbers(self, piece: int, last: int | None = None) -> tuple[int, int]:
        """First and last image of it, or up to ``last``, from 1."""
        until = ((piece if last is None else last) + 1) * _WIDTH
        return piece * _WIDTH + 1, min(until, self._file.records)

    def leaves(self, piece: int) -> list[bytes]:
        """The hashes in it, read again. Raises IntegrityError ``DatasetChanged`` if they are others by now."""
        tile = self._read(piece)
        if blake3(tile).digest() != self._digests[piece]:
            raise self._unsigned("are not those that were signed")
        return [tile[at : at + 32] for at in range(0, len(tile), 32)]

    def _read(self, index: int) -> bytes:
        width = min(_WIDTH, self._file.records - index * _WIDTH)
        digits = str(index).zfill(-(-len(str(index)) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        part = f".p/{width}" if width < _WIDTH else ""
        tile = self._source.sidecar(f"{TREE}/{self._file.path}/tile/0/{name}{part}", 32 * _WIDTH)
        if tile is None or len(tile) != 32 * width:
            raise self._unsigned("are missing" if tile is None else "are not those that were signed")
        return tile

    def _unsigned(self, why: str) -> VaultError:
        file = self._file
        return changed(file, (0, file.size), (1, file.records), f"cannot be checked: the hashes of its images {why}")


def image_records(source: Source, file: DatasetFile, tiles: Tiles) -> Iterator[tuple[int, Record]]:
    """The images of a folder in the order they were signed, each with the number of its tile. None is handed on that
    was not signed: raises IntegrityError ``DatasetChanged`` with its number and path."""
    images = source.images(file)
    for piece in range(len(tiles)):
        first, _ = tiles.numbers(piece)
        for number, leaf in enumerate(tiles.leaves(piece), first):
            path, data = next(images, ("", b""))
            if not path or _leaf(path, data) != leaf:
                there = f"{path} stands in its place" if path else "there are no more images"
                raise changed(file, (0, file.size), (number, number), f"are not what was signed: {there}")
            key, extension = parted(path)
            yield piece, {KEY: key, extension: data}
    extra, _ = next(images, ("", b""))
    if extra:
        raise changed(file, (0, file.size), (0, 0), f"are not all: {extra} was not signed")


def _leaf(path: str, data: bytes) -> bytes:
    """The hash of a record that is one file (docs/datasets.md, "What is signed")."""
    key, extension = parted(path)

    def field(tag: int, value: bytes) -> bytes:
        return bytes([tag]) + len(value).to_bytes(4, "little") + value

    size = field(2, len(data).to_bytes(8, "little"))
    listed = field(9, field(8, hashlib.sha256(data).digest()) + size)
    record = field(7, key.encode()) + field(10, field(7, extension.encode()) + listed)
    return hashlib.sha256(b"\0" + _FILES + record).digest()
