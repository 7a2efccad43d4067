"""A server that keeps to fetch.proto, until a test makes it lie."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from blake3 import blake3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from model_vault._names import Reference
from model_vault._proto import access_pb2, access_pb2_grpc, common_pb2, fetch_pb2, fetch_pb2_grpc
from model_vault._signers import Signer
from model_vault._statement import IN_TOTO, PREDICATE_TYPE, SEAL_PREDICATE_TYPE, STATEMENT_TYPE, pre_authentication
from model_vault._tag import TAG_PREDICATE_TYPE

Message = fetch_pb2.FetchResponse
VAULT_ID = "0123456789abcdef" * 2


def signing_key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def spki_of(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def keyid_of(key: Ed25519PrivateKey) -> str:
    return Signer.from_spki(spki_of(key)).keyid


def envelope(payload: bytes, *keys: Ed25519PrivateKey, payload_type: str = IN_TOTO) -> bytes:
    message = pre_authentication(payload_type, payload)
    signatures = [{"keyid": keyid_of(k), "sig": base64.b64encode(k.sign(message)).decode()} for k in keys]
    document = {"payload": base64.b64encode(payload).decode(), "payloadType": payload_type, "signatures": signatures}
    return json.dumps(document, separators=(",", ":")).encode()


def seal_statements(root: str, *keys: Ed25519PrivateKey, file_id: str = "09" * 32) -> bytes:
    """SIGNATURES of a sealed file: one seal statement for each key."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": file_id, "digest": {"mvlt-root-v1": root}}],
        "predicateType": SEAL_PREDICATE_TYPE,
        "predicate": {"commitment": "06" * 32},
    }
    payload = json.dumps(statement, separators=(",", ":")).encode()
    return b"[" + b",".join(envelope(payload, key) for key in keys) + b"]"


def moment(days: float) -> str:
    """The time in so many days, as statements write it."""
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    return then.strftime("%Y-%m-%dT%H:%M:%S.") + f"{then.microsecond // 1000:03}Z"


def tag_payload(**changes: object) -> dict:
    """A tag statement about what ``Content`` holds by default."""
    predicate = {
        "namespace": "default",
        "name": "digits",
        "tag": "latest",
        "version": 3,
        "root": "07" * 32,
        "sequence": 5,
        "created": moment(0),
        "expires": moment(7),
        **changes,
    }
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": "{namespace}/{name}@{tag}".format(**predicate),
                "digest": {"mvlt-root-v1": predicate["root"]},
            }
        ],
        "predicateType": TAG_PREDICATE_TYPE,
        "predicate": predicate,
    }


def tag_statement(*keys: Ed25519PrivateKey, **changes: object) -> bytes:
    return envelope(json.dumps(tag_payload(**changes)).encode(), *keys)


