//! Promises about signed statements: only trusted signers are believed, only of what they signed, and only as long as they are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use model_vault::crypto::hash::{self, blake3, sha256};
use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::{Algorithm, SigningKey};
use model_vault::identity::signers::{Trusting, Untrusting};
use model_vault::manifest::attestation::{Attestation, Recorded};
use model_vault::manifest::oms::{Bundle, recorded_statement};
use model_vault::names::{ArtifactKind, Name, Reference};
use model_vault::vault::{
    Caller, Channel, InitSpec, Machine, Published, SealInput, SealMember, Sealing, Transport, Vault,
};
use model_vault::{Error, ErrorId, Result};

const EVALUATION: &str = "https://modelvault.example/evaluation/v1";

struct Fixture {
    dir: tempfile::TempDir,
    vault: Arc<Vault>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key, Machine::default()).unwrap());
        Self { dir, vault }
    }

    fn caller(&self) -> Caller {
        self.vault.local_caller().unwrap()
    }

    fn trust(&self, signer: &str, key: &SigningKey) {
        self.vault.trust_signer(&self.caller(), &trusting(signer, key, &[])).unwrap();
    }

    fn seal(&self, members: &[(&str, Vec<u8>)], allow_unsigned: Option<&str>) -> Result<Published> {
        let members = members.iter();
        let sealing = Sealing {
            members: members.map(|(p, b)| SealMember { path: (*p).into(), source: Box::new(b.clone()) }).collect(),
            kind: ArtifactKind::Model,
            sha256: true,
            sequential: false,
            signer: None,
            allow_unsigned: allow_unsigned.map(Into::into),
            progress: Box::new(|_| {}),
        };
        let (namespace, name) = ("default".parse().unwrap(), "m".parse().unwrap());
        self.vault.seal(&self.caller(), SealInput { namespace, name, tag: None, sealing })
    }

    fn attest(&self, reference: &str, bundle: &Bundle) -> Result<()> {
        self.vault.attest(&self.caller(), &refer(reference), bundle.to_json().as_bytes()).map(drop)
    }

    /// Kind, signer, and whether the signer is believed.
    fn said(&self, reference: &str) -> Vec<(String, String, bool)> {
        let found = self.vault.attestations(&self.caller(), &refer(reference)).unwrap();
        found.into_iter().map(|a| (a.predicate_type, a.signer.to_string(), a.trusted)).collect()
    }

    fn workload(&self, name: &str) -> Caller {
        let name = name.parse().unwrap();
        let (_key, csr) = model_vault::identity::new_key_and_csr(&name).unwrap();
        let issued = self.vault.enroll(&self.caller(), &"default".parse().unwrap(), &name, &csr).unwrap();
        let peer = model_vault::identity::PeerCertificate::parse(&issued.certificate).unwrap();
        Caller {
            principal: peer.principal(),
            channel: Channel {
                transport: Transport::Mtls,
                tls_group: None,
                peer: None,
                certificate: Some((peer.serial.0.to_vec(), peer.spki_sha256)),
            },
            ..self.caller()
        }
    }

    fn acts(&self) -> String {
        let rows = self.vault.audit_rows(&self.caller(), 1, 1000).unwrap();
        rows.iter().map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap() + "\n").collect()
    }
}

fn trusting(signer: &str, key: &SigningKey, namespaces: &[&str]) -> Trusting {
    let namespaces = namespaces.iter().map(|name| name.parse().unwrap()).collect();
    Trusting { namespaces, ..Trusting::keys(signer.parse().unwrap(), vec![key.public().clone()]) }
}

fn refer(text: &str) -> Reference {
    text.parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::EcdsaP256, &SystemRandom).unwrap()
}

/// An evaluation of a version, by its root.
fn evaluation(published: &Published, key: &SigningKey) -> Bundle {
    let payload = Attestation::payload(EVALUATION, "m", published.version.root, b"{\"score\":0.9}").unwrap();
    Bundle::sign(payload, key, None).unwrap()
}

fn recorded(members: &[(&str, Vec<u8>)]) -> Vec<Recorded> {
    let members = members.iter();
    members
        .map(|(path, bytes)| Recorded {
            path: (*path).into(),
            size: bytes.len() as u64,
            blake3: blake3(bytes),
            sha256: Some(sha256(bytes)),
        })
        .collect()
}

fn model_signature(members: &[(&str, Vec<u8>)], key: &SigningKey) -> Bundle {
    let statement = recorded_statement("m".into(), &recorded(members), hash::Algorithm::Sha256, false).unwrap();
    Bundle::sign(statement.to_payload().into_bytes(), key, None).unwrap()
}

fn model() -> Vec<(&'static str, Vec<u8>)> {
    vec![("config.json", b"{}".to_vec()), ("weights", vec![7; 300_000])]
}

fn id<T>(outcome: Result<T>) -> ErrorId {
    outcome.err().map(|e: Error| e.id()).unwrap()
}

