"""Signing again what changed only in part: what is read, counted by system call, and what the reference says of the result."""

import json
import os
import subprocess
import time

import pytest

from conftest import VAULT

LARGE = 40_000_000


@pytest.fixture
def large(vault, keys, tmp_path):
    """A model of which a signing has a record: its files are older than the coarsest clock of a file system."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(os.urandom(LARGE))
    (model / "README.md").write_text("old")
    time.sleep(3.1)
    vault("sign", model, "--key", keys / "p256.pem")
    return model


def bytes_read(vault, model, *args) -> tuple:
    """The document of a command, and the bytes that it read of each file of the model."""
    trace = model.parent / "trace"
    command = ["strace", "-f", "-qq", "-y", "-e", "trace=read,pread64,readv,preadv,preadv2,mmap", "-o", trace, VAULT, *args, "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=vault.env)
    assert done.returncode == 0, done.stdout + done.stderr
    read, waiting = {}, {}
    for line in trace.read_text().splitlines():
        process = line.split()[0]
        if f"<{model}/" in line:
            assert "mmap(" not in line, line
            waiting[process] = line.split(f"<{model}/")[1].split(">")[0]
        if " = " in line and (name := waiting.pop(process, None)):
            read[name] = read.get(name, 0) + int(line.rsplit(" = ", 1)[1].split()[0])
    return json.loads(done.stdout), read


def test_a_new_readme_costs_its_own_bytes_and_the_reference_accepts(vault, reference, keys, large):
    (large / "README.md").write_text("newer")
    again = ["sign", large, "--key", keys / "p256.pem", "--since", large / "model.sig"]
    document, read = bytes_read(vault, large, *again)
    assert (document["bytes"], document["reused_bytes"]) == (LARGE + 5, LARGE)
    assert "weights.bin" not in read and read["README.md"] == 5, read
    reference.accepts(large, large / "model.sig", keys / "p256.pub", "--ignore-paths", large / "claims.jsonl")
    vault("verify", large, "--key", keys / "p256.pub")
    # The README was written just before it was read: the next time it is read again.
    _, read = bytes_read(vault, large, *again)
    assert "weights.bin" not in read and read["README.md"] == 5, read
    _, read = bytes_read(vault, large, *again, "--paranoid")
    assert read["weights.bin"] == LARGE, read


def test_what_was_written_is_read_again_whatever_its_size_and_date(vault, reference, keys, large):
    weights = large / "weights.bin"
    before = weights.stat()
    with open(weights, "r+b") as file:
        file.write(b"backdoor")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.stat().st_mtime_ns == before.st_mtime_ns
    document = vault("sign", large, "--key", keys / "p256.pem", "--since", large / "model.sig")
    assert document["reused_bytes"] == 3
    vault("verify", large, "--key", keys / "p256.pub")
    reference.accepts(large, large / "model.sig", keys / "p256.pub", "--ignore-paths", large / "claims.jsonl")


def test_the_earlier_signature_must_be_one_s_own_and_records_cannot_be_written_by_others(vault, keys, large):
    stranger = vault("sign", large, "--key", keys / "stranger.pem", "--since", large / "model.sig", ok=False)
    assert stranger["error"]["id"] == "SignatureMissing"
    bundle = (large / "model.sig").read_text()
    (large / "model.sig").write_text(bundle.replace('"sig":"M', '"sig":"N'))
    assert vault("sign", large, "--key", keys / "p256.pem", "--since", large / "model.sig", ok=False)["error"]["id"]
    (large / "model.sig").write_text(bundle)
    for record in (vault.cache / "modelvault/signed").iterdir():
        assert record.stat().st_mode & 0o077 == 0
        text = bytearray(record.read_bytes())
        text[len(text) // 2] ^= 1
        record.write_bytes(text)
    document = vault("sign", large, "--key", keys / "p256.pem", "--since", large / "model.sig")
    assert document["reused_bytes"] == 0
