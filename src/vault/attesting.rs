//! Signed statements about versions: whose are believed, how they are kept, what decisions see of them.
//!
//! A statement is attached once: its signature is verified under the trust store, and its subject held against what was sealed.
//! From then on a decision reads its facts from the catalogue, whose rows are authenticated, and asks only whether the signer is
//! believed still. The vault's own time of attaching stands for the time of signing, which cannot be later.

mod dataset;
mod floor;
pub(super) mod parts;

use std::collections::HashMap;
use std::ops::Range;

use self::parts::{SealedDataset, SealedParts};
use super::gate::Subject;
use super::once::Request;
use super::{Caller, Vault};
use crate::audit::Act;
use crate::catalogue::{ArtifactRecord, AttestationRecord, DatasetFacts, Located, NewAttestation, VersionRecord};
use crate::crypto::hash::Algorithm;
use crate::crypto::keys::{ArtifactKey, Key};
use crate::crypto::{record, sign::VerifyingKey};
use crate::error::{Error, ErrorId, Result};
use crate::facts::AttestationFacts;
use crate::identity::signer::Revocations;
use crate::identity::signers::{Signer, Signers, Trust as Authority};
use crate::manifest::attestation::{self, Attestation, Coverage, Recorded};
use crate::manifest::oms::{
    self, BUNDLE_NAME, Bundle, CLAIMS_NAME, Difference, MAX_BUNDLE_LEN, Material, Statement, Trust,
};
use crate::manifest::{DATASET_NAME, PARTS_NAME};
use crate::names::{ArtifactId, ArtifactKind, KeyId, Name, Reference, Sha256, Timestamp, VersionId};
use crate::policy::{Action, Dataset};
use crate::seal::{HashCheck, Manifest, Member, Reader, SealError};

/// Domain of statements under artifact keys.
const LABEL: &[u8] = b"modelvault.attestation/v1";
/// Bytes of a bundle that is attached: what a message of the wire holds.
pub(crate) const MAX_ATTACHED_LEN: usize = 3 << 20;
/// Lines of claims that are looked at.
const MAX_CLAIMS: usize = 64;
/// Lines of them.
const MAX_DATASET_LINES: usize = 4096;
/// Differences that an error names.
const NAMED_DIFFERENCES: usize = 3;

/// Whose signature was verified.
struct Believed {
    signer: Name,
    key: VerifyingKey,
    /// The keys of the certificates that vouched for it; empty: the trust store names the key itself.
    path: Vec<KeyId>,
}

impl Believed {
    /// As a row, of a statement that nothing else is known of yet.
    fn attested(self, version_id: VersionId, payload: &[u8], added_by: &str) -> NewAttestation {
        let keyid = self.key.key_id();
        NewAttestation {
            version_id,
            digest: attestation::digest(payload, &keyid),
            predicate_type: oms::PREDICATE_TYPE.into(),
            signer: self.signer,
            keyid,
            algorithm: self.key.algorithm().name().into(),
            path: self.path,
            whole: false,
            member: None,
            added_by: added_by.into(),
            sealed: None,
            dataset: None,
        }
    }
}

