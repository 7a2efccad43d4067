"""connect(), Client and fetch()."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import TracebackType

import grpc

from . import _channel
from ._dataset.keys import KeySource, load_keys, of_signers
from ._dataset.reader import Dataset, Recent, State
from ._dataset.source import InVault
from ._enrolment import Enrolment
from ._fetch import Artifact, Source, wanted_members
from ._floor import TagFloor, default_path
from ._names import Reference
from ._proto import access_pb2
from ._proto.access_pb2_grpc import AccessServiceStub
from ._signers import Signer, SignerSource, load_signers, no_signers, required
from .errors import broken, error, from_rpc

MAX_MEMBER = 2 << 30
"""Largest member that read() and open() hold in memory, unless connect() says otherwise: 2 GiB."""


class _Default(Enum):
    STATE = "versions-seen.json"


StatePath = str | os.PathLike[str] | _Default | None


class Client:
    """A connection to a vault; see ``connect``. May be used by several threads. Made anew by itself when it was cut."""

    def __init__(self, source: Source, trusted: list[Signer] | None, tag_signers: list[Signer] | None) -> None:
        self._source = source
        self._trusted = trusted
        self._tag_signers = tag_signers
        self._told: dict[str, list[Signer]] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and every stream on it."""
        self._source.channel.close()

    def fetch(
        self,
        reference: str,
        *,
        members: Iterable[str] | None = None,
        require_signer: Iterable[str] | None = None,
    ) -> Artifact:
        """Finds the version ``reference`` means and verifies its signed statement; bytes come when they are asked for.

        ``reference``: ``[NAMESPACE/]NAME[@REVISION]`` with a revision ``v3``, a tag (default ``latest``) or
        ``b3:<hex>``, or
        ``vault://namespace/name@revision/path/inside``. ``members``: only these paths. ``require_signer``: ids (16 or
        64 hex digits) of the trusted keys of which one must have signed; where a tag points stays the word of the
        namespace.

        Raises a ``VaultError``: IntegrityError where something is not what was signed, NotFound for what does not exist
        and for what this workload was not granted, Denied, Unauthenticated, QuotaExceeded, Unavailable.
        """
        asked = Reference.parse(reference)
        wanted = wanted_members(asked, members)
        known = self._signers(asked.namespace)
        trusted = required(known, require_signer)
        if not trusted:
            raise no_signers()
        tag_signers = known if self._tag_signers is None else self._tag_signers
        return Artifact(self._source, replace(asked, member=None), trusted, tag_signers, wanted)

    def dataset(
        self,
        reference: str,
        keys: KeySource | Iterable[KeySource] | None = None,
        *,
        min_version: int | None = None,
        min_age: datetime.timedelta | None = None,
        state: State = True,
        require_signer: Iterable[str] | None = None,
    ) -> Dataset:
        """Opens a signed dataset that was sealed with its ``dataset.sig`` and ``dataset.tree``; see
        ``model_vault.dataset``. Its bytes come while it is read, 8 MiB at most at a time, and none is written to disk.

        Two signatures count: that of the artifact, as in ``fetch``, and that of the dataset, by ``keys``; without
        these, by the signers that the client trusts in the namespace. The connection must stay open. Raises as
        ``fetch`` and ``model_vault.dataset`` do.
        """
        asked = Reference.parse(reference)
        if asked.member is not None:
            raise error("InvalidArgument", f"a dataset is a whole version, not a member: {reference!r}")
        artifact = self.fetch(reference, require_signer=require_signer)
        trusted = of_signers(self._signers(asked.namespace)) if keys is None else load_keys(keys)
        return Dataset(InVault(artifact), trusted, Recent(min_version, min_age, state))

    def _signers(self, namespace: str) -> list[Signer]:
        if self._trusted is not None:
            return self._trusted
        if namespace not in self._told:
            self._told[namespace] = _ask_signers(self._source.channel, namespace, self._source.silence)
        return self._told[namespace]


