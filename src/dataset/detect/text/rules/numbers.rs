//! Numbers of persons and accounts, told by their form and check digits.

/// A kind of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Payment cards: 13 to 19 digits (ISO/IEC 7812), Luhn.
    Card,
    /// ISO 13616, modulo 97.
    Iban,
    /// AAA-GG-SSSS, with its dashes.
    UsSsn,
    /// 11 digits, ISO 7064 modulo 11, 10; one digit two or three times among the first ten.
    DeTax,
    /// Two letters, six digits, A to D.
    UkNino,
    /// Eight digits and the letter of their remainder by 23.
    EsDni,
    /// Twelve digits in fours, Verhoeff.
    InAadhaar,
}

impl Number {
    /// By its name in a rule file.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "card" => Self::Card,
            "iban" => Self::Iban,
            "us-ssn" => Self::UsSsn,
            "de-tax" => Self::DeTax,
            "uk-nino" => Self::UkNino,
            "es-dni" => Self::EsDni,
            "in-aadhaar" => Self::InAadhaar,
            _ => return None,
        })
    }

    /// Whether it stands at the digit at `at`, the first of a run in `text`; where it starts.
    #[must_use]
    pub fn at(self, text: &[u8], at: usize) -> Option<usize> {
        let before = |back: usize| at.checked_sub(back).and_then(|at| text.get(at)).copied();
        let free = |back: usize| before(back).is_none_or(|byte| !byte.is_ascii_alphanumeric());
        let alone = free(1) && !(before(1).is_some_and(is_gap) && before(2).is_some_and(|byte| byte.is_ascii_digit()));
        let rest = text.get(at..)?;
        let lettered = free(3)
            && before(2).is_some_and(|byte| byte.is_ascii_uppercase())
            && before(1).is_some_and(|byte| byte.is_ascii_uppercase());
        let found = match self {
            Self::Card => alone && card(rest),
            Self::UsSsn => alone && us_ssn(rest),
            Self::DeTax => alone && de_tax(rest),
            Self::EsDni => alone && es_dni(rest),
            Self::InAadhaar => alone && in_aadhaar(rest),
            Self::Iban => return (lettered && iban(text.get(at - 2..)?)).then(|| at - 2),
            Self::UkNino => return uk_nino(text, at),
        };
        found.then_some(at)
    }
}

fn is_gap(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.')
}

