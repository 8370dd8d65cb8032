//! Who signs: a certificate, its key, and the certificates between it and the root.

use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::x509::X509;
use token_key::{TokenAccess, TokenError, TokenKey, Uri};

use super::SignError;
use super::key::SigningKey;
use super::scheme::Scheme;

/// A certificate that expires within this many seconds is worth a warning (31 days).
const SOON: i64 = 31 * 86_400;

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
    #[error("the key does not belong to the certificate {certificate}")]
    Mismatch {
        /// Which.
        certificate: String,
    },
    /// Devices would refuse what it signs.
    #[error(
        "the certificate {subject} is not valid now (from {from} until {until}), so devices refuse what it signs; use another one, or sign all the same with --no-check-time"
    )]
    NotValid {
        /// Whose certificate.
        subject: String,
        /// First moment of its validity.
        from: String,
        /// Last moment of its validity.
        until: String,
    },
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The key cannot sign bundles.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// OpenSSL fails.
    #[error("OpenSSL failed")]
    OpenSsl(#[from] ErrorStack),
}

/// Where the parts of an identity are: each in a PEM file, or on a token, whose `pkcs11:` URI then
/// stands in place of the file's name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeySource {
    /// The signer's certificate; further ones in a PEM file are taken as intermediates.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// The certificates between the signer and the root.
    pub intermediates: Vec<PathBuf>,
    /// Pass phrase of the key, if it is a file.
    pub passphrase: Option<String>,
    /// How tokens are reached.
    pub token: TokenAccess,
    /// Whether the certificates have to be valid.
    pub validity: Validity,
}

/// What is asked of certificates before they sign; times are seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Validity {
    /// Nothing.
    #[default]
    Ignored,
    /// A warning, if they are not valid at this time, or not for long any more. RAUC signs with
    /// an expired certificate: scripts that count on it go on.
    Warned(i64),
    /// To be valid at this time; a warning, if not for long any more.
    Demanded(i64),
}

impl Validity {
    fn time(self) -> Option<i64> {
        match self {
            Self::Ignored => None,
            Self::Warned(now) | Self::Demanded(now) => Some(now),
        }
    }
}

impl KeySource {
    /// A certificate and a key without a pass phrase, at any time.
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self {
            certificate,
            key,
            ..Self::default()
        }
    }
}

impl std::fmt::Debug for KeySource {
    /// Without anything that is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySource")
            .field("certificate", &token_key::shown(&self.certificate))
            .field("key", &token_key::shown(&self.key))
            .finish_non_exhaustive()
    }
}

/// A certificate that can sign.
pub struct Identity {
    pub(crate) certificate: X509,
    pub(crate) intermediates: Vec<X509>,
    pub(super) key: SigningKey,
    pub(super) scheme: Scheme,
    validity: Validity,
}

impl Identity {
    /// Reads certificate, key and intermediates, and makes sure that they can sign. A token is
    /// asked for a signature to find out whether its key is the certificate's.
    ///
    /// # Errors
    /// A file or a token cannot be read, key and certificate do not belong together, or a
    /// certificate is not valid at the time that `source` names.
    pub fn load(source: &KeySource) -> Result<Self, IdentityError> {
        let place = token_key::shown(&source.certificate);
        let mut certificates = certificates(&source.certificate, &source.token)?.into_iter();
        let certificate = certificates
            .next()
            .ok_or_else(|| IdentityError::NoCertificate {
                path: source.certificate.clone(),
            })?;
        let mut intermediates: Vec<_> = certificates.collect();
        for place in &source.intermediates {
            intermediates.extend(self::certificates(place, &source.token)?);
        }
        let public = certificate.public_key()?;
        let scheme = Scheme::of(&public)?;
        if let Validity::Demanded(now) = source.validity {
            for certificate in std::iter::once(&certificate).chain(&intermediates) {
                check_validity(certificate, now)?;
            }
        }
        let key = key(source)?;
        if !key.belongs_to(&public)? {
            return Err(IdentityError::Mismatch { certificate: place });
        }
        Ok(Self {
            certificate,
            intermediates,
            key,
            scheme,
            validity: source.validity,
        })
    }

    /// What the user should know before bundles are signed by it.
    ///
    /// # Errors
    /// OpenSSL fails.
    pub fn warnings(&self) -> Result<Vec<String>, IdentityError> {
        let mut warnings = Vec::new();
        if self.scheme == Scheme::Ed25519 {
            warnings.push(
                "the signature is Ed25519: slotmgr verifies it, RAUC devices refuse it".to_owned(),
            );
        }
        let Some(now) = self.validity.time() else {
            return Ok(warnings);
        };
        let soon = Asn1Time::from_unix(now.saturating_add(SOON))?;
        for certificate in std::iter::once(&self.certificate).chain(&self.intermediates) {
            if !is_valid(certificate, now)? {
                warnings.push(format!(
                    "the certificate {} is not valid now (from {} until {}), so devices refuse what it signs; use another one",
                    subject(certificate),
                    certificate.not_before(),
                    certificate.not_after()
                ));
            } else if *certificate.not_after() < *soon {
                warnings.push(format!(
                    "the certificate {} expires on {}: later, devices refuse what it signed",
                    subject(certificate),
                    certificate.not_after()
                ));
            }
        }
        Ok(warnings)
    }

    /// What the content of a bundle has to be hashed with.
    pub fn digest(&self) -> MessageDigest {
        self.scheme.digest()
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

fn is_valid(certificate: &X509, now: i64) -> Result<bool, ErrorStack> {
    let now = Asn1Time::from_unix(now)?;
    Ok(*certificate.not_before() <= *now && *now <= *certificate.not_after())
}

fn check_validity(certificate: &X509, now: i64) -> Result<(), IdentityError> {
    if is_valid(certificate, now)? {
        return Ok(());
    }
    Err(IdentityError::NotValid {
        subject: subject(certificate),
        from: certificate.not_before().to_string(),
        until: certificate.not_after().to_string(),
    })
}

fn subject(certificate: &X509) -> String {
    bundle_format::cms::certificate_name(certificate.subject_name())
}

fn certificates(place: &Path, access: &TokenAccess) -> Result<Vec<X509>, IdentityError> {
    match Uri::of(place)? {
        Some(uri) => Ok(vec![token_key::certificate(&uri, access)?]),
        None => load_certificates(place),
    }
}

/// All certificates in a PEM file; at least one.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn load_certificates(path: &Path) -> Result<Vec<X509>, IdentityError> {
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

fn key(source: &KeySource) -> Result<SigningKey, IdentityError> {
    if let Some(uri) = Uri::of(&source.key)? {
        return Ok(SigningKey::Token(TokenKey::open(&uri, &source.token)?));
    }
    let pem = read(&source.key, "key")?;
    // An empty pass phrase rather than none: OpenSSL would ask at the terminal.
    let passphrase = source.passphrase.as_deref().unwrap_or_default();
    let key = PKey::private_key_from_pem_passphrase(&pem, passphrase.as_bytes());
    key.map(SigningKey::Pem)
        .map_err(|error| IdentityError::Key {
            path: source.key.clone(),
            source: error,
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