def connect(
    *,
    enrolment: str | os.PathLike[str] | None = None,
    address: str | None = None,
    socket: str | os.PathLike[str] | None = None,
    signers: Iterable[SignerSource] | None = None,
    trust_socket: bool = False,
    state: StatePath = _Default.STATE,
    max_member: int = MAX_MEMBER,
    silence: float = 120.0,
) -> Client:
    """A client of a vault's daemon; nothing is sent before the first fetch.

    - ``connect(enrolment=DIR)``: mutual TLS as the workload that ``vault workload enroll NAME -o DIR`` made, to the
      address in the enrolment or to ``address``; trusts the signers in the enrolment. Without arguments: the directory
      in ``MODELVAULT_ENROLMENT`` and, if set, the address in ``MODELVAULT_SERVER``.
    - ``connect(socket=PATH, signers=[...])``: the daemon's Unix socket, as the operator the kernel says this process
      is. Whom to believe comes from ``signers``, from an ``enrolment``, or, with ``trust_socket=True``, from the vault
      itself: then the socket and its folder must belong to this user or to root.

    ``signers``: public keys (DER or PEM bytes, PEM text, paths of PEM files) that replace those of the enrolment for
    what was published; where a tag points is always the word of the enrolment's, where there is one.
    ``state``: file that remembers where each tag was seen last, so that an older state of it is refused; None
    remembers nothing. ``max_member``: largest member, in bytes, held in memory. ``silence``: seconds a server may say
    nothing.
    """
    if socket is None and enrolment is None:
        enrolment = os.environ.get("MODELVAULT_ENROLMENT") or None
        address = address or os.environ.get("MODELVAULT_SERVER") or None
    if silence <= 0 or max_member < 0:
        raise error("InvalidArgument", "silence is above 0, max_member not below")
    identity = Enrolment.read(enrolment) if enrolment is not None else None
    trusted = load_signers(signers) if signers is not None else identity.signers if identity is not None else None
    if socket is not None:
        if address is not None:
            raise error("InvalidArgument", "give an address or a socket, not both")
        path = Path(socket).absolute()
        if trust_socket:
            _channel.refuse_foreign_socket(path)
        elif trusted is None:
            raise no_signers()
        scope = f"unix:{path}"
        channel = _channel.over_socket(path)
    elif identity is not None:
        # As vault fetch does: the same vault, however its address is spelt.
        scope = identity.vault
        channel = _channel.over_tls(address or identity.address, identity)
    else:
        raise error(
            "NoCredential",
            "neither enrolment nor socket is given",
            "connect(enrolment=DIR) with the directory that vault workload enroll NAME -o DIR made",
        )
    if state is _Default.STATE:
        state = default_path(identity.directory if identity is not None else None)
    floor = TagFloor(Path(state)) if state is not None else None
    source = Source(channel, scope=scope, floor=floor, silence=silence, max_member=max_member)
    return Client(source, trusted, identity.signers if identity is not None else None)


def fetch(
    reference: str,
    *,
    into: str | os.PathLike[str],
    members: Iterable[str] | None = None,
    require_signer: Iterable[str] | None = None,
    overwrite: bool = False,
    enrolment: str | os.PathLike[str] | None = None,
    address: str | None = None,
    socket: str | os.PathLike[str] | None = None,
    signers: Iterable[SignerSource] | None = None,
    trust_socket: bool = False,
    state: StatePath = _Default.STATE,
) -> Path:
    """Fetches an artifact into the new folder ``into``; see ``connect``, ``Client.fetch`` and ``Artifact.save``."""
    with connect(
        enrolment=enrolment, address=address, socket=socket, signers=signers, trust_socket=trust_socket, state=state
    ) as client:
        artifact = client.fetch(reference, members=members, require_signer=require_signer)
        return artifact.save(into, overwrite=overwrite)


def _ask_signers(channel: grpc.Channel, namespace: str, silence: float) -> list[Signer]:
    request = access_pb2.ListSignersRequest(namespace=namespace)
    try:
        answer = AccessServiceStub(channel).ListSigners(request, timeout=silence)
    except grpc.RpcError as e:
        raise from_rpc(e) from e
    try:
        return [Signer.from_pair(signer.keyid, signer.spki) for signer in answer.signers]
    except ValueError as e:
        raise broken(f"the vault names a signer that is none: {e}") from e
