//! Certificates of other trust domains.

use std::time::Duration;

use model_vault::ErrorId;
use model_vault::identity::{Enrolment, PrivateKey};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

use super::{World, refused};

/// The authority of a trust domain.
struct Domain {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Domain {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self { ca: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.ca.pem()
    }

    /// A certificate with these names, whoever may have them.
    fn issue(&self, world: &World, names: &[&str]) -> Enrolment {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(|n| SanType::URI((*n).try_into().unwrap())).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        let key = PrivateKey::from_pkcs8(key.serialize_der().into()).unwrap();
        world.enrolment(certificate.der().to_vec(), key)
    }
}

fn settings(domain: &str, bundle: &str) -> String {
    format!(
        r#"
[[trust-domain]]
name = "{}"
trust-domain = "{domain}"
bundle = {bundle}
subjects = ["spiffe://{domain}/ns/prod/*"]
namespace = "default"
groups = ["serve"]
"#,
        domain.replace('.', "-")
    )
}

fn inline(domain: &Domain) -> String {
    format!("{{ inline = '''{}''' }}", domain.pem())
}

/// The daemon looks once a second.
async fn taken_up() {
    tokio::time::sleep(Duration::from_millis(1600)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_of_a_configured_trust_domain_calls_by_its_own_certificate_and_no_other_does() {
    let world = World::new().await;
    let (a, b, evil) = (Domain::new(), Domain::new(), Domain::new());
    let good = a.issue(&world, &["spiffe://a.example/ns/prod/sa/serve"]);
    assert!(world.whoami(&good).await.is_err(), "nobody has said that it is to be believed");
    world.issuers(&format!(
        "version = 1\n{}{}",
        settings("a.example", &inline(&a)),
        settings("b.example", &inline(&b))
    ));
    taken_up().await;
    let who = world.whoami(&good).await.unwrap();
    assert_eq!(who, "workload a-example spiffe://a.example/ns/prod/sa/serve [serve]");
    let other = b.issue(&world, &["spiffe://b.example/ns/prod/sa/serve"]);
    assert!(world.whoami(&other).await.unwrap().contains("b-example"));

    let own = format!("spiffe://{}.modelvault/default/serve-1", world.vault.vault_id());
    let session = format!("spiffe://{}.modelvault/_session/{}", world.vault.vault_id(), "07".repeat(16));
    for (what, enrolment) in [
        ("an authority that nobody knows", evil.issue(&world, &["spiffe://a.example/ns/prod/sa/serve"])),
        ("the authority of another domain", b.issue(&world, &["spiffe://a.example/ns/prod/sa/serve"])),
        ("a domain that is not configured", a.issue(&world, &["spiffe://c.example/ns/prod/sa/serve"])),
        ("an enrolled workload of this vault", a.issue(&world, &[&own])),
        ("a session of this vault", a.issue(&world, &[&session])),
        ("another path", a.issue(&world, &["spiffe://a.example/ns/dev/sa/serve"])),
        ("two names", a.issue(&world, &["spiffe://a.example/ns/prod/x", "spiffe://a.example/ns/prod/y"])),
        ("no name", a.issue(&world, &[])),
        ("a path with dots", a.issue(&world, &["spiffe://a.example/ns/prod/../../x"])),
        ("a domain in capitals", a.issue(&world, &["spiffe://A.example/ns/prod/x"])),
        ("no SPIFFE id", a.issue(&world, &["https://a.example/ns/prod/x"])),
    ] {
        let why = refused(world.whoami(&enrolment).await);
        assert!(matches!(why, ErrorId::BadCredential | ErrorId::Unreachable), "{what}: {why}");
    }

    // Refused by name, and gone with its domain: also on a connection that exists.
    let client = world.client(&good).await.unwrap();
    client.whoami().await.unwrap();
    let subject = "spiffe://a.example/ns/prod/sa/serve";
    world.vault.refuse_subject(&world.operator(), "a-example", subject, false).unwrap();
    assert_eq!(refused(client.whoami().await), ErrorId::BadCredential);
    world.vault.refuse_subject(&world.operator(), "a-example", subject, true).unwrap();
    client.whoami().await.unwrap();
    world.issuers(&format!("version = 1\n{}", settings("b.example", &inline(&b))));
    assert_eq!(refused(client.whoami().await), ErrorId::BadCredential);
    taken_up().await;
    assert!(world.whoami(&good).await.is_err());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_in_a_file_is_read_again_when_it_changes() {
    let world = World::new().await;
    let (old, new) = (Domain::new(), Domain::new());
    let path = world.dir.path().join("bundle.pem");
    std::fs::write(&path, old.pem()).unwrap();
    world.issuers(&format!("version = 1\n{}", settings("a.example", &format!("{{ file = \"{}\" }}", path.display()))));
    taken_up().await;
    let id = ["spiffe://a.example/ns/prod/sa/serve"];
    let (by_old, by_new) = (old.issue(&world, &id), new.issue(&world, &id));
    assert!(world.whoami(&by_old).await.is_ok());
    assert!(world.whoami(&by_new).await.is_err());
    // Both during a rotation, then the new one alone.
    std::fs::write(&path, format!("{}{}", old.pem(), new.pem())).unwrap();
    taken_up().await;
    assert!(world.whoami(&by_old).await.is_ok());
    assert!(world.whoami(&by_new).await.is_ok());
    std::fs::write(&path, new.pem()).unwrap();
    taken_up().await;
    assert!(world.whoami(&by_old).await.is_err());
    assert!(world.whoami(&by_new).await.is_ok());
    // A file that is damaged leaves what it held in force.
    std::fs::write(&path, "-----BEGIN").unwrap();
    taken_up().await;
    assert!(world.whoami(&by_new).await.is_ok());
    assert!(world.whoami(&by_old).await.is_err());
    // One that is gone takes its authorities away, also from connections that exist.
    let client = world.client(&by_new).await.unwrap();
    client.whoami().await.unwrap();
    std::fs::remove_file(&path).unwrap();
    taken_up().await;
    assert_eq!(refused(client.whoami().await), ErrorId::BadCredential);
    assert!(world.whoami(&by_new).await.is_err());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_rotated_away_takes_its_connections_and_streams_along() {
    let world = World::new().await;
    super::seal(&world, "model", super::cut::SIZE);
    let (old, new) = (Domain::new(), Domain::new());
    let trust = |bundle: &str| world.issuers(&format!("version = 1\n{}", settings("a.example", bundle)));
    trust(&inline(&old));
    let policy = world.vault.policy(&world.operator()).unwrap().text;
    let more = "@id(\"serve-reads\") permit (principal in ModelVault::Group::\"serve\", \
                action in ModelVault::Action::\"read\", resource);";
    world.vault.set_policy(&world.operator(), &format!("{policy}\n{more}")).unwrap();
    taken_up().await;
    let id = ["spiffe://a.example/ns/prod/sa/serve"];
    let (by_old, by_new) = (old.issue(&world, &id), new.issue(&world, &id));
    let client = world.client(&by_old).await.unwrap();
    client.whoami().await.unwrap();
    // Both during the rotation: nothing is interrupted.
    trust(&format!("{{ inline = '''{}{}''' }}", old.pem(), new.pem()));
    taken_up().await;
    client.whoami().await.unwrap();
    let rotated = || trust(&inline(&new));
    super::cut::cut_within_a_second(&world, &by_old, rotated).await;
    assert_eq!(refused(client.whoami().await), ErrorId::BadCredential);
    assert!(world.whoami(&by_old).await.is_err());
    assert!(world.whoami(&by_new).await.is_ok());
    world.stop().await;
}