impl Vault {
    /// Attaches a signed statement (a Sigstore bundle) to a version.
    ///
    /// # Errors
    /// `BundleMalformed`; `SignatureMissing` if no trusted signer signed it; `SignatureInvalid`; `InvalidArgument` if it is not
    /// about this version; `ModelChanged` for a model signature over other files; `AlreadyExists`.
    pub fn attest(&self, caller: &Caller, reference: &Reference, bundle: &[u8]) -> Result<AttestationFacts> {
        let act = Act::ArtifactAttest;
        let Located { artifact, version, .. } = self.find(caller, act, reference)?;
        // What others approve is this statement, not any.
        let subject = Subject::version(&reference.namespace, &artifact, &version)
            .with("bundle", crate::crypto::hash::sha256(bundle));
        let resource = super::opening::version_resource(&reference.namespace, &artifact, &version);
        let permit = self
            .permit(caller, act, Action::Attest, resource, &subject)
            .map_err(|e| self.veil(caller, e, reference))?;
        let asked = reference.to_string();
        let made = self.prepared(caller, &reference.namespace, &artifact, &version, bundle);
        let (new, digest) = made.or_else(|e| self.refuse(caller, act, &subject, e))?;
        let subject = subject
            .with("predicate_type", &new.predicate_type)
            .with("signer", &new.signer)
            .with("keyid", new.keyid)
            .with("digest", digest);
        let arguments = [asked.as_bytes(), &digest.0[..]];
        let request = Request { caller, act, subject, permit: &permit, arguments: &arguments };
        self.once(
            &request,
            |_| Ok(()),
            || {
                let entry = self.entry(&request, Vec::new());
                self.catalogue.attest(new.clone(), entry)?;
                Ok(())
            },
        )?;
        let attached = self.catalogue.attestations(version.facts.version_id)?;
        let attached = attached.into_iter().find(|a| a.digest == digest);
        let attached = attached.ok_or_else(|| Error::new(ErrorId::Internal, "an attached statement is not there"))?;
        Ok(self.attestation_facts(&reference.namespace, attached))
    }

    /// The statements about a version, oldest first.
    pub fn attestations(&self, caller: &Caller, reference: &Reference) -> Result<Vec<AttestationFacts>> {
        let (_, version) = self.reach(caller, Act::ArtifactAttestations, Action::ReadAttestations, reference)?;
        let found = self.catalogue.attestations(version.facts.version_id)?;
        Ok(found.into_iter().map(|a| self.attestation_facts(&reference.namespace, a)).collect())
    }

    /// One of them: its bundle as JSON.
    pub fn attestation(&self, caller: &Caller, reference: &Reference, digest: Sha256) -> Result<Vec<u8>> {
        let (artifact, version) = self.reach(caller, Act::ArtifactAttestations, Action::ReadAttestations, reference)?;
        let attached = self.catalogue.attestations(version.facts.version_id)?;
        let attached = attached.into_iter().find(|a| a.digest == digest).ok_or_else(|| {
            Error::new(ErrorId::NotFound, format!("no statement {digest} about {reference}"))
                .hint("vault attest ls shows them")
        })?;
        let text = match &attached.member {
            None => {
                let sealed = self.catalogue.attestation_body(version.facts.version_id, digest)?;
                let key = self.artifact_key(&version)?;
                let opened = record::open(&key, LABEL, &context(version.facts.version_id, digest), &sealed);
                opened.map_err(|_| Error::new(ErrorId::CatalogueDamaged, "the body of a statement was altered"))?
            }
            Some(member) => {
                let reader = self.reader_of(&artifact, &version)?;
                let bundles = bundles_of(&read_member(&reader, member)?, member)?;
                let its_key = |b: &Bundle| {
                    let whose = self.whose(&reference.namespace, b, attached.added);
                    whose.is_ok_and(|whose| whose.is_none_or(|whose| whose.key.key_id() == attached.keyid))
                };
                let by_it = |b: &&Bundle| attestation::digest(&b.payload, &attached.keyid) == digest && its_key(b);
                let missing = || Error::new(ErrorId::CatalogueDamaged, "a statement is not in the member that held it");
                bundles.iter().find(by_it).ok_or_else(missing)?.to_json().into_bytes()
            }
        };
        Ok(text)
    }

    /// What decisions see: kind and signer of the statements about the whole version, as far as the signer is believed, and what the
    /// newest of them says of it as a dataset.
    pub(super) fn believed_statements(
        &self,
        namespace: &Name,
        attached: Vec<AttestationRecord>,
    ) -> (Vec<(String, Name)>, Option<Dataset>) {
        let mut statements = Vec::new();
        if attached.is_empty() {
            return (statements, None);
        }
        let signers = self.signers();
        let believed = Believers::of(&signers);
        let mut newest: Option<(DatasetFacts, Name)> = None;
        for attached in attached.into_iter().filter(|a| a.whole) {
            let Ok(signer) = self.believed_still(&believed, namespace, &attached) else { continue };
            if let Some(facts) = attached.dataset
                && newest.as_ref().is_none_or(|(other, _)| other.version < facts.version)
            {
                newest = Some((facts, signer.clone()));
            }
            statements.push((attached.predicate_type, signer));
        }
        let now = self.now();
        let dataset = newest.and_then(|(facts, signer)| dataset::seen(facts, &signer, namespace, &believed, now));
        (statements, dataset)
    }

