//! Who may publish in a vault, as time goes by; and homes of earlier releases.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model_vault::crypto::dsse::Signer;
use model_vault::crypto::random::SystemRandom;
use model_vault::crypto::sign::{SigningIdentity, VerifyingKey};
use model_vault::identity::signers::{Trusting, Untrusting};
use model_vault::names::{ArtifactKind, Clock, Name, SystemClock, Timestamp};
use model_vault::vault::{
    Caller, Channel, ImportInput, ImportSource, InitSpec, Machine, PortableInput, RootCredential, SealInput,
    SealMember, Sealing, Transport, Vault,
};
use model_vault::{ErrorId, Result};

/// A clock that a test moves on.
struct Hands(Mutex<Timestamp>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    vault: Arc<Vault>,
    clock: Arc<Hands>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands(Mutex::new(SystemClock.now())));
        let machine = Machine { clock: Arc::clone(&clock) as _, ..Machine::default() };
        let key = InitSpec::KeyFile(dir.path().join("root.key"));
        let vault = Arc::new(Vault::init(&dir.path().join("home"), key, machine).unwrap());
        Self { dir, vault, clock }
    }

    fn caller(&self) -> Caller {
        self.vault.local_caller().unwrap()
    }

    fn step(&self, by: Duration) {
        let mut now = self.clock.0.lock().unwrap();
        *now = now.plus(by);
    }

    fn seal(&self, namespace: &str, publisher: &SigningIdentity) -> Result<Name> {
        self.seal_reading(namespace, publisher, Box::new(|| {}))
    }

    /// `meanwhile` runs when the plaintext is read.
    fn seal_reading(
        &self,
        namespace: &str,
        publisher: &SigningIdentity,
        meanwhile: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Name> {
        let sealing = Sealing { progress: Box::new(move |_| meanwhile()), ..sealing(Some(publisher.clone())) };
        let input = SealInput { namespace: name(namespace), name: name("m"), tag: None, sealing };
        Ok(self.vault.seal(&self.caller(), input)?.version.name)
    }

    /// A portable file under a key of this vault, taken in again.
    fn import(&self, from: &str, publisher: Option<&SigningIdentity>, to: &str) -> Result<Name> {
        let path = self.dir.path().join(format!("{}.mvlt", self.caller().request_id));
        let file = std::fs::File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        let input = PortableInput { namespace: name(from), name: name("m"), sealing: sealing(publisher.cloned()) };
        self.vault.seal_portable(&self.caller(), input, &file).unwrap();
        let input = ImportInput {
            namespace: name(to),
            name: name("m"),
            tag: None,
            source: ImportSource::File(Box::new(file)),
            credential: None,
            progress: Box::new(|_| {}),
        };
        Ok(self.vault.import(&self.caller(), input)?.version.name)
    }

    /// A workload, at each call.
    fn enrolled(&self, who: &str) -> impl Fn() -> Caller {
        let (_key, csr) = model_vault::identity::new_key_and_csr(&name(who)).unwrap();
        let issued = self.vault.enroll(&self.caller(), &name("default"), &name(who), &csr).unwrap();
        let peer = model_vault::identity::PeerCertificate::parse(&issued.certificate).unwrap();
        let vault = self.vault.clone();
        move || {
            let channel = Channel {
                transport: Transport::Mtls,
                tls_group: None,
                peer: None,
                certificate: Some((peer.serial.0.to_vec(), peer.spki_sha256)),
            };
            Caller { principal: peer.principal(), channel, ..vault.local_caller().unwrap() }
        }
    }

    fn trust(&self, who: &str, key: &SigningIdentity) -> Trusting {
        Trusting::keys(name(who), vec![(*key.public()).into()])
    }

    fn rows(&self, act: &str) -> Vec<String> {
        let rows = self.vault.audit_rows(&self.caller(), 1, 1000).unwrap();
        let rows = rows.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap());
        rows.filter(|row| row.contains(&format!("\"{act}\""))).collect()
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn sealing(signer: Option<SigningIdentity>) -> Sealing {
    let member = SealMember { path: "w".into(), source: Box::new(b"weights".to_vec()) };
    let kind = ArtifactKind::Model;
    Sealing {
        members: vec![member],
        kind,
        sha256: true,
        sequential: false,
        signer: signer.map(|key| Arc::new(key) as Arc<dyn Signer>),
        allow_unsigned: None,
        progress: Box::new(|_| {}),
    }
}

fn reason(outcome: Result<Name>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.id(), ErrorId::Denied, "{error}");
    assert!(error.hint_text().unwrap().contains("vault key trust NAME --key FILE"));
    error.details().iter().find(|(key, _)| *key == "reason").unwrap().1.clone()
}

