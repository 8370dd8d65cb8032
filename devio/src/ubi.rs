//! UBI volumes: what bytes alone do not do.
//!
//! A volume is written anew as a whole ("update"): the kernel sets an update marker, takes exactly
//! the announced number of bytes, and clears the marker. A power cut in between leaves a volume
//! that cannot be read (`EBADF`) until it is updated again. A single logical erase block can be
//! changed atomically instead ([`UbiVolume::change_block`]).
//!
//! Source: `include/uapi/mtd/ubi-user.h`, the UBI pages of linux-mtd.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

#[repr(C)]
pub(crate) struct LebChange {
    number: i32,
    pub(crate) bytes: i32,
    data_type: i8,
    padding: [i8; 7],
}

#[repr(C)]
pub(crate) struct Attach {
    ubi_number: i32,
    mtd_number: i32,
    vid_header_offset: i32,
    pub(crate) spare: i16,
    padding: [i8; 10],
}

/// "Unknown", the only value that kernels still take.
const DATA_TYPE: i8 = 3;

/// Let the kernel choose the number of the UBI device.
const ANY_NUMBER: i32 = -1;

mod raw {
    use super::{Attach, LebChange};
    use crate::request;

    nix::ioctl_write_ptr_bad!(volume_update, request::UBI_IOCVOLUP, i64);
    nix::ioctl_write_ptr_bad!(change_block, request::UBI_IOCEBCH, LebChange);
    nix::ioctl_write_ptr_bad!(is_mapped, request::UBI_IOCEBISMAP, i32);
    nix::ioctl_readwrite_bad!(attach, request::UBI_IOCATT, Attach);
}

/// What failed on UBI.
#[derive(Debug, thiserror::Error)]
pub enum UbiError {
    /// Not a UBI volume's character device (`/dev/ubiX_Y`).
    #[error("not a UBI volume (expected /dev/ubiX_Y)")]
    NotAVolume,
    /// The bytes do not fit into the volume, or the block.
    #[error("{bytes} bytes do not fit")]
    TooLarge {
        /// What was to be written.
        bytes: u64,
    },
    /// Somebody else is writing to the volume.
    #[error("the volume is in use by another writer")]
    InUse,
    /// An update was given fewer bytes than announced. The volume cannot be read until it is
    /// updated again.
    #[error("the update ended {missing} bytes early; the volume is unreadable until it is updated")]
    Unfinished {
        /// Bytes that did not come.
        missing: u64,
    },
    /// The MTD device is attached already.
    #[error("mtd{mtd} is attached already")]
    AlreadyAttached {
        /// The number of the MTD device.
        mtd: u32,
    },
    /// Anything else.
    #[error("cannot {what}")]
    Io {
        /// What was being done, as a verb with its object.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn refused(what: &'static str, bytes: u64) -> impl Fn(nix::Error) -> UbiError {
    move |errno| match errno {
        nix::Error::EBUSY => UbiError::InUse,
        nix::Error::ENOSPC | nix::Error::EFBIG | nix::Error::EINVAL => UbiError::TooLarge { bytes },
        other => UbiError::Io {
            what,
            source: other.into(),
        },
    }
}

/// An open UBI volume.
#[derive(Debug)]
pub struct UbiVolume {
    file: File,
}

impl UbiVolume {
    /// Opens `/dev/ubiX_Y` for reading and writing.
    ///
    /// # Errors
    /// [`UbiError::NotAVolume`], [`UbiError::InUse`] or [`UbiError::Io`].
    pub fn open(path: &Path) -> Result<Self, UbiError> {
        let opening = |source: io::Error| match source.raw_os_error() {
            Some(libc::EBUSY) => UbiError::InUse,
            _ => UbiError::Io {
                what: "open the volume",
                source,
            },
        };
        if !std::fs::metadata(path)
            .map_err(opening)?
            .file_type()
            .is_char_device()
        {
            return Err(UbiError::NotAVolume);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(opening)?;
        let volume = Self { file };
        match volume.ask_mapped(0) {
            Err(nix::Error::ENOTTY) => Err(UbiError::NotAVolume),
            // Whatever it says of its first block, it is a volume.
            _ => Ok(volume),
        }
    }

    /// The file, for `read_at`. `EBADF` means that an update did not end.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether the logical block holds anything; an unmapped one reads as 0xFF.
    ///
    /// # Errors
    /// [`UbiError::Io`], also for a number beyond the end.
    pub fn is_mapped(&self, block: u32) -> Result<bool, UbiError> {
        let number = i32::try_from(block).map_err(|_| UbiError::TooLarge {
            bytes: u64::from(block),
        })?;
        match self.ask_mapped(number) {
            Ok(answer) => Ok(answer != 0),
            Err(e) => Err(UbiError::Io {
                what: "ask for a block",
                source: e.into(),
            }),
        }
    }

    fn ask_mapped(&self, number: i32) -> nix::Result<libc::c_int> {
        // SAFETY: UBI_IOCEBISMAP reads one 32-bit number; `number` is one.
        unsafe { raw::is_mapped(self.file.as_raw_fd(), &raw const number) }
    }

    /// Begins an update of exactly `bytes` bytes. From here on the old content is gone. Zero bytes
    /// empty the volume at once.
    ///
    /// # Errors
    /// [`UbiError::TooLarge`] or [`UbiError::InUse`]; the volume is unchanged then.
    pub fn begin_update(&mut self, bytes: u64) -> Result<VolumeUpdate<'_>, UbiError> {
        let size = i64::try_from(bytes).map_err(|_| UbiError::TooLarge { bytes })?;
        // SAFETY: UBI_IOCVOLUP reads one 64-bit size; `size` is one.
        unsafe { raw::volume_update(self.file.as_raw_fd(), &raw const size) }
            .map_err(refused("begin the update", bytes))?;
        Ok(VolumeUpdate {
            file: &mut self.file,
            left: bytes,
        })
    }

