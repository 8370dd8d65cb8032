//! Signatures that are encrypted: CMS EnvelopedData around the SignedData.
//!
//! The signed manifest of a crypt bundle holds the key of the payload, so the whole signature is
//! encrypted to the devices that may read it. An envelope proves nothing about who made it; what
//! comes out of it is verified like any other signature.

mod agreement;
mod algorithm;
mod holder;
mod opening;
mod structure;

pub use holder::{HeldKind, HolderError, KeyHolder, OaepHash, RsaPadding, Secret};
pub(super) use structure::{Enveloped, Sealed};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::structure::{CmsKind, StructureError, kind, parse};
use crate::limits::MAX_RECIPIENTS_TRIED;

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
    /// The holder of the key cannot use it.
    #[error("the key that opens encrypted bundles cannot be used")]
    Holder(#[source] HolderError),
    /// A cipher that is not known where OpenSSL may not have the key.
    #[error(
        "the bundle is encrypted with {0}, which a key on a token does not open here: encrypt it anew, with AES in CBC mode"
    )]
    Cipher(String),
    /// The same for the key of the content.
    #[error(
        "the bundle is encrypted for this kind of key by {0}, which a key on a token does not open here: encrypt it anew"
    )]
    Way(String),
    /// More recipients than may be tried without knowing which one is meant.
    #[error(
        "the bundle is encrypted for {found} recipients of this kind, and {MAX_RECIPIENTS_TRIED} are tried at most: name the certificate of the key (cert=, --decrypt-cert) to say which one it is"
    )]
    ManyRecipients {
        /// How many.
        found: usize,
    },
    /// OpenSSL fails.
    #[error("OpenSSL failed")]
    OpenSsl(#[from] ErrorStack),
}

/// The key that opens envelopes.
#[derive(Clone)]
pub struct DecryptionKey {
    key: Key,
    certificate: Option<X509>,
}

#[derive(Clone)]
enum Key {
    Memory(PKey<Private>),
    Held(Arc<dyn KeyHolder>),
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
        let key = Self {
            key: Key::Memory(parsed),
            certificate: None,
        };
        Ok(match certificate {
            Some(path) => key.with_certificate(Self::certificate(path)?),
            None => key,
        })
    }

    /// A key that somebody else holds.
    #[must_use]
    pub fn held_by(holder: Arc<dyn KeyHolder>) -> Self {
        Self {
            key: Key::Held(holder),
            certificate: None,
        }
    }

    /// The same, if only what is meant for this certificate is to be tried.
    #[must_use]
    pub fn with_certificate(self, certificate: X509) -> Self {
        let certificate = Some(certificate);
        Self {
            certificate,
            ..self
        }
    }

    /// The certificate in a PEM file.
    ///
    /// # Errors
    /// The file cannot be read or parsed.
    pub fn certificate(path: &Path) -> Result<X509, DecryptError> {
        X509::from_pem(&read(path)?).map_err(|source| DecryptError::Certificate {
            path: path.to_owned(),
            source,
        })
    }

    /// Opens the envelope `cms`, which starts at `offset` in the bundle.
    pub(crate) fn open(&self, cms: &[u8], offset: u64) -> Result<Vec<u8>, DecryptError> {
        if kind(cms, offset)? != CmsKind::Enveloped {
            return Err(DecryptError::NotEncrypted);
        }
        let (parsed, der) = parse(cms, offset)?;
        let certificate = self.certificate.as_ref();
        let key = match &self.key {
            Key::Memory(key) => key,
            Key::Held(holder) => return opening::open(&der, offset, &**holder, certificate),
        };
        let opened = match certificate {
            Some(certificate) => parsed.decrypt(key, certificate),
            None => parsed.decrypt_without_cert_check(key),
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
