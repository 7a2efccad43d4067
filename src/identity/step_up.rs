//! What shows, call by call, that a second factor was used: a token that the command line keeps, or the certificate of the
//! connection itself. The vault keeps digests only, so whoever reads its catalogue holds nothing.

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::hash::Sha256Hasher;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Random, Sha256, Timestamp};

const LEN: usize = 32;

/// 32 random bytes, wiped when dropped, never printed. Worth something only together with the caller's own credential.
#[derive(Clone)]
pub struct StepUpToken(Zeroizing<[u8; LEN]>);

impl StepUpToken {
    /// A fresh one.
    ///
    /// # Errors
    /// Those of the generator.
    pub fn generate(random: &dyn Random) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; LEN]);
        random.fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes, for the one who is to hold it.
    pub fn expose(&self) -> &[u8; LEN] {
        &self.0
    }

    /// From its bytes; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// In letters, for a file or a header.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(*self.0))
    }

    /// What the vault knows it by.
    pub fn holder(&self) -> Sha256 {
        digest(b"modelvault.step-up/v1/token", &*self.0)
    }
}

/// A second factor that was used.
#[derive(Clone, Debug)]
pub struct SteppedUp {
    /// Whose.
    pub person: String,
    /// `totp` or `recovery`.
    pub method: String,
    /// Until when it counts.
    pub expires: Timestamp,
    /// How many recovery codes are left.
    pub recovery_codes: usize,
    /// What shows it from now on; `None`: the certificate of the connection does.
    pub token: Option<StepUpToken>,
}

impl std::str::FromStr for StepUpToken {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; LEN]);
        hex::decode_to_slice(text.trim_end(), &mut *bytes)
            .map_err(|_| Error::new(ErrorId::InvalidArgument, "not a step-up token"))?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for StepUpToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepUpToken(REDACTED)")
    }
}

/// What the vault knows a session certificate by, for as long as that is used.
pub fn holder_of_certificate(serial: &[u8]) -> Sha256 {
    digest(b"modelvault.step-up/v1/certificate", serial)
}

fn digest(label: &[u8], bytes: &[u8]) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    // Labels have different lengths and contain no zero.
    [label, &[0], bytes].iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SystemRandom;

    #[test]
    fn a_token_reads_back_and_shows_nothing() {
        let token = StepUpToken::generate(&SystemRandom).unwrap();
        let read: StepUpToken = format!("{}\n", &**token.text()).parse().unwrap();
        assert_eq!(read.holder(), token.holder());
        assert_eq!(format!("{token:?}"), "StepUpToken(REDACTED)");
        assert_ne!(token.holder(), holder_of_certificate(token.expose()));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert!(bad.parse::<StepUpToken>().is_err());
        }
    }
}
