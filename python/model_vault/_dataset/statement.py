"""The dataset statement (docs/datasets.md), read as strictly as src/dataset/statement.rs."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .. import _json
from .._statement import STATEMENT_TYPE, Malformed, hex_of, number_of, text_of, time_of
from ..errors import error

PREDICATE_TYPE = "https://modelvault.example/dataset/v1"
MAX_FILES = 100_000
ROW_FORMATS = ("csv", "tsv", "jsonl", "lines")
"""Formats whose pieces end where a record ends."""
_TYPES = ("bool", "int", "float", "text", "bytes", "any")
_FORMAT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_MAX_TEXT = 4096
_MAX_CONTRIBUTORS = 10_000
_REQUIRED = ("version", "created", "schema", "records", "files")
_OPTIONAL = (
    "previous",
    "expires",
    "multiset",
    "sources",
    "licence",
    "contributors",
    "unattributed",
    "excluded",
    "derived_from",
    "croissant",
    "provenance",
    "scan",
    "scan_summary",
)
_FILE = ("path", "format", "size", "sha256", "records", "root", "pieces", "contributors")


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    """bool, int, float, text, bytes or any."""


@dataclass(frozen=True)
class Schema:
    """What the records look like."""

    records: str
    """rows, lines or files."""
    columns: tuple[Column, ...] = ()
    """Of rows, in the order of their names."""


@dataclass(frozen=True)
class DatasetFile:
    """A file of a dataset, as it was signed."""

    path: str
    format: str
    """csv, tsv, jsonl, lines, file, parquet, ..."""
    size: int
    sha256: str
    records: int
    root: str
    pieces: str
    """SHA-256 of the list of its pieces."""
    contributors: str | None
    """SHA-256 of the list of who supplied which records."""


@dataclass(frozen=True)
class Contributor:
    """Who supplied records, as the dataset's owner says."""

    name: str
    keyid: str
    """Of the key that signed its attestation."""
    statement: str
    """SHA-256 of the attestation."""
    records: int


@dataclass(frozen=True)
class DatasetStatement:
    """What was signed about one version of a dataset."""

    name: str
    version: int
    root: str
    digest: str
    """SHA-256 of the statement as it was signed."""
    previous: str | None
    created: datetime.datetime
    expires: datetime.datetime | None
    schema: Schema
    records: int
    files: tuple[DatasetFile, ...]
    contributors: tuple[Contributor, ...]
    """Number 1 first; 0 in lists stands for nobody."""
    excluded: tuple[tuple[str, str], ...]
    """Contributors whose records are not to be read, and why."""
    predicate: dict[str, Any]
    """All that was signed; numbers as they are written."""


def read_statement(payload: bytes) -> DatasetStatement:
    """From a payload whose signature was verified. Raises IntegrityError ``BundleMalformed``."""
    try:
        return _statement(_json.parse(payload, 16), hashlib.sha256(payload).hexdigest())
    except ValueError as e:
        raise error("BundleMalformed", f"not a statement about a dataset: {e}") from e


def dataset_root(files: Iterable[DatasetFile]) -> str:
    """RFC 6962 over the files (docs/datasets.md, "What is signed")."""
    return _tree_root([_leaf(file) for file in files]).hex()


def _leaf(file: DatasetFile) -> bytes:
    path = file.path.encode()
    head = len(path).to_bytes(8, "little") + path + file.size.to_bytes(8, "little") + bytes.fromhex(file.sha256)
    return hashlib.sha256(b"\0" + head + file.records.to_bytes(8, "little") + bytes.fromhex(file.root)).digest()


def _tree_root(level: list[bytes]) -> bytes:
    if not level:
        return hashlib.sha256().digest()
    while len(level) > 1:
        # Pairs from the left: RFC 6962 splits at the largest power of two below the number of leaves.
        paired = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[len(level) & ~1 :]
    return level[0]


