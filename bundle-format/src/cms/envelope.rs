//! Signatures that are encrypted: CMS EnvelopedData around the SignedData.
//!
//! The signed manifest of a crypt bundle holds the key of the payload, so the whole signature is
//! encrypted to the devices that may read it. An envelope proves nothing about who made it; what
//! comes out of it is verified like any other signature.

use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::structure::{CmsKind, StructureError, kind, parse};

/// Largest key or certificate file, in bytes.
const MAX_PEM_SIZE: u64 = 1024 * 1024;

/// Why an envelope cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DecryptError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a private key.
    #[error("{path} holds no private key in PEM form that can be opened", path = path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// What OpenSSL said.
        source: ErrorStack,
    },
    /// Not a certificate.
    #[error("{path} holds no certificate in PEM form", path = path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// What OpenSSL said.
        source: ErrorStack,
    },
    /// The signature cannot be looked into.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// There is no envelope.
    #[error("the bundle is not encrypted")]
    NotEncrypted,
    /// The key opens nothing.
    #[error("the bundle is not encrypted for this key")]
    WrongKey(#[source] Option<ErrorStack>),
}

/// The key that opens envelopes.
#[derive(Clone)]
pub struct DecryptionKey {
    key: PKey<Private>,
    certificate: Option<X509>,
}

impl DecryptionKey {
    /// Reads a key, and the certificate that belongs to it if there is one: with it, only what is
    /// meant for it is tried.
    ///
    /// # Errors
    /// A file cannot be read or parsed.
    pub fn from_files(
        key: &Path,
        passphrase: Option<&str>,
        certificate: Option<&Path>,
    ) -> Result<Self, DecryptError> {
        let pem = read(key)?;
        let passphrase = passphrase.unwrap_or_default().as_bytes();
        let parsed = PKey::private_key_from_pem_passphrase(&pem, passphrase).map_err(|source| {
            DecryptError::Key {
                path: key.to_owned(),
                source,
            }
        })?;
        let certificate =
            match certificate {
                None => None,
                Some(path) => Some(X509::from_pem(&read(path)?).map_err(|source| {
                    DecryptError::Certificate {
                        path: path.to_owned(),
                        source,
                    }
                })?),
            };
        Ok(Self {
            key: parsed,
            certificate,
        })
    }

    /// Opens the envelope `cms`, which starts at `offset` in the bundle.
    pub(crate) fn open(&self, cms: &[u8], offset: u64) -> Result<Vec<u8>, DecryptError> {
        if kind(cms, offset)? != CmsKind::Enveloped {
            return Err(DecryptError::NotEncrypted);
        }
        let (parsed, _) = parse(cms, offset)?;
        let opened = match &self.certificate {
            Some(certificate) => parsed.decrypt(&self.key, certificate),
            None => parsed.decrypt_without_cert_check(&self.key),
        };
        let opened = opened.map_err(|error| DecryptError::WrongKey(Some(error)))?;
        // With a wrong RSA key OpenSSL goes on with a random key on purpose: what comes out then is
        // noise, which does not parse.
        match kind(&opened, offset) {
            Ok(CmsKind::Signed) => Ok(opened),
            _ => Err(DecryptError::WrongKey(None)),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DecryptError> {
    use std::io::Read as _;
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(MAX_PEM_SIZE)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| DecryptError::Read {
        path: path.to_owned(),
        source,
    })
}
