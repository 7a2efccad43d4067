"""Names and references (DESIGN: [NAMESPACE/]NAME[@REVISION], vault://namespace/name@revision/path) and member paths."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import VaultError, error

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"v[0-9]+")
_U64_MAX = (1 << 64) - 1


def is_name(text: str) -> bool:
    """1-64 of ``a-z 0-9 . _ -``, starting with a letter or digit."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class Reference:
    """Which version of which artifact. Exactly one of ``version``, ``tag`` and ``root`` is set."""

    namespace: str
    name: str
    version: int | None = None
    tag: str | None = None
    root: str | None = None
    member: str | None = None

    def __str__(self) -> str:
        revision = f"v{self.version}" if self.version is not None else self.tag or f"b3:{self.root}"
        return f"{self.namespace}/{self.name}@{revision}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises UsageError ``InvalidArgument``."""
        member = None
        if text.startswith("vault://"):
            namespace, slash, rest = text.removeprefix("vault://").partition("/")
            rest, _, member = rest.partition("/")
        else:
            namespace, slash, rest = text.partition("/")
            if not slash:
                namespace, rest = "default", text
        name, at, revision = rest.partition("@")
        revision = revision if at else "latest"
        if not is_name(namespace) or not is_name(name):
            raise _bad(text)
        if member and not path_is_valid(member):
            raise _bad(text)
        member = member or None
        if _VERSION.fullmatch(revision):
            number = int(revision[1:]) if len(revision) <= 21 else _U64_MAX
            return cls(namespace, name, version=min(number, _U64_MAX), member=member)
        if revision.startswith("b3:"):
            if not re.fullmatch(r"[0-9a-fA-F]{64}", revision[3:]):
                raise _bad(text)
            return cls(namespace, name, root=revision[3:].lower(), member=member)
        if not is_name(revision):
            raise _bad(text)
        return cls(namespace, name, tag=revision, member=member)


def _bad(text: str) -> VaultError:
    return error(
        "InvalidArgument",
        f"not a reference: {text!r}",
        "references are [NAMESPACE/]NAME[@REVISION]; REVISION is v3, a tag, or b3:<64 hex digits>",
    )


def path_is_valid(path: str) -> bool:
    """The rule of docs/format.md 7.1 for a member's path: it stays below the folder it is unpacked into."""
    try:
        data = path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    parts = data.split(b"/")
    return (
        1 <= len(data) <= 1024
        and all(1 <= len(part) <= 255 and part not in (b".", b"..") for part in parts)
        and not any(byte < 0x20 or byte in (0x7F, 0x5C) for byte in data)
    )


def refuse_merging(paths: Iterable[str]) -> None:
    """Refuses paths that could not all be files of one folder: two that some file system takes for one (letter case,
    normalization), or a file that is the folder of another. On every system alike, so that what unpacks here unpacks
    anywhere. Raises UsageError ``InvalidArgument``."""
    seen: dict[str, tuple[str, bool]] = {}
    for path in paths:
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            part, is_file = "/".join(parts[:count]), count == len(parts)
            entry = (part, is_file)
            other = seen.setdefault(_fold(part), entry)
            # The same folder again is the only thing that may repeat.
            if other is not entry and (is_file or other != entry):
                message = f"{other[0]!r} and {part!r} would be one and the same on some file systems"
                raise error("InvalidArgument", message, "fetch the members one by one with read()")


def _fold(path: str) -> str:
    folded = unicodedata.normalize("NFC", path).lower().upper()
    return unicodedata.normalize("NFC", folded)
