//! The facade: every way into a vault. (Skeleton of the signatures; bodies follow.)

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::facts::*;
use crate::names::*;
use crate::seal::io::ReadAt;

/// How a call reached the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Local,
    Unix,
    Mtls,
}

/// Facts about the connection of a call.
#[derive(Clone, Debug)]
pub struct Channel {
    pub transport: Transport,
    /// Name of the negotiated key exchange, e.g. "X25519MLKEM768".
    pub tls_group: Option<String>,
    /// Address of the peer, for the audit log.
    pub peer: Option<String>,
    /// Serial number and SHA-256 of the SubjectPublicKeyInfo of the caller's certificate.
    pub certificate: Option<(Vec<u8>, Sha256)>,
}

/// A call: who, over what, under which id.
#[derive(Clone, Debug)]
pub struct Caller {
    pub principal: Principal,
    pub request_id: RequestId,
    pub channel: Channel,
}

pub struct SealInput {
    pub namespace: Name,
    pub name: Name,
    pub kind: ArtifactKind,
    pub tag: Option<Tag>,
    pub members: Vec<SealMember>,
    pub sha256: bool,
    /// The sources can only be read once, in order (a stream): one thread seals.
    pub sequential: bool,
    /// Called with the number of plaintext bytes sealed so far.
    pub progress: Box<dyn Fn(u64) + Send + Sync>,
}
pub struct SealMember {
    pub path: String,
    pub source: Box<dyn ReadAt>,
}
pub struct ImportInput {
    pub namespace: Name,
    pub name: Name,
    pub tag: Option<Tag>,
    pub size: u64,
    pub source: Box<dyn Read + Send>,
}
pub struct Published {
    pub version: VersionFacts,
    pub replayed: bool,
}
pub struct Export {
    pub version: VersionFacts,
    pub size: u64,
    pub source: Box<dyn ReadAt>,
}
pub struct Page {
    pub versions: Vec<VersionFacts>,
    pub next: Vec<u8>,
}

/// The one way in. Synchronous: call it from blocking threads. Every method checks the caller (revocation), asks the policy,
/// and writes the audit row before anything leaves.
pub struct Vault {
    _private: (),
}

impl Vault {
    pub fn clock(&self) -> &dyn Clock {
        todo!()
    }
    pub fn random(&self) -> &dyn Random {
        todo!()
    }
    pub fn vault_id(&self) -> VaultId {
        todo!()
    }
    pub fn owner_uid(&self) -> u32 {
        todo!()
    }
    pub fn status(&self, _c: &Caller) -> Result<StatusFacts> {
        todo!()
    }
    pub fn whoami(&self, _c: &Caller) -> Result<WhoamiFacts> {
        todo!()
    }
    pub fn list(
        &self,
        _c: &Caller,
        _pattern: &str,
        _include_unlisted: bool,
        _page: &[u8],
        _limit: u32,
    ) -> Result<Page> {
        todo!()
    }
    pub fn version(&self, _c: &Caller, _r: &Reference) -> Result<VersionFacts> {
        todo!()
    }
    pub fn inspect(&self, _c: &Caller, _r: &Reference) -> Result<SealedFacts> {
        todo!()
    }
    pub fn seal(&self, _c: &Caller, _input: SealInput) -> Result<Published> {
        todo!()
    }
    pub fn import(&self, _c: &Caller, _input: ImportInput) -> Result<Published> {
        todo!()
    }
    pub fn export(&self, _c: &Caller, _r: &Reference) -> Result<Export> {
        todo!()
    }
    pub fn open(self: &Arc<Self>, _c: &Caller, _r: &Reference) -> Result<OpenArtifact> {
        todo!()
    }
    pub fn verify(&self, _c: &Caller, _r: &Reference) -> Result<VerifyFacts> {
        todo!()
    }
    pub fn set_tag(&self, _c: &Caller, _r: &Reference, _tag: &Tag, _expect: Option<u64>) -> Result<VersionFacts> {
        todo!()
    }
    /// Returns how many versions were unlisted. `whole`: the artifact with all versions.
    pub fn remove(&self, _c: &Caller, _r: &Reference, _whole: bool) -> Result<u64> {
        todo!()
    }
    pub fn restore(&self, _c: &Caller, _r: &Reference, _whole: bool) -> Result<u64> {
        todo!()
    }
    pub fn enroll(&self, _c: &Caller, _ns: &Name, _name: &Name, _csr: &[u8]) -> Result<IssuedFacts> {
        todo!()
    }
    /// Keys whose artifact statements a reader of the namespace may trust: the ones an enrolment in it would carry.
    pub fn signers(&self, _c: &Caller, _namespace: &Name) -> Result<Vec<SignerFacts>> {
        todo!()
    }
    pub fn renew(&self, _c: &Caller, _csr: &[u8]) -> Result<IssuedFacts> {
        todo!()
    }
    pub fn workloads(&self, _c: &Caller) -> Result<Vec<WorkloadFacts>> {
        todo!()
    }
    pub fn revoke(&self, _c: &Caller, _ns: &Name, _name: &Name, _serial: Option<&[u8]>) -> Result<()> {
        todo!()
    }
    /// Returns the Cedar text the grant amounts to.
    pub fn grant(&self, _c: &Caller, _ns: &Name, _workload: &Name, _artifact: (&Name, &Name)) -> Result<String> {
        todo!()
    }
    pub fn ungrant(&self, _c: &Caller, _ns: &Name, _workload: &Name, _artifact: (&Name, &Name)) -> Result<()> {
        todo!()
    }
    pub fn policy(&self, _c: &Caller) -> Result<PolicyFacts> {
        todo!()
    }
    pub fn set_policy(&self, _c: &Caller, _text: &str) -> Result<u64> {
        todo!()
    }
    /// At most `limit` rows from `from` on.
    pub fn audit_rows(&self, _c: &Caller, _from: u64, _limit: u32) -> Result<Vec<(u64, Vec<u8>)>> {
        todo!()
    }
    pub fn audit_verify(&self, _c: &Caller, _checkpoint: Option<&str>) -> Result<AuditFacts> {
        todo!()
    }
    pub fn audit_export(&self, _c: &Caller, _out: &mut dyn Write) -> Result<()> {
        todo!()
    }

