"""Where the bytes of a dataset come from: a directory or file on disk, or a sealed version in the vault. None of it is
trusted: whoever reads compares what comes with what was signed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from .._fetch import Artifact
from ..errors import VaultError, error, from_os
from .statement import DatasetFile

STATEMENT = "dataset.sig"
TREE = "dataset.tree"
_HINT = "do not train on it before you know who changed it and why; vault dataset verify names the records"
MAX_IMAGE = 256 << 20
"""Most bytes of an image that is a record."""
_AHEAD = 8 << 20
"""Bytes that are fetched at once while a member is read from its start to its end."""


_IMAGES = ("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif", "jxl", "ppm")


def is_image(path: str) -> bool:
    """Whether a file is called as images are (docs/datasets.md)."""
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    return bool(dot) and extension.lower() in _IMAGES


class Bytes(Protocol):
    """A file that is open."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Shorter where the file ends."""

    def size(self) -> int:
        """Bytes it has now."""

    def close(self) -> None:
        """Gives it back."""


class Source(Protocol):
    """The files of a dataset and what lies beside them."""

    where: str
    """For messages."""

    def sidecar(self, name: str, limit: int) -> bytes | None:
        """``dataset.sig``, or a file below ``dataset.tree``; None if it is not there."""

    def size(self, file: DatasetFile) -> int:
        """Bytes the file has. Raises IntegrityError ``DatasetChanged`` for one that is not there or no file."""

    def open(self, file: DatasetFile) -> Bytes:
        """Raises as ``size``."""

    def images(self, file: DatasetFile) -> Iterator[tuple[str, bytes]]:
        """The paths of all images in byte order, each with all its bytes. Raises LimitExceeded for one of more than
        ``MAX_IMAGE`` bytes."""


def changed(file: DatasetFile, span: tuple[int, int], records: tuple[int, int], why: str) -> VaultError:
    """Part of a file differs from what was signed: bytes from and before, records from and to (0 and 0: none)."""
    first, last = span[0], max(span[0], span[1] - 1)
    which = f"bytes {first} to {last}"
    if records[1]:
        which = f"records {records[0]} to {records[1]} ({which})"
    facts = {"first_byte": first, "last_byte": last, "first_record": records[0], "last_record": records[1]}
    details = {"file": file.path, **{key: str(value) for key, value in facts.items()}}
    return error("DatasetChanged", f"{file.path}: {which} {why}", _HINT, details=details)


def gone(file: DatasetFile, why: str) -> VaultError:
    """All of a file."""
    return changed(file, (0, file.size), (min(1, file.records), file.records), f"are not there: {why}")


