//! Between the wire and our own types: generated messages, facts and names, errors and status codes. Shared by `server` and
//! `client`, the only rooms that know the generated types.

mod sessions;

use std::time::Duration;

use bytes::Bytes;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::error::{Error, ErrorId, Kind, Result};
use crate::facts::{ArtifactFacts, AttestationFacts, IssuedFacts, SignerFacts, TagFacts, VersionFacts, WorkloadFacts};
use crate::names::{Sha256, Timestamp};

pub(crate) use sessions::{session_from_wire, sessions_from_wire, whoami_from_wire};
#[cfg(feature = "daemon")]
pub(crate) use sessions::{session_to_wire, sessions_to_wire, whoami_to_wire};

/// The messages and stubs of `proto/modelvault/v1`.
#[allow(clippy::all, clippy::unwrap_used, missing_docs, unused_qualifications)]
pub(crate) mod pb {
    tonic::include_proto!("modelvault.v1");
}

/// The part of the SPIFFE Workload API that the vault calls.
#[cfg(feature = "daemon")]
#[allow(clippy::all, clippy::unwrap_used, missing_docs, unused_qualifications, dead_code)]
pub(crate) mod spiffe {
    tonic::include_proto!("_");
}

/// Most bytes of bulk data in one message, both ways.
pub(crate) const PIECE_LEN: usize = 1 << 20;
/// Most bytes of a statement of a dataset that is sent ahead of the version that it is about.
pub(crate) const MAX_STATEMENT_AHEAD: usize = 256 << 10;
/// Largest message either side takes: a piece with its outboard nodes, or the request with the longest member list.
pub(crate) const MESSAGE_LIMIT: usize = 4 << 20;

/// Metadata with the stable id of an error.
const ERROR_KEY: &str = "x-modelvault-error";
/// Metadata with the token that shows a second factor was used, in hexadecimal digits.
pub(crate) const SESSION_KEY: &str = "mv-session";
/// Metadata with what to do next, percent-encoded outside printable ASCII.
const HINT_KEY: &str = "x-modelvault-hint";
/// Metadata with the milliseconds after which trying again makes sense.
const RETRY_KEY: &str = "retry-after";
/// Metadata with facts for programs, as a JSON object, percent-encoded like the hint.
const DETAILS_KEY: &str = "x-modelvault-details";
/// The details that are known on both sides: a server cannot make a client remember words of its own choice.
const DETAIL_KEYS: &[&str] = &[
    "approval",
    "approvals",
    "artifact",
    "column",
    "expected",
    "expires",
    "field",
    "file",
    "found",
    "group",
    "key",
    "limit",
    "line",
    "member",
    "offset",
    "path",
    "pid",
    "policies",
    "policy_version",
    "position",
    "range",
    "reason",
    "record",
    "reference",
    "rule",
    "segment",
    "sequence",
    "size",
    "slot",
    "socket",
    "tag",
    "version",
    "workload",
];

/// Who reads an error (contracts/errors.tsv, last column of the kinds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// An operator on this machine: everything.
    Operator,
    /// A workload or a stranger: what the table says.
    Remote,
}

/// The status that tells `audience` about `error`.
pub(crate) fn status_of(error: &Error, audience: Audience) -> Status {
    let (id, message, hint) = match (audience, error.kind()) {
        // A quota is about what the caller itself did.
        (Audience::Operator, _) | (Audience::Remote, Kind::Usage | Kind::Quota) => {
            (error.id(), error.message().to_owned(), error.hint_text().map(str::to_owned))
        }
        // What is missing for the caller's own act, and how it is brought.
        (Audience::Remote, _) if matches!(error.id(), ErrorId::MfaRequired | ErrorId::ApprovalRequired) => {
            (error.id(), error.message().to_owned(), error.hint_text().map(str::to_owned))
        }
        (Audience::Remote, kind) => {
            let id = kind.remote_id().map_or(Some(error.id()), id_named).unwrap_or(ErrorId::Internal);
            (id, id.meaning().to_owned(), None)
        }
    };
    let mut status = Status::new(code_of(id), message);
    let metadata = status.metadata_mut();
    put(metadata, ERROR_KEY, id.name());
    if let Some(hint) = hint {
        put(metadata, HINT_KEY, &percent_encode(&hint));
    }
    if let Some(after) = error.retry_after_hint() {
        put(metadata, RETRY_KEY, &after.as_millis().to_string());
    }
    if audience == Audience::Operator && !error.details().is_empty() {
        let details: serde_json::Map<_, _> =
            error.details().iter().map(|(k, v)| ((*k).to_owned(), v.clone().into())).collect();
        put(metadata, DETAILS_KEY, &percent_encode(&serde_json::Value::Object(details).to_string()));
    }
    status
}