#[test]
fn a_statement_is_attached_if_a_trusted_signer_made_it_about_this_version() {
    let fixture = Fixture::new();
    let (alice, stranger) = (key(), key());
    fixture.trust("alice", &alice);
    let (first, second) = (fixture.seal(&model(), None).unwrap(), fixture.seal(&model(), None).unwrap());
    let bundle = evaluation(&first, &alice);
    fixture.attest("m@v1", &bundle).unwrap();
    assert_eq!(fixture.said("m@v1"), [(EVALUATION.into(), "alice".into(), true)]);
    assert_eq!(id(fixture.attest("m@v1", &bundle)), ErrorId::AlreadyExists);
    assert_eq!(id(fixture.attest("m@v2", &bundle)), ErrorId::InvalidArgument, "it is about another version");
    assert_eq!(id(fixture.attest("m@v2", &evaluation(&second, &stranger))), ErrorId::SignatureMissing);
    let mut forged = evaluation(&second, &alice);
    forged.payload = evaluation(&first, &stranger).payload;
    assert_eq!(id(fixture.attest("m@v1", &forged)), ErrorId::SignatureInvalid);
    let text = fixture.vault.attest(&fixture.caller(), &refer("m@v1"), b"{}");
    assert_eq!(id(text), ErrorId::BundleMalformed);
    assert!(fixture.said("m@v2").is_empty());
    // What was attached comes back as it was, and lies on disk encrypted.
    let digest = fixture.vault.attestations(&fixture.caller(), &refer("m@v1")).unwrap()[0].digest;
    let again = fixture.vault.attestation(&fixture.caller(), &refer("m@v1"), digest).unwrap();
    assert_eq!(Bundle::from_json(&again).unwrap(), bundle);
    let database = std::fs::read(fixture.dir.path().join("home/catalogue.db")).unwrap();
    let log = std::fs::read(fixture.dir.path().join("home/catalogue.db-wal")).unwrap_or_default();
    let needle = &bundle.to_json().into_bytes()[200..260];
    assert!(![database, log].iter().any(|file| file.windows(needle.len()).any(|w| w == needle)));
    let acts = fixture.acts();
    assert!(acts.contains("\"artifact.attest\"") && acts.contains(EVALUATION), "{acts}");
    assert!(acts.contains("SignatureMissing") && acts.contains("SignatureInvalid"), "refusals are on record: {acts}");
}

#[test]
fn what_a_signer_signed_is_believed_no_longer_than_the_signer() {
    let fixture = Fixture::new();
    let (alice, bob, carol) = (key(), key(), key());
    for (name, key) in [("alice", &alice), ("bob", &bob), ("carol", &carol)] {
        fixture.trust(name, key);
    }
    let published = fixture.seal(&model(), None).unwrap();
    for key in [&alice, &bob, &carol] {
        fixture.attest("m", &evaluation(&published, key)).unwrap();
    }
    fixture.vault.untrust_signer(&fixture.caller(), &untrusting("alice", None)).unwrap();
    // Revoked from now on: what was signed and attached before stands.
    fixture.vault.untrust_signer(&fixture.caller(), &untrusting("bob", Some("left"))).unwrap();
    let said = fixture.said("m");
    let trusted = |who: &str| said.iter().find(|(_, by, _)| by == who).unwrap().2;
    assert_eq!((trusted("alice"), trusted("bob"), trusted("carol")), (false, false, true));
}

#[test]
fn policies_release_what_the_right_people_vouched_for() {
    let fixture = Fixture::new();
    let (red_team, ci) = (key(), key());
    fixture.trust("red-team", &red_team);
    fixture.trust("ci", &ci);
    let published = fixture.seal(&model(), None).unwrap();
    let serve = fixture.workload("serve");
    let namespace: Name = "default".parse().unwrap();
    fixture
        .vault
        .grant(&fixture.caller(), &namespace, &"serve".parse().unwrap(), (&namespace, &"m".parse().unwrap()))
        .unwrap();
    let policy = format!(
        "{}\n@id(\"evaluated\") forbid (principal is ModelVault::Workload, action == ModelVault::Action::\"open\", resource)\n\
         unless {{ context.statements.contains({{type: \"{EVALUATION}\", signer: \"red-team\"}}) }};",
        fixture.vault.policy(&fixture.caller()).unwrap().text
    );
    fixture.vault.set_policy(&fixture.caller(), &policy).unwrap();
    let open = || fixture.vault.open(&serve, &refer("m")).map(drop);
    assert!(open().is_err());
    fixture.attest("m", &evaluation(&published, &ci)).unwrap();
    assert!(open().is_err(), "somebody else's evaluation");
    fixture.attest("m", &evaluation(&published, &red_team)).unwrap();
    open().unwrap();
    // A workload that may read the artifact may read what was said about it; it may not add to it.
    assert_eq!(fixture.vault.attestations(&serve, &refer("m")).unwrap().len(), 2);
    assert!(fixture.vault.attest(&serve, &refer("m"), b"{}").is_err());
    // The next version needs its own.
    fixture.seal(&model(), None).unwrap();
    assert!(open().is_err());
    assert!(fixture.vault.open(&serve, &refer("m@v1")).is_ok());
    fixture.vault.untrust_signer(&fixture.caller(), &untrusting("red-team", None)).unwrap();
    assert!(fixture.vault.open(&serve, &refer("m@v1")).is_err(), "the signer is believed no more");
}