#[test]
fn a_publisher_is_trusted_until_retired_where_it_may_publish_and_never_once_revoked() {
    let f = Fixture::new();
    let (alice, next) =
        (SigningIdentity::generate(&SystemRandom).unwrap(), SigningIdentity::generate(&SystemRandom).unwrap());
    assert_eq!(reason(f.seal("prod", &alice)), "unknown_key");
    assert_eq!(f.vault.status(&f.caller()).unwrap().namespaces, [name("default")], "a refusal makes no namespace");
    let refused = f.rows("artifact.seal");
    assert!(
        refused.len() == 1 && refused[0].contains("\"Denied\"") && refused[0].contains(&alice.key_id().to_string())
    );

    let trusting = f.trust("alice", &alice);
    f.vault.trust_signer(&f.caller(), &Trusting { namespaces: vec![name("prod")], ..trusting.clone() }).unwrap();
    f.seal("prod", &alice).unwrap();
    assert_eq!(reason(f.seal("default", &alice)), "namespace");
    let end = f.vault.clock().now().plus(Duration::from_secs(60));
    f.vault.trust_signer(&f.caller(), &Trusting { until: Some(end), ..trusting }).unwrap();
    f.vault.trust_signer(&f.caller(), &f.trust("alice", &next)).unwrap();
    f.seal("prod", &alice).unwrap();
    f.step(Duration::from_secs(60));
    assert_eq!(reason(f.seal("prod", &alice)), "retired");
    f.seal("prod", &next).unwrap();
    f.seal("default", &next).unwrap();

    let id = next.key_id().to_string();
    let revoking = Untrusting { name: name("alice"), key: Some(id.clone()), revoke: Some("stolen".into()) };
    f.vault.untrust_signer(&f.caller(), &revoking).unwrap();
    assert_eq!(reason(f.seal("prod", &next)), "revoked");
    let row = f.rows("key.untrust").pop().unwrap();
    assert!(
        row.contains(&id) && row.contains("\"reason\":\"stolen\"") && row.contains("\"revoked\":\"true\""),
        "{row}"
    );
    assert_eq!(f.vault.trust_signer(&f.caller(), &f.trust("bob", &next)).unwrap_err().id(), ErrorId::InvalidArgument);
}

#[test]
fn trust_that_ends_while_a_version_is_sealed_keeps_it_from_being_published() {
    let f = Fixture::new();
    let alice = SigningIdentity::generate(&SystemRandom).unwrap();
    let end = f.vault.clock().now().plus(Duration::from_secs(60));
    f.vault.trust_signer(&f.caller(), &Trusting { until: Some(end), ..f.trust("alice", &alice) }).unwrap();
    let clock = Arc::clone(&f.clock);
    let late = move || *clock.0.lock().unwrap() = end;
    assert_eq!(reason(f.seal_reading("default", &alice, Box::new(late))), "retired");
    assert_eq!(f.vault.status(&f.caller()).unwrap().versions, 0);
    assert!(f.vault.check(&f.caller()).unwrap().findings.is_empty());
}

#[test]
fn a_sealed_file_is_taken_in_if_nobody_or_somebody_trusted_signed_it() {
    let f = Fixture::new();
    let stranger = SigningIdentity::generate(&SystemRandom).unwrap();
    // What another namespace of this vault signed is the vault's own word.
    f.import("other", None, "default").unwrap();
    assert_eq!(reason(f.import("default", Some(&stranger), "default")), "unknown_key");
    let refused = f.rows("artifact.import").pop().unwrap();
    assert!(refused.contains("\"Denied\"") && refused.contains(&stranger.key_id().to_string()), "{refused}");
    let limited = Trusting { namespaces: vec![name("prod")], ..f.trust("carol", &stranger) };
    f.vault.trust_signer(&f.caller(), &limited).unwrap();
    assert_eq!(reason(f.import("default", Some(&stranger), "default")), "namespace");
    f.import("default", Some(&stranger), "prod").unwrap();
}

