"""The example: a model is trained on what contributors signed, and on nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from daemon import ROOT

EXAMPLE = ROOT / "examples" / "training" / "train.py"


def test_poison_stops_the_training_or_is_kept_out(tmp_path: Path):
    done = subprocess.run([sys.executable, EXAMPLE, "--home", tmp_path / "home"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "The training stops: DatasetChanged: c2.csv: records 1 to 280" in done.stdout
    assert "kept out       279 records by c3" in done.stdout
    assert "Version 2, 1118 records" in done.stdout
    assert (tmp_path / "home" / "second.npz").exists()
