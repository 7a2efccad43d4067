"""What is signed at seal, both in-toto Statements v1 in DSSE envelopes: the artifact statement (docs/trust.md 4.1), as
src/manifest/artifact.rs, and the seal statement over the root (docs/format.md 8), as src/seal/signatures.rs.

The signature is checked before the payload is looked at.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import _json
from ._names import is_name, path_is_valid
from ._signers import Signer, decode_base64
from .errors import VaultError, error

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://modelvault.example/artifact/v1"
SEAL_PREDICATE_TYPE = "https://modelvault.example/sealed/v1"
MAX_STATEMENT_LEN = 64 << 20
MAX_SEAL_STATEMENTS_LEN = 1 << 20
_MAX_SIGNATURES = 16
_MAX_ENVELOPES = 64

_HEX_32 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{3})?Z")
_PREDICATE_KEYS = (
    "namespace",
    "name",
    "version",
    "kind",
    "file_id",
    "payload_size",
    "group_log2",
    "members",
    "created",
    "digests",
)


@dataclass(frozen=True)
class Member:
    """A file of an artifact, as signed."""

    path: str
    size: int
    """Bytes."""
    blake3: str
    """64 hex digits. What this client checks."""
    sha256: str | None
    """64 hex digits, unless left out at seal. For comparing with other records: the client does not compute it."""


@dataclass(frozen=True)
class ArtifactStatement:
    """What the signer says was sealed."""

    namespace: str
    name: str
    version: int
    kind: str
    """model, dataset or opaque."""
    file_id: str
    payload_size: int
    group_log2: int
    created: str
    """RFC 3339, UTC."""
    members: tuple[Member, ...]
    """In path order."""


class Malformed(ValueError):
    """Authentic, but it breaks a rule."""


Opened = tuple[str, bytes, list[tuple[str, bytes]]]
"""An envelope: payload type, payload, (key id, signature) of each who signed."""


def verify(envelope: bytes, trusted: Sequence[Signer]) -> tuple[ArtifactStatement, tuple[str, ...]]:
    """Reads an envelope's JSON and accepts it only if one of ``trusted`` signed it; the key ids of those who did.

    Raises IntegrityError: ``SignatureMissing``, ``SignatureInvalid``, or ``ManifestInvalid`` for an authentic statement
    that breaks a rule.
    """
    try:
        opened = open_envelope(_json.parse(envelope, 32))
    except ValueError as e:
        raise invalid("the artifact statement") from e
    signers = signed_by(opened, trusted, "the artifact statement")
    if not signers:
        raise error("SignatureMissing", "the artifact statement is not signed by a key you trust")
    payload_type, payload, _ = opened
    try:
        if payload_type != IN_TOTO:
            raise Malformed("payload type")
        return _statement(_json.parse(payload, 8)), tuple(signers)
    except ValueError as e:
        raise error("ManifestInvalid", f"the artifact statement is malformed: {e}") from e


def verify_root(seal_statements: bytes, trusted: Sequence[Signer], file_id: str, root: str) -> tuple[str, ...]:
    """The key ids of ``trusted`` who sealed ``root`` as that of the file; at least one.

    Raises IntegrityError: ``SignatureMissing``; ``SignatureInvalid`` for malformed ones, a forgery under a trusted
    key's id, or a trusted key's statement about another file or root.
    """
    what = f"the seal statement over b3:{root}"
    try:
        listed = _json.parse(seal_statements, 16) if seal_statements else []
        if not isinstance(listed, list) or len(listed) > _MAX_ENVELOPES:
            raise Malformed("a list of envelopes")
        envelopes = [open_envelope(value) for value in listed]
    except ValueError as e:
        raise invalid(what) from e
    signers: list[str] = []
    for envelope in envelopes:
        verified = signed_by(envelope, trusted, what)
        payload_type, payload, _ = envelope
        if not verified or payload_type != IN_TOTO:
            continue
        try:
            statement = _json.parse(payload, 64)
        except ValueError as e:
            raise invalid(what) from e
        # A trusted key may have signed something else beside it, a scan report for example: that is no seal.
        if not isinstance(statement, dict) or statement.get("predicateType") != SEAL_PREDICATE_TYPE:
            continue
        if not _names_root(statement, file_id, root):
            raise error("SignatureInvalid", f"{what}: the signer sealed another file or another root")
        signers += [keyid for keyid in verified if keyid not in signers]
    if not signers:
        raise error("SignatureMissing", f"{what} is missing: none by the signer of the artifact statement came")
    return tuple(signers)


def _names_root(statement: dict[str, Any], file_id: str, root: str) -> bool:
    """Exactly one subject: this file with this root."""
    subjects = statement.get("subject")
    if statement.get("_type") != STATEMENT_TYPE or not isinstance(subjects, list) or len(subjects) != 1:
        return False
    subject = subjects[0] if isinstance(subjects[0], dict) else {}
    digest = subject.get("digest")
    return subject.get("name") == file_id and isinstance(digest, dict) and digest.get("mvlt-root-v1") == root


def signed_by(envelope: Opened, trusted: Sequence[Signer], what: str) -> list[str]:
    """Key ids of the trusted keys that signed; others are ignored."""
    payload_type, payload, signatures = envelope
    message = pre_authentication(payload_type, payload)
    signers = []
    for keyid, signature in signatures:
        for signer in trusted:
            if signer.keyid == keyid:
                # A signature that names a trusted key and does not verify is a forgery, not a stranger's signature.
                if not signer.verifies(message, signature):
                    raise invalid(what)
                signers.append(keyid)
    return signers


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """PAE of DSSE v1: ``DSSEv1 SP len(type) SP type SP len(body) SP body``."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def invalid(what: str) -> VaultError:
    return error("SignatureInvalid", f"the signature of {what} does not verify")


