//! Just enough DER to look into a structure that OpenSSL has parsed and written anew.

/// A structure is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the structure of the signature is damaged")]
pub struct Asn1Error;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// `[1]`, constructed.
pub(super) const CONTEXT_1: u8 = 0xa1;
/// `[2]`, constructed.
pub(super) const CONTEXT_2: u8 = 0xa2;
/// `[0]`, primitive.
pub(super) const CONTEXT_0_PRIMITIVE: u8 = 0x80;

/// One element: tag, content, and both together as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// Elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element, whatever it is.
    pub(super) fn next(&mut self) -> Result<Element<'a>, Asn1Error> {
        let (&tag, rest) = self.0.split_first().ok_or(Asn1Error)?;
        // Tags of several bytes do not occur in these structures.
        if tag & 0x1f == 0x1f {
            return Err(Asn1Error);
        }
        let (len, rest) = length(rest)?;
        let content = rest.get(..len).ok_or(Asn1Error)?;
        let header = self.0.len() - rest.len();
        let whole = &self.0[..header + len];
        self.0 = &rest[len..];
        Ok(Element {
            tag,
            content,
            whole,
        })
    }

    /// The next element, which has to have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<Element<'a>, Asn1Error> {
        let element = self.next()?;
        (element.tag == tag).then_some(element).ok_or(Asn1Error)
    }

    /// The next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, Asn1Error> {
        match self.0.first() {
            Some(first) if *first == tag => self.next().map(Some),
            _ => Ok(None),
        }
    }

    /// All the rest.
    pub(super) fn all(mut self) -> Result<Vec<Element<'a>>, Asn1Error> {
        let mut elements = Vec::new();
        while !self.is_empty() {
            elements.push(self.next()?);
        }
        Ok(elements)
    }
}

impl<'a> Element<'a> {
    pub(super) fn inside(&self) -> Elements<'a> {
        Elements(self.content)
    }
}

/// Definite lengths of up to four bytes.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), Asn1Error> {
    let (&first, rest) = bytes.split_first().ok_or(Asn1Error)?;
    if first < 0x80 {
        return Ok((first.into(), rest));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(Asn1Error);
    }
    let (digits, rest) = rest.split_at_checked(count).ok_or(Asn1Error)?;
    let len = digits
        .iter()
        .fold(0u32, |len, digit| len << 8 | u32::from(*digit));
    Ok((usize::try_from(len).map_err(|_| Asn1Error)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_told_apart() {
        let bytes = [0x30, 0x03, 0x02, 0x01, 0x05, 0x04, 0x81, 0x01, 0xff];
        let mut elements = Elements::new(&bytes);
        let sequence = elements.expect(SEQUENCE).unwrap();
        assert_eq!(sequence.whole, &bytes[..5]);
        assert_eq!(sequence.inside().expect(INTEGER).unwrap().content, [5]);
        assert_eq!(elements.optional(SET).unwrap(), None);
        assert_eq!(
            elements.optional(OCTET_STRING).unwrap().unwrap().content,
            [0xff]
        );
        assert!(elements.is_empty());
        assert!(elements.next().is_err());
    }

    #[test]
    fn cut_off_indefinite_and_long_forms_are_refused() {
        for bytes in [
            &[0x30][..],
            &[0x30, 0x02, 0x00],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x1f, 0x81, 0x01, 0x00],
        ] {
            assert!(Elements::new(bytes).next().is_err(), "{bytes:x?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = Elements::new(&bytes).all();
        }
    }
}
