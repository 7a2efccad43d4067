"""The tools that are compared, each with what it is made for, on the same rows.

vault: a scan as anybody runs it; nothing is told about the attack but which column is the label.

cleanlab 2.9.0: out-of-sample probabilities of a logistic regression (five folds), `find_label_issues` with its
defaults, scores by `get_label_quality_scores`; where copies were planted the near duplicates of `Datalab` too.

ART 1.20.1: activation clustering with its defaults, and spectral signatures told to expect 5 % (their default, 33
%, flags half of everything). Both look at the hidden layer of a network. ART's wrappers want PyTorch, TensorFlow or
Keras; here the network is scikit-learn's MLPClassifier with one layer of 64, and `wrap` hands its activations to
the defences, which are ART's own and unchanged. A deep network would do better on images.

Features of the peers: texts as TF-IDF of words and pairs (for network and near duplicates, its 100 first singular
vectors); numbers standardised; words one-hot.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Threads that wait for one another would count as work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "poison"))

import data  # noqa: E402
from attacks import BAD, CONTRIBUTOR  # noqa: E402
from data import Row  # noqa: E402

VAULT = os.environ.get("MODELVAULT_BIN") or str(ROOT / "target/release/vault")


@dataclass
class Verdict:
    """What a tool says of rows."""

    flagged: set[int]
    seconds: float
    """CPU, of all threads."""
    scores: np.ndarray | None = None
    """The higher, the more suspicious; a row each."""
    named: str = ""
    """What it says of contributors."""


def cpu(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def scan(rows: list[Row], *more: str) -> tuple[dict[str, Any], float]:
    """A report, and CPU seconds."""
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "t.csv"
        data.write(table, rows)
        before = cpu(resource.RUSAGE_CHILDREN)
        words = [VAULT, "dataset", "scan", str(table), "--label", "label", "--json", *more]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), cpu(resource.RUSAGE_CHILDREN) - before


def found(report: dict[str, Any]) -> set[int]:
    return {record["record"] - 1 for finding in report["findings"] for record in finding["records"]}


def vault(rows: list[Row], *detectors: str) -> Verdict:
    report, seconds = scan(rows, *[word for name in detectors for word in ("--detector", name)])
    named = ""
    if CONTRIBUTOR in rows[0] and report["contributors"]:
        first, second = report["contributors"][:2]
        named = f"{first['contributor']} first, z {first['z']:.1f}, next {second['z']:.1f}"
    return Verdict(found(report), seconds, named=named)


def vault_labels(rows: list[Row]) -> Verdict:
    """With a score of each row: that of the ranking of labels."""
    report, seconds = scan(rows, "--detector", "label", "--rank", str(len(rows)))
    scores = np.zeros(len(rows))
    for ranking in report["rankings"]:
        if ranking["ranking"] == "label":
            for ranked in ranking["records"]:
                scores[ranked["record"] - 1] = ranked["score"]
    return Verdict(found(report), seconds, scores)


@dataclass
class Peers:
    """Rows as numbers, for what knows no words."""

    rows: list[Row]
    labels: np.ndarray = field(init=False)
    features: Any = field(init=False)
    """Sparse for texts."""
    vectors: np.ndarray = field(init=False)
    """Dense."""
    reading: float = field(init=False)
    """CPU seconds of making these, which every peer needs."""

    def __post_init__(self) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction import DictVectorizer
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import StandardScaler

        names = sorted({str(row["label"]) for row in self.rows})
        self.labels = np.array([names.index(str(row["label"])) for row in self.rows])
        before = cpu(resource.RUSAGE_SELF)
        if "text" in self.rows[0]:
            self.features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(
                str(row["text"]) for row in self.rows
            )
            self.vectors = TruncatedSVD(100, random_state=1).fit_transform(self.features)
        else:
            plain = [{k: v for k, v in row.items() if k not in ("label", CONTRIBUTOR)} for row in self.rows]
            self.features = StandardScaler().fit_transform(DictVectorizer(sparse=False).fit_transform(plain))
            self.vectors = self.features
        self.reading = cpu(resource.RUSAGE_SELF) - before

    def cleanlab(self, duplicates: bool) -> Verdict:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import cross_val_predict

        before = cpu(resource.RUSAGE_SELF)
        model = LogisticRegression(max_iter=400)
        probabilities = cross_val_predict(model, self.features, self.labels, cv=5, method="predict_proba")
        flagged = set(np.flatnonzero(find_label_issues(self.labels, probabilities, n_jobs=1)).tolist())
        scores = 1 - get_label_quality_scores(self.labels, probabilities)
        if duplicates:
            from cleanlab import Datalab

            lab = Datalab({"label": self.labels}, label_name="label", verbosity=0)
            lab.find_issues(features=self.vectors, issue_types={"near_duplicate": {}})
            flagged |= set(np.flatnonzero(lab.get_issues("near_duplicate")["is_near_duplicate_issue"]).tolist())
        return Verdict(flagged, self.reading + cpu(resource.RUSAGE_SELF) - before, None if duplicates else scores)

    def art(self) -> dict[str, Verdict]:
        """Activation clustering and spectral signatures; CPU of each with the training of the network. None where a label
        has fewer rows than the ten dimensions that it reduces each label to."""
        if np.bincount(self.labels).min() < 10:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from art.defences.detector.poison import ActivationDefence, SpectralSignatureDefense
            from sklearn.neural_network import MLPClassifier

            before = cpu(resource.RUSAGE_SELF)
            network = MLPClassifier((64,), max_iter=40, random_state=1).fit(self.vectors, self.labels)
            training = self.reading + cpu(resource.RUSAGE_SELF) - before
            wrapped, one_hot = wrap(network), np.eye(self.labels.max() + 1)[self.labels]

            before = cpu(resource.RUSAGE_SELF)
            _, clean = ActivationDefence(wrapped, self.vectors, one_hot).detect_poison()
            clustering = Verdict(unclean(clean), training + cpu(resource.RUSAGE_SELF) - before)

            before = cpu(resource.RUSAGE_SELF)
            defence = SpectralSignatureDefense(wrapped, self.vectors, one_hot, expected_pp_poison=0.05)
            _, clean = defence.detect_poison()
            scores = np.zeros(len(self.rows))
            for label in np.unique(self.labels):
                mine = np.flatnonzero(self.labels == label)
                raw = defence.spectral_signature_scores(wrapped.get_activations(self.vectors[mine], 0, 128))[:, 0]
                # Every label by itself, as its own flag is.
                scores[mine] = np.argsort(np.argsort(raw)) / len(mine)
            spectral = Verdict(unclean(clean), training + cpu(resource.RUSAGE_SELF) - before, scores)
        return {"ART activations": clustering, "ART spectral": spectral}


def unclean(clean: list[int]) -> set[int]:
    return set(np.flatnonzero(np.asarray(clean) == 0).tolist())


def wrap(network: Any) -> Any:
    """A trained MLPClassifier as an estimator of ART, as far as its poison defences ask one."""
    from art.estimators import BaseEstimator, NeuralNetworkMixin
    from art.estimators.classification import ClassifierMixin

    class Wrapped(ClassifierMixin, NeuralNetworkMixin, BaseEstimator):
        def __init__(self) -> None:
            super().__init__(model=network, clip_values=None, channels_first=False)
            self.nb_classes = len(network.classes_)

        @property
        def input_shape(self) -> tuple[int, ...]:
            return (network.n_features_in_,)

        @property
        def layer_names(self) -> list[str]:
            return ["hidden"]

        def get_activations(
            self, x: np.ndarray, layer: int | str, batch_size: int, framework: bool = False
        ) -> np.ndarray:
            return np.maximum(x @ network.coefs_[0] + network.intercepts_[0], 0)

        def predict(self, x: np.ndarray, **kwargs: Any) -> np.ndarray:
            return network.predict_proba(x)

        def fit(self, x: np.ndarray, y: np.ndarray, **kwargs: Any) -> None:
            raise NotImplementedError("it is trained")

        def compute_loss(self, x: np.ndarray, y: np.ndarray, **kwargs: Any) -> np.ndarray:
            raise NotImplementedError("no defence here asks for it")

    return Wrapped()


def blame(rows: list[Row], verdict: Verdict) -> str:
    """Whom a tool that knows no contributors speaks against most: the share of a contributor's rows that it flags."""
    by: dict[str, list[bool]] = {}
    for i, row in enumerate(rows):
        by.setdefault(str(row[CONTRIBUTOR]), []).append(i in verdict.flagged)
    first, second = sorted(((sum(x) / len(x), name) for name, x in by.items()), reverse=True)[:2]
    return f"{first[1]} first, {first[0]:.0%} flagged, next {second[0]:.0%}" + ("" if first[1] == BAD else " (wrong)")
