"""The small file that remembers the highest version seen for each reference (docs/trust.md 5, 3).

The same format and the same lock as the native client's.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import BinaryIO

from . import _json
from .errors import error, from_os

_MAX_LEN = 16 << 20
_FILE = "versions-seen.json"


def default_path(enrolment: Path | None) -> Path:
    """``$XDG_STATE_HOME/modelvault/versions-seen.json``, else under ``~/.local/state``; beside the folder of the
    enrolment where there is no home (containers). The same file as ``vault fetch`` keeps."""
    bases = (os.environ.get("XDG_STATE_HOME", ""), os.environ.get("HOME", ""))
    for base, below in zip(bases, ("modelvault", ".local/state/modelvault"), strict=True):
        if base.startswith("/"):
            return Path(base) / below / _FILE
    if enrolment is None:
        message = "no folder for the record of versions seen is known"
        raise error("InvalidArgument", message, "set XDG_STATE_HOME, or give state=PATH or state=None")
    return enrolment.absolute().parent / _FILE


class VersionFloor:
    """Highest version seen for each reference, so that a tag that was moved back is noticed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, key: str) -> int | None:
        """Highest version seen. Raises UsageError ``ConfigInvalid`` for a damaged file: guessing would forget."""
        return self._read().get(key)

    def raise_to(self, key: str, version: int) -> None:
        """Remembers ``version`` unless a higher one was seen; on disk when this returns."""
        if (seen := self.of(key)) is not None and seen >= version:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _private(self._beside(".lock")) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                floors = self._read()
                floors[key] = max(version, floors.get(key, 0))
                new = self._beside(".new")
                with _private(new) as file:
                    file.write(json.dumps({"version": 1, "floors": dict(sorted(floors.items()))}).encode())
                    file.flush()
                    os.fsync(file.fileno())
                new.rename(self._path)
        except OSError as e:
            failure = from_os(e, self._path)
            failure.hint = "give state=PATH of a file that can be written, or state=None to remember nothing"
            raise failure from e

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    def _read(self) -> dict[str, int]:
        try:
            with self._path.open("rb") as file:
                text = file.read(_MAX_LEN + 1)
        except FileNotFoundError:
            return {}
        except OSError as e:
            raise from_os(e, self._path) from e
        try:
            if len(text) > _MAX_LEN:
                raise ValueError("the file is too large")
            value = _json.parse(text, 2)
            if not _json.has_only(value, "version", "floors") or _json.as_u64(value.get("version")) != 1:
                raise ValueError("not version 1")
            if not isinstance(floors := value.get("floors"), dict):
                raise ValueError("no floors")
            return {key: _floor(floor) for key, floor in floors.items()}
        except ValueError as e:
            raise error(
                "ConfigInvalid",
                f"{self._path}: not a record of versions seen: {e}",
                "remove the file to start anew; versions seen before are forgotten then",
            ) from e


def _floor(value: object) -> int:
    number = _json.as_u64(value)
    if number is None:
        raise ValueError("a floor is not a number")
    return number


def _private(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")
