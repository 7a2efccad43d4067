"""The example: ONNX Runtime computes the same from the vault as from the plain file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from daemon import MODEL, ROOT, Daemon
from lying import Authority, Content, Server, signing_key

EXAMPLE = ROOT / "examples" / "onnxruntime_fetch.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, EXAMPLE, *arguments], capture_output=True, text=True, env=os.environ)


def same(done: subprocess.CompletedProcess[str], version: str) -> None:
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"default/digits@{version}: {MODEL.stat().st_size} bytes, signed by ")
    assert lines[1].startswith("accuracy on 20 images: ")
    assert float(lines[1].rpartition(" ")[2]) >= 0.9
    assert lines[2] == "identical outputs"


def test_from_a_server_in_this_process(server: Server, authority: Authority, tmp_path: Path):
    content = Content({"digits.onnx": MODEL.read_bytes()})
    server.answer = lambda request, context: content.answer(request)
    enrolment = authority.enrol(tmp_path / "enrolment", server.on_tls(authority), signing_key(1))
    same(run("--enrolment", enrolment, "digits"), "v3")
    assert run("--enrolment", enrolment, "digits", "--plain", EXAMPLE).returncode != 0


def test_a_refusal_is_one_line(authority: Authority, tmp_path: Path):
    enrolment = authority.enrol(tmp_path / "enrolment", "127.0.0.1:1", signing_key(1))
    done = run("--enrolment", enrolment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("onnxruntime_fetch: Unreachable: ")


def test_from_the_daemon(daemon: Daemon):
    daemon.vault("seal", MODEL, "--name", "digits")
    enrolment = daemon.enrol("runtime")
    daemon.vault("grant", "runtime", "digits")
    done = run("--enrolment", enrolment, "digits")
    version = done.stdout.partition("@")[2].partition(":")[0]
    same(done, version or "?")
    same(run("--socket", daemon.socket, f"digits@{version}"), version)
