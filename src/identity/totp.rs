//! Time-based one-time codes (RFC 6238 over RFC 4226): SHA-1, 6 digits, 30 seconds, what every authenticator app reads. And
//! recovery codes, for the day the telephone is lost.
//!
//! Pure: time and randomness are arguments. What was used is not remembered here: a code is matched to its step, and the
//! catalogue refuses a step that is not after the last one used.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::crypto;
use crate::error::{Error, ErrorId, Result};
use crate::names::{Random, Timestamp};

/// Seconds that a code is shown.
pub const PERIOD: i64 = 30;
/// Steps before and after the present one whose codes count: clocks differ, and people type slowly.
pub const SKEW: i64 = 1;
/// Recovery codes of one enrolment.
pub const RECOVERY_CODES: usize = 10;

const SECRET_LEN: usize = 20;
/// 80 bits: beyond guessing, whatever the rate.
const RECOVERY_LEN: usize = 10;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What an authenticator app and the vault share. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET_LEN]>);

impl Secret {
    /// A fresh one.
    ///
    /// # Errors
    /// Those of the generator.
    pub fn generate(random: &dyn Random) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        random.fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// As it was stored; `None` for another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The bytes, to be sealed.
    pub fn expose(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }

    /// What the app is given, in letters for those who type it.
    pub fn base32(&self) -> Zeroizing<String> {
        base32(&*self.0)
    }

    /// `otpauth://` for the app to scan. `vault` and `person` are what it shows.
    pub fn uri(&self, vault: &str, person: &str) -> Zeroizing<String> {
        let (vault, person, secret) = (escaped(vault), escaped(person), self.base32());
        let settings = "algorithm=SHA1&digits=6&period=30";
        Zeroizing::new(format!("otpauth://totp/{vault}:{person}?secret={}&issuer={vault}&{settings}", &**secret))
    }

    /// The code of a step.
    pub fn code(&self, step: i64) -> Code {
        let mac = crypto::hash::hmac_sha1(&*self.0, &step.to_be_bytes());
        let at = usize::from(mac[19] & 15);
        let word = u32::from_be_bytes([mac[at], mac[at + 1], mac[at + 2], mac[at + 3]]);
        Code((word & 0x7fff_ffff) % 1_000_000)
    }

    /// The step around `now` whose code this is, the newest if there are two. All are compared, in constant time.
    pub fn step_of(&self, code: Code, now: Timestamp) -> Option<i64> {
        let present = step_at(now);
        let mut found = None;
        for step in present - SKEW..=present + SKEW {
            if crypto::equal(&self.code(step).0.to_be_bytes(), &code.0.to_be_bytes()) {
                found = Some(step);
            }
        }
        found
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(REDACTED)")
    }
}

/// The step that a time lies in.
pub fn step_at(now: Timestamp) -> i64 {
    now.as_secs().div_euclid(PERIOD)
}

/// Six digits. Never printed: it is a password, for half a minute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(REDACTED)")
    }
}

/// What somebody gives to prove a second factor.
#[derive(Clone, Debug)]
pub enum Proof {
    /// Of the app.
    Code(Code),
    /// Of the list.
    Recovery(RecoveryCode),
}

impl std::str::FromStr for Proof {
    type Err = Error;

    /// Six digits, or sixteen letters and digits of a recovery code; spaces and hyphens do not count.
    fn from_str(text: &str) -> Result<Self> {
        // Bounded before anything is done with it; what was typed is not repeated in the message.
        let malformed = || {
            Error::new(ErrorId::InvalidArgument, "neither a code nor a recovery code")
                .hint("a code has six digits, a recovery code sixteen letters and digits")
        };
        if text.len() > 64 {
            return Err(malformed());
        }
        let kept: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace() && *c != '-').collect());
        if kept.len() == 6 && kept.bytes().all(|b| b.is_ascii_digit()) {
            return kept.parse().map(|n| Self::Code(Code(n))).map_err(|_| malformed());
        }
        RecoveryCode::parse(&kept).map(Self::Recovery).ok_or_else(malformed)
    }
}

/// Opens the vault's second door once, without the app. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(Zeroizing<[u8; RECOVERY_LEN]>);

