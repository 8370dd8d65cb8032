//! Encrypting the signature of a crypt bundle to those who may read it.

use std::path::{Path, PathBuf};

use bundle_format::manifest::Format;
use bundle_format::{BundleError, Limits, Trust};
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::X509;

use crate::open::{Check, OpenError, Source, on_the_host};
use crate::rewrite::{RewriteError, Target, append_signature, copy_payload};
use crate::sign::{IdentityError, load_certificates};

/// Why a bundle cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum EncryptError {
    /// The input is no bundle, or not trusted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The bundle has no key to hide.
    #[error("only bundles of the format crypt can be encrypted; this one is {format}")]
    Format {
        /// Its format.
        format: &'static str,
    },
    /// Nobody to encrypt to.
    #[error("no recipient is given")]
    NoRecipients,
    /// A recipient's certificate cannot be read.
    #[error(transparent)]
    Recipient(#[from] IdentityError),
    /// OpenSSL fails.
    #[error("OpenSSL cannot encrypt to these recipients")]
    OpenSsl(#[from] ErrorStack),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] RewriteError),
}

/// Those who may read a bundle.
pub struct Recipients(Vec<X509>);

impl Recipients {
    /// Reads PEM files, each with one certificate or more.
    ///
    /// # Errors
    /// A file cannot be read or holds no certificate.
    pub fn load(files: &[PathBuf]) -> Result<Self, IdentityError> {
        let mut certificates = Vec::new();
        for file in files {
            certificates.extend(load_certificates(file)?);
        }
        Ok(Self(certificates))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Puts a signature into an envelope for them: AES-256-CBC, with RSA or ECDH keys.
    ///
    /// # Errors
    /// There are none, or OpenSSL cannot use a key.
    pub fn envelop(&self, signature: &[u8]) -> Result<Vec<u8>, EncryptError> {
        if self.0.is_empty() {
            return Err(EncryptError::NoRecipients);
        }
        let mut stack = Stack::new()?;
        for certificate in &self.0 {
            stack.push(certificate.clone())?;
        }
        let cipher = Cipher::aes_256_cbc();
        let envelope = CmsContentInfo::encrypt(&stack, signature, cipher, CMSOptions::BINARY)?;
        Ok(envelope.to_der()?)
    }
}

/// Writes the bundle at `source` anew, with its signature encrypted to `recipients`.
///
/// # Errors
/// The input is not a trusted crypt bundle, or is encrypted already; writing fails.
pub fn encrypt(
    source: &Path,
    check: &Check<'_>,
    recipients: &Recipients,
    target: &Target,
) -> Result<(), EncryptError> {
    let source = Source {
        path: source,
        limits: &Limits::default(),
        decryption: None,
    };
    let bundle = source.open()?;
    let format = bundle
        .manifest_unverified()
        .map_err(OpenError::from)?
        .bundle
        .format;
    if format != Format::Crypt {
        return Err(EncryptError::Format {
            format: format.name(),
        });
    }
    let envelope = recipients.envelop(bundle.signature())?;
    let payload = bundle.payload_len();
    if let Check::Trust(trust) = check {
        verify(bundle, trust)?;
    }
    let mut output = copy_payload(source.path, payload, target)?;
    append_signature(&mut output, &envelope)?;
    output.finish().map_err(RewriteError::from)?;
    Ok(())
}

fn verify(
    bundle: bundle_format::Bundle<bundle_format::FileReader>,
    trust: &Trust,
) -> Result<(), OpenError> {
    bundle
        .verify(&on_the_host(trust))
        .map(drop)
        .map_err(|error: BundleError| error.into())
}