    /// Changes one logical block atomically: after a power cut it is old or new. `bytes` are all
    /// that it holds then; the rest reads as 0xFF.
    ///
    /// # Errors
    /// [`UbiError::TooLarge`] if it does not fit into a block; the old content is there then.
    pub fn change_block(&mut self, block: u32, bytes: &[u8]) -> Result<(), UbiError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let too_large = || UbiError::TooLarge { bytes: length };
        let request = LebChange {
            number: i32::try_from(block).map_err(|_| too_large())?,
            bytes: i32::try_from(bytes.len()).map_err(|_| too_large())?,
            data_type: DATA_TYPE,
            padding: [0; 7],
        };
        // SAFETY: UBI_IOCEBCH reads a `struct ubi_leb_change_req`; `request` has its layout.
        unsafe { raw::change_block(self.file.as_raw_fd(), &raw const request) }
            .map_err(refused("begin the change of a block", length))?;
        // The change happens when the last byte is there.
        self.file.write_all(bytes).map_err(|source| UbiError::Io {
            what: "change a block",
            source,
        })
    }
}

/// An update under way. Write exactly the announced number of bytes, then
/// [`finish`](Self::finish).
#[derive(Debug)]
#[must_use = "the volume is unreadable until all bytes are written"]
pub struct VolumeUpdate<'a> {
    file: &'a mut File,
    left: u64,
}

impl VolumeUpdate<'_> {
    /// Bytes still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Ends the update. UBI has no cache, and the kernel has written all of it by then; some
    /// chips below it have one, which is written out here.
    ///
    /// # Errors
    /// [`UbiError::Unfinished`] if bytes are missing, or [`UbiError::Io`].
    pub fn finish(self) -> Result<(), UbiError> {
        if self.left > 0 {
            return Err(UbiError::Unfinished { missing: self.left });
        }
        self.file.sync_all().map_err(|source| UbiError::Io {
            what: "write out the update",
            source,
        })
    }
}