    /// Verifies the signatures that lie in a sealed file, before it is published, and holds them against its members: by their
    /// recorded digests where they have them, else by reading. Those of a model, and the statement of a dataset, whose files may
    /// lie in `parts`; none if it carries none.
    ///
    /// # Errors
    /// As [`Vault::attest`]; for a dataset as `dataset_statement`.
    pub(super) fn own_signatures(
        &self,
        (namespace, artifact): (&Name, ArtifactId),
        (version, added_by): (VersionId, &str),
        reader: &Reader,
        parts: Option<&SealedParts>,
    ) -> Result<Vec<NewAttestation>> {
        let found = model_bundles(reader).map_err(|e| e.on(BUNDLE_NAME))?;
        let of_model = self.model_signatures(namespace, (version, added_by), reader, &found);
        let mut attestations = of_model.map_err(|e| e.on(BUNDLE_NAME))?;
        // Files of signatures are no data if all in them is believed: anybody can give data the form of a signature.
        let believed = |member: &str| {
            let lines = found.iter().filter(|(of, _)| *of == member).count();
            lines > 0 && lines == attestations.iter().filter(|a| a.member.as_deref() == Some(member)).count()
        };
        let mut beside: Vec<&str> = [BUNDLE_NAME, CLAIMS_NAME].into_iter().filter(|member| believed(member)).collect();
        beside.extend(parts.map(|_| PARTS_NAME));
        let sealed = SealedDataset { vault: self, reader, parts };
        let of_dataset = self.dataset_statement((namespace, artifact), (version, added_by), &sealed, &beside);
        attestations.extend(of_dataset.map_err(|e| e.on(DATASET_NAME))?);
        attestations.sort_by_key(|a| a.digest);
        attestations.dedup_by_key(|a| a.digest);
        Ok(attestations)
    }

    fn model_signatures(
        &self,
        namespace: &Name,
        (version, added_by): (VersionId, &str),
        reader: &Reader,
        found: &[(&str, Bundle)],
    ) -> Result<Vec<NewAttestation>> {
        let models: Vec<Bundle> =
            found.iter().map(|(_, b)| b.clone()).filter(|b| oms::is_model_signature(&b.payload)).collect();
        if models.is_empty() && found.iter().all(|(member, _)| *member != BUNDLE_NAME) {
            return Ok(Vec::new());
        }
        let statement = self.authentic(namespace, &models)?;
        let whole = self.compare(&statement, reader)?;
        let mut attestations = Vec::new();
        for (member, bundle) in found.iter().filter(|(_, b)| oms::is_model_signature(&b.payload)) {
            // What was compared is one statement: of another of the same signer nothing is known.
            if !Statement::from_payload(&bundle.payload).is_ok_and(|other| other == statement) {
                continue;
            }
            let Some(believed) = self.whose(namespace, bundle, self.now())? else { continue };
            let attested = believed.attested(version, &bundle.payload, added_by);
            attestations.push(NewAttestation { whole, member: Some((*member).into()), ..attested });
        }
        Ok(attestations)
    }

