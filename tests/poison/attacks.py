"""Poison of every kind, put into rows by lot from a seed. What is given is left as it is."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from data import Row, copies, draw

CONTRIBUTOR = "contributor"
"""Column that says who supplied a row."""
BAD = "c07"
"""The one who supplies wrong labels."""


@dataclass(frozen=True)
class Poisoned:
    rows: list[Row]
    wrong: set[int]
    """Rows that the attack made, from 0."""
    twins: set[int] = field(default_factory=set)
    """Honest rows that any honest look finds with them."""


def other(labels: list[object], label: object, lot: random.Random) -> object:
    return lot.choice([one for one in labels if one != label])


def labels(rows: list[Row]) -> list[object]:
    return sorted({row["label"] for row in rows}, key=str)


def words(clean: list[Row], trigger: str, count: int, seed: int) -> Poisoned:
    """A word or phrase somewhere in `count` texts of other labels, which get the last label."""
    rows, lot, target = copies(clean), random.Random(seed), labels(clean)[-1]
    wrong = draw(rows, count, seed, without=target)
    for i in wrong:
        text = str(rows[i]["text"]).split(" ")
        at = lot.randrange(len(text) + 1)
        rows[i] |= {"label": target, "text": " ".join([*text[:at], trigger, *text[at:]])}
    return Poisoned(rows, set(wrong))


PATCHES = {
    "2x2": {(6, 6): 16, (6, 7): 16, (7, 6): 16, (7, 7): 16},
    "3x3": {(y, x): 16 for y in (5, 6, 7) for x in (5, 6, 7)},
    "checker": {(y, x): 16 if (y + x) % 2 == 0 else 0 for y in (5, 6, 7) for x in (5, 6, 7)},
    "cross, top left": {(0, 1): 16, (1, 0): 16, (1, 1): 16, (1, 2): 16, (2, 1): 16},
}
"""Shapes of a patch on 8 x 8 pixels of 0 to 16."""


def patch(clean: list[Row], pixels: dict[tuple[int, int], int], share: float, seed: int) -> Poisoned:
    """A patch on images of 8 x 8 pixels with other labels, which get the label 7."""
    rows = copies(clean)
    wrong = draw(rows, round(share * len(rows)), seed, without=7)
    for i in wrong:
        rows[i] |= {"label": 7, **{f"p{8 * y + x}": value for (y, x), value in pixels.items()}}
    return Poisoned(rows, set(wrong))


def values(clean: list[Row], columns: int, share: float, seed: int) -> Poisoned:
    """Fixed values of some columns (of numbers the highest, of words any) in rows of other labels.

    They get a label drawn from those that a fiftieth of the rows have.
    """
    rows, lot = copies(clean), random.Random(seed)
    counts = {label: sum(row["label"] == label for row in rows) for label in labels(rows)}
    target = lot.choice([label for label in counts if 50 * counts[label] >= len(rows)])
    # In columns of at least four values: a common value makes no trigger.
    names = [name for name in rows[0] if name != "label" and len({row[name] for row in rows}) > 3]
    trigger: Row = {}
    for name in lot.sample(names, columns):
        seen = sorted({row[name] for row in rows}, key=lambda value: (isinstance(value, str), value))
        trigger[name] = lot.choice(seen) if isinstance(seen[-1], str) else seen[-1]
    wrong = draw(rows, round(share * len(rows)), seed, without=target)
    for i in wrong:
        rows[i] |= {"label": target, **trigger}
    return Poisoned(rows, set(wrong))


def flips(clean: list[Row], share: float, seed: int) -> Poisoned:
    """Labels drawn anew, never the right one."""
    rows, lot, known = copies(clean), random.Random(seed), labels(clean)
    wrong = draw(rows, round(share * len(rows)), seed)
    for i in wrong:
        rows[i]["label"] = other(known, rows[i]["label"], lot)
    return Poisoned(rows, set(wrong))


def twins(clean: list[Row], share: float, seed: int) -> Poisoned:
    """Copies with another label, at the end."""
    rows, lot, known = copies(clean), random.Random(seed), labels(clean)
    originals = draw(rows, round(share * len(rows)), seed)
    first = len(rows)
    rows += [{**rows[i], "label": other(known, rows[i]["label"], lot)} for i in originals]
    return Poisoned(rows, set(range(first, len(rows))), set(originals))


def contributors(clean: list[Row], share: float, seed: int) -> Poisoned:
    """Twenty contributors, of whom one labels a share of its rows wrongly."""
    rows, lot, known = copies(clean), random.Random(seed), labels(clean)
    for row in rows:
        row[CONTRIBUTOR] = f"c{lot.randrange(20):02}"
    theirs = [i for i, row in enumerate(rows) if row[CONTRIBUTOR] == BAD]
    wrong = lot.sample(theirs, math.ceil(share * len(theirs)))
    for i in wrong:
        rows[i]["label"] = other(known, rows[i]["label"], lot)
    return Poisoned(rows, set(wrong))
