"""Mutual TLS, the Unix socket, and the directory of an enrolment."""

from __future__ import annotations

import base64
import datetime
import json
import pickle
import shutil
import socket
from pathlib import Path

import grpc
import pytest
from lying import Authority, Content, Server, keyid_of, signing_key, spki_of

import model_vault
from model_vault import errors
from model_vault._enrolment import is_address
from model_vault._names import Reference

CONTENT = Content({"model.onnx": b"weights"})


def refused(id: str, **arguments: object) -> model_vault.VaultError:
    with pytest.raises(model_vault.VaultError) as caught, model_vault.connect(**arguments) as client:
        client.fetch("digits")
    assert caught.value.id == id, caught.value
    return caught.value


@pytest.fixture
def address(server: Server, authority: Authority) -> str:
    server.answer = lambda request, context: CONTENT.answer(request)
    return server.on_tls(authority)


@pytest.fixture
def enrolment(tmp_path: Path, authority: Authority, address: str) -> Path:
    return authority.enrol(tmp_path / "enrolment", address, signing_key(1))


def test_an_enrolled_workload_fetches(enrolment, address, monkeypatch):
    with model_vault.connect(enrolment=enrolment) as client:
        assert client.fetch("digits").single() == b"weights"
    monkeypatch.setenv("MODELVAULT_ENROLMENT", str(enrolment))
    monkeypatch.setenv("MODELVAULT_SERVER", address)
    # A proxy of the environment does not come between.
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with model_vault.connect() as client:
        assert client.fetch("digits").single() == b"weights"


def test_names_and_ipv6_addresses_work(server, authority, tmp_path):
    server.answer = lambda request, context: CONTENT.answer(request)
    try:
        address = server.on_tls(authority, "[::1]", ("::1", "localhost"))
    except RuntimeError:
        address = server.on_tls(authority, "127.0.0.1", ("127.0.0.1", "localhost"))
    enrolment = authority.enrol(tmp_path / "enrolment", address, signing_key(1))
    for place in (address, f"localhost:{address.rpartition(':')[2]}"):
        with model_vault.connect(enrolment=enrolment, address=place) as client:
            assert client.fetch("digits").single() == b"weights"


def test_a_server_under_another_ca_or_name_is_refused(server, authority, address, enrolment, tmp_path):
    stranger = Authority().enrol(tmp_path / "stranger", address, signing_key(1))
    assert "BadCredential: the server's certificate" in str(refused("BadCredential", enrolment=stranger))
    other_name = f"localhost:{address.rpartition(':')[2]}"
    assert "another host" in str(refused("BadCredential", enrolment=enrolment, address=other_name))
    assert server.requests == []


def test_a_certificate_that_ran_out_says_so(authority, address, tmp_path):
    old = authority.enrol(tmp_path / "old", address, signing_key(1), lifetime=datetime.timedelta(minutes=-1))
    assert "ran out" in str(refused("BadCredential", enrolment=old))


def test_a_foreign_client_is_refused_by_the_server(server, authority, address, enrolment, tmp_path):
    foreign = Authority().enrol(tmp_path / "foreign", address, signing_key(1))
    shutil.copy(enrolment / "ca.crt", foreign / "ca.crt")
    with pytest.raises(model_vault.VaultError) as caught, model_vault.connect(enrolment=foreign) as client:
        client.fetch("digits")
    assert caught.value.kind in ("Unauthenticated", "Unavailable")
    assert server.requests == []


