"""Datasets that are verified while they are read (docs/datasets.md): nothing is handed on that was not signed.

| file | what |
|---|---|
| ``keys``, ``bundle``, ``statement``, ``chain``, ``seen`` | the version that a trusted key signed, none older |
| ``source`` | where the bytes come from: a disk, or a vault |
| ``pieces``, ``file`` | bytes that are checked before they are handed on |
| ``csv_rows``, ``rows``, ``samples``, ``passes`` | records |
| ``reader`` | ``Dataset`` |
| ``receipt``, ``tables`` | what was read, and what other libraries want of it |
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable

from .keys import KeySource, load_keys
from .reader import Dataset, Recent, State
from .source import OnDisk

__all__ = ["Dataset", "dataset"]


def dataset(
    path: str | os.PathLike[str],
    keys: KeySource | Iterable[KeySource],
    *,
    min_version: int | None = None,
    min_age: datetime.timedelta | None = None,
    state: State = True,
) -> Dataset:
    """Opens the dataset in a directory, or in one file, in the newest version that one of ``keys`` signed.

    ``keys``: public keys as PEM text or paths of PEM files (``FILE.pub.pem`` of ``vault key new``), of one algorithm or
    several. ``min_version``: refuses an older one, also on a machine that never saw the dataset. ``min_age``:
    refuses what was signed less than so long ago. ``state``: True
    remembers the version in the file that ``vault dataset verify`` keeps, a path in another, None or False in none; it
    is raised here, when the statement was verified and all files are there in their lengths.

    Raises IntegrityError: ``SignatureMissing``, ``SignatureInvalid``, ``BundleMalformed``, ``DatasetForked``,
    ``VersionRollback``, ``StatementExpired``, ``DatasetChanged`` (a file is missing, a link, or of another length);
    Denied for what was signed too lately; NotFound; UsageError. Keys that the trust store of a vault has revoked are
    not known here: name none of them.
    """
    trusted = load_keys(keys)
    return Dataset(OnDisk(path), trusted, Recent(min_version, min_age, state))
