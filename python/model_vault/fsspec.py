"""``vaultdata://PATH``: the verified files of a dataset as a file system of fsspec, for whatever reads through that.

    pandas.read_csv("vaultdata://train.csv", storage_options={"dataset": "data", "keys": ["curator.pub.pem"]})

Importing this module registers it; an installed package needs no import. What reads through it may keep copies of its
own: Hugging Face ``load_dataset`` writes what it read into its cache.
"""

from __future__ import annotations

import os
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from ._dataset import Dataset
from ._dataset import dataset as open_dataset
from .errors import error

__all__ = ["VaultDataFileSystem"]


class VaultDataFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Read-only. Raises as ``model_vault.dataset`` and ``Dataset.open`` do."""

    protocol = "vaultdata"
    cachable = False  # by its path: another version may lie there next time

    def __init__(
        self,
        dataset: str | os.PathLike[str] | Dataset,
        keys: Any = None,
        *,
        min_version: int | None = None,
        state: Any = True,
        excluded: Any = "refuse",
        **options: Any,
    ) -> None:
        """``dataset``: one that is open, or the path of one with ``keys`` and the rest of ``model_vault.dataset``;
        ``excluded``: as ``Dataset.open`` takes it."""
        super().__init__(**options)
        if isinstance(dataset, Dataset):
            self._dataset = dataset
        else:
            self._dataset = open_dataset(
                dataset, keys if keys is not None else (), min_version=min_version, state=state
            )
        self._excluded = excluded

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """The files that were signed."""
        path = self._inner(path)
        below = f"{path}/" if path else ""
        found: dict[str, dict[str, Any]] = {}
        for file in self._dataset.files:
            if file.path == path or file.path.startswith(below):
                is_file = file.path == path or "/" not in file.path[len(below) :]
                name = file.path if is_file else below + file.path[len(below) :].partition("/")[0]
                kind, size = ("file", file.size) if is_file else ("directory", 0)
                found[name] = {"name": name, "size": size, "type": kind}
        if not found and path:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else list(found)

    def ukey(self, path: str) -> str:
        """Names the content: caches of other libraries ask for it."""
        path = self._inner(path)
        return next((file.sha256 for file in self._dataset.files if file.path == path), self._dataset.root)

    def _inner(self, path: str) -> str:
        return str(self._strip_protocol(path)).strip("/")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode != "rb":
            raise error("InvalidArgument", f"{path}: a signed dataset is only read")
        return self._dataset.open(self._inner(path), excluded=self._excluded)


fsspec.register_implementation("vaultdata", VaultDataFileSystem, clobber=True)
