//! As much DER (X.690) as keys need: definite lengths in their one shortest form, tags of one byte.

use zeroize::Zeroizing;

/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// BIT STRING.
pub const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub const OID: u8 = 0x06;
/// SEQUENCE.
pub const SEQUENCE: u8 = 0x30;

/// Content of the element at the start of `input`, which must have this tag, and what follows it.
pub fn read(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = input.split_first_chunk()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            let value = len.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
            let shortest = len[0] != 0 && value > 0x7f;
            (shortest.then_some(value)?, rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(len)).flatten()
}

/// Content of the element that `input` is, with this tag and nothing after it.
pub fn whole(tag: u8, input: &[u8]) -> Option<&[u8]> {
    read(tag, input).and_then(|(content, rest)| rest.is_empty().then_some(content))
}

/// An element of this content, given in parts. Wiped when dropped, as it may hold a private key.
pub fn write(tag: u8, content: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let len: usize = content.iter().map(|part| part.len()).sum();
    let bytes = len.to_be_bytes();
    let digits = &bytes[bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len())..];
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(2 + digits.len() + len));
    out.push(tag);
    match u8::try_from(len) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
    content.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_reads_back_and_has_one_encoding() {
        for len in [0, 1, 127, 128, 255, 256, 65535, 65536] {
            let content = vec![7; len];
            let der = write(OCTET_STRING, &[&content]);
            assert_eq!(whole(OCTET_STRING, &der), Some(&content[..]));
            assert_eq!(whole(SEQUENCE, &der), None);
            assert_eq!(whole(OCTET_STRING, &der[..der.len() - 1]), None);
            assert_eq!(whole(OCTET_STRING, &[&der[..], &[0]].concat()), None);
        }
        for longer in [&[4, 0x80, 0, 0][..], &[4, 0x81, 1, 7], &[4, 0x82, 0, 1, 7], &[4, 0x84, 0, 0, 0, 1, 7]] {
            assert_eq!(whole(OCTET_STRING, longer), None);
        }
    }
}
