"""One Fetch call, read message by message against the contract of fetch.proto.

What must come next follows from the request and the signed statement alone; the server decides nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Literal

import grpc

from ._proto import fetch_pb2 as pb
from ._proto.fetch_pb2_grpc import FetchServiceStub
from ._statement import MAX_SEAL_STATEMENTS_LEN, MAX_STATEMENT_LEN
from ._tag import MAX_TAG_STATEMENT_LEN
from .errors import broken, error, from_rpc

PIECE_LEN = 1 << 20
"""Most bytes of bulk data in one message."""
_NODE_LEN = 64
_Part = Literal["start", "statement", "chunk", "end"]


class FetchStream:
    """A context manager: leaving it ends the call."""

    def __init__(self, channel: grpc.Channel, request: pb.FetchRequest, silence: float) -> None:
        try:
            self._call = FetchServiceStub(channel).Fetch(request)
        except ValueError as e:  # what grpc raises for a channel that was closed
            raise error("InvalidArgument", "the client is closed", "fetch within its `with` block") from e
        self._silence = silence
        self._last = time.monotonic()
        self._received = 0
        self._chunks = 0
        self._bytes = 0
        self._over = threading.Event()
        self._gave_up = False
        self.cut = False
        """Whether the transport ended it, rather than the server broke the contract."""
        threading.Thread(target=self._watch, name="model-vault-watch", daemon=True).start()

    def __enter__(self) -> FetchStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._call.cancel()

    def _watch(self) -> None:
        """gRPC knows a deadline for the whole call, not for the next message: a model may take hours, silence may
        not."""
        while not self._over.wait(self._silence / 4):
            if time.monotonic() >= self._last + self._silence:
                self._gave_up = True
                self._call.cancel()
                return

    def _next(self) -> pb.FetchResponse | None:
        # Only waiting for the server counts as silence, not what the caller does between two messages.
        self._last = time.monotonic()
        try:
            message: pb.FetchResponse = next(self._call)
        except StopIteration:
            return None
        except grpc.RpcError as e:
            if self._gave_up:
                raise error("DeadlineExceeded", f"the server sent nothing for {self._silence:g} s") from e
            failure = from_rpc(e, mid_stream=self._received > 0)
            self.cut = failure.id == "StreamBroken"
            raise failure from e
        finally:
            self._last = float("inf")
        self._received += 1
        return message

    def _expect(self, part: _Part) -> pb.FetchResponse:
        message = self._next()
        if message is None:
            raise broken("the stream ended without its END: what came is incomplete")
        found = message.WhichOneof("part")
        if found is None:
            raise broken("an empty message")
        if found != part:
            if found == "end":
                raise broken("the END came before everything that was asked for")
            raise broken(f"messages out of order: {found} where {part} was expected")
        return message

    def statement(self) -> tuple[pb.FetchStart, bytes]:
        """The start, with the seal statements, and the artifact statement; nothing in them is verified yet."""
        start = self._expect("start").start
        announced = start.statement_len
        if not 0 < announced <= MAX_STATEMENT_LEN:
            raise error("LimitExceeded", f"the server announces a statement of {announced} bytes")
        if (sealed := len(start.seal_statements)) > MAX_SEAL_STATEMENTS_LEN:
            raise error("LimitExceeded", f"the server sends {sealed} bytes of seal statements")
        if (told := len(start.tag_statement)) > MAX_TAG_STATEMENT_LEN:
            raise error("LimitExceeded", f"the server sends a tag statement of {told} bytes")
        envelope = bytearray()
        while len(envelope) < announced:
            piece = self._expect("statement").statement
            if not 0 < len(piece) <= PIECE_LEN:
                raise broken("a piece of the statement has a wrong length")
            envelope += piece
        if len(envelope) > announced:
            raise broken("the statement is longer than announced")
        return start, bytes(envelope)

    def pieces(
        self, member: int, size: int, group_len: int, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """The bytes of the member at position ``member``, in order and without a gap; nothing in them is verified
        yet. Of the groups that have the bytes ``start`` to ``stop``, where these are given."""
        offset = start // group_len * group_len
        until = size if stop is None else min(size, -(-stop // group_len) * group_len)
        while offset < until:
            chunk = self._expect("chunk").chunk
            length = len(chunk.data)
            group_end = min(size, (offset // group_len + 1) * group_len)
            if chunk.member != member or chunk.offset != offset:
                raise broken("a chunk that is not the next one")
            if not 0 < length <= PIECE_LEN or offset + length > group_end:
                raise broken("a chunk of a wrong length")
            # The nodes prove single groups to clients that hash trees. This one checks the member as a whole.
            if len(chunk.nodes) % _NODE_LEN or (offset % group_len and chunk.nodes):
                raise broken("outboard nodes out of place")
            self._chunks += 1
            self._bytes += length
            offset += length
            yield chunk.data

    def end(self) -> None:
        """The END with the totals of what came, and nothing after it."""
        message = self._next()
        if message is None:
            raise broken("the stream ended without its END: what came is incomplete")
        if message.WhichOneof("part") != "end":
            raise broken("a message that was not asked for")
        if (message.end.chunks, message.end.bytes) != (self._chunks, self._bytes):
            raise broken("the totals of the END differ from what came")
        if self._next() is not None:
            raise broken("a message after the END")
