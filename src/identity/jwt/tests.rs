use std::time::Duration;

use super::*;
use crate::crypto::hash::sha256;
use crate::crypto::jws::JwsAlgorithm::{self, EdDsa, Es256, Rs256};
use crate::names::Timestamp;

#[path = "../../../tests/support/tokens.rs"]
pub mod tokens;
use tokens::{Signer, base64url, hs256};

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.example";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn rules(algorithms: &[JwsAlgorithm]) -> Rules {
    Rules {
        issuer: Some(ISSUER.into()),
        audience: "model-vault".into(),
        algorithms: algorithms.to_vec(),
        leeway: Duration::from_secs(30),
    }
}

fn claims(change: &[(&str, &str)]) -> String {
    let (iat, exp) = ((NOW - 10).to_string(), (NOW + 300).to_string());
    let iss = format!("\"{ISSUER}\"");
    let mut all = vec![
        ("iss", iss.as_str()),
        ("sub", "\"repo:acme/model\""),
        ("aud", "\"model-vault\""),
        ("iat", &iat),
        ("exp", &exp),
        ("jti", "\"one\""),
    ];
    for (name, value) in change {
        all.retain(|(known, _)| known != name);
        if !value.is_empty() {
            all.push((name, value));
        }
    }
    let members: Vec<_> = all.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn check(token: &str, keys: &str, rules: &Rules, now: i64) -> Result<Verified, Refused> {
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    Token::parse(token)?.verify(&keys, rules, at(now))
}

#[test]
fn a_good_token_of_each_algorithm_is_accepted_once_each() {
    for signer in [Signer::es256(), Signer::rs256(), Signer::eddsa()] {
        let token = signer.token("k1", &claims(&[]));
        let verified = check(&token, &signer.jwks("k1"), &rules(&[Es256, Rs256, EdDsa]), NOW).unwrap();
        assert_eq!(verified.subject, "repo:acme/model");
        assert_eq!(verified.expires, at(NOW + 330));
        assert_eq!(verified.confirmation, None);
        assert_eq!(verified.claim(&["jti".into()]).unwrap().as_str(), Some("one"));
    }
}

#[test]
fn the_header_never_chooses_the_algorithm() {
    let (rsa, ec) = (Signer::rs256(), Signer::es256());
    let both = format!(r#"{{"keys":[{},{}]}}"#, rsa.jwk("rsa"), ec.jwk("ec"));
    // Not allowed for this issuer, although a key of it is published.
    let token = rsa.token("rsa", &claims(&[]));
    assert_eq!(check(&token, &both, &rules(&[Es256]), NOW).unwrap_err(), Refused::Algorithm);
    // The name of one algorithm with the key of another.
    let token = ec.sign(r#"{"alg":"RS256","kid":"ec"}"#, &claims(&[]));
    assert_eq!(check(&token, &both, &rules(&[Es256, Rs256]), NOW).unwrap_err(), Refused::UnknownKey);
    let token = ec.sign(r#"{"alg":"RS256","kid":"rsa"}"#, &claims(&[]));
    assert_eq!(check(&token, &both, &rules(&[Es256, Rs256]), NOW).unwrap_err(), Refused::Signature);
    // No signature at all, in every spelling.
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let signed =
            format!("{}.{}", base64url(format!(r#"{{"alg":"{none}"}}"#).as_bytes()), base64url(claims(&[]).as_bytes()));
        assert_eq!(
            check(&format!("{signed}."), &both, &rules(&[Es256, Rs256, EdDsa]), NOW).unwrap_err(),
            Refused::Algorithm
        );
    }
    for word in ["HS256", "RS512", "PS256", "ES384", "es256", "RS256 "] {
        let token = rsa.sign(&format!(r#"{{"alg":"{word}","kid":"rsa"}}"#), &claims(&[]));
        assert_eq!(
            check(&token, &both, &rules(&[Es256, Rs256, EdDsa]), NOW).unwrap_err(),
            Refused::Algorithm,
            "{word}"
        );
    }
}

#[test]
fn a_public_key_is_no_secret_for_a_mac() {
    let rsa = Signer::rs256();
    let jwks = rsa.jwks("k1");
    // Whatever form of the public key the attacker takes for the secret.
    for secret in [rsa.public(), jwks.clone().into_bytes(), rsa.jwk("k1").into_bytes()] {
        for alg in ["HS256", "RS256"] {
            let header = base64url(format!(r#"{{"alg":"{alg}","kid":"k1"}}"#).as_bytes());
            let signed = format!("{header}.{}", base64url(claims(&[]).as_bytes()));
            let mac = hs256(&secret, &signed);
            let refused = check(&format!("{signed}.{}", base64url(&mac)), &jwks, &rules(&[Rs256]), NOW).unwrap_err();
            assert_eq!(refused, if alg == "HS256" { Refused::Algorithm } else { Refused::Signature });
        }
    }
}

#[test]
fn a_token_brings_no_key_of_its_own() {
    let (signer, thief) = (Signer::es256(), Signer::es256());
    let (keys, rules) = (signer.jwks("k1"), rules(&[Es256]));
    for member in [
        format!(r#""jwk":{}"#, thief.jwk("k1")),
        r#""jku":"https://evil.example/keys""#.into(),
        r#""x5u":"https://evil.example/chain""#.into(),
        r#""x5c":["MIIB"]"#.into(),
        r#""crit":["exp"]"#.into(),
        r#""crit":[]"#.into(),
        r#""b64":false"#.into(),
        r#""zip":"DEF""#.into(),
        r#""cty":"JWT""#.into(),
    ] {
        for by in [&signer, &thief] {
            let token = by.sign(&format!(r#"{{"alg":"ES256","kid":"k1",{member}}}"#), &claims(&[]));
            assert!(matches!(check(&token, &keys, &rules, NOW), Err(Refused::Header(_))), "{member}");
        }
    }
    assert_eq!(check(&thief.token("k1", &claims(&[])), &keys, &rules, NOW).unwrap_err(), Refused::Signature);
}

#[test]
fn kid_is_compared_and_nothing_else() {
    let (one, two) = (Signer::es256(), Signer::es256());
    let (keys, rules) = (format!(r#"{{"keys":[{},{}]}}"#, one.jwk("one"), two.jwk("two")), rules(&[Es256]));
    assert!(check(&one.token("one", &claims(&[])), &keys, &rules, NOW).is_ok());
    assert_eq!(check(&one.token("two", &claims(&[])), &keys, &rules, NOW).unwrap_err(), Refused::Signature);
    for kid in ["../../dev/null", "one' OR '1'='1", "ONE", "one ", "one\\u0000", "|/bin/sh", "http://evil.example/k"] {
        assert_eq!(check(&one.token(kid, &claims(&[])), &keys, &rules, NOW).unwrap_err(), Refused::UnknownKey, "{kid}");
    }
    // Without one it would have to be tried with every key.
    let bare = one.sign(r#"{"alg":"ES256"}"#, &claims(&[]));
    assert_eq!(check(&bare, &keys, &rules, NOW).unwrap_err(), Refused::UnknownKey);
    assert!(check(&bare, &one.jwks("one"), &rules, NOW).is_ok(), "with one key there is no choice");
    for kid in ["\"\"", "7", "null", "[\"one\"]"] {
        let token = one.sign(&format!(r#"{{"alg":"ES256","kid":{kid}}}"#), &claims(&[]));
        assert_eq!(check(&token, &keys, &rules, NOW).unwrap_err(), Refused::Header("kid"), "{kid}");
    }
    let long = one.token(&"k".repeat(257), &claims(&[]));
    assert_eq!(check(&long, &keys, &rules, NOW).unwrap_err(), Refused::Header("kid"));
}

#[test]
fn issuer_and_audience_are_exact() {
    let signer = Signer::es256();
    let refused = |change: &[(&str, &str)]| {
        check(&signer.token("k", &claims(change)), &signer.jwks("k"), &rules(&[Es256]), NOW).unwrap_err()
    };
    for iss in ["https://issuer.example/", "https://Issuer.example", "https://issuer.example.evil", ""] {
        assert_eq!(refused(&[("iss", &format!("\"{iss}\""))]), Refused::Issuer, "{iss}");
    }
    assert_eq!(refused(&[("iss", "")]), Refused::Claim("iss"));
    assert_eq!(refused(&[("iss", "[\"https://issuer.example\"]")]), Refused::Claim("iss"));
    for aud in ["\"model-vault2\"", "\"Model-Vault\"", "[]", "[\"model-vault\",\"other\"]", "[\"other\"]", "[7]"] {
        assert_eq!(refused(&[("aud", aud)]), Refused::Audience, "{aud}");
    }
    assert_eq!(refused(&[("aud", "")]), Refused::Claim("aud"));
    let listed = signer.token("k", &claims(&[("aud", "[\"model-vault\"]")]));
    assert!(check(&listed, &signer.jwks("k"), &rules(&[Es256]), NOW).is_ok());
}

#[test]
fn time_is_held_to_with_a_bounded_leeway() {
    let signer = Signer::es256();
    let (keys, rules) = (signer.jwks("k"), rules(&[Es256]));
    let outcome =
        |change: &[(&str, &str)], now| check(&signer.token("k", &claims(change)), &keys, &rules, now).map(drop);
    assert_eq!(outcome(&[], NOW + 329), Ok(()));
    assert_eq!(outcome(&[], NOW + 330), Err(Refused::Expired));
    assert_eq!(outcome(&[], NOW - 40), Ok(()));
    assert_eq!(outcome(&[], NOW - 41), Err(Refused::Future));
    // Steps of an hour, forwards and backwards.
    assert_eq!(outcome(&[], NOW + 3600), Err(Refused::Expired));
    assert_eq!(outcome(&[], NOW - 3600), Err(Refused::Future));
    assert_eq!(outcome(&[("nbf", &(NOW + 31).to_string())], NOW), Err(Refused::Future));
    assert_eq!(outcome(&[("nbf", &(NOW + 30).to_string())], NOW), Ok(()));
    assert_eq!(outcome(&[("exp", &(NOW + 3591).to_string())], NOW), Err(Refused::TooLong));
    assert_eq!(outcome(&[("exp", &(NOW + 3590).to_string())], NOW), Ok(()));
    for (claim, value) in [
        ("exp", ""),
        ("iat", ""),
        ("exp", "-1"),
        ("exp", "1e12"),
        ("exp", "\"1800000300\""),
        ("exp", "1800000300.5"),
        ("exp", "99999999999999999999"),
        ("exp", "253402300800"),
        ("iat", "null"),
        ("nbf", "true"),
    ] {
        assert!(matches!(outcome(&[(claim, value)], NOW), Err(Refused::Claim(_))), "{claim} {value}");
    }
}

#[test]
fn malformed_tokens_are_refused_within_bounds() {
    let signer = Signer::es256();
    let good = signer.token("k", &claims(&[]));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let short_signature = &signature[..signature.len() - 2];
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        format!("{good}."),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        good.replace('.', "+"),
        format!("{head}.{short_signature}"),
        format!("{}.{signature}", &head[..head.len() - 1]),
        "A".repeat(16 * 1024 + 1),
        signer.sign("[]", &claims(&[])),
        signer.sign("{\"alg\":\"ES256\",\"alg\":\"none\"}", &claims(&[])),
        signer.sign("{\"alg\":\"ES256\"}", "7"),
        signer.sign("{\"alg\":\"ES256\"}", &format!("{}1{}", "[".repeat(9), "]".repeat(9))),
        signer.sign("{\"alg\":\"ES256\",\"typ\":\"dpop+jwt\"}", &claims(&[])),
        signer.sign("{\"alg\":\"ES256\",\"typ\":\"logout+jwt\"}", &claims(&[])),
        signer.sign("{\"typ\":\"JWT\"}", &claims(&[])),
    ] {
        assert!(check(&bad, &signer.jwks("k"), &rules(&[Es256]), NOW).is_err(), "{bad:?}");
    }
    for sub in ["\"\"", "7", "\"a\\u0000b\"", "\"a\\nb\"", &format!("\"{}\"", "s".repeat(257))] {
        let token = signer.token("k", &claims(&[("sub", sub)]));
        assert_eq!(check(&token, &signer.jwks("k"), &rules(&[Es256]), NOW).unwrap_err(), Refused::Claim("sub"));
    }
}

#[test]
fn a_token_has_one_identity_whatever_its_signature() {
    let signer = Signer::es256();
    let id = |token: &str| check(token, &signer.jwks("k"), &rules(&[Es256]), NOW).unwrap().id;
    // ECDSA signs the same text differently each time.
    let bare = claims(&[("jti", "")]);
    let (one, two) = (signer.token("k", &bare), signer.token("k", &bare));
    assert!(one != two && id(&one) == id(&two));
    // An id is one whatever else the issuer says with it.
    assert_eq!(id(&signer.token("k", &claims(&[]))), id(&signer.token("k", &claims(&[("extra", "1")]))));
    assert_ne!(id(&signer.token("k", &claims(&[]))), id(&signer.token("k", &claims(&[("jti", "\"two\"")]))));
    let odd = signer.token("k", &claims(&[("jti", "7")]));
    assert_eq!(check(&odd, &signer.jwks("k"), &rules(&[Es256]), NOW).unwrap_err(), Refused::Claim("jti"));
}

#[test]
fn a_binding_is_understood_or_the_token_is_refused() {
    let signer = Signer::es256();
    let outcome =
        |cnf: &str| check(&signer.token("k", &claims(&[("cnf", cnf)])), &signer.jwks("k"), &rules(&[Es256]), NOW);
    let digest = sha256(b"key");
    let text = base64url(&digest.0);
    assert_eq!(outcome(&format!(r#"{{"jkt":"{text}"}}"#)).unwrap().confirmation, Some(Confirmation::Key(digest)));
    let certificate = outcome(&format!(r#"{{"x5t#S256":"{text}"}}"#)).unwrap();
    assert_eq!(certificate.confirmation, Some(Confirmation::Certificate(digest)));
    let both = format!(r#"{{"jkt":"{text}","x5t#S256":"{text}"}}"#);
    for bad in ["{}", "7", r#"{"jkt":"AAAA"}"#, r#"{"kid":"k"}"#, r#"{"jwk":{}}"#, &both] {
        assert_eq!(outcome(bad).unwrap_err(), Refused::Claim("cnf"), "{bad}");
    }
}

#[test]
fn key_sets_are_read_strictly_and_keep_what_they_can() {
    let (one, rsa) = (Signer::es256(), Signer::rs256());
    let count =
        |keys: &[String]| KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).map(|k| k.len());
    let encryption = one.jwk("e").replace("\"sig\"", "\"enc\"");
    let p521 = r#"{"kty":"EC","crv":"P-521","x":"AA","y":"AA","kid":"z"}"#.to_owned();
    let damaged = r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"y"}"#.to_owned();
    assert_eq!(count(&[one.jwk("a"), rsa.jwk("b"), encryption.clone(), p521, damaged]).unwrap(), 2);
    let misnamed = one.jwk("m").replace("ES256", "RS256");
    for bad in [
        vec![],
        vec![encryption],
        vec![misnamed],
        vec![one.jwk("a"), one.jwk("a")],
        vec![one.jwk("a"), r#"{"kty":"oct","k":"c2VjcmV0","kid":"s"}"#.into()],
        vec![one.jwk("a").replace("\"kid\"", "\"d\":\"AA\",\"kid\"")],
        vec!["7".into()],
    ] {
        assert!(count(&bad).is_err(), "{bad:?}");
    }
    let many: Vec<_> = (0..65).map(|n| one.jwk(&n.to_string())).collect();
    assert!(count(&many).is_err());
    for bad in [&b""[..], b"{}", b"{\"keys\":{}}", b"[]", &vec![b' '; (1 << 20) + 1]] {
        assert!(KeySet::parse(bad).is_err());
    }
}