@dataclass
class Content:
    """An artifact as an honest vault holds it."""

    members: dict[str, bytes]
    namespace: str = "default"
    name: str = "digits"
    version: int = 3
    group_log2: int = 16
    sequence: int = 5
    key: Ed25519PrivateKey = field(default_factory=lambda: signing_key(1))

    def statement(self) -> dict:
        paths = sorted(self.members, key=str.encode)
        return {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": p, "digest": {"blake3": blake3(self.members[p]).hexdigest()}} for p in paths],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "namespace": self.namespace,
                "name": self.name,
                "version": self.version,
                "kind": "model",
                "file_id": "09" * 32,
                "payload_size": sum(map(len, self.members.values())),
                "group_log2": self.group_log2,
                "members": [{"size": len(self.members[p])} for p in paths],
                "created": "2026-11-22T08:00:00.123Z",
                "digests": ["blake3"],
            },
        }

    def payload(self) -> bytes:
        return json.dumps(self.statement(), separators=(",", ":")).encode()

    def envelope(self) -> bytes:
        return envelope(self.payload(), self.key)

    def facts(self) -> common_pb2.Version:
        return common_pb2.Version(
            namespace=self.namespace,
            name=self.name,
            number=self.version,
            root=b"\x07" * 32,
            file_id=b"\x09" * 32,
            kind="model",
            payload_size=sum(map(len, self.members.values())),
            member_count=len(self.members),
        )

    def answer(self, request: fetch_pb2.FetchRequest, sealed: bytes | None = None) -> list[Message]:
        """The messages of an honest stream."""
        sealed = self.envelope() if sealed is None else sealed
        start = fetch_pb2.FetchStart(
            version=self.facts(),
            statement_len=len(sealed),
            request_id=request.request_id,
            seal_statements=seal_statements("07" * 32, self.key),
        )
        if tag := Reference.parse(request.reference).tag:
            about = {"namespace": self.namespace, "name": self.name, "version": self.version}
            start.tag_statement = tag_statement(self.key, tag=tag, sequence=self.sequence, **about)
        out = [Message(start=start)]
        out += [Message(statement=sealed[i : i + (1 << 20)]) for i in range(0, len(sealed), 1 << 20)]
        paths = sorted(self.members, key=str.encode)
        wanted = (
            []
            if request.statement_only
            else list(request.members) or [fetch_pb2.MemberSelection(path=p) for p in paths]
        )
        spans = []
        for selected in wanted:
            last = selected.through or selected.path
            spans += [(path, 0, len(self.members[path])) for path in paths if selected.path <= path <= last]
            if selected.HasField("range"):
                spans[-1] = (selected.path, getattr(selected.range, "from"), selected.range.to)
        chunks = total = 0
        for path, begin, end in spans:
            group = 1 << self.group_log2
            data, step = self.members[path], min(group, 1 << 20)
            for offset in range(begin // group * group, min(len(data), -(-end // group) * group), step):
                piece = data[offset : offset + step]
                nodes = b"" if offset % (1 << self.group_log2) else bytes(64)
                chunk = fetch_pb2.FetchChunk(member=paths.index(path), offset=offset, data=piece, nodes=nodes)
                out.append(Message(chunk=chunk))
                chunks, total = chunks + 1, total + len(piece)
        return [*out, Message(end=fetch_pb2.FetchEnd(chunks=chunks, bytes=total))]


Answer = Callable[[fetch_pb2.FetchRequest, grpc.ServicerContext], Iterator[Message] | list[Message]]


class Server(fetch_pb2_grpc.FetchServiceServicer, access_pb2_grpc.AccessServiceServicer):
    """Answers every Fetch with ``answer``, and remembers the requests."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request, context: []
        self.requests: list[fetch_pb2.FetchRequest] = []
        self.signers: list[common_pb2.Signer] = []
        options = [("grpc.so_reuseport", 0), ("grpc.max_send_message_length", 64 << 20)]
        self._server = grpc.server(futures.ThreadPoolExecutor(4), options=options)
        fetch_pb2_grpc.add_FetchServiceServicer_to_server(self, self._server)
        access_pb2_grpc.add_AccessServiceServicer_to_server(self, self._server)

    def Fetch(self, request: fetch_pb2.FetchRequest, context: grpc.ServicerContext) -> Iterator[Message]:
        self.requests.append(request)
        yield from self.answer(request, context)

    def ListSigners(self, request: object, context: grpc.ServicerContext) -> access_pb2.ListSignersResponse:
        return access_pb2.ListSignersResponse(signers=self.signers)

    def on_socket(self, path: Path) -> None:
        assert self._server.add_insecure_port(f"unix:{path}")
        self._server.start()

    def on_tls(self, ca: Authority, host: str = "127.0.0.1", names: tuple[str, ...] = ("127.0.0.1",)) -> str:
        key, certificate = ca.issue_server(names)
        credentials = grpc.ssl_server_credentials([(key, certificate)], ca.pem, require_client_auth=True)
        port = self._server.add_secure_port(f"{host}:0", credentials)
        self._server.start()
        return f"{host}:{port}"

    def stop(self) -> None:
        self._server.stop(0).wait()


class Authority:
    """A certificate authority that lives as long as a test."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throw-away CA")])
        builder = self._builder(self._name, self._key.public_key(), datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(Encoding.PEM)

    def _builder(self, name: x509.Name, key: object, lifetime: datetime.timedelta) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        start = min(now, now + lifetime) - datetime.timedelta(minutes=5)
        builder = x509.CertificateBuilder(subject_name=name, issuer_name=self._name, public_key=key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(start).not_valid_after(now + lifetime)

    def _issue(
        self, san: list[x509.GeneralName], usage: x509.ObjectIdentifier, lifetime: datetime.timedelta
    ) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
        builder = self._builder(name, key.public_key(), lifetime)
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), certificate

    def issue_server(self, names: tuple[str, ...]) -> tuple[bytes, bytes]:
        san: list[x509.GeneralName] = []
        for name in names:
            try:
                san.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                san.append(x509.DNSName(name))
        return self._issue(san, ExtendedKeyUsageOID.SERVER_AUTH, datetime.timedelta(hours=1))

    def enrol(
        self,
        directory: Path,
        address: str,
        *signers: Ed25519PrivateKey,
        namespace: str = "default",
        lifetime: datetime.timedelta = datetime.timedelta(hours=1),
    ) -> Path:
        """Writes what ``vault workload enroll`` writes."""
        uri = x509.UniformResourceIdentifier(f"spiffe://{VAULT_ID}.modelvault/{namespace}/tester")
        key, certificate = self._issue([uri], ExtendedKeyUsageOID.CLIENT_AUTH, lifetime)
        directory.mkdir(mode=0o700)
        (directory / "client.key").touch(0o600)
        (directory / "client.key").write_bytes(key)
        (directory / "client.crt").write_bytes(certificate)
        (directory / "ca.crt").write_bytes(self.pem)
        listed = [{"keyid": keyid_of(k), "spki": base64.b64encode(spki_of(k)).decode()} for k in signers]
        trust = {"version": 1, "address": address, "namespace": namespace, "signers": listed}
        (directory / "trust.json").write_text(json.dumps(trust, indent=2))
        return directory
