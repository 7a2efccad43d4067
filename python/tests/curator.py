"""Signs datasets as ``vault dataset sign`` does, from the documents alone: statement, pieces, contributors, hashes of
records. A second implementation, so that the reader is not held against itself."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blake3 import blake3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lying import moment, signing_key

PrivateKey = Any  # Ed25519, ECDSA or ML-DSA
Cut = list[tuple[bytes, int]]
IN_TOTO = "application/vnd.in-toto+json"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blake3_of(data: bytes) -> str:
    return blake3(data).hexdigest()


def pem_of(*keys: PrivateKey) -> str:
    public = [k.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for k in keys]
    return b"".join(public).decode()


def sign(key: PrivateKey, message: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA({256: hashes.SHA256, 384: hashes.SHA384}[key.key_size]()))
    return key.sign(message)


def bundle(payload: bytes, key: PrivateKey, **changes: Any) -> dict[str, Any]:
    message = b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO.encode(), len(payload), payload)
    signature = base64.b64encode(sign(key, message)).decode()
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": sha256(pem_of(key).encode())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": signature, "keyid": ""}],
        },
    } | changes


# Records


def encoded(value: Any, kind: str) -> bytes:
    """The canonical form of a value of a column."""

    def tagged(tag: int, data: bytes) -> bytes:
        return bytes([tag]) + struct.pack("<I", len(data)) + data

    if value is None:
        return tagged(0, b"")
    if isinstance(value, bool):
        return tagged(1, bytes([value]))
    if isinstance(value, int) and kind != "float":
        return tagged(2, struct.pack("<q", value)) if value < 1 << 63 else tagged(3, struct.pack("<Q", value))
    if isinstance(value, int | float):
        return tagged(4, struct.pack("<d", value or 0.0))
    if isinstance(value, str):
        return tagged(7, value.encode())
    if isinstance(value, list):
        return tagged(9, b"".join(encoded(inner, "any") for inner in value))
    members = sorted(value.items(), key=lambda member: member[0].encode())
    return tagged(10, b"".join(encoded(k, "any") + encoded(v, "any") for k, v in members))


def schema_of(types: dict[str, str] | None) -> dict[str, Any]:
    if types is None:
        return {"records": "lines"}
    columns = [{"name": name, "type": types[name]} for name in sorted(types, key=str.encode)]
    return {"records": "rows", "columns": columns}


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, as it is defined."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


def records_root(records: Iterable[dict[str, Any]], types: dict[str, str] | None) -> str:
    schema = hashlib.sha256(compact(schema_of(types)).encode()).digest()
    columns = sorted(types or {"text": "text"}, key=str.encode)
    kinds = types or {"text": "text"}

    def leaf(record: dict[str, Any]) -> bytes:
        assert sorted(record, key=str.encode) == columns
        fields = b"".join(encoded(record[name], kinds[name]) for name in columns)
        return hashlib.sha256(b"\0" + schema + fields).digest()

    return root_of([leaf(record) for record in records]).hex()


# Files


def cut(data: bytes, form: str, records: int) -> Cut:
    """Pieces of so many records: a record ends at a newline that is not within quotes. The header of a table is one."""
    if form not in ("csv", "tsv", "jsonl", "lines"):
        return [(data[i : i + (1 << 20)], 0) for i in range(0, len(data), 1 << 20)]
    ends, quoted, blank = [], False, []
    start = 0
    for at, byte in enumerate(data):
        quoted ^= byte == 0x22 and form in ("csv", "tsv")
        if (byte == 0x0A and not quoted) or at == len(data) - 1:
            ends.append(at + 1)
            blank.append(form != "lines" and not data[start : at + 1].strip(b"\r\n " if form == "jsonl" else b"\r\n"))
            start = at + 1
    if form in ("csv", "tsv") and b"," not in data[: ends[0]] and b"\t" not in data[: ends[0]]:
        blank = [False] * len(ends)
    pieces: Cut = [(data[: ends[0]], 0)] if form in ("csv", "tsv") else []
    first = begin = 1 if pieces else 0
    count = 0
    for i in range(first, len(ends)):
        count += not blank[i]
        if count == records or i == len(ends) - 1:
            pieces.append((data[ends[begin - 1] if begin else 0 : ends[i]], count))
            begin, count = i + 1, 0
    return pieces


@dataclass
class Curator:
    """The owner of a dataset in a directory (or of one file)."""

    home: Path
    types: dict[str, str] | None = None
    key: PrivateKey = field(default_factory=lambda: signing_key(1))
    name: str = "d"
    per_piece: int = 10
    payloads: list[bytes] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)
    contributors: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)

    def beside(self, name: str) -> Path:
        return self.home / name if self.home.is_dir() else self.home.with_name(f"{self.home.name}.{name}")

    def paths(self) -> list[str]:
        if not self.home.is_dir():
            return [self.home.name]
        found = (str(p.relative_to(self.home)) for p in self.home.rglob("*") if p.is_file())
        return sorted((p for p in found if not p.startswith("dataset.")), key=str.encode)

    def entry(self, path: str) -> dict[str, Any]:
        data = (self.home / path if self.home.is_dir() else self.home).read_bytes()
        form = {"txt": "lines", "csv": "csv", "tsv": "tsv", "jsonl": "jsonl", "parquet": "parquet"}
        kind = form.get(path.rpartition(".")[2], "file")
        pieces = self.cuts[path] = cut(data, kind, self.per_piece)
        text = "".join(f"{len(piece)} {records} {blake3_of(piece)}\n" for piece, records in pieces)
        count = sum(records for _, records in pieces)
        if kind == "parquet":
            count = self.changes.get("parquet_records", 0)
        tree = self.beside("dataset.tree") / path
        tree.mkdir(parents=True, exist_ok=True)
        (tree / "pieces").write_text(text)
        entry = {
            "path": path,
            "format": kind,
            "size": len(data),
            "sha256": sha256(data),
            "records": count,
            "root": sha256(b"not of interest here"),
            "pieces": sha256(text.encode()),
        }
        if path in self.contributors:
            runs = "".join(f"{count} {number}\n" for count, number in self.contributors[path])
            (tree / "contributors").write_text(runs)
            entry["contributors"] = sha256(runs.encode())
        return entry

    def statement(self, **changes: Any) -> dict[str, Any]:
        files = [self.entry(path) for path in self.paths()]
        predicate = {
            "version": len(self.payloads) + 1,
            **({"previous": sha256(self.payloads[-1])} if self.payloads else {}),
            "created": moment(0),
            "schema": schema_of(self.types),
            "records": sum(file["records"] for file in files),
            "files": files,
        } | changes
        return self.about(predicate)

    def about(self, predicate: dict[str, Any]) -> dict[str, Any]:
        leaves = []
        for f in predicate["files"]:
            path = f["path"].encode()
            leaf = struct.pack("<Q", len(path)) + path + struct.pack("<Q", f["size"]) + bytes.fromhex(f["sha256"])
            leaf += struct.pack("<Q", f["records"]) + bytes.fromhex(f["root"])
            leaves.append(hashlib.sha256(b"\0" + leaf).digest())
        return {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": self.name, "digest": {"sha256": root_of(leaves).hex()}}],
            "predicateType": "https://modelvault.example/dataset/v1",
            "predicate": predicate,
        }

    def sign(
        self, statement: dict[str, Any] | None = None, *, keys: Sequence[PrivateKey] = (), **changes: Any
    ) -> bytes:
        """Appends a version."""
        payload = compact(statement or self.statement(**changes)).encode()
        self.payloads.append(payload)
        with self.beside("dataset.sig").open("a") as file:
            for key in keys or [self.key]:
                file.write(compact(bundle(payload, key)) + "\n")
        return payload

    @property
    def pem(self) -> str:
        return pem_of(self.key)


def generate(kind: str) -> PrivateKey:
    if kind == "ed25519":
        return Ed25519PrivateKey.generate()
    if kind == "ml-dsa-65":
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

        return MLDSA65PrivateKey.generate()
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])
