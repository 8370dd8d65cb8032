//! Whom to trust, and how much is checked.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::ssl::SslFiletype;
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509PurposeId};

use super::policy::Policy;
use crate::limits::MAX_KEYRING_SIZE;

/// Why a keyring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("cannot read the keyring {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any keyring.
    #[error("the keyring {name} is larger than {MAX_KEYRING_SIZE} bytes")]
    TooLarge {
        /// Which.
        name: String,
    },
    /// It cannot be parsed.
    #[error("the keyring {name} holds a certificate that cannot be read")]
    Parse {
        /// Which.
        name: String,
        /// What OpenSSL said.
        source: ErrorStack,
    },
    /// Nothing to trust in it.
    #[error("the keyring {name} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    Empty {
        /// Which.
        name: String,
    },
    /// A path that OpenSSL cannot take.
    #[error("the path {path} of the keyring is not UTF-8 text")]
    Path {
        /// Which.
        path: PathBuf,
    },
    /// OpenSSL refuses a setting.
    #[error("OpenSSL refuses the trust settings")]
    OpenSsl(#[from] ErrorStack),
}

/// What the signer's certificate has to be made for (`check-purpose`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Signing e-mail, which is what CMS is checked for when nothing is said.
    #[default]
    SmimeSign,
    /// Whatever.
    Any,
    /// Signing code, by the rules that RAUC made up for it.
    CodeSign,
    /// Encrypting e-mail.
    SmimeEncrypt,
    /// TLS clients.
    SslClient,
    /// TLS servers.
    SslServer,
    /// TLS servers, Netscape's way.
    NsSslServer,
}

/// Whether certificates may have been revoked (`check-crl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Revocation {
    /// Revocation lists are not looked at.
    #[default]
    Ignore,
    /// Every certificate of the chain needs a valid revocation list that does not name it.
    CheckAll,
}

/// At which time certificates have to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckTime {
    /// At the time that this machine's clock shows.
    #[default]
    Now,
    /// At this time, in seconds since 1970.
    At(i64),
    /// At the time that the signature says it was made (`use-bundle-signing-time`).
    Signing,
    /// At any time (only for tools that re-sign).
    Ignore,
}

/// Whom to trust, and how much is checked. The whole policy of a verification is in here.
#[derive(Clone)]
pub struct Trust {
    name: String,
    anchors: Vec<X509>,
    /// Where revocation lists are read from.
    file: Option<PathBuf>,
    directory: Option<PathBuf>,
    has_crl: bool,
    pub(super) purpose: Purpose,
    pub(super) revocation: Revocation,
    pub(super) time: CheckTime,
    partial_chain: bool,
    pub(super) allowed_signers: Vec<String>,
    pub(super) policy: Policy,
}

