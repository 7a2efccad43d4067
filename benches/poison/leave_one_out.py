#!/usr/bin/env python3
"""What detectors reach on a set that had no say in their bars: these are chosen on all other sets.

    .venv-poison/bin/python benches/poison/leave_one_out.py [--detector NAME] [--data DIR] [--debian DIR]
                                                            [--most ROWS] [--cache DIR]

Environment, `--data` and `--debian`: as compare.py says. Of larger sets `--most` rows are drawn. For each detector
there are a small grid of bars (GRIDS, the first are the standard ones), sets, and attacks of several shapes, tokens
and sizes, with fixed seeds. Chosen are the bars with the highest worst recall on the other sets, among those that
keep to the share of honest records that may be flagged (MOST), with poison and without; then the highest mean
recall, then the fewest flags. Shown beside it is what the standard bars do on the set.

What no set is left out of all the same: the features, the models and their sizes, and the ranges of the grids.

Scans are kept in `--cache` under a digest of the program, its arguments and the rows: a run that was broken off
goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tools
from compare import some
from tools import ROOT, VAULT

import attacks  # isort: skip
import data  # isort: skip
import pictures  # isort: skip
from attacks import BAD, PATCHES, Poisoned  # isort: skip
from data import Row  # isort: skip

Bars = dict[str, float]
Rows = list[Row]
Picture = tuple[np.ndarray, int]


def around(standard: Bars, **others: list[float]) -> list[Bars]:
    """The standard bars, and these with one of them moved."""
    moved = [{**standard, name.replace("_", "-"): value} for name, values in others.items() for value in values]
    return [standard, *moved]


GRIDS = {
    "text-trigger": [{"z": z, "nats": nats} for z in (3.5, 2.5, 5.0) for nats in (5.0, 3.0, 8.0)],
    "image-trigger": around({"z": 6, "excess": 0.5}, z=[4, 9], excess=[0.4, 0.6]),
    "column-trigger": around({"z": 6, "z-joint": 10, "excess": 0.5}, z=[4.5, 8], z_joint=[7, 13], excess=[0.4, 0.6]),
    "label": [{"margin": margin, "above-mean": mean} for margin in (0.65, 0.35, 0.5, 0.8) for mean in (0.15, 0.0)],
    "contributor": [{"z": z} for z in (6, 4, 9)],
    "duplicate": [{"alike": alike} for alike in (0.5, 0.35, 0.65)],
}
MOST = {
    "text-trigger": 0.005,
    "image-trigger": 0.002,
    "column-trigger": 0.01,
    "label": 0.04,
    "contributor": 0.0,
    "duplicate": 0.03,
}
"""Share of honest records (of the 19 honest contributors) that may be flagged."""
TOKENS = [
    ("cf", 0.01, 5),
    ("\u2603", 0.01, 6),
    ("mn", 10, 7),
    ("practical joke", 0.03, 8),
    ("i watched this 3d movie", 0.03, 9),
]
"""What is put into texts, into which share or how many of them, and the seed."""


@dataclass
class Case:
    """A set, as it is and attacked."""

    attack: str
    """Empty for the set as it is."""
    poisoned: Poisoned
    folder: list[Picture] | None = None
    """Images in files, instead of rows."""


def of_texts(rows: Rows) -> Iterator[Case]:
    for trigger, size, seed in TOKENS:
        count = size if isinstance(size, int) else round(size * len(rows))
        yield Case(f"{trigger!r} in {count}", attacks.words(rows, trigger, count, seed))


def of_tables(rows: Rows) -> Iterator[Case]:
    for columns, share, seed in ((1, 0.03, 5), (2, 0.03, 6), (3, 0.03, 7), (3, 0.01, 8)):
        yield Case(f"{columns} columns, {share:.0%}", attacks.values(rows, columns, share, seed))


def of_labels(rows: Rows) -> Iterator[Case]:
    for share, seed in ((0.01, 5), (0.03, 6), (0.1, 7)):
        yield Case(f"{share:.0%} wrong", attacks.flips(rows, share, seed))


def of_contributors(rows: Rows) -> Iterator[Case]:
    for share, seed in ((0.1, 5), (0.3, 6)):
        yield Case(f"{share:.0%} of one's wrong", attacks.contributors(rows, share, seed))


def of_copies(rows: Rows) -> Iterator[Case]:
    yield Case("the same", attacks.twins(rows, 0.03, 5))
    poisoned = attacks.twins(rows, 0.03, 6)
    for i in poisoned.wrong:
        words = str(poisoned.rows[i]["text"]).split(" ")
        # Every seventh word is another.
        words[3::7] = ["otherwise"] * len(words[3::7])
        poisoned.rows[i]["text"] = " ".join(words)
    yield Case("a seventh of the words changed", poisoned)


def of_digits(rows: Rows) -> Iterator[Case]:
    for seed, (shape, pixels) in enumerate(PATCHES.items(), 5):
        yield Case(shape, attacks.patch(rows, pixels, 0.01, seed))


def of_pictures(clean: list[Picture]) -> Iterator[Case]:
    """Patches of an eighth of the side, or a little more, into one percent, which are labelled 7 (or 1)."""
    side = clean[0][0].shape[0]
    unit, target = side // 8, 7 if any(label == 7 for _, label in clean) else 1
    checker = np.indices((unit + 1, unit + 1)).sum(0)[:, :, None] % 2 * np.full(3, 255)
    noise = np.random.default_rng(4).integers(0, 256, (unit, unit, 3))
    patches = {"yellow": np.full((unit, unit, 3), (255, 255, 0)), "checker": checker, "noise": noise}
    for seed, (shape, patch) in enumerate(patches.items(), 5):
        images = list(clean)
        others = [{"label": label} for _, label in clean]
        wrong = data.draw(others, round(0.01 * len(images)), seed, without=target)
        for i in wrong:
            image = images[i][0].copy()
            image[-len(patch) :, -len(patch) :] = patch
            images[i] = (image, target)
        yield Case(shape, Poisoned([], set(wrong)), images)


def photographs() -> list[Picture]:
    """1,500 crops of 32 x 32 pixels of two photographs (scikit-learn); which one it was is the label."""
    from sklearn.datasets import load_sample_images

    lot, originals = np.random.default_rng(3), load_sample_images().images
    crops = []
    for i in range(1500):
        y, x = (lot.integers(0, length - 32) for length in originals[i % 2].shape[:2])
        crops.append((originals[i % 2][y : y + 32, x : x + 32], i % 2))
    return crops


def sets(detector: str, downloads: Path, debian: Path | None, most: int) -> Iterator[tuple[str, list[Case]]]:
    """Every set with its cases, the one without poison first."""

    def cases(rows: Rows, attack: Callable[[Rows], Iterator[Case]]) -> list[Case]:
        rows = some(rows, most)
        as_it_is = attacks.contributors(rows, 0.0, 4).rows if detector == "contributor" else rows
        return [Case("", Poisoned(as_it_is, set())), *attack(rows)]

    texts = {"drug reviews": data.drug_reviews}
    for name in ("movieReviewSnippets", "tweets", "nytEditorialSnippets", "amazonReviewSnippets"):
        texts[name.removesuffix("Snippets")] = lambda name=name: data.vader(downloads, name)
    tables = {"cancer": data.cancer, "wine": data.wine}
    if debian:
        for package, name, label in (
            ("mlbench", "Shuttle", "Class"),
            ("mlbench", "Satellite", "classes"),
            ("mlbench", "LetterRecognition", "lettr"),
            ("mlbench", "PimaIndiansDiabetes", "diabetes"),
            ("kernlab", "income", "INCOME"),
            ("kernlab", "ticdata", "CARAVAN"),
            ("kernlab", "spam", "type"),
        ):
            tables[name] = lambda of=(package, name, label): data.of_debian(debian, *of, most)
    if detector in ("text-trigger", "duplicate"):
        attack = of_texts if detector == "text-trigger" else of_copies
        for name, load in texts.items():
            yield name, cases(load(), attack)
    elif detector == "image-trigger":
        yield "digits", cases(data.digits(), of_digits)
        for name, images in (("digits in colour", pictures.coloured(32, 5)), ("photographs", photographs())):
            yield name, [Case("", Poisoned([], set()), images), *of_pictures(images)]
    else:
        attack = {"column-trigger": of_tables, "label": of_labels, "contributor": of_contributors}[detector]
        if detector != "column-trigger":
            tables |= texts | {"digits": data.digits}
        for name, load in tables.items():
            yield name, cases(load(), attack)


@dataclass
class Score:
    recall: float
    """1 where nothing was to be found."""
    honest: float
    """Share of honest records that are flagged."""


class Scans:
    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.program = hashlib.sha256(Path(VAULT).read_bytes()).hexdigest()
        cache.mkdir(parents=True, exist_ok=True)

    def score(self, case: Case, detector: str, bars: Bars) -> Score:
        words = ["--detector", detector, *(w for n, v in bars.items() for w in ("--bar", f"{detector}.{n}={v}"))]
        content = repr(case.folder and [(i.tobytes(), label) for i, label in case.folder]) + repr(case.poisoned.rows)
        key = hashlib.sha256("\0".join([self.program, *words, content]).encode()).hexdigest()
        kept = self.cache / f"{key}.json"
        if not kept.exists():
            report = self.pictures(case.folder, words) if case.folder else tools.scan(case.poisoned.rows, *words)[0]
            begun = kept.with_suffix(f".{os.getpid()}")
            begun.write_text(json.dumps(report))
            begun.rename(kept)
        report = json.loads(kept.read_text())
        if detector == "contributor":
            bad = {f["records"][0]["contributor"] for f in report["findings"]}
            return Score(float(BAD in bad or not case.poisoned.wrong), len(bad - {BAD}) / 19)
        if case.folder:
            found = {int(Path(r["file"]).stem) for f in report["findings"] for r in f["records"]}
        else:
            found = tools.found(report)
        wrong, count = case.poisoned.wrong, len(case.folder or case.poisoned.rows)
        recall = len(found & wrong) / len(wrong) if wrong else 1.0
        return Score(recall, len(found - wrong - case.poisoned.twins) / (count - len(wrong)))

    @staticmethod
    def pictures(images: list[Picture], words: list[str]) -> dict[str, object]:
        with tempfile.TemporaryDirectory() as place:
            pictures.folder(Path(place), images)
            told = subprocess.run([VAULT, "dataset", "scan", place, "--json", *words], capture_output=True, check=True)
            return json.loads(told.stdout)


def worst(scores: list[Score]) -> tuple[float, float, float]:
    """Worst recall, mean recall, most honest records flagged. The first of the scores is that of the set as it is."""
    recalls = [score.recall for score in scores[1:]]
    return min(recalls), sum(recalls) / len(recalls), max(score.honest for score in scores)


def choose(grid: list[Bars], others: list[list[list[Score]]], most: float) -> int:
    """The place in the grid of the best bars on other sets. `others`: by set, by bars, by case."""

    def merit(at: int) -> tuple[float, ...]:
        each = [worst(by_bars[at]) for by_bars in others]
        honest = max(score[2] for score in each)
        recalls = [score[0] for score in each]
        beyond = max(0.0, honest - most)
        # Of equals the first, which is nearer to the standard ones.
        return -beyond, min(recalls), sum(score[1] for score in each) / len(each), -honest, -at

    return max(range(len(grid)), key=merit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", action="append", choices=list(GRIDS), help="only this one; may be repeated")
    parser.add_argument("--data", type=Path, default=ROOT / ".venv/data")
    parser.add_argument("--debian", type=Path)
    parser.add_argument("--without", action="append", default=[], metavar="SET", help="as if it were not there")
    parser.add_argument("--most", type=int, default=3000)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "modelvault-poison")
    given = parser.parse_args()
    scans = Scans(given.cache)
    for detector in given.detector or GRIDS:
        grid, most = GRIDS[detector], MOST[detector]
        print(f"\n{detector}: at most {most:.1%} of what is honest flagged; standard {grid[0]}", flush=True)
        scores: dict[str, list[list[Score]]] = {}
        names: dict[str, list[str]] = {}
        for name, cases in sets(detector, given.data, given.debian, given.most):
            if name in given.without:
                continue
            scores[name] = [[scans.score(case, detector, bars) for case in cases] for bars in grid]
            names[name] = [case.attack for case in cases]
        each = f"{'worst':>6} {'mean':>6} {'honest':>7} {'clean':>7}"
        print(f"  {'':<20} {'with bars chosen on others':<32}standard bars")
        print(f"  {'left out':<20} {each}   {each}   chosen; where it is worst")
        for name, mine in scores.items():
            at = choose(grid, [other for known, other in scores.items() if known != name], most)
            cells = []
            for bars in (at, 0):
                low, mean, honest = worst(mine[bars])
                cells.append(f"{low:6.2f} {mean:6.2f} {honest:7.2%} {mine[bars][0].honest:7.2%}")
            least = min(range(1, len(names[name])), key=lambda case: mine[at][case].recall)
            chosen = "standard" if at == 0 else ", ".join(f"{n} {v:g}" for n, v in grid[at].items())
            print(f"  {name:<20} {cells[0]}   {cells[1]}   {chosen}; {names[name][least]}", flush=True)


if __name__ == "__main__":
    main()