/// The id of an error that a status of ours carries: a word of the table, whatever the peer sent.
pub(crate) fn error_id_of(status: &Status) -> Option<&'static str> {
    let text = status.metadata().get(ERROR_KEY).and_then(|v| v.to_str().ok())?;
    id_named(text).map(ErrorId::name)
}

/// What a status from a server means. A status that does not carry an id of ours was made by the transport or by something
/// that is not Model Vault.
pub(crate) fn error_of(status: &Status) -> Error {
    let text = |key: &str| status.metadata().get(key).and_then(|v| v.to_str().ok());
    let Some(id) = text(ERROR_KEY).and_then(id_named) else { return foreign(status) };
    let message = if status.message().is_empty() { id.meaning() } else { status.message() };
    let mut error = Error::new(id, message);
    if let Some(hint) = text(HINT_KEY) {
        error = error.hint(percent_decode(hint));
    }
    if let Some(after) = text(RETRY_KEY).and_then(|ms| ms.parse().ok()) {
        error = error.retry_after(Duration::from_millis(after));
    }
    let details = text(DETAILS_KEY).map(percent_decode).unwrap_or_default();
    if let Ok(serde_json::Value::Object(details)) = serde_json::from_str(&details) {
        for key in DETAIL_KEYS {
            if let Some(value) = details.get(*key).and_then(serde_json::Value::as_str) {
                error = error.detail(key, value);
            }
        }
    }
    error
}

/// Whether a status was made by a Model Vault server, not by the transport on the way.
pub(crate) fn is_from_vault(status: &Status) -> bool {
    status.metadata().contains_key(ERROR_KEY)
}

fn foreign(status: &Status) -> Error {
    let id = match status.code() {
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::Unimplemented => {
            ErrorId::InvalidArgument
        }
        Code::Unauthenticated => ErrorId::NoCredential,
        Code::PermissionDenied => ErrorId::Denied,
        Code::NotFound => ErrorId::NotFound,
        Code::AlreadyExists => ErrorId::AlreadyExists,
        Code::ResourceExhausted => ErrorId::Overloaded,
        Code::DeadlineExceeded => ErrorId::DeadlineExceeded,
        Code::DataLoss => ErrorId::StreamBroken,
        _ => ErrorId::Unreachable,
    };
    let error = Error::new(id, format!("{}: {}", status.code().description(), status.message()));
    if status.code() == Code::Unimplemented {
        return error.hint("the server does not know this call: it is of another release, or not Model Vault");
    }
    error
}

fn id_named(name: &str) -> Option<ErrorId> {
    ErrorId::ALL.iter().copied().find(|id| id.name() == name)
}

fn code_of(id: ErrorId) -> Code {
    match id.grpc_status() {
        "INVALID_ARGUMENT" => Code::InvalidArgument,
        "DATA_LOSS" => Code::DataLoss,
        "UNAUTHENTICATED" => Code::Unauthenticated,
        "PERMISSION_DENIED" => Code::PermissionDenied,
        "NOT_FOUND" => Code::NotFound,
        "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
        "UNAVAILABLE" => Code::Unavailable,
        "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
        "ABORTED" => Code::Aborted,
        "ALREADY_EXISTS" => Code::AlreadyExists,
        // `Findings` is OK in the table: it is an exit status, never an answer of the server.
        _ => Code::Internal,
    }
}