class OnDisk:
    """A directory with ``dataset.sig`` in it, or a file with ``FILE.dataset.sig`` beside it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises NotFound."""
        self._path = Path(path)
        self.where = str(path)
        try:
            self._single = not stat.S_ISDIR(self._path.stat().st_mode)
        except OSError as e:
            raise from_os(e, path) from e

    def sidecar(self, name: str, limit: int) -> bytes | None:
        path = Path(f"{self._path}.{name}") if self._single else self._path / name
        try:
            with path.open("rb") as file:
                text = file.read(min(os.fstat(file.fileno()).st_size, limit) + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise from_os(e, path) from e
        if len(text) > limit:
            raise error("LimitExceeded", f"{path}: more than {limit} bytes")
        return text

    def size(self, file: DatasetFile) -> int:
        self._refuse_other(file)
        try:
            facts = os.lstat(self._path if self._single else self._path / file.path)
        except OSError as e:
            raise _why(e, file) from e
        return _regular(facts, file).st_size

    def open(self, file: DatasetFile) -> Bytes:
        self._refuse_other(file)
        parts = [self._path.name] if self._single else file.path.split("/")
        kept = os.O_RDONLY | os.O_CLOEXEC
        try:
            # Step by step from the directory: a link on the way would lead to what was not signed here.
            at = os.open(self._path.parent if self._single else self._path, kept | os.O_DIRECTORY)
            for i, part in enumerate(parts):
                flags = os.O_NONBLOCK if i == len(parts) - 1 else os.O_DIRECTORY
                try:
                    inner = os.open(part, kept | os.O_NOFOLLOW | flags, dir_fd=at)
                finally:
                    os.close(at)
                at = inner
        except OSError as e:
            raise _why(e, file) from e
        return _DiskBytes(at, file)

    def images(self, file: DatasetFile) -> Iterator[tuple[str, bytes]]:
        """One directory's names are held at a time. Links are refused."""
        for path in () if self._single else _images(self._path, ""):
            opened = self.open(replace(file, path=path))
            try:
                yield path, opened.read_at(0, _image_size(path, opened.size()))
            finally:
                opened.close()

    def _refuse_other(self, file: DatasetFile) -> None:
        if self._single and file.path != self._path.name:
            raise gone(file, f"{self.where} is not the file that was signed under this name")


def _images(directory: Path, below: str) -> Iterator[str]:
    try:
        with os.scandir(directory) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    except OSError as e:
        raise from_os(e, directory) from e
    own = (STATEMENT, TREE, f"{TREE}.new")
    # A directory stands where its paths do, which go on with a slash.
    for name, is_directory in sorted(entries, key=lambda e: os.fsencode(e[0] + "/" * e[1])):
        if below or name not in own:
            if is_directory:
                yield from _images(directory / name, f"{below}{name}/")
            elif is_image(name):
                yield below + name


class _DiskBytes:
    def __init__(self, descriptor: int, file: DatasetFile) -> None:
        self._descriptor: int | None = descriptor
        self._file = file
        try:
            _regular(os.fstat(descriptor), file)
        except VaultError:
            self.close()
            raise

    def read_at(self, offset: int, length: int) -> bytes:
        assert self._descriptor is not None  # noqa: S101 closed files are asked by nobody
        try:
            data = os.pread(self._descriptor, length, offset)
            while 0 < len(data) < length and (
                more := os.pread(self._descriptor, length - len(data), offset + len(data))
            ):
                data += more
        except OSError as e:
            raise from_os(e, self._file.path) from e
        return data

    def size(self) -> int:
        assert self._descriptor is not None  # noqa: S101
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    __del__ = close


def _image_size(path: str, size: int) -> int:
    if size > MAX_IMAGE:
        raise error("LimitExceeded", f"{path}: an image of more than {MAX_IMAGE} bytes")
    return size


def _why(failure: OSError, file: DatasetFile) -> VaultError:
    if failure.errno == errno.ELOOP:
        return gone(file, "a symbolic link stands in its place")
    if failure.errno in (errno.ENOENT, errno.ENOTDIR):
        return gone(file, "the file is missing")
    return from_os(failure, file.path)


def _regular(facts: os.stat_result, file: DatasetFile) -> os.stat_result:
    if stat.S_ISLNK(facts.st_mode):
        raise gone(file, "a symbolic link stands in its place")
    if not stat.S_ISREG(facts.st_mode):
        raise gone(file, "what is there is no regular file")
    return facts


class InVault:
    """A sealed version whose members are the files, ``dataset.sig`` and ``dataset.tree``. Bytes come in ranges as they
    are asked for; no member is held as a whole, and none is written to disk."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._sizes = {member.path: member.size for member in artifact.members}
        self.where = artifact.reference

    def sidecar(self, name: str, limit: int) -> bytes | None:
        if name not in self._sizes:
            return None
        if self._sizes[name] > limit:
            raise error("LimitExceeded", f"{self.where}: {name} has more than {limit} bytes")
        return self._artifact.read(name)

    def size(self, file: DatasetFile) -> int:
        if file.path not in self._sizes:
            raise gone(file, "the file is missing")
        return self._sizes[file.path]

    def open(self, file: DatasetFile) -> Bytes:
        return _VaultBytes(self._artifact, file.path, self.size(file))

    def images(self, file: DatasetFile) -> Iterator[tuple[str, bytes]]:
        """All members that are named so, but what lies beside the files: in one call to the vault, if they follow one
        another there."""
        found = (path for path in self._sizes if not path.startswith(f"{TREE}/") and is_image(path))
        paths = sorted(found, key=str.encode)
        for path in paths:
            _image_size(path, self._sizes[path])
        return zip(paths, self._artifact.each_unverified(paths), strict=True)


class _VaultBytes:
    def __init__(self, artifact: Artifact, path: str, size: int) -> None:
        self._artifact = artifact
        self._path = path
        self._size = size
        self._window = b""
        self._from = 0

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self._size)
        held = self._from + len(self._window)
        if not self._from <= offset <= end <= held:
            # Who goes on where it stopped will go on further; who jumps is given what it asks for.
            ahead = self._from <= offset <= held
            kept = self._window[offset - self._from :] if ahead else b""
            stop = min(max(end, offset + _AHEAD), self._size) if ahead else end
            more = self._artifact.read_unverified(self._path, offset + len(kept), stop)
            self._window, self._from = kept + more, offset
        return self._window[offset - self._from : end - self._from]

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        self._window = b""
