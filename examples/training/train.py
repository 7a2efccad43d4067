#!/usr/bin/env python3
"""Trains a classifier on what five contributors signed, and on nothing else.

    python examples/training/train.py [--home DIR]

A curator signs handwritten digits from five contributors as one dataset. A shard that is changed afterwards stops the
training. A contributor that signed wrong labels is found, kept out, and the model trained again; a signed receipt says
which model was trained on what. README.md walks through it.
Needs: pip install 'model-vault' scikit-learn, and the `vault` command (MODELVAULT_BIN, target/release, or the PATH).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import model_vault

CONTRIBUTORS = [f"c{i}" for i in range(1, 6)]
POISONER = "c3"
PIXELS = [f"p{i:02}" for i in range(64)]
SEED = 1
ROOT = Path(__file__).resolve().parents[2]


class Vault:
    """The command line, as one types it."""

    def __init__(self, home: Path) -> None:
        built = ROOT / "target" / "release" / "vault"
        self._binary = os.environ.get("MODELVAULT_BIN") or (str(built) if built.exists() else shutil.which("vault"))
        if not self._binary:
            sys.exit("train.py: no vault command: cargo build --release --bin vault, or set MODELVAULT_BIN")
        self._home = home

    def __call__(self, *words: str, status: int = 0) -> str:
        """Runs a command and shows it; its standard output. It ends with ``status``."""
        print("    $ vault", " ".join(word if " " not in word else repr(word) for word in words))
        done = self.run(*words)
        if done.returncode != status:
            sys.exit(f"train.py: exit status {done.returncode} instead of {status}: {done.stderr}")
        return done.stdout

    def shown(self, *words: str, status: int = 0) -> str:
        """The same, and shows what it says."""
        told = self(*words, status=status)
        print("".join(f"      {line}\n" for line in told.splitlines()), end="")
        return told

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self._binary, *words], cwd=self._home, capture_output=True, text=True)


# The data


def contribute(home: Path) -> tuple[np.ndarray, np.ndarray]:
    """A shard from each contributor, and images that nobody contributed, to measure with."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(labels))
    images, labels = images[order].astype(int), labels[order]
    held_out, shared = order[:400].size, len(labels)
    rng = np.random.default_rng(SEED)
    for number, name in enumerate(CONTRIBUTORS):
        (home / name).mkdir()
        with (home / name / f"{name}.csv").open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["label", *PIXELS])
            for i in range(held_out + number, shared, len(CONTRIBUTORS)):
                # Whoever wants a model to misread digits, and may label them, need not touch the images.
                wrong = name == POISONER and rng.random() < 0.8
                rows.writerow([(labels[i] + wrong) % 10, *images[i]])
    return images[:held_out] / 16, labels[:held_out]


def sign(vault: Vault, home: Path) -> None:
    columns = [{"name": name, "type": "int"} for name in ["label", *PIXELS]]
    (home / "schema.json").write_text(json.dumps({"records": "rows", "columns": columns}))
    (home / "data").mkdir()
    named = []
    for name in CONTRIBUTORS:
        vault("key", "new", name, "-o", f"{name}.pem")
        vault("dataset", "sign", name, "--key", f"{name}.pem", "--schema", "schema.json")
        shutil.copy(home / name / f"{name}.csv", home / "data")
        named += ["--contributor", f"{name}={name}", "--contributor-key", f"{name}={name}.pub.pem"]
    vault("dataset", "sign", "data", "--key", "curator.pem", "--schema", "schema.json", *named)


# The job


def train(home: Path, model: str) -> tuple[model_vault.Dataset, LogisticRegression]:
    """Reads every record through the verifying reader, and writes down what it read."""
    dataset = model_vault.dataset(home / "data", keys=[home / "curator.pub.pem"])
    records = list(dataset.records(shuffle_seed=SEED))
    images = np.array([[record[pixel] for pixel in PIXELS] for record in records]) / 16
    labels = np.array([record["label"] for record in records])
    classifier = LogisticRegression(C=10, max_iter=500).fit(images, labels)
    np.savez(home / model, weights=classifier.coef_, bias=classifier.intercept_)
    dataset.write_receipt(home / f"{model}.receipt.json", [home / model])
    return dataset, classifier


