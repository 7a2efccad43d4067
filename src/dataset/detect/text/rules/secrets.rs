//! Secrets: by a well-known beginning, by form, or by the name they are given to.

/// A beginning, then so many characters of an alphabet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefixed {
    /// The beginning, as written.
    pub prefix: String,
    least: usize,
    most: usize,
    alphabet: [bool; 128],
}

impl Prefixed {
    /// From `PREFIX LEAST MOST A-Z 0-9 _ ...`.
    #[must_use]
    pub fn parse(argument: &str) -> Option<Self> {
        let mut parts = argument.split_whitespace();
        let (prefix, least, most) =
            (parts.next()?.to_string(), parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let mut alphabet = [false; 128];
        for part in parts {
            let (from, to) = match *part.as_bytes() {
                [one] => (one, one),
                [from, b'-', to] => (from, to),
                _ => return None,
            };
            alphabet
                .iter_mut()
                .zip(0_u8..)
                .filter(|(_, byte)| (from..=to).contains(byte))
                .for_each(|(is, _)| *is = true);
        }
        (least > 0 && least <= most && alphabet.contains(&true)).then_some(Self { prefix, least, most, alphabet })
    }

    /// Whether one stands at `at`, where its prefix does.
    #[must_use]
    pub fn at(&self, text: &[u8], at: usize) -> bool {
        let part = |byte: u8| self.alphabet.get(usize::from(byte)) == Some(&true);
        let glued = at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(u8::is_ascii_alphanumeric);
        let rest = text.get(at + self.prefix.len()..).unwrap_or_default();
        let long = rest.iter().take(self.most + 1).take_while(|&&byte| part(byte)).count();
        let value = rest.get(..long.min(self.most)).unwrap_or_default();
        !glued
            && (self.least..=self.most).contains(&long)
            && !rest.get(long).is_some_and(u8::is_ascii_alphanumeric)
            && entropy(value) >= 2.5
    }
}

/// Shannon's entropy of the bytes, bits each.
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    value.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
    let all = value.len().max(1) as f64;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / all)
        .map(|share| -share * share.log2())
        .sum()
}

/// Whether a JSON web token stands at `at`: three parts of base64url, the first a JSON object.
#[must_use]
pub fn token_at(text: &[u8], at: usize) -> bool {
    let glued = at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(u8::is_ascii_alphanumeric);
    let rest = text.get(at..).unwrap_or_default();
    let mut parts = rest.split(|&byte| byte == b'.');
    let mut part = |least: usize| {
        let part = parts.next().unwrap_or_default();
        part.iter().take(8192).take_while(|&&byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_').count()
            >= least
    };
    !glued
        && rest.starts_with(b"eyJ")
        && rest.iter().take(4096).any(|&byte| byte == b'.')
        && part(12)
        && part(12)
        && part(16)
}

/// Characters a secret's value has, at least.
const VALUE: usize = 16;

/// Whether the name that ends at `end` is given a random-looking value: `name = "value"`, `name: value`.
#[must_use]
pub fn assigned(text: &[u8], end: usize) -> bool {
    let rest = text.get(end..).unwrap_or_default();
    let skip = |rest: &[u8], signs: &[u8]| rest.iter().take(4).take_while(|byte| signs.contains(byte)).count();
    let before = skip(rest, b"\"' \t");
    let rest = rest.get(before..).unwrap_or_default();
    let sign = skip(rest, b":=>");
    if sign == 0 {
        return false;
    }
    let rest = rest.get(sign..).unwrap_or_default();
    let rest = rest.get(skip(rest, b"\"' \t")..).unwrap_or_default();
    let part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/_-=".contains(byte);
    let value = rest.get(..rest.iter().take(512).take_while(part).count()).unwrap_or_default();
    let count = |is: fn(&u8) -> bool| value.iter().filter(|byte| is(byte)).count();
    value.len() >= VALUE
        && count(u8::is_ascii_digit) >= 3
        && count(u8::is_ascii_alphabetic) >= 3
        && entropy(value) >= 3.5
}

/// Where the e-mail address with its `@` at `at` starts.
#[must_use]
pub fn mail(text: &[u8], at: usize) -> Option<usize> {
    let local = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let name = text.get(..at)?.iter().rev().take(65).take_while(local).count();
    let host = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    let rest = text.get(at + 1..)?;
    let domain = rest.get(..rest.iter().take(254).take_while(host).count())?;
    let (before, top) = std::str::from_utf8(domain).ok()?.trim_end_matches(['.', '-']).rsplit_once('.')?;
    let letters = top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
    let sound = !before.is_empty() && !before.starts_with(['.', '-']) && !before.contains("..");
    ((1..=64).contains(&name) && letters && sound).then(|| at - name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_secrets() {
        let key = Prefixed::parse("AKIA 16 16 A-Z 2-7").unwrap();
        assert!(key.at(b"id AKIAIOSFODNN7EXAMPLE.", 3));
        assert!(!key.at(b"id AKIAIOSFODNN7EXAMPLEX", 3) && !key.at(b"id AKIAAAAAAAAAAAAAAAAA", 3));
        assert!(token_at(b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlc2lnbmF0dXJl", 0));
        assert!(!token_at(b"eyJ is no token. Really. None.", 0));
        assert!(assigned(b"secret: \"q8Zr1xW0pLm3Vt7b\"", 6));
        assert!(!assigned(b"token: thisisjustalongword", 5) && !assigned(b"secret of the year 1999", 6));
    }

    #[test]
    fn addresses() {
        assert_eq!(mail(b"to a.b@example.org.", 6), Some(3));
        assert!(mail(b"@handle", 0).is_none() && mail(b"a@b", 1).is_none() && mail(b"8 @ 5.00", 2).is_none());
    }
}
