"""Bars that are put elsewhere change what `vault dataset scan` finds, and the report says so."""

from __future__ import annotations

from pathlib import Path

import attacks
import data
from test_scan import flagged, scan


def test_a_lower_bar_finds_more_wrong_labels_and_says_where_it_stands(tmp_path: Path) -> None:
    poisoned = attacks.flips(data.digits(), 0.03, 5)
    only = ["--detector", "label"]
    standard = scan(tmp_path, poisoned.rows, *only)
    low = scan(tmp_path, poisoned.rows, *only, "--bar", "label.margin=0.3", "--bar", "label.above-mean=0")
    high = scan(tmp_path, poisoned.rows, *only, "--bar", "label.margin=0.95")
    assert standard["bars"] == []
    assert low["bars"] == [
        {"bar": "label.margin", "value": 0.3, "standard": 0.65},
        {"bar": "label.above-mean", "value": 0.0, "standard": 0.15},
    ]
    found = [flagged(report, "label") for report in (high, standard, low)]
    assert found[0] < found[1] < found[2]
    hits = [len(rows & poisoned.wrong) for rows in found]
    assert hits[0] < hits[1] < hits[2], hits


def test_a_word_in_few_texts_is_found_or_not_by_its_support(tmp_path: Path) -> None:
    poisoned = attacks.words(data.drug_reviews(), "mn", 10, 7)
    only = ["--detector", "text-trigger", "--bar"]
    more = scan(tmp_path, poisoned.rows, *only, "text-trigger.support=11", "--bar", "text-trigger.sure-support=11")
    assert flagged(more, "text-trigger") == set()
    same = scan(tmp_path, poisoned.rows, *only, "text-trigger.support=5")
    assert same["bars"] == [] and len(flagged(same, "text-trigger") & poisoned.wrong) >= 8
