"""A pass over a dataset: which piece comes next, and the records in it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from ..errors import VaultError, error
from .pieces import PieceList, PieceReader, read_list, read_runs
from .receipt import ReadLog
from .rows import Columns, Csv, Decoder, Jsonl, Lines, Record
from .source import Source
from .statement import DatasetFile, DatasetStatement, Schema

_OPEN = 32
"""Files that a shuffled pass keeps open."""
WHOLE = ("parquet", "tar", "images")
"""Formats whose records no piece tells: such a file is read from its start."""
_U64 = 1 << 64
_SEPARATORS = {"csv": ",", "tsv": "\t"}
T = TypeVar("T")


class Batch(Protocol):
    """Records that were verified together, without those that are excluded."""

    def records(self) -> Iterator[list[Record]]:
        """A dict each, some at a time."""

    def columns(self) -> Columns:
        """The same, by column, all at once."""


class Layout:
    """Where the pieces and the excluded records of each file lie. The sidecars are read once."""

    def __init__(self, source: Source, statement: DatasetStatement) -> None:
        self.source = source
        names = {name for name, _ in statement.excluded}
        self._excluded = {n for n, c in enumerate(statement.contributors, 1) if c.name in names}
        self._contributors = len(statement.contributors)
        self._pieces: dict[str, PieceList] = {}
        self._dropped: dict[str, list[tuple[int, int]]] = {}

    def pieces(self, file: DatasetFile) -> PieceList:
        """Raises as ``read_list``."""
        if file.path not in self._pieces:
            self._pieces[file.path] = read_list(self.source, file)
        return self._pieces[file.path]

    def dropped(self, file: DatasetFile) -> list[tuple[int, int]]:
        """Records of the file that are excluded: first, and one after the last, from 0. Raises as ``read_runs``."""
        if not self._excluded or file.contributors is None:
            return []
        if file.path not in self._dropped:
            self._dropped[file.path] = _dropped(read_runs(self.source, file, self._contributors), self._excluded)
        return self._dropped[file.path]

    def kept(self, file: DatasetFile, start: int, end: int) -> list[slice]:
        """What is left of the records ``start`` to ``end`` (from 0, exclusive), counted from ``start``."""
        kept, at = [], start
        for first, after in self.dropped(file):
            if first < end and after > at:
                kept.append(slice(at - start, max(first, at) - start))
                at = min(after, end)
        return [*kept, slice(at - start, end - start)]


def _dropped(runs: list[tuple[int, int]], excluded: set[int]) -> list[tuple[int, int]]:
    dropped: list[tuple[int, int]] = []
    at = 0
    for count, number in runs:
        if number in excluded and count:
            begin = dropped.pop()[0] if dropped and dropped[-1][1] == at else at
            dropped.append((begin, at + count))
        at += count
    return dropped


def plan(
    files: Iterable[DatasetFile], layout: Layout, epoch: int, seed: int | None
) -> Iterator[tuple[DatasetFile, int]]:
    """All pieces, in order or by seed; a file of ``WHOLE`` counts as one.

    Raises UsageError for numbers beyond 64 bits."""
    if not 0 <= epoch < _U64 or (seed is not None and not 0 <= seed < _U64):
        raise error("InvalidArgument", "epoch and shuffle_seed are from 0 to 2^64 - 1")
    every = (
        (file, piece) for file in files for piece in range(1 if file.format in WHOLE else len(layout.pieces(file)))
    )
    if seed is None:
        return every

    def place(entry: tuple[DatasetFile, int]) -> bytes:
        return hashlib.sha256(f"{seed} {epoch} {entry[0].path} {entry[1]}".encode()).digest()

    return iter(sorted(every, key=place))


class OpenFiles:
    """The files of one pass: those used last stay open."""

    def __init__(self, layout: Layout, schema: Schema, log: ReadLog, epoch: int, *, shuffled: bool) -> None:
        self._layout = layout
        self._schema = schema
        self._log = log
        self._epoch = epoch
        self._most = _OPEN if shuffled else 1
        self._open: OrderedDict[str, _RowFile] = OrderedDict()

    def batches(self, file: DatasetFile, piece: int) -> Iterator[Batch]:
        """What is in a piece: one batch, or none where no record begins.

        Raises IntegrityError ``DatasetChanged``; ``RecordInvalid`` for a header that was not signed so."""
        if file.path not in self._open:
            if len(self._open) == self._most:
                self._open.popitem(last=False)[1].close()
            self._open[file.path] = _RowFile(self._layout, file, self._schema, self._log, self._epoch)
        self._open.move_to_end(file.path)
        return self._open[file.path].batches(piece)

    def close(self) -> None:
        """Gives them back."""
        for file in self._open.values():
            file.close()


class _RowFile:
    def __init__(self, layout: Layout, file: DatasetFile, schema: Schema, log: ReadLog, epoch: int) -> None:
        self._layout, self._file, self._log, self._epoch = layout, file, log, epoch
        self._pieces = layout.pieces(file)
        self._reader = PieceReader(layout.source, file, self._pieces)
        # What names the columns comes first, whatever comes first.
        self._header = 1 if file.format in _SEPARATORS else 0
        try:
            header = self._read(0) if self._header else b""
            self._decoder = _decoder(file.format, schema, header)
        except VaultError:
            self.close()
            raise
        except ValueError as e:
            self.close()
            raise _invalid(file, "the header", e) from None

    def batches(self, piece: int) -> Iterator[Batch]:
        if piece < self._header:
            return
        data = self._read(piece)
        if piece == len(self._pieces) - 1:
            self._reader.check_end()
        first, last = self._pieces.numbers(piece)
        if last:
            yield _PieceBatch(self._layout, self._file, self._decoder, data, first - 1, last)

    def _read(self, piece: int) -> bytes:
        data = self._reader.read(piece)
        self._log.piece(self._epoch, self._file.path, self._pieces, piece)
        return data

    def close(self) -> None:
        self._reader.close()


def _decoder(form: str, schema: Schema, header: bytes) -> Decoder:
    if form in _SEPARATORS:
        return Csv(schema, header, _SEPARATORS[form])
    return Jsonl(schema) if form == "jsonl" else Lines(schema)


def _invalid(file: DatasetFile, what: str, failure: Exception) -> VaultError:
    """Bytes that are what was signed, and no records all the same: whoever signed them used a faulty tool."""
    why = "it is not UTF-8" if isinstance(failure, UnicodeDecodeError) else str(failure)
    return error("RecordInvalid", f"{file.path}, {what}: {why}")


class _PieceBatch:
    def __init__(self, layout: Layout, file: DatasetFile, decoder: Decoder, data: bytes, start: int, end: int) -> None:
        self._layout, self._file, self._decoder, self._data = layout, file, decoder, data
        self._start, self._end = start, end

    def records(self) -> Iterator[list[Record]]:
        for at, records in self._counted(self._decoder.records(self._data), len):
            yield _only(records, self._layout.kept(self._file, at, at + len(records)))

    def columns(self) -> Columns:
        whole: dict[str, list[Any]] = {}
        for _, columns in self._counted(self._decoder.columns(self._data), lambda c: len(next(iter(c.values())))):
            for name, values in columns.items():
                whole.setdefault(name, []).extend(values)
        kept = self._layout.kept(self._file, self._start, self._end)
        return {name: _only(values, kept) for name, values in whole.items()}

    def _counted(self, chunks: Iterator[T], count: Callable[[T], int]) -> Iterator[tuple[int, T]]:
        """With the number of the first record of each. Not more, and not less, than were signed."""
        at = self._start
        what = f"records {at + 1} to {self._end}"
        try:
            for chunk in chunks:
                yield at, chunk
                at += count(chunk)
                if at > self._end:
                    break
        except (ValueError, RecursionError) as e:
            raise _invalid(self._file, what, e) from None
        if at != self._end:
            raise _invalid(self._file, what, ValueError("as many records were not signed"))


class ReadBatch:
    """Records that were read by another library, over verified bytes."""

    def __init__(self, records: list[Record], kept: list[slice]) -> None:
        self._records, self._kept = records, kept

    def records(self) -> Iterator[list[Record]]:
        yield _only(self._records, self._kept)

    def columns(self) -> Columns:
        kept = _only(self._records, self._kept)
        return {name: [record[name] for record in kept] for name in (self._records[0] if self._records else ())}


def _only(values: list[T], kept: list[slice]) -> list[T]:
    if len(kept) == 1 and kept[0] == slice(0, len(values)):
        return values
    return [value for part in kept for value in values[part]]
