//! Where bundle bytes come from: a file, memory, a network source. Nothing else does I/O here.

use std::fs::File;
use std::io;
use std::ops::Range;
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

    /// Says that these ranges, ascending, will be read in this order soon: a source that is far away
    /// fetches them ahead. Nobody has to read what was expected, nor expect what is read. A source that
    /// stands before another one passes it on; without that, each read waits for the network by itself.
    fn expect(&self, ranges: &[Range<u64>]);

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

    fn expect(&self, _: &[Range<u64>]) {}
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        ReadAt::len(self.as_slice())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }

    fn expect(&self, _: &[Range<u64>]) {}
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

            fn expect(&self, ranges: &[Range<u64>]) {
                (**self).expect(ranges);
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

    fn expect(&self, _: &[Range<u64>]) {}
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

    fn expect(&self, ranges: &[Range<u64>]) {
        self.source.expect(ranges);
    }
}

/// The ranges made larger so that they begin and end at multiples of `unit`; those that touch then are
/// one.
pub(crate) fn widened(ranges: &[Range<u64>], unit: u64) -> Vec<Range<u64>> {
    let mut wide: Vec<Range<u64>> = Vec::new();
    for range in ranges.iter().filter(|range| !range.is_empty()) {
        let start = range.start - range.start % unit;
        let end = range.end.next_multiple_of(unit);
        match wide.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => wide.push(start..end),
        }
    }
    wide
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    reason = "lists of ranges, some with one"
)]
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
    fn ranges_are_widened_to_whole_units() {
        let ranges = [5..6, 9..9, 10..20, 25..31, 50..60];
        assert_eq!(widened(&ranges, 10), [0..40, 50..60]);
        assert_eq!(widened(&[], 10), []);
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
