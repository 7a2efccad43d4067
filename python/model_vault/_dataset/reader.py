"""A dataset that is verified while it is read."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import length_hint
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from ..errors import error, from_os
from .bundle import MAX_BUNDLES, read_bundles, signed_payloads
from .chain import Chain, Seen
from .file import PieceFile
from .keys import Key
from .passes import WHOLE, Batch, Layout, OpenFiles, ReadBatch, plan
from .pieces import PieceReader, check_size
from .receipt import ReadLog
from .rows import Columns, Record
from .samples import Tiles, image_records, tar_records
from .seen import SeenFile, seen_path
from .source import STATEMENT, Source
from .statement import ROW_FORMATS, DatasetFile, DatasetStatement, Schema
from .tables import parquet_records, required, to_arrow, to_pandas

_BUFFER = 256 << 10
State = bool | str | os.PathLike[str] | None


@dataclass(frozen=True)
class Recent:
    """Which versions a caller takes; see ``model_vault.dataset``."""

    min_version: int | None = None
    min_age: datetime.timedelta | None = None
    state: State = True


class Dataset:
    """One signed version of a dataset. Its statement was verified; every piece of its files is, before a byte of it is
    handed on.

    Iterating gives its records, a dict each, in the order they were signed, without those of contributors that the
    statement excludes. What is not what was signed ends the iteration with IntegrityError ``DatasetChanged``, which
    names file, bytes and records, also in ``details``. A file that the statement does not name is not read.
    """

    statement: DatasetStatement
    """What was signed."""
    signers: tuple[str, ...]
    """Ids of the trusted keys that signed it."""

    def __init__(self, source: Source, keys: list[Key], recent: Recent) -> None:
        where = f"{source.where}: {STATEMENT}"
        text = source.sidecar(STATEMENT, MAX_BUNDLES)
        if text is None:
            raise error("SignatureMissing", f"{where} is missing", "vault dataset sign makes it")
        payloads = signed_payloads(read_bundles(text, where), keys, where)
        chain = Chain(payload for payload, _ in payloads)
        self.statement = chain.newest
        signers = {key.keyid for payload, key in payloads if hashlib.sha256(payload).hexdigest() == chain.newest.digest}
        self.signers = tuple(sorted(signers))
        self._log = ReadLog()
        self._layout = Layout(source, self.statement)
        self._accept(chain, recent)

    def __repr__(self) -> str:
        return f"<model_vault.Dataset {self.name!r} version {self.version}, {len(self)} records>"

    def __len__(self) -> int:
        """Records that a pass gives: those that were signed, without those that are excluded."""
        excluded = self.excluded
        return self.statement.records - sum(c.records for c in self.statement.contributors if c.name in excluded)

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    @property
    def name(self) -> str:
        """Whatever its owner calls it."""
        return self.statement.name

    @property
    def version(self) -> int:
        """From 1."""
        return self.statement.version

    @property
    def root(self) -> str:
        """Over all of it: 64 hex digits."""
        return self.statement.root

    @property
    def schema(self) -> Schema:
        """What the records look like."""
        return self.statement.schema

    @property
    def files(self) -> tuple[DatasetFile, ...]:
        """In the order of their paths."""
        return self.statement.files

    @property
    def excluded(self) -> dict[str, str]:
        """Contributors whose records are left out, and why."""
        return dict(self.statement.excluded)

    def records(self, *, epoch: int = 0, shuffle_seed: int | None = None) -> Iterator[Record]:
        """The records, each a dict: in order, or with the pieces (some MiB each) in an order of their own for each seed
        and epoch: ascending by SHA-256 of ``SEED EPOCH PATH PIECE``, decimal numbers. Within a piece they keep theirs.

        Raises, while it is iterated, IntegrityError ``DatasetChanged``, after which it stays ended; ``RecordInvalid``
        for a record that is not of the signed schema. At once, UsageError ``InvalidArgument`` for files of a format
        whose records only the command line reads.
        """
        self._refuse_unread()
        self._log.begun(epoch, shuffle_seed)
        return self._records(epoch, shuffle_seed)

    def open(self, path: str, *, excluded: Literal["refuse", "keep"] = "refuse", epoch: int = 0) -> BinaryIO:
        """A seekable file over the verified bytes of one file, for pandas.read_csv, pyarrow and the like.

        Bytes cannot be left out honestly: a file with records of a contributor that is excluded is refused (``Denied``)
        unless ``excluded="keep"``. Raises NotFound for a file that was not signed, and when it is
        read, IntegrityError ``DatasetChanged``.
        """
        file = self._file(path)
        if excluded != "keep" and self._layout.dropped(file):
            message = f"{path} has records of contributors that are excluded: {', '.join(self.excluded)}"
            hint = 'records(), to_pandas() and to_arrow() leave them out; excluded="keep" gives all bytes'
            raise error("Denied", message, hint)
        self._log.begun(epoch, None, passing=False)
        return cast(BinaryIO, io.BufferedReader(self._raw(file, epoch, count=True), _BUFFER))

    def to_pandas(self) -> Any:
        """All records as a pandas.DataFrame. Raises as ``records``, and UsageError where pandas is not installed."""
        return to_pandas(self.schema, self._columns())

    def to_arrow(self) -> Any:
        """All records as a pyarrow.Table. Raises as ``records``, and UsageError where pyarrow is not installed."""
        return to_arrow(self.schema, self._columns())

    def to_datasets(self, *, streaming: bool = False) -> Any:
        """As a Dataset of Hugging Face, in memory; ``streaming``: as an IterableDataset that reads when it is iterated,
        in this process. Raises as ``to_arrow``."""
        datasets = required("datasets", "to_datasets()")
        if streaming:
            examples = datasets.iterable_dataset.ExamplesIterable(_numbered, {"dataset": self})
            return datasets.IterableDataset(examples)
        return datasets.Dataset(self.to_arrow())

    def receipt(self, models: Iterable[str | os.PathLike[str]] = ()) -> dict[str, Any]:
        """What was read of it until now: an in-toto statement, unsigned, about the files ``models``.

        A piece counts when it is about to be handed on, a record when it was; passes that were broken off are counted
        as ``unfinished``. Sign it with ``vault dataset receipt sign``. One object tells only of its own process.
        """
        return self._log.receipt(self.statement, models)

    def write_receipt(self, path: str | os.PathLike[str], models: Iterable[str | os.PathLike[str]] = ()) -> None:
        """Writes ``receipt`` into a file."""
        text = json.dumps(self.receipt(models), ensure_ascii=False, separators=(",", ":"))
        try:
            Path(path).write_text(text + "\n", encoding="utf-8")
        except OSError as e:
            raise from_os(e, path) from e

    # The statement

    def _accept(self, chain: Chain, recent: Recent) -> None:
        """Nothing older than was seen. What is seen is the statement: it is authentic whatever the files are, so it is
        remembered before the first of them is read."""
        names = [f"{signer} {self.name}" for signer in self.signers]
        seen = None
        if recent.state is not None and recent.state is not False:
            seen = SeenFile(seen_path() if recent.state is True else Path(recent.state))
        highest = None if seen is None else seen.highest(names)
        now = datetime.datetime.now(datetime.UTC)
        chain.accept(highest, recent.min_version, now)
        if recent.min_age is not None and now - self.statement.created < recent.min_age:
            message = f"version {self.version} was signed at {self.statement.created}, less than {recent.min_age} ago"
            hint = "what was slipped in shortly before is found by waiting: read it later, or take an older version"
            raise error("Denied", message, hint)
        for file in self.files:
            if file.format == "images":
                continue  # many files: each is compared when it is read
            if (size := self._layout.source.size(file)) != file.size:
                check_size(file, self._layout.pieces(file), size)
        if seen is not None:
            seen.raise_to(names, Seen(self.version, self.statement.digest))

    def _file(self, path: str) -> DatasetFile:
        for file in self.files:
            if file.path == path and file.format == "images":
                message = f"{path} are all images of the dataset, not a file"
                raise error("InvalidArgument", message, "records() gives each with its bytes")
            if file.path == path:
                return file
        raise error("NotFound", f"{path!r} is no file of {self.name!r} as it was signed", "files lists what there is")

    # Reading

    def _raw(self, file: DatasetFile, epoch: int, *, count: bool) -> PieceFile:
        pieces = self._layout.pieces(file)

        def note(piece: int) -> None:
            self._log.piece(epoch, file.path, pieces, piece)
            if count:
                self._log.handed(pieces.records[piece + 1] - pieces.records[piece])

        return PieceFile(PieceReader(self._layout.source, file, pieces), note)

    def _records(self, epoch: int, seed: int | None) -> Iterator[Record]:
        for batch in self._batches(epoch, seed):
            for records in batch.records():
                rest = iter(records)
                try:
                    yield from rest
                finally:
                    self._log.handed(len(records) - length_hint(rest))
        self._log.ended()

    def _columns(self) -> Iterator[Columns]:
        self._refuse_unread()
        for file in self.files:
            if file.records and file.format in ("tar", "images"):
                message = f"{file.path}: images and samples have no columns"
                raise error(
                    "InvalidArgument", message, "iterate over the dataset: each record has the bytes of its files"
                )
        self._log.begun(0, None)
        for batch in self._batches(0, None):
            columns = batch.columns()
            self._log.handed(len(next(iter(columns.values()), ())))
            yield columns
        self._log.ended()

    def _batches(self, epoch: int, seed: int | None) -> Iterator[Batch]:
        opened = OpenFiles(self._layout, self.schema, self._log, epoch, shuffled=seed is not None)
        try:
            for file, piece in plan((f for f in self.files if f.records), self._layout, epoch, seed):
                if file.format == "images":
                    yield from self._images(file, epoch)
                elif file.format in WHOLE:
                    yield from self._whole(file, epoch)
                else:
                    yield from opened.batches(file, piece)
        finally:
            opened.close()

    def _images(self, file: DatasetFile, epoch: int) -> Iterator[Batch]:
        tiles = Tiles(self._layout.source, file)
        noted = -1
        for at, (tile, record) in enumerate(image_records(self._layout.source, file, tiles)):
            if tile != noted:
                noted = tile
                self._log.piece(epoch, file.path, tiles, tile)
            yield ReadBatch([record], self._layout.kept(file, at, at + 1))

    def _whole(self, file: DatasetFile, epoch: int) -> Iterator[Batch]:
        at = 0
        read = parquet_records if file.format == "parquet" else tar_records
        with io.BufferedReader(self._raw(file, epoch, count=False), _BUFFER) as raw:
            try:
                for records in read(cast(BinaryIO, raw)):
                    yield ReadBatch(records, self._layout.kept(file, at, at + len(records)))
                    at += len(records)
            except ValueError as e:
                raise error("RecordInvalid", f"{file.path}, record {at + 1}: {e}") from e
            # What stands behind the last sample is the end of the archive.
            while file.format == "tar" and raw.read(_BUFFER):
                pass
        if at != file.records:
            raise error("RecordInvalid", f"{file.path}: {at} records where {file.records} were signed")

    def _refuse_unread(self) -> None:
        for file in self.files:
            if file.records and file.format not in (*ROW_FORMATS, *WHOLE):
                message = f"{file.path}: records of format {file.format} are not read here"
                raise error("InvalidArgument", message, "open(PATH) gives the verified bytes")


def _numbered(dataset: Dataset) -> Iterator[tuple[int, Record]]:
    return enumerate(dataset)
