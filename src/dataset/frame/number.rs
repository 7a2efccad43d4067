//! Numbers as JSON writes them, which CSV files are held to as well.

use super::super::schema::Seen;

/// A number, read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// From -2^63 to 2^64 - 1.
    Int(i128),
    /// With a fraction, an exponent, or too large for a whole number.
    Float(f64),
}

/// A number of RFC 8259, section 6; `None` for any other text, and for one that is beyond binary64.
pub(super) fn number(text: &str) -> Option<Number> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let start = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(start);
    if whole == 0 || (whole > 1 && bytes[start] == b'0') {
        return None;
    }
    let mut at = start + whole;
    if at == bytes.len() {
        // Minus zero is a float: no whole number has a sign at zero.
        let negative_zero = start == 1 && bytes[1] == b'0';
        let int = match whole {
            _ if negative_zero => None,
            // They fit u64 whatever they are.
            ..20 => {
                let digits = bytes[start..].iter().fold(0, |n: u64, digit| n * 10 + u64::from(digit - b'0'));
                Some(if start == 1 { -i128::from(digits) } else { digits.into() })
            }
            20 => text.parse::<i128>().ok(),
            _ => None,
        };
        if let Some(n) = int.filter(|n| (i64::MIN.into()..=u64::MAX.into()).contains(n)) {
            return Some(Number::Int(n));
        }
        return float(text);
    }
    if bytes[at] == b'.' {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at.min(bytes.len()));
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    if at == bytes.len() { float(text) } else { None }
}

fn float(text: &str) -> Option<Number> {
    text.parse::<f64>().ok().filter(|v| v.is_finite()).map(Number::Float)
}

impl Number {
    /// What is seen of it.
    pub fn seen(self, text: &str) -> Seen {
        match self {
            Self::Int(n) => Seen::int(n),
            // A whole number beyond all of them would lose digits as a float.
            Self::Float(_) if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') && text != "-0" => Seen::OTHER,
            Self::Float(_) => Seen::FLOAT,
        }
    }

    /// As binary64, if that holds it exactly or it is one already.
    pub fn as_float(self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(value),
            Self::Int(n) => (n.unsigned_abs() <= 1 << 53).then_some(n as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_json() {
        for (text, expected) in [
            ("0", Some(Number::Int(0))),
            ("-12", Some(Number::Int(-12))),
            ("9223372036854775808", Some(Number::Int(1 << 63))),
            ("18446744073709551615", Some(Number::Int(u64::MAX.into()))),
            ("18446744073709551616", Some(Number::Float(18446744073709551616.0))),
            ("-9223372036854775809", Some(Number::Float(-9223372036854775809.0))),
            ("-0", Some(Number::Float(-0.0))),
            ("1.50", Some(Number::Float(1.5))),
            ("1e-05", Some(Number::Float(1e-5))),
            ("1E+2", Some(Number::Float(100.0))),
            ("1e999", None),
            ("007", None),
            ("+1", None),
            (".5", None),
            ("1.", None),
            ("1e", None),
            ("0x1", None),
            ("NaN", None),
            ("1 ", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        assert_eq!(number("18446744073709551616").unwrap().seen("18446744073709551616"), Seen::OTHER);
    }
}