def test_nobody_there_is_unreachable(authority, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        enrolment = authority.enrol(tmp_path / "enrolment", address, signing_key(1))
        refused("Unreachable", enrolment=enrolment)
    refused("Unreachable", socket=tmp_path / "none.sock", signers=[spki_of(signing_key(1))])
    (tmp_path / "file").touch()
    refused("InvalidArgument", socket=tmp_path / "file", signers=[spki_of(signing_key(1))])


def test_sockets_may_have_any_path(server, tmp_path, monkeypatch):
    server.answer = lambda request, context: CONTENT.answer(request)
    place = tmp_path / "a b%41#?é"
    place.mkdir()
    server.on_socket(tmp_path / "s")
    (place / "vault.sock").symlink_to(tmp_path / "s")
    for path in (place / "vault.sock", "s"):
        monkeypatch.chdir(tmp_path)
        with model_vault.connect(socket=path, signers=[spki_of(signing_key(1))]) as client:
            assert client.fetch("digits").single() == b"weights"


def test_an_enrolment_says_whom_to_believe_on_the_socket(server, authority, tmp_path):
    server.answer = lambda request, context: CONTENT.answer(request)
    server.on_socket(tmp_path / "vault.sock")
    enrolment = authority.enrol(tmp_path / "enrolment", "localhost:1", signing_key(1))
    with model_vault.connect(socket=tmp_path / "vault.sock", enrolment=enrolment) as client:
        assert client.fetch("digits").single() == b"weights"
    refused("SignatureMissing", socket=tmp_path / "vault.sock")
    refused("SignatureMissing", socket=tmp_path / "vault.sock", enrolment=enrolment, signers=[spki_of(signing_key(2))])


def test_contradicting_arguments_are_refused(enrolment, tmp_path):
    refused("NoCredential")
    refused("NoCredential", address="localhost:1")
    refused("InvalidArgument", enrolment=enrolment, address="localhost")
    refused("InvalidArgument", enrolment=enrolment, address="unix:/tmp/x")
    refused("InvalidArgument", enrolment=enrolment, silence=0)
    refused("InvalidArgument", socket=tmp_path / "s", address="localhost:1", signers=[spki_of(signing_key(1))])


def test_a_private_key_others_can_read_is_refused(enrolment):
    (enrolment / "client.key").chmod(0o640)
    assert "chmod 600" in refused("BadCredential", enrolment=enrolment).hint


@pytest.mark.parametrize("name", ["client.key", "client.crt", "ca.crt", "trust.json"])
def test_damaged_enrolments_are_refused(enrolment, authority, tmp_path, name):
    path = enrolment / name
    good = path.read_bytes()
    path.unlink()
    assert "vault workload enroll" in refused("NotFound", enrolment=enrolment).hint
    path.mkdir()
    refused("ConfigInvalid", enrolment=enrolment)
    path.rmdir()
    for bad in (b"", b"junk", bytes(70_000)):
        path.write_bytes(bad)
        path.chmod(0o600)
        assert refused_kind(enrolment) in ("BadCredential", "ConfigInvalid")
    if name != "trust.json":
        path.write_bytes(good * 2)
        if name != "client.key":
            refused("BadCredential", enrolment=enrolment)
    other = authority.enrol(tmp_path / "other", "localhost:1", signing_key(1), namespace="other")
    path.write_bytes((other / name).read_bytes())
    if name != "ca.crt":
        refused("BadCredential", enrolment=enrolment)


def refused_kind(enrolment: Path) -> str:
    with pytest.raises(model_vault.VaultError) as caught:
        model_vault.connect(enrolment=enrolment)
    return caught.value.id


def test_trust_is_read_strictly(enrolment):
    path = enrolment / "trust.json"
    good = json.dumps(json.loads(path.read_text()), separators=(",", ":"))
    keyid, spki = keyid_of(signing_key(1)), base64.b64encode(spki_of(signing_key(1))).decode()
    for old, new in [
        ('"version":1', '"version":2'),
        ('"version":1', '"version":"1"'),
        ('"version":1,', ""),
        ('"version":1', '"version":1,"version":1'),
        ('"version":1', '"version":1,"extra":true'),
        ('"default"', '"../x"'),
        ('"address":"', '"address":"unix:'),
        ('"keyid"', '"key"'),
        (keyid, "00" * 32),
        (keyid, keyid.upper()),
        (spki, "AAAA"),
        ('"signers":[', '"signers":[1,'),
    ]:
        assert old in good
        path.write_text(good.replace(old, new, 1))
        refused("ConfigInvalid", enrolment=enrolment)


def test_addresses():
    for good in ("localhost:7443", "10.0.0.1:1", "[::1]:7443", "vault.prod.example:65535"):
        assert is_address(good), good
    for bad in (
        "localhost",
        ":1",
        "localhost:0",
        "localhost:65536",
        "a:+1",
        "::1:1",
        "[x]:1",
        "unix:/x",
        "a b:1",
        "dns:///a:1",
    ):
        assert not is_address(bad), bad


def test_references():
    def parsed(text: str) -> str:
        return str(Reference.parse(text))

    assert parsed("resnet") == "default/resnet@latest"
    assert parsed("prod/resnet@v3") == "prod/resnet@v3"
    assert parsed(f"r@b3:{'ab' * 32}") == f"default/r@b3:{'ab' * 32}"
    assert parsed("r@v3a") == "default/r@v3a"
    assert parsed("r@v99999999999999999999999") == f"default/r@v{2**64 - 1}"
    assert Reference.parse("vault://prod/resnet@gold/onnx/model.onnx").member == "onnx/model.onnx"
    assert Reference.parse("vault://prod/resnet/").member is None
    bad = [
        "",
        "/",
        "A",
        "a/b/c",
        "a@",
        "a@b3:12",
        "vault://a",
        "../x",
        "a b",
        "-a",
        "a" * 65,
        "a\n",
        "vault://a/b/../c",
    ]
    for text in bad:
        with pytest.raises(model_vault.UsageError):
            Reference.parse(text)


class Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str, metadata: dict[str, str]) -> None:
        self.code = lambda: code
        self.details = lambda: details
        self.trailing_metadata = lambda: tuple(metadata.items())


