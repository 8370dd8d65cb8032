//! Every new bundle is read back as a device would, before its name appears.

use std::path::Path;

use bundle_format::cms::{CheckTime, Policy, Purpose};
use bundle_format::{BundleError, FileReader, Limits, Trust, TrustError, VerifiedBundle};

use crate::observer::Observer;
use crate::open::{OpenError, Source};
use crate::sign::{Identity, IdentityError};

/// The finished bundle does not pass its own check. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
#[error("the new bundle does not pass verification; nothing was written")]
pub struct SelfCheckError(#[source] pub OpenError);

/// Whom to check with.
#[derive(Debug, thiserror::Error)]
pub enum CheckerError {
    /// The keyring cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The signer's certificates cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Checks a new bundle.
pub struct Checker(Trust);

impl Checker {
    /// Checks with `keyring` if there is one; else with the signer's own certificates, as they are
    /// and at any time.
    ///
    /// # Errors
    /// The keyring cannot be used.
    pub fn new(keyring: Option<&Trust>, signer: &Identity) -> Result<Self, CheckerError> {
        if let Some(trust) = keyring {
            return Ok(Self(trust.clone()));
        }
        let pem = signer.certificates_pem()?;
        let trust = Trust::from_pem(&pem, "made of the signer's own certificates")?
            .with_partial_chain()
            .with_purpose(Purpose::Any)
            .with_time(CheckTime::Ignore)
            // What devices accept is for their keyring to say.
            .with_policy(Policy {
                allow_weak_digests: true,
                allow_short_keys: true,
                allow_unknown_algorithms: true,
                ..Policy::default()
            });
        Ok(Self(trust))
    }

    /// Verifies the signature of the bundle at `path`, and every image.
    ///
    /// # Errors
    /// The bundle is not good.
    pub fn check(
        &self,
        path: &Path,
        observer: &mut dyn Observer,
    ) -> Result<VerifiedBundle<FileReader>, SelfCheckError> {
        let verified = self.verified(path)?;
        for image in &verified.manifest().manifest().images {
            verified
                .check_image(image, &mut |done, total| observer.progress(done, total))
                .map_err(|error| SelfCheckError(BundleError::from(error).into()))?;
        }
        Ok(verified)
    }

    /// Verifies the signature and every block of the payload: for a payload whose images were
    /// checked when the bundle was made.
    ///
    /// # Errors
    /// The bundle is not good.
    pub fn check_payload(&self, path: &Path) -> Result<(), SelfCheckError> {
        let verified = self.verified(path)?;
        verified
            .verify_payload(&mut |_, _| {})
            .map_err(|error| SelfCheckError(BundleError::from(error).into()))
    }

    fn verified(&self, path: &Path) -> Result<VerifiedBundle<FileReader>, SelfCheckError> {
        let source = Source {
            path,
            limits: &Limits::default(),
            decryption: None,
        };
        source.verified(&self.0).map_err(SelfCheckError)
    }
}
