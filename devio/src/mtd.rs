//! Raw flash: NOR and NAND behind the kernel's MTD character devices (`/dev/mtdN`).
//!
//! Reading and writing go through [`Mtd::file`] (`pread`/`pwrite`); here is what bytes alone do
//! not do: geometry, erasing, bad blocks, write protection. All offsets and lengths are in bytes.
//!
//! Source: `include/uapi/mtd/mtd-abi.h`.

mod error;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

pub use error::{MtdError, is_chip_failure};

pub(crate) const RAM: u8 = 1;
pub(crate) const ROM: u8 = 2;
pub(crate) const NOR: u8 = 3;
pub(crate) const NAND: u8 = 4;
pub(crate) const DATAFLASH: u8 = 6;
pub(crate) const UBI_VOLUME: u8 = 7;
pub(crate) const MLC_NAND: u8 = 8;

pub(crate) const WRITEABLE: u32 = 0x400;
pub(crate) const BIT_WRITEABLE: u32 = 0x800;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawInfo {
    kind: u8,
    pub(crate) flags: u32,
    size: u32,
    erase_size: u32,
    write_size: u32,
    pub(crate) oob_size: u32,
    padding: u64,
}

#[repr(C)]
pub(crate) struct Range32 {
    start: u32,
    length: u32,
}

#[repr(C)]
pub(crate) struct Range64 {
    start: u64,
    length: u64,
}

mod raw {
    use super::{Range32, Range64, RawInfo};
    use crate::request;

    nix::ioctl_read_bad!(mem_get_info, request::MEMGETINFO, RawInfo);
    nix::ioctl_write_ptr_bad!(mem_erase64, request::MEMERASE64, Range64);
    nix::ioctl_write_ptr_bad!(mem_lock, request::MEMLOCK, Range32);
    nix::ioctl_write_ptr_bad!(mem_unlock, request::MEMUNLOCK, Range32);
    nix::ioctl_write_ptr_bad!(mem_is_locked, request::MEMISLOCKED, Range32);
    nix::ioctl_write_ptr_bad!(mem_get_bad_block, request::MEMGETBADBLOCK, i64);
    nix::ioctl_write_ptr_bad!(mem_set_bad_block, request::MEMSETBADBLOCK, i64);
}

/// What kind of memory it is; the rules for writing differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MtdKind {
    /// RAM: no erasing needed.
    Ram,
    /// Cannot be written.
    Rom,
    /// NOR: erase to 0xFF, then program any bytes; bits go from 1 to 0 without erasing.
    Nor,
    /// NAND: erase to 0xFF, then program whole pages once; there are bad blocks.
    Nand,
    /// `DataFlash`: erases by itself when written.
    DataFlash,
    /// A UBI volume in MTD's clothes (gluebi).
    UbiVolume,
    /// Another number.
    Other(u8),
}

/// The geometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MtdInfo {
    /// What kind of memory it is.
    pub kind: MtdKind,
    /// Bytes in all; the kernel's answer has 32 bits, so 4 GiB and more do not show right here
    /// (sysfs has `size`).
    pub size: u32,
    /// Bytes that are erased at once.
    pub erase_size: u32,
    /// Bytes that are programmed at once: 1 for NOR, a page for NAND.
    pub write_size: u32,
    /// Bytes beside each page of NAND.
    pub oob_size: u32,
    /// Whether it can be written at all.
    pub writeable: bool,
    /// Whether single bits can be cleared without erasing.
    pub bit_writeable: bool,
}

impl From<RawInfo> for MtdInfo {
    fn from(raw: RawInfo) -> Self {
        let kind = match raw.kind {
            RAM => MtdKind::Ram,
            ROM => MtdKind::Rom,
            NOR => MtdKind::Nor,
            NAND | MLC_NAND => MtdKind::Nand,
            DATAFLASH => MtdKind::DataFlash,
            UBI_VOLUME => MtdKind::UbiVolume,
            other => MtdKind::Other(other),
        };
        Self {
            kind,
            size: raw.size,
            erase_size: raw.erase_size,
            write_size: raw.write_size,
            oob_size: raw.oob_size,
            writeable: raw.flags & WRITEABLE != 0,
            bit_writeable: raw.flags & BIT_WRITEABLE != 0,
        }
    }
}

/// Whether a block may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockHealth {
    /// As far as the driver knows.
    Good,
    /// Marked bad, by the factory or later.
    Bad,
}

/// Whether a block is write-protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It can be written.
    Unlocked,
    /// It has to be unlocked first.
    Locked,
    /// The flash has no locks, or does not tell.
    Unsupported,
}

/// An open MTD device.
#[derive(Debug)]
pub struct Mtd {
    file: File,
    info: MtdInfo,
}

