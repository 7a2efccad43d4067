"""The directory a workload keeps: client.key, client.crt, ca.crt, trust.json (docs/trust.md 6), read strictly."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from . import _json
from ._names import is_name
from ._signers import Signer, decode_base64
from .errors import error, from_os

_MAX_PEM = 16 << 10
_MAX_TRUST = 64 << 10
_MAX_SIGNERS = 64
_HINT = "enrol the workload again: vault workload enroll NAME -o DIR"
_SPIFFE = re.compile(r"spiffe://([0-9a-f]{32})\.modelvault/([^/]+)/([^/]+)")


@dataclass(frozen=True)
class Enrolment:
    """What a workload needs to fetch: where, as whom, trusting whom."""

    directory: Path
    address: str
    namespace: str
    signers: list[Signer]
    ca: bytes
    """PEM."""
    certificate: bytes
    """PEM."""
    key: bytes = field(repr=False)
    """PEM. Python cannot wipe it: it stays in the memory of the process."""
    not_after: datetime.datetime
    vault: str
    """Id of the vault that enrolled the workload, in hexadecimal."""

    @classmethod
    def read(cls, directory: str | os.PathLike[str]) -> Enrolment:
        """Reads and checks the four files, and that they belong together. Raises NotFound, UsageError or
        Unauthenticated, naming the file."""
        home = Path(directory)
        key = _read(home / "client.key", _MAX_PEM, secret=True)
        certificate = _read(home / "client.crt", _MAX_PEM)
        ca = _read(home / "ca.crt", _MAX_PEM)
        try:
            address, namespace, signers = _trust(_read(home / "trust.json", _MAX_TRUST))
        except ValueError as e:
            raise error("ConfigInvalid", f"{home / 'trust.json'}: {e}", _HINT) from e
        own = _certificate(certificate, home / "client.crt")
        _certificate(ca, home / "ca.crt")
        vault = _check_pair(home, key, own, namespace)
        return cls(home, address, namespace, signers, ca, certificate, key, own.not_valid_after_utc, vault)

    def refuse_expired(self) -> None:
        """A certificate that ran out would only fail as a connection that is cut."""
        if self.not_after < datetime.datetime.now(datetime.UTC):
            message = f"{self.directory / 'client.crt'}: the certificate ran out at {self.not_after:%Y-%m-%dT%H:%M:%SZ}"
            raise error("BadCredential", message, _HINT)


def is_address(text: str) -> bool:
    """``host:port``, ``1.2.3.4:port`` or ``[::1]:port``."""
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        return False
    if host.startswith("[") and host.endswith("]"):
        try:
            return ipaddress.IPv6Address(host[1:-1]) is not None
        except ValueError:
            return False
    label = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    return len(host) <= 253 and re.fullmatch(rf"{label}(\.{label})*\.?", host) is not None


def _trust(text: bytes) -> tuple[str, str, list[Signer]]:
    value = _json.parse(text, 4)
    if not _json.has_only(value, "version", "address", "namespace", "signers"):
        raise ValueError("not an object of version, address, namespace and signers")
    if _json.as_u64(value.get("version")) != 1:
        raise ValueError("not version 1")
    address, namespace, signers = value.get("address"), value.get("namespace"), value.get("signers")
    if not _json.is_text(address) or not is_address(address):
        raise ValueError("address is not host:port")
    if not _json.is_text(namespace) or not is_name(namespace):
        raise ValueError("namespace is not a name")
    if not isinstance(signers, list) or len(signers) > _MAX_SIGNERS:
        raise ValueError(f"signers is not a list of at most {_MAX_SIGNERS}")
    return address, namespace, [_signer(s) for s in signers]


def _signer(value: object) -> Signer:
    if not _json.has_only(value, "keyid", "spki") or not _json.is_text(value.get("spki")):
        raise ValueError("a signer is not {keyid, spki}")
    return Signer.from_pair(value.get("keyid"), decode_base64(value["spki"]))


def _certificate(pem: bytes, path: Path) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as e:
        raise error("BadCredential", f"{path}: not a certificate: {e}", _HINT) from e
    if len(found) != 1:
        raise error("BadCredential", f"{path}: more than one certificate", _HINT)
    return found[0]


def _check_pair(home: Path, key: bytes, certificate: x509.Certificate, namespace: str) -> str:
    """Id of the vault."""

    def spki(public: object) -> bytes:
        if not isinstance(public, EllipticCurvePublicKey):
            raise ValueError("not an elliptic-curve key")
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    try:
        private = load_pem_private_key(key, password=None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        belong = spki(private.public_key()) == spki(certificate.public_key())
    except (ValueError, TypeError, x509.ExtensionNotFound) as e:
        raise error("BadCredential", f"{home}: key or certificate is not a workload's: {e}", _HINT) from e
    if not belong:
        raise error("BadCredential", f"{home}: client.key is not the key of client.crt", _HINT)
    identity = _SPIFFE.fullmatch(uris[0]) if len(uris) == 1 else None
    if identity is None or identity[2] != namespace:
        message = f"{home}: client.crt is not the certificate of a workload of namespace {namespace}"
        raise error("BadCredential", message, _HINT)
    return identity[1]


def _read(path: Path, limit: int, *, secret: bool = False) -> bytes:
    try:
        # NONBLOCK: a FIFO in place of the file must not hang us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise error("ConfigInvalid", f"{path}: not a regular file")
            if secret and facts.st_mode & 0o077:
                message = f"{path}: others may read the private key"
                raise error("BadCredential", message, f"chmod 600 {path}; if others had access to it, enrol anew")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except OSError as e:
        failure = from_os(e, path)
        if failure.id == "NotFound":
            failure.hint = "give the directory that vault workload enroll NAME -o DIR made"
        raise failure from e
    if len(data) > limit:
        raise error("ConfigInvalid", f"{path}: more than {limit} bytes")
    return data
