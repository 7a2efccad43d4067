"""CSV into fields, where an empty field without quotes is missing and ``""`` is empty text (docs/datasets.md).

Python's csv module reads both as "". So text without a quote is split here; text with some is split by the csv module
after every ``""`` that is a whole field was given a mark; and where that module gives up (fields above its limit), or
finds no row, a strict splitter says what stands there.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice

Rows = list[list[str]]
CHUNK = 256
"""Rows that are worked on at once: more would leave the processor's caches, and keep the garbage collector busy."""


class Table:
    """The rows of a text, all of ``width`` fields. "" is a field that is missing."""

    mark: str | None
    """What stands for empty text in its rows."""

    def __init__(self, text: str, separator: str, width: int) -> None:
        self._text, self._separator, self._width = text, separator, width
        marked, self.mark = _mark_empty(text, separator) if '"' in text else (text, None)
        self._rows = self._quoted(marked) if '"' in text else self._plain()

    def chunks(self) -> Iterator[Rows]:
        """Some rows at a time. Raises ValueError, without any of the text, for what is no such table."""
        width = self._width
        for rows in self._rows:
            widths = set(map(len, rows))
            if widths != {width}:
                # A blank line: no row of a table of several columns.
                rows = [row or [""] for row in rows if width == 1 or len(row) > 1 or any(row)]
                widths = set(map(len, rows))
            if widths - {width}:
                raise ValueError(f"a row of {min(widths - {width})} fields in a table of {width} columns")
            yield rows

    def _plain(self) -> Iterator[Rows]:
        text, separator = self._text, self._separator
        if "\r" in text:
            text = text.replace("\r\n", "\n").removesuffix("\r")
            if "\r" in text:
                raise ValueError("a carriage return within a field without quotes")
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        for at in range(0, len(lines), CHUNK):
            yield [line.split(separator) for line in lines[at : at + CHUNK]]

    def _quoted(self, marked: str) -> Iterator[Rows]:
        reader = csv.reader(io.StringIO(marked, "\n"), delimiter=self._separator, strict=True)
        done = 0
        try:
            while rows := list(islice(reader, CHUNK)):
                done += len(rows)
                yield rows
        except csv.Error:
            # Rows that were lost with the error come again, and nothing twice.
            for rows in _strictly(self._text, self._separator, self.mark):
                fresh = rows[done:]
                done = max(0, done - len(rows))
                yield fresh


def _mark_empty(text: str, separator: str) -> tuple[str, str | None]:
    """The text with a mark in every ``""`` that is a whole field; no mark if there is none."""
    if '""' not in text or not (text.startswith('""') or f'{separator}""' in text or '\n""' in text):
        return text, None
    parts = text.split('"')  # by turns outside and inside of quotes; between doubled quotes lies an empty outside
    last = len(parts) - 1
    begins, ends = (separator, "\n"), (separator, "\n", "\r")
    whole = [
        i
        for i in range(1, last, 2)
        if not parts[i]
        and (parts[i - 1].endswith(begins) or (i == 1 and not parts[0]))
        and (parts[i + 1].startswith(ends) or (i + 1 == last and not parts[last]))
    ]
    if not whole:
        return text, None
    mark = "\ue000"
    while mark in text:
        mark += "\ue000"
    for i in whole:
        parts[i] = mark
    return '"'.join(parts), mark


def _strictly(text: str, separator: str, mark: str | None) -> Iterator[Rows]:
    end = re.escape(separator)
    field = re.compile(rf'(?:"([^"]*+(?:""[^"]*+)*+)"|([^"\r\n{end}]*+))({end}|\r?\n|\r?\Z)')
    rows: Rows = []
    row: list[str] = []
    at = 0
    while at < len(text) or row:
        match = field.match(text, at)
        if match is None:
            raise ValueError("a quote that is not closed, or where none may be")
        quoted, plain, after = match.groups()
        row.append(plain if quoted is None else quoted.replace('""', '"') or mark or "")
        at = match.end()
        if after != separator:
            rows.append(row)
            row = []
            if len(rows) == CHUNK:
                yield rows
                rows = []
    yield rows
