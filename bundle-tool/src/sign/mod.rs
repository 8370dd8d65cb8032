//! Signing: a CMS SignedData as RAUC makes it, with a signing time that is an argument.
//!
//! OpenSSL makes the signature value; the structure around it is written here. OpenSSL's own CMS
//! writer takes the signing time from the clock (so no bundle could be built twice alike) and
//! wants the whole payload of a plain bundle in memory.

mod der;
mod identity;
mod time;

pub use identity::{Identity, IdentityError, KeySource, load_certificates};

use bundle_format::Digest;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::Id;
use openssl::sign::Signer;
use openssl::x509::X509Ref;

use der::{context, integer, octets, oid, sequence, set_of};

/// Why signing fails.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// OpenSSL refuses.
    #[error("OpenSSL cannot sign with this key")]
    OpenSsl(#[from] ErrorStack),
    /// A kind of key that bundles are not signed with.
    #[error("keys of this kind cannot sign bundles; use RSA or an elliptic curve (P-256)")]
    KeyKind,
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
    /// A payload of which only the digest is known.
    Detached(Digest),
}

const ID_DATA: &str = "1.2.840.113549.1.7.1";
const ID_SIGNED_DATA: &str = "1.2.840.113549.1.7.2";
const ID_CONTENT_TYPE: &str = "1.2.840.113549.1.9.3";
const ID_MESSAGE_DIGEST: &str = "1.2.840.113549.1.9.4";
const ID_SIGNING_TIME: &str = "1.2.840.113549.1.9.5";
const ID_SHA256: &str = "2.16.840.1.101.3.4.2.1";

/// How one kind of key signs.
struct Scheme {
    digest: MessageDigest,
    /// AlgorithmIdentifier of the signature.
    algorithm: Vec<u8>,
}

/// Signs `content` at `time` (seconds since 1970). The result is DER and holds the signer's
/// certificate and the intermediate ones.
///
/// The same input gives the same bytes with RSA keys; ECDSA signatures hold a random
/// number and differ each time.
///
/// # Errors
/// A key of an unknown kind, or one that OpenSSL cannot use.
pub fn sign(content: Content<'_>, signer: &Identity, time: i64) -> Result<Vec<u8>, SignError> {
    let scheme = Scheme::of(signer)?;
    let digest = match content {
        Content::Attached(bytes) => Digest::of(bytes),
        Content::Detached(digest) => digest,
    };
    let attributes = attributes(&digest, time)?;
    // The signature is over the attributes as a SET, though they stand as [0] in the structure.
    let signature = scheme.sign(signer, &set_of(attributes.clone()))?;
    let digest_algorithm = sequence(&[&oid(ID_SHA256)?]);
    let signer_info = sequence(&[
        &integer(&[1]),
        &issuer_and_serial(&signer.certificate)?,
        &digest_algorithm,
        &context(0, &der::sorted(attributes)),
        &scheme.algorithm,
        &octets(&signature),
    ]);
    let attached = match content {
        Content::Attached(bytes) => context(0, &octets(bytes)),
        Content::Detached(_) => Vec::new(),
    };
    let signed_data = sequence(&[
        &integer(&[1]),
        &set_of(vec![digest_algorithm.clone()]),
        &sequence(&[&oid(ID_DATA)?, &attached]),
        &context(0, &der::sorted(certificates(signer)?)),
        &set_of(vec![signer_info]),
    ]);
    Ok(sequence(&[
        &oid(ID_SIGNED_DATA)?,
        &context(0, &signed_data),
    ]))
}

fn attributes(digest: &Digest, time: i64) -> Result<Vec<Vec<u8>>, SignError> {
    let attribute = |id, value: Vec<u8>| -> Result<_, SignError> {
        Ok(sequence(&[&oid(id)?, &set_of(vec![value])]))
    };
    Ok(vec![
        attribute(ID_CONTENT_TYPE, oid(ID_DATA)?)?,
        attribute(
            ID_SIGNING_TIME,
            time::encode(time).ok_or(SignError::Time { time })?,
        )?,
        attribute(ID_MESSAGE_DIGEST, octets(digest.as_bytes()))?,
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

impl Scheme {
    fn of(signer: &Identity) -> Result<Self, SignError> {
        let digest = MessageDigest::sha256();
        let null = [0x05, 0x00];
        let algorithm = match signer.key.id() {
            // rsaEncryption, PKCS #1 v1.5
            Id::RSA => sequence(&[&oid("1.2.840.113549.1.1.1")?, &null]),
            // ecdsa-with-SHA256
            Id::EC => sequence(&[&oid("1.2.840.10045.4.3.2")?]),
            // Ed25519 among them: OpenSSL 3.0 does not verify such a CMS, so no device could.
            _ => return Err(SignError::KeyKind),
        };
        Ok(Self { digest, algorithm })
    }

    fn sign(&self, signer: &Identity, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut engine = Signer::new(self.digest, &signer.key)?;
        Ok(engine.sign_oneshot_to_vec(bytes)?)
    }
}