    /// All that is checked before a statement is kept.
    fn prepared(
        &self,
        caller: &Caller,
        namespace: &Name,
        artifact: &ArtifactRecord,
        version: &VersionRecord,
        bundle: &[u8],
    ) -> Result<(NewAttestation, Sha256)> {
        if bundle.len() > MAX_ATTACHED_LEN {
            let text = format!("the bundle is larger than {MAX_ATTACHED_LEN} bytes");
            return Err(Error::new(ErrorId::InvalidArgument, text)
                .hint("put what it is about into the artifact, and attach a statement with its digest"));
        }
        if let Some(head) = version.part_of {
            let text =
                format!("v{} is a part of a dataset: what is said of it counts for nothing", version.facts.number);
            let whole =
                if head == 0 { "the version that names it".into() } else { format!("{}@v{head}", artifact.name) };
            return Err(Error::new(ErrorId::InvalidArgument, text).hint(format!("attach it to {whole}")));
        }
        let bundle = Bundle::from_json(bundle)?;
        let believed = self.whose(namespace, &bundle, self.now())?.ok_or_else(|| stranger(&bundle))?;
        let reader = self.reader_of(artifact, version)?;
        let (predicate_type, whole) = if oms::is_model_signature(&bundle.payload) {
            let statement = Statement::from_payload(&bundle.payload)?;
            (oms::PREDICATE_TYPE.to_owned(), self.compare(&statement, &reader)?)
        } else {
            let said = Attestation::from_payload(&bundle.payload)?;
            match said.coverage(reader.root(), &recorded(&reader)) {
                Coverage::None => {
                    return Err(Error::new(ErrorId::InvalidArgument, "the statement is about something else").hint(
                        "its subject must be this version or files in it; vault attest add --predicate makes one",
                    ));
                }
                coverage => (said.predicate_type, coverage == Coverage::Whole),
            }
        };
        let attested = believed.attested(version.facts.version_id, &bundle.payload, &caller.principal.to_string());
        let (version_id, digest) = (attested.version_id, attested.digest);
        let (key, text) = (self.artifact_key(version)?, bundle.to_json());
        let sealed = record::seal(&key, LABEL, &context(version_id, digest), text.as_bytes(), self.random())?;
        Ok((NewAttestation { predicate_type, whole, sealed: Some(sealed), ..attested }, digest))
    }

    /// The authentic one among model signatures.
    fn authentic(&self, namespace: &Name, bundles: &[Bundle]) -> Result<Statement> {
        let (signers, now) = (self.signers(), self.now());
        let keys: Vec<VerifyingKey> = signers.keys_in(namespace, now).map(|(_, key)| key.clone()).collect();
        let chain = |certificates: &[Vec<u8>]| {
            signers.of_chain_in(namespace, certificates, &Revocations::default(), now).map(|(_, c)| c.key)
        };
        let keyless = |_: &str, _: &[u8], _: &[u8]| {
            Err(Error::new(ErrorId::SignatureMissing, "a keyless signature, which is not kept with versions"))
        };
        let trust = Trust { keys: &keys, chain: &chain, keyless: &keyless, required: &[] };
        Ok(oms::authenticate(bundles, &trust).map_err(|e| e.hint(HOW_TO_TRUST))?.0)
    }

