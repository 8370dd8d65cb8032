//! `[keyring]` of `system.conf`: whom the device trusts, and how much it asks of them.

use std::path::{Path, PathBuf};

use bundle_format::cms::{CheckTime, Policy, Purpose, Revocation};
use bundle_format::keyfile::{KeyFileError, SectionReader};
use bundle_format::{Trust, TrustError};

/// The settings of `[keyring]`; without the section, all defaults and no certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    /// `path=`: a file of certificates.
    pub path: Option<PathBuf>,
    /// `directory=`: certificates by hash, as `openssl rehash` arranges them.
    pub directory: Option<PathBuf>,
    purpose: Purpose,
    revocation: Revocation,
    time: CheckTime,
    partial_chain: Chains,
    allowed_signers: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Chains {
    /// Up to a root.
    #[default]
    Whole,
    /// Up to any certificate of the keyring (`allow-partial-chain`).
    Partial,
}

impl Keyring {
    pub(super) fn read(
        mut section: SectionReader<'_>,
        base: &Path,
    ) -> Result<Keyring, KeyFileError> {
        let purpose = |name: &str| Purpose::from_name(name).ok_or("is no purpose".to_owned());
        section.not_empty("check-purpose")?;
        let keyring = Keyring {
            path: section.string("path")?.map(|path| base.join(path)),
            directory: section.string("directory")?.map(|path| base.join(path)),
            purpose: section.parse("check-purpose", purpose)?.unwrap_or_default(),
            revocation: match section.bool("check-crl")? {
                Some(true) => Revocation::CheckAll,
                _ => Revocation::Ignore,
            },
            time: match section.bool("use-bundle-signing-time")? {
                Some(true) => CheckTime::Signing,
                _ => CheckTime::Now,
            },
            partial_chain: match section.bool("allow-partial-chain")? {
                Some(true) => Chains::Partial,
                _ => Chains::Whole,
            },
            allowed_signers: section.list("allowed-signer-cns")?,
        };
        section.finish()?;
        Ok(keyring)
    }

    /// The same demands, with the certificates of another file (`--keyring`).
    #[must_use]
    pub fn with_file(&self, path: &Path) -> Keyring {
        Keyring {
            path: Some(path.to_owned()),
            directory: None,
            ..self.clone()
        }
    }

    /// Reads the certificates; `None` if none are configured.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn trust(&self, policy: Policy) -> Result<Option<Trust>, TrustError> {
        let trust = match (&self.path, &self.directory) {
            (None, None) => return Ok(None),
            (Some(path), None) => Trust::from_keyring_file(path)?,
            (None, Some(directory)) => Trust::from_directory(directory)?,
            (Some(path), Some(directory)) => {
                Trust::from_keyring_file(path)?.and_directory(directory)
            }
        };
        let trust = trust
            .with_purpose(self.purpose)
            .with_revocation(self.revocation)
            .with_time(self.time)
            .with_allowed_signers(self.allowed_signers.clone())
            .with_policy(policy);
        Ok(Some(match self.partial_chain {
            Chains::Whole => trust,
            Chains::Partial => trust.with_partial_chain(),
        }))
    }
}
