"""What is checked in is what scripts/python-stubs makes of the contracts today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "model_vault"


def generated(root: Path) -> dict[str, str]:
    files = [root / "_error_table.py", *(p for p in (root / "_proto").iterdir() if p.is_file())]
    return {str(p.relative_to(root)): p.read_text() for p in files}


def test_stubs_and_error_table_have_not_drifted(tmp_path: Path):
    subprocess.run([sys.executable, ROOT / "scripts" / "python-stubs", tmp_path], check=True)
    made, kept = generated(tmp_path), generated(PACKAGE)
    drifted = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
    assert drifted == [], "run scripts/python-stubs and commit what it writes"


def test_types_and_style_hold():
    for command in (["mypy"], ["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT / "python", check=True)