def suspect(vault: Vault, home: Path) -> str:
    """The contributor whose labels do not fit what the others say. It is suspected, not convicted."""
    dataset = model_vault.dataset(home / "data", keys=[home / "curator.pub.pem"])
    with (home / "all.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["contributor", "label", *PIXELS])
        for name in CONTRIBUTORS:
            shard = np.loadtxt(dataset.open(f"{name}.csv"), delimiter=",", skiprows=1, dtype=int)
            rows.writerows([name, *row] for row in shard.tolist())
    scan = ("dataset", "scan", "all.csv", "--label", "label", "--by", "contributor", "--html", "report.html")
    report = json.loads(vault(*scan, "--fail-on", "contributor", "--json", status=11))
    for row in report["contributors"]:
        print(f"    {row['contributor']}: z {row['z']:.1f}")
    [finding] = [f for f in report["findings"] if f["detector"] == "contributor"]
    print(f"    {finding['what']}")
    return str(report["contributors"][0]["contributor"])


def story(home: Path) -> None:
    vault = Vault(home)
    images, labels = contribute(home)

    print("1. Five contributors sign what they supply, and a curator signs the whole.")
    vault("key", "new", "curator", "-o", "curator.pem")
    vault("key", "new", "job", "-o", "job.pem")
    sign(vault, home)

    print("\n2. Somebody changes one label of one shard, after it was signed.")
    shard = home / "data" / "c2.csv"
    signed = shard.read_bytes()
    shard.write_bytes(signed.replace(b"\n7,", b"\n1,", 1))
    try:
        train(home, "poisoned.npz")
    except model_vault.IntegrityError as e:
        print(f"   The training stops: {e.id}: {e.message}")
        assert (e.id, e.details["file"]) == ("DatasetChanged", "c2.csv")
    else:
        raise AssertionError("a changed shard was read")
    assert not (home / "poisoned.npz").exists()
    shard.write_bytes(signed)

    print("\n3. The shard is as it was signed again. The job trains, and its receipt is signed with the model.")
    dataset, classifier = train(home, "first.npz")
    before = classifier.score(images, labels)
    print(f"   Version {dataset.version}, {len(dataset)} records: accuracy {before:.3f} on images nobody contributed")
    vault(
        *("dataset", "receipt", "sign", "first.npz.receipt.json", "--model", "first.npz"),
        *("--key", "job.pem", "-o", "first.receipt"),
    )

    print("\n4. That is low. Verified says who signed what, not that it is right: whose labels fit the least?")
    found = suspect(vault, home)
    print(f"   {found} does.")
    assert found == POISONER

    print(f"\n5. The curator keeps {found} out. No file is rewritten; the models trained on its records are named.")
    told = vault.shown(
        *("dataset", "quarantine", "data", "--contributor", found, "--reason", "its labels are shifted"),
        *("--key", "curator.pem", "--receipt", "first.receipt", "--trust-key", "job.pub.pem"),
    )
    assert "first.npz" in told

    print("\n6. The job trains again.")
    dataset, classifier = train(home, "second.npz")
    after = classifier.score(images, labels)
    print(f"   Version {dataset.version}, {len(dataset)} records: accuracy {after:.3f}, it was {before:.3f}")
    assert dataset.excluded.keys() == {found}
    assert before < 0.90 and after > 0.93 and after - before > 0.05

    print("\n7. Anybody can check later what the second model was trained on, and that the first is tainted.")
    vault(
        *("dataset", "receipt", "sign", "second.npz.receipt.json", "--model", "second.npz"),
        *("--key", "job.pem", "-o", "second.receipt"),
    )
    for number, status in (("second", 0), ("first", 11)):
        vault.shown(
            *("dataset", "receipt", "verify", f"{number}.receipt", "--job-key", "job.pub.pem", "--dataset", "data"),
            *("--key", "curator.pub.pem", "--model", f"{number}.npz"),
            status=status,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains a classifier on what five contributors signed.")
    parser.add_argument("--home", type=Path, metavar="DIR", help="an empty folder to work in, kept afterwards")
    home = parser.parse_args().home
    with tempfile.TemporaryDirectory() as temporary:
        place = (home or Path(temporary)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        os.environ["XDG_STATE_HOME"] = str(place / "state")  # what was seen of a throw-away dataset is thrown away
        story(place)


if __name__ == "__main__":
    main()
