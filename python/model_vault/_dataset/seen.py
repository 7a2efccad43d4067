"""The file that remembers which versions of datasets were read here: the one that ``vault dataset verify`` keeps."""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path

from .. import _json
from .._floor import default_path, read_seen
from ..errors import error, from_os
from .chain import Seen

_HEX = re.compile(r"[0-9a-f]{64}")


def seen_path() -> Path:
    """``$XDG_STATE_HOME/modelvault/datasets-seen.json``, else under ``~/.local/state``."""
    return default_path(None).with_name("datasets-seen.json")


class SeenFile:
    """What was seen of each dataset, by the key that signed it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def highest(self, names: list[str]) -> Seen | None:
        """Of these. Raises UsageError ``ConfigInvalid`` for a damaged file: guessing would forget."""
        all_seen = self._read()
        found = [all_seen[name] for name in names if name in all_seen]
        return max(found, key=lambda seen: seen.version, default=None)

    def raise_to(self, names: list[str], to: Seen) -> None:
        """Remembers ``to`` unless more was seen meanwhile; on disk when this returns."""
        if all(self._read().get(name) == to for name in names):
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(self._beside(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                rows = self._read()
                for name in names:
                    if name not in rows or rows[name].version < to.version:
                        rows[name] = to
                self._write({n: {"version": rows[n].version, "digest": rows[n].digest} for n in sorted(rows)})
        except OSError as e:
            failure = from_os(e, self._path)
            failure.hint = "give state=PATH of a file that can be written, or state=None to remember nothing"
            raise failure from e

    def _write(self, rows: dict[str, dict[str, object]]) -> None:
        new = self._beside(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(new, flags, 0o600), "wb") as file:
            file.write(json.dumps(rows, indent=2).encode())
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._path)

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    def _read(self) -> dict[str, Seen]:
        text = read_seen(self._path)
        if text is None:
            return {}
        try:
            value = _json.parse(text, 4)
            if not isinstance(value, dict):
                raise ValueError("not an object")
            return {name: _row(row) for name, row in value.items()}
        except ValueError as e:
            hint = "it says which versions were seen before; remove it only if you know why it is damaged"
            raise error("ConfigInvalid", f"{self._path}: {e}", hint) from e


def _row(value: object) -> Seen:
    version = _json.as_u64(value.get("version")) if _json.has_only(value, "version", "digest") else None
    digest = value.get("digest") if isinstance(value, dict) else None
    if version is None or not _json.is_text(digest) or not _HEX.fullmatch(digest):
        raise ValueError("a row is of another form")
    return Seen(version, digest)