fn put(metadata: &mut MetadataMap, key: &'static str, value: &str) {
    // Names, numbers and percent-encoded text are printable ASCII.
    if let Ok(value) = MetadataValue::try_from(value) {
        metadata.insert(key, value);
    }
}

/// As gRPC does with `grpc-message`: printable ASCII but `%` stays.
fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            out.push(byte.into());
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string");
        }
    }
    out
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| byte == b'%').and_then(|h| hex::decode(h).ok());
        rest = if let Some(bytes) = escaped {
            out.extend(bytes);
            &tail[2..]
        } else {
            out.push(byte);
            tail
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A version as it is sent.
pub(crate) fn version_to_wire(v: &VersionFacts) -> pb::Version {
    pb::Version {
        namespace: v.namespace.to_string(),
        name: v.name.to_string(),
        number: v.version,
        artifact_id: Bytes::copy_from_slice(&v.artifact_id.0),
        root: Bytes::copy_from_slice(&v.root.0),
        file_id: Bytes::copy_from_slice(&v.file_id.0),
        generation: v.generation,
        kind: v.kind.to_string(),
        size: v.size,
        payload_size: v.payload_size,
        member_count: v.member_count,
        created: v.created.to_string(),
        signer: v.signer.to_string(),
        sealed_by: v.sealed_by.clone(),
        tags: v.tags.iter().map(ToString::to_string).collect(),
        unlisted: v.unlisted,
        shredded: v.shredded,
        part_of: v.part_of,
    }
}

/// A version as it was received.
///
/// # Errors
/// `StreamBroken` if it is absent or a field breaks the rule of its type.
pub(crate) fn version_from_wire(v: Option<pb::Version>) -> Result<VersionFacts> {
    let v = v.ok_or_else(|| broken("the version is missing"))?;
    let read = || -> Result<VersionFacts> {
        Ok(VersionFacts {
            namespace: v.namespace.parse()?,
            name: v.name.parse()?,
            version: v.number,
            artifact_id: v.artifact_id[..].try_into()?,
            root: v.root[..].try_into()?,
            file_id: v.file_id[..].try_into()?,
            generation: v.generation,
            kind: v.kind.parse()?,
            size: v.size,
            payload_size: v.payload_size,
            member_count: v.member_count,
            created: v.created.parse()?,
            signer: v.signer.parse()?,
            sealed_by: v.sealed_by.clone(),
            tags: v.tags.iter().map(|t| t.parse()).collect::<Result<_>>()?,
            unlisted: v.unlisted,
            shredded: v.shredded,
            part_of: v.part_of,
        })
    };
    read().map_err(|e| broken("the version is malformed").caused_by(e))
}

/// An artifact as it is sent.
#[cfg(feature = "daemon")]
pub(crate) fn artifact_to_wire(a: &ArtifactFacts) -> pb::Artifact {
    pb::Artifact {
        newest: Some(version_to_wire(&a.newest)),
        versions: a.versions,
        tags: a.tags.iter().map(tag_to_wire).collect(),
        marks: a.marks.to_string(),
    }
}

#[cfg(feature = "daemon")]
fn tag_to_wire(t: &TagFacts) -> pb::TagAt {
    pb::TagAt { tag: t.tag.to_string(), number: t.version, sequence: t.sequence }
}

/// An artifact as it was received.
pub(crate) fn artifact_from_wire(a: pb::Artifact) -> Result<ArtifactFacts> {
    let newest = version_from_wire(a.newest)?;
    let tag = |t: pb::TagAt| -> Result<TagFacts> {
        Ok(TagFacts { tag: t.tag.parse()?, version: t.number, sequence: t.sequence })
    };
    let tags = a.tags.into_iter().map(tag).collect::<Result<_>>();
    Ok(ArtifactFacts {
        namespace: newest.namespace.clone(),
        name: newest.name.clone(),
        kind: newest.kind,
        versions: a.versions,
        newest,
        tags: tags.map_err(|e| broken("a tag is malformed").caused_by(e))?,
        marks: a.marks.parse().map_err(|e: Error| broken("the labels are malformed").caused_by(e))?,
    })
}

/// An enrolled workload as it is sent.
#[cfg(feature = "daemon")]
pub(crate) fn workload_to_wire(w: &WorkloadFacts) -> pb::Workload {
    pb::Workload {
        namespace: w.namespace.to_string(),
        name: w.name.to_string(),
        created: w.created.to_string(),
        not_after: w.not_after.map(|t| t.to_string()).unwrap_or_default(),
        revoked: w.revoked,
        grants: w.grants.clone(),
    }
}

/// A signed statement about a version.
pub(crate) fn attestation_to_wire(a: &AttestationFacts) -> pb::Attestation {
    pb::Attestation {
        digest: a.digest.0.to_vec().into(),
        predicate_type: a.predicate_type.clone(),
        signer: a.signer.to_string(),
        keyid: a.keyid.to_string(),
        algorithm: a.algorithm.clone(),
        by_certificate: a.by_certificate,
        whole: a.whole,
        member: a.member.clone().unwrap_or_default(),
        added_by: a.added_by.clone(),
        added: a.added.to_string(),
        trusted: a.trusted,
        reason: a.reason.clone().unwrap_or_default(),
    }
}

/// A signed statement as it was received.
pub(crate) fn attestation_from_wire(a: pb::Attestation) -> Result<AttestationFacts> {
    let some = |text: String| Some(text).filter(|t| !t.is_empty());
    let read = || -> Result<AttestationFacts> {
        Ok(AttestationFacts {
            digest: Sha256::try_from(&a.digest[..])?,
            predicate_type: a.predicate_type,
            signer: a.signer.parse()?,
            keyid: a.keyid.parse()?,
            algorithm: a.algorithm,
            by_certificate: a.by_certificate,
            whole: a.whole,
            member: some(a.member),
            added_by: a.added_by,
            added: a.added.parse()?,
            trusted: a.trusted,
            reason: some(a.reason),
        })
    };
    read().map_err(|e| broken("a statement is malformed").caused_by(e))
}

/// An enrolled workload as it was received.
pub(crate) fn workload_from_wire(w: pb::Workload) -> Result<WorkloadFacts> {
    let read = || -> Result<WorkloadFacts> {
        Ok(WorkloadFacts {
            namespace: w.namespace.parse()?,
            name: w.name.parse()?,
            created: w.created.parse()?,
            not_after: if w.not_after.is_empty() { None } else { Some(w.not_after.parse()?) },
            revoked: w.revoked,
            grants: w.grants.clone(),
        })
    };
    read().map_err(|e| broken("a workload is malformed").caused_by(e))
}

/// Trusted keys as they are sent.
#[cfg(feature = "daemon")]
pub(crate) fn signers_to_wire(signers: &[SignerFacts]) -> Vec<pb::Signer> {
    signers.iter().map(|s| pb::Signer { keyid: s.keyid.to_string(), spki: Bytes::copy_from_slice(&s.spki) }).collect()
}

/// A certificate as it was received.
pub(crate) fn issued_from_wire(
    certificate: &Bytes,
    ca_certificate: &Bytes,
    signers: Vec<pb::Signer>,
    not_after: &str,
    address: String,
) -> Result<IssuedFacts> {
    let signer =
        |s: pb::Signer| -> Result<SignerFacts> { Ok(SignerFacts { keyid: s.keyid.parse()?, spki: s.spki.to_vec() }) };
    let read = || -> Result<(Vec<SignerFacts>, Timestamp)> {
        Ok((signers.into_iter().map(signer).collect::<Result<_>>()?, not_after.parse()?))
    };
    let (signers, not_after) = read().map_err(|e| broken("the enrolment is malformed").caused_by(e))?;
    Ok(IssuedFacts {
        certificate: certificate.to_vec(),
        ca_certificate: ca_certificate.to_vec(),
        signers,
        not_after,
        address: Some(address).filter(|a| !a.is_empty()),
    })
}

/// The other side broke the contract.
pub(crate) fn broken(what: &str) -> Error {
    Error::new(ErrorId::StreamBroken, format!("the server broke the contract: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it arrives: through the trailers of a response.
    fn sent(error: &Error, audience: Audience) -> Error {
        let mut headers = http::HeaderMap::new();
        status_of(error, audience).add_header(&mut headers).unwrap();
        error_of(&Status::from_header_map(&headers).unwrap())
    }

    #[test]
    fn an_operator_gets_every_error_as_it_was() {
        for &id in ErrorId::ALL {
            let error = Error::new(id, "größe: \"%41\" \n zu viel")
                .hint("versuch: 100 %")
                .detail("member", "a/é.bin")
                .retry_after(Duration::from_millis(1500));
            let read = sent(&error, Audience::Operator);
            assert_eq!(read.id(), id);
            assert_eq!(read.message(), error.message());
            assert_eq!(read.hint_text(), error.hint_text());
            assert_eq!(read.details(), error.details());
            assert_eq!(read.retry_after_hint(), error.retry_after_hint());
        }
    }

    #[test]
    fn a_remote_caller_gets_what_the_table_says_and_no_message_of_ours() {
        for &id in ErrorId::ALL {
            let error = Error::new(id, "/secret/path").hint("secret").detail("path", "/secret/path");
            let read = sent(&error, Audience::Remote);
            assert_eq!(read.id().name(), id.kind().remote_id().unwrap_or(id.name()), "{id}");
            let own = matches!(id, ErrorId::MfaRequired | ErrorId::ApprovalRequired);
            let all = own || matches!(id.kind(), Kind::Usage | Kind::Quota);
            assert_eq!(read.message().contains("secret"), all, "{id}");
            assert_eq!(read.hint_text().unwrap_or_default().contains("secret"), all, "{id}");
            assert!(read.details().is_empty());
        }
        let retry = Error::new(ErrorId::Overloaded, "").retry_after(Duration::from_secs(2));
        assert_eq!(sent(&retry, Audience::Remote).retry_after_hint(), Some(Duration::from_secs(2)));
        // A shredded version and one that never was cannot be told apart, not even by the status code.
        let codes = [ErrorId::Shredded, ErrorId::NotFound].map(|id| status_of(&Error::new(id, ""), Audience::Remote));
        assert_eq!(format!("{:?}", codes[0]), format!("{:?}", codes[1]));
    }

    #[test]
    fn status_codes_are_those_of_the_table() {
        let code = |id| status_of(&Error::new(id, ""), Audience::Operator).code();
        assert_eq!(code(ErrorId::SegmentAuthFailed), Code::DataLoss);
        assert_eq!(code(ErrorId::DeadlineExceeded), Code::DeadlineExceeded);
        assert_eq!(code(ErrorId::DiskFull), Code::ResourceExhausted);
        assert_eq!(code(ErrorId::AlreadyExists), Code::AlreadyExists);
        assert_eq!(code(ErrorId::TagMoved), Code::Aborted);
        for &id in ErrorId::ALL {
            assert!(code(id) != Code::Internal || matches!(id.grpc_status(), "INTERNAL" | "OK"), "{id}");
        }
    }

    #[test]
    fn a_status_of_something_else_is_read_with_care() {
        assert_eq!(error_of(&Status::unimplemented("")).id(), ErrorId::InvalidArgument);
        assert_eq!(error_of(&Status::unknown("h2 broke")).id(), ErrorId::Unreachable);
        let mut odd = Status::not_found("x");
        odd.metadata_mut().insert(ERROR_KEY, "NoSuchId".parse().unwrap());
        odd.metadata_mut().insert(HINT_KEY, "%zz%".parse().unwrap());
        assert_eq!(error_of(&odd).id(), ErrorId::NotFound);
        assert_eq!(percent_decode("%zz%4"), "%zz%4");
    }
}
