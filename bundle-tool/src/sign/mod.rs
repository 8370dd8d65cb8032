//! Signing: a CMS SignedData as RAUC makes it, with a signing time that is an argument.
//!
//! OpenSSL makes the signature value; the structure around it is written here. OpenSSL's own CMS
//! writer takes the signing time from the clock (so no bundle could be built twice alike) and
//! wants the whole payload of a plain bundle in memory.

mod append;
mod identity;
mod key;
mod scheme;
mod time;

pub use append::{AppendError, append};
pub use identity::{Identity, IdentityError, KeySource, Validity, load_certificates};
pub use token_key::{TokenAccess, TokenError, UriError};

use bundle_format::cms::SignedParts;
use openssl::error::ErrorStack;
use openssl::x509::X509Ref;

use bundle_format::der::{self, context, integer, octets, oid, sequence, set_of};

/// Why signing fails.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// OpenSSL refuses.
    #[error("OpenSSL cannot sign with this key")]
    OpenSsl(#[from] ErrorStack),
    /// A kind of key that bundles are not signed with.
    #[error("keys of this kind cannot sign bundles; use RSA, an elliptic curve (P-256) or Ed25519")]
    KeyKind,
    /// A key whose certificate limits it to RSA-PSS.
    #[error(
        "the certificate limits its key to RSA-PSS, and RAUC devices cannot verify what such a key signs; use a certificate for an ordinary RSA key (rsaEncryption) or P-256"
    )]
    PssKey,
    /// The token refuses.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The time of signing cannot be written.
    #[error("the signing time {time} (seconds since 1970) lies outside of the years 1970 to 9999")]
    Time {
        /// Which.
        time: i64,
    },
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// A manifest, which becomes part of the signature.
    Attached(&'a [u8]),
    /// A payload of which only the digest is known, made with [`Identity::digest`].
    Detached(&'a [u8]),
}

const ID_DATA: &str = "1.2.840.113549.1.7.1";
const ID_SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const ID_CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const ID_MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const ID_SIGNING_TIME: &str = "1.2.840.113549.1.9.5";

/// Signs `content` at `time` (seconds since 1970). The result is DER and holds the signer's
/// certificate and the intermediate ones.
///
/// The same input gives the same bytes with RSA and Ed25519 keys; ECDSA signatures hold a random
/// number and differ each time.
///
/// # Errors
/// A key of an unknown kind, or one that OpenSSL cannot use.
pub fn sign(content: Content<'_>, signer: &Identity, time: i64) -> Result<Vec<u8>, SignError> {
    let scheme = signer.scheme;
    let digest = match content {
        Content::Attached(bytes) => scheme.digest_of(bytes)?,
        Content::Detached(digest) => digest.to_vec(),
    };
    let attributes = attributes(&digest, time)?;
    // The signature is over the attributes as a SET, though they stand as [0] in the structure.
    let signature = signer.key.sign(scheme, &set_of(attributes.clone()))?;
    let digest_algorithm = scheme.digest_algorithm()?;
    let signer_info = sequence(&[
        &integer(&[1]),
        &issuer_and_serial(&signer.certificate)?,
        &digest_algorithm,
        &context(0, &der::sorted(attributes)),
        &scheme.algorithm()?,
        &octets(&signature),
    ]);
    let attached = match content {
        Content::Attached(bytes) => context(0, &octets(bytes)),
        Content::Detached(_) => Vec::new(),
    };
    assemble(SignedParts {
        version: integer(&[1]),
        digests: vec![digest_algorithm.clone()],
        content: sequence(&[&oid(ID_DATA)?, &attached]),
        certificates: certificates(signer)?,
        revocations: Vec::new(),
        signers: vec![signer_info],
    })
}

/// The whole structure around its parts.
fn assemble(parts: SignedParts) -> Result<Vec<u8>, SignError> {
    let revocations = match parts.revocations {
        none if none.is_empty() => Vec::new(),
        some => context(1, &der::sorted(some)),
    };
    let signed_data = sequence(&[
        &parts.version,
        &set_of(parts.digests),
        &parts.content,
        &context(0, &der::sorted(parts.certificates)),
        &revocations,
        &set_of(parts.signers),
    ]);
    Ok(sequence(&[
        &oid(ID_SIGNED_DATA)?,
        &context(0, &signed_data),
    ]))
}

fn attributes(digest: &[u8], time: i64) -> Result<Vec<Vec<u8>>, SignError> {
    let attribute = |id, value: Vec<u8>| -> Result<_, SignError> {
        Ok(sequence(&[&oid(id)?, &set_of(vec![value])]))
    };
    Ok(vec![
        attribute(ID_CONTENT_TYPE, oid(ID_DATA)?)?,
        attribute(
            ID_SIGNING_TIME,
            time::encode(time).ok_or(SignError::Time { time })?,
        )?,
        attribute(ID_MESSAGE_DIGEST, octets(digest))?,
    ])
}

fn certificates(signer: &Identity) -> Result<Vec<Vec<u8>>, SignError> {
    let mut all = vec![signer.certificate.to_der()?];
    for intermediate in &signer.intermediates {
        all.push(intermediate.to_der()?);
    }
    Ok(all)
}

fn issuer_and_serial(certificate: &X509Ref) -> Result<Vec<u8>, SignError> {
    let issuer = certificate.issuer_name().to_der()?;
    let serial = certificate.serial_number().to_bn()?.to_vec();
    Ok(sequence(&[&issuer, &integer(&serial)]))
}
