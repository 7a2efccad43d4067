from . import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FetchRequest(_message.Message):
    __slots__ = ("reference", "request_id", "members", "checks_groups", "statement_only")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_GROUPS_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_ONLY_FIELD_NUMBER: _ClassVar[int]
    reference: str
    request_id: bytes
    members: _containers.RepeatedCompositeFieldContainer[MemberSelection]
    checks_groups: bool
    statement_only: bool
    def __init__(self, reference: _Optional[str] = ..., request_id: _Optional[bytes] = ..., members: _Optional[_Iterable[_Union[MemberSelection, _Mapping]]] = ..., checks_groups: bool = ..., statement_only: bool = ...) -> None: ...

class MemberSelection(_message.Message):
    __slots__ = ("path", "range", "through")
    PATH_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    path: str
    range: ByteRange
    through: str
    def __init__(self, path: _Optional[str] = ..., range: _Optional[_Union[ByteRange, _Mapping]] = ..., through: _Optional[str] = ...) -> None: ...

class ByteRange(_message.Message):
    __slots__ = ("to",)
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    to: int
    def __init__(self, to: _Optional[int] = ..., **kwargs) -> None: ...

class FetchResponse(_message.Message):
    __slots__ = ("start", "statement", "chunk", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: FetchStart
    statement: bytes
    chunk: FetchChunk
    end: FetchEnd
    def __init__(self, start: _Optional[_Union[FetchStart, _Mapping]] = ..., statement: _Optional[bytes] = ..., chunk: _Optional[_Union[FetchChunk, _Mapping]] = ..., end: _Optional[_Union[FetchEnd, _Mapping]] = ...) -> None: ...

class FetchStart(_message.Message):
    __slots__ = ("version", "statement_len", "lease", "request_id", "seal_statements", "tag_statement")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_LEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SEAL_STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    TAG_STATEMENT_FIELD_NUMBER: _ClassVar[int]
    version: _common_pb2.Version
    statement_len: int
    lease: Lease
    request_id: bytes
    seal_statements: bytes
    tag_statement: bytes
    def __init__(self, version: _Optional[_Union[_common_pb2.Version, _Mapping]] = ..., statement_len: _Optional[int] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., request_id: _Optional[bytes] = ..., seal_statements: _Optional[bytes] = ..., tag_statement: _Optional[bytes] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("expires",)
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    expires: str
    def __init__(self, expires: _Optional[str] = ...) -> None: ...

class FetchChunk(_message.Message):
    __slots__ = ("member", "offset", "nodes", "data")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    member: int
    offset: int
    nodes: bytes
    data: bytes
    def __init__(self, member: _Optional[int] = ..., offset: _Optional[int] = ..., nodes: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...

class FetchEnd(_message.Message):
    __slots__ = ("chunks", "bytes")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    chunks: int
    bytes: int
    def __init__(self, chunks: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...
