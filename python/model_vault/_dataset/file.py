"""A file over verified pieces: what pandas and pyarrow read from."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..errors import VaultError
from .pieces import PieceReader


class PieceFile(io.RawIOBase):
    """Read-only and seekable. Each piece is verified when its first byte is asked for; one is held at a
    time, and the next one while a file is read from its start to its end. After a
    piece that is not what was signed, every read fails as that one did."""

    def __init__(self, reader: PieceReader, note: Callable[[int], None]) -> None:
        """``note`` is told of every piece when it was verified first."""
        self._reader = reader
        self._note = note
        self._noted = bytearray(len(reader.pieces))
        self._at = 0
        self._held = -1
        self._piece = memoryview(b"")
        self._failure: VaultError | None = None
        self._worker: ThreadPoolExecutor | None = None
        self._ahead: tuple[int, Future[bytes]] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._reader.file.size}[whence]
        if start + offset < 0:
            raise ValueError("a place before the start of the file")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self.closed:
            raise ValueError("the file is closed")
        target = memoryview(buffer).cast("B")
        if self._at >= self._reader.file.size or not target:
            return 0
        index = self._reader.pieces.at(self._at)
        piece = self._verified(index)
        begin = self._at - self._reader.pieces.offsets[index]
        count = min(len(target), len(piece) - begin)
        target[:count] = piece[begin : begin + count]
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._take_ahead()
            if self._worker is not None:
                self._worker.shutdown()
            self._reader.close()
            self._piece = memoryview(b"")
        super().close()

    def _verified(self, index: int) -> memoryview:
        if self._failure is not None:
            raise self._failure
        if index != self._held:
            last = len(self._reader.pieces) - 1
            try:
                piece = self._take_ahead(index) or self._reader.read(index)
                if index == last:
                    self._reader.check_end()
            except VaultError as e:
                self._failure = e
                raise
            if index == self._held + 1 < last:
                self._read_ahead(index + 1)
            self._held, self._piece = index, memoryview(piece)
            if not self._noted[index]:
                self._noted[index] = 1
                self._note(index)
        return self._piece

    def _read_ahead(self, index: int) -> None:
        """Has a piece read and hashed while the caller works on the one before: hashing needs no interpreter lock."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "model-vault-ahead")
        self._ahead = index, self._worker.submit(self._reader.read, index)

    def _take_ahead(self, index: int = -1) -> bytes | None:
        """What was read ahead, if it is that; nothing is read ahead any more. A failure is left to whom it concerns."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        number, reading = ahead
        if isinstance(reading.exception(), VaultError | OSError):
            return None
        return reading.result() if number == index else None
