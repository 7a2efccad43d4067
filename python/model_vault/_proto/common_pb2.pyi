from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Version(_message.Message):
    __slots__ = ("namespace", "name", "number", "artifact_id", "root", "file_id", "generation", "kind", "payload_size", "member_count", "created", "signer", "sealed_by", "tags", "unlisted", "shredded", "size", "part_of")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_SIZE_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    SIGNER_FIELD_NUMBER: _ClassVar[int]
    SEALED_BY_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    UNLISTED_FIELD_NUMBER: _ClassVar[int]
    SHREDDED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PART_OF_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    number: int
    artifact_id: bytes
    root: bytes
    file_id: bytes
    generation: int
    kind: str
    payload_size: int
    member_count: int
    created: str
    signer: str
    sealed_by: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    unlisted: bool
    shredded: bool
    size: int
    part_of: int
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., number: _Optional[int] = ..., artifact_id: _Optional[bytes] = ..., root: _Optional[bytes] = ..., file_id: _Optional[bytes] = ..., generation: _Optional[int] = ..., kind: _Optional[str] = ..., payload_size: _Optional[int] = ..., member_count: _Optional[int] = ..., created: _Optional[str] = ..., signer: _Optional[str] = ..., sealed_by: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., unlisted: bool = ..., shredded: bool = ..., size: _Optional[int] = ..., part_of: _Optional[int] = ...) -> None: ...

class Signer(_message.Message):
    __slots__ = ("keyid", "spki")
    KEYID_FIELD_NUMBER: _ClassVar[int]
    SPKI_FIELD_NUMBER: _ClassVar[int]
    keyid: str
    spki: bytes
    def __init__(self, keyid: _Optional[str] = ..., spki: _Optional[bytes] = ...) -> None: ...