def test_errors_of_the_vault_keep_their_id_hint_and_patience():
    metadata = {
        "x-modelvault-error": "QuotaExceeded",
        "x-modelvault-hint": "tomorrow %C3%A9",
        "retry-after": "1500",
        "x-modelvault-details": "%7B%22limit%22:%229%22,%22n%22:1%7D",
    }
    failure = errors.from_rpc(Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much", metadata))
    assert isinstance(failure, model_vault.QuotaExceeded)
    assert (failure.id, failure.kind, failure.hint, failure.retry_after) == (
        "QuotaExceeded",
        "Quota",
        "tomorrow é",
        1.5,
    )
    assert failure.details == {"limit": "9"}
    assert str(failure) == "QuotaExceeded: too much (hint: tomorrow é)"
    again = pickle.loads(pickle.dumps(failure))
    assert (type(again), again.id, again.retry_after) == (type(failure), failure.id, 1.5)


@pytest.mark.parametrize(
    ("code", "id"),
    [
        ("PERMISSION_DENIED", "Denied"),
        ("NOT_FOUND", "NotFound"),
        ("UNAUTHENTICATED", "NoCredential"),
        ("UNAVAILABLE", "Unreachable"),
        ("UNIMPLEMENTED", "InvalidArgument"),
        ("DATA_LOSS", "StreamBroken"),
        ("UNKNOWN", "Unreachable"),
    ],
)
def test_statuses_without_an_id_are_read_by_their_code(code, id):
    for metadata in ({}, {"x-modelvault-error": "NoSuchId"}, {"x-modelvault-error": "Findings"}):
        assert errors.from_rpc(Failure(grpc.StatusCode[code], "x", metadata)).id == id


def test_every_kind_has_a_class_and_every_error_a_kind():
    kinds = {kind for kind, _, _ in errors.ERRORS.values()}
    assert kinds - set(errors._CLASSES) == {"Findings"}
    for id, (kind, _, _) in errors.ERRORS.items():
        if kind != "Findings":
            assert errors.error(id, "x").kind == kind