impl Mtd {
    /// Opens `/dev/mtdN` for reading and writing.
    ///
    /// # Errors
    /// [`MtdError::NotAnMtd`], [`MtdError::Protected`] for a read-only device, or
    /// [`MtdError::Io`].
    pub fn open(path: &Path) -> Result<Self, MtdError> {
        Self::from_file(path, OpenOptions::new().read(true).write(true))
    }

    /// Opens `/dev/mtdN` for reading.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_read_only(path: &Path) -> Result<Self, MtdError> {
        Self::from_file(path, OpenOptions::new().read(true))
    }

    fn from_file(path: &Path, options: &OpenOptions) -> Result<Self, MtdError> {
        let opening = |source: io::Error| match source.raw_os_error() {
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => MtdError::Protected { offset: 0 },
            _ => MtdError::Io {
                what: "open",
                offset: 0,
                source,
            },
        };
        if !std::fs::metadata(path)
            .map_err(opening)?
            .file_type()
            .is_char_device()
        {
            return Err(MtdError::NotAnMtd);
        }
        let file = options.open(path).map_err(opening)?;
        let mut raw = RawInfo::default();
        // SAFETY: MEMGETINFO writes a `struct mtd_info_user`; `raw` has its layout and outlives
        // the call.
        unsafe { raw::mem_get_info(file.as_raw_fd(), &raw mut raw) }
            .map_err(|_| MtdError::NotAnMtd)?;
        Ok(Self {
            file,
            info: raw.into(),
        })
    }

    /// The geometry.
    #[must_use]
    pub fn info(&self) -> MtdInfo {
        self.info
    }

    /// The file, for `read_at`. The driver corrects bits as far as it can and gives what it has:
    /// bytes that are beyond that are no error here, so whoever reads has to know a checksum.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Erases whole blocks to 0xFF. A power cut leaves the block in any state.
    ///
    /// # Errors
    /// [`MtdError`]; blocks before the one that failed may be erased.
    pub fn erase(&self, offset: u64, length: u64) -> Result<(), MtdError> {
        self.check_blocks(offset, length)?;
        let range = Range64 {
            start: offset,
            length,
        };
        // SAFETY: MEMERASE64 reads a `struct erase_info_user64`; `range` has its layout.
        match unsafe { raw::mem_erase64(self.file.as_raw_fd(), &raw const range) } {
            Ok(_) => Ok(()),
            Err(nix::Error::EPERM | nix::Error::EROFS | nix::Error::EACCES) => {
                Err(MtdError::Protected { offset })
            }
            Err(errno) => Err(MtdError::EraseFailed {
                offset,
                source: errno.into(),
            }),
        }
    }

    /// Programs bytes into an erased place; on NAND, whole pages that were erased before.
    ///
    /// # Errors
    /// [`MtdError::ProgramFailed`], or [`MtdError::Protected`].
    pub fn program(&self, offset: u64, bytes: &[u8]) -> Result<(), MtdError> {
        let programmed = self.file.write_all_at(bytes, offset);
        programmed.map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EROFS | libc::EACCES) => MtdError::Protected { offset },
            _ => MtdError::ProgramFailed { offset, source },
        })
    }

    /// Whether the block at `offset` is marked bad. Flash without bad blocks says good.
    ///
    /// # Errors
    /// [`MtdError`].
    pub fn block_health(&self, offset: u64) -> Result<BlockHealth, MtdError> {
        let at = self.block_start(offset)?;
        // SAFETY: MEMGETBADBLOCK reads one 64-bit offset; `at` is one.
        match unsafe { raw::mem_get_bad_block(self.file.as_raw_fd(), &raw const at) } {
            Ok(0) | Err(nix::Error::EOPNOTSUPP | nix::Error::ENOTTY) => Ok(BlockHealth::Good),
            Ok(_) => Ok(BlockHealth::Bad),
            Err(errno) => Err(Self::io("ask for bad blocks of", offset, errno)),
        }
    }

    /// Marks the block at `offset` bad, for ever.
    ///
    /// # Errors
    /// [`MtdError::Io`]; `EOPNOTSUPP` for flash that has no bad blocks.
    pub fn mark_bad(&self, offset: u64) -> Result<(), MtdError> {
        let at = self.block_start(offset)?;
        // SAFETY: MEMSETBADBLOCK reads one 64-bit offset; `at` is one.
        unsafe { raw::mem_set_bad_block(self.file.as_raw_fd(), &raw const at) }
            .map_err(|e| Self::io("mark a block bad in", offset, e))?;
        Ok(())
    }

    /// Whether the blocks are write-protected.
    ///
    /// # Errors
    /// [`MtdError`].
    pub fn protection(&self, offset: u64, length: u64) -> Result<Protection, MtdError> {
        let range = self.range32(offset, length)?;
        // SAFETY: MEMISLOCKED reads a `struct erase_info_user` and answers by its return value;
        // `range` has its layout.
        match unsafe { raw::mem_is_locked(self.file.as_raw_fd(), &raw const range) } {
            Ok(0) => Ok(Protection::Unlocked),
            Ok(_) => Ok(Protection::Locked),
            Err(nix::Error::EOPNOTSUPP | nix::Error::ENOTTY) => Ok(Protection::Unsupported),
            Err(errno) => Err(Self::io("ask for the protection of", offset, errno)),
        }
    }

    /// Write-protects the blocks.
    ///
    /// # Errors
    /// [`MtdError::Io`]; `EOPNOTSUPP` for flash without locks.
    pub fn lock(&self, offset: u64, length: u64) -> Result<(), MtdError> {
        let range = self.range32(offset, length)?;
        // SAFETY: MEMLOCK reads a `struct erase_info_user`; `range` has its layout.
        unsafe { raw::mem_lock(self.file.as_raw_fd(), &raw const range) }
            .map_err(|e| Self::io("lock", offset, e))?;
        Ok(())
    }

    /// Takes the write protection off the blocks.
    ///
    /// # Errors
    /// [`MtdError::Io`]; `EOPNOTSUPP` for flash without locks.
    pub fn unlock(&self, offset: u64, length: u64) -> Result<(), MtdError> {
        let range = self.range32(offset, length)?;
        // SAFETY: MEMUNLOCK reads a `struct erase_info_user`; `range` has its layout.
        unsafe { raw::mem_unlock(self.file.as_raw_fd(), &raw const range) }
            .map_err(|e| Self::io("unlock", offset, e))?;
        Ok(())
    }

    fn check_blocks(&self, offset: u64, length: u64) -> Result<(), MtdError> {
        let block = u64::from(self.info.erase_size);
        let whole = block != 0 && offset.is_multiple_of(block) && length.is_multiple_of(block);
        if whole && length != 0 && offset.checked_add(length).is_some() {
            Ok(())
        } else {
            Err(MtdError::NotWholeBlocks { offset, length })
        }
    }

    fn block_start(&self, offset: u64) -> Result<i64, MtdError> {
        let length = u64::from(self.info.erase_size);
        self.check_blocks(offset, length)?;
        i64::try_from(offset).map_err(|_| MtdError::NotWholeBlocks { offset, length })
    }

    fn range32(&self, offset: u64, length: u64) -> Result<Range32, MtdError> {
        self.check_blocks(offset, length)?;
        match (u32::try_from(offset), u32::try_from(length)) {
            (Ok(start), Ok(length)) => Ok(Range32 { start, length }),
            _ => Err(MtdError::NotWholeBlocks { offset, length }),
        }
    }

    fn io(what: &'static str, offset: u64, errno: nix::Error) -> MtdError {
        MtdError::Io {
            what,
            offset,
            source: errno.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_devices_are_told() {
        assert!(matches!(
            Mtd::open(Path::new("/dev/null")),
            Err(MtdError::NotAnMtd)
        ));
        assert!(matches!(Mtd::open(Path::new("/")), Err(MtdError::NotAnMtd)));
        assert!(matches!(
            Mtd::open_read_only(Path::new("/gone")),
            Err(MtdError::Io { .. })
        ));
    }

    fn with_blocks_of(erase_size: u32) -> Mtd {
        let info = RawInfo {
            kind: NOR,
            flags: 0xC00,
            size: 1 << 20,
            erase_size,
            ..RawInfo::default()
        };
        Mtd {
            file: File::open("/dev/null").unwrap(),
            info: info.into(),
        }
    }

    #[test]
    fn only_whole_blocks_are_erased() {
        let mtd = with_blocks_of(4096);
        assert_eq!(mtd.info().kind, MtdKind::Nor);
        assert!(mtd.info().writeable && mtd.info().bit_writeable);
        for (offset, length) in [
            (1, 4096),
            (0, 1),
            (0, 0),
            (u64::MAX - 4095, 4096),
            (4096, 4097),
        ] {
            let error = mtd.erase(offset, length);
            assert!(
                matches!(error, Err(MtdError::NotWholeBlocks { .. })),
                "{offset} {length}"
            );
        }
        assert!(
            matches!(mtd.erase(0, 4096), Err(MtdError::EraseFailed { .. })),
            "is /dev/null"
        );
        assert!(with_blocks_of(0).erase(0, 0).is_err());
        assert!(matches!(
            mtd.lock(1 << 32, 4096),
            Err(MtdError::NotWholeBlocks { .. })
        ));
    }
}