#[test]
fn a_change_that_comes_again_gets_the_first_answer_and_one_row() {
    let f = Fixture::new();
    let alice = SigningIdentity::generate(&SystemRandom).unwrap();
    let (caller, trusting) = (f.caller(), f.trust("alice", &alice));
    let first = f.vault.trust_signer(&caller, &trusting).unwrap();
    std::fs::remove_file(f.vault.home().signers_path()).unwrap();
    assert_eq!(f.vault.trust_signer(&caller, &trusting).unwrap(), first);
    assert!(f.vault.home().signers_path().exists(), "and the copy is made where the first could not");
    assert_eq!((f.rows("key.trust").len(), first.version), (1, Some(1)));
    let other = Trusting { namespaces: vec![name("prod")], ..trusting };
    assert_eq!(f.vault.trust_signer(&caller, &other).unwrap_err().id(), ErrorId::AlreadyExists);
    let untrusting = Untrusting { name: name("alice"), key: None, revoke: None };
    let caller = f.caller();
    f.vault.untrust_signer(&caller, &untrusting).unwrap();
    f.vault.untrust_signer(&caller, &untrusting).unwrap();
    assert_eq!(f.vault.untrust_signer(&f.caller(), &untrusting).unwrap_err().id(), ErrorId::NotFound);
    assert_eq!((f.rows("key.untrust").len(), f.vault.signers().signers().len()), (2, 0));
}

#[test]
fn a_home_of_an_earlier_release_opens_and_believes_nobody_yet() {
    let dir = tempfile::tempdir().unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/homes/schema-2.tar.gz");
    let unpacked = Command::new("tar").arg("-xzf").arg(golden).arg("-C").arg(dir.path()).status().unwrap();
    assert!(unpacked.success());
    let key = || Some(RootCredential::KeyFile(dir.path().join("root.key")));
    let unlock = || Vault::unlock(&dir.path().join("home"), key(), Machine::default()).unwrap();
    // A file from before the vault kept signers is somebody's, not the vault's.
    let path = dir.path().join("home/signers.json");
    std::fs::write(&path, "{\"version\":1,\"signers\":[],\"revoked\":[ ]}").unwrap();
    let vault = unlock();
    let caller = || vault.local_caller().unwrap();
    assert_eq!(vault.read_signers(&caller()).unwrap().version, Some(0));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), model_vault::identity::signers::Signers::default().to_json());
    assert!(vault.check(&caller()).unwrap().findings.is_empty());
    assert_eq!(vault.verify(&caller(), &"m@gold".parse().unwrap()).unwrap().payload_size, 7);
    let key = VerifyingKey::from(*SigningIdentity::generate(&SystemRandom).unwrap().public());
    vault.trust_signer(&caller(), &Trusting::keys(name("alice"), vec![key])).unwrap();
    drop(vault);
    assert_eq!(unlock().signers().signers().len(), 1);
}

#[test]
fn an_identity_is_made_and_trusted_in_one_act_and_once() {
    let f = Fixture::new();
    let caller = f.caller();
    let made = f.vault.new_identity(&caller, &name("release"), true).unwrap();
    assert_eq!(f.vault.new_identity(&caller, &name("release"), true).unwrap(), made, "the same request");
    assert_eq!(f.vault.new_identity(&f.caller(), &name("release"), false).unwrap_err().id(), ErrorId::AlreadyExists);
    let rows = f.rows("key.new");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(made.keys.iter().all(|key| rows[0].contains(&key.keyid.to_string())) && rows[1].contains("AlreadyExists"));
    let trusted: Vec<_> = f.vault.signers().signers().iter().flat_map(|s| s.key_ids()).collect();
    assert_eq!(trusted, made.keys.iter().map(|key| key.keyid).collect::<Vec<_>>());
    // The vault does not speak in the name of somebody whose key is elsewhere.
    let alice = SigningIdentity::generate(&SystemRandom).unwrap();
    f.vault.trust_signer(&f.caller(), &f.trust("alice", &alice)).unwrap();
    assert_eq!(f.vault.new_identity(&f.caller(), &name("alice"), false).unwrap_err().id(), ErrorId::AlreadyExists);
    assert_eq!(f.vault.signers().signers().iter().filter(|s| s.name == name("alice")).count(), 1);
}

