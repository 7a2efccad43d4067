"""From verified pieces to records, typed by the signed schema: one decoder for each format that has records.

What src/dataset/frame/ refused when the dataset was signed is refused here as far as it costs little: the rest cannot
stand in bytes that a trusted signer's tool signed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NoReturn, Protocol

from .csv_rows import CHUNK, Table
from .statement import Schema

Record = dict[str, Any]
Columns = Mapping[str, Sequence[Any]]
LINE = "text"
"""The one column of a dataset of lines: its schema names none."""
_BOM = b"\xef\xbb\xbf"


class Decoder(Protocol):
    """Reads the pieces of one file, some records at a time. Raises ValueError, naming column but no content, for what
    is no record."""

    def records(self, piece: bytes) -> Iterator[list[Record]]:
        """All records of a piece."""

    def columns(self, piece: bytes) -> Iterator[Columns]:
        """The same, by column."""


class Lines:
    """Lines of text."""

    def __init__(self, schema: Schema) -> None:
        if schema.records != "lines":
            raise ValueError("lines in a dataset whose records are none")

    def records(self, piece: bytes) -> Iterator[list[Record]]:
        return ([{LINE: line} for line in lines] for lines in _lines(piece.decode()))

    def columns(self, piece: bytes) -> Iterator[Columns]:
        return ({LINE: lines} for lines in _lines(piece.decode()))


class Csv:
    """Rows of a table with a header, which is its first piece."""

    def __init__(self, schema: Schema, header: bytes, separator: str) -> None:
        table = Table(header.removeprefix(_BOM).decode(), separator, len(schema.columns))
        rows = [row for some in table.chunks() for row in some]
        if table.mark is not None or len(rows) != 1 or sorted(rows[0]) != sorted(c.name for c in schema.columns):
            raise ValueError("its header does not name the columns that were signed")
        types = {column.name: column.type for column in schema.columns}
        self._separator = separator
        self._names = tuple(rows[0])
        self._types = [types[name] for name in self._names]

    def records(self, piece: bytes) -> Iterator[list[Record]]:
        names = self._names
        for values in self._values(piece):
            yield [dict(zip(names, row, strict=False)) for row in zip(*values, strict=False)]

    def columns(self, piece: bytes) -> Iterator[Columns]:
        return (dict(zip(self._names, values, strict=True)) for values in self._values(piece))

    def _values(self, piece: bytes) -> Iterator[list[Sequence[Any]]]:
        table = Table(piece.decode(), self._separator, len(self._names))
        for rows in table.chunks():
            if rows:
                columns = zip(self._names, self._types, zip(*rows, strict=True), strict=True)
                yield [_typed(name, kind, values, table.mark) for name, kind, values in columns]


class Jsonl:
    """One object a line."""

    def __init__(self, schema: Schema) -> None:
        if schema.records != "rows":
            raise ValueError("objects in a dataset whose records are none")
        self._types = {column.name: column.type for column in schema.columns}
        self._get = itemgetter(*self._types)

    def records(self, piece: bytes) -> Iterator[list[Record]]:
        for lines in _lines(piece.removeprefix(_BOM).decode()):
            records = _objects(lines)
            self._settle(records)
            yield records

    def columns(self, piece: bytes) -> Iterator[Columns]:
        for records in self.records(piece):
            yield {name: [record[name] for record in records] for name in self._types}

    def _settle(self, records: list[Record]) -> None:
        """Every column in every record, of its type."""
        count = len(self._types)
        try:
            rows = list(map(self._get, records))
        except KeyError:
            missing = dict.fromkeys(self._types)
            for record in records:
                if len(record) < count:
                    record.update(missing | record)
            rows = list(map(self._get, records))
        if sum(map(len, records)) != count * len(records):
            raise ValueError("a member that is no column of the dataset")
        by_column = zip(*rows, strict=True) if count > 1 else [rows]
        for (name, kind), values in zip(self._types.items(), by_column, strict=False):
            found = set(map(type, values)) - _JSON_TYPES[kind]
            if found == {int} and kind == "float":
                for record in records:
                    if type(record[name]) is int:
                        record[name] = float(record[name])
            elif found and kind != "any":
                raise ValueError(f"column {name!r} has a value that is not {kind}")


_NONE = type(None)
_JSON_TYPES: dict[str, set[type]] = {
    "bool": {bool, _NONE},
    "int": {int, _NONE},
    "float": {float, _NONE},
    "text": {str, _NONE},
    "bytes": {_NONE},
    "any": set(),
}


def _lines(text: str) -> Iterator[list[str]]:
    """Some at a time, without their ends."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    for at in range(0, len(lines), CHUNK):
        some = lines[at : at + CHUNK]
        yield [line.removesuffix("\r") for line in some] if "\r" in text else some


# CSV

_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|NaN|nan|-?inf|-?Infinity")


def _typed(name: str, kind: str, values: Sequence[str], mark: str | None) -> Sequence[Any]:
    if mark is not None and mark in values:
        if kind == "text":
            return [None if not value else "" if value == mark else value for value in values]
        values = ["" if value == mark else value for value in values]
    missing = "" in values
    if kind == "text":
        return [value or None for value in values] if missing else values
    convert = _CONVERSIONS.get(kind)
    try:
        if convert is None:
            raise ValueError
        _refuse_odd(values, kind)
        return [convert(value) if value else None for value in values] if missing else list(map(convert, values))
    except (ValueError, KeyError):
        raise ValueError(f"column {name!r} has a value that is not {kind}") from None


_CONVERSIONS: dict[str, Callable[[str], Any]] = {"bool": _TRUTH.__getitem__, "int": int, "float": float}


def _refuse_odd(values: Sequence[str], kind: str) -> None:
    """Python reads `1_000`, ` 1` and digits of all scripts as numbers; JSON, and so a dataset, does not."""
    if kind == "bool":
        return
    joined = "".join(values)
    for sign in "-" if kind == "int" else "-.e+E":
        joined = joined.replace(sign, "")
    if not joined or (joined.isascii() and joined.isdigit()):
        return
    if not all(_NUMBER.fullmatch(value) for value in values if value):
        raise ValueError


# JSON


def _objects(lines: list[str]) -> list[Record]:
    """Those of all lines; blank lines are passed over."""
    try:
        objects = [_object(line) for line in lines]
    except json.JSONDecodeError as e:
        raise ValueError("not an object of JSON") from e
    records = [record for record in objects if record is not None]
    # As many colons, or `":` where that is how all keys end, as there are keys: none stands there twice.
    text, keys = "\n".join(lines), sum(map(len, records))
    if text.count(":") != keys:
        spaced = any(space in text for space in (" :", "\t:", "\r:")) and _SPACED.search(text) is not None
        if spaced or text.count('":') != keys:
            for line, record in zip(lines, objects, strict=True):
                if record is not None and (spaced or line.count('":') != _keys(record)):
                    json.loads(line, object_pairs_hook=_unique)
    return records


_SPACED = re.compile(r'"[ \t\r]+:')


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def _object(line: str) -> Record | None:
    try:
        value, end = _scan(line, 0)
        if end != len(line):
            value = _decoder.decode(line)
    except StopIteration:
        if not line.strip(" \t\r\f"):
            return None
        value = _decoder.decode(line)
    if type(value) is not dict:
        raise ValueError("not an object of JSON")
    return value


def _keys(value: Any) -> int:
    """Keys of all objects in it."""
    if type(value) is dict:
        return len(value) + sum(_keys(inner) for inner in value.values() if type(inner) in (dict, list))
    return sum(_keys(inner) for inner in value if type(inner) in (dict, list))


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key that stands twice in an object")
    return value
