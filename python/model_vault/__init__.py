"""Fetches models and datasets from Model Vault and verifies them before they are used.

    import model_vault

    with model_vault.connect(enrolment="enrolment") as client:
        model = client.fetch("resnet@prod").single()

    for record in model_vault.dataset("data", keys=["curator.pub.pem"]):
        train(record)

Nothing is handed on unverified: the artifact's statement must be signed by a trusted key, and every member must be, as
a whole, what was signed (docs/trust.md 5); of a dataset, every piece before its first record (docs/datasets.md). Errors
are ``VaultError``s, one class for each kind, with a stable ``id`` and a ``hint``.
"""

from __future__ import annotations

from ._client import MAX_MEMBER, Client, connect, fetch
from ._dataset import Dataset, dataset
from ._fetch import Artifact
from ._statement import ArtifactStatement, Member
from ._tag import TagStatement
from .errors import (
    Conflict,
    Denied,
    IntegrityError,
    InternalError,
    NotFound,
    QuotaExceeded,
    StorageError,
    Unauthenticated,
    Unavailable,
    UsageError,
    VaultError,
)

__all__ = [
    "MAX_MEMBER",
    "Artifact",
    "ArtifactStatement",
    "Client",
    "Conflict",
    "Dataset",
    "Denied",
    "IntegrityError",
    "InternalError",
    "Member",
    "NotFound",
    "QuotaExceeded",
    "StorageError",
    "TagStatement",
    "Unauthenticated",
    "Unavailable",
    "UsageError",
    "VaultError",
    "connect",
    "dataset",
    "fetch",
]
__version__ = "0.1.0"
