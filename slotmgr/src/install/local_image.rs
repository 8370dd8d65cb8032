//! An image in a file of its own, outside of any bundle (`write-slot`). Nobody has signed it: who may
//! write the slot's device vouches for it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bundle_format::manifest::{Image, ImageType};
use bundle_format::{Digest, FileReader, PayloadError, ReadAt as _};

use super::stream::Images;
use super::{CHUNK, Progress, Stage};
use crate::writer;

/// The file, and what was in it when it was read first.
pub struct LocalImage {
    file: FileReader,
    image: Image,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the image {}{}", path.display(), at.map_or(String::new(), |at| format!(" at byte {at}")))]
pub struct LocalImageError {
    path: PathBuf,
    at: Option<u64>,
    #[source]
    source: io::Error,
}

impl LocalImage {
    /// Opens the file once and reads all of it: what is written must be the same bytes.
    ///
    /// # Errors
    /// It is no regular file, or cannot be read.
    pub fn open(
        path: &Path,
        image_type: Option<ImageType>,
        progress: &mut dyn Progress,
    ) -> Result<LocalImage, LocalImageError> {
        let failed = |at, source| LocalImageError {
            path: path.to_owned(),
            at,
            source,
        };
        let file = FileReader::open(path).map_err(|source| failed(None, source))?;
        let size = file.len();
        let mut read = |piece: &mut [u8], offset| file.read_exact_at(piece, offset);
        let mut tell = |done| progress.at(Stage::Check, done, size);
        let sha256 = writer::hash(size, CHUNK, &mut read, &mut tell)
            .map_err(|(at, source)| failed(Some(at), source))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let image = Image {
            filename: Some(name.into_owned()),
            size: Some(size),
            sha256: Some(sha256),
            image_type,
            ..Image::default()
        };
        Ok(LocalImage { file, image })
    }

    /// As a manifest would describe it.
    pub(super) fn described(&self, class: &str) -> Image {
        Image {
            class: class.to_owned(),
            ..self.image.clone()
        }
    }

    /// Of the whole file.
    #[must_use]
    pub fn sha256(&self) -> Option<Digest> {
        self.image.sha256
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.file.len()
    }
}

impl Images for LocalImage {
    fn image<'s>(&'s self, _: &str) -> Result<Box<dyn Read + 's>, PayloadError> {
        Ok(Box::new(FromStart {
            file: &self.file,
            at: 0,
        }))
    }
}

/// Reads a file in order, whoever else reads it.
struct FromStart<'f> {
    file: &'f FileReader,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.file.len().saturating_sub(self.at);
        let count = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut buf[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
