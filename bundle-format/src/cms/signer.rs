//! Who signed, for people.

use openssl::error::ErrorStack;
use openssl::x509::{X509, X509NameEntryRef, X509NameRef};

use crate::digest::Digest;

/// One certificate of the chain that was trusted, signer first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Whose certificate it is, like `CN=…, O=…`.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
    /// SHA-256 of its public key, which a renewed certificate may keep.
    pub key: Digest,
    /// First moment of its validity, as OpenSSL writes it.
    pub not_before: String,
    /// Last moment of its validity, as OpenSSL writes it.
    pub not_after: String,
    /// The certificate in PEM form.
    pub pem: String,
}

impl Signer {
    pub(super) fn of(certificate: &X509) -> Result<Self, ErrorStack> {
        let fingerprint = certificate.to_der()?;
        let pem = String::from_utf8_lossy(&certificate.to_pem()?).into_owned();
        Ok(Self {
            subject: name(certificate.subject_name()),
            issuer: name(certificate.issuer_name()),
            fingerprint: Digest::of(&fingerprint),
            key: Digest::of(&certificate.public_key()?.public_key_to_der()?),
            not_before: certificate.not_before().to_string(),
            not_after: certificate.not_after().to_string(),
            pem,
        })
    }
}

/// `O=…, CN=…`, with everything that is not printable escaped.
pub fn name(name: &X509NameRef) -> String {
    let part = |entry: &X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().unwrap_or_else(|_| "?".to_owned());
        let value = value.escape_debug();
        format!("{key}={value}")
    };
    name.entries().map(part).collect::<Vec<_>>().join(", ")
}
