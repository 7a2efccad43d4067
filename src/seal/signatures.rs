//! SIGNATURES: seal statements over the root, made and checked (docs/format.md 8). Anyone can check them without a key.

use super::error::SealError;
use crate::crypto::dsse::{Envelope, IN_TOTO, Signer};
use crate::crypto::sign::PublicKey;
use crate::json::{self, Value};
use crate::names::{Commitment, FileId, KeyId, PREDICATE_BASE, Root};

/// Most envelopes.
pub const MAX_ENVELOPES: usize = 64;
const MAX_DEPTH: usize = 16;
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Other statements by a trusted key may be nested deeper than ours; they are only looked at for their type.
const MAX_PAYLOAD_DEPTH: usize = 64;

/// The predicate type of a seal statement.
pub fn predicate_type() -> String {
    format!("{PREDICATE_BASE}sealed/v1")
}

/// The payload of a seal statement. It carries no plaintext digest: that would let anyone test for a known model.
pub(crate) fn seal_statement(file_id: &FileId, root: &Root, commitment: &Commitment) -> String {
    format!(
        concat!(
            r#"{{"_type":"{}","subject":[{{"name":"{}","digest":{{"mvlt-root-v1":"{}"}}}}],"#,
            r#""predicateType":"{}","predicate":{{"commitment":"{}"}}}}"#
        ),
        STATEMENT_TYPE,
        file_id,
        root,
        predicate_type(),
        commitment
    )
}

/// The root that the payload of a seal statement names, if it is one about this file and nothing else in it could be read
/// otherwise: for a signer who is asked to sign it.
#[cfg(feature = "client")]
pub(crate) fn root_of_statement(payload: &[u8], file_id: &FileId) -> Option<Root> {
    let statement = json::parse(payload, MAX_DEPTH).ok()?;
    let [subject] = statement.get("subject")?.as_array()? else { return None };
    let root = subject.get("digest")?.get("mvlt-root-v1")?.as_str()?.parse().ok()?;
    let commitment = statement.get("predicate")?.get("commitment")?.as_str()?.parse().ok()?;
    (seal_statement(file_id, &root, &commitment).as_bytes() == payload).then_some(root)
}

/// SIGNATURES with one envelope for each signer; empty without one.
pub(crate) fn sign(
    file_id: &FileId,
    root: &Root,
    commitment: &Commitment,
    signers: &[&dyn Signer],
) -> Result<Vec<u8>, SealError> {
    if signers.is_empty() {
        return Ok(Vec::new());
    }
    let statement = seal_statement(file_id, root, commitment);
    let mut out = String::from("[");
    for (i, signer) in signers.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { "," });
        Envelope::sign_by(IN_TOTO, statement.clone().into_bytes(), *signer)?.write_json(&mut out);
    }
    out.push(']');
    Ok(out.into_bytes())
}

/// The trusted keys that sealed this root; at least one.
///
/// # Errors
/// `SignatureInvalid` for malformed signatures, a forgery under a trusted key's id, or a trusted key's statement about another
/// file; `SignatureMissing` if nothing by a trusted key counts.
pub fn check(signatures: &[u8], trusted: &[PublicKey], file_id: &FileId, root: &Root) -> Result<Vec<KeyId>, SealError> {
    let mut signers = Vec::new();
    for envelope in parse(signatures)? {
        let verified = envelope.verified_by(trusted).map_err(|_| SealError::SignatureInvalid("a trusted key's"))?;
        if verified.is_empty() || envelope.payload_type != IN_TOTO {
            continue;
        }
        let invalid = SealError::SignatureInvalid;
        let statement =
            json::parse(&envelope.payload, MAX_PAYLOAD_DEPTH).map_err(|_| invalid("statement is not JSON"))?;
        if statement.get("predicateType").and_then(Value::as_str) != Some(&predicate_type()) {
            continue;
        }
        if !names_root(&statement, file_id, root) {
            return Err(invalid("statement about another file"));
        }
        signers.extend(verified.into_iter().filter(|id| !signers.contains(id)).collect::<Vec<_>>());
    }
    if signers.is_empty() { Err(SealError::SignatureMissing) } else { Ok(signers) }
}

/// The key ids that the envelopes name. Named, not verified: for display only.
pub fn claimed(signatures: &[u8]) -> Vec<String> {
    let envelopes = parse(signatures).unwrap_or_default();
    envelopes.into_iter().flat_map(|e| e.signatures).map(|s| s.keyid).collect()
}

