from . import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WhoamiRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WhoamiResponse(_message.Message):
    __slots__ = ("kind", "issuer", "subject", "namespace", "tls_group", "groups", "session", "expires")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TLS_GROUP_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    kind: str
    issuer: str
    subject: str
    namespace: str
    tls_group: str
    groups: _containers.RepeatedScalarFieldContainer[str]
    session: bytes
    expires: str
    def __init__(self, kind: _Optional[str] = ..., issuer: _Optional[str] = ..., subject: _Optional[str] = ..., namespace: _Optional[str] = ..., tls_group: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., session: _Optional[bytes] = ..., expires: _Optional[str] = ...) -> None: ...

class EnrollWorkloadRequest(_message.Message):
    __slots__ = ("namespace", "name", "csr", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CSR_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    csr: bytes
    request_id: bytes
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., csr: _Optional[bytes] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class EnrollWorkloadResponse(_message.Message):
    __slots__ = ("certificate", "ca_certificate", "signers", "not_after", "address")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    ca_certificate: bytes
    signers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Signer]
    not_after: str
    address: str
    def __init__(self, certificate: _Optional[bytes] = ..., ca_certificate: _Optional[bytes] = ..., signers: _Optional[_Iterable[_Union[_common_pb2.Signer, _Mapping]]] = ..., not_after: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class RenewWorkloadRequest(_message.Message):
    __slots__ = ("csr", "request_id")
    CSR_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    csr: bytes
    request_id: bytes
    def __init__(self, csr: _Optional[bytes] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class RenewWorkloadResponse(_message.Message):
    __slots__ = ("certificate", "ca_certificate", "signers", "not_after")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    ca_certificate: bytes
    signers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Signer]
    not_after: str
    def __init__(self, certificate: _Optional[bytes] = ..., ca_certificate: _Optional[bytes] = ..., signers: _Optional[_Iterable[_Union[_common_pb2.Signer, _Mapping]]] = ..., not_after: _Optional[str] = ...) -> None: ...

class Workload(_message.Message):
    __slots__ = ("namespace", "name", "created", "not_after", "revoked", "grants")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    created: str
    not_after: str
    revoked: bool
    grants: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., created: _Optional[str] = ..., not_after: _Optional[str] = ..., revoked: bool = ..., grants: _Optional[_Iterable[str]] = ...) -> None: ...

class ListWorkloadsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListWorkloadsResponse(_message.Message):
    __slots__ = ("workloads",)
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    workloads: _containers.RepeatedCompositeFieldContainer[Workload]
    def __init__(self, workloads: _Optional[_Iterable[_Union[Workload, _Mapping]]] = ...) -> None: ...

class RevokeWorkloadRequest(_message.Message):
    __slots__ = ("namespace", "name", "serial", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    name: str
    serial: bytes
    request_id: bytes
    def __init__(self, namespace: _Optional[str] = ..., name: _Optional[str] = ..., serial: _Optional[bytes] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class RevokeWorkloadResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSignersRequest(_message.Message):
    __slots__ = ("namespace",)
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    def __init__(self, namespace: _Optional[str] = ...) -> None: ...

class ListSignersResponse(_message.Message):
    __slots__ = ("signers",)
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    signers: _containers.RepeatedCompositeFieldContainer[_common_pb2.Signer]
    def __init__(self, signers: _Optional[_Iterable[_Union[_common_pb2.Signer, _Mapping]]] = ...) -> None: ...

class AddGrantRequest(_message.Message):
    __slots__ = ("namespace", "workload", "artifact", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    workload: str
    artifact: str
    request_id: bytes
    def __init__(self, namespace: _Optional[str] = ..., workload: _Optional[str] = ..., artifact: _Optional[str] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class AddGrantResponse(_message.Message):
    __slots__ = ("cedar",)
    CEDAR_FIELD_NUMBER: _ClassVar[int]
    cedar: str
    def __init__(self, cedar: _Optional[str] = ...) -> None: ...

class RemoveGrantRequest(_message.Message):
    __slots__ = ("namespace", "workload", "artifact", "request_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    workload: str
    artifact: str
    request_id: bytes
    def __init__(self, namespace: _Optional[str] = ..., workload: _Optional[str] = ..., artifact: _Optional[str] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class RemoveGrantResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("version", "text", "envelope")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    version: int
    text: str
    envelope: str
    def __init__(self, version: _Optional[int] = ..., text: _Optional[str] = ..., envelope: _Optional[str] = ...) -> None: ...

class SetPolicyRequest(_message.Message):
    __slots__ = ("text", "request_id", "over")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    text: str
    request_id: bytes
    over: int
    def __init__(self, text: _Optional[str] = ..., request_id: _Optional[bytes] = ..., over: _Optional[int] = ...) -> None: ...

class SetPolicyResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class ListPoliciesRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class ListPoliciesResponse(_message.Message):
    __slots__ = ("facts_json",)
    FACTS_JSON_FIELD_NUMBER: _ClassVar[int]
    facts_json: str
    def __init__(self, facts_json: _Optional[str] = ...) -> None: ...

class ExplainPolicyRequest(_message.Message):
    __slots__ = ("scenario_json",)
    SCENARIO_JSON_FIELD_NUMBER: _ClassVar[int]
    scenario_json: str
    def __init__(self, scenario_json: _Optional[str] = ...) -> None: ...

class ExplainPolicyResponse(_message.Message):
    __slots__ = ("facts_json",)
    FACTS_JSON_FIELD_NUMBER: _ClassVar[int]
    facts_json: str
    def __init__(self, facts_json: _Optional[str] = ...) -> None: ...

class MarkArtifactRequest(_message.Message):
    __slots__ = ("artifact", "change_json", "request_id")
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_JSON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    artifact: str
    change_json: str
    request_id: bytes
    def __init__(self, artifact: _Optional[str] = ..., change_json: _Optional[str] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class MarkArtifactResponse(_message.Message):
    __slots__ = ("marks_json",)
    MARKS_JSON_FIELD_NUMBER: _ClassVar[int]
    marks_json: str
    def __init__(self, marks_json: _Optional[str] = ...) -> None: ...

class GetQuotasRequest(_message.Message):
    __slots__ = ("callers",)
    CALLERS_FIELD_NUMBER: _ClassVar[int]
    callers: str
    def __init__(self, callers: _Optional[str] = ...) -> None: ...

class GetQuotasResponse(_message.Message):
    __slots__ = ("facts_json",)
    FACTS_JSON_FIELD_NUMBER: _ClassVar[int]
    facts_json: str
    def __init__(self, facts_json: _Optional[str] = ...) -> None: ...

class ResetQuotaRequest(_message.Message):
    __slots__ = ("caller", "artifact", "request_id")
    CALLER_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    caller: str
    artifact: str
    request_id: bytes
    def __init__(self, caller: _Optional[str] = ..., artifact: _Optional[str] = ..., request_id: _Optional[bytes] = ...) -> None: ...

class ResetQuotaResponse(_message.Message):
    __slots__ = ("accounts",)
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    accounts: int
    def __init__(self, accounts: _Optional[int] = ...) -> None: ...
