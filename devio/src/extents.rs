//! Where on its device the bytes of a file lie.
//!
//! A boot loader that reads a file system without replaying its journal sees the *old* place of
//! a file that was moved by a copy-on-write, a rename or a truncation. Whether a write in place
//! stays in place is what these functions let one check.
//!
//! Source: the kernel's `Documentation/filesystems/fiemap.rst` and `include/uapi/linux/fiemap.h`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Most extents that [`extents`] will list. Files whose place matters here have one.
pub const MAX_EXTENTS: usize = 4096;

/// Extents asked for per call.
const BATCH: usize = 32;

/// The same number, as the kernel wants it.
const BATCH_U32: u32 = 32;

const FLAG_SYNC: u32 = 0x1;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Head {
    start: u64,
    length: u64,
    flags: u32,
    pub(crate) mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    pub(crate) flags: u32,
    reserved: [u32; 3],
}

#[repr(C)]
pub(crate) struct Request {
    head: Head,
    pub(crate) extents: [RawExtent; BATCH],
}

mod raw {
    use super::Head;
    use crate::request;
    use libc::c_int;

    nix::ioctl_readwrite_bad!(fs_ioc_fiemap, request::FS_IOC_FIEMAP, Head);
    nix::ioctl_readwrite_bad!(fibmap, request::FIBMAP, c_int);
    nix::ioctl_read_bad!(figetbsz, request::FIGETBSZ, c_int);
}

/// One run of a file's bytes that lies in one piece on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset within the file, in bytes.
    pub logical: u64,
    /// Offset on the file system's device, in bytes. Meaningless if [`ExtentFlags::unplaced`].
    pub physical: u64,
    /// Length in bytes; it may reach beyond the end of the file.
    pub length: u64,
    /// What the file system says about it.
    pub flags: ExtentFlags,
}

/// The flags of an extent; each question is one that the caller of a boot loader must ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtentFlags(u32);

impl ExtentFlags {
    /// This extent is the last of the file.
    #[must_use]
    pub fn last(self) -> bool {
        self.0 & 0x1 != 0
    }

    /// The data has no place of its own on the device yet, or none that the file system tells.
    #[must_use]
    pub fn unplaced(self) -> bool {
        self.0 & (0x2 | 0x4) != 0
    }

    /// What lies on the device are not the plain bytes (compressed or encrypted).
    #[must_use]
    pub fn encoded(self) -> bool {
        self.0 & (0x8 | 0x80) != 0
    }

    /// The data shares a block with metadata or other files (inline data, tail packing), or
    /// does not begin at a block.
    #[must_use]
    pub fn inline(self) -> bool {
        self.0 & (0x100 | 0x200 | 0x400) != 0
    }

    /// Allocated but never written: reads as zeros for whoever knows the metadata.
    #[must_use]
    pub fn unwritten(self) -> bool {
        self.0 & 0x800 != 0
    }

    /// Shared with another file: the next write goes elsewhere.
    #[must_use]
    pub fn shared(self) -> bool {
        self.0 & 0x2000 != 0
    }