#[test]
fn an_identity_signs_statements_on_record_and_nothing_that_means_something_else() {
    use model_vault::crypto::dsse::pre_authentication;
    let f = Fixture::new();
    f.vault.new_identity(&f.caller(), &name("release"), true).unwrap();
    let sign = |payload: &str| f.vault.sign_statement(&f.caller(), &name("release"), payload.as_bytes());
    let statement = |kind: &str| {
        format!(r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"m"}}],"predicateType":"{kind}"}}"#)
    };
    let payload = statement("https://slsa.dev/provenance/v1");
    let signatures = sign(&payload).unwrap();
    assert_eq!(signatures.len(), 3);
    for (key, signature) in &signatures {
        key.verify(&pre_authentication("application/vnd.in-toto+json", payload.as_bytes()), signature).unwrap();
        key.verify(payload.as_bytes(), signature).unwrap_err();
    }
    let digest = model_vault::crypto::hash::sha256(payload.as_bytes()).to_string();
    let row = f.rows("key.sign").pop().unwrap();
    assert!(row.contains(&digest) && row.contains("provenance") && row.contains("\"subject\":\"m\""), "{row}");
    for refused in [
        "",
        "{}",
        &statement("https://modelvault.example/sealed/v1"),
        &statement("https://modelvault.example/artifact/v1"),
    ] {
        assert_eq!(sign(refused).unwrap_err().id(), ErrorId::InvalidArgument, "{refused}");
    }
    assert_eq!(f.rows("key.sign").iter().filter(|row| row.contains("\"deny\"")).count(), 4);
    let nobody = f.vault.sign_statement(&f.caller(), &name("nobody"), payload.as_bytes());
    assert_eq!(nobody.unwrap_err().id(), ErrorId::NotFound);
}

#[test]
fn whoever_is_taken_back_while_sealing_publishes_nothing() {
    let f = Fixture::new();
    let text = f.vault.policy(&f.caller()).unwrap().text;
    let may = |what: &str| {
        let action = format!("action == ModelVault::Action::\"{what}\"");
        format!("@id(\"may-{what}\") permit (principal is ModelVault::Workload, {action}, resource);")
    };
    let (seals, tags) = (format!("{text}{}", may("seal")), may("tag"));
    f.vault.set_policy(&f.caller(), &format!("{seals}{tags}")).unwrap();
    let builder = f.enrolled("builder");
    let seal_as = |of: &str, tag: Option<&str>, meanwhile: Box<dyn Fn() + Send + Sync>| {
        let sealing = Sealing { progress: Box::new(move |_| meanwhile()), ..sealing(None) };
        let tag = tag.map(|tag| tag.parse().unwrap());
        let input = SealInput { namespace: name("default"), name: name(of), tag, sealing };
        f.vault.seal(&builder(), input).map(drop)
    };
    let seal = |meanwhile| seal_as("m", None, meanwhile);
    seal_as("m", Some("prod"), Box::new(|| {})).unwrap();
    // Whoever may seal still, and may not tag any more: for a name that is there, and for a new one.
    for of in ["m", "n"] {
        let (vault, operator, without) = (f.vault.clone(), f.caller(), seals.clone());
        let no_tags = move || assert!(vault.set_policy(&operator, &without).unwrap() > 0);
        assert_eq!(seal_as(of, Some("prod"), Box::new(no_tags)).unwrap_err().id(), ErrorId::Denied);
        assert_eq!(f.vault.status(&f.caller()).unwrap().versions, 1);
        assert_eq!(seal_as(of, Some("prod"), Box::new(|| {})).unwrap_err().id(), ErrorId::Denied);
        f.vault.set_policy(&f.caller(), &format!("{seals}{tags}")).unwrap();
    }
    let (vault, operator) = (f.vault.clone(), f.caller());
    let revoke = move || vault.revoke(&operator, &name("default"), &name("builder"), None).unwrap();
    assert_eq!(seal(Box::new(revoke)).unwrap_err().id(), ErrorId::BadCredential);
    assert_eq!(f.vault.status(&f.caller()).unwrap().versions, 1);
}

