"""Public keys whose signatures are accepted: Ed25519, named by the SHA-256 of their SubjectPublicKeyInfo."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from .errors import VaultError, error, from_os

# DER of a SubjectPublicKeyInfo for Ed25519 up to the key (RFC 8410, section 4).
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")

# y coordinates of the points of small order, and those plus p (all that fit 255 bits). Under such a key one signature
# can fit many messages.
_P = 2**255 - 19
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_WEAK_Y = frozenset({0, 1, _P - 1, _P, _P + 1, _Y8, _P - _Y8})

SignerSource = bytes | str | PathLike[str] | Ed25519PublicKey
"""DER or PEM bytes, PEM text, the path of a PEM file, or a key of `cryptography`."""


@dataclass(frozen=True)
class Signer:
    """A trusted key."""

    keyid: str
    """64 hex digits."""
    key: Ed25519PublicKey

    @classmethod
    def from_spki(cls, der: bytes) -> Signer:
        """From the DER of its SubjectPublicKeyInfo. Raises ValueError for any other kind of key, and for a weak one."""
        key = der.removeprefix(_SPKI_PREFIX)
        if len(key) != 32 or len(der) != len(_SPKI_PREFIX) + 32:
            raise ValueError("not the SubjectPublicKeyInfo of an Ed25519 key")
        if int.from_bytes(key, "little") & ((1 << 255) - 1) in _WEAK_Y:
            raise ValueError("a weak key: a point of small order")
        return cls(hashlib.sha256(der).hexdigest(), Ed25519PublicKey.from_public_bytes(key))

    @classmethod
    def from_pair(cls, keyid: object, spki: object) -> Signer:
        """From a key with the id it is said to have. Raises ValueError if it has another."""
        if not isinstance(spki, bytes):
            raise ValueError("no key")
        signer = cls.from_spki(spki)
        if signer.keyid != keyid:
            raise ValueError("the key has another id")
        return signer

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's over the message."""
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def load_signers(sources: Iterable[SignerSource]) -> list[Signer]:
    """What a caller gives as trusted keys."""
    if isinstance(sources, bytes | str | PathLike | Ed25519PublicKey):
        sources = [sources]
    return [_load(source) for source in sources]


def _load(source: SignerSource) -> Signer:
    try:
        if isinstance(source, Ed25519PublicKey):
            return _of_key(source)
        if isinstance(source, str) and source.lstrip().startswith("-----BEGIN"):
            source = source.encode()
        elif isinstance(source, str | PathLike):
            source = Path(source).read_bytes()
        if source.lstrip().startswith(b"-----BEGIN"):
            key = load_pem_public_key(source)
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError("not an Ed25519 key")
            return _of_key(key)
        return Signer.from_spki(source)
    except OSError as e:
        raise from_os(e, source) from e
    except ValueError as e:
        raise error("InvalidArgument", f"a signer's public key: {e}") from e


def _of_key(key: Ed25519PublicKey) -> Signer:
    return Signer.from_spki(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def required(trusted: Sequence[Signer], keyids: Iterable[str] | None) -> list[Signer]:
    """The trusted keys that ``require_signer`` names; all where it names none.

    Raises UsageError for an id that is none, and for one whose key is not at hand: an id alone verifies nothing.
    """
    if keyids is None:
        return list(trusted)
    named: list[Signer] = []
    for keyid in [keyids] if isinstance(keyids, str) else keyids:
        if not re.fullmatch(r"[0-9a-f]{16}|[0-9a-f]{64}", keyid):
            raise error("InvalidArgument", f"not a key id: {keyid!r}", "key ids are 16 or 64 lower-case hex digits")
        found = [signer for signer in trusted if signer.keyid.startswith(keyid)]
        if not found:
            message = f"no key with the id {keyid} among the trusted keys"
            raise error("SignatureMissing", message, "give its public key with signers=")
        named.extend(found)
    if not named:
        raise error("InvalidArgument", "require_signer names no key")
    return named


def decode_base64(text: str) -> bytes:
    """Standard alphabet, padded, and the one spelling of its bytes. Raises ValueError."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical base64")
    return data


def no_signers() -> VaultError:
    """Nothing was said about whom to believe."""
    return error("SignatureMissing", "no trusted key is known, so nothing can be verified")
