//! A bundle whose signature is trusted, and its images.

use std::io::Read as _;
use std::sync::mpsc;

use sha2::{Digest as _, Sha256};

use crate::bundle::{BundleError, VerifiedManifest, read_manifest};
use crate::digest::Digest;
use crate::manifest::{Image, Manifest};
use crate::payload::Payload;
use crate::payload_error::PayloadError;
use crate::read_at::ReadAt;
use crate::squashfs::{FileContent, Squashfs, SquashfsError};

/// Bytes of an image that are handed over at once.
const HASH_PIECE: usize = 512 * 1024;

/// Pieces that are read ahead of the hashing.
const PIECES_AHEAD: usize = 4;

/// The content of one file of a bundle, read from its start to its end. It knows its size and
/// implements [`std::io::Read`]; an error inside the [`std::io::Error`] is a [`PayloadError`].
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

    /// Whether the manifest may be acted upon: we are new enough for it, and the copy of it in the
    /// payload (if there is one) speaks of the same update.
    ///
    /// # Errors
    /// The bundle asks for a newer RAUC, contradicts itself, or cannot be read.
    pub fn check_manifest(&self) -> Result<(), BundleError> {
        let manifest = self.manifest.manifest();
        manifest.check_min_rauc_version()?;
        let copy = match read_manifest(&self.payload) {
            Ok(bytes) => bytes,
            Err(PayloadError::Squashfs(SquashfsError::NoSuchFile { .. })) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let contradiction = match Manifest::parse(&copy) {
            Ok(copy) => manifest.contradiction(&copy),
            Err(error) => Some(error.to_string()),
        };
        match contradiction {
            Some(problem) => Err(BundleError::Contradiction { problem }),
            None => Ok(()),
        }
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

    fn has(&self, name: &str) -> Result<(), PayloadError> {
        let missing = || SquashfsError::NoSuchFile {
            name: name.to_owned(),
        };
        self.files()?.find(name)?.ok_or_else(missing)?;
        Ok(())
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
        if image.is_replaced() {
            // Its digest is that of a file which the bundle does not hold.
            return image.converted.iter().try_for_each(|name| self.has(name));
        }
        let content = self.image(name)?;
        let chunked = image.is_chunked();
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
        let found = hash(content, progress)?;
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

/// The digest of a whole file: one thread reads, checks and unpacks, this one hashes.
fn hash<R: ReadAt + Clone>(
    mut content: FileContent<R>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Digest, PayloadError> {
    let size = content.size();
    let (sender, pieces) = mpsc::sync_channel::<Result<Vec<u8>, PayloadError>>(PIECES_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            loop {
                let mut piece = Vec::with_capacity(HASH_PIECE);
                let read = content
                    .by_ref()
                    .take(HASH_PIECE as u64)
                    .read_to_end(&mut piece);
                let outcome = read
                    .map(|_| piece)
                    .map_err(|error| PayloadError::from_io(0, error));
                let last = outcome.as_ref().map_or(true, Vec::is_empty);
                // The receiver goes away only after an error that was sent before.
                if sender.send(outcome).is_err() || last {
                    break;
                }
            }
        });
        let mut hasher = Sha256::new();
        let mut done = 0;
        for piece in pieces {
            let piece = piece?;
            hasher.update(&piece);
            done += piece.len() as u64;
            progress(done, size);
        }
        Ok(Digest::from_bytes(hasher.finalize().into()))
    })
}
