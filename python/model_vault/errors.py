"""What went wrong: one exception class for each kind of the project's table of errors.

``id`` is the stable id of contracts/errors.tsv, shared with the command line and the daemon.
"""

from __future__ import annotations

import json
import re
from typing import ClassVar
from urllib.parse import unquote

import grpc

from ._error_table import ERRORS

__all__ = [
    "Conflict",
    "Denied",
    "IntegrityError",
    "InternalError",
    "NotFound",
    "QuotaExceeded",
    "StorageError",
    "Unauthenticated",
    "Unavailable",
    "UsageError",
    "VaultError",
]


class VaultError(Exception):
    """Base class of everything this package raises on purpose."""

    kind: ClassVar[str] = "Internal"
    id: str
    """Stable id, for example ``MemberMismatch``."""
    message: str
    """What failed on what."""
    hint: str | None
    """What to do next."""
    retry_after: float | None
    """Seconds after which trying again makes sense."""
    details: dict[str, str]
    """Facts for programs, for example the member."""

    def __init__(
        self,
        id: str,
        message: str,
        *,
        hint: str | None = None,
        retry_after: float | None = None,
        details: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.id = id
        self.message = message
        self.hint = hint
        self.retry_after = retry_after
        self.details = details or {}

    def __str__(self) -> str:
        return f"{self.id}: {self.message}" + (f" (hint: {self.hint})" if self.hint else "")

    def __reduce__(self) -> tuple[object, ...]:
        # Worker pools pickle what their workers raise.
        return error, (self.id, self.message, self.hint, self.retry_after, self.details)


class InternalError(VaultError):
    """A bug, or what the server says of its own trouble to a workload."""


class UsageError(VaultError):
    """An argument, a reference or a file of settings breaks a rule."""

    kind = "Usage"


class IntegrityError(VaultError):
    """Bytes, signatures or the stream are not what they must be. Do not use what was fetched."""

    kind = "Integrity"


class Unauthenticated(VaultError):
    """No credential, or one that is not accepted."""

    kind = "Unauthenticated"


class Denied(VaultError):
    """The policy does not permit it."""

    kind = "Denied"


class NotFound(VaultError):
    """Nothing of that name, or nothing this caller may know of."""

    kind = "NotFound"


class QuotaExceeded(VaultError):
    """A quota is used up; see ``retry_after``."""

    kind = "Quota"


class Unavailable(VaultError):
    """The server is not there, or has no room; trying again may help."""

    kind = "Unavailable"


class Conflict(VaultError):
    """Something is there already, or moved meanwhile."""

    kind = "Conflict"


class StorageError(VaultError):
    """Reading or writing failed."""

    kind = "Storage"


_CLASSES: dict[str, type[VaultError]] = {
    c.kind: c
    for c in (
        InternalError,
        UsageError,
        IntegrityError,
        Unauthenticated,
        Denied,
        NotFound,
        QuotaExceeded,
        Unavailable,
        Conflict,
        StorageError,
    )
}

# The table's hints speak of flags of the command line; these say the same in terms of this package.
_HINTS = {
    "InvalidArgument": None,
    "SignatureMissing": "give the signer's public key with signers=, or enrol with the vault whose key signed",
    "VersionRollback": "ask the operator whether an old backup was restored; state=None accepts it",
    "NoCredential": "connect with enrolment=DIR, as made by vault workload enroll NAME -o DIR",
    "BadCredential": "renew the enrolment (vault workload renew DIR), or have the workload enrolled anew",
    "NotFound": "vault ls shows an operator what there is; a workload sees what it was granted",
}


def error(
    id: str,
    message: str,
    hint: str | None = None,
    retry_after: float | None = None,
    details: dict[str, str] | None = None,
) -> VaultError:
    """An error of the table, as the class of its kind."""
    kind, _, table_hint = ERRORS[id]
    hint = hint or _HINTS.get(id, table_hint)
    return _CLASSES[kind](id, message, hint=hint, retry_after=retry_after, details=details)


def broken(message: str) -> VaultError:
    """The server did not keep to fetch.proto."""
    return error("StreamBroken", message)


# Statuses that carry no id of ours were made by the transport, or by something that is not Model Vault.
_FOREIGN = {
    grpc.StatusCode.INVALID_ARGUMENT: "InvalidArgument",
    grpc.StatusCode.OUT_OF_RANGE: "InvalidArgument",
    grpc.StatusCode.FAILED_PRECONDITION: "InvalidArgument",
    grpc.StatusCode.UNIMPLEMENTED: "InvalidArgument",
    grpc.StatusCode.UNAUTHENTICATED: "NoCredential",
    grpc.StatusCode.PERMISSION_DENIED: "Denied",
    grpc.StatusCode.NOT_FOUND: "NotFound",
    grpc.StatusCode.ALREADY_EXISTS: "AlreadyExists",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "Overloaded",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DeadlineExceeded",
    grpc.StatusCode.DATA_LOSS: "StreamBroken",
}


def from_rpc(failure: grpc.RpcError, *, mid_stream: bool = False) -> VaultError:
    """What a failed call means. ``mid_stream``: messages had come already."""
    metadata = {key: value for key, value in (failure.trailing_metadata() or ()) if isinstance(value, str)}
    text = failure.details() or ""
    id = metadata.get("x-modelvault-error", "")
    if id in ERRORS and ERRORS[id][0] in _CLASSES:
        milliseconds = metadata.get("retry-after", "")
        return error(
            id,
            text or ERRORS[id][1],
            unquote(metadata.get("x-modelvault-hint", "")) or None,
            # At most nine digits: eleven days.
            int(milliseconds) / 1000 if re.fullmatch(r"[0-9]{1,9}", milliseconds) else None,
            _details(metadata.get("x-modelvault-details", "")),
        )
    if "larger than max" in text or "deserializing response" in text:
        return broken(f"a message that is too large or is none: {text}")
    if mid_stream:
        return broken(f"the stream was cut: {text}")
    if (of_tls := _of_tls(text)) is not None:
        return of_tls
    code = failure.code()
    hint = None
    if code == grpc.StatusCode.UNIMPLEMENTED:
        hint = "the server does not know this call: it is of another release, or not Model Vault"
    return error(_FOREIGN.get(code, "Unreachable"), f"{code.name}: {text}", hint)


def _of_tls(text: str) -> VaultError | None:
    """Whose certificate was refused, as far as the text of the transport tells."""
    lower = text.lower()
    refusals = ("certificate_verify_failed", "certificate verify failed", "certificate signature failure")
    if any(words in lower for words in refusals):
        return error(
            "BadCredential",
            f"the server's certificate is not accepted: {text}",
            "this is not the vault of the enrolment, its certificate ran out, or someone stands between",
        )
    if "peer name" in lower or "hostname verification" in lower:
        return error(
            "BadCredential",
            f"the server's certificate is for another host: {text}",
            "use a host name or address the server was started for",
        )
    # In TLS 1.3 a server refuses a client's certificate after the client's side of the handshake is done; gRPC names
    # the alert in its log only and calls it corrupted data.
    if "tsi_data_corrupted" in lower or ("alert" in lower and ("certificate" in lower or "unknown_ca" in lower)):
        return error(
            "BadCredential",
            f"the server does not accept the client certificate: {text}",
            "renew it (vault workload renew DIR), or enrol the workload with this vault",
        )
    return None


def _details(text: str) -> dict[str, str]:
    try:
        value = json.loads(unquote(text))
    except (ValueError, RecursionError):
        return {}
    return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}


def from_os(failure: OSError, subject: object) -> VaultError:
    """What a failed system call means; ``subject`` is the path."""
    import errno

    message = f"{subject}: {failure.strerror or failure}"
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return error("DiskFull", message)
    return error("NotFound" if failure.errno == errno.ENOENT else "IoError", message)