impl Write for VolumeUpdate<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The kernel ignores what is too much; a writer must not believe that it went anywhere.
        let fits = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let written = self.file.write(bytes.get(..fits).unwrap_or(bytes))?;
        self.left = self
            .left
            .saturating_sub(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Attaches an MTD device to UBI by the control device (`/dev/ubi_ctrl`), with the kernel's
/// defaults, and gives the number X of the new `/dev/ubiX`.
///
/// # Errors
/// [`UbiError::AlreadyAttached`], or [`UbiError::Io`].
pub fn attach(control: &File, mtd: u32) -> Result<u32, UbiError> {
    let io = |source| UbiError::Io {
        what: "attach the MTD device",
        source,
    };
    let mtd_number =
        i32::try_from(mtd).map_err(|_| io(io::Error::from(io::ErrorKind::InvalidInput)))?;
    let mut request = Attach {
        ubi_number: ANY_NUMBER,
        mtd_number,
        vid_header_offset: 0,
        spare: 0,
        padding: [0; 10],
    };
    // SAFETY: UBI_IOCATT reads a `struct ubi_attach_req` and writes the number into its first
    // field; `request` has its layout and outlives the call.
    match unsafe { raw::attach(control.as_raw_fd(), &raw mut request) } {
        Ok(_) => u32::try_from(request.ubi_number)
            .map_err(|_| io(io::Error::from(io::ErrorKind::InvalidData))),
        Err(nix::Error::EEXIST) => Err(UbiError::AlreadyAttached { mtd }),
        Err(errno) => Err(io(errno.into())),
    }
}

/// What sysfs tells of a volume (`/sys/class/ubi/ubiX_Y`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFacts {
    /// Its name.
    pub name: String,
    /// Bytes of a logical erase block that can be used.
    pub usable_block: u64,
    /// Logical erase blocks that it has.
    pub blocks: u64,
    /// Bytes of content: all of it for a dynamic volume, what was last written for a static one.
    pub data_bytes: u64,
    /// An update was begun and did not end.
    pub update_marker: bool,
    /// A static volume whose checksum is wrong.
    pub corrupted: bool,
}

impl VolumeFacts {
    /// Reads the attributes in `directory`.
    ///
    /// # Errors
    /// If one of them is missing or no number.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let text = |name: &str| -> io::Result<String> {
            let text = std::fs::read_to_string(directory.join(name))
                .map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
            Ok(text.trim_end().to_owned())
        };
        let number = |name: &str| -> io::Result<u64> {
            let text = text(name)?;
            text.parse().map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{name} is {text:?}"))
            })
        };
        Ok(Self {
            name: text("name")?,
            usable_block: number("usable_eb_size")?,
            blocks: number("reserved_ebs")?,
            data_bytes: number("data_bytes")?,
            update_marker: number("upd_marker")? != 0,
            corrupted: number("corrupted")? != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_devices_are_told() {
        assert!(matches!(
            UbiVolume::open(Path::new("/")),
            Err(UbiError::NotAVolume)
        ));
        assert!(matches!(
            UbiVolume::open(Path::new("/dev/null")),
            Err(UbiError::NotAVolume)
        ));
        assert!(matches!(
            UbiVolume::open(Path::new("/gone")),
            Err(UbiError::Io { .. })
        ));
    }

    #[test]
    fn an_update_takes_what_was_announced_and_no_more() {
        let mut file = tempfile::tempfile().unwrap();
        let mut update = VolumeUpdate {
            file: &mut file,
            left: 5,
        };
        assert_eq!(update.write(b"abc").unwrap(), 3);
        assert_eq!(update.write(b"defg").unwrap(), 2);
        assert_eq!(update.write(b"h").unwrap(), 0);
        assert_eq!(update.left(), 0);
        update.finish().unwrap();
        let short = VolumeUpdate {
            file: &mut file,
            left: 2,
        };
        assert!(matches!(
            short.finish(),
            Err(UbiError::Unfinished { missing: 2 })
        ));
    }

    #[test]
    fn facts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(VolumeFacts::read(dir.path()).is_err());
        for (name, text) in [
            ("name", "rootfs.A\n"),
            ("usable_eb_size", "126976\n"),
            ("reserved_ebs", "40\n"),
            ("data_bytes", "5079040\n"),
            ("upd_marker", "1\n"),
            ("corrupted", "0\n"),
        ] {
            let mut file = File::create(dir.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        let facts = VolumeFacts::read(dir.path()).unwrap();
        assert_eq!((facts.name.as_str(), facts.blocks), ("rootfs.A", 40));
        assert!(facts.update_marker && !facts.corrupted);
    }
}