def open_envelope(value: Any) -> Opened:
    """Exactly the keys of the DSSE specification, base64 padded and canonical, 1 to 16 signatures."""
    if not _json.has_only(value, "payloadType", "payload", "signatures"):
        raise Malformed("unknown key")
    listed = value.get("signatures")
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MAX_SIGNATURES:
        raise Malformed("number of signatures")
    signatures = []
    for entry in listed:
        if not _json.has_only(entry, "keyid", "sig"):
            raise Malformed("unknown key")
        signatures.append((text_of(entry, "keyid"), decode_base64(text_of(entry, "sig"))))
    return text_of(value, "payloadType"), decode_base64(text_of(value, "payload")), signatures


def _statement(value: Any) -> ArtifactStatement:
    if not _json.has_only(value, "_type", "subject", "predicateType", "predicate"):
        raise Malformed("unknown key")
    if value.get("_type") != STATEMENT_TYPE:
        raise Malformed("_type")
    if value.get("predicateType") != PREDICATE_TYPE:
        raise Malformed("predicateType")
    predicate = value.get("predicate")
    if not _json.has_only(predicate, *_PREDICATE_KEYS):
        raise Malformed("predicate")
    subjects, sizes = value.get("subject"), predicate.get("members")
    if not isinstance(subjects, list) or not isinstance(sizes, list) or len(subjects) != len(sizes):
        raise Malformed("as many members as subjects")
    members = tuple(_member(s, m) for s, m in zip(subjects, sizes, strict=True))
    paths = [member.path.encode() for member in members]
    if any(a >= b for a, b in zip(paths, paths[1:], strict=False)):
        raise Malformed("subjects are not in path order")
    namespace, name = text_of(predicate, "namespace"), text_of(predicate, "name")
    if not is_name(namespace) or not is_name(name):
        raise Malformed("name")
    kind = text_of(predicate, "kind")
    if kind not in ("model", "dataset", "opaque"):
        raise Malformed("kind")
    group_log2 = number_of(predicate, "group_log2")
    if not 16 <= group_log2 <= 28:
        raise Malformed("group_log2")
    return ArtifactStatement(
        namespace=namespace,
        name=name,
        version=number_of(predicate, "version"),
        kind=kind,
        file_id=hex_of(predicate, "file_id"),
        payload_size=number_of(predicate, "payload_size"),
        group_log2=group_log2,
        created=time_of(text_of(predicate, "created")),
        members=members,
    )


def _member(subject: Any, member: Any) -> Member:
    if not _json.has_only(subject, "name", "digest") or not _json.has_only(member, "size"):
        raise Malformed("a subject")
    digest = subject.get("digest")
    if not _json.has_only(digest, "blake3", "sha256"):
        raise Malformed("digest of a subject")
    path = text_of(subject, "name")
    if not path_is_valid(path):
        raise Malformed(f"not a member's path: {path!r}")
    sha256 = hex_of(digest, "sha256") if "sha256" in digest else None
    return Member(path, number_of(member, "size"), hex_of(digest, "blake3"), sha256)


def text_of(value: dict[str, Any], key: str) -> str:
    text = value.get(key)
    if not _json.is_text(text):
        raise Malformed(key)
    return text


def number_of(value: dict[str, Any], key: str) -> int:
    number = _json.as_u64(value.get(key))
    if number is None:
        raise Malformed(key)
    return number


def hex_of(value: dict[str, Any], key: str) -> str:
    text = text_of(value, key)
    if not _HEX_32.fullmatch(text):
        raise Malformed(key)
    return text


def time_of(text: str) -> str:
    match = _TIME.fullmatch(text)
    if match is None:
        raise Malformed("created")
    datetime.datetime.fromisoformat(match[1])  # raises ValueError for a day or an hour that does not exist
    return text
