//! Where bundle bytes come from: a file, memory, a network source. Nothing else does I/O here.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reading at a position, without a cursor and without privileges.
///
/// The length is fixed when the source is opened. What a source yields is never trusted: it may
/// change between two reads of the same place.
pub trait ReadAt: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when `offset + buf.len()` lies beyond the end; whatever the source reports.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Whether there is nothing to read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Checks that `offset..offset + len` lies inside `total` bytes.
///
/// # Errors
/// `UnexpectedEof`, naming the range.
pub fn check_range(offset: u64, len: usize, total: u64) -> io::Result<()> {
    let end = u64::try_from(len)
        .ok()
        .and_then(|len| offset.checked_add(len));
    match end {
        Some(end) if end <= total => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{len} bytes at byte {offset} reach beyond the end at byte {total}"),
        )),
    }
}

impl ReadAt for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(offset, buf.len(), <[u8]>::len(self) as u64)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        buf.copy_from_slice(&self[start..start + buf.len()]);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        ReadAt::len(self.as_slice())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: ReadAt + ?Sized> ReadAt for $pointer {
            fn len(&self) -> u64 {
                (**self).len()
            }

            fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
                (**self).read_exact_at(buf, offset)
            }
        }
    )*};
}

forward!(&T, Box<T>, Arc<T>);

/// A regular file, opened once. All reads go through the same descriptor, so that renaming another
/// file over the path changes nothing.
#[derive(Debug)]
pub struct FileReader {
    file: File,
    len: u64,
    path: PathBuf,
}

impl FileReader {
    /// Opens `path` and takes its length.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        Ok(Self {
            file,
            len: metadata.len(),
            path: path.to_owned(),
        })
    }

    /// The open file: for asking who may write to it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The path that was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ReadAt for FileReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(offset, buf.len(), self.len)?;
        self.file.read_exact_at(buf, offset)
    }
}

/// The first `len` bytes of a source.
pub(crate) struct Section<R> {
    pub(crate) source: R,
    pub(crate) len: u64,
}

impl<R: ReadAt> ReadAt for Section<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(offset, buf.len(), self.len)?;
        self.source.read_exact_at(buf, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_beyond_the_end_is_an_error_even_when_the_sum_overflows() {
        let bytes = vec![1, 2, 3];
        let mut one = [0];
        assert!(bytes.read_exact_at(&mut one, 2).is_ok());
        assert_eq!(one, [3]);
        assert!(bytes.read_exact_at(&mut one, 3).is_err());
        assert!(bytes.read_exact_at(&mut one, u64::MAX).is_err());
        assert!(bytes.read_exact_at(&mut [], 3).is_ok());
    }

    #[test]
    fn a_directory_is_no_bundle() {
        let error = FileReader::open(Path::new("/")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn the_open_file_stays_the_same_when_its_name_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle");
        std::fs::File::create(&path)
            .and_then(|mut f| io::Write::write_all(&mut f, b"old"))
            .unwrap();
        let reader = FileReader::open(&path).unwrap();
        let other = dir.path().join("other");
        std::fs::File::create(&other)
            .and_then(|mut f| io::Write::write_all(&mut f, b"new"))
            .unwrap();
        std::fs::rename(&other, &path).unwrap();
        let mut bytes = [0; 3];
        reader.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"old");
    }
}
