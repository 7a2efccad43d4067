//! The policy statement: which text was put in force as which version, after which, when and by whom; signed, so that a policy
//! can be shown and checked where there is no vault (docs/policy.md, "Signed versions").

use super::artifact::{STATEMENT_TYPE, lower_hex};
use crate::crypto::dsse::{Envelope, IN_TOTO};
use crate::crypto::hash::sha256;
use crate::crypto::sign::{PublicKey, SigningIdentity};
use crate::error::{Error, ErrorId, Result};
use crate::json::{self, Value, quote};
use crate::names::{PREDICATE_BASE, Sha256, Timestamp, VaultId};

/// Most bytes of an envelope: some ten times what ours need.
const MAX_ENVELOPE_LEN: usize = 16 << 10;
/// Most bytes of a bundle: a policy text in which every byte is escaped, and its envelope.
pub const MAX_BUNDLE_LEN: u64 = 2 << 20;
/// The name of what the statement is about.
const SUBJECT: &str = "policy";

/// A version of a vault's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatement {
    /// Whose policy.
    pub vault: VaultId,
    /// Its number, from 1.
    pub version: u64,
    /// SHA-256 of the text.
    pub sha256: Sha256,
    /// SHA-256 of the text that was in force before; for version 1 that of the built-in policy.
    pub previous: Sha256,
    /// Since when it is in force.
    pub created: Timestamp,
    /// Who put it in force: `operator unix:uid:1000`.
    pub author: String,
}

/// A policy text with the envelope of its statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyBundle {
    /// The text.
    pub text: String,
    /// DSSE, as JSON.
    pub envelope: String,
}

impl PolicyStatement {
    fn predicate_type() -> String {
        format!("{PREDICATE_BASE}policy/v1")
    }

    /// Signs it. Returns the envelope as JSON.
    pub fn sign(&self, identity: &SigningIdentity) -> String {
        let mut envelope = String::new();
        Envelope::sign(IN_TOTO, self.to_payload().into_bytes(), identity).write_json(&mut envelope);
        envelope
    }

    /// Reads an envelope and accepts it only if one of `trusted` signed it, before its payload is looked at.
    ///
    /// # Errors
    /// `SignatureMissing`; `SignatureInvalid`, also for what is no statement of this form.
    pub fn verify(envelope: &str, trusted: &[PublicKey]) -> Result<Self> {
        if envelope.len() > MAX_ENVELOPE_LEN {
            return Err(invalid("the envelope is too long"));
        }
        let value = json::parse(envelope.as_bytes(), 8).map_err(|e| invalid(&e.to_string()))?;
        let envelope = Envelope::from_json(&value).map_err(|e| invalid(&e.to_string()))?;
        let signers = envelope.verified_by(trusted).map_err(|_| invalid("its signature does not verify"))?;
        if signers.is_empty() {
            let text = "the policy is not signed by a key you trust";
            return Err(Error::new(ErrorId::SignatureMissing, text)
                .hint("the vault signs with its own key: vault key show --namespace default prints it"));
        }
        if envelope.payload_type != IN_TOTO {
            return Err(invalid("its payload is of another type"));
        }
        Self::from_payload(&envelope.payload).ok_or_else(|| invalid("it is not a policy statement"))
    }

    fn to_payload(&self) -> String {
        let mut author = String::new();
        quote(&self.author, &mut author);
        format!(
            concat!(
                r#"{{"_type":"{}","subject":[{{"name":"{}","digest":{{"sha256":"{}"}}}}],"predicateType":"{}","#,
                r#""predicate":{{"vault":"{}","version":{},"previous":"{}","created":"{}","author":{}}}}}"#
            ),
            STATEMENT_TYPE,
            SUBJECT,
            self.sha256,
            Self::predicate_type(),
            self.vault,
            self.version,
            self.previous,
            self.created,
            author
        )
    }

    /// `None` for whatever is not exactly a statement of this form; nothing is left out, nothing is added.
    fn from_payload(payload: &[u8]) -> Option<Self> {
        let value = json::parse(payload, 8).ok()?;
        value.exactly(&["_type", "subject", "predicateType", "predicate"])?;
        let is = |key, text: &str| (value.get(key)?.as_str()? == text).then_some(());
        is("_type", STATEMENT_TYPE)?;
        is("predicateType", &Self::predicate_type())?;
        let [subject] = value.get("subject")?.as_array()? else { return None };
        subject.exactly(&["name", "digest"])?;
        let digest = subject.get("digest")?;
        digest.exactly(&["sha256"])?;
        if subject.get("name")?.as_str()? != SUBJECT {
            return None;
        }
        let predicate = value.get("predicate")?;
        predicate.exactly(&["vault", "version", "previous", "created", "author"])?;
        let hex = |value: Option<&Value>| value.and_then(lower_hex).map(ToOwned::to_owned);
        Some(Self {
            vault: hex(predicate.get("vault"))?.parse().ok()?,
            version: predicate.get("version")?.as_u64().filter(|n| *n > 0)?,
            sha256: hex(digest.get("sha256"))?.parse().ok()?,
            previous: hex(predicate.get("previous"))?.parse().ok()?,
            created: predicate.get("created")?.as_str()?.parse().ok()?,
            author: predicate.get("author")?.as_str()?.to_owned(),
        })
    }
}

