//! For whom a signature is encrypted: what the envelope says in the clear (RFC 5652, section 6).

use openssl::asn1::{Asn1Integer, Asn1Object};
use openssl::x509::X509Name;

use super::asn1::{Asn1Error, Element, INTEGER, OID, SEQUENCE};
use super::envelope::{Enveloped, Sealed};
use super::name::one_line;
use super::structure::{CmsKind, StructureError, kind, parse};

/// Somebody who can open an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Who issued the certificate, on one line; `None` if the recipient is named by a key identifier.
    pub issuer: Option<String>,
    /// The certificate's serial number in hexadecimal, with an even number of digits.
    pub serial: Option<String>,
    /// How the key of the envelope is encrypted, as OpenSSL calls it.
    pub algorithm: String,
}

/// Those for whom the signature `cms`, which starts at `offset` in the bundle, is encrypted;
/// nobody if it is not.
///
/// # Errors
/// The signature cannot be looked into.
pub fn recipients(cms: &[u8], offset: u64) -> Result<Vec<Recipient>, StructureError> {
    if kind(cms, offset)? != CmsKind::Enveloped {
        return Ok(Vec::new());
    }
    let (_, der) = parse(cms, offset)?;
    Ok(enveloped(&der)?)
}

fn enveloped(der: &[u8]) -> Result<Vec<Recipient>, Asn1Error> {
    let all = Enveloped::from_der(der)?.recipients;
    let one = |sealed: &Sealed<'_>| named(&sealed.who, algorithm_name(&sealed.algorithm)?);
    all.iter().map(one).collect()
}

fn named(who: &Element<'_>, algorithm: String) -> Result<Recipient, Asn1Error> {
    let mut recipient = Recipient {
        issuer: None,
        serial: None,
        algorithm,
    };
    if who.tag == SEQUENCE {
        let mut parts = who.inside();
        let issuer = parts.expect(SEQUENCE)?;
        let issuer = X509Name::from_der(issuer.whole).map_err(|_| Asn1Error)?;
        recipient.issuer = Some(one_line(&issuer));
        recipient.serial = Some(serial(&parts.expect(INTEGER)?)?);
    }
    Ok(recipient)
}

fn serial(element: &Element<'_>) -> Result<String, Asn1Error> {
    let number = openssl::bn::BigNum::from_slice(element.content);
    let text = number.and_then(|n| Asn1Integer::from_bn(&n)?.to_bn()?.to_hex_str());
    text.map(|text| text.to_string()).map_err(|_| Asn1Error)
}

/// What OpenSSL calls the algorithm of an AlgorithmIdentifier.
pub(super) fn algorithm_name(element: &Element<'_>) -> Result<String, Asn1Error> {
    let oid = element.inside().expect(OID)?;
    Ok(name_of(oid.content).unwrap_or_else(|| "unknown".to_owned()))
}

/// OpenSSL's long name of the object identifier with this DER content, or its numbers.
fn name_of(content: &[u8]) -> Option<String> {
    let numbers = dotted(content)?;
    let object = Asn1Object::from_str(&numbers).ok()?;
    Some(object.nid().long_name().map_or(numbers, str::to_owned))
}

/// `1.2.840…` from the content of an OBJECT IDENTIFIER.
fn dotted(content: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut value = 0u64;
    for byte in content {
        value = value
            .checked_mul(128)?
            .checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            numbers.push(value);
            value = 0;
        }
    }
    let first = *numbers.first()?;
    let top = (first / 40).min(2);
    let mut text = format!("{top}.{}", first - top * 40);
    for number in &numbers[1..] {
        text.push_str(&format!(".{number}"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers() {
        let rsa = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        assert_eq!(dotted(&rsa).as_deref(), Some("1.2.840.113549.1.1.1"));
        assert_eq!(name_of(&rsa).as_deref(), Some("rsaEncryption"));
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0xff; 12]), None);
    }

    #[test]
    fn no_envelope_and_noise() {
        assert!(recipients(&[], 0).is_err());
        assert!(recipients(&[0x30, 0x80, 0, 0], 0).is_err());
    }
}
