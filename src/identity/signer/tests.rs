//! What makes a signer's certificate believed, and each thing that does not. tests/signers.rs does the same with openssl.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose as Eku, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose as Ku, RevokedCertParams,
    SanType, SerialNumber, SignatureAlgorithm,
};

use super::*;
use crate::crypto::pem;
use crate::crypto::sign::Algorithm;
use crate::error::{Error, ErrorId};
use crate::identity::signers::{Revoked, Signer, Signers, Trust};

const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);
const EPOCH: Timestamp = Timestamp::from_millis(0);

/// Days from now.
fn days(offset: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + offset * 24 * 3600 * 1000)
}

/// The same as rcgen takes it.
macro_rules! day {
    ($offset:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + days($offset).since(EPOCH)
    };
}

/// A certificate and what is needed to issue others by it.
struct Made {
    der: Vec<u8>,
    params: CertificateParams,
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (day!(-10), day!(10));
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![Ku::KeyCertSign, Ku::CrlSign];
    params
}

fn leaf() -> CertificateParams {
    let mut params = params("signer");
    params.key_usages = vec![Ku::DigitalSignature];
    params.extended_key_usages = vec![Eku::CodeSigning];
    params.serial_number = Some(SerialNumber::from(7u64));
    params
}

fn root(params: CertificateParams) -> Made {
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    Made { der, params, key }
}

impl Made {
    fn issue_for(&self, params: CertificateParams, algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let der = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        Self { der, params, key }
    }

