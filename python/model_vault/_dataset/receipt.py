"""What a job read of a dataset: the training receipt (docs/datasets.md), an in-toto statement, unsigned."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._statement import STATEMENT_TYPE
from ..errors import from_os
from .pieces import PieceList
from .samples import Tiles
from .statement import DatasetStatement

_SLSA = "https://slsa.dev/provenance/v1"
_BUILD_TYPE = "https://modelvault.example/training/v1"
_BUILDER = "https://modelvault.example/reader/v1"


class ReadLog:
    """Which pieces were handed on, in their order. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digest = hashlib.sha256()
        self._runs: list[list[Any]] = []
        self._records = 0
        self._unfinished = 0
        self._epochs: set[int] = set()
        self._seeds: set[int] = set()

    def begun(self, epoch: int, seed: int | None, *, passing: bool = True) -> None:
        """A pass over the dataset, of which ``ended`` tells; or a file that was opened in none."""
        with self._lock:
            self._unfinished += passing
            self._epochs.add(epoch)
            if seed is not None:
                self._seeds.add(seed)

    def piece(self, epoch: int, path: str, pieces: PieceList | Tiles, piece: int) -> None:
        """It was verified, and is about to be handed on."""
        first, last = pieces.numbers(piece)
        with self._lock:
            self._digest.update(f"{epoch} {path} {piece} {pieces.digest(piece).hex()}\n".encode())
            run = self._runs[-1] if self._runs else None
            if run is not None and run[:2] == [epoch, path] and run[3] + 1 == piece:
                run[3] = piece
                run[4], run[5] = run[4] or first, last or run[5]
            else:
                self._runs.append([epoch, path, piece, piece, first, last])

    def ended(self) -> None:
        """A pass came to its end: all records of its pieces went to the caller."""
        with self._lock:
            self._unfinished -= 1

    def handed(self, records: int) -> None:
        """So many records went to the caller."""
        with self._lock:
            self._records += records

    def receipt(self, statement: DatasetStatement, models: Iterable[str | os.PathLike[str]]) -> dict[str, Any]:
        """Of all that was read until now."""
        with self._lock:
            digest, records = self._digest.hexdigest(), self._records
            reads = [list(run) for run in self._runs]
            unfinished = {"unfinished": self._unfinished} if self._unfinished else {}
            parameters: dict[str, Any] = {"epochs": len(self._epochs)}
            if len(self._seeds) == 1:
                parameters = {"order_seed": next(iter(self._seeds)), **parameters}
        facts = {"version": statement.version, "statement": statement.digest}
        dataset = {"name": statement.name, "digest": {"sha256": statement.root}, "annotations": facts}
        read_set = {
            "name": "read-set",
            "digest": {"sha256": digest},
            "annotations": {"records": records, **unfinished, "reads": reads},
        }
        return {
            "_type": STATEMENT_TYPE,
            "subject": [_subject(Path(model)) for model in models],
            "predicateType": _SLSA,
            "predicate": {
                "buildDefinition": {
                    "buildType": _BUILD_TYPE,
                    "externalParameters": parameters,
                    "resolvedDependencies": [dataset],
                },
                "runDetails": {"builder": {"id": _BUILDER}, "byproducts": [read_set]},
            },
        }


def _subject(model: Path) -> dict[str, Any]:
    try:
        with model.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise from_os(e, model) from e
    return {"name": model.name, "digest": {"sha256": digest}}
