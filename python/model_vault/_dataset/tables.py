"""Verified columns as tables of pandas, pyarrow and Hugging Face ``datasets``, each imported when it is asked for."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from ..errors import error
from .rows import LINE, Columns, Record
from .statement import Schema

_BATCH = 8192


def required(name: str, what: str) -> Any:
    """A module that is not part of this package. Raises UsageError ``InvalidArgument`` where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as e:
        package = name.partition(".")[0]
        raise error(
            "InvalidArgument", f"{what} needs {package}, which is not installed", f"pip install {package}"
        ) from e


def types_of(schema: Schema) -> dict[str, str]:
    """Column -> type."""
    if schema.records == "lines":
        return {LINE: "text"}
    return {column.name: column.type for column in schema.columns}


def parquet_records(file: BinaryIO) -> Iterator[list[Record]]:
    """The rows of a Parquet file, some at a time."""
    parquet = required("pyarrow.parquet", "reading records of Parquet")
    for batch in parquet.ParquetFile(file).iter_batches(_BATCH):
        yield batch.to_pylist()


def to_pandas(schema: Schema, batches: Iterable[Columns]) -> Any:
    """Whole numbers, and truths, are of a nullable type only in columns where some are missing."""
    pandas, numpy = required("pandas", "to_pandas()"), required("numpy", "to_pandas()")
    kinds = {"int": "Int64", "bool": "boolean", "float": "float64"}
    types = types_of(schema)

    def frame(columns: Columns) -> Any:
        return pandas.DataFrame({name: column(values, types[name]) for name, values in columns.items()})

    def column(values: Sequence[Any], kind: str) -> Any:
        if kind != "int":
            return pandas.array(list(values), dtype=kinds.get(kind, "object"))
        missing = [value is None for value in values]
        try:
            whole = numpy.array([value or 0 for value in values], dtype="int64")
        except OverflowError:  # above 2^63
            return pandas.array(list(values), dtype="object")
        return pandas.arrays.IntegerArray(whole, numpy.array(missing, dtype=bool))

    frames = [frame(columns) for columns in batches]
    if not frames:
        return frame({name: [] for name in types})
    # Two types that pandas would make a float of: digits would be lost.
    for name in types:
        if len({str(part[name].dtype) for part in frames}) > 1:
            for part in frames:
                part[name] = part[name].astype("object")
    whole = pandas.concat(frames, ignore_index=True)
    for name, kind in types.items():
        plain = {"int": "int64", "bool": "bool"}.get(kind)
        if plain and str(whole[name].dtype) == kinds[kind] and not whole[name].isna().any():
            whole[name] = whole[name].astype(plain)
    return whole


def to_arrow(schema: Schema, batches: Iterable[Columns]) -> Any:
    """int64; uint64, or decimal128(20) with numbers below 0, for a column that goes above it; type any as JSON text."""
    arrow = required("pyarrow", "to_arrow()")
    kinds = {"int": arrow.int64(), "bool": arrow.bool_(), "float": arrow.float64(), "bytes": arrow.binary()}
    types = types_of(schema)
    chunks: dict[str, list[Any]] = {name: [] for name in types}
    for columns in batches:
        for name, values in columns.items():
            listed = [None if v is None else json.dumps(v) for v in values] if types[name] == "any" else list(values)
            try:
                chunks[name].append(arrow.array(listed, kinds.get(types[name], arrow.string())))
            except OverflowError:
                chunks[name].append(arrow.array(listed, arrow.decimal128(20)))
    whole = {name: _one_type(arrow, parts, kinds.get(types[name], arrow.string())) for name, parts in chunks.items()}
    return arrow.table(whole)


def _one_type(arrow: Any, parts: list[Any], kind: Any) -> Any:
    if all(part.type == kind for part in parts):
        return arrow.chunked_array(parts, kind)
    wide = arrow.chunked_array([part.cast(arrow.decimal128(20), safe=False) for part in parts])
    try:
        return wide.cast(arrow.uint64())
    except arrow.ArrowInvalid:  # below 0
        return wide
