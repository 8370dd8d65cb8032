//! The image that is worked on: a file, a device, or a file inside a bundle.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bundle_format::cms::DecryptionKey;
use bundle_format::manifest::{Image, ImageType};
use bundle_format::{Limits, Trust};
use casync::walk::Tail;
use casync::{Blob, FileBlob};

use super::ChunksError;
use crate::open::Source;

/// Where an image is.
pub struct ImageInput {
    /// The image, or the bundle that it is in.
    pub path: PathBuf,
    /// How the bundle is opened; `None` for an image by itself.
    pub bundle: Option<BundleInput>,
}

/// How a bundle is opened, and which image is taken.
pub struct BundleInput {
    /// Whom to trust.
    pub trust: Trust,
    /// The key of an encrypted bundle.
    pub decryption: Option<DecryptionKey>,
    /// Slot class or file name of the image; `None` if the bundle has only one.
    pub image: Option<String>,
}

impl ImageInput {
    /// Calls `work` with the image, which is read in order only if it comes out of a bundle, and
    /// with what is to be made of bytes behind those that an index lists.
    ///
    /// # Errors
    /// It cannot be opened, or what `work` returns.
    pub fn with<T>(
        &self,
        work: impl FnOnce(&dyn Blob, Tail) -> Result<T, ChunksError>,
    ) -> Result<T, ChunksError> {
        let Some(bundle) = &self.bundle else {
            let (blob, tail) = open_blob(&self.path)?;
            return work(&blob, tail);
        };
        let source = Source {
            path: &self.path,
            limits: &Limits::default(),
            decryption: bundle.decryption.as_ref(),
        };
        let verified = source.verified(&bundle.trust)?;
        let images = &verified.manifest().manifest().images;
        let name = chosen(images, bundle.image.as_deref())?;
        let content = verified.image(&name)?;
        let blob = Stream {
            len: content.size(),
            inner: Mutex::new((0, content)),
        };
        work(&blob, Tail::None)
    }
}

/// Opens an image file or a device for reading.
///
/// # Errors
/// It is neither, or cannot be opened.
pub fn open_image(path: &Path) -> Result<FileBlob, ChunksError> {
    open_blob(path).map(|(blob, _)| blob)
}

/// The same, and what is to be made of bytes behind those that an index lists.
pub(super) fn open_blob(path: &Path) -> Result<(FileBlob, Tail), ChunksError> {
    let failed = |source| ChunksError::Open {
        path: path.to_owned(),
        source,
    };
    // Before it is opened: a pipe would wait for someone who writes.
    let kind = path.metadata().map_err(failed)?.file_type();
    let tail = if kind.is_block_device() {
        Tail::Ignored
    } else if kind.is_file() {
        Tail::None
    } else {
        let message = "neither a file nor a block device";
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, message)));
    };
    let file = File::open(path).map_err(failed)?;
    Ok((FileBlob::new(file).map_err(failed)?, tail))
}

fn chosen(images: &[Image], wanted: Option<&str>) -> Result<String, ChunksError> {
    let with_file = || images.iter().filter(|image| image.filename.is_some());
    let fits = |image: &&Image| match wanted {
        Some(name) => image.filename.as_deref() == Some(name) || image.class == name,
        None => true,
    };
    let mut fitting = with_file().filter(fits);
    let (Some(image), None) = (fitting.next(), fitting.next()) else {
        let names = with_file().filter_map(|image| image.filename.clone());
        return Err(ChunksError::WhichImage {
            names: names.collect(),
        });
    };
    let name = image.filename.clone().unwrap_or_default();
    if image.kind().is_some_and(ImageType::is_chunked) {
        return Err(ChunksError::Chunked { name });
    }
    Ok(name)
}

/// A blob that can only be read from its start to its end.
struct Stream<R> {
    len: u64,
    inner: Mutex<(u64, R)>,
}

impl<R: Read + Send> Blob for Stream<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, reader) = &mut *inner;
        if *at != offset {
            let message = format!("a bundle's image is read in order, not from {at} to {offset}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        reader.read_exact(buffer)?;
        *at += buffer.len() as u64;
        Ok(())
    }
}
