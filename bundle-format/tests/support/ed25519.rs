//! A CMS signature with Ed25519, put together field by field: `openssl cms` of OpenSSL 3.0 makes
//! none.

use openssl::asn1::Asn1Object;
use openssl::hash::{MessageDigest, hash};
use openssl::sign::Signer;

use super::Identity;

pub const DATA: &str = "1.2.840.113549.1.7.1";
pub const ENVELOPED: &str = "1.2.840.113549.1.7.3";
pub const CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
pub const MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
pub const SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
pub const SHA256: &str = "2.16.840.1.101.3.4.2.1";
pub const SHA512: &str = "2.16.840.1.101.3.4.2.3";
pub const ED25519: &str = "1.3.101.112";

pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    // Always the long form: OpenSSL writes it anew in the shortest one.
    [&[tag, 0x82, len[0], len[1]][..], &content].concat()
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, parts)
}

pub fn oid(dotted: &str) -> Vec<u8> {
    let object = Asn1Object::from_str(dotted).unwrap();
    element(0x06, &[object.as_slice()])
}

pub fn octets(bytes: &[u8]) -> Vec<u8> {
    element(0x04, &[bytes])
}

/// DER as OpenSSL would write it: the shortest lengths. Only lengths below 128 occur here.
pub fn short(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()][..], content].concat()
}

pub fn attribute(id: &str, values: &[&[u8]]) -> Vec<u8> {
    let id = Asn1Object::from_str(id).unwrap();
    let values = values.concat();
    short(
        0x30,
        &[short(0x06, id.as_slice()), short(0x31, &values)].concat(),
    )
}

/// A signature in its parts.
#[derive(Clone)]
pub struct Parts {
    pub content_type: &'static str,
    pub content: Option<Vec<u8>>,
    pub digest: &'static str,
    /// Signed attributes, which the signature is over.
    pub attributes: Option<Vec<Vec<u8>>>,
    pub algorithm: Vec<u8>,
    /// Done to the signature's value.
    pub spoil: fn(&mut Vec<u8>),
}

impl Parts {
    /// What RFC 8419 asks for.
    pub fn good(content: &[u8]) -> Self {
        let digest = hash(MessageDigest::sha512(), content).unwrap();
        let data = short(0x06, Asn1Object::from_str(DATA).unwrap().as_slice());
        Self {
            content_type: DATA,
            content: Some(content.to_vec()),
            digest: SHA512,
            attributes: Some(vec![
                attribute(CONTENT_TYPE, &[&data]),
                attribute(SIGNING_TIME, &[&short(0x17, b"260101000000Z")]),
                attribute(MESSAGE_DIGEST, &[&short(0x04, &digest)]),
            ]),
            algorithm: sequence(&[&oid(ED25519)]),
            spoil: |_| {},
        }
    }

    pub fn sign(&self, signer: &Identity) -> Vec<u8> {
        let mut attributes = self.attributes.clone();
        let signed = match &mut attributes {
            None => self.content.clone().unwrap(),
            Some(attributes) => {
                attributes.sort();
                let all = attributes.concat();
                let len = u8::try_from(all.len()).unwrap();
                [&[0x31, 0x81, len][..], &all].concat()
            }
        };
        let mut engine = Signer::new_without_digest(&signer.key).unwrap();
        let mut value = engine.sign_oneshot_to_vec(&signed).unwrap();
        (self.spoil)(&mut value);
        let certificate = signer.certificate.to_der().unwrap();
        let attributes = attributes.map(|all| element(0xa0, &[&all.concat()]));
        let mut serial = signer.certificate.serial_number().to_bn().unwrap().to_vec();
        if serial[0] >= 0x80 {
            serial.insert(0, 0);
        }
        let info = sequence(&[
            &element(0x02, &[&[1]]),
            &sequence(&[
                &signer.certificate.issuer_name().to_der().unwrap(),
                &element(0x02, &[&serial]),
            ]),
            &sequence(&[&oid(self.digest)]),
            &attributes.unwrap_or_default(),
            &self.algorithm,
            &octets(&value),
        ]);
        let content = self.content.as_ref().map(|bytes| octets(bytes));
        let content = content.map(|content| element(0xa0, &[&content]));
        let data = sequence(&[
            &element(0x02, &[&[1]]),
            &element(0x31, &[&sequence(&[&oid(self.digest)])]),
            &sequence(&[&oid(self.content_type), &content.unwrap_or_default()]),
            &element(0xa0, &[&certificate]),
            &element(0x31, &[&info]),
        ]);
        sequence(&[&oid("1.2.840.113549.1.7.2"), &element(0xa0, &[&data])])
    }
}