/// The digits at the start of `text` in groups (each gap one and the same byte), how many in each group, if nothing
/// alphanumeric follows. At most 24 digits.
fn groups(text: &[u8]) -> Option<(Vec<u8>, Vec<usize>)> {
    let (mut digits, mut sizes, mut gap) = (Vec::with_capacity(24), vec![0], None);
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte.is_ascii_digit() {
            digits.push(byte - b'0');
            *sizes.last_mut()? += 1;
            if digits.len() > 24 {
                return None;
            }
        } else if is_gap(byte) && *gap.get_or_insert(byte) == byte && bytes.peek().is_some_and(u8::is_ascii_digit) {
            sizes.push(0);
        } else if byte.is_ascii_alphanumeric() || byte == b'_' {
            return None;
        } else {
            break;
        }
    }
    Some((digits, sizes))
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .zip(0..)
        .map(|(&digit, at)| {
            if at % 2 == 1 {
                [0, 2, 4, 6, 8, 1, 3, 5, 7, 9].get(usize::from(digit)).copied().unwrap_or(0)
            } else {
                u32::from(digit)
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Issuer ranges with their lengths and how they are printed: a bare Luhn check passes every tenth number.
fn card(text: &[u8]) -> bool {
    let Some((digits, sizes)) = groups(text) else { return false };
    let begin = digits.iter().take(4).fold(0_u32, |sum, &digit| sum * 10 + u32::from(digit));
    let known = matches!((begin, digits.len()), (4000..=4999, 13 | 16 | 19)
        | (5100..=5599 | 2221..=2720 | 6011 | 6440..=6599 | 3528..=3589 | 6200..=6299, 16)
        | (3400..=3499 | 3700..=3799, 15)
        | (3000..=3059 | 3600..=3699 | 3800..=3999, 14));
    let printed = matches!(sizes[..], [_] | [4, 4, 4, 4] | [4, 6, 5] | [4, 6, 4] | [4, 4, 4, 4, 3]);
    let varied = digits.iter().any(|digit| digits.first() != Some(digit));
    known && printed && varied && luhn(&digits)
}

fn us_ssn(text: &[u8]) -> bool {
    let Some((digits, sizes)) = groups(text) else { return false };
    let value = |from: usize, many: usize| {
        digits.iter().skip(from).take(many).fold(0_u32, |sum, &digit| sum * 10 + u32::from(digit))
    };
    let (area, group, serial) = (value(0, 3), value(3, 2), value(5, 4));
    sizes[..] == [3, 2, 4]
        && text.get(3) == Some(&b'-')
        && !matches!(area, 0 | 666 | 900..)
        && group != 0
        && serial != 0
}

fn de_tax(text: &[u8]) -> bool {
    let Some((digits, sizes)) = groups(text) else { return false };
    let Some((check, first)) = digits.split_last() else { return false };
    if digits.len() != 11 || !matches!(sizes[..], [11] | [2, 3, 3, 3]) || first.first() == Some(&0) {
        return false;
    }
    let mut counts = [0; 10];
    first.iter().for_each(|&digit| counts[usize::from(digit % 10)] += 1);
    let repeated = counts.iter().filter(|&&count| count > 1).count();
    let product = first.iter().fold(10_u32, |product, &digit| {
        let sum = (u32::from(digit) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    repeated == 1 && counts.iter().all(|&count| count <= 3) && (11 - product) % 10 == u32::from(*check)
}

fn es_dni(text: &[u8]) -> bool {
    let Some((number, rest)) = text.split_at_checked(8) else { return false };
    let rest = rest.strip_prefix(b"-").unwrap_or(rest);
    if !number.iter().all(u8::is_ascii_digit) || rest.get(1).is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    let value = number.iter().fold(0_usize, |sum, &byte| sum * 10 + usize::from(byte - b'0'));
    value > 0 && rest.first().is_some_and(|letter| b"TRWAGMYFPDXBNJZSQVHLCKE".get(value % 23) == Some(letter))
}

fn uk_nino(text: &[u8], at: usize) -> Option<usize> {
    let gap = usize::from(at > 0 && text.get(at - 1) == Some(&b' '));
    let from = at.checked_sub(2 + gap)?;
    let free = from.checked_sub(1).and_then(|before| text.get(before)).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let (&first, &second) = (text.get(from)?, text.get(from + 1)?);
    let letters = b"ABCEGHJKLMNOPRSTWXYZ";
    let fits = letters.contains(&first)
        && letters.contains(&second)
        && second != b'O'
        && !matches!(&[first, second], b"BG" | b"GB" | b"NK" | b"KN" | b"TN" | b"NT" | b"ZZ");
    let mut rest = text.get(at..)?.iter().copied();
    for pair in 0..3 {
        let mut next = rest.next()?;
        if pair > 0 && gap == 1 {
            next = (next == b' ').then(|| rest.next())??;
        }
        if !next.is_ascii_digit() || !rest.next()?.is_ascii_digit() {
            return None;
        }
    }
    let mut last = rest.next()?;
    if gap == 1 {
        last = (last == b' ').then(|| rest.next())??;
    }
    (free && fits && matches!(last, b'A'..=b'D') && rest.next().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
        .then_some(from)
}

fn in_aadhaar(text: &[u8]) -> bool {
    const TIMES: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const TURN: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let Some((digits, sizes)) = groups(text) else { return false };
    let sum = digits.iter().rev().zip(0..).fold(0_u8, |sum, (&digit, at)| {
        let turned = (0..at % 8).fold(digit, |digit, _| TURN[usize::from(digit % 10)]);
        TIMES[usize::from(sum % 10)][usize::from(turned % 10)]
    });
    sizes[..] == [4, 4, 4] && digits.first().is_some_and(|&digit| digit >= 2) && sum == 0
}

/// Lengths of the IBANs of countries, by the registry of ISO 13616.
const IBANS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20";

fn iban(text: &[u8]) -> bool {
    let country = text.get(..2).unwrap_or_default();
    let Some(length) = IBANS
        .split(' ')
        .find(|entry| entry.as_bytes().starts_with(country))
        .and_then(|entry| entry.get(2..)?.parse::<usize>().ok())
    else {
        return false;
    };
    let mut signs = Vec::with_capacity(length);
    let mut rest = text.iter().copied().peekable();
    for byte in rest.by_ref() {
        if byte.is_ascii_uppercase() || byte.is_ascii_digit() {
            signs.push(byte);
        } else if byte != b' ' || signs.len() % 4 != 0 {
            return false;
        }
        if signs.len() == length {
            break;
        }
    }
    if signs.len() < length || rest.peek().is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    let value = |sum: u32, byte: u8| {
        if byte.is_ascii_digit() {
            (sum * 10 + u32::from(byte - b'0')) % 97
        } else {
            (sum * 100 + u32::from(byte - b'A') + 10) % 97
        }
    };
    signs.iter().skip(4).chain(signs.iter().take(4)).fold(0, |sum, &byte| value(sum, byte)) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_ones_and_their_neighbours() {
        for (kind, right, wrong) in [
            (Number::Card, "4111 1111 1111 1111", "4111 1111 1111 1112"),
            (Number::Card, "378282246310005", "378282246310006"),
            (Number::Iban, "DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 01"),
            (Number::Iban, "GB82WEST12345698765432", "GB82WEST12345698765431"),
            (Number::UsSsn, "078-05-1120", "000-05-1120"),
            (Number::UsSsn, "219-09-9999", "219 09 9999"),
            (Number::DeTax, "86095742719", "86095742718"),
            (Number::UkNino, "AB 12 34 56 C", "AB 12 34 56 E"),
            (Number::UkNino, "AB123456C", "GB123456C"),
            (Number::EsDni, "12345678Z", "12345678A"),
            (Number::InAadhaar, "2341 2341 2346", "2341 2341 2347"),
        ] {
            let found = |text: &str| {
                text.bytes()
                    .position(|byte| byte.is_ascii_digit())
                    .and_then(|at| kind.at(text.as_bytes(), at))
                    .is_some()
            };
            assert!(found(right), "{right}");
            assert!(!found(wrong), "{wrong}");
            assert!(!found(&format!("{right}7")), "{right}7");
        }
    }
}