fn parse(signatures: &[u8]) -> Result<Vec<Envelope>, SealError> {
    if signatures.is_empty() {
        return Ok(Vec::new());
    }
    let malformed = || SealError::SignatureInvalid("malformed");
    let value = json::parse(signatures, MAX_DEPTH).map_err(|_| malformed())?;
    let listed = value.as_array().filter(|l| l.len() <= MAX_ENVELOPES).ok_or_else(malformed)?;
    listed.iter().map(|e| Envelope::from_json(e).map_err(|_| malformed())).collect()
}

/// Exactly one subject: this file with this root.
fn names_root(statement: &Value, file_id: &FileId, root: &Root) -> bool {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some([subject]) = statement.get("subject").and_then(Value::as_array) else { return false };
    text(statement.get("_type")) == STATEMENT_TYPE
        && text(subject.get("name")) == file_id.to_string()
        && text(subject.get("digest").and_then(|d| d.get("mvlt-root-v1"))) == root.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::Key;
    use crate::crypto::sign::SigningIdentity;

    const FILE: FileId = FileId([1; 32]);
    const ROOT: Root = Root([2; 32]);

    fn signer(seed: u8) -> SigningIdentity {
        SigningIdentity::from_seed(Key::take(&mut [seed; 32]))
    }

    fn listed(envelopes: &[Envelope]) -> Vec<u8> {
        let mut out = String::from("[");
        for (i, e) in envelopes.iter().enumerate() {
            out.push_str(if i == 0 { "" } else { "," });
            e.write_json(&mut out);
        }
        (out + "]").into_bytes()
    }

    fn verdict(signatures: &[u8], trusted: &[&SigningIdentity]) -> Result<Vec<KeyId>, &'static str> {
        let keys: Vec<_> = trusted.iter().map(|s| *s.public()).collect();
        check(signatures, &keys, &FILE, &ROOT).map_err(|e| e.id().name())
    }

    #[test]
    fn one_trusted_signer_is_enough_and_none_is_missing() {
        let (a, b, c) = (signer(1), signer(2), signer(3));
        let both = sign(&FILE, &ROOT, &Commitment([3; 32]), &[&a, &b]).unwrap();
        assert_eq!(verdict(&both, &[&b]), Ok(vec![b.key_id()]));
        assert_eq!(verdict(&both, &[&a, &b]), Ok(vec![a.key_id(), b.key_id()]));
        assert_eq!(verdict(&both, &[&c]), Err("SignatureMissing"));
        assert_eq!(verdict(&both, &[]), Err("SignatureMissing"));
        assert_eq!(verdict(b"", &[&a]), Err("SignatureMissing"));
        assert_eq!(verdict(b"[]", &[&a]), Err("SignatureMissing"));
    }

    #[test]
    fn a_trusted_keys_statement_counts_only_for_its_own_file() {
        let a = signer(1);
        let statement = seal_statement(&FILE, &ROOT, &Commitment([3; 32]));
        let other = |from: &str, to: &str| listed(&[Envelope::sign(IN_TOTO, statement.replace(from, to).into(), &a)]);
        assert_eq!(verdict(&other("02", "03"), &[&a]), Err("SignatureInvalid"));
        assert_eq!(verdict(&other("\"01", "\"00"), &[&a]), Err("SignatureInvalid"));
        assert_eq!(verdict(&other("Statement/v1", "Statement/v2"), &[&a]), Err("SignatureInvalid"));
        assert_eq!(verdict(&other("sealed/v1", "scanned/v1"), &[&a]), Err("SignatureMissing"));
        assert_eq!(verdict(&other("\"subject\":[", "\"subject\":[{},"), &[&a]), Err("SignatureInvalid"));
        let scan_report = Envelope::sign("text/plain", statement.clone().into(), &a);
        assert_eq!(verdict(&listed(std::slice::from_ref(&scan_report)), &[&a]), Err("SignatureMissing"));
        let good = Envelope::sign(IN_TOTO, statement.into(), &a);
        assert!(verdict(&listed(&[scan_report, good.clone()]), &[&a]).is_ok());
        let mut forged = good.clone();
        forged.signatures[0].sig[5] ^= 1;
        assert_eq!(verdict(&listed(&[good.clone(), forged.clone()]), &[&a]), Err("SignatureInvalid"));
        assert_eq!(verdict(&listed(&[forged]), &[&signer(2)]), Err("SignatureMissing"));
        assert_eq!(verdict(&listed(&vec![good; 65]), &[&a]), Err("SignatureInvalid"));
        for malformed in [&b"{}"[..], b"[1]", b"[", b"[{\"payloadType\":\"\",\"payload\":\"\",\"signatures\":[]}]"] {
            assert_eq!(verdict(malformed, &[&a]), Err("SignatureInvalid"));
        }
    }
}
