//! Who signs: a certificate, its key, and the certificates between it and the root.

use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

/// Largest certificate or key file that is read, in bytes.
const MAX_PEM_SIZE: u64 = 1024 * 1024;

/// Why somebody cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read the {what}")]
    Read {
        /// Certificate or key.
        what: &'static str,
        /// What the system said, with the path.
        source: std::io::Error,
    },
    /// A file is larger than any of its kind.
    #[error("{path} is larger than {MAX_PEM_SIZE} bytes: not a {what}", path = path.display())]
    TooLarge {
        /// Certificate or key.
        what: &'static str,
        /// Which.
        path: PathBuf,
    },
    /// Not a certificate.
    #[error("{path} holds no certificate in PEM form", path = path.display())]
    Certificate {
        /// Which.
        path: PathBuf,
        /// What OpenSSL said.
        source: ErrorStack,
    },
    /// Not a certificate, and nothing wrong either.
    #[error("{path} holds no certificate in PEM form", path = path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// Not a key, or a wrong pass phrase.
    #[error("{path} holds no private key in PEM form that can be opened; a key with a pass phrase needs RAUC_KEY_PASSPHRASE", path = path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// What OpenSSL said.
        source: ErrorStack,
    },
    /// Key and certificate are strangers.
    #[error("the key does not belong to the certificate {certificate}", certificate = certificate.display())]
    Mismatch {
        /// Which.
        certificate: PathBuf,
    },
    /// OpenSSL fails.
    #[error("OpenSSL failed")]
    OpenSsl(#[from] ErrorStack),
}

/// Where the parts of an identity are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySource {
    /// PEM file with the signer's certificate; further ones in it are taken as intermediates.
    pub certificate: PathBuf,
    /// PEM file with the key.
    pub key: PathBuf,
    /// PEM files with the certificates between the signer and the root.
    pub intermediates: Vec<PathBuf>,
    /// Pass phrase of the key.
    pub passphrase: Option<String>,
}

/// A certificate that can sign.
#[derive(Clone)]
pub struct Identity {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
    pub(crate) intermediates: Vec<X509>,
}

impl Identity {
    /// Reads certificate, key and intermediates.
    ///
    /// # Errors
    /// A file cannot be read, or key and certificate do not belong together.
    pub fn load(source: &KeySource) -> Result<Self, IdentityError> {
        let mut certificates = certificates(&source.certificate)?.into_iter();
        let path = || source.certificate.clone();
        let certificate = certificates
            .next()
            .ok_or_else(|| IdentityError::NoCertificate { path: path() })?;
        let mut intermediates: Vec<_> = certificates.collect();
        for file in &source.intermediates {
            intermediates.extend(self::certificates(file)?);
        }
        let key = key(source)?;
        if !certificate.public_key()?.public_eq(&key) {
            return Err(IdentityError::Mismatch {
                certificate: path(),
            });
        }
        Ok(Self {
            certificate,
            key,
            intermediates,
        })
    }

    /// The signer's certificate and the intermediate ones in PEM form.
    ///
    /// # Errors
    /// OpenSSL fails.
    pub fn certificates_pem(&self) -> Result<Vec<u8>, IdentityError> {
        let mut pem = self.certificate.to_pem()?;
        for intermediate in &self.intermediates {
            pem.extend(intermediate.to_pem()?);
        }
        Ok(pem)
    }
}

fn certificates(path: &Path) -> Result<Vec<X509>, IdentityError> {
    let pem = read(path, "certificate")?;
    let certificates = X509::stack_from_pem(&pem).map_err(|source| IdentityError::Certificate {
        path: path.to_owned(),
        source,
    })?;
    if certificates.is_empty() {
        return Err(IdentityError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

fn key(source: &KeySource) -> Result<PKey<Private>, IdentityError> {
    let pem = read(&source.key, "key")?;
    // An empty pass phrase rather than none: OpenSSL would ask at the terminal.
    let passphrase = source.passphrase.as_deref().unwrap_or_default();
    PKey::private_key_from_pem_passphrase(&pem, passphrase.as_bytes()).map_err(|error| {
        IdentityError::Key {
            path: source.key.clone(),
            source: error,
        }
    })
}

fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, IdentityError> {
    use std::io::Read as _;
    let read = || {
        let mut bytes = Vec::new();
        fs_err::File::open(path)?
            .take(MAX_PEM_SIZE + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| IdentityError::Read { what, source })?;
    if bytes.len() as u64 > MAX_PEM_SIZE {
        return Err(IdentityError::TooLarge {
            what,
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}