    fn issue(&self, params: CertificateParams) -> Self {
        self.issue_for(params, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    fn anchors(&self) -> Anchors {
        Anchors::from_der(&[&self.der]).unwrap()
    }

    /// A list of these serial numbers, made some days from now, good for five more.
    fn revoke(&self, serials: &[u64], made: i64) -> Vec<u8> {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: day!(-1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: day!(made),
            next_update: day!(made + 5),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&Issuer::from_params(&self.params, &self.key)).unwrap().der().to_vec()
    }
}

fn verify(chain: &[&Made], anchor: &Made) -> Result<CertifiedSigner, ChainError> {
    verify_with(chain, &anchor.anchors(), &[], Revocations::NONE)
}

fn verify_with(
    chain: &[&Made],
    anchors: &Anchors,
    names: &[SignerName],
    revocations: &Revocations,
) -> Result<CertifiedSigner, ChainError> {
    let chain: Vec<_> = chain.iter().map(|made| &made.der).collect();
    ChainPolicy { anchors, names, revocations }.verify(&chain, NOW)
}

#[test]
fn a_chain_gives_the_key_of_its_leaf_with_the_root_or_without_and_in_any_order() {
    let root = root(ca("root"));
    let upper = root.issue_for(ca("upper"), &rcgen::PKCS_ECDSA_P521_SHA512);
    let lower = upper.issue_for(ca("lower"), &rcgen::PKCS_ED25519);
    for (algorithm, key_algorithm) in [
        (&rcgen::PKCS_ED25519, Algorithm::Ed25519),
        (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::EcdsaP256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::EcdsaP384),
        (&rcgen::PKCS_ECDSA_P521_SHA512, Algorithm::EcdsaP521),
    ] {
        let leaf = lower.issue_for(leaf(), algorithm);
        let signer = verify(&[&leaf, &lower, &upper], &root).unwrap();
        assert_eq!(signer.key.algorithm(), key_algorithm);
        assert_eq!(signer.key.to_pem(), leaf.key.public_key_pem().replace("\r\n", "\n"));
        assert_eq!((signer.not_before, signer.not_after), (days(-10), days(10)));
        assert_eq!((signer.path.len(), signer.path[0]), (4, signer.key.key_id()));
        assert_eq!(verify(&[&leaf, &root, &upper, &lower], &root), Ok(signer));
    }
    let leaf = lower.issue(leaf());
    assert_eq!(verify(&[&leaf, &lower], &root), Err(ChainError::UnknownCa));
    assert_eq!(verify(&[&leaf], &lower).map(|signer| signer.path.len()), Ok(2));
}

#[test]
fn a_leaf_without_any_name_is_taken() {
    let root = root(ca("root"));
    let mut nameless = leaf();
    nameless.distinguished_name = DistinguishedName::new();
    let signer = verify(&[&root.issue(nameless)], &root).unwrap();
    assert_eq!(signer.names, []);
}

#[test]
fn every_certificate_must_be_valid_at_the_time_the_anchor_too() {
    let early = |mut params: CertificateParams| {
        params.not_after = day!(-1);
        params
    };
    let late = |mut params: CertificateParams| {
        params.not_before = day!(1);
        params
    };
    let expired = Err(ChainError::Expired(days(-1)));
    let not_yet = Err(ChainError::NotYetValid(days(1)));
    let good = root(ca("root"));
    let middle = good.issue(ca("middle"));
    assert_eq!(verify(&[&good.issue(early(leaf()))], &good), expired);
    assert_eq!(verify(&[&good.issue(late(leaf()))], &good), not_yet);
    for (change, outcome) in [(&early as &dyn Fn(_) -> _, &expired), (&late, &not_yet)] {
        let middle = good.issue(change(ca("middle")));
        assert_eq!(&verify(&[&middle.issue(leaf()), &middle], &good), outcome);
        let root = root(change(ca("root")));
        assert_eq!(&verify(&[&root.issue(leaf())], &root), outcome);
    }
    let leaf = middle.issue(leaf());
    let chain = [&leaf.der, &middle.der];
    let policy = ChainPolicy { anchors: &good.anchors(), names: &[], revocations: Revocations::NONE };
    assert!(policy.verify(&chain, days(10)).is_ok());
    let after = Timestamp::from_millis(days(10).as_millis() + 1000);
    assert_eq!(policy.verify(&chain, after), Err(ChainError::Expired(days(10))));
    assert!(matches!(policy.verify(&chain, Timestamp::from_millis(-1)), Err(ChainError::NotYetValid(_))));
}

#[test]
fn a_renewed_root_replaces_its_expired_self() {
    let new = root(ca("root"));
    let mut old = ca("root");
    old.not_after = day!(-1);
    let old = old.self_signed(&new.key).unwrap().der().to_vec();
    let anchors = Anchors::from_der(&[&old, &new.der]).unwrap();
    assert!(verify_with(&[&new.issue(leaf())], &anchors, &[], Revocations::NONE).is_ok());
}

#[test]
fn only_certificates_for_signing_code_sign() {
    let root = root(ca("root"));
    for (key_usages, extended, good) in [
        (vec![Ku::DigitalSignature], vec![Eku::CodeSigning], true),
        (vec![Ku::DigitalSignature, Ku::KeyEncipherment], vec![Eku::ServerAuth, Eku::CodeSigning], true),
        (vec![], vec![Eku::CodeSigning], true),
        (vec![Ku::DigitalSignature], vec![], true),
        (vec![], vec![], false),
        (vec![Ku::KeyAgreement], vec![], false),
        (vec![Ku::KeyAgreement], vec![Eku::CodeSigning], false),
        (vec![Ku::DigitalSignature], vec![Eku::ServerAuth], false),
        (vec![Ku::DigitalSignature], vec![Eku::ClientAuth, Eku::TimeStamping], false),
        (vec![Ku::DigitalSignature], vec![Eku::Any], false),
    ] {
        let mut params = leaf();
        (params.key_usages, params.extended_key_usages) = (key_usages.clone(), extended.clone());
        let outcome = verify(&[&root.issue(params)], &root);
        assert_eq!(outcome.as_ref().err(), (!good).then_some(&ChainError::Usage), "{key_usages:?} {extended:?}");
    }
    let mut servers = ca("middle");
    servers.extended_key_usages = vec![Eku::ServerAuth];
    let servers = root.issue(servers);
    assert_eq!(verify(&[&servers.issue(leaf()), &servers], &root), Err(ChainError::Usage));
}

#[test]
fn only_cas_issue_and_no_ca_signs() {
    let root = root(ca("root"));
    let no_ca = root.issue(leaf());
    assert_eq!(verify(&[&no_ca.issue(leaf()), &no_ca], &root), Err(ChainError::NotACa));
    let mut no_issuer = ca("middle");
    no_issuer.key_usages = vec![Ku::CrlSign];
    let no_issuer = root.issue(no_issuer);
    assert_eq!(verify(&[&no_issuer.issue(leaf()), &no_issuer], &root), Err(ChainError::NotACa));
    let mut ca_leaf = marked();
    ca_leaf.key_usages.push(Ku::KeyCertSign);
    assert_eq!(verify(&[&root.issue(ca_leaf)], &root), Err(ChainError::CaAsSigner));
    let mut any_use = marked();
    any_use.extended_key_usages.clear();
    assert_eq!(verify(&[&root.issue(any_use)], &root), Err(ChainError::CaAsSigner));
}

/// A signer marked as a CA, whose key may issue nothing.
fn marked() -> CertificateParams {
    let mut params = leaf();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

#[test]
fn a_signer_marked_as_a_ca_is_judged_by_the_same_rules() {
    let root = root(ca("root"));
    let middle = root.issue(ca("middle"));
    let signer = middle.issue(marked());
    let found = verify(&[&signer, &middle], &root).unwrap();
    assert_eq!(found.path.len(), 3);
    assert_eq!(verify(&[&signer], &root), Err(ChainError::UnknownCa));
    assert_eq!(verify(&[&signer, &middle], &self::root(ca("root"))), Err(ChainError::BadSignature));
    let mut altered = Made { der: signer.der.clone(), params: marked(), key: KeyPair::generate().unwrap() };
    let last = altered.der.len() - 1;
    altered.der[last] ^= 1;
    assert!(verify(&[&altered, &middle], &root).is_err());
    // Nothing that it signs is a certificate.
    assert_eq!(verify(&[&signer.issue(marked()), &signer, &middle], &root), Err(ChainError::NotACa));
    assert_eq!(verify(&[&signer.issue(leaf()), &signer, &middle], &root), Err(ChainError::NotACa));
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = ca("middle");
        change(&mut params);
        let middle = root.issue(params);
        verify(&[&middle.issue(marked()), &middle], &root).map(drop)
    };
    assert_eq!(with(&|_| {}), Ok(()));
    assert_eq!(with(&|p| p.key_usages = vec![Ku::CrlSign]), Err(ChainError::NotACa));
    assert_eq!(with(&|p| p.is_ca = IsCa::ExplicitNoCa), Err(ChainError::NotACa));
    assert_eq!(with(&|p| p.extended_key_usages = vec![Eku::ServerAuth]), Err(ChainError::Usage));
    assert!(matches!(with(&|p| p.not_after = day!(-1)), Err(ChainError::Expired(_))));
    let below = |p: &mut CertificateParams| {
        let permitted_subtrees = vec![rcgen::GeneralSubtree::DnsName("example.org".into())];
        p.name_constraints = Some(rcgen::NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    };
    assert!(matches!(with(&below), Err(ChainError::Unsupported(_))));
    let mut short = ca("short");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = root.issue(short);
    let middle = short.issue(ca("middle"));
    assert_eq!(verify(&[&middle.issue(marked()), &middle, &short], &root), Err(ChainError::PathTooLong));
    let mut expired = marked();
    expired.not_after = day!(-1);
    assert!(matches!(verify(&[&root.issue(expired)], &root), Err(ChainError::Expired(_))));
    let mut lists = Revocations::default();
    lists.add(&root.revoke(&[1], 0)).unwrap();
    let direct = root.issue(marked());
    assert_eq!(verify_with(&[&direct], &root.anchors(), &[], &lists), Err(ChainError::RevocationUnknown));
}

#[test]
fn a_self_signed_signer_is_trusted_as_it_is_and_vouches_for_nobody() {
    let (own, other) = (root(marked()), root(marked()));
    assert!(verify(&[&own], &own).is_ok());
    assert!(verify(&[&other], &own).is_err());
    assert!(verify(&[&own.issue(leaf())], &own).is_err());
    assert!(verify(&[&own.issue(marked())], &own).is_err());
    let mut expired = marked();
    expired.not_after = day!(-1);
    let expired = root(expired);
    assert!(matches!(verify(&[&expired], &expired), Err(ChainError::Expired(_))));
}

#[test]
fn no_ca_vouches_for_more_levels_than_it_may() {
    let short = |name: &str| {
        let mut params = ca(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params
    };
    let long = root(ca("root"));
    let upper = long.issue(short("upper"));
    assert!(verify(&[&upper.issue(leaf()), &upper], &long).is_ok());
    let lower = upper.issue(ca("lower"));
    assert_eq!(verify(&[&lower.issue(leaf()), &lower, &upper], &long), Err(ChainError::PathTooLong));
    let short = root(short("root"));
    assert!(verify(&[&short.issue(leaf())], &short).is_ok());
    let middle = short.issue(ca("middle"));
    assert_eq!(verify(&[&middle.issue(leaf()), &middle], &short), Err(ChainError::PathTooLong));
}

#[test]
fn an_unknown_ca_and_one_that_only_bears_the_name_are_told_apart() {
    let (good, other, namesake) = (root(ca("root")), root(ca("other")), root(ca("root")));
    let leaf = good.issue(leaf());
    assert_eq!(verify(&[&leaf], &other), Err(ChainError::UnknownCa));
    assert_eq!(verify(&[&leaf], &namesake), Err(ChainError::BadSignature));
    assert_eq!(verify(&[&leaf, &good], &other), Err(ChainError::UnknownCa));
    let both = Anchors::from_der(&[&namesake.der, &good.der]).unwrap();
    assert!(verify_with(&[&leaf], &both, &[], Revocations::NONE).is_ok());
}

#[test]
fn no_flipped_bit_of_a_leaf_is_believed() {
    let root = root(ca("root"));
    let leaf = root.issue(leaf()).der;
    let anchors = root.anchors();
    let policy = ChainPolicy { anchors: &anchors, names: &[], revocations: Revocations::NONE };
    for bit in 0..leaf.len() * 8 {
        let mut altered = leaf.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(policy.verify(&[altered], NOW).is_err(), "bit {bit}");
    }
}

#[test]
fn one_of_the_names_asked_for_must_be_there_as_a_whole() {
    let root = root(ca("root"));
    let mut named = leaf();
    named.subject_alt_names = vec![
        SanType::DnsName("Build.example.org".try_into().unwrap()),
        SanType::Rfc822Name("Ann@Example.org".try_into().unwrap()),
        SanType::URI("spiffe://example.org/ci".try_into().unwrap()),
    ];
    let one = root.issue(named.clone());
    named.subject_alt_names.push(SanType::URI("https://example.org/".try_into().unwrap()));
    let two_uris = root.issue(named);
    let check = |leaf: &Made, wanted: &[&str]| {
        let names: Vec<SignerName> = wanted.iter().map(|name| name.parse().unwrap()).collect();
        verify_with(&[leaf], &root.anchors(), &names, Revocations::NONE)
    };
    for good in ["dns:build.EXAMPLE.org", "email:Ann@example.org", "uri:spiffe://example.org/ci"] {
        assert!(check(&one, &[good]).is_ok(), "{good}");
    }
    assert!(check(&one, &["dns:other", "spiffe://example.org/ci"]).is_ok());
    for bad in
        ["dns:example.org", "dns:*.example.org", "email:ann@example.org", "spiffe://example.org/c", "uri:https://x"]
    {
        let Err(error @ ChainError::NameNotMatched { .. }) = check(&one, &[bad]) else { panic!("{bad}") };
        assert!(error.to_string().contains("dns:build.example.org, email:Ann@example.org"), "{error}");
    }
    assert!(check(&two_uris, &["uri:https://example.org/"]).is_ok());
    assert!(matches!(check(&two_uris, &["spiffe://example.org/ci"]), Err(ChainError::NameNotMatched { .. })));
    for bad in ["", "dns:", "example.org", "email:a", "uri:x", "dns:a b", "ip:1.2.3.4"] {
        assert_eq!(bad.parse::<SignerName>().unwrap_err().id(), ErrorId::InvalidArgument, "{bad}");
    }
}

#[test]
fn what_is_on_a_revocation_list_is_refused_at_every_level() {
    let root = root(ca("root"));
    let mut middle = ca("middle");
    middle.serial_number = Some(SerialNumber::from(3u64));
    let middle = root.issue(middle);
    let leaf = middle.issue(leaf());
    let check = |lists: &[Vec<u8>]| {
        let mut revocations = Revocations::default();
        lists.iter().for_each(|list| revocations.add(list).unwrap());
        verify_with(&[&leaf, &middle], &root.anchors(), &[], &revocations).map(drop)
    };
    let clean = middle.revoke(&[1, 2], -1);
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(std::slice::from_ref(&clean)), Ok(()));
    assert_eq!(check(&[clean.clone(), root.revoke(&[], -1)]), Ok(()));
    assert_eq!(check(&[middle.revoke(&[7], -1)]), Err(ChainError::Revoked));
    assert_eq!(check(&[clean.clone(), root.revoke(&[3], -1)]), Err(ChainError::Revoked));
    // A list of another CA says nothing of this leaf.
    assert_eq!(check(&[root.revoke(&[], -1)]), Err(ChainError::RevocationUnknown));
    // The newer of two counts, in whichever order they are given.
    for lists in [[clean.clone(), middle.revoke(&[7], 0)], [middle.revoke(&[7], 0), clean.clone()]] {
        assert_eq!(check(&lists), Err(ChainError::Revoked));
    }
    assert_eq!(check(&[middle.revoke(&[], -6)]), Err(ChainError::RevocationListExpired(days(-1))));
    assert_eq!(check(&[clean, root.revoke(&[], -6)]), Err(ChainError::RevocationListExpired(days(-1))));
    let namesake = Made { der: vec![], params: middle.params.clone(), key: KeyPair::generate().unwrap() };
    assert_eq!(check(&[namesake.revoke(&[], -1)]), Err(ChainError::RevocationUnknown));
}

#[test]
fn files_of_cas_and_lists_are_read_strictly() {
    let (good, other) = (root(ca("root")), root(ca("other")));
    let file = |mades: &[&Made]| -> String {
        mades.iter().map(|made| pem::encode("CERTIFICATE", &made.der).to_string()).collect()
    };
    let two = file(&[&good, &other]);
    assert_eq!(Anchors::from_pem(format!("# CAs\n{two}").as_bytes()).unwrap().certificates().count(), 2);
    let key = good.key.serialize_pem();
    let leaf = file(&[&good.issue(leaf())]);
    for bad in ["", "text", &two[..two.len() - 40], &format!("{two}{key}"), &leaf] {
        assert_eq!(Anchors::from_pem(bad.as_bytes()).unwrap_err().id(), ErrorId::ConfigInvalid, "{bad}");
    }
    let list = good.revoke(&[1], 0);
    let text = pem::encode("X509 CRL", &list);
    let mut lists = Revocations::default();
    lists.add(&list).unwrap();
    lists.add(format!("{}{}", *text, *text).as_bytes()).unwrap();
    assert_eq!(lists.lists().len(), 3);
    for bad in [&b""[..], b"text", &list[..list.len() - 1], &[&list[..], &[0]].concat(), two.as_bytes()] {
        assert_eq!(lists.add(bad).unwrap_err().id(), ErrorId::ConfigInvalid);
    }
}

#[test]
fn chains_are_bounded_and_each_refusal_has_an_id_and_a_word() {
    let root = root(ca("root"));
    let leaf = root.issue(leaf());
    let anchors = root.anchors();
    let policy = ChainPolicy { anchors: &anchors, names: &[], revocations: Revocations::NONE };
    let refused = |chain: &[Vec<u8>]| {
        let error = Error::from(policy.verify(chain, NOW).unwrap_err());
        (error.id(), error.details()[0].1.clone())
    };
    let mut long = vec![leaf.der.clone()];
    long.resize(MAX_CERTIFICATES, root.der.clone());
    assert!(policy.verify(&long, NOW).is_ok());
    long.push(root.der.clone());
    assert_eq!(refused(&long), (ErrorId::LimitExceeded, "limit".into()));
    assert_eq!(refused(&[vec![0x30; MAX_CERTIFICATE_BYTES + 1]]), (ErrorId::LimitExceeded, "limit".into()));
    let malformed = (ErrorId::SignatureMissing, "malformed".into());
    for bad in [vec![], vec![vec![]], vec![[&leaf.der[..], &[0]].concat()], vec![leaf.der.clone(), vec![0x30, 0]]] {
        assert_eq!(refused(&bad), malformed);
    }
    let rsa = root.issue_for(self::leaf(), &rcgen::PKCS_RSA_SHA256);
    assert_eq!(refused(&[rsa.der]), (ErrorId::SignatureMissing, "unsupported".into()));
}

#[test]
fn the_trust_store_finds_the_signer_of_a_chain_and_no_revoked_key_on_its_path() {
    let (root, other) = (root(ca("root")), root(ca("other")));
    let mut named = leaf();
    named.subject_alt_names = vec![SanType::URI("spiffe://example.org/ci".try_into().unwrap())];
    let chain = [root.issue(named).der];
    let signer = |name: &str, ca: &Made, wanted: &str| Signer {
        name: name.parse().unwrap(),
        trust: Trust::Ca { anchors: ca.anchors(), names: vec![wanted.parse().unwrap()] },
        trusted_until: None,
        namespaces: Vec::new(),
    };
    let reason = |store: &Signers| {
        let error = store.of_chain(&chain, Revocations::NONE, NOW).unwrap_err();
        assert_eq!(error.id(), ErrorId::SignatureMissing);
        error.details()[0].1.clone()
    };
    let mut store = Signers::default();
    assert_eq!(reason(&store), "unknown_ca");
    store.trust(signer("far", &other, "spiffe://example.org/ci")).unwrap();
    assert_eq!(reason(&store), "unknown_ca");
    store.trust(signer("release", &root, "spiffe://example.org/release")).unwrap();
    assert_eq!(reason(&store), "name_not_matched");
    store.trust(signer("ci", &root, "spiffe://example.org/ci")).unwrap();
    let (found, certified) = store.of_chain(&chain, Revocations::NONE, NOW).unwrap();
    assert_eq!(found.name.as_str(), "ci");
    assert_eq!(Signers::parse(store.to_json().as_bytes()).unwrap(), store);
    for key in &certified.path {
        let mut store = store.clone();
        store.revoke(Revoked { key: *key, since: NOW, reason: String::new() }).unwrap();
        assert_eq!(reason(&store), "revoked");
    }
    store.retire(&"ci".parse().unwrap(), NOW).unwrap();
    assert_eq!(reason(&store), "retired");
}
