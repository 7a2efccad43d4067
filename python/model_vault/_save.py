"""A folder in the making: filled under a temporary name beside its place, put in place when every byte was verified.

Until then its bytes lie in a folder that only this user can enter, under a hidden name nothing looks for. That is the
price of members larger than memory: this client verifies a member as a whole, so it must put an unverified one
somewhere.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from .errors import VaultError, error, from_os


class Tree:
    """A context manager: leaving it without ``finish`` removes everything."""

    def __init__(self, target: str | os.PathLike[str], *, overwrite: bool) -> None:
        self.path = Path(os.path.abspath(target))  # resolve() would follow a link at the end
        self._overwrite = overwrite
        self._refuse_occupied()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(prefix=f".{self.path.name}.", suffix=".partial", dir=self.path.parent)
        except OSError as e:
            raise from_os(e, self.path.parent) from e
        self._working = Path(made)
        self._finished = False

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            shutil.rmtree(self._working, ignore_errors=True)

    def file(self, member: str) -> BinaryIO:
        """A new file, mode 0600. Nothing is followed or replaced: the folder was empty when it was made."""
        path = self._working / member
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            return open(os.open(path, flags, 0o600), "wb")
        except OSError as e:
            raise from_os(e, self.path / member) from e

    def finish(self) -> Path:
        """Puts the folder in place, durably; the place."""
        try:
            for folder, _, _ in os.walk(self._working, topdown=False):
                _sync(Path(folder))
            aside = self._set_aside()
            try:
                # An empty folder gives way; one that was filled in the meantime does not (rename(2)).
                self._working.rename(self.path)
            except OSError:
                if aside is not None:
                    aside.rename(self.path)
                raise
            self._finished = True
            _sync(self.path.parent)
            if aside is not None:
                shutil.rmtree(aside)
        except (FileExistsError, NotADirectoryError) as e:
            raise self._occupied() from e
        except OSError as e:
            if os.path.lexists(self.path) and not self._finished and not self._overwrite:
                raise self._occupied() from e
            raise from_os(e, self.path) from e
        return self.path

    def _set_aside(self) -> Path | None:
        """The folder that is to be replaced, under another name: the new one is never mixed with the old."""
        self._refuse_occupied()
        if not self._overwrite or not self.path.is_dir():
            return None
        aside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.replaced")
        self.path.rename(aside)
        return aside

    def _refuse_occupied(self) -> None:
        if not os.path.lexists(self.path):
            return
        if self.path.is_symlink() or not self.path.is_dir():
            raise error("AlreadyExists", f"{self.path} exists and is not a folder", "name a new folder")
        if not self._overwrite and any(self.path.iterdir()):
            raise self._occupied()

    def _occupied(self) -> VaultError:
        return error("AlreadyExists", f"{self.path} exists already", "name a new folder, or overwrite=True replaces it")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
