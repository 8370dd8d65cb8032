//! Checking a whole bundle: signature, every block, every image.

use std::path::Path;

use bundle_format::{
    Bundle, BundleError, Digest, FileReader, Limits, PayloadError, ReadAt as _, Trust,
    VerifiedManifest,
};

use crate::observer::Observer;

/// Why a bundle does not pass.
#[derive(Debug, thiserror::Error)]
pub enum VerifyFileError {
    /// The file cannot be opened.
    #[error("cannot open {path}", path = path.display())]
    Open {
        /// Which.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bundle is not good.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// What passed.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Bytes of the bundle.
    pub size: u64,
    /// Bytes of the payload.
    pub payload: u64,
    /// The manifest and who signed it.
    pub manifest: VerifiedManifest,
    /// Images that were read and compared.
    pub images: usize,
}

impl Verified {
    /// SHA-256 of the signed manifest.
    pub fn hash(&self) -> Digest {
        self.manifest.hash()
    }
}

/// Checks the signature, every block of the payload with the whole tree, and size and digest of
/// every image.
///
/// # Errors
/// The first thing that does not fit.
pub fn verify(
    path: &Path,
    trust: &Trust,
    limits: &Limits,
    observer: &mut dyn Observer,
) -> Result<Verified, VerifyFileError> {
    observer.step("checking the signature");
    let file = FileReader::open(path).map_err(|source| VerifyFileError::Open {
        path: path.to_owned(),
        source,
    })?;
    let size = file.len();
    let bundle = Bundle::open(file, limits).map_err(BundleError::from)?;
    let bundle = bundle.verify(trust)?;
    observer.step("checking every block of the payload");
    bundle
        .verify_payload(&mut |done, total| observer.progress(done, total))
        .map_err(BundleError::from)?;
    let images = &bundle.manifest().manifest().images;
    for image in images {
        observer.step(&format!("checking image {}", image.label()));
        bundle
            .check_image(image, &mut |done, total| observer.progress(done, total))
            .map_err(|error: PayloadError| BundleError::from(error))?;
    }
    Ok(Verified {
        size,
        payload: bundle.payload().len(),
        images: images.len(),
        manifest: bundle.manifest().clone(),
    })
}