#[test]
fn an_identity_of_the_vault_signs_nothing_for_whoever_may_not_have_it_sign_any_more() {
    let f = Fixture::new();
    f.vault.new_identity(&f.caller(), &name("release"), false).unwrap();
    let text = f.vault.policy(&f.caller()).unwrap().text;
    let key = f.vault.publisher(&f.caller(), &name("release"), (&name("default"), &name("m"))).unwrap();
    let seal = |meanwhile: Box<dyn Fn() + Send + Sync>| {
        let sealing = Sealing { progress: Box::new(move |_| meanwhile()), ..sealing(Some(key.clone())) };
        let input = SealInput { namespace: name("default"), name: name("m"), tag: None, sealing };
        f.vault.seal(&f.caller(), input).map(drop)
    };
    seal(Box::new(|| {})).unwrap();
    let (vault, operator) = (f.vault.clone(), f.caller());
    let without =
        format!("{text}@id(\"signs-nothing\") forbid (principal, action == ModelVault::Action::\"sign\", resource);");
    let meanwhile = move || assert!(vault.set_policy(&operator, &without).unwrap() > 0);
    assert_eq!(seal(Box::new(meanwhile)).unwrap_err().id(), ErrorId::Denied);
    assert_eq!(f.vault.status(&f.caller()).unwrap().versions, 1);
}

#[test]
fn a_right_to_new_names_is_none_to_what_others_made_meanwhile() {
    let f = Fixture::new();
    let text = f.vault.policy(&f.caller()).unwrap().text;
    let new_names = "@id(\"new-names\") permit (principal is ModelVault::Workload, action == \
                     ModelVault::Action::\"seal\", resource is ModelVault::Namespace);";
    f.vault.set_policy(&f.caller(), &format!("{text}{new_names}")).unwrap();
    let job = f.enrolled("job");
    let seal = |caller: Caller, of: &str, meanwhile: Box<dyn Fn() + Send + Sync>| {
        let sealing = Sealing { progress: Box::new(move |_| meanwhile()), ..sealing(None) };
        let input = SealInput { namespace: name("default"), name: name(of), tag: None, sealing };
        f.vault.seal(&caller, input).map(drop)
    };
    seal(job(), "own", Box::new(|| {})).unwrap();
    assert_eq!(seal(job(), "own", Box::new(|| {})).unwrap_err().id(), ErrorId::Denied);
    // An operator makes the name while the job seals its first version of it.
    let (vault, made) = (f.vault.clone(), Mutex::new(false));
    let meanwhile = move || {
        if !std::mem::replace(&mut *made.lock().unwrap(), true) {
            let input = SealInput { namespace: name("default"), name: name("m"), tag: None, sealing: sealing(None) };
            vault.seal(&vault.local_caller().unwrap(), input).unwrap();
        }
    };
    assert_eq!(seal(job(), "m", Box::new(meanwhile)).unwrap_err().id(), ErrorId::Denied);
    assert_eq!(f.vault.status(&f.caller()).unwrap().versions, 2);
}

#[test]
fn what_is_shredded_while_it_is_imported_does_not_come_back() {
    let f = Fixture::new();
    let input = SealInput { namespace: name("default"), name: name("m"), tag: None, sealing: sealing(None) };
    f.vault.seal(&f.caller(), input).unwrap();
    let mut export = f.vault.export(&f.caller(), &"m".parse().unwrap()).unwrap();
    let mut bytes = vec![0; usize::try_from(export.size()).unwrap()];
    export.read(0, &mut bytes).unwrap();
    export.finish(bytes.len() as u64, &Ok(())).unwrap();
    let vault = f.vault.clone();
    let input = ImportInput {
        namespace: name("default"),
        name: name("copy"),
        tag: None,
        source: ImportSource::File(Box::new(bytes)),
        credential: None,
        progress: Box::new(move |_| drop(vault.shred(&vault.local_caller().unwrap(), &"m@v1".parse().unwrap()))),
    };
    assert_eq!(f.vault.import(&f.caller(), input).unwrap_err().id(), ErrorId::Shredded);
    assert!(f.vault.open(&f.caller(), &"copy".parse().unwrap()).is_err());
}
