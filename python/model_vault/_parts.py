"""Datasets that are sealed in parts (docs/datasets.md): which versions hold the files, as src/manifest/parts.rs.

The list is a member of the version that was asked for. So it is the word of whoever sealed that, never of the server.
"""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from . import _json
from ._statement import ArtifactStatement, Malformed, hex_of, number_of, text_of
from .errors import error

PARTS = "dataset.parts"
_SIGNED = "dataset.sig"
_TREE = "dataset.tree/"
MAX_LEN = 8 << 20
_MAX_PARTS = 4096


@dataclass(frozen=True)
class Part:
    """One of the versions that hold the files."""

    version: int
    root: str
    """Its sealed root, 64 hex digits."""
    files: int
    first: str
    """Path of the first file."""
    last: str
    """Path of the last."""
    content: str
    """Digest of what the files are, 64 hex digits (docs/datasets.md)."""


def names_parts(statement: ArtifactStatement) -> bool:
    """Whether the files of a version lie in others."""
    paths = {member.path for member in statement.members}
    return statement.kind == "dataset" and {PARTS, _SIGNED} <= paths


def read(text: bytes) -> tuple[Part, ...]:
    """The parts, in the order of their paths. Raises IntegrityError ``ManifestInvalid``."""
    try:
        value = _json.parse(text, 3)
        listed = value.get("parts") if _json.has_only(value, "parts") else None
        if not isinstance(listed, list) or not 1 <= len(listed) <= _MAX_PARTS:
            raise Malformed("their number")
        parts = tuple(_part(entry) for entry in listed)
        ends = [path.encode() for part in parts for path in dict.fromkeys((part.first, part.last))]
        if any(a >= b for a, b in zip(ends, ends[1:], strict=False)):
            raise Malformed("paths out of order")
        if len({part.version for part in parts}) != len(parts):
            raise Malformed("a version twice")
    except ValueError as e:
        raise error("ManifestInvalid", f"{PARTS} does not name the parts of a dataset: {e}") from e
    return parts


def _part(value: object) -> Part:
    if not _json.has_only(value, "version", "root", "files", "first", "last", "content"):
        raise Malformed("a part")
    numbers = number_of(value, "version"), number_of(value, "files")
    ends = text_of(value, "first"), text_of(value, "last")
    part = Part(numbers[0], hex_of(value, "root"), numbers[1], *ends, hex_of(value, "content"))
    if 0 in numbers or (part.files == 1) != (part.first == part.last):
        raise Malformed("a part")
    return part


def check(part: Part, root: str, statement: ArtifactStatement) -> None:
    """That a signed statement is that of this part. Raises IntegrityError ``BindingMismatch``."""
    paths = [member.path for member in statement.members]
    ends = (paths[0], paths[-1]) if paths else ("", "")
    found = Part(statement.version, root, len(paths), *ends, content(statement))
    if found != part or not all(map(_is_file, paths)):
        raise error(
            "BindingMismatch",
            f"v{statement.version} (b3:{root}) is not the part of the dataset that was signed (b3:{part.root})",
            "the server answers with something else than was sealed: do not use it, ask its operator",
        )


def content(statement: ArtifactStatement) -> str:
    """Digest of path, size and BLAKE3 of each member, in the order of their paths."""
    digest = blake3()
    for member in statement.members:
        path = member.path.encode()
        digest.update(b"".join((_u64(len(path)), path, _u64(member.size), bytes.fromhex(member.blake3))))
    return digest.hexdigest()


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _is_file(path: str) -> bool:
    return path not in (PARTS, _SIGNED) and not path.startswith(_TREE)
