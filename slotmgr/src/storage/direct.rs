//! Reading and writing a disk past the page cache.
//!
//! What is written to a slot is not read again but to prove it, and that wants the medium's answer. The
//! cache would cost a copy of every byte and push out of memory what the running system works with.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::fcntl::OFlag;

/// What addresses, offsets and lengths have to be multiples of. The kernel asks for the disk's logical
/// sectors (open(2), "`O_DIRECT`"). A disk of larger ones refuses with `EINVAL`, and is written and read
/// through the cache from then on.
const ALIGNMENT: usize = 4096;

/// Below this, the cache is no loss, and puts small writes together.
const WORTH: usize = 64 * 1024;

/// The same disk, opened so that the cache is left out; or nothing, where that does not go.
#[derive(Default)]
pub(super) struct Direct(Option<File>);

impl Direct {
    /// Beside `file`. Only block devices: a file system may do one such write after the other where it
    /// would do many of its own at once.
    pub fn beside(file: &File) -> Direct {
        let open = || {
            let kind = file.metadata().ok()?.file_type();
            let is_disk = std::os::unix::fs::FileTypeExt::is_block_device(&kind);
            // By its descriptor: the path may lead elsewhere by now.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .custom_flags(OFlag::O_DIRECT.bits());
            is_disk.then(|| options.open(path).ok())?
        };
        Direct(open())
    }

    /// Writes as much of the beginning of `data` as can be written in this way, and says how much that is.
    pub fn write(&mut self, data: &[u8], offset: u64) -> io::Result<usize> {
        let fit = fit(data, offset);
        let done = |file: &File| file.write_all_at(&data[..fit], offset);
        Ok(if self.try_to(fit, done)? { fit } else { 0 })
    }

    /// Fills as much of the beginning of `data` as can be read in this way, and says how much that is.
    pub fn read(&mut self, data: &mut [u8], offset: u64) -> io::Result<usize> {
        let fit = fit(data, offset);
        let done = |file: &File| file.read_exact_at(&mut data[..fit], offset);
        Ok(if self.try_to(fit, done)? { fit } else { 0 })
    }

    /// Whether it was done. A disk that does not take it is not asked again; what it took of the piece
    /// before is written once more through the cache.
    fn try_to(
        &mut self,
        fit: usize,
        work: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<bool> {
        let Some(file) = self.0.as_ref().filter(|_| fit >= WORTH) else {
            return Ok(false);
        };
        match work(file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.0 = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Bytes of `data` from its beginning that are aligned in every way.
fn fit(data: &[u8], offset: u64) -> usize {
    let is_aligned =
        data.as_ptr().addr().is_multiple_of(ALIGNMENT) && offset.is_multiple_of(ALIGNMENT as u64);
    match is_aligned {
        true => data.len() - data.len() % ALIGNMENT,
        false => 0,
    }
}

/// Bytes in memory that begins where a disk can be read and written without a copy.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    memory: Vec<u8>,
    /// Where in it the bytes begin.
    start: usize,
}

impl Aligned {
    /// What `reader` gives, up to `len` bytes.
    pub fn read(reader: &mut dyn Read, len: usize) -> io::Result<Aligned> {
        let mut bytes = Aligned::with_room(len);
        reader.take(len as u64).read_to_end(&mut bytes.memory)?;
        Ok(bytes)
    }

    /// Makes them `len` bytes, in the same memory if it is large enough. What is in them is of no use.
    pub fn resize(&mut self, len: usize) {
        if self.memory.capacity() < self.start + len {
            *self = Aligned::with_room(len);
        }
        self.memory.resize(self.start + len, 0);
    }

    /// Keeps the first `len` of them.
    pub fn truncate(&mut self, len: usize) {
        self.memory.truncate(self.start.saturating_add(len));
    }

    fn with_room(len: usize) -> Aligned {
        let mut memory: Vec<u8> = Vec::with_capacity(len + ALIGNMENT);
        let address = memory.as_ptr().addr();
        let start = address.next_multiple_of(ALIGNMENT) - address;
        memory.resize(start, 0);
        Aligned { memory, start }
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start..]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_used_again() {
        let text: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
        let mut bytes = Aligned::read(&mut &text[..], 1 << 20).unwrap();
        assert_eq!(*bytes, text[..]);
        assert_eq!(fit(&bytes, 8192), 300_000 - 300_000 % 4096);
        assert_eq!(fit(&bytes, 512), 0);
        assert_eq!(fit(&bytes[1..], 0), 0);
        let address = bytes.as_ptr();
        bytes.truncate(1000);
        assert_eq!(*bytes, text[..1000]);
        bytes.resize(1 << 20);
        assert_eq!((bytes.as_ptr(), bytes.len()), (address, 1 << 20));
        bytes.resize(2 << 20);
        assert_eq!(fit(&bytes, 0), 2 << 20);
        assert_eq!(*Aligned::read(&mut &text[..], 10).unwrap(), text[..10]);
        assert!(Aligned::default().is_empty());
    }

    #[test]
    fn only_disks_are_written_past_the_cache() {
        let file = tempfile::tempfile().unwrap();
        let mut direct = Direct::beside(&file);
        let mut bytes = Aligned::default();
        bytes.resize(WORTH);
        assert_eq!(direct.write(&bytes, 0).unwrap(), 0);
    }

    #[test]
    fn a_disk_of_larger_sectors_refuses_once_and_goes_through_the_cache() {
        let mut direct = Direct(Some(tempfile::tempfile().unwrap()));
        let mut bytes = Aligned::default();
        bytes.resize(WORTH);
        assert_eq!(direct.write(&bytes, 0).unwrap(), WORTH);
        // What the kernel says to a write that is no whole sectors.
        let refuse = |_: &File| Err(io::Error::from_raw_os_error(nix::libc::EINVAL));
        assert!(!direct.try_to(WORTH, refuse).unwrap());
        assert_eq!(direct.write(&bytes, 0).unwrap(), 0);
        assert_eq!(direct.read(&mut bytes, 0).unwrap(), 0);
        let mut direct = Direct(Some(tempfile::tempfile().unwrap()));
        let fail = |_: &File| Err(io::Error::from_raw_os_error(nix::libc::EIO));
        assert!(direct.try_to(WORTH, fail).is_err(), "a broken disk is told");
    }
}
