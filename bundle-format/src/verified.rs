//! A bundle whose signature is trusted, and its images.

use std::io::Read;

use sha2::{Digest as _, Sha256};

use crate::bundle::VerifiedManifest;
use crate::digest::Digest;
use crate::manifest::{Image, ImageType};
use crate::payload::Payload;
use crate::payload_error::PayloadError;
use crate::read_at::ReadAt;
use crate::squashfs::{FileContent, Squashfs};

/// Bytes of an image that are hashed at once.
const HASH_BUFFER: usize = 256 * 1024;

/// The content of one file of a bundle, read from its start to its end. It knows its size and
/// implements [`Read`]; an error inside the [`std::io::Error`] is a [`PayloadError`].
pub type ImageReader<'a, R> = FileContent<&'a Payload<R>>;

/// The files of a bundle.
pub type Files<'a, R> = Squashfs<&'a Payload<R>>;

/// A bundle with a trusted signature. Its payload is checked block by block as it is read.
pub struct VerifiedBundle<R> {
    manifest: VerifiedManifest,
    payload: Payload<R>,
}

impl<R: ReadAt> VerifiedBundle<R> {
    pub(crate) fn new(manifest: VerifiedManifest, payload: Payload<R>) -> Self {
        Self { manifest, payload }
    }

    /// The manifest.
    pub fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    /// The payload (a squashfs image); what it yields is checked.
    pub fn payload(&self) -> &Payload<R> {
        &self.payload
    }

    /// Checks every block of the payload and the whole tree. `progress` gets the bytes that are
    /// done and the bytes that there are.
    ///
    /// # Errors
    /// The first block that does not match, or what the source reports.
    pub fn verify_payload(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), PayloadError> {
        self.payload.verify_all(progress)
    }

    /// The files of the payload.
    ///
    /// # Errors
    /// The payload is no squashfs that we can read.
    pub fn files(&self) -> Result<Files<'_, R>, PayloadError> {
        Squashfs::open(&self.payload)
    }

    /// The file called `filename` in the root directory, unpacked as it is read.
    ///
    /// # Errors
    /// No such file, or the payload cannot be read.
    pub fn image(&self, filename: &str) -> Result<ImageReader<'_, R>, PayloadError> {
        self.files()?.open_file(filename)
    }

    /// Reads the file of `image` once and compares size and digest with the manifest. For a
    /// chunked image the manifest describes what it expands to, so it is only read.
    ///
    /// # Errors
    /// They differ, there is no such file, or the payload cannot be read.
    pub fn check_image(
        &self,
        image: &Image,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), PayloadError> {
        let Some(name) = &image.filename else {
            return Ok(());
        };
        let mut content = self.image(name)?;
        let chunked = image.kind().is_some_and(ImageType::is_chunked);
        match image.size.filter(|_| !chunked) {
            Some(expected) if expected != content.size() => {
                let found = content.size();
                return Err(PayloadError::ImageSize {
                    name: name.clone(),
                    expected,
                    found,
                });
            }
            _ => {}
        }
        let found = hash(&mut content, progress)?;
        match image.sha256.filter(|_| !chunked) {
            Some(expected) if expected != found => Err(PayloadError::ImageDigest {
                name: name.clone(),
                expected,
                found,
            }),
            _ => Ok(()),
        }
    }
}

/// The digest of a whole file.
fn hash<R: ReadAt>(
    content: &mut FileContent<R>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Digest, PayloadError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER];
    let mut done = 0;
    loop {
        let len = content
            .read(&mut buffer)
            .map_err(|error| PayloadError::from_io(done, error))?;
        if len == 0 {
            return Ok(Digest::from_bytes(hasher.finalize().into()));
        }
        hasher.update(&buffer[..len]);
        done += len as u64;
        progress(done, content.size());
    }
}
