"""The tag statement: where a tag points, signed, numbered and for a time (docs/trust.md 4), as src/manifest/tag.rs;
and what was seen of a tag before, as src/client/floor.rs.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import _json
from ._names import Reference, is_name
from ._signers import Signer
from ._statement import (
    IN_TOTO,
    STATEMENT_TYPE,
    Malformed,
    hex_of,
    invalid,
    number_of,
    open_envelope,
    signed_by,
    text_of,
    time_of,
)
from .errors import VaultError, error

TAG_PREDICATE_TYPE = "https://modelvault.example/tag/v1"
MAX_TAG_STATEMENT_LEN = 16 << 10
MAX_VALIDITY = datetime.timedelta(days=31)
CLOCK_SKEW = datetime.timedelta(minutes=5)
_VERSION = re.compile(r"v[0-9]+")


@dataclass(frozen=True)
class TagStatement:
    """Where a tag points, as the namespace signed it."""

    namespace: str
    name: str
    tag: str
    version: int
    root: str
    """64 hex digits."""
    sequence: int
    """Grows by one with every move of the tag; from 1."""
    created: datetime.datetime
    expires: datetime.datetime

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}@{self.tag}"


@dataclass(frozen=True)
class Seen:
    """Where a tag was when it was seen last. ``sequence`` and ``root`` are None in what an older release kept."""

    version: int
    sequence: int | None = None
    root: str | None = None

    def allows(self, now: TagStatement) -> None:
        """Raises IntegrityError ``VersionRollback`` for an older state of the tag, and for two states at one move. A
        lower version under a higher sequence is in order: an operator moved the tag back, and signed that."""
        shown = f"the server shows move {now.sequence} (to v{now.version})"
        if self.sequence is None:
            if now.version < self.version:
                raise _rollback(now, f"led to v{self.version} before, {shown}")
        elif now.sequence < self.sequence:
            raise _rollback(now, f"move {self.sequence} was seen before (to v{self.version}), {shown}")
        elif now.sequence == self.sequence and now.root != self.root:
            raise _rollback(now, f"this move led to v{self.version} (b3:{self.root}) before, {shown} b3:{now.root}")


def verify_tag(envelope: bytes, trusted: Sequence[Signer], asked: Reference, now: datetime.datetime) -> TagStatement:
    """The statement in the envelope, if one of ``trusted`` signed it, it is about the tag of ``asked``, and now is its
    time.

    Raises IntegrityError: ``SignatureMissing``, ``SignatureInvalid`` (also for an authentic one that breaks a rule),
    ``BindingMismatch``, ``TagStale``.
    """
    what = f"the tag statement of {asked}"
    number = "fetch NAME@vN, which needs no tag, until the operator has explained it"
    if not envelope:
        raise error("SignatureMissing", f"{what} is missing", number)
    try:
        opened = open_envelope(_json.parse(envelope, 8))
    except ValueError as e:
        raise invalid(what) from e
    if not signed_by(opened, trusted, what):
        raise error("SignatureMissing", f"{what} is not signed by a key you trust", number)
    payload_type, payload, _ = opened
    try:
        if payload_type != IN_TOTO:
            raise Malformed("payload type")
        statement = _statement(_json.parse(payload, 8))
    except ValueError as e:
        raise error("SignatureInvalid", f"{what} is malformed: {e}", number) from e
    if (statement.namespace, statement.name, statement.tag) != (asked.namespace, asked.name, asked.tag):
        hint = "the server answers with something else than was asked for: do not use it, ask its operator"
        raise error("BindingMismatch", f"{what} is about {statement}", hint)
    if statement.created > now + CLOCK_SKEW:
        raise error("TagStale", f"{what} was made at {statement.created}, which is yet to come")
    if now >= statement.expires:
        raise error("TagStale", f"{what} ended at {statement.expires}: the server may be keeping a newer one (freeze)")
    return statement


def _rollback(now: TagStatement, why: str) -> VaultError:
    return error("VersionRollback", f"{now}: rollback: {why}")


def _statement(value: Any) -> TagStatement:
    if not _json.has_only(value, "_type", "subject", "predicateType", "predicate"):
        raise Malformed("unknown key")
    if value.get("_type") != STATEMENT_TYPE:
        raise Malformed("_type")
    if value.get("predicateType") != TAG_PREDICATE_TYPE:
        raise Malformed("predicateType")
    predicate = value.get("predicate")
    keys = ("namespace", "name", "tag", "version", "root", "sequence", "created", "expires")
    if not _json.has_only(predicate, *keys):
        raise Malformed("predicate")
    namespace, name, tag = (text_of(predicate, key) for key in ("namespace", "name", "tag"))
    if not (is_name(namespace) and is_name(name) and is_name(tag)) or _VERSION.fullmatch(tag):
        raise Malformed("name")
    version, sequence = number_of(predicate, "version"), number_of(predicate, "sequence")
    if version == 0 or sequence == 0:
        raise Malformed("version or sequence")
    created, expires = (_moment(predicate, key) for key in ("created", "expires"))
    if not datetime.timedelta() < expires - created <= MAX_VALIDITY:
        raise Malformed("validity")
    statement = TagStatement(
        namespace, name, tag, version, hex_of(predicate, "root"), sequence, created=created, expires=expires
    )
    if value.get("subject") != [{"name": str(statement), "digest": {"mvlt-root-v1": statement.root}}]:
        raise Malformed("subject")
    return statement


def _moment(value: dict[str, Any], key: str) -> datetime.datetime:
    text = time_of(text_of(value, key))
    return datetime.datetime.fromisoformat(text.removesuffix("Z") + "+00:00")
