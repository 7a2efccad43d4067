"""The real daemon, driven by the command line as a user drives it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "digits" / "digits.onnx"


def binary() -> Path:
    path = Path(os.environ.get("MODELVAULT_BIN") or ROOT / "target" / "release" / "vault").absolute()
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} is missing: cargo build --release --bin vault, or set MODELVAULT_BIN")
    return path


class Daemon:
    """A vault in a folder of its own with `vault serve` on a free port and a socket."""

    def __init__(self, home: Path) -> None:
        self.binary = binary()
        self.home = home
        self.socket = home / "s"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MODELVAULT_")}
        self.environment = kept | {
            "MODELVAULT_HOME": str(home / "vault"),
            "MODELVAULT_KEY_FILE": str(home / "key"),
            "MODELVAULT_SOCKET": str(self.socket),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_RUNTIME_DIR": str(home),
        }
        self.vault("init", "--key-file", str(home / "key"))
        self.log = (home / "serve.log").open("w+")
        self._process = subprocess.Popen(
            [self.binary, "serve", "--json", "--listen", "127.0.0.1:0", "--socket", self.socket],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            pytest.fail(f"vault serve did not start: {(home / 'serve.log').read_text()}")
        self.address = json.loads(line)["listening"]

    def vault(self, *arguments: str | Path) -> str:
        """Runs a command; its standard output. A failure is the test's."""
        done = subprocess.run(
            [self.binary, *arguments], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 0, f"vault {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def enrol(self, name: str) -> Path:
        directory = self.home / f"enrolment-{name}"
        self.vault("workload", "enroll", name, "-o", directory)
        return directory

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self.log.close()
