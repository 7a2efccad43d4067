"""The two ways to a daemon: mutual TLS as an enrolled workload, and its Unix socket."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import quote

import grpc

from ._enrolment import Enrolment, is_address
from .errors import error, from_os

MESSAGE_LIMIT = 4 << 20
"""Largest message either side takes: a piece of 1 MiB with its outboard nodes, or a request with many members."""

_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    # Frames as large as a group and a fixed look-ahead let a stream of 1 MiB messages run a sixth faster than the
    # defaults; the bandwidth probe only costs pings.
    ("grpc.http2.max_frame_size", 1 << 20),
    ("grpc.http2.lookahead_bytes", 16 << 20),
    ("grpc.http2.bdp_probe", 0),
    # A silent peer is asked for a sign of life, and given up after as long again.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A stream that was cut is the caller's to repeat: a silent retry would be a second row in the audit log.
    ("grpc.enable_retries", 0),
    # Only what connect() was told decides where the bytes come from: no proxy of the environment, no service config of
    # DNS.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    # Every client has a connection of its own: closing it closes it, and another one's back-off does not delay it.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", "model-vault-python"),
]


def over_tls(address: str, enrolment: Enrolment) -> grpc.Channel:
    """As the workload of ``enrolment``, to a server under its CA and no other."""
    if not is_address(address):
        raise error("InvalidArgument", f"not an address: {address!r}", "addresses are HOST:PORT")
    enrolment.refuse_expired()
    credentials = grpc.ssl_channel_credentials(enrolment.ca, enrolment.key, enrolment.certificate)
    return grpc.secure_channel(f"dns:///{quote(address, safe=':')}", credentials, options=_OPTIONS)


def over_socket(path: Path) -> grpc.Channel:
    """Over the daemon's Unix socket; the caller is who the kernel says."""
    path = path.absolute()
    try:
        facts = path.stat()
    except OSError as e:
        raise error("Unreachable", f"{path}: {e.strerror}", "is vault serve running, with this socket?") from e
    if not stat.S_ISSOCK(facts.st_mode):
        raise error("InvalidArgument", f"{path}: not a socket")
    # gRPC would send the escaped path as :authority, which servers refuse with a reset: no host name looks like that.
    options = [*_OPTIONS, ("grpc.default_authority", "localhost")]
    return grpc.insecure_channel(f"unix:{quote(str(path))}", options=options)


def refuse_foreign_socket(path: Path) -> None:
    """The daemon behind a socket is whoever could make it: it and its folder must belong to this user or root alone.

    Raises Unauthenticated.
    """
    path = path.absolute()
    trusted = (0, os.geteuid())
    try:
        # The kernel follows links, so what counts is where they lead.
        real = path.resolve(strict=True)
        for place in (real, real.parent):
            facts = place.stat()
            writable = stat.S_ISDIR(facts.st_mode) and facts.st_mode & 0o022 and not facts.st_mode & stat.S_ISVTX
            if facts.st_uid not in trusted or writable:
                message = f"{place} belongs to others or can be changed by them: its daemon is not to be trusted"
                raise error("BadCredential", message, "give signers= or enrolment= instead of trust_socket=True")
    except OSError as e:
        raise from_os(e, path) from e
