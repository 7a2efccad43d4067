"""Fetching, with the checks of docs/trust.md 5 in their order. What is proven, and by what:

- Paths, sizes and bytes of the members, namespace, name, version, kind and file id: by the signature of the artifact
  statement, made by a key the caller trusts, and by each member's BLAKE3 digest in it.
- Where a tag points: by the tag statement, signed by the namespace's identity and good for a week; that it is not an
  older one than this client saw: by the record of tags seen.
- ``b3:``, the sealed root: by the seal statement. The artifact statement lies inside the sealed file and cannot name
  the root over itself; both name the file id, random for each sealing, and the same key must have signed both.
"""

from __future__ import annotations

import bisect
import datetime
import io
import itertools
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import grpc
from blake3 import blake3

from . import _parts
from ._floor import TagFloor
from ._names import Reference, refuse_merging
from ._proto import fetch_pb2 as pb
from ._save import Tree
from ._signers import Signer
from ._statement import ArtifactStatement, Member, verify, verify_root
from ._stream import FetchStream
from ._tag import TagStatement, verify_tag
from .errors import VaultError, error, from_os

_NOTHING = blake3(b"").hexdigest()
_REQUEST_PATHS = 160 << 10
"""Bytes of the paths in one request: the server takes 256 KiB."""


class Source:
    """Where artifacts come from, and what is remembered and required there."""

    def __init__(
        self, channel: grpc.Channel, *, scope: str, floor: TagFloor | None, silence: float, max_member: int
    ) -> None:
        self.channel = channel
        self.scope = scope
        self.floor = floor
        self.silence = silence
        self.max_member = max_member

    def stream(
        self,
        reference: Reference,
        members: Sequence[str | tuple[str, str]],
        *,
        statement_only: bool = False,
        part: tuple[int, int] | None = None,
    ) -> FetchStream:
        """``members``: paths, or the first and the last of several that follow one another. ``part``: only these bytes
        of each member, with the groups around them."""
        bounds = None if part is None else pb.ByteRange(**dict(zip(("from", "to"), part, strict=True)))
        runs = [(member, "") if isinstance(member, str) else member for member in members]
        request = pb.FetchRequest(
            reference=str(reference),
            request_id=secrets.token_bytes(16),
            members=[pb.MemberSelection(path=path, range=bounds, through=last) for path, last in runs],
            # Not announced: this client checks whole members, so the daemon keeps up its own check of every segment.
            checks_groups=False,
            statement_only=statement_only,
        )
        return FetchStream(self.channel, request, self.silence)


class _Runs(NamedTuple):
    """Members that one request asks for."""

    named: list[tuple[str, str]]
    taken: int


