"""Public keys that dataset statements are verified with: of any algorithm that ``vault key new`` makes.

A PEM file has the keys of one signer, a section each: ECDSA, Ed25519 and, where it was asked for, ML-DSA-65. A bundle
is verified with the one key it names.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from .._signers import Signer
from ..errors import VaultError, error, from_os

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
except ImportError:  # cryptography before 47
    MLDSA65PublicKey = None  # type: ignore[assignment,misc]

KeySource = str | bytes | os.PathLike[str]
"""PEM text, or the path of a PEM file."""

_MAX_PEM = 16 << 10
_SECTION = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n([A-Za-z0-9+/=\r\n]+)-----END ([A-Z0-9 ]+)-----\s*")
_CURVES: dict[str, type[HashAlgorithm]] = {"secp256r1": SHA256, "secp384r1": SHA384, "secp521r1": SHA512}
_HINT = "give FILE.pub.pem, as vault key new writes it beside the private keys"


@dataclass(frozen=True)
class Key:
    """A trusted key."""

    keyid: str
    """SHA-256 of its SubjectPublicKeyInfo: 64 hex digits."""
    hint: str
    """SHA-256 of its PEM text: how bundles name it (OpenSSF Model Signing 1.0, 4.1)."""
    check: Callable[[bytes, bytes], None]
    """Signature and message; raises InvalidSignature."""

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's over the message."""
        try:
            self.check(signature, message)
        except InvalidSignature:
            return False
        return True


def load_keys(sources: KeySource | Iterable[KeySource]) -> list[Key]:
    """All keys that a caller trusts.

    Raises UsageError ``InvalidArgument`` for what is no public key, and for none at all; NotFound for a file that is
    not there.
    """
    listed = [sources] if isinstance(sources, str | bytes | os.PathLike) else list(sources)
    keys = [key for source in listed for key in _load(source)]
    if not keys:
        message = "no signer is trusted: a signature by anybody proves nothing"
        raise error("InvalidArgument", message, "give the signer's public key with keys=[FILE.pub.pem]")
    return keys


def of_signers(signers: Sequence[Signer]) -> list[Key]:
    """The Ed25519 keys that a client of a vault trusts."""
    return [_ed25519(signer.key) for signer in signers]


def _load(source: KeySource) -> list[Key]:
    text = source.encode() if isinstance(source, str) else source
    where = "a public key"
    if not isinstance(text, bytes) or not text.lstrip().startswith(b"-----BEGIN"):
        where = os.fsdecode(source)
        try:
            with Path(where).open("rb") as file:
                text = file.read(_MAX_PEM + 1)
        except OSError as e:
            raise from_os(e, where) from e
    sections = [] if len(text) > _MAX_PEM else list(_sections(text.strip() + b"\n"))
    if not sections:
        raise _bad(where, "not PEM")
    keys, unknown = [], 0
    for label, der in sections:
        if label != b"PUBLIC KEY":
            raise _bad(where, "not a public key")
        try:
            keys.append(_key(der))
        except UnsupportedAlgorithm:
            unknown += 1
        except ValueError as e:
            raise _bad(where, str(e)) from e
    if not keys:
        message = f"{where}: keys of {unknown} algorithms, none of which the installed cryptography verifies"
        raise error("InvalidArgument", message, "ML-DSA-65 needs cryptography 47 or newer")
    return keys


def _bad(where: str, why: str) -> VaultError:
    return error("InvalidArgument", f"{where}: {why}", _HINT)


def _sections(text: bytes) -> Iterable[tuple[bytes, bytes]]:
    at = 0
    while at < len(text):
        match = _SECTION.match(text, at)
        if match is None or match[1] != match[3]:
            raise _bad("a public key", "not PEM")
        try:
            yield match[1], base64.b64decode(b"".join(match[2].split()), validate=True)
        except ValueError as e:
            raise _bad("a public key", "not PEM") from e
        at = match.end()


def _key(der: bytes) -> Key:
    """Raises ValueError for a malformed or weak key, UnsupportedAlgorithm for one of another algorithm."""
    key = load_der_public_key(der)
    if isinstance(key, Ed25519PublicKey):
        return _ed25519(Signer.from_spki(der).key)
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
        raise ValueError("not the one encoding of its key")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        curve, scheme = key, ec.ECDSA(_CURVES[key.curve.name]())
        return _named(key, lambda signature, message: curve.verify(signature, message, scheme))
    if MLDSA65PublicKey is not None and isinstance(key, MLDSA65PublicKey):
        return _named(key, key.verify)
    raise UnsupportedAlgorithm("not a key that vault key new makes")


def _ed25519(key: Ed25519PublicKey) -> Key:
    return _named(key, key.verify)


def _named(key: object, check: Callable[[bytes, bytes], None]) -> Key:
    def encoded(form: Encoding) -> str:
        text: bytes = key.public_bytes(form, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
        return hashlib.sha256(text).hexdigest()

    return Key(keyid=encoded(Encoding.DER), hint=encoded(Encoding.PEM), check=check)
