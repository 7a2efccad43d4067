"""The versions of a dataset follow one another: no fork, no way back (src/dataset/chain.rs)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import VaultError, error
from .statement import DatasetStatement, read_statement


@dataclass(frozen=True)
class Seen:
    """What a reader saw of a dataset before: it accepts nothing older."""

    version: int
    digest: str


class Chain:
    """Versions that follow one another."""

    def __init__(self, payloads: Iterable[bytes]) -> None:
        """Of statements whose signatures were verified, in any order, each as often as it has signatures.

        Raises IntegrityError: ``SignatureMissing`` for none; ``BundleMalformed``; ``DatasetForked`` for two of one
        version, and for one that does not follow the one before.
        """
        versions = sorted((read_statement(payload) for payload in set(payloads)), key=lambda s: s.version)
        if not versions:
            message = "no statement about the dataset by a signer you trust"
            raise error("SignatureMissing", message, "give the signer's public key with keys=[FILE.pub.pem]")
        for before, after in zip(versions, versions[1:], strict=False):
            if before.name != after.name:
                raise _forked(f"statements about {before.name!r} and about {after.name!r}")
            if before.version == after.version:
                raise _forked(f"version {after.version} was signed twice, with other content")
            if before.version + 1 == after.version and after.previous != before.digest:
                raise _forked(f"version {after.version} does not follow the version {before.version} that is here")
        self.versions = versions

    @property
    def newest(self) -> DatasetStatement:
        """The version that counts."""
        return self.versions[-1]

    def accept(self, seen: Seen | None, min_version: int | None, now: datetime.datetime) -> None:
        """Whether the newest version may be used now by a reader who saw ``seen`` before.

        Raises IntegrityError: ``VersionRollback`` for an older one than was seen or is asked for; ``DatasetForked``
        for another of the same number; ``StatementExpired``.
        """
        newest = self.newest
        if seen is not None:
            if newest.version < seen.version:
                raise _older(newest, f"version {seen.version} was seen here before")
            if any(v.version == seen.version and v.digest != seen.digest for v in self.versions):
                raise _forked(f"another version {seen.version} of {newest.name!r} was seen here before")
            # It follows from the one that was seen, over all between.
            since = [v for v in self.versions if v.version > seen.version]
            whole = len(since) == newest.version - seen.version
            if since and not (whole and since[0].previous == seen.digest):
                why = f"version {newest.version} of {newest.name!r} does not follow the version {seen.version}"
                raise _forked(f"{why} that was seen here before")
        if min_version is not None and newest.version < min_version:
            raise _older(newest, f"version {min_version} is asked for")
        if newest.expires is not None and now >= newest.expires:
            raise error("StatementExpired", f"the statement about {newest.name!r} expired at {newest.expires}")


def _forked(why: str) -> VaultError:
    return error("DatasetForked", why)


def _older(newest: DatasetStatement, why: str) -> VaultError:
    message = f"this is version {newest.version} of {newest.name!r}, and {why}"
    return error("VersionRollback", message, "get the newer version from its owner")