class Artifact:
    """One version of an artifact whose signed statement was verified. Bytes come when they are asked for; none is
    handed on before the member it belongs to was verified as a whole.

    Only as long as the connection it came over is open.
    """

    reference: str
    """``namespace/name@vN``: this very version."""
    statement: ArtifactStatement
    """What the signer says was sealed."""
    signers: tuple[str, ...]
    """Key ids of the trusted keys that signed the artifact statement and the seal statement."""
    members: tuple[Member, ...]
    """The files that were asked for, in path order; of a dataset in parts, those of all parts."""
    root: str
    """The sealed root (``b3:``), proven by the seal statement."""
    tag: TagStatement | None
    """Where the tag points, if one was asked for, as the namespace signed it."""

    def __init__(
        self,
        source: Source,
        asked: Reference,
        trusted: Sequence[Signer],
        tag_signers: Sequence[Signer],
        wanted: Sequence[str] | None,
        part: _parts.Part | None = None,
    ) -> None:
        """``part``: what this must be, if another version named it."""
        self._source = source
        self._trusted = trusted
        with source.stream(asked, (), statement_only=True) as stream:
            start, self._envelope = stream.statement()
            self.statement, signers = verify(self._envelope, trusted)
            _check_identity(asked, start, self.statement)
            self.signers = _sealers(start, self.statement, [s for s in trusted if s.keyid in signers])
            self.tag = None if asked.tag is None else _tag_at(asked, start, tag_signers)
            stream.end()
        self._check_floor(asked)
        self._pinned = Reference(asked.namespace, asked.name, version=self.statement.version)
        self.reference = str(self._pinned)
        self.root = bytes(start.version.root).hex()
        self._positions = {m.path: i for i, m in enumerate(self.statement.members)}
        self._parts: tuple[Artifact, ...] = ()
        self._firsts: list[bytes] = []
        self._offered = set(self._positions)
        self.members = self.statement.members
        if part is not None:
            _parts.check(part, self.root, self.statement)
        elif _parts.names_parts(self.statement):
            self._open_parts()
        if wanted is not None:
            self.members = self._select(wanted)
        self._offered = {m.path for m in self.members}

    def _open_parts(self) -> None:
        """The members of the parts become this version's; the list of them is none of the dataset's files."""
        if self.statement.members[self._positions[_parts.PARTS]].size > _parts.MAX_LEN:
            raise error("LimitExceeded", f"{self.reference}: {_parts.PARTS} has more than {_parts.MAX_LEN} bytes")
        asked = self._pinned
        self._parts = tuple(
            Artifact(
                self._source,
                Reference(asked.namespace, asked.name, version=part.version),
                self._trusted,
                (),
                None,
                part,
            )
            for part in _parts.read(self.read(_parts.PARTS))
        )
        self._firsts = [part.members[0].path.encode() for part in self._parts]
        own = (member for member in self.statement.members if member.path != _parts.PARTS)
        held = itertools.chain(own, *(part.members for part in self._parts))
        self.members = tuple(sorted(held, key=lambda member: member.path.encode()))
        self._offered = {member.path for member in self.members}

    def _holder(self, path: str) -> Artifact:
        """The sealed version that a member is in: this one, or a part."""
        if path in self._positions or not self._parts:
            return self
        return self._parts[max(0, bisect.bisect_right(self._firsts, path.encode()) - 1)]

    def __repr__(self) -> str:
        return f"<model_vault.Artifact {self.reference}, {len(self.members)} members, {self.size} bytes>"

    @property
    def version(self) -> int:
        """Number of the version: 3 for ``v3``."""
        return self.statement.version

    @property
    def size(self) -> int:
        """Bytes of the members."""
        return sum(member.size for member in self.members)

    def read(self, path: str) -> bytes:
        """The bytes of a member, verified as a whole. Refuses a member above ``max_member``."""
        return self._spool(path).getvalue()

    def open(self, path: str) -> BinaryIO:
        """A seekable file over the verified bytes of a member, in memory. Refuses a member above ``max_member``."""
        spool = self._spool(path)
        spool.seek(0)
        return spool

    def read_unverified(self, path: str, start: int, stop: int) -> bytes:
        """The bytes ``start`` to ``stop`` of a member, without check 5: only for who checks them by digests that were
        signed, as the reader of datasets does."""
        member = self._member(path)
        if (holder := self._holder(path)) is not self:
            return holder.read_unverified(path, start, stop)
        if not 0 <= start < stop <= member.size:
            return b""
        received = bytearray()
        group_len = 1 << self.statement.group_log2
        with self._source.stream(self._pinned, [path], part=(start, stop)) as stream:
            self._accept(stream)
            for piece in stream.pieces(self._positions[path], member.size, group_len, start, stop):
                received += piece
            stream.end()
        skipped = start % group_len
        return bytes(memoryview(received)[skipped : skipped + stop - start])

    def each_unverified(self, paths: Iterable[str]) -> Iterator[bytes]:
        """All bytes of members in the order of their paths, one after the other, without check 5: only for who checks
        them by digests that were signed. One call to the vault for those that follow one another; a call that is cut,
        as one whose reader pauses is, goes on where it was."""
        for holder, own in itertools.groupby(paths, key=self._holder):
            yield from holder._each_unverified([self._member(path) for path in own])

    def _each_unverified(self, members: Sequence[Member]) -> Iterator[bytes]:
        group_len = 1 << self.statement.group_log2
        at = 0
        while at < len(members):
            begun, runs = at, self._runs(members[at:])
            stream = self._source.stream(self._pinned, runs.named)
            try:
                with stream:
                    self._accept(stream)
                    for member in members[at : at + runs.taken]:
                        data = b"".join(stream.pieces(self._positions[member.path], member.size, group_len))
                        at += 1
                        yield data
                    stream.end()
            except VaultError:
                if not stream.cut or at == begun:
                    raise

    def _runs(self, members: Sequence[Member]) -> _Runs:
        runs: list[tuple[str, str]] = []
        named, last = 0, None
        for count, path in enumerate(member.path for member in members):
            position = self._positions[path]
            if last is not None and position == last + 1:
                runs[-1] = (runs[-1][0], path)
            else:
                named += 2 * len(path.encode()) + 64
                if runs and named > _REQUEST_PATHS:
                    return _Runs(runs, count)
                runs.append((path, path))
            last = position
        return _Runs(runs, len(members))

    def single(self) -> bytes:
        """The bytes of the only member."""
        if len(self.members) != 1:
            message = f"{self.reference} has {len(self.members)} members, not one"
            raise error("InvalidArgument", message, "name one with read(PATH), or save(DIR) all")
        return self.read(self.members[0].path)

    def save(self, directory: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes the members into a new folder that appears under its name only when all of them were verified.

        Files have mode 0600, folders 0700. Members of any size: they are not held in memory, but lie in a hidden folder
        beside the target, mode 0700, until they are verified; after a failure it is removed. Refuses a target that
        exists and is not an empty folder, unless ``overwrite`` (the old folder is replaced as a whole), and paths that
        are not safe or that some file system would take for one another.
        """
        refuse_merging(member.path for member in self.members)
        with Tree(directory, overwrite=overwrite) as tree:
            for sealed in (self, *self._parts):
                sealed._save_into(tree, [m for m in sealed.statement.members if m.path in self._offered])
            return tree.finish()

    def _save_into(self, tree: Tree, members: Sequence[Member]) -> None:
        if not members and self.statement.members:
            return
        while True:
            runs = self._runs(members)
            whole = runs.taken == len(self.statement.members)
            with self._source.stream(self._pinned, [] if whole else runs.named) as stream:
                self._accept(stream)
                for member in members[: runs.taken]:
                    self._save_member(stream, tree, member)
                stream.end()
            members = members[runs.taken :]
            if not members:
                return

    def _save_member(self, stream: FetchStream, tree: Tree, member: Member) -> None:
        try:
            with tree.file(member.path) as file:
                self._receive(stream, member, file.write)
                file.flush()
                os.fsync(file.fileno())
        except OSError as e:
            raise from_os(e, tree.path / member.path) from e

    def _member(self, path: str) -> Member:
        if path not in self._offered:
            raise error("NotFound", f"no member {path!r} in {self.reference}", "members lists what there is")
        holder = self._holder(path)
        return holder.statement.members[holder._positions[path]]

    def _spool(self, path: str) -> io.BytesIO:
        member = self._member(path)
        if (holder := self._holder(path)) is not self:
            return holder._spool(path)
        if member.size > self._source.max_member:
            raise error(
                "LimitExceeded",
                f"{path} has {member.size} bytes; this client holds at most {self._source.max_member} in memory",
                "save(DIR) takes any size, connect(max_member=...) allows more, and the native client (vault fetch) "
                "verifies group by group without holding a member",
            )
        spool = io.BytesIO()
        with self._source.stream(self._pinned, [path]) as stream:
            self._accept(stream)
            self._receive(stream, member, spool.write)
            stream.end()
        return spool

    def _receive(self, stream: FetchStream, member: Member, write: Callable[[bytes], object]) -> None:
        """Check 5. ``write`` puts the bytes where nobody else sees them until this has returned."""
        digest = blake3()
        for piece in stream.pieces(self._positions[member.path], member.size, 1 << self.statement.group_log2):
            digest.update(piece)
            write(piece)
        if digest.hexdigest() != member.blake3:
            raise error(
                "MemberMismatch",
                f"{member.path}: the bytes are not those that were signed",
                "the server or the way to it altered them: fetch again; if it repeats, do not trust this server",
                details={"member": member.path},
            )

    def _accept(self, stream: FetchStream) -> None:
        """The statement that leads this stream must be the one that was verified before."""
        start, envelope = stream.statement()
        statement = self.statement
        if envelope != self._envelope:
            # Another signer may have been added meanwhile; what was signed cannot have changed.
            statement, _ = verify(envelope, self._trusted)
        if statement != self.statement:
            raise _other(f"{self.reference}: the server now offers another signed statement for the same version")
        _check_identity(self._pinned, start, statement)
        if bytes(start.version.root).hex() != self.root:
            raise _other(f"{self.reference}: the server now announces another root for the same version")

    def _select(self, wanted: Sequence[str]) -> tuple[Member, ...]:
        for path in wanted:
            if path not in self._offered:
                raise error("NotFound", f"no member {path!r} in {self.reference}", "members lists what there is")
        asked = set(wanted)
        return tuple(member for member in self.members if member.path in asked)

    def _check_floor(self, asked: Reference) -> None:
        floor = self._source.floor
        if self.tag is None or floor is None:
            return
        key = f"{self._source.scope} {asked}"
        if (seen := floor.of(key)) is not None:
            seen.allows(self.tag)
        floor.raise_to(key, self.tag)


def _tag_at(asked: Reference, start: pb.FetchStart, trusted: Sequence[Signer]) -> TagStatement:
    """The signed word that the tag is at the version and root that were verified."""
    now = datetime.datetime.now(datetime.UTC)
    statement = verify_tag(start.tag_statement, trusted, asked, now)
    offered = (start.version.number, bytes(start.version.root).hex())
    if (statement.version, statement.root) != offered:
        raise _other(
            f"{asked}: the tag statement names v{statement.version} (b3:{statement.root}), the server offers "
            f"v{offered[0]} (b3:{offered[1]})"
        )
    return statement


def _check_identity(asked: Reference, start: pb.FetchStart, statement: ArtifactStatement) -> None:
    """Check 3, and that the server's own words do not contradict what was signed."""
    if (statement.namespace, statement.name) != (asked.namespace, asked.name):
        raise _other(
            f"asked for {asked.namespace}/{asked.name}, the signed statement is about "
            f"{statement.namespace}/{statement.name}"
        )
    if asked.version is not None and statement.version != asked.version:
        raise _other(f"asked for v{asked.version}, the signed statement is about v{statement.version}")
    version = start.version
    root = bytes(version.root).hex()
    if asked.root is not None and root != asked.root:
        raise _other(f"asked for b3:{asked.root}, the server offers b3:{root}")
    announced = (version.namespace, version.name, version.number, version.kind, bytes(version.file_id).hex())
    signed = (statement.namespace, statement.name, statement.version, statement.kind, statement.file_id)
    sizes = (version.payload_size, version.member_count)
    if announced != signed or sizes != (statement.payload_size, len(statement.members)):
        raise _other("the server's own words about the version contradict the signed statement")
    # An empty member has no chunk that could prove its digest.
    if any(member.size == 0 and member.blake3 != _NOTHING for member in statement.members):
        raise error("MemberMismatch", "an empty member has a digest that is not that of no bytes")


def _sealers(start: pb.FetchStart, statement: ArtifactStatement, signers: Sequence[Signer]) -> tuple[str, ...]:
    """Which of those who signed the artifact statement also signed that its file has the announced root."""
    root = bytes(start.version.root).hex()
    return verify_root(start.seal_statements, signers, statement.file_id, root)


def _other(message: str) -> VaultError:
    hint = "the server answers with something else than was asked for: do not use it, ask its operator"
    return error("BindingMismatch", message, hint)


def wanted_members(asked: Reference, members: Iterable[str] | None) -> list[str] | None:
    """What a caller selects: ``members``, and the path inside a ``vault://`` reference. None: everything."""
    if isinstance(members, str):
        members = [members]
    wanted = None if members is None else list(members)
    if asked.member is not None:
        wanted = [*(wanted or ()), asked.member]
    if wanted is not None and not wanted:
        raise error("InvalidArgument", "members names no member", "leave it out to get all")
    return wanted
