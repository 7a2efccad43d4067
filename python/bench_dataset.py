#!/usr/bin/env python3
"""What verifying costs: reading through model_vault.dataset against a plain read of the same file to the same values.

    python python/bench_dataset.py [RECORDS]

Prints seconds of the processor in user mode and of the clock (the least of several runs taken by turns), and what the
verifying reader takes more. A plain
read of CSV is csv.reader with the conversions of the schema, of JSON Lines json.loads of each line, of a file
pandas.read_csv. Rows have about 140 bytes.
"""

from __future__ import annotations

import csv
import json
import random
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "tests")]

import curator  # noqa: E402
import pandas  # noqa: E402

import model_vault  # noqa: E402

RUNS = 5
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
TYPES = {"id": "int", "label": "int", "score": "float", "weight": "float", "source": "text", "text": "text"}
CONVERSIONS = {"int": int, "float": float, "text": lambda text: text or None}


def write(home: Path, records: int) -> None:
    rng = random.Random(1)  # noqa: S311 the same rows each time
    with (
        (home / "plain.csv").open("w") as plain,
        (home / "quoted.csv").open("w") as quoted,
        (home / "rows.jsonl").open("w") as objects,
    ):
        for file in (plain, quoted):
            file.write(",".join(TYPES) + "\n")
        for i in range(records):
            text = " ".join(rng.choices(WORDS, k=15))
            row = (i, rng.randrange(10), rng.random(), rng.randrange(1000) / 8, rng.choice(WORDS), text)
            plain.write(",".join(map(str, row)) + "\n")
            quoted.write(",".join(map(str, row[:5])) + f',"{text}, ""so"""\n')
            objects.write(json.dumps(dict(zip(TYPES, (*row[:5], text[:80]), strict=True))) + "\n")


def cut(data: bytes, form: str, records: int) -> list[tuple[bytes, int]]:
    """As curator.cut, for files without a newline in a field."""
    lines = data.splitlines(keepends=True)
    pieces = [(lines.pop(0), 0)] if form == "csv" else []
    rows = (lines[i : i + records] for i in range(0, len(lines), records))
    return [*pieces, *((b"".join(some), len(some)) for some in rows)]


def plain_csv(path: Path) -> Iterable[dict[str, object]]:
    with path.open(newline="") as file:
        reader = csv.reader(file)
        names = next(reader)
        conversions = [CONVERSIONS[TYPES[name]] for name in names]
        for row in reader:
            yield {name: convert(value) for name, convert, value in zip(names, conversions, row, strict=False)}


def plain_jsonl(path: Path) -> Iterable[dict[str, object]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the processor in user mode, all threads; and of the clock."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - before, time.perf_counter() - began


def exhaust(records: Iterable[object]) -> None:
    deque(records, maxlen=0)


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    curator.cut = cut
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        write(home, records)

        def opened(name: str) -> model_vault.Dataset:
            owner = curator.Curator(home / name, TYPES, name=name, per_piece=7000)
            if not owner.beside("dataset.sig").exists():
                owner.sign()
            return model_vault.dataset(home / name, keys=[owner.pem], state=None)

        pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {}
        for name in ("plain.csv", "quoted.csv", "rows.jsonl"):
            dataset, path = opened(name), home / name
            assert next(iter(dataset)) == next(iter((plain_csv if path.suffix == ".csv" else plain_jsonl)(path)))  # noqa: S101
            read = plain_csv if path.suffix == ".csv" else plain_jsonl
            pairs[f"records of {name}"] = (lambda p=path, r=read: exhaust(r(p)), lambda d=dataset: exhaust(d))  # type: ignore[misc]
            if path.suffix == ".csv":
                pairs[f"pandas.read_csv of {name}"] = (  # type: ignore[misc]
                    lambda p=path: pandas.read_csv(p),
                    lambda d=dataset, n=name: pandas.read_csv(d.open(n)),
                )
        for name in ("plain.csv", "quoted.csv", "rows.jsonl"):
            print(f"{name}: {records} records of {(home / name).stat().st_size / records:.0f} bytes")
        for what, (plain, verified) in pairs.items():
            runs = [(measured(plain), measured(verified)) for _ in range(RUNS)]
            print(f"{what:30}", end="")
            for i, unit in enumerate(("user", "clock")):
                one, other = min(run[0][i] for run in runs), min(run[1][i] for run in runs)
                print(f"   {unit} {one:5.3f} s, verified {other:5.3f} s ({100 * (other / one - 1):+3.0f} %)", end="")
            print()


if __name__ == "__main__":
    main()