    /// The raw bits of `struct fiemap_extent`.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

/// Why the place of a file could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ExtentError {
    /// The file system has no such query (FAT, tmpfs, network and overlay file systems).
    #[error("the file system cannot tell where the file lies")]
    Unsupported,
    /// More than [`MAX_EXTENTS`].
    #[error("the file is in more than {MAX_EXTENTS} pieces")]
    TooMany,
    /// The query itself failed (FIBMAP needs `CAP_SYS_RAWIO`).
    #[error("cannot ask where the file lies")]
    Io(#[source] io::Error),
}

fn refused(errno: nix::Error) -> ExtentError {
    match errno {
        nix::Error::EOPNOTSUPP | nix::Error::ENOTTY | nix::Error::EINVAL => {
            ExtentError::Unsupported
        }
        other => ExtentError::Io(other.into()),
    }
}

/// All extents of `file`, in the order of the file, after its dirty pages were written
/// (`FIEMAP_FLAG_SYNC`). Holes are what no extent covers; an empty file has none.
///
/// # Errors
/// [`ExtentError::Unsupported`] where the file system has no FIEMAP (try [`block_map`]).
pub fn extents(file: &File) -> Result<Vec<Extent>, ExtentError> {
    let mut found: Vec<Extent> = Vec::new();
    let mut start = 0_u64;
    loop {
        let batch = fiemap_batch(file, start)?;
        let Some(last) = batch.last().copied() else {
            return Ok(found);
        };
        if found.len() + batch.len() > MAX_EXTENTS {
            return Err(ExtentError::TooMany);
        }
        found.extend_from_slice(&batch);
        let next = last.logical.saturating_add(last.length);
        // A file system that does not move on would keep us here for ever.
        if last.flags.last() || next <= start {
            return Ok(found);
        }
        start = next;
    }
}

fn fiemap_batch(file: &File, start: u64) -> Result<Vec<Extent>, ExtentError> {
    let mut request = Request {
        head: Head {
            start,
            length: u64::MAX - start,
            flags: FLAG_SYNC,
            extent_count: BATCH_U32,
            ..Head::default()
        },
        extents: [RawExtent::default(); BATCH],
    };
    let head = (&raw mut request).cast::<Head>();
    // SAFETY: FS_IOC_FIEMAP reads a `struct fiemap` and writes it back with up to `extent_count`
    // `struct fiemap_extent` right behind it. `request` has that layout (a test compares it
    // with the kernel's headers) with room for BATCH of them, the pointer was made from the whole of it, and it
    // outlives the call.
    unsafe { raw::fs_ioc_fiemap(file.as_raw_fd(), head) }.map_err(refused)?;
    let mapped = usize::try_from(request.head.mapped_extents)
        .unwrap_or(BATCH)
        .min(BATCH);
    let batch = request.extents.iter().take(mapped).map(|e| Extent {
        logical: e.logical,
        physical: e.physical,
        length: e.length,
        flags: ExtentFlags(e.flags),
    });
    Ok(batch.collect())
}

/// The blocks of a file, one number per file system block, by the older FIBMAP, which FAT has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMap {
    /// Bytes per block.
    pub block_size: u32,
    /// The device's block number of each block of the file; 0 is a hole.
    pub blocks: Vec<u32>,
}

impl BlockMap {
    /// Whether there is no hole and each block follows the one before.
    #[must_use]
    pub fn is_one_piece(&self) -> bool {
        !self.blocks.is_empty()
            && self.blocks.iter().all(|b| *b != 0)
            && self.blocks.windows(2).all(|w| match w {
                [a, b] => a.checked_add(1) == Some(*b),
                _ => true,
            })
    }
}

/// Where each block of `file` lies, by FIBMAP, after its dirty pages were written. Needs
/// `CAP_SYS_RAWIO`.
///
/// # Errors
/// [`ExtentError::Unsupported`] where the file system has no FIBMAP, [`ExtentError::TooMany`]
/// beyond [`MAX_EXTENTS`] blocks, [`ExtentError::Io`] without the capability.
pub fn block_map(file: &File) -> Result<BlockMap, ExtentError> {
    file.sync_all().map_err(ExtentError::Io)?;
    let len = file.metadata().map_err(ExtentError::Io)?.len();
    let mut size: libc::c_int = 0;
    // SAFETY: FIGETBSZ writes one int through the pointer; `size` is one and outlives the call.
    unsafe { raw::figetbsz(file.as_raw_fd(), &raw mut size) }.map_err(refused)?;
    let block_size = u32::try_from(size)
        .ok()
        .filter(|s| *s > 0)
        .ok_or(ExtentError::Unsupported)?;
    let count = len.div_ceil(u64::from(block_size));
    if count > MAX_EXTENTS as u64 {
        return Err(ExtentError::TooMany);
    }
    let mut blocks = Vec::new();
    for index in 0..count {
        let mut block = libc::c_int::try_from(index).map_err(|_| ExtentError::TooMany)?;
        // SAFETY: FIBMAP reads the file's block number from the int and writes the device's into
        // it; `block` is one and outlives the call.
        unsafe { raw::fibmap(file.as_raw_fd(), &raw mut block) }.map_err(refused)?;
        blocks.push(block.cast_unsigned());
    }
    Ok(BlockMap { block_size, blocks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_in_two_types() {
        assert_eq!(u32::try_from(BATCH).unwrap(), BATCH_U32);
    }

    #[test]
    fn one_piece() {
        let map = |blocks: &[u32]| BlockMap {
            block_size: 512,
            blocks: blocks.to_vec(),
        };
        assert!(map(&[7]).is_one_piece());
        assert!(map(&[7, 8, 9]).is_one_piece());
        assert!(!map(&[]).is_one_piece());
        assert!(!map(&[0]).is_one_piece());
        assert!(!map(&[7, 9]).is_one_piece());
        assert!(!map(&[u32::MAX, 0]).is_one_piece());
    }

    #[test]
    fn proc_cannot_tell() {
        let file = File::open("/proc/version").unwrap();
        assert!(matches!(extents(&file), Err(ExtentError::Unsupported)));
    }
}