impl Trust {
    /// Trusts the certificates in a PEM file, or in a directory as [`Trust::from_directory`] does.
    /// Revocation lists in it are used if [`Trust::with_revocation`] asks for it.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate in it.
    pub fn from_keyring_file(path: &Path) -> Result<Self, TrustError> {
        if path.is_dir() {
            return Self::from_directory(path);
        }
        let read = |path: &Path| {
            let mut bytes = Vec::new();
            std::fs::File::open(path)?
                .take(MAX_KEYRING_SIZE + 1)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read(path).map_err(|source| TrustError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut trust = Self::from_pem(&bytes, &path.display().to_string())?;
        trust.file = Some(path.to_owned());
        Ok(trust)
    }

    /// Trusts the certificates in PEM text; `name` is for messages.
    ///
    /// # Errors
    /// No certificate in it, or one that cannot be read.
    pub fn from_pem(bytes: &[u8], name: &str) -> Result<Self, TrustError> {
        let name = name.to_owned();
        if bytes.len() as u64 > MAX_KEYRING_SIZE {
            return Err(TrustError::TooLarge { name });
        }
        let anchors = X509::stack_from_pem(bytes).map_err(|source| TrustError::Parse {
            name: name.clone(),
            source,
        })?;
        if anchors.is_empty() {
            return Err(TrustError::Empty { name });
        }
        let mut trust = Self::nobody(name);
        trust.anchors = anchors;
        trust.has_crl = bytes
            .windows(CRL_MARK.len())
            .any(|window| window == CRL_MARK);
        Ok(trust)
    }

    /// Trusts the certificates in a directory with OpenSSL's hashed names (`openssl rehash`).
    ///
    /// # Errors
    /// The path is not UTF-8 text.
    pub fn from_directory(path: &Path) -> Result<Self, TrustError> {
        let name = path.to_str().ok_or_else(|| TrustError::Path {
            path: path.to_owned(),
        })?;
        let mut trust = Self::nobody(name.to_owned());
        trust.directory = Some(path.to_owned());
        Ok(trust)
    }

    /// Trusts the certificates in a directory as well.
    #[must_use]
    pub fn and_directory(mut self, path: &Path) -> Self {
        self.directory = Some(path.to_owned());
        self
    }

    fn nobody(name: String) -> Self {
        Self {
            name,
            anchors: Vec::new(),
            file: None,
            directory: None,
            has_crl: false,
            purpose: Purpose::default(),
            revocation: Revocation::default(),
            time: CheckTime::default(),
            partial_chain: false,
            allowed_signers: Vec::new(),
            policy: Policy::default(),
        }
    }

    /// Sets what the signer's certificate has to be made for.
    #[must_use]
    pub fn with_purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Sets whether certificates may have been revoked.
    #[must_use]
    pub fn with_revocation(mut self, revocation: Revocation) -> Self {
        self.revocation = revocation;
        self
    }

    /// Sets at which time certificates have to be valid.
    #[must_use]
    pub fn with_time(mut self, time: CheckTime) -> Self {
        self.time = time;
        self
    }

    /// Trusts certificates of the keyring as they are, even if they are not self-signed
    /// (`allow-partial-chain`).
    #[must_use]
    pub fn with_partial_chain(mut self) -> Self {
        self.partial_chain = true;
        self
    }

    /// Accepts only signers with one of these common names (`allowed-signer-cns`).
    #[must_use]
    pub fn with_allowed_signers(mut self, names: Vec<String>) -> Self {
        self.allowed_signers = names;
        self
    }

    /// Sets what to allow beyond the safe defaults.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// What is allowed beyond the safe defaults.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The keyring's name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the keyring holds revocation lists that nobody asked to look at.
    pub fn ignores_crl(&self) -> bool {
        self.has_crl && self.revocation == Revocation::Ignore
    }

    /// Whether `certificate` lies in the keyring itself.
    pub(super) fn is_anchor(&self, certificate: &X509) -> bool {
        let same = |anchor: &X509| match (anchor.to_der(), certificate.to_der()) {
            (Ok(anchor), Ok(certificate)) => anchor == certificate,
            _ => false,
        };
        self.anchors.iter().any(same)
    }

    /// The store for one verification; `time` in seconds since 1970, `None` for now.
    pub(super) fn store(&self, time: Option<i64>) -> Result<X509Store, TrustError> {
        let mut builder = X509StoreBuilder::new()?;
        for anchor in &self.anchors {
            builder.add_cert(anchor.clone())?;
        }
        if let Some(directory) = &self.directory {
            let path = c_path(directory)?;
            builder
                .add_lookup(X509Lookup::hash_dir())?
                .add_dir(path, SslFiletype::PEM)?;
        }
        if let (Some(file), true, Revocation::CheckAll) =
            (&self.file, self.has_crl, self.revocation)
        {
            let path = c_path(file)?;
            builder
                .add_lookup(X509Lookup::file())?
                .load_crl_file(path, SslFiletype::PEM)?;
        }
        builder.set_param(&*self.parameters(time)?)?;
        Ok(builder.build())
    }

    fn parameters(&self, time: Option<i64>) -> Result<X509VerifyParam, TrustError> {
        let mut parameters = X509VerifyParam::new()?;
        let mut flags = X509VerifyFlags::empty();
        if self.partial_chain {
            flags |= X509VerifyFlags::PARTIAL_CHAIN;
        }
        if self.revocation == Revocation::CheckAll {
            flags |= X509VerifyFlags::CRL_CHECK
                | X509VerifyFlags::CRL_CHECK_ALL
                | X509VerifyFlags::EXTENDED_CRL_SUPPORT;
        }
        if self.time == CheckTime::Ignore {
            flags |= X509VerifyFlags::NO_CHECK_TIME;
        }
        parameters.set_flags(flags)?;
        parameters.set_purpose(self.purpose.openssl())?;
        if let Some(time) = time {
            parameters.set_time(time);
        }
        Ok(parameters)
    }
}

/// Marks a revocation list in PEM text.
const CRL_MARK: &[u8] = b"-----BEGIN X509 CRL-----";

/// A path that OpenSSL can take: text, and no NUL in it.
fn c_path(path: &Path) -> Result<&str, TrustError> {
    path.to_str()
        .filter(|path| !path.contains('\0'))
        .ok_or_else(|| TrustError::Path {
            path: path.to_owned(),
        })
}

impl Purpose {
    /// Code signing has no purpose in OpenSSL 3.0; its rules are checked on the finished chain.
    fn openssl(self) -> X509PurposeId {
        match self {
            Self::SmimeSign => X509PurposeId::SMIME_SIGN,
            Self::Any | Self::CodeSign => X509PurposeId::ANY,
            Self::SmimeEncrypt => X509PurposeId::SMIME_ENCRYPT,
            Self::SslClient => X509PurposeId::SSL_CLIENT,
            Self::SslServer => X509PurposeId::SSL_SERVER,
            Self::NsSslServer => X509PurposeId::NS_SSL_SERVER,
        }
    }

    /// The purpose called `name` in `check-purpose`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "any" => Self::Any,
            "sslclient" => Self::SslClient,
            "sslserver" => Self::SslServer,
            "nssslserver" => Self::NsSslServer,
            "smimesign" => Self::SmimeSign,
            "smimeencrypt" => Self::SmimeEncrypt,
            "codesign" => Self::CodeSign,
            _ => return None,
        })
    }
}
