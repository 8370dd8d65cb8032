//! Arguments that several commands share.

use std::path::PathBuf;

use bundle_tool::cli::Environment;
use bundle_tool::sign::{KeySource, Validity};
use clap::Args;
use slotmgr::config::Setting;

/// Options of every command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "General options")]
pub struct Global {
    /// Use this system.conf instead of the one of this machine
    #[arg(short, long, value_name = "FILENAME")]
    pub conf: Option<PathBuf>,
    /// Replace one setting of the system.conf; may be given several times
    #[arg(short = 'C', long, value_name = "SECTION:KEY=VALUE")]
    pub confopt: Vec<Setting>,
    /// PEM file with the certificates to trust, instead of the keyring of the system.conf
    #[arg(long, value_name = "PEMFILE")]
    pub keyring: Option<PathBuf>,
    /// PEM file with the signer's certificate; when opening, that of the key for encrypted bundles
    #[arg(long, value_name = "PEMFILE|PKCS11-URL")]
    pub cert: Option<PathBuf>,
    /// PEM file with the signer's key; when opening, the key for encrypted bundles
    #[arg(long, value_name = "PEMFILE|PKCS11-URL")]
    pub key: Option<PathBuf>,
    /// PEM file with certificates between signer and root; may be given several times
    #[arg(long, value_name = "PEMFILE")]
    pub intermediate: Vec<PathBuf>,
    /// Directory below which slots and bundles are mounted, instead of the system.conf's mountprefix
    #[arg(long, value_name = "PATH")]
    pub mount: Option<PathBuf>,
    /// Say more about what is going on
    #[arg(short, long)]
    pub debug: bool,
}

/// How a new bundle is signed and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct NewSignature {
    /// Check the new bundle with this keyring instead of the one from --keyring
    #[arg(long, value_name = "PEMFILE")]
    pub signing_keyring: Option<PathBuf>,
}

/// Nobody is named who could sign.
#[derive(Debug, thiserror::Error)]
#[error("a certificate and a key are needed to sign: give --cert and --key")]
pub struct NoSigner;

impl Global {
    /// The same without --cert and --key: where they say who signs, they open nothing.
    #[must_use]
    pub fn without_key(&self) -> Global {
        Global {
            cert: None,
            key: None,
            ..self.clone()
        }
    }

    /// Who signs.
    ///
    /// # Errors
    /// Certificate or key is missing.
    pub fn signer(&self, environment: &Environment) -> Result<KeySource, NoSigner> {
        let (Some(certificate), Some(key)) = (&self.cert, &self.key) else {
            return Err(NoSigner);
        };
        Ok(KeySource {
            certificate: certificate.clone(),
            key: key.clone(),
            intermediates: self.intermediate.clone(),
            passphrase: environment.key_passphrase.clone(),
            token: environment.token.clone(),
            // As in RAUC, the check of the finished bundle decides.
            validity: Validity::Warned(environment.now),
        })
    }
}