    /// For the server: a fresh server certificate for `hosts` (P-256) as (certificate DER, PKCS#8 key).
    pub fn issue_server_certificate(&self, _hosts: &[String]) -> Result<crate::identity::IssuedServer> {
        todo!()
    }
    pub fn ca_certificate(&self) -> Vec<u8> {
        todo!()
    }
    /// The server tells where it serves workloads; shown by status and put into enrolments.
    pub fn set_address(&self, _address: Option<String>) {
        todo!()
    }
    /// Signs a checkpoint if one is due; called every second by the server.
    pub fn tick(&self) -> Result<()> {
        todo!()
    }
    /// Counts a refusal before authentication; sampled into the audit log by `tick`.
    pub fn count_refusal(&self, _peer: Option<&str>, _what: crate::error::ErrorId) {
        todo!()
    }
}

/// An artifact that was opened under a Grant. Dropping it without `finish` records the stream as abandoned.
pub struct OpenArtifact {
    _private: (),
}

/// One member of an open artifact, in the order of the statement's subjects.
#[derive(Clone, Debug)]
pub struct OpenMember {
    pub path: String,
    pub size: u64,
}

impl OpenArtifact {
    pub fn version(&self) -> &VersionFacts {
        todo!()
    }
    /// The DSSE envelope (JSON) with the artifact statement.
    pub fn statement(&self) -> &[u8] {
        todo!()
    }
    pub fn members(&self) -> &[OpenMember] {
        todo!()
    }
    pub fn group_log2(&self) -> u8 {
        todo!()
    }
    /// When the lease ends.
    pub fn expires(&self) -> Timestamp {
        todo!()
    }
    /// Renews the lease by a fresh decision when it has less than half its time left. Fails when the policy, a revocation or a
    /// missing grant says no: the stream must end then. Cheap otherwise; call it before each chunk.
    pub fn renew_lease(&mut self) -> Result<()> {
        todo!()
    }
    /// Plaintext bytes `offset..offset+buffer.len()` of a member, verified. `client_checks_groups`: the hash of the ciphertext may be
    /// left out. On failure the buffer is wiped.
    pub fn read(&self, _member: usize, _offset: u64, _buffer: &mut [u8], _client_checks_groups: bool) -> Result<()> {
        todo!()
    }
    /// The outboard nodes for group `index` that were not sent for `previous`, top first.
    pub fn nodes(&self, _member: usize, _previous: Option<u64>, _index: u64) -> Vec<u8> {
        todo!()
    }
    /// Records how the stream ended and how many plaintext bytes left. `reason`: "complete", "client gone", an error id, ...
    pub fn finish(self, _bytes: u64, _reason: &str) -> Result<()> {
        todo!()
    }
    pub fn lease(&self) -> Duration {
        todo!()
    }
}
