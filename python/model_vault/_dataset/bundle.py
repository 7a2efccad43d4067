"""The Sigstore bundle v0.3 with one statement under one signature, read as strictly as src/manifest/oms/bundle.rs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import _json
from .._signers import decode_base64
from .._statement import IN_TOTO, Malformed, pre_authentication, text_of
from ..errors import error
from .keys import Key

MAX_BUNDLES = 64 << 20
"""Most bytes of all bundles of a dataset."""
_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_KINDS = ("publicKey", "x509CertificateChain", "certificate")


@dataclass(frozen=True)
class Bundle:
    """A statement and a signature that nobody has verified yet."""

    hint: str | None
    """The key it says signed it; "" for any; None for one that certificates would have to name."""
    payload: bytes
    signature: bytes

    def names(self, key: Key) -> bool:
        """Whether it says that this key signed it. One without a hint could be anybody's."""
        return self.hint is not None and self.hint in ("", key.hint)

    def verifies(self, key: Key) -> bool:
        """Whether this key signed it."""
        return key.verifies(pre_authentication(IN_TOTO, self.payload), self.signature)


def read_bundles(text: bytes, where: str) -> list[Bundle]:
    """One a line; blank lines are passed over. Raises IntegrityError ``BundleMalformed`` with the line."""
    bundles = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if line:
            try:
                bundles.append(_bundle(_json.parse(line, 64)))
            except ValueError as e:
                raise error("BundleMalformed", f"{where}, line {number}: {e}") from e
    return bundles


def signed_payloads(bundles: list[Bundle], keys: list[Key], where: str) -> list[tuple[bytes, Key]]:
    """The payloads that one of ``keys`` signed, with that key. Those of strangers are passed over.

    Raises IntegrityError ``SignatureInvalid`` for one that says a trusted key signed it where none did.
    """
    good = []
    for bundle in bundles:
        named = [key for key in keys if bundle.names(key)]
        signer = next((key for key in named if bundle.verifies(key)), None)
        if signer is not None:
            good.append((bundle.payload, signer))
        elif named:
            raise error("SignatureInvalid", f"{where}: a signature does not verify")
    return good


def _bundle(value: Any) -> Bundle:
    if not _json.has_only(value, "mediaType", "verificationMaterial", "dsseEnvelope"):
        raise Malformed("an unknown member of the bundle")
    if value.get("mediaType") != _MEDIA_TYPE:
        raise Malformed(f"the media type is not {_MEDIA_TYPE}")
    envelope = value.get("dsseEnvelope")
    if not _json.has_only(envelope, "payload", "payloadType", "signatures"):
        raise Malformed("an unknown member of the envelope")
    if envelope.get("payloadType") != IN_TOTO:
        raise Malformed(f"the payload type is not {IN_TOTO}")
    signatures = envelope.get("signatures")
    # With two signatures verifiers disagree on whose bundle it is.
    if not isinstance(signatures, list) or len(signatures) != 1 or not _json.has_only(signatures[0], "sig", "keyid"):
        raise Malformed("not one signature")
    payload, signature = text_of(envelope, "payload"), text_of(signatures[0], "sig")
    return Bundle(_hint(value.get("verificationMaterial")), decode_base64(payload), decode_base64(signature))


def _hint(material: Any) -> str | None:
    if not _json.has_only(material, *_KINDS, "tlogEntries", "timestampVerificationData"):
        raise Malformed("an unknown member of verificationMaterial")
    kinds = [kind for kind in _KINDS if kind in material]
    if len(kinds) != 1:
        raise Malformed(f"{len(kinds)} kinds of verification material instead of one")
    if kinds != ["publicKey"]:
        return None
    key = material["publicKey"]
    if not _json.has_only(key, "hint", "rawBytes", "keyDetails"):
        raise Malformed("an unknown member of publicKey")
    hint = key.get("hint")
    if hint is not None and not _json.is_text(hint):
        raise Malformed("a hint is a string")
    return hint or ""
