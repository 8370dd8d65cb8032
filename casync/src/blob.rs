//! Bytes that can be read at any offset: an image, a slot, a seed.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// An image or a device, readable at any offset from several threads at once.
pub trait Blob: Sync {
    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Fills `buffer` from `offset` on; an error if the blob ends before.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A blob that can be written, too: what an image is put together in.
///
/// Nothing that was written counts as durable before its owner has synced it.
pub trait BlobMut: Blob {
    /// Writes all of `bytes` at `offset`; an error if the blob is shorter.
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

impl<T: Blob + ?Sized> Blob for &T {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_exact_at(offset, buffer)
    }
}

impl Blob for [u8] {
    fn len(&self) -> u64 {
        u64::try_from(<[u8]>::len(self)).unwrap_or(u64::MAX)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let part = start.and_then(|s| self.get(s..s.checked_add(buffer.len())?));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Blob for Vec<u8> {
    fn len(&self) -> u64 {
        Blob::len(&self[..])
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self[..].read_exact_at(offset, buffer)
    }
}

impl BlobMut for Vec<u8> {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let part = start.and_then(|s| self.get_mut(s..s.checked_add(bytes.len())?));
        part.ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(bytes);
        Ok(())
    }
}

/// A regular file or a block device, with the length that it had when it was opened.
#[derive(Debug)]
pub struct FileBlob {
    file: File,
    len: u64,
}

impl FileBlob {
    /// Takes an open file; finds its length by seeking, which works for block devices as well.
    pub fn new(mut file: File) -> io::Result<Self> {
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, len })
    }

    /// The file, to sync it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Blob for FileBlob {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        FileExt::read_exact_at(&self.file, buffer, offset)
    }
}

impl BlobMut for FileBlob {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = u64::try_from(bytes.len())
            .ok()
            .and_then(|n| offset.checked_add(n));
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        FileExt::write_all_at(&self.file, bytes, offset)
    }
}
