//! Arguments that several verbs share.

use std::path::PathBuf;

use anyhow::Result;
use bundle_format::Trust;
use bundle_format::cms::{CheckTime, DecryptionKey, Policy, Purpose, Revocation};

use super::parse;
use crate::cli::{Environment, UsageError};
use crate::encrypt::Recipients;
use crate::open::Check;
use crate::output::Overwrite;
use crate::rewrite::Target;
use crate::sign::{KeySource, Validity};

/// Who signs.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct SignerArgs {
    /// PEM file with the signer's certificate, or its pkcs11: URI
    #[arg(long, value_name = "PEM|URI")]
    pub cert: PathBuf,
    /// PEM file with the signer's key (pass phrase in RAUC_KEY_PASSPHRASE), or its pkcs11: URI
    /// (PIN in RAUC_PKCS11_PIN, module in RAUC_PKCS11_MODULE)
    #[arg(long, value_name = "PEM|URI")]
    pub key: PathBuf,
    /// PEM file (or pkcs11: URI) with certificates between signer and root; may be given several
    /// times
    #[arg(long, value_name = "PEM|URI")]
    pub intermediate: Vec<PathBuf>,
}

impl SignerArgs {
    /// Where certificate and key are, and whether the certificates have to be valid.
    pub fn source(&self, environment: &Environment, validity: Validity) -> KeySource {
        KeySource {
            certificate: self.cert.clone(),
            key: self.key.clone(),
            intermediates: self.intermediate.clone(),
            passphrase: environment.key_passphrase.clone(),
            token: environment.token.clone(),
            validity,
        }
    }
}

/// Whether certificates have to be valid to sign.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct ExpiryArgs {
    /// Sign although the certificate has expired (or is not valid yet)
    #[arg(long)]
    pub no_check_time: bool,
}

impl ExpiryArgs {
    /// What is asked of certificates.
    pub fn validity(&self, environment: &Environment) -> Validity {
        if self.no_check_time {
            Validity::Ignored
        } else {
            Validity::Demanded(environment.now)
        }
    }
}

/// Where the result goes.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ForceArgs {
    /// Replace OUTPUT if it is there already
    #[arg(long)]
    pub force: bool,
}

impl ForceArgs {
    /// The file to create.
    pub fn target(&self, path: &std::path::Path) -> Target {
        Target {
            path: path.to_owned(),
            overwrite: self.overwrite(),
        }
    }

    /// What to do if it is there already.
    pub fn overwrite(&self) -> Overwrite {
        if self.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        }
    }
}

/// To whom a signature is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct RecipientArgs {
    /// PEM file with certificates of those who may read the bundle (crypt format); may be given
    /// several times
    #[arg(long, value_name = "PEM")]
    pub to: Vec<PathBuf>,
}

impl RecipientArgs {
    /// Reads the certificates; `None` without any.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn load(&self) -> Result<Option<Recipients>> {
        if self.to.is_empty() {
            return Ok(None);
        }
        Ok(Some(Recipients::load(&self.to)?))
    }
}

/// Whom to trust, and how the input is opened.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct CheckArgs {
    /// PEM file with the certificates to trust, or a directory of them (openssl rehash)
    #[arg(long, value_name = "PEM", required_unless_present = "no_verify")]
    pub keyring: Option<PathBuf>,
    /// Do not check the signature: never decide by what comes out
    #[arg(long, conflicts_with = "keyring")]
    pub no_verify: bool,
    /// How to check.
    #[command(flatten)]
    pub rules: RuleArgs,
    /// How to open.
    #[command(flatten)]
    pub decrypt: DecryptArgs,
}

/// The keyring, once it is read.
pub enum Checked {
    /// Check with it.
    Trust(Trust),
    /// Check nothing.
    None,
}

impl Checked {
    /// As the library wants it.
    pub fn as_check(&self) -> Check<'_> {
        match self {
            Self::Trust(trust) => Check::Trust(trust),
            Self::None => Check::None,
        }
    }
}

impl CheckArgs {
    /// Reads the keyring.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn load(&self) -> Result<Checked> {
        match &self.keyring {
            _ if self.no_verify => Ok(Checked::None),
            Some(keyring) => Ok(Checked::Trust(
                self.rules.apply(Trust::from_keyring_file(keyring)?),
            )),
            None => Err(UsageError("give --keyring PEM or --no-verify".to_owned()).into()),
        }
    }
}

/// How an encrypted bundle is opened.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct DecryptArgs {
    /// PEM file with the key that opens an encrypted bundle (pass phrase in RAUC_KEY_PASSPHRASE), or
    /// its pkcs11: URI (PIN in RAUC_PKCS11_PIN, module in RAUC_PKCS11_MODULE)
    #[arg(long, value_name = "PEM|URI")]
    pub decrypt_key: Option<PathBuf>,
    /// PEM file with the certificate of that key, or its pkcs11: URI: then only what is meant for it
    /// is tried
    #[arg(long, value_name = "PEM|URI", requires = "decrypt_key")]
    pub decrypt_cert: Option<PathBuf>,
}

impl DecryptArgs {
    /// Reads the key; `None` without one.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn load(&self, environment: &Environment) -> Result<Option<DecryptionKey>> {
        let Some(key) = &self.decrypt_key else {
            return Ok(None);
        };
        let passphrase = environment.key_passphrase.as_deref();
        let certificate = self.decrypt_cert.as_deref();
        let key = token_key::decryption_key(key, passphrase, certificate, &environment.token)?;
        Ok(Some(key))
    }
}

/// How certificates are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Trust rules")]
pub struct RuleArgs {
    /// What the signer's certificate has to be made for
    #[arg(long, value_name = "PURPOSE", value_parser = parse::purpose)]
    pub check_purpose: Option<Purpose>,
    /// Every certificate needs a revocation list in the keyring that does not name it
    #[arg(long)]
    pub check_crl: bool,
    /// Trust certificates of the keyring that are not self-signed
    #[arg(long)]
    pub partial_chain: bool,
    /// Accept certificates that have expired
    #[arg(long)]
    pub no_check_time: bool,
    /// Accept MD5, SHA-1 and SHA-224
    #[arg(long)]
    pub allow_weak_digests: bool,
    /// Accept RSA keys below 2048 bits and curves below 224 bits
    #[arg(long)]
    pub allow_short_keys: bool,
    /// Accept algorithms that are not known here, if OpenSSL can verify them
    #[arg(long)]
    pub allow_unknown_algorithms: bool,
}

impl RuleArgs {
    /// What is asked of the certificates of those who sign.
    pub fn validity(&self, environment: &Environment) -> Validity {
        let no_check_time = self.no_check_time;
        ExpiryArgs { no_check_time }.validity(environment)
    }

    /// `trust` with these rules.
    pub fn apply(&self, trust: Trust) -> Trust {
        let policy = Policy {
            allow_weak_digests: self.allow_weak_digests,
            allow_short_keys: self.allow_short_keys,
            allow_unknown_algorithms: self.allow_unknown_algorithms,
            ..trust.policy().clone()
        };
        let mut trust = trust
            .with_purpose(self.check_purpose.unwrap_or_default())
            .with_policy(policy);
        if self.partial_chain {
            trust = trust.with_partial_chain();
        }
        if self.no_check_time {
            trust = trust.with_time(CheckTime::Ignore);
        }
        if self.check_crl {
            trust = trust.with_revocation(Revocation::CheckAll);
        }
        trust
    }
}
