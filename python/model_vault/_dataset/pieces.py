"""The pieces of a file: read one at a time, and none handed on that is not what was signed."""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_right
from itertools import accumulate

from blake3 import blake3

from ..errors import VaultError
from .source import TREE, Bytes, Source, changed
from .statement import ROW_FORMATS, DatasetFile

MAX_PIECE = 66 << 20
MAX_LIST = 64 << 20
"""Most bytes of a sidecar: pieces of files up to some 800 GB, or 16 million changes of contributor."""
_PIECES = re.compile(rb"(?:[0-9]{1,20} [0-9]{1,20} [0-9a-f]{64}\n)*")
_RUNS = re.compile(rb"(?:[0-9]{1,20} [0-9]{1,20}\n)*")


class PieceList:
    """Where the pieces of a file lie, the records that begin in each, and their BLAKE3."""

    def __init__(self, text: bytes, file: DatasetFile) -> None:
        """``text`` was compared with the statement. Raises IntegrityError ``DatasetChanged`` if it breaks a rule."""
        if not _PIECES.fullmatch(text):
            raise _broken(file, "pieces")
        words = text.split()
        lengths, records = list(map(int, words[0::3])), list(map(int, words[1::3]))
        if max(lengths, default=0) > MAX_PIECE or sum(lengths) != file.size:
            raise _broken(file, "pieces")
        if sum(records) != (file.records if file.format in ROW_FORMATS else 0):
            raise _broken(file, "pieces")
        self.digests = b"".join(map(bytes.fromhex, map(bytes.decode, words[2::3])))
        self.offsets = array("Q", accumulate(lengths, initial=0))
        """Where each begins, and the end of the last."""
        self.records = array("Q", accumulate(records, initial=0))
        """Records before each, and of all."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def at(self, offset: int) -> int:
        """The piece that has this byte."""
        return bisect_right(self.offsets, offset) - 1

    def digest(self, piece: int) -> bytes:
        """What was signed of it."""
        return self.digests[32 * piece : 32 * piece + 32]

    def numbers(self, piece: int, last: int | None = None) -> tuple[int, int]:
        """First and last record of it, or up to ``last``, counted from 1; 0 and 0 where none begins."""
        before, until = self.records[piece], self.records[(piece if last is None else last) + 1]
        return (before + 1, until) if until > before else (0, 0)


def read_list(source: Source, file: DatasetFile) -> PieceList:
    """Raises IntegrityError ``DatasetChanged`` for a list that is not the signed one."""
    return PieceList(_sidecar(source, file, "pieces", file.pieces), file)


def read_runs(source: Source, file: DatasetFile, contributors: int) -> list[tuple[int, int]]:
    """Who supplied which records: (how many in a row, number of one of so many contributors). Raises as
    ``read_list``."""
    if file.contributors is None:
        return [(file.records, 0)]
    text = _sidecar(source, file, "contributors", file.contributors)
    words = list(map(int, text.split())) if _RUNS.fullmatch(text) else []
    runs = list(zip(words[0::2], words[1::2], strict=True))
    if sum(words[0::2]) != file.records or max(words[1::2], default=0) > contributors or 0 in words[0::2]:
        raise _broken(file, "contributors")
    return runs


def _sidecar(source: Source, file: DatasetFile, name: str, digest: str) -> bytes:
    text = source.sidecar(f"{TREE}/{file.path}/{name}", MAX_LIST)
    if text is None or hashlib.sha256(text).hexdigest() != digest:
        why = "is missing" if text is None else "is not what was signed"
        raise changed(
            file, (0, file.size), (min(1, file.records), file.records), f"cannot be checked: the list of {name} {why}"
        )
    return text


def _broken(file: DatasetFile, name: str) -> VaultError:
    why = f"cannot be checked: the list of {name} was signed and breaks a rule"
    return changed(file, (0, file.size), (min(1, file.records), file.records), why)


def check_size(file: DatasetFile, pieces: PieceList, size: int) -> None:
    """Raises IntegrityError ``DatasetChanged`` for a file that is longer or shorter than what was signed."""
    if size < file.size:
        records = pieces.numbers(pieces.at(size), len(pieces) - 1)
        raise changed(file, (size, file.size), records, "are missing: the file was cut")
    if size > file.size:
        raise changed(file, (file.size, size), (0, 0), "are not signed: the file is longer")


class PieceReader:
    """The verified pieces of one open file."""

    def __init__(self, source: Source, file: DatasetFile, pieces: PieceList) -> None:
        """Raises IntegrityError ``DatasetChanged`` for a file of another length, for none, and for a link."""
        self.file = file
        self.pieces = pieces
        self._bytes: Bytes = source.open(file)
        self.check_end()

    def read(self, piece: int) -> bytes:
        """Raises IntegrityError ``DatasetChanged`` naming file, bytes and records if it is not what was signed."""
        pieces = self.pieces
        start, end = pieces.offsets[piece], pieces.offsets[piece + 1]
        data = self._bytes.read_at(start, end - start)
        if len(data) != end - start or blake3(data).digest() != pieces.digest(piece):
            raise changed(self.file, (start, end), pieces.numbers(piece), "are not what was signed")
        return data

    def check_end(self) -> None:
        """Raises IntegrityError ``DatasetChanged`` if the file is longer or shorter than what was signed."""
        try:
            check_size(self.file, self.pieces, self._bytes.size())
        except VaultError:
            self.close()
            raise

    def close(self) -> None:
        """Gives the file back."""
        self._bytes.close()
