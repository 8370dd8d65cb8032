//! Which file system a file lives in, and the inode flags that say how its bytes are stored.
//!
//! Source: statfs(2), `include/uapi/linux/magic.h`, `ioctl_iflags(2)`.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

mod raw {
    nix::ioctl_read_bad!(fs_ioc_getflags, crate::request::FS_IOC_GETFLAGS, u32);
}

/// A file system type, by the magic number of statfs(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FsKind {
    /// ext2, ext3 or ext4: one magic number for the three.
    Ext,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// FAT12/16/32 (vfat, msdos).
    Fat,
    /// exFAT.
    ExFat,
    /// F2FS.
    F2fs,
    /// tmpfs (and devtmpfs).
    Tmpfs,
    /// ramfs and the initramfs' rootfs.
    Ramfs,
    /// Overlay.
    Overlay,
    /// SquashFS.
    Squashfs,
    /// EROFS.
    Erofs,
    /// ISO 9660.
    Iso9660,
    /// UBIFS.
    Ubifs,
    /// JFFS2.
    Jffs2,
    /// ZFS.
    Zfs,
    /// bcachefs.
    Bcachefs,
    /// Any FUSE file system.
    Fuse,
    /// NFS.
    Nfs,
    /// 9p (QEMU, virtual machines).
    NineP,
    /// Something else; the magic number tells.
    Other(u32),
}

impl FsKind {
    fn from_magic(magic: u32) -> Self {
        match magic {
            0x0000_EF53 => Self::Ext,
            0x5846_5342 => Self::Xfs,
            0x9123_683E => Self::Btrfs,
            0x0000_4D44 => Self::Fat,
            0x2011_BAB0 => Self::ExFat,
            0xF2F5_2010 => Self::F2fs,
            0x0102_1994 => Self::Tmpfs,
            0x8584_58F6 => Self::Ramfs,
            0x794C_7630 => Self::Overlay,
            0x7371_7368 => Self::Squashfs,
            0xE0F5_E1E2 => Self::Erofs,
            0x0000_9660 => Self::Iso9660,
            0x2405_1905 => Self::Ubifs,
            0x0000_72B6 => Self::Jffs2,
            0x2FC1_2FC1 => Self::Zfs,
            0xCA45_1A4E => Self::Bcachefs,
            0x6573_5546 => Self::Fuse,
            0x0000_6969 => Self::Nfs,
            0x0102_1997 => Self::NineP,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for FsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Ext => "ext2/3/4",
            Self::Xfs => "XFS",
            Self::Btrfs => "btrfs",
            Self::Fat => "FAT",
            Self::ExFat => "exFAT",
            Self::F2fs => "F2FS",
            Self::Tmpfs => "tmpfs",
            Self::Ramfs => "ramfs",
            Self::Overlay => "overlay",
            Self::Squashfs => "SquashFS",
            Self::Erofs => "EROFS",
            Self::Iso9660 => "ISO 9660",
            Self::Ubifs => "UBIFS",
            Self::Jffs2 => "JFFS2",
            Self::Zfs => "ZFS",
            Self::Bcachefs => "bcachefs",
            Self::Fuse => "FUSE",
            Self::Nfs => "NFS",
            Self::NineP => "9p",
            Self::Other(magic) => return write!(f, "unknown file system (magic {magic:#010x})"),
        };
        f.write_str(name)
    }
}

/// The file system that holds `file`.
///
/// # Errors
/// What fstatfs(2) says.
pub fn fs_kind(file: &File) -> io::Result<FsKind> {
    let kind = nix::sys::statfs::fstatfs(file)?.filesystem_type().0;
    // `f_type` is signed, unsigned, 32 or 64 bits wide, as the C library has it; all magic
    // numbers are 32 bits, sign-extended on some machines.
    let [a, b, c, d, ..] = i128::from(kind).to_le_bytes();
    Ok(FsKind::from_magic(u32::from_le_bytes([a, b, c, d])))
}

/// Inode flags (`lsattr`), as far as they change where or when bytes reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InodeFlags(u32);

impl InodeFlags {
    /// Kept compressed (`FS_COMPR_FL`).
    #[must_use]
    pub fn compressed(self) -> bool {
        self.0 & 0x0000_0004 != 0
    }

    /// May not be changed at all (`chattr +i`).
    #[must_use]
    pub fn immutable(self) -> bool {
        self.0 & 0x0000_0010 != 0
    }

    /// May only be appended to (`chattr +a`).
    #[must_use]
    pub fn append_only(self) -> bool {
        self.0 & 0x0000_0020 != 0
    }

    /// Kept encrypted (fscrypt).
    #[must_use]
    pub fn encrypted(self) -> bool {
        self.0 & 0x0000_0800 != 0
    }

    /// Data goes through the journal first (`chattr +j`): after fsync the new bytes are in the
    /// journal, and a boot loader that does not replay it reads the old ones.
    #[must_use]
    pub fn journalled(self) -> bool {
        self.0 & 0x0000_4000 != 0
    }

    /// Sealed by fs-verity.
    #[must_use]
    pub fn verity(self) -> bool {
        self.0 & 0x0010_0000 != 0
    }

    /// Never copied on write (`chattr +C`, btrfs).
    #[must_use]
    pub fn no_copy_on_write(self) -> bool {
        self.0 & 0x0080_0000 != 0
    }

    /// Data lies inside the inode (ext4 `inline_data`).
    #[must_use]
    pub fn inline(self) -> bool {
        self.0 & 0x1000_0000 != 0
    }
}

/// The inode flags of `file`; `None` where the file system has none (FAT, some overlays).
///
/// # Errors
/// What the kernel says, except for "no such ioctl here".
pub fn inode_flags(file: &File) -> io::Result<Option<InodeFlags>> {
    let mut flags = 0_u32;
    // SAFETY: FS_IOC_GETFLAGS writes one 32-bit int through the pointer, whatever size its number
    // encodes (ioctl_iflags(2)); `flags` is one and outlives the call.
    match unsafe { raw::fs_ioc_getflags(file.as_raw_fd(), &raw mut flags) } {
        Ok(_) => Ok(Some(InodeFlags(flags))),
        Err(nix::Error::ENOTTY | nix::Error::EOPNOTSUPP | nix::Error::EINVAL) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_named_by_its_magic() {
        let file = File::open("/proc/version").unwrap();
        let kind = fs_kind(&file).unwrap();
        assert_eq!(kind, FsKind::Other(0x9fa0));
        assert_eq!(kind.to_string(), "unknown file system (magic 0x00009fa0)");
        assert_eq!(inode_flags(&file).unwrap(), None);
    }

    #[test]
    fn magic_numbers_with_the_top_bit_survive_sign_extension() {
        for magic in [0x9123_683E_u32, 0xF2F5_2010, 0xE0F5_E1E2] {
            assert!(!matches!(FsKind::from_magic(magic), FsKind::Other(_)));
        }
    }
}