def _statement(value: Any, digest: str) -> DatasetStatement:
    if not _json.has_only(value, "_type", "subject", "predicateType", "predicate"):
        raise Malformed("its members are others")
    if value.get("_type") != STATEMENT_TYPE or value.get("predicateType") != PREDICATE_TYPE:
        raise Malformed("it is of another type")
    predicate, subjects = value.get("predicate"), value.get("subject")
    if not _json.has_only(predicate, *_REQUIRED, *_OPTIONAL):
        raise Malformed("its predicate has other members")
    if not isinstance(subjects, list) or len(subjects) != 1 or not _json.has_only(subjects[0], "name", "digest"):
        raise Malformed("it has one subject")
    subject = subjects[0].get("digest")
    if not _json.has_only(subject, "sha256"):
        raise Malformed("digest of its subject")
    files = tuple(_file(f) for f in _list(predicate, "files", MAX_FILES))
    contributors = tuple(_contributor(c) for c in _list(predicate, "contributors", _MAX_CONTRIBUTORS))
    statement = DatasetStatement(
        name=_short(subjects[0], "name"),
        version=number_of(predicate, "version"),
        root=hex_of(subject, "sha256"),
        digest=digest,
        previous=_hex_or_none(predicate, "previous"),
        created=_time(predicate, "created"),
        expires=_time(predicate, "expires") if "expires" in predicate else None,
        schema=_schema(predicate.get("schema")),
        records=number_of(predicate, "records"),
        files=files,
        contributors=contributors,
        excluded=tuple(_excluded(e) for e in _list(predicate, "excluded", _MAX_CONTRIBUTORS)),
        predicate=predicate,
    )
    paths = [file.path.encode() for file in files]
    if any(a >= b for a, b in zip(paths, paths[1:], strict=False)):
        raise Malformed("its files are not in order")
    if statement.version == 0 or (statement.version == 1) != (statement.previous is None):
        raise Malformed("its version and the one before do not fit")
    if statement.records != sum(file.records for file in files) or statement.root != dataset_root(files):
        raise Malformed("its root or count does not follow from its files")
    _check_contributors(statement)
    return statement


def _check_contributors(statement: DatasetStatement) -> None:
    names = {contributor.name for contributor in statement.contributors}
    excluded = [name for name, _ in statement.excluded]
    nobodys = statement.records - sum(contributor.records for contributor in statement.contributors)
    told = number_of(statement.predicate, "unattributed") if "unattributed" in statement.predicate else None
    if len(names) != len(statement.contributors) or nobodys < 0 or told != (nobodys if names else None):
        raise Malformed("what it says of contributors does not fit")
    # Where there are contributors, it is said of every file with records whose these are.
    if any((file.contributors is None) == bool(names and file.records) for file in statement.files):
        raise Malformed("what it says of contributors does not fit its files")
    if not names.issuperset(excluded) or len(set(excluded)) != len(excluded):
        raise Malformed("it excludes somebody who is none of its contributors, or twice")


def _schema(value: Any) -> Schema:
    kind = value.get("records") if isinstance(value, dict) else None
    if kind in ("lines", "files") and _json.has_only(value, "records"):
        return Schema(kind)
    if kind != "rows" or not _json.has_only(value, "records", "columns"):
        raise Malformed("schema")
    columns = []
    for column in _list(value, "columns", 16_384):
        if not _json.has_only(column, "name", "type") or column.get("type") not in _TYPES:
            raise Malformed("a column has a name and a type")
        columns.append(Column(_short(column, "name"), column["type"]))
    columns.sort(key=lambda column: column.name.encode())
    if not columns or len({column.name for column in columns}) != len(columns):
        raise Malformed("columns")
    return Schema("rows", tuple(columns))


def _file(value: Any) -> DatasetFile:
    if not _json.has_only(value, *_FILE):
        raise Malformed("a file has other members")
    path, form = _short(value, "path"), text_of(value, "format")
    if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise Malformed(f"not a path within a dataset: {path!r}")
    if not _FORMAT.fullmatch(form):
        raise Malformed("format of a file")
    return DatasetFile(
        path=path,
        format=form,
        size=number_of(value, "size"),
        sha256=hex_of(value, "sha256"),
        records=number_of(value, "records"),
        root=hex_of(value, "root"),
        pieces=hex_of(value, "pieces"),
        contributors=_hex_or_none(value, "contributors"),
    )


def _contributor(value: Any) -> Contributor:
    if not _json.has_only(value, "name", "keyid", "statement", "records"):
        raise Malformed("a contributor has other members")
    keyid, statement = hex_of(value, "keyid"), hex_of(value, "statement")
    return Contributor(_short(value, "name"), keyid, statement, number_of(value, "records"))


def _excluded(value: Any) -> tuple[str, str]:
    if not _json.has_only(value, "contributor", "reason"):
        raise Malformed("excluded")
    return _short(value, "contributor"), _short(value, "reason")


def _list(value: dict[str, Any], key: str, most: int) -> list[Any]:
    listed = value.get(key, [])
    if not isinstance(listed, list) or len(listed) > most:
        raise Malformed(key)
    return listed


def _short(value: dict[str, Any], key: str) -> str:
    text = text_of(value, key)
    if not 1 <= len(text.encode()) <= _MAX_TEXT:
        raise Malformed(key)
    return text


def _hex_or_none(value: dict[str, Any], key: str) -> str | None:
    return hex_of(value, key) if key in value else None


def _time(value: dict[str, Any], key: str) -> datetime.datetime:
    text = time_of(text_of(value, key))
    return datetime.datetime.fromisoformat(text.removesuffix("Z") + "+00:00")