impl RecoveryCode {
    /// A fresh one.
    ///
    /// # Errors
    /// Those of the generator.
    pub fn generate(random: &dyn Random) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; RECOVERY_LEN]);
        random.fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes, to be digested.
    pub fn expose(&self) -> &[u8; RECOVERY_LEN] {
        &self.0
    }

    /// `abcd-efgh-ijkl-mnop`, as it is shown once.
    pub fn text(&self) -> Zeroizing<String> {
        let mut letters = base32(&*self.0);
        letters.make_ascii_lowercase();
        let mut text = Zeroizing::new(String::with_capacity(19));
        for (i, c) in letters.chars().enumerate() {
            if i > 0 && i % 4 == 0 {
                text.push('-');
            }
            text.push(c);
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() != 16 {
            return None;
        }
        let mut bytes = Zeroizing::new([0; RECOVERY_LEN]);
        for (i, c) in text.bytes().enumerate() {
            let value = ALPHABET.iter().position(|a| *a == c.to_ascii_uppercase())?;
            for bit in (0..5).filter(|bit| value >> (4 - bit) & 1 == 1) {
                let at = 5 * i + bit;
                bytes[at / 8] |= 0x80 >> (at % 8);
            }
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(REDACTED)")
    }
}

/// RFC 4648 without padding.
fn base32(bytes: &[u8]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(5) * 8));
    for chunk in bytes.chunks(5) {
        let mut wide = [0u8; 8];
        wide[3..3 + chunk.len()].copy_from_slice(chunk);
        let word = u64::from_be_bytes(wide);
        for i in 0..(8 * chunk.len()).div_ceil(5) {
            out.push(char::from(ALPHABET[(word >> (35 - 5 * i) & 31) as usize]));
        }
        wide.zeroize();
    }
    out
}

/// Percent-encoding of all that is not plain: for labels in a URI.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => write!(out, "%{byte:02X}").expect("writing to a string"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::random::SystemRandom;

    fn proof(text: &str) -> Result<Proof> {
        text.parse()
    }

    fn code(text: &str) -> Code {
        match proof(text).unwrap() {
            Proof::Code(code) => code,
            Proof::Recovery(_) => panic!("{text} is a recovery code"),
        }
    }

    /// RFC 6238, appendix B, SHA-1: eight digits there, of which an app shows the last six.
    #[test]
    fn the_codes_are_those_of_the_standard() {
        let secret = Secret::from_bytes(b"12345678901234567890").unwrap();
        for (seconds, digits) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let at = Timestamp::from_millis(1000 * seconds);
            assert_eq!(secret.code(step_at(at)), code(&digits[2..]), "{seconds}");
            assert_eq!(secret.step_of(code(&digits[2..]), at), Some(seconds / 30));
        }
        // RFC 4226, appendix D.
        for (counter, digits) in [(0, "755224"), (1, "287082"), (5, "254676"), (9, "520489")] {
            assert_eq!(secret.code(counter), code(digits));
        }
    }

    #[test]
    fn a_code_counts_for_one_step_before_and_after_its_own() {
        let secret = Secret::generate(&SystemRandom).unwrap();
        let at = |step: i64| Timestamp::from_millis(1000 * PERIOD * step);
        let of = secret.code(60_000_000);
        for (now, counts) in [(-2, false), (-1, true), (0, true), (1, true), (2, false), (120, false), (-120, false)] {
            let found = secret.step_of(of, at(60_000_000 + now));
            assert_eq!(found, counts.then_some(60_000_000), "{now}");
        }
        // Before 1970 as well: a clock may say anything.
        assert_eq!(secret.step_of(secret.code(-5), at(-5)), Some(-5));
    }

    #[test]
    fn an_app_is_given_what_it_expects() {
        let secret = Secret::from_bytes(b"12345678901234567890").unwrap();
        assert_eq!(&**secret.base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            &**secret.uri("Model Vault", "uid:1000"),
            "otpauth://totp/Model%20Vault:uid%3A1000?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Model%20Vault&\
             algorithm=SHA1&digits=6&period=30"
        );
        for (bytes, text) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(&**base32(bytes.as_bytes()), text, "RFC 4648, section 10");
        }
    }

    #[test]
    fn recovery_codes_are_read_as_they_are_shown_and_in_any_case() {
        for _ in 0..100 {
            let one = RecoveryCode::generate(&SystemRandom).unwrap();
            let shown = one.text();
            assert_eq!(shown.len(), 19);
            for typed in [(*shown).clone(), shown.to_uppercase(), shown.replace('-', " "), format!(" {}\n", &**shown)] {
                assert!(matches!(proof(&typed).unwrap(), Proof::Recovery(read) if read == one), "{typed}");
            }
        }
    }

    #[test]
    fn what_is_neither_is_refused_and_not_repeated() {
        for bad in ["", "12345", "1234567", "12345a", "abcd-efgh-ijkl-mno1", "\u{661}23456", &"1".repeat(1 << 20)] {
            let error = proof(bad).unwrap_err();
            assert_eq!(error.id(), ErrorId::InvalidArgument);
            assert!(bad.is_empty() || !error.message().contains(bad));
        }
        assert_eq!(code("123 456"), code("123456"));
        let secret = Secret::generate(&SystemRandom).unwrap();
        assert_eq!(format!("{secret:?} {:?}", code("123456")), "Secret(REDACTED) Code(REDACTED)");
    }
}
