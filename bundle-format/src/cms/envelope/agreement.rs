//! From the secret that two sides have in common to the key of the content (RFC 5753).

use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::error::ErrorStack;
use openssl::hash::Hasher;
use zeroize::Zeroizing;

use super::super::asn1::{Asn1Error, BIT_STRING, CONTEXT_1, Element, SEQUENCE};
use super::algorithm::Wrapping;
use super::holder::Secret;
use crate::der::{context, octets, sequence};

/// The sender's point out of an OriginatorIdentifierOrKey: `[1] { { algorithm }, BIT STRING }`. `None` if
/// the sender is named only, which takes a certificate that nobody has.
pub(super) fn point<'d>(originator: &Element<'d>) -> Result<Option<&'d [u8]>, Asn1Error> {
    if originator.tag != CONTEXT_1 {
        return Ok(None);
    }
    let mut parts = originator.inside();
    parts.expect(SEQUENCE)?;
    // The first byte counts the bits that the last one lacks.
    match parts.expect(BIT_STRING)?.content {
        [0, point @ ..] => Ok(Some(point)),
        _ => Err(Asn1Error),
    }
}

/// The key that `wrapped` holds; OpenSSL fails if it is of another secret, or damaged.
pub(super) fn unwrap(
    wrapping: &Wrapping<'_>,
    material: Option<&[u8]>,
    secret: &[u8],
    wrapped: &[u8],
) -> Result<Secret, ErrorStack> {
    let len = wrapping.cipher.key_length();
    let wrapping_key = derive(wrapping, &shared_info(wrapping.info, material, len), secret)?;
    let mut context = CipherCtx::new()?;
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    // Without an IV of its own: that of RFC 3394.
    context.decrypt_init(Some(wrapping.cipher), Some(&wrapping_key), None)?;
    let mut key = Zeroizing::new(Vec::with_capacity(wrapped.len() + 16));
    context.cipher_update_vec(wrapped, &mut key)?;
    Ok(key)
}

/// X9.63: the hashes of secret, counter and shared info, one after the other.
fn derive(wrapping: &Wrapping<'_>, info: &[u8], secret: &[u8]) -> Result<Secret, ErrorStack> {
    let len = wrapping.cipher.key_length();
    let mut key = Zeroizing::new(Vec::with_capacity(len + wrapping.hash.size()));
    for counter in 1u32.. {
        if key.len() >= len {
            break;
        }
        let mut hasher = Hasher::new(wrapping.hash)?;
        hasher.update(secret)?;
        hasher.update(&counter.to_be_bytes())?;
        hasher.update(info)?;
        key.extend_from_slice(&hasher.finish()?);
    }
    key.truncate(len);
    Ok(key)
}

/// `ECC-CMS-SharedInfo { { wrapping cipher }, [0] material, [2] bits of its key }`, in DER.
fn shared_info(cipher: &[u8], material: Option<&[u8]>, len: usize) -> Vec<u8> {
    let bits = u32::try_from(len).unwrap_or_default().saturating_mul(8);
    let material = material.map(|bytes| context(0, &octets(bytes)));
    let bits = context(2, &octets(&bits.to_be_bytes()));
    sequence(&[cipher, material.as_deref().unwrap_or_default(), &bits])
}
