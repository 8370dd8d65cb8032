//! Checking a whole bundle: signature, every block, every image.

use bundle_format::{BundleError, ReadAt as _, Trust, VerifiedManifest};

use crate::observer::Observer;
use crate::open::{OpenError, Source};

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Signature and every block: what the signer packed is whole.
    Payload,
    /// Also each image, unpacked: what the signer packed is what the manifest says.
    Images,
}

/// What passed.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Bytes of the payload.
    pub payload: u64,
    /// The manifest and who signed it.
    pub manifest: VerifiedManifest,
    /// Images that were read and compared, if these were asked for.
    pub images: Option<usize>,
}

/// Checks the signature, every block of the payload with the whole tree, and, as `depth` says,
/// size and digest of every image.
///
/// # Errors
/// The first thing that does not fit.
pub fn verify(
    source: &Source<'_>,
    trust: &Trust,
    depth: Depth,
    observer: &mut dyn Observer,
) -> Result<Verified, OpenError> {
    observer.step("checking the signature");
    let bundle = source.verified(trust)?;
    bundle.check_manifest()?;
    observer.step("checking every block of the payload");
    bundle
        .verify_payload(&mut |done, total| observer.progress(done, total))
        .map_err(BundleError::from)?;
    let images = match depth {
        Depth::Payload => None,
        Depth::Images => {
            let images = &bundle.manifest().manifest().images;
            for image in images {
                observer.step(&format!("checking image {}", image.label()));
                bundle
                    .check_image(image, &mut |done, total| observer.progress(done, total))
                    .map_err(BundleError::from)?;
            }
            Some(images.len())
        }
    };
    Ok(Verified {
        payload: bundle.payload().len(),
        images,
        manifest: bundle.manifest().clone(),
    })
}