    /// Whose signature a bundle carries; `None` for a stranger's.
    ///
    /// # Errors
    /// `SignatureInvalid` if it names a trusted key and does not verify under it.
    fn whose(&self, namespace: &Name, bundle: &Bundle, at: Timestamp) -> Result<Option<Believed>> {
        let signers = self.signers();
        let verified = |key: &VerifyingKey| {
            let forged =
                || Error::new(ErrorId::SignatureInvalid, "a signature that names a trusted key does not verify");
            bundle.verify(key).map_err(|_| forged())
        };
        match &bundle.material {
            Material::Certificates(chain) => {
                let found = signers.of_chain_in(namespace, chain, &Revocations::default(), at);
                let Ok((signer, certified)) = found else { return Ok(None) };
                verified(&certified.key)?;
                Ok(Some(Believed { signer: signer.name.clone(), key: certified.key, path: certified.path }))
            }
            Material::Key { hint } => {
                for (signer, key) in signers.keys_in(namespace, at).filter(|(_, key)| bundle.names(key)) {
                    match verified(key) {
                        // Without a hint it could be anybody's.
                        Err(_) if hint.is_none() => {}
                        outcome => {
                            outcome?;
                            let (signer, key, path) = (signer.name.clone(), key.clone(), Vec::new());
                            return Ok(Some(Believed { signer, key, path }));
                        }
                    }
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Whether the signer of an attached statement is believed still. That a key or CA was retired after the statement was
    /// attached does not count; that it was revoked or dropped does, whenever it was.
    fn believed_still(&self, believed: &Believers<'_>, namespace: &Name, attached: &AttestationRecord) -> Result<Name> {
        let (signers, at) = (believed.signers, attached.added);
        let gone = || Error::new(ErrorId::SignatureMissing, format!("{} is not trusted any more", attached.signer));
        signers.check_revoked(&attached.keyid, self.now())?;
        attached.path.iter().try_for_each(|key| signers.check_revoked(key, self.now()))?;
        let counts = |s: &Signer| s.is_trusted(at) && s.covers(namespace);
        if attached.path.is_empty() {
            let signer = believed.by_key.get(&attached.keyid).filter(|s| counts(s));
            return signer.map(|s| s.name.clone()).ok_or_else(gone);
        }
        // By a CA of that path: another of the same name vouched for nobody here.
        let vouches = |s: &&Signer| {
            let of_path = || s.key_ids().iter().any(|id| attached.path.contains(id));
            s.name == attached.signer && matches!(s.trust, Authority::Ca { .. }) && counts(s) && of_path()
        };
        signers.signers().iter().find(vouches).map(|s| s.name.clone()).ok_or_else(gone)
    }

    /// Holds a model signature against a sealed file; says whether it covers all of it.
    fn compare(&self, statement: &Statement, reader: &Reader) -> Result<bool> {
        let members = recorded(reader);
        let hash = |index: usize, range: Range<u64>, algorithm: Algorithm| hashed(reader, index, range, algorithm);
        let found = oms::compare_recorded(statement, &members, &hash)?;
        unchanged(ErrorId::ModelChanged, &found.differences)?;
        Ok(found.left_out.is_empty())
    }

    fn artifact_key(&self, version: &VersionRecord) -> Result<Key<ArtifactKey>> {
        self.open_artifact_key(&self.catalogue.artifact_key(version.facts.artifact_key)?)
    }

    fn attestation_facts(&self, namespace: &Name, attached: AttestationRecord) -> AttestationFacts {
        let signers = self.signers();
        let believed = self.believed_still(&Believers::of(&signers), namespace, &attached);
        AttestationFacts {
            digest: attached.digest,
            predicate_type: attached.predicate_type,
            signer: attached.signer,
            keyid: attached.keyid,
            algorithm: attached.algorithm,
            by_certificate: !attached.path.is_empty(),
            whole: attached.whole,
            member: attached.member,
            added_by: attached.added_by,
            added: attached.added,
            trusted: believed.is_ok(),
            reason: believed.err().map(|e| e.message().to_owned()),
        }
    }
}

/// The trust store, by key.
struct Believers<'a> {
    signers: &'a Signers,
    by_key: HashMap<KeyId, &'a Signer>,
}

impl<'a> Believers<'a> {
    fn of(signers: &'a Signers) -> Self {
        let keys = signers.signers().iter().filter(|s| matches!(s.trust, Authority::Key(_)));
        Self { signers, by_key: keys.flat_map(|s| s.key_ids().into_iter().map(move |id| (id, s))).collect() }
    }

    /// Whether a key of the store counts for a namespace at a moment.
    fn trusts(&self, key: &KeyId, namespace: &Name, at: Timestamp) -> bool {
        let counts = |s: &&Signer| s.is_trusted(at) && s.covers(namespace);
        self.by_key.get(key).is_some_and(counts) && self.signers.check_revoked(key, at).is_ok()
    }
}

const HOW_TO_TRUST: &str = "trust the signer first: vault key trust NAME --key FILE";

fn stranger(bundle: &Bundle) -> Error {
    let by = match &bundle.material {
        Material::Key { hint: Some(hint) } => format!("a key with OMS hint {}", hint.get(..16).unwrap_or(hint)),
        Material::Key { hint: None } => "a key that it does not name".into(),
        Material::Certificates(_) => "a certificate of no trusted authority".into(),
        Material::Keyless(_) => "a certificate of a public service".into(),
    };
    Error::new(ErrorId::SignatureMissing, format!("signed by nobody this vault trusts, but by {by}")).hint(HOW_TO_TRUST)
}

/// Whether it is a dataset with its signed statement in it.
pub(super) fn carries_statement(manifest: &Manifest) -> bool {
    manifest.kind == ArtifactKind::Dataset && manifest.member(DATASET_NAME).is_some()
}

/// The bundles that lie in a sealed file as those of a model do, with the member that holds each.
fn model_bundles(reader: &Reader) -> Result<Vec<(&'static str, Bundle)>> {
    let mut found = Vec::new();
    let has_bundle = reader.member(BUNDLE_NAME).is_ok();
    if has_bundle {
        let bundle = Bundle::from_json(&read_member(reader, BUNDLE_NAME)?)?;
        found.push((BUNDLE_NAME, bundle));
    }
    if reader.member(CLAIMS_NAME).is_ok() {
        let lines = read_member(reader, CLAIMS_NAME).and_then(|text| bundles_of(&text, CLAIMS_NAME));
        match lines {
            Ok(lines) => found.extend(lines.into_iter().map(|bundle| (CLAIMS_NAME, bundle))),
            // Without a signature beside it a file of that name may be anybody's data.
            Err(_) if !has_bundle => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// What the sealed bytes of a statement are bound to.
fn context(version: VersionId, digest: Sha256) -> Vec<u8> {
    [&version.0[..], &digest.0[..]].concat()
}

fn recorded(reader: &Reader) -> Vec<Recorded> {
    let members = reader.manifest().members.iter();
    members.map(|m| Recorded { path: m.path.clone(), size: m.size, blake3: m.blake3, sha256: m.sha256 }).collect()
}

/// The digest of a range of a member, by reading it.
fn hashed(reader: &Reader, index: usize, range: Range<u64>, algorithm: Algorithm) -> Result<Box<[u8]>> {
    let member = &reader.manifest().members[index];
    if range.start > range.end || range.end > member.size {
        // No bytes there: no digest is right.
        return Ok(Box::default());
    }
    let mut hasher = algorithm.hasher();
    read_range(reader, member, range, |piece| hasher.update(piece))?;
    Ok(hasher.finish())
}

fn read_range(reader: &Reader, member: &Member, range: Range<u64>, mut each: impl FnMut(&[u8])) -> Result<()> {
    let mut sink = |piece: &[u8]| {
        each(piece);
        Ok::<(), SealError>(())
    };
    Ok(reader.read_member_range(&member.path, range, HashCheck::Compare, &mut sink)?)
}

fn read_member(reader: &Reader, path: &str) -> Result<Vec<u8>> {
    let member = reader.member(path)?;
    if member.size > MAX_BUNDLE_LEN {
        return Err(Error::new(ErrorId::BundleMalformed, format!("{path}: larger than 64 MiB")));
    }
    let mut text = Vec::new();
    read_range(reader, member, 0..member.size, |piece| text.extend_from_slice(piece))?;
    Ok(text)
}

/// The bundle of a signature; those of claims and of a dataset, one a line.
fn bundles_of(text: &[u8], member: &str) -> Result<Vec<Bundle>> {
    let most = match member {
        CLAIMS_NAME => MAX_CLAIMS,
        DATASET_NAME => MAX_DATASET_LINES,
        _ => return Ok(vec![Bundle::from_json(text)?]),
    };
    let mut bundles = Vec::new();
    for line in text.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        if bundles.len() == most {
            let text = format!("{member}: more than {most} lines");
            return Err(Error::new(ErrorId::BundleMalformed, text));
        }
        bundles.push(Bundle::from_json(line)?);
    }
    Ok(bundles)
}

/// Refuses what differs, naming the first.
fn unchanged(refusal: ErrorId, differences: &[Difference]) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = differences.iter().take(NAMED_DIFFERENCES).map(worded).collect();
    let more = match differences.len() - named.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    Err(Error::new(refusal, format!("not as it was signed: {}{more}", named.join(", "))))
}

fn worded(difference: &Difference) -> String {
    format!("{} {}", difference.path(), difference.word())
}
