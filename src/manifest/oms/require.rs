//! What must have signed: against the stripping of signatures that a policy relies on.

use std::fmt;
use std::str::FromStr;

use super::Signer;
use crate::crypto::sign::Algorithm;
use crate::error::{Error, ErrorId, Result};

/// `TERM[,TERM...]`: all of them; `K-of-N:TERM,...`: so many of them. A term is an algorithm or a key id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    at_least: usize,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Algorithm(Algorithm),
    /// The first 16 hex digits of a key id, or all 64.
    Key(String),
}

impl Requirement {
    /// Whether these signatures are enough. Each counts for one term: one key is not two of three.
    pub fn is_met_by(&self, signers: &[Signer]) -> bool {
        let mut free: Vec<&Signer> = signers.iter().collect();
        // Keys first: a term by algorithm must not use up the signature that another term names.
        let (keys, algorithms): (Vec<_>, Vec<_>) = self.terms.iter().partition(|t| matches!(t, Term::Key(_)));
        let met = keys.into_iter().chain(algorithms).filter(|term| {
            let at = free.iter().position(|s| term.matches(s));
            at.map(|at| free.swap_remove(at)).is_some()
        });
        met.count() >= self.at_least
    }
}

impl Term {
    /// Whether both may mean the same signature by what they say: an algorithm and a key never do.
    fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(a), Self::Key(b)) => a.starts_with(b) || b.starts_with(a),
            _ => self == other,
        }
    }

    fn matches(&self, signer: &Signer) -> bool {
        match self {
            Self::Algorithm(algorithm) => signer.algorithm == *algorithm,
            Self::Key(prefix) => signer.keyid.to_string().starts_with(prefix),
        }
    }
}

impl FromStr for Requirement {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad = |what: String| {
            Error::new(ErrorId::InvalidArgument, what).hint("for example ed25519,ml-dsa-65 or 2-of-3:KEYID,KEYID,KEYID")
        };
        let (count, list) = match text.split_once(':') {
            Some((count, list)) => (Some(count), list),
            None => (None, text),
        };
        let term = |text: &str| match text {
            key if matches!(key.len(), 16 | 64) && key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) => {
                Ok(Term::Key(key.into()))
            }
            algorithm => algorithm.parse().map(Term::Algorithm),
        };
        let terms = list.split(',').map(term).collect::<Result<Vec<_>>>()?;
        if terms.iter().enumerate().any(|(i, t)| terms[..i].iter().any(|earlier| earlier.may_be(t))) {
            return Err(bad(format!("{text:?} names one thing twice")));
        }
        let at_least = match count {
            None => terms.len(),
            Some(count) => {
                let numbers = count.split_once("-of-").and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
                match numbers {
                    Some((k, n)) if n == terms.len() && (1..=n).contains(&k) => k,
                    _ => return Err(bad(format!("{count:?} does not fit the {} things after it", terms.len()))),
                }
            }
        };
        Ok(Self { at_least, terms })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<_> = self
            .terms
            .iter()
            .map(|t| match t {
                Term::Algorithm(algorithm) => algorithm.name(),
                Term::Key(prefix) => prefix,
            })
            .collect();
        if self.at_least < terms.len() {
            write!(f, "{}-of-{}:", self.at_least, terms.len())?;
        }
        f.write_str(&terms.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::KeyId;

    fn signer(n: u8, algorithm: Algorithm) -> Signer {
        Signer { keyid: KeyId([n; 32]), algorithm, by_certificate: false }
    }

    #[test]
    fn all_terms_or_so_many_of_them_must_be_met_each_by_a_signature_of_its_own() {
        let (a, b) = (signer(0xaa, Algorithm::Ed25519), signer(0xbb, Algorithm::MlDsa65));
        let met = |text: &str, signers: &[Signer]| text.parse::<Requirement>().unwrap().is_met_by(signers);
        assert!(met("ed25519,ml-dsa-65", &[a.clone(), b.clone()]));
        assert!(!met("ed25519,ml-dsa-65", std::slice::from_ref(&a)));
        assert!(!met("ecdsa-p256", &[a.clone(), b.clone()]));
        let three = "2-of-3:aaaaaaaaaaaaaaaa,bbbbbbbbbbbbbbbb,cccccccccccccccc";
        assert!(met(three, &[a.clone(), b.clone()]));
        assert!(!met(three, std::slice::from_ref(&a)));
        // The one Ed25519 signature is that of the named key: it cannot be counted again.
        assert!(!met("ed25519,aaaaaaaaaaaaaaaa", &[a.clone(), b]));
        assert!(met("ed25519,aaaaaaaaaaaaaaaa", &[signer(0xdd, Algorithm::Ed25519), a]));
    }

    #[test]
    fn a_requirement_that_could_be_met_by_less_than_it_says_is_refused() {
        for bad in [
            "",
            "rsa",
            "ed25519,ed25519",
            "0-of-2:ed25519,ml-dsa-65",
            "3-of-2:ed25519,ml-dsa-65",
            "aaaaaaaaaaaaaaaa,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "2-of-3:ed25519",
            "AAAAAAAAAAAAAAAA",
        ] {
            assert!(bad.parse::<Requirement>().is_err(), "{bad}");
        }
        assert_eq!(
            "2-of-3:ed25519,ml-dsa-65,ecdsa-p256".parse::<Requirement>().unwrap().to_string(),
            "2-of-3:ed25519,ml-dsa-65,ecdsa-p256"
        );
    }
}
