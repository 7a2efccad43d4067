"""Whole processes, measured: what the benches share."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VAULT = ROOT / "target/release/vault"
MIB = 1 << 20


@dataclass
class Run:
    user: float
    cpu: float
    wall: float
    rss_mib: float


def run(argv: list, stdin=None, stdout=None) -> Run:
    """Runs a command in a fresh small child, so that its peak memory is its own."""
    before = time.perf_counter()
    child = subprocess.Popen([str(a) for a in argv], stdin=stdin, stdout=stdout or subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - before
    if child.returncode:
        sys.exit(f"{argv[0]} failed ({child.returncode}): {errors.decode(errors='replace')}")
    return Run(usage.ru_utime, usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)
