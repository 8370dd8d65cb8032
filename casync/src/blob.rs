//! Bytes that can be read at any offset: an image, a slot, a seed.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
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

/// Blocks that are compared before they are written: pages, as file systems and flash have them.
const BLOCK: usize = 4096;

/// A blob that is written only where it has other bytes: flash wears out by writing, and a chunk of which
/// little has changed lies there already, all but that.
pub struct OnlyChanges<B> {
    blob: B,
    there: Vec<u8>,
}

impl<B: BlobMut> OnlyChanges<B> {
    /// Writes to `blob`.
    #[must_use]
    pub fn to(blob: B) -> Self {
        Self {
            blob,
            there: Vec::new(),
        }
    }

    /// The blob.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.blob
    }
}

impl<B: Blob> Blob for OnlyChanges<B> {
    fn len(&self) -> u64 {
        self.blob.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.blob.read_exact_at(offset, buffer)
    }
}

impl<B: BlobMut> BlobMut for OnlyChanges<B> {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.there.resize(bytes.len(), 0);
        if self.blob.read_exact_at(offset, &mut self.there).is_err() {
            // What cannot be read is worth a write: that is how a disk replaces a bad sector.
            return self.blob.write_all_at(offset, bytes);
        }
        let mut run = 0..0;
        for block in blocks(offset, bytes.len()) {
            if self.there[block.clone()] == bytes[block.clone()] {
                continue;
            }
            if block.start == run.end {
                run.end = block.end;
            } else {
                self.put(offset, bytes, run)?;
                run = block;
            }
        }
        self.put(offset, bytes, run)
    }
}

impl<B: BlobMut> OnlyChanges<B> {
    /// Writes a part of what belongs at `offset`.
    fn put(&mut self, offset: u64, bytes: &[u8], part: Range<usize>) -> io::Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        let start = u64::try_from(part.start).map_err(io::Error::other)?;
        self.blob.write_all_at(offset + start, &bytes[part])
    }
}

/// The blocks of `len` bytes at `offset`, counted from there; the first and the last may be parts of one.
fn blocks(offset: u64, len: usize) -> impl Iterator<Item = Range<usize>> {
    let block = u64::try_from(BLOCK).unwrap_or(u64::MAX);
    let before = usize::try_from(offset % block).unwrap_or(0);
    let ends = (0..).map(move |n| (n + 1) * BLOCK - before);
    let starts = std::iter::once(0).chain(ends.clone());
    let whole = starts.zip(ends).take_while(move |(start, _)| *start < len);
    whole.map(move |(start, end)| start..end.min(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target that remembers what was written to it.
    struct Watched(Vec<u8>, Vec<(u64, usize)>);

    impl Blob for Watched {
        fn len(&self) -> u64 {
            Blob::len(&self.0)
        }

        fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.0.read_exact_at(offset, buffer)
        }
    }

    impl BlobMut for Watched {
        fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.1.push((offset, bytes.len()));
            self.0.write_all_at(offset, bytes)
        }
    }

    #[test]
    fn only_blocks_that_differ_are_written_and_neighbours_together() {
        let mut target = OnlyChanges::to(Watched(vec![7; 40_000], Vec::new()));
        let mut bytes = vec![7; 20_000];
        // At 100, blocks begin at 3996, 8092, 12188, 16284.
        bytes[0] = 1;
        bytes[8_092] = 1;
        bytes[16_283] = 1;
        bytes[19_999] = 1;
        target.write_all_at(100, &bytes).unwrap();
        target.write_all_at(100, &bytes).unwrap();
        target.write_all_at(30_000, &[]).unwrap();
        let Watched(there, writes) = target.into_inner();
        assert_eq!(there[100..20_100], bytes);
        assert_eq!(writes, [(100, 3_996), (8_192, 11_908)]);
    }

    #[test]
    fn a_write_behind_the_end_is_refused() {
        let mut target = OnlyChanges::to(vec![7; 10_000]);
        assert!(target.write_all_at(9_000, &[1; 2_000]).is_err());
        assert_eq!(target.into_inner(), [7; 10_000]);
    }
}
