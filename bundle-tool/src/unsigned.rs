//! Bundles that are built in one place and signed in another.
//!
//! An unsigned bundle has the manifest where a signature would stand:
//!
//! ```text
//! [payload][hash tree][manifest text][u64 big-endian: length of the manifest]
//! ```
//!
//! No device accepts it. [`sign`] makes a bundle of it; so does any other program that makes a CMS
//! of the manifest, together with `replace-signature`.

use std::path::Path;

use bundle_format::container::Container;
use bundle_format::{
    BundleError, ContainerError, Digest, FileReader, Limits, Manifest, PayloadError, ReadAt, Trust,
};

use crate::encrypt::{EncryptError, Recipients};
use crate::observer::Observer;
use crate::open::OpenError;
use crate::output::Output;
use crate::rewrite::{RewriteError, Target, append_signature, copy_payload};
use crate::self_check::{Checker, CheckerError, SelfCheckError};
use crate::sign::{self, Identity, SignError};
use crate::signature::Signable;

/// Why an unsigned bundle cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignBundleError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It has something else than a manifest at its end.
    #[error("{path} is not an unsigned bundle: no manifest stands at its end (sign a signed one anew with resign)", path = path.display())]
    NotUnsigned {
        /// Which.
        path: std::path::PathBuf,
    },
    /// Signing fails.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The signature cannot be encrypted.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// The result cannot be checked.
    #[error(transparent)]
    Checker(#[from] CheckerError),
    /// The result is not good.
    #[error(transparent)]
    SelfCheck(#[from] SelfCheckError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] RewriteError),
}

/// How a bundle is signed.
pub struct Signing<'a> {
    /// Who signs.
    pub signer: &'a Identity,
    /// The time that the signature names, in seconds since 1970.
    pub time: i64,
    /// Check the result with this.
    pub keyring: Option<&'a Trust>,
    /// Encrypt the signature (crypt format).
    pub recipients: Option<&'a Recipients>,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Bytes of the whole bundle.
    pub size: u64,
    /// The manifest as it was signed.
    pub manifest: Manifest,
    /// SHA-256 of the signed manifest.
    pub manifest_hash: Digest,
}

/// Signs the unsigned bundle at `source`.
///
/// # Errors
/// It is not an unsigned bundle, its payload does not fit its manifest, signing or writing fails.
pub fn sign(
    source: &Path,
    signing: &Signing<'_>,
    target: &Target,
    observer: &mut dyn Observer,
) -> Result<Signed, SignBundleError> {
    let file = FileReader::open(source).map_err(|error| OpenError::Open {
        path: source.to_owned(),
        source: error,
    })?;
    let container = Container::read(&file, &Limits::default())
        .map_err(|error: ContainerError| OpenError::from(BundleError::from(error)))?;
    let manifest = container.signature;
    if Manifest::parse(&manifest).is_err() {
        return Err(SignBundleError::NotUnsigned {
            path: source.to_owned(),
        });
    }
    observer.step("copying the payload");
    let output = copy_payload(source, container.payload_len, target)?;
    finish(output, &manifest, signing, observer)
}

/// Signs and checks a bundle of which everything but the signature is written.
pub(crate) fn finish(
    mut output: Output,
    manifest: &[u8],
    signing: &Signing<'_>,
    observer: &mut dyn Observer,
) -> Result<Signed, SignBundleError> {
    observer.step("signing");
    let checker = Checker::new(signing.keyring, signing.signer)?;
    let payload = FileReader::open(output.temporary_path())
        .map_err(|source| PayloadError::Read { offset: 0, source })
        .map_err(|error| OpenError::from(BundleError::from(error)))?;
    let signable =
        Signable::of(manifest, &payload, signing.signer.digest()).map_err(OpenError::from)?;
    let signature = sign::sign(signable.content(), signing.signer, signing.time)?;
    append_signature(&mut output, &signature)?;

    observer.step("checking the new bundle");
    let verified = checker.check(output.temporary_path(), observer)?;
    let signed = Signed {
        size: payload.len() + signature.len() as u64 + 8,
        manifest: verified.manifest().manifest().clone(),
        manifest_hash: verified.manifest().hash(),
    };
    let signed = match signing.recipients {
        None => signed,
        Some(recipients) => {
            // Only now: afterwards, none but a recipient could check it.
            let envelope = recipients.envelop(&signature)?;
            output.truncate(payload.len()).map_err(RewriteError::from)?;
            append_signature(&mut output, &envelope)?;
            Signed {
                size: payload.len() + envelope.len() as u64 + 8,
                ..signed
            }
        }
    };
    output.finish().map_err(RewriteError::from)?;
    Ok(signed)
}
