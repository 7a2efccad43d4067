"""The client against the real daemon: mutual TLS, the socket, and who gets nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import MODEL, Daemon
from lying import Authority, signing_key

import model_vault


@pytest.fixture(scope="module")
def enrolment(daemon: Daemon) -> Path:
    daemon.vault("seal", MODEL)
    directory = daemon.enrol("reader")
    daemon.vault("grant", "reader", "digits")
    return directory


@pytest.fixture
def client(enrolment: Path) -> Iterator[model_vault.Client]:
    with model_vault.connect(enrolment=enrolment) as client:
        yield client


def refused(enrolment: Path, reference: str) -> model_vault.VaultError:
    with pytest.raises(model_vault.VaultError) as caught, model_vault.connect(enrolment=enrolment) as client:
        client.fetch(reference).save(enrolment.parent / "never")
    assert not (enrolment.parent / "never").exists()
    return caught.value


def test_a_workload_fetches_over_mutual_tls(client, tmp_path):
    artifact = client.fetch("digits")
    assert (artifact.reference, artifact.statement.kind) == ("default/digits@v1", "model")
    assert artifact.single() == MODEL.read_bytes()
    saved = artifact.save(tmp_path / "out")
    assert [p.name for p in saved.iterdir()] == [MODEL.name]
    assert (saved / MODEL.name).read_bytes() == MODEL.read_bytes()
    assert client.fetch(f"digits@b3:{artifact.root}").version == 1


def test_an_operator_fetches_over_the_socket(daemon, enrolment):
    for trust in ({"trust_socket": True}, {"enrolment": enrolment}):
        with model_vault.connect(socket=daemon.socket, **trust) as client:
            assert client.fetch("digits@v1").single() == MODEL.read_bytes()


def test_a_folder_with_large_and_empty_members_arrives_whole(daemon, client, tmp_path):
    content = {"a/large.bin": os.urandom((3 << 20) + 7), "a/one-group": bytes(1 << 20), "empty": b"", "é.txt": b"x"}
    for path, data in content.items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(data)
    daemon.vault("seal", tmp_path / "in", "--name", "many", "--kind", "dataset", "--digest", "blake3")
    daemon.vault("grant", "reader", "many")
    artifact = client.fetch("many")
    assert {m.path: artifact.read(m.path) for m in artifact.members} == content
    saved = artifact.save(tmp_path / "out")
    assert {str(p.relative_to(saved)): p.read_bytes() for p in saved.rglob("*") if p.is_file()} == content
    assert client.fetch("many", members=["a/large.bin"]).single() == content["a/large.bin"]


def test_versions_and_tags_lead_where_they_say(daemon, client, enrolment):
    daemon.vault("seal", MODEL, "--name", "tagged")
    daemon.vault("seal", MODEL, "--name", "tagged", "--tag", "prod")
    daemon.vault("grant", "reader", "tagged")
    assert [client.fetch(f"tagged{at}").version for at in ("", "@prod", "@v1")] == [2, 2, 1]
    daemon.vault("tag", "tagged@v1", "prod")
    # Moved back by an operator, and signed: the client follows.
    back = client.fetch("tagged@prod")
    assert (back.version, back.tag.sequence, back.tag.root) == (1, 2, back.root)
    assert client.fetch("tagged@v1").tag is None


def test_what_was_not_granted_does_not_exist(daemon, enrolment):
    daemon.vault("seal", MODEL, "--name", "secret")
    assert refused(enrolment, "secret").id == "NotFound"
    assert refused(enrolment, "no-such-thing").id == "NotFound"
    assert refused(daemon.enrol("stranger"), "digits").id == "NotFound"


def test_a_revoked_workload_gets_nothing_more(daemon):
    leaver = daemon.enrol("leaver")
    daemon.vault("grant", "leaver", "digits")
    with model_vault.connect(enrolment=leaver) as client:
        artifact = client.fetch("digits")
        assert artifact.single() == MODEL.read_bytes()
        daemon.vault("workload", "revoke", "leaver")
        # On the connection that stands, too.
        with pytest.raises(model_vault.VaultError) as caught:
            artifact.single()
        assert caught.value.kind in ("Unauthenticated", "Denied", "NotFound")
    assert refused(leaver, "digits").kind in ("Unauthenticated", "Denied", "NotFound")


def test_a_foreign_certificate_is_refused_and_says_so(daemon, enrolment, tmp_path):
    foreign = Authority().enrol(tmp_path / "foreign", daemon.address, signing_key(1))
    # Under the wrong CA it does not even speak to this server; with the right one the server does not speak to it.
    assert refused(foreign, "digits").id == "BadCredential"
    shutil.copy(enrolment / "ca.crt", foreign / "ca.crt")
    assert refused(foreign, "digits").id == "BadCredential"


def test_another_signer_is_not_enough(client):
    with pytest.raises(model_vault.IntegrityError) as caught:
        client.fetch("digits", require_signer=["00" * 32])
    assert caught.value.id == "SignatureMissing"
    signers = client.fetch("digits").signers
    assert client.fetch("digits", require_signer=[signers[0][:16]]).version == 1


def test_the_audit_log_holds_after_all_this(daemon, enrolment):
    daemon.vault("audit", "verify")
