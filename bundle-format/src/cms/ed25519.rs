//! Ed25519 signatures (RFC 8419), which OpenSSL 3.0 does not verify in CMS.
//!
//! A part of the one verification path: chain, purpose, revocation, policy and names are checked
//! by [`super::verify`] like those of any other signature. Only what OpenSSL's CMS code would do
//! with the one SignerInfo is done here, and with less freedom: there have to be signed
//! attributes, exactly one of each that counts, and the digest is SHA-512.

use openssl::hash::hash;
use openssl::pkey::Id;
use openssl::sign::Verifier;
use openssl::x509::X509;

use super::structure::SignedData;
use super::verify::VerifyError;

/// 2.16.840.1.101.3.4.2.3
const SHA512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";

/// Checks a signature over the content that it carries, and gives that content.
pub(super) fn attached(data: &SignedData, signer: &X509) -> Result<Vec<u8>, VerifyError> {
    check_value(data, signer, "manifest")?;
    let content = data.content.as_ref().ok_or(refused("it has no content"))?;
    let digest = hash(openssl::hash::MessageDigest::sha512(), content)?;
    if data.signer.message_digest.as_deref() != Some(&*digest) {
        return Err(bad("manifest"));
    }
    Ok(content.clone())
}

/// Checks that the signature is over the signed attributes; the caller compares the digest in them
/// with that of the payload.
pub(super) fn detached(data: &SignedData, signer: &X509) -> Result<(), VerifyError> {
    check_value(data, signer, "payload")
}

fn check_value(data: &SignedData, signer: &X509, content: &'static str) -> Result<(), VerifyError> {
    let info = &data.signer;
    let attributes = info
        .signed_attributes
        .as_ref()
        .ok_or(refused("it has no signed attributes"))?;
    if !info.is_data {
        return Err(refused(
            "its attributes do not say that it is over plain data",
        ));
    }
    if info.message_digest.is_none() {
        return Err(refused("its attributes have no digest of what is signed"));
    }
    if info.digest != SHA512 {
        return Err(refused("its digest is another than SHA-512"));
    }
    if info.has_parameters {
        return Err(refused("its algorithm has parameters"));
    }
    let key = signer.public_key()?;
    if key.id() != Id::ED25519 {
        return Err(refused(
            "the certificate of its signer is for another kind of key",
        ));
    }
    // A value of another length is an error of OpenSSL's, and a bad signature to us.
    let good = Verifier::new_without_digest(&key)?.verify_oneshot(&info.value, attributes);
    match good {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(bad(content)),
    }
}

fn refused(problem: &'static str) -> VerifyError {
    VerifyError::Ed25519 { problem }
}

fn bad(content: &'static str) -> VerifyError {
    VerifyError::BadSignature {
        content,
        source: None,
    }
}
