//! Writing DER: the parts that signatures and envelopes are made of.

use openssl::asn1::Asn1Object;
use openssl::error::ErrorStack;

/// One element: tag, length, content.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ ..0x80) => bytes.push(short),
        _ => {
            let len = content.len().to_be_bytes();
            let digits = &len[len.iter().take_while(|digit| **digit == 0).count()..];
            // At most 8 digits.
            bytes.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
            bytes.extend_from_slice(digits);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// A SEQUENCE of these.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// A SET OF, sorted as DER wants it.
pub fn set_of(elements: Vec<Vec<u8>>) -> Vec<u8> {
    element(0x31, &sorted(elements))
}

/// The content of a SET OF.
pub fn sorted(mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    elements.concat()
}

/// `[number]`, constructed.
pub fn context(number: u8, content: &[u8]) -> Vec<u8> {
    element(0xa0 | number, content)
}

/// An OCTET STRING.
pub fn octets(bytes: &[u8]) -> Vec<u8> {
    element(0x04, bytes)
}

/// NULL.
pub fn null() -> Vec<u8> {
    element(0x05, &[])
}

/// A number that is not negative, from its big-endian bytes.
pub fn integer(bytes: &[u8]) -> Vec<u8> {
    match bytes.first() {
        Some(first) if *first < 0x80 => element(0x02, bytes),
        _ => element(0x02, &[&[0], bytes].concat()),
    }
}

/// An object identifier in dotted form.
///
/// # Errors
/// OpenSSL does not take it for one.
pub fn oid(dotted: &str) -> Result<Vec<u8>, ErrorStack> {
    Ok(element(0x06, Asn1Object::from_str(dotted)?.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(element(0x04, &[7]), [4, 1, 7]);
        assert_eq!(element(0x04, &[0; 127])[..2], [4, 127]);
        assert_eq!(element(0x04, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(element(0x04, &[0; 256])[..4], [4, 0x82, 1, 0]);
    }

    #[test]
    fn numbers_stay_positive() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0x7f]), [2, 1, 0x7f]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
    }

    #[test]
    fn identifiers_and_sets() {
        assert_eq!(
            oid("1.2.840.113549.1.7.1").unwrap()[..4],
            [6, 9, 0x2a, 0x86]
        );
        assert_eq!(
            set_of(vec![vec![4, 1, 9], vec![2, 1, 0]]),
            [0x31, 6, 2, 1, 0, 4, 1, 9]
        );
    }
}