#[test]
fn a_model_that_carries_a_signature_is_sealed_if_the_signature_is_good() {
    let fixture = Fixture::new();
    let (alice, stranger) = (key(), key());
    fixture.trust("alice", &alice);
    let with = |signature: &Bundle, change: fn(&mut Vec<(&'static str, Vec<u8>)>)| {
        let mut members = model();
        change(&mut members);
        members.push(("model.sig", signature.to_json().into_bytes()));
        members
    };
    let good = model_signature(&model(), &alice);
    fixture.seal(&with(&good, |_| {}), None).unwrap();
    let kind = "https://model_signing/signature/v1.0";
    assert_eq!(fixture.said("m@v1"), [(kind.into(), "alice".into(), true)]);
    let digest = fixture.vault.attestations(&fixture.caller(), &refer("m@v1")).unwrap()[0].digest;
    let kept = fixture.vault.attestation(&fixture.caller(), &refer("m@v1"), digest).unwrap();
    assert_eq!(Bundle::from_json(&kept).unwrap(), good);
    assert!(fixture.acts().contains("\"signed_by\":\"alice\""), "who signed is on record: {}", fixture.acts());

    let changed = with(&good, |m| m[1].1[299_999] ^= 1);
    let more = with(&good, |m| m.push(("evil.py", b"x".to_vec())));
    let by_stranger = with(&model_signature(&model(), &stranger), |_| {});
    let mut garbage = model();
    garbage.push(("model.sig", b"-----BEGIN PGP SIGNATURE-----".to_vec()));
    for (members, refused) in [
        (&changed, ErrorId::ModelChanged),
        (&more, ErrorId::ModelChanged),
        (&by_stranger, ErrorId::SignatureMissing),
        (&garbage, ErrorId::BundleMalformed),
    ] {
        let error = fixture.seal(members, None).unwrap_err();
        assert_eq!(error.id(), refused);
        assert!(error.hint_text().unwrap_or_default().contains("--allow unsigned"), "{error:?}");
        let made = fixture.seal(members, Some("checked by hand")).unwrap();
        let reference = format!("m@v{}", made.version.version);
        assert!(fixture.said(&reference).is_empty(), "nothing is said by whom nobody checked");
    }
    assert!(fixture.acts().contains("checked by hand"));
    assert_eq!(id(fixture.seal(&changed, Some(" "))), ErrorId::InvalidArgument, "a reason says something");
    // What is called claims may be anybody's data, unless it is a signature.
    let mut claims = model();
    claims.push(("claims.jsonl", b"{\"claim\":\"insurance\"}\n".to_vec()));
    fixture.seal(&claims, None).unwrap();
    let mut claims = model();
    claims.push(("claims.jsonl", model_signature(&model(), &alice).to_json().into_bytes()));
    claims[0].1 = b"{\"changed\":1}".to_vec();
    assert_eq!(id(fixture.seal(&claims, None)), ErrorId::ModelChanged);
}

#[test]
fn decisions_see_whether_the_publisher_is_believed_still() {
    let fixture = Fixture::new();
    let text = "@id(\"all\") permit (principal, action, resource);\n@id(\"trusted\") forbid (principal, action == \
                ModelVault::Action::\"open\", resource) unless { context.signer_trusted };";
    fixture.seal(&model(), None).unwrap();
    fixture.vault.set_policy(&fixture.caller(), text).unwrap();
    let open = || fixture.vault.open(&fixture.caller(), &refer("m")).map(drop);
    open().unwrap();
    let own = fixture.vault.statement_signers(&fixture.caller(), &"default".parse().unwrap()).unwrap().remove(0).keyid;
    fixture.trust("alice", &key());
    let revoking = Untrusting { key: Some(own.to_string()), ..untrusting("alice", Some("stolen")) };
    fixture.vault.untrust_signer(&fixture.caller(), &revoking).unwrap();
    let error = open().unwrap_err();
    assert!(error.id() == ErrorId::Denied && error.message().contains("policy trusted forbids it"), "{error}");
}

#[test]
fn a_version_is_signed_from_its_recorded_digests() {
    let fixture = Fixture::new();
    let alice = key();
    fixture.trust("alice", &alice);
    fixture.seal(&model(), None).unwrap();
    fixture.attest("m", &model_signature(&model(), &alice)).unwrap();
    let mut other = model();
    other[1].1[0] ^= 1;
    assert_eq!(id(fixture.attest("m", &model_signature(&other, &alice))), ErrorId::ModelChanged);
    // A signer of one namespace says nothing in another.
    let bob = key();
    fixture.vault.trust_signer(&fixture.caller(), &trusting("bob", &bob, &["elsewhere"])).unwrap();
    assert_eq!(id(fixture.attest("m", &model_signature(&model(), &bob))), ErrorId::SignatureMissing);
}

fn untrusting(signer: &str, revoked: Option<&str>) -> Untrusting {
    Untrusting { name: signer.parse().unwrap(), key: None, revoke: revoked.map(Into::into) }
}
