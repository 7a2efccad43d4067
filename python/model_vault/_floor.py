"""The small file that remembers where each tag was seen last (docs/trust.md 5, 4).

The same format and the same lock as the native client's.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path
from typing import BinaryIO

from . import _json
from ._tag import Seen, TagStatement
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


def read_seen(path: Path) -> bytes | None:
    """What a file that remembers holds; ``None``: there is none yet.

    Raises UsageError ``ConfigInvalid`` for one that is too large, and what the file system says."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_LEN + 1)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise from_os(e, path) from e
    if len(text) > _MAX_LEN:
        raise error("ConfigInvalid", f"{path}: the file is too large", "nothing of ours makes it so large")
    return text


class TagFloor:
    """Where each tag was seen last, so that a server that shows older states is found out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, key: str) -> Seen | None:
        """What was seen. Raises UsageError ``ConfigInvalid`` for a damaged file: guessing would forget."""
        return self._read().get(key)

    def raise_to(self, key: str, now: TagStatement) -> None:
        """Remembers what ``now`` says unless a later move was seen; on disk when this returns. Raises IntegrityError
        ``VersionRollback`` if another process saw the same move lead elsewhere meanwhile."""
        seen = Seen(now.version, now.sequence, now.root)
        if self.of(key) == seen:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _private(self._beside(".lock")) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                floors = self._read()
                if (known := floors.get(key)) is not None:
                    if (known.sequence or 0) > now.sequence:
                        return
                    known.allows(now)
                floors[key] = seen
                new = self._beside(".new")
                with _private(new) as file:
                    document = {"version": 2, "floors": {key: _document(floors[key]) for key in sorted(floors)}}
                    file.write(json.dumps(document).encode())
                    file.flush()
                    os.fsync(file.fileno())
                new.rename(self._path)
        except OSError as e:
            failure = from_os(e, self._path)
            failure.hint = "give state=PATH of a file that can be written, or state=None to remember nothing"
            raise failure from e

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    def _read(self) -> dict[str, Seen]:
        text = read_seen(self._path)
        if text is None:
            return {}
        try:
            value = _json.parse(text, 4)
            if not _json.has_only(value, "version", "floors") or _json.as_u64(value.get("version")) not in (1, 2):
                raise ValueError("neither version 1 nor 2")
            if not isinstance(floors := value.get("floors"), dict):
                raise ValueError("no floors")
            read = _version_floor if _json.as_u64(value["version"]) == 1 else _floor
            return {key: read(floor) for key, floor in floors.items()}
        except ValueError as e:
            raise error(
                "ConfigInvalid",
                f"{self._path}: not a record of tags seen: {e}",
                "remove the file to start anew; what was seen before is forgotten then",
            ) from e


def _version_floor(value: object) -> Seen:
    """Version 1 kept the highest version seen, and knew of no moves."""
    return Seen(_number(value))


def _floor(value: object) -> Seen:
    if not _json.has_only(value, "version", "signed"):
        raise ValueError("a floor is of another form")
    version, signed = _number(value.get("version")), value.get("signed")
    if signed is None:
        return Seen(version)
    root = signed.get("root") if _json.has_only(signed, "sequence", "root") else None
    if not _json.is_text(root) or not re.fullmatch(r"[0-9a-f]{64}", root):
        raise ValueError("a floor is of another form")
    return Seen(version, _number(signed.get("sequence")), root)


def _document(seen: Seen) -> dict[str, object]:
    if seen.sequence is None:
        return {"version": seen.version}
    return {"version": seen.version, "signed": {"sequence": seen.sequence, "root": seen.root}}


def _number(value: object) -> int:
    number = _json.as_u64(value)
    if number is None:
        raise ValueError("a floor is not a number")
    return number


def _private(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")