impl PolicyBundle {
    /// Whether a file is meant as a bundle: no Cedar policy begins with a brace.
    pub fn is_one(text: &str) -> bool {
        text.trim_start().starts_with('{')
    }

    /// To JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{\"text\":");
        quote(&self.text, &mut out);
        out.push_str(",\"envelope\":");
        out.push_str(&self.envelope);
        out.push_str("}\n");
        out
    }

    /// What a bundle says, if one of `trusted` signed it and it is about its own text.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no bundle; `BindingMismatch` for another text; those of [`PolicyStatement::verify`].
    pub fn verify(bundle: &str, trusted: &[PublicKey]) -> Result<(PolicyStatement, String)> {
        let malformed = || Error::new(ErrorId::InvalidArgument, "not a policy bundle");
        let value = json::parse(bundle.as_bytes(), 8).map_err(|_| malformed())?;
        value.exactly(&["text", "envelope"]).ok_or_else(malformed)?;
        let text = value.get("text").and_then(Value::as_str).ok_or_else(malformed)?;
        // The very bytes do not matter: what is signed is within, in base64.
        let envelope =
            Envelope::from_json(value.get("envelope").ok_or_else(malformed)?).map_err(|e| invalid(&e.to_string()))?;
        let mut written = String::new();
        envelope.write_json(&mut written);
        let statement = PolicyStatement::verify(&written, trusted)?;
        statement.is_about(text)?;
        Ok((statement, text.to_owned()))
    }
}

impl PolicyStatement {
    /// # Errors
    /// `BindingMismatch` if another text was signed.
    pub fn is_about(&self, text: &str) -> Result<()> {
        if sha256(text.as_bytes()) == self.sha256 {
            return Ok(());
        }
        let other = format!("what was signed as policy version {} is another text", self.version);
        Err(Error::new(ErrorId::BindingMismatch, other).hint("do not use it; ask for the bundle again"))
    }
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorId::SignatureInvalid, format!("the signed policy version does not hold: {why}"))
        .hint("do not use it; ask whoever administers the vault for its policy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::Key;

    fn identity(seed: u8) -> SigningIdentity {
        SigningIdentity::from_seed(Key::take(&mut [seed; 32]))
    }

    fn statement(text: &str) -> PolicyStatement {
        PolicyStatement {
            vault: VaultId([1; 16]),
            version: 3,
            sha256: sha256(text.as_bytes()),
            previous: Sha256([2; 32]),
            created: Timestamp::from_millis(1_795_305_600_123),
            author: "operator corp:al\"ice".into(),
        }
    }

    fn bundle(text: &str) -> String {
        PolicyBundle { text: text.into(), envelope: statement(text).sign(&identity(7)) }.to_json()
    }

    #[test]
    fn a_bundle_says_what_was_signed_and_only_to_those_who_trust_its_signer() {
        let text = "permit (principal, action, resource); // \"\u{e9}\"\n";
        let (told, of) = PolicyBundle::verify(&bundle(text), &[*identity(7).public()]).unwrap();
        assert_eq!((told, &*of), (statement(text), text));
        let refused = |bundle: &str, seed| PolicyBundle::verify(bundle, &[*identity(seed).public()]).unwrap_err().id();
        assert_eq!(refused(&bundle(text), 8), ErrorId::SignatureMissing);
        assert_eq!(PolicyBundle::verify(&bundle(text), &[]).unwrap_err().id(), ErrorId::SignatureMissing);
        assert_eq!(refused(&bundle(text).replace("permit", "forbid"), 7), ErrorId::BindingMismatch);
        for bad in ["", "{}", "{\"text\":\"\"}", text] {
            assert_eq!(refused(bad, 7), ErrorId::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn nothing_of_the_statement_can_be_changed_left_out_or_added() {
        let signed = |payload: String| {
            let mut envelope = String::new();
            Envelope::sign(IN_TOTO, payload.into_bytes(), &identity(7)).write_json(&mut envelope);
            PolicyStatement::verify(&envelope, &[*identity(7).public()])
        };
        let payload = statement("t").to_payload();
        assert_eq!(signed(payload.clone()).unwrap(), statement("t"));
        for (from, to) in [
            ("policy/v1", "tag/v1"),
            ("Statement/v1", "Statement/v2"),
            ("\"version\":3", "\"version\":0"),
            ("\"version\":3,", ""),
            ("\"version\":3", "\"version\":3,\"more\":1"),
            ("\"name\":\"policy\"", "\"name\":\"other\""),
            ("\"previous\":\"02", "\"previous\":\"zz"),
        ] {
            let changed = payload.replace(from, to);
            assert_ne!(changed, payload, "{from}");
            assert_eq!(signed(changed).unwrap_err().id(), ErrorId::SignatureInvalid, "{from}");
        }
        // A forgery under a trusted key's name is not a stranger's signature.
        let text = "permit (principal, action, resource);";
        let envelope = statement(text).sign(&identity(7));
        let at = envelope.find("\"payload\":\"").unwrap() + 40;
        let mut bytes = envelope.into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = PolicyStatement::verify(std::str::from_utf8(&bytes).unwrap(), &[*identity(7).public()]);
        assert_eq!(forged.unwrap_err().id(), ErrorId::SignatureInvalid);
    }
}
