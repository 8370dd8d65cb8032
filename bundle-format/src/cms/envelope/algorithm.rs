//! The algorithms of envelopes, out of their AlgorithmIdentifiers.

use openssl::cipher::{Cipher, CipherRef};
use openssl::hash::MessageDigest;

use super::super::asn1::{
    Asn1Error, CONTEXT_0, CONTEXT_1, CONTEXT_2, Element, Elements, OCTET_STRING, OID, SEQUENCE,
};
use super::holder::{OaepHash, RsaPadding};

/// 1.2.840.113549.1.1.1
const ID_RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
/// 1.2.840.113549.1.1.7
const ID_OAEP: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07";
/// 1.2.840.113549.1.1.8
const ID_MGF1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08";
/// 1.2.840.113549.1.1.9
const ID_SPECIFIED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x09";
/// 1.3.14.3.2.26
const ID_SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
/// 2.16.840.1.101.3.4.2.1, and the two behind it.
const ID_SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const ID_SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const ID_SHA512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";

/// dhSinglePass-stdDH-sha1kdf-scheme (1.3.133.16.840.63.0.2).
const ID_AGREE_SHA1: &[u8] = b"\x2b\x81\x05\x10\x86\x48\x3f\x00\x02";
/// 1.3.132.1.11.0 to 1.3.132.1.11.3: the same with SHA-2.
const ID_AGREE_SHA224: &[u8] = b"\x2b\x81\x04\x01\x0b\x00";
const ID_AGREE_SHA256: &[u8] = b"\x2b\x81\x04\x01\x0b\x01";
const ID_AGREE_SHA384: &[u8] = b"\x2b\x81\x04\x01\x0b\x02";
const ID_AGREE_SHA512: &[u8] = b"\x2b\x81\x04\x01\x0b\x03";

/// 2.16.840.1.101.3.4.1.5, .25, .45
const ID_WRAP_128: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x05";
const ID_WRAP_192: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x19";
const ID_WRAP_256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2d";
/// 2.16.840.1.101.3.4.1.2, .22, .42
const ID_CBC_128: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x02";
const ID_CBC_192: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x16";
const ID_CBC_256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";

/// How the content is encrypted.
pub(super) struct ContentCipher<'d> {
    pub(super) cipher: &'static CipherRef,
    pub(super) iv: &'d [u8],
}

/// How the agreed secret becomes the key that the content's key is wrapped with.
pub(super) struct Wrapping<'d> {
    /// Of the key derivation (X9.63).
    pub(super) hash: MessageDigest,
    pub(super) cipher: &'static CipherRef,
    /// AlgorithmIdentifier of the cipher, which goes into the derivation.
    pub(super) info: &'d [u8],
}

/// OID and parameters.
fn taken_apart<'d>(algorithm: &Element<'d>) -> Result<(&'d [u8], Elements<'d>), Asn1Error> {
    let mut parts = algorithm.inside();
    Ok((parts.expect(OID)?.content, parts))
}

/// `None` for a cipher that is not known here.
pub(super) fn content_cipher<'d>(
    algorithm: &Element<'d>,
) -> Result<Option<ContentCipher<'d>>, Asn1Error> {
    let (oid, mut parameters) = taken_apart(algorithm)?;
    let cipher = match oid {
        ID_CBC_128 => Cipher::aes_128_cbc(),
        ID_CBC_192 => Cipher::aes_192_cbc(),
        ID_CBC_256 => Cipher::aes_256_cbc(),
        _ => return Ok(None),
    };
    let iv = parameters.expect(OCTET_STRING)?.content;
    if iv.len() != cipher.iv_length() {
        return Err(Asn1Error);
    }
    Ok(Some(ContentCipher { cipher, iv }))
}

/// `None` for a way that is not known here.
pub(super) fn rsa_padding(algorithm: &Element<'_>) -> Result<Option<RsaPadding>, Asn1Error> {
    let (oid, mut parameters) = taken_apart(algorithm)?;
    match oid {
        ID_RSA => Ok(Some(RsaPadding::Pkcs1)),
        ID_OAEP => oaep(parameters.expect(SEQUENCE)?.inside()),
        _ => Ok(None),
    }
}

/// `{ [0] { hash }, [1] { MGF1, { hash } }, [2] { pSpecified, OCTET STRING label } }`; what is left out
/// is SHA-1 and no label.
fn oaep(mut parameters: Elements<'_>) -> Result<Option<RsaPadding>, Asn1Error> {
    let hash = match parameters.optional(CONTEXT_0)? {
        Some(explicit) => oaep_hash(&explicit.inside().expect(SEQUENCE)?)?,
        None => Some(OaepHash::Sha1),
    };
    let mask = match parameters.optional(CONTEXT_1)? {
        Some(explicit) => match taken_apart(&explicit.inside().expect(SEQUENCE)?)? {
            (ID_MGF1, mut hash) => oaep_hash(&hash.expect(SEQUENCE)?)?,
            _ => None,
        },
        None => Some(OaepHash::Sha1),
    };
    let label = match parameters.optional(CONTEXT_2)? {
        Some(explicit) => match taken_apart(&explicit.inside().expect(SEQUENCE)?)? {
            (ID_SPECIFIED, mut label) => Some(label.expect(OCTET_STRING)?.content.to_vec()),
            _ => None,
        },
        None => Some(Vec::new()),
    };
    let (Some(hash), Some(mask), Some(label)) = (hash, mask, label) else {
        return Ok(None);
    };
    Ok(Some(RsaPadding::Oaep { hash, mask, label }))
}

fn oaep_hash(algorithm: &Element<'_>) -> Result<Option<OaepHash>, Asn1Error> {
    Ok(match taken_apart(algorithm)?.0 {
        ID_SHA1 => Some(OaepHash::Sha1),
        ID_SHA256 => Some(OaepHash::Sha256),
        ID_SHA384 => Some(OaepHash::Sha384),
        ID_SHA512 => Some(OaepHash::Sha512),
        _ => None,
    })
}

/// `{ OID scheme, { wrapping cipher } }`; `None` for a way that is not known here.
pub(super) fn wrapping<'d>(algorithm: &Element<'d>) -> Result<Option<Wrapping<'d>>, Asn1Error> {
    let (oid, mut parameters) = taken_apart(algorithm)?;
    let hash = match oid {
        ID_AGREE_SHA1 => MessageDigest::sha1(),
        ID_AGREE_SHA224 => MessageDigest::sha224(),
        ID_AGREE_SHA256 => MessageDigest::sha256(),
        ID_AGREE_SHA384 => MessageDigest::sha384(),
        ID_AGREE_SHA512 => MessageDigest::sha512(),
        _ => return Ok(None),
    };
    let wrap = parameters.expect(SEQUENCE)?;
    let cipher = match taken_apart(&wrap)?.0 {
        ID_WRAP_128 => Cipher::aes_128_wrap(),
        ID_WRAP_192 => Cipher::aes_192_wrap(),
        ID_WRAP_256 => Cipher::aes_256_wrap(),
        _ => return Ok(None),
    };
    let info = wrap.whole;
    Ok(Some(Wrapping { hash, cipher, info }))
}
