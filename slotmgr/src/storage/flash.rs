//! Slots on flash: who else has them, and what can be read there.
//!
//! They are written by writers of their own ([`crate::writer`]): flash has no bytes that can be
//! overwritten one by one.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use devio::mtd::{BlockHealth, Mtd, MtdError};
use devio::ubi::{UbiError, UbiVolume, VolumeFacts};
use nix::sys::stat::minor;

use super::mounts::Mounts;
use super::{OpenError, Storage};
use crate::slot::SlotKind;

/// Where the kernel lists UBI devices and volumes.
const SYS_UBI: &str = "/sys/class/ubi";

/// The blocks of an MTD device that are not marked bad, in order: what is written to the device runs
/// through them as if the others were not there.
#[derive(Debug)]
pub(crate) struct GoodBlocks {
    /// Bytes of a block.
    pub block: u64,
    /// First bytes.
    pub starts: Vec<u64>,
}

impl GoodBlocks {
    /// Asks the chip.
    ///
    /// # Errors
    /// What the driver says.
    pub fn of(mtd: &Mtd) -> Result<GoodBlocks, MtdError> {
        let info = mtd.info();
        let block = u64::from(info.erase_size).max(1);
        let mut starts = Vec::new();
        for number in 0..u64::from(info.size) / block {
            if mtd.block_health(number * block)? == BlockHealth::Good {
                starts.push(number * block);
            }
        }
        Ok(GoodBlocks { block, starts })
    }

    /// Bytes in all of them.
    pub fn len(&self) -> u64 {
        self.starts.len() as u64 * self.block
    }

    /// Fills `buf` from `offset` of what is in the good blocks.
    pub fn read(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let number = usize::try_from(at / self.block).map_err(io::Error::other)?;
            let start = self
                .starts
                .get(number)
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            let left = usize::try_from(self.block - at % self.block).unwrap_or(usize::MAX);
            let end = (done + left).min(buf.len());
            file.read_exact_at(&mut buf[done..end], start + at % self.block)?;
            done = end;
        }
        Ok(())
    }
}

/// Opens `/dev/mtdN`, unless a file system on it is mounted or UBI has it: the kernel would let
/// anybody write there meanwhile.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn open_mtd(path: &Path) -> Result<Mtd, OpenError> {
    let in_use = || OpenError::InUse {
        path: path.to_owned(),
    };
    if Mounts::now().of(path).is_some() || is_attached(path, Path::new(SYS_UBI)) {
        return Err(in_use());
    }
    Mtd::open(path).map_err(|error| cannot_open(path, io::Error::other(error)))
}

/// Opens `/dev/ubiX_Y`. The kernel itself refuses a volume that is mounted.
///
/// # Errors
/// [`OpenError`].
pub(crate) fn open_ubi(path: &Path) -> Result<UbiVolume, OpenError> {
    UbiVolume::open(path).map_err(|error| match error {
        UbiError::InUse => OpenError::InUse {
            path: path.to_owned(),
        },
        other => cannot_open(path, io::Error::other(other)),
    })
}

/// What sysfs tells of a volume, if it does.
pub(crate) fn volume_facts(path: &Path) -> Option<VolumeFacts> {
    let real = path.canonicalize().ok()?;
    VolumeFacts::read(&Path::new(SYS_UBI).join(real.file_name()?)).ok()
}

/// Whether UBI has the MTD device. Each has two character devices, of which the second is read-only.
fn is_attached(path: &Path, sys_ubi: &Path) -> bool {
    let Ok(metadata) = std::fs::metadata(path) else {
        return false;
    };
    let number = (minor(metadata.rdev()) / 2).to_string();
    let devices = std::fs::read_dir(sys_ubi).into_iter().flatten().flatten();
    devices
        .filter_map(|device| std::fs::read_to_string(device.path().join("mtd_num")).ok())
        .any(|attached| attached.trim_end() == number)
}

fn cannot_open(path: &Path, source: io::Error) -> OpenError {
    OpenError::Open {
        what: "writing a slot".to_owned(),
        path: path.to_owned(),
        source,
    }
}

/// A slot on flash, for reading.
pub(super) enum FlashSlot {
    Mtd(Mtd, GoodBlocks),
    Ubi(UbiVolume, u64),
}

impl FlashSlot {
    /// Opens the device of a slot of this type.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, kind: SlotKind) -> Result<FlashSlot, OpenError> {
        if matches!(kind, SlotKind::Ubivol | SlotKind::Ubifs) {
            let volume = open_ubi(path)?;
            let len = volume_facts(path).map_or(0, |facts| facts.data_bytes);
            return Ok(FlashSlot::Ubi(volume, len));
        }
        let mtd = open_mtd(path)?;
        let good =
            GoodBlocks::of(&mtd).map_err(|error| cannot_open(path, io::Error::other(error)))?;
        Ok(FlashSlot::Mtd(mtd, good))
    }
}

impl Storage for FlashSlot {
    fn len(&self) -> u64 {
        match self {
            FlashSlot::Mtd(_, good) => good.len(),
            FlashSlot::Ubi(_, len) => *len,
        }
    }

    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            FlashSlot::Mtd(mtd, good) => good.read(mtd.file(), buf, offset),
            FlashSlot::Ubi(volume, _) => volume.file().read_exact_at(buf, offset),
        }
    }

    fn write_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "flash is written as a whole",
        ))
    }

    fn sync(&mut self) -> io::Result<()> {
        // Nothing was written.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_blocks_are_no_part_of_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chip");
        fs_err::write(&path, b"aaaa####bbbb####cccc").unwrap();
        let good = GoodBlocks {
            block: 4,
            starts: vec![0, 8, 16],
        };
        let file = File::open(&path).unwrap();
        let read = |offset, len| {
            let mut buf = vec![0; len];
            let read = good.read(&file, &mut buf, offset);
            read.map(|()| String::from_utf8(buf).unwrap())
        };
        assert_eq!(good.len(), 12);
        assert_eq!(read(0, 12).unwrap(), "aaaabbbbcccc");
        assert_eq!(read(3, 6).unwrap(), "abbbbc");
        assert!(read(8, 5).is_err());
    }

    #[test]
    fn what_ubi_has_is_told_by_the_number() {
        // /dev/full is 1:7, /dev/null 1:3: as if they were the devices of mtd3 and mtd1.
        let sys = tempfile::tempdir().unwrap();
        let device = sys.path().join("ubi0");
        fs_err::create_dir(&device).unwrap();
        fs_err::write(device.join("mtd_num"), "3\n").unwrap();
        assert!(is_attached(Path::new("/dev/full"), sys.path()));
        assert!(!is_attached(Path::new("/dev/null"), sys.path()));
        assert!(!is_attached(Path::new("/gone"), sys.path()));
    }
}
