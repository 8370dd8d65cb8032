//! The boot areas of eMMC: which of them the ROM boots from, and their write protection.
//!
//! Source: `include/uapi/linux/mmc/ioctl.h`; JEDEC's eMMC standard for the commands and the
//! "extended CSD" (512 bytes of the card's own).
//!
//! Run on QEMU's eMMC (`qemu-tests/tests/writes_flash`), not yet on a card; the example
//! `self_check` does it on a board.
//!
//! Some kernels lose or garble the switch (before 4.14.31/4.15.14/4.16; again in 6.8 to 6.8.2 and
//! the stable series of that time), so that [`select_boot_area`] reads back.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

#[repr(C)]
pub(crate) struct Command {
    write_flag: libc::c_int,
    is_acmd: libc::c_int,
    opcode: u32,
    argument: u32,
    pub(crate) response: [u32; 4],
    flags: u32,
    pub(crate) block_size: u32,
    blocks: u32,
    post_sleep_min_us: u32,
    post_sleep_max_us: u32,
    data_timeout_ns: u32,
    command_timeout_ms: u32,
    padding: u32,
    pub(crate) data: u64,
}

mod raw {
    nix::ioctl_readwrite_bad!(mmc_ioc_cmd, crate::request::MMC_IOC_CMD, super::Command);
}

/// Length of the extended CSD in bytes.
pub const EXT_CSD_LEN: usize = 512;

/// `PARTITION_CONFIG`: bit 6 boot acknowledge, bits 5:3 the boot area, bits 2:0 the access, which
/// the kernel keeps for itself.
const PARTITION_CONFIG: u8 = 179;
const BOOT_AREA: u8 = 0b0011_1000;
const ACCESS: u8 = 0b0000_0111;

const SEND_EXT_CSD: u32 = 8;
const SWITCH: u32 = 6;
/// The access mode "write byte" of SWITCH.
const WRITE_BYTE: u32 = 3;
/// The command set that SWITCH names; eMMC has one.
const COMMAND_SET: u32 = 1;

// Response and command types, as the kernel's drivers take them; of no use for SPI hosts but for
// the bits 7 and 10.
const R1: u32 = 0x15 | 1 << 7;
const R1B: u32 = 0x1D | 1 << 7 | 1 << 10;
const ADTC: u32 = 1 << 5;
const AC: u32 = 0;

/// From where the ROM boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootArea {
    /// Booting from eMMC is off.
    None,
    /// `mmcblkXboot0`
    Boot0,
    /// `mmcblkXboot1`
    Boot1,
    /// The user area, `mmcblkX`.
    User,
}

impl BootArea {
    fn from_config(config: u8) -> Option<Self> {
        match (config & BOOT_AREA) >> 3 {
            0 => Some(Self::None),
            1 => Some(Self::Boot0),
            2 => Some(Self::Boot1),
            7 => Some(Self::User),
            _ => None,
        }
    }

    /// The byte with this area instead of the one that is there; the acknowledge bit stays, the
    /// access bits are zero.
    fn into_config(self, config: u8) -> u8 {
        let number: u8 = match self {
            Self::None => 0,
            Self::Boot0 => 1,
            Self::Boot1 => 2,
            Self::User => 7,
        };
        (config & !(BOOT_AREA | ACCESS)) | number << 3
    }
}

/// What failed on eMMC.
#[derive(Debug, thiserror::Error)]
pub enum MmcError {
    /// Not an eMMC device, or its host takes no commands.
    #[error("not an eMMC device that takes commands (expected /dev/mmcblkX or mmcblkXbootY)")]
    NotMmc,
    /// A number in the extended CSD that the standard reserves.
    #[error("the card boots from an area that has no name (PARTITION_CONFIG is {config:#04x})")]
    UnknownArea {
        /// The byte.
        config: u8,
    },
    /// The switch seemed to work, but the card did not change: a kernel bug, or a card that
    /// forbids it.
    #[error("the card still says {found:?} after it was told to boot from {wanted:?}")]
    NotSwitched {
        /// What was asked for.
        wanted: BootArea,
        /// What it says.
        found: BootArea,
    },
    /// Anything else.
    #[error("cannot {what} the eMMC")]
    Io {
        /// What was being done, as a verb.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn refused(what: &'static str) -> impl Fn(nix::Error) -> MmcError {
    move |errno| match errno {
        nix::Error::ENOTTY | nix::Error::EINVAL => MmcError::NotMmc,
        other => MmcError::Io {
            what,
            source: other.into(),
        },
    }
}

/// Reads the extended CSD. Needs `CAP_SYS_RAWIO`, and a handle of the whole device or of a boot
/// area, not of a partition.
///
/// # Errors
/// [`MmcError::NotMmc`] or [`MmcError::Io`].
pub fn read_ext_csd(device: &File) -> Result<[u8; EXT_CSD_LEN], MmcError> {
    let mut csd = [0_u8; EXT_CSD_LEN];
    let mut command = command(SEND_EXT_CSD, 0, R1 | ADTC);
    command.block_size = 512;
    command.blocks = 1;
    // The kernel takes the address as a number of 64 bits on every machine.
    command.data = u64::try_from(csd.as_mut_ptr().expose_provenance()).unwrap_or(0);
    // SAFETY: MMC_IOC_CMD reads and writes a `struct mmc_ioc_cmd`; `command` has its layout. For
    // this command it writes `block_size * blocks` = 512 bytes to `data`, which is `csd`, has 512
    // bytes and outlives the call.
    unsafe { raw::mmc_ioc_cmd(device.as_raw_fd(), &raw mut command) }
        .map_err(refused("read the extended CSD of"))?;
    Ok(csd)
}

/// From where the ROM boots, by the extended CSD.
///
/// # Errors
/// [`MmcError::UnknownArea`] for a reserved number.
pub fn boot_area(csd: &[u8; EXT_CSD_LEN]) -> Result<BootArea, MmcError> {
    let config = partition_config(csd);
    BootArea::from_config(config).ok_or(MmcError::UnknownArea { config })
}

fn partition_config(csd: &[u8; EXT_CSD_LEN]) -> u8 {
    csd.get(usize::from(PARTITION_CONFIG)).copied().unwrap_or(0)
}

/// Makes the ROM boot from another area, in one byte of the card: the commit point. Then reads
/// back.
///
/// `device` takes the command, and `other` is asked afterwards: a handle of the boot area for the
/// first and one of the whole device (`/dev/mmcblkX`) for the second shows what the card says, and
/// not what a driver of the first remembers. The same handle twice works as well.
///
/// # Errors
/// [`MmcError::NotSwitched`] if the card says otherwise afterwards.
pub fn select_boot_area(device: &File, other: &File, area: BootArea) -> Result<(), MmcError> {
    let config = partition_config(&read_ext_csd(device)?);
    let value = area.into_config(config);
    let argument = switch_argument(value);
    let mut command = command(SWITCH, argument, R1B | AC);
    command.write_flag = 1;
    // SAFETY: MMC_IOC_CMD reads and writes a `struct mmc_ioc_cmd`; `command` has its layout. It
    // has no data (no blocks), so that the kernel follows no pointer.
    unsafe { raw::mmc_ioc_cmd(device.as_raw_fd(), &raw mut command) }
        .map_err(refused("switch the boot area of"))?;
    let found = boot_area(&read_ext_csd(other)?)?;
    if found == area {
        Ok(())
    } else {
        Err(MmcError::NotSwitched {
            wanted: area,
            found,
        })
    }
}

fn switch_argument(value: u8) -> u32 {
    WRITE_BYTE << 24 | u32::from(PARTITION_CONFIG) << 16 | u32::from(value) << 8 | COMMAND_SET
}

fn command(opcode: u32, argument: u32, flags: u32) -> Command {
    Command {
        write_flag: 0,
        is_acmd: 0,
        opcode,
        argument,
        response: [0; 4],
        flags,
        block_size: 0,
        blocks: 0,
        post_sleep_min_us: 0,
        post_sleep_max_us: 0,
        data_timeout_ns: 0,
        command_timeout_ms: 0,
        padding: 0,
        data: 0,
    }
}

/// The write protection of a boot area (`/sys/class/block/mmcblkXbootY/force_ro`), taken off for
/// as long as this lives. What was there before comes back: an area that was writable stays so.
#[derive(Debug)]
#[must_use = "the protection comes back when this is dropped"]
pub struct Unprotected {
    /// Where to write the protection back; `None` if there is nothing to restore.
    restore: Option<PathBuf>,
}

impl Unprotected {
    /// Takes the protection off, by the path of the `force_ro` file.
    ///
    /// # Errors
    /// [`MmcError::Io`] if it cannot be read, changed, or does not change.
    pub fn begin(force_ro: &Path) -> Result<Self, MmcError> {
        let failed = |source| MmcError::Io {
            what: "take the write protection off",
            source,
        };
        if !is_protected(force_ro).map_err(failed)? {
            return Ok(Self { restore: None });
        }
        // From here on it is written back, whatever happens.
        let this = Self {
            restore: Some(force_ro.to_owned()),
        };
        put(force_ro, b"0\n").map_err(failed)?;
        if is_protected(force_ro).map_err(failed)? {
            return Err(failed(io::Error::other("it stays on")));
        }
        Ok(this)
    }

    /// Puts the protection back as it was, and says whether that worked (dropping does not).
    ///
    /// # Errors
    /// [`MmcError::Io`].
    pub fn end(mut self) -> Result<(), MmcError> {
        self.put_back().map_err(|source| MmcError::Io {
            what: "write-protect",
            source,
        })
    }

    fn put_back(&mut self) -> io::Result<()> {
        match self.restore.take() {
            Some(path) => put(&path, b"1\n"),
            None => Ok(()),
        }
    }
}

impl Drop for Unprotected {
    fn drop(&mut self) {
        // `end` tells; here nobody listens.
        let _ = self.put_back();
    }
}

fn is_protected(force_ro: &Path) -> io::Result<bool> {
    match std::fs::read_to_string(force_ro)?.trim_end() {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("force_ro is {other:?}"),
        )),
    }
}

fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_keeps_the_acknowledge_bit_and_drops_the_access() {
        assert_eq!(BootArea::Boot1.into_config(0b0100_1011), 0b0101_0000);
        assert_eq!(BootArea::User.into_config(0b0000_1000), 0b0011_1000);
        assert_eq!(BootArea::None.into_config(0xFF), 0b1100_0000);
        for area in [
            BootArea::None,
            BootArea::Boot0,
            BootArea::Boot1,
            BootArea::User,
        ] {
            assert_eq!(BootArea::from_config(area.into_config(0x48)), Some(area));
        }
        assert_eq!(BootArea::from_config(0b0001_1000), None);
    }

    #[test]
    fn the_switch_is_the_standards() {
        // "Write byte 179 to 0x48", as mmc-utils prints it.
        assert_eq!(switch_argument(0x48), 0x03B3_4801);
        let mut csd = [0; EXT_CSD_LEN];
        csd[179] = 0x50;
        assert_eq!(boot_area(&csd).unwrap(), BootArea::Boot1);
        csd[179] = 0x18;
        assert!(matches!(
            boot_area(&csd),
            Err(MmcError::UnknownArea { config: 0x18 })
        ));
    }

    #[test]
    fn other_devices_are_told() {
        let null = File::open("/dev/null").unwrap();
        assert!(matches!(read_ext_csd(&null), Err(MmcError::NotMmc)));
        let switched = select_boot_area(&null, &null, BootArea::Boot0);
        assert!(matches!(switched, Err(MmcError::NotMmc)));
    }

    #[test]
    fn the_protection_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("force_ro");
        let is = || std::fs::read_to_string(&path).unwrap();
        for (before, after) in [("1\n", "1\n"), ("0\n", "0\n")] {
            File::create(&path)
                .unwrap()
                .write_all(before.as_bytes())
                .unwrap();
            let off = Unprotected::begin(&path).unwrap();
            assert_eq!(is(), "0\n");
            off.end().unwrap();
            assert_eq!(is(), after);
            drop(Unprotected::begin(&path).unwrap());
            assert_eq!(is(), after);
        }
        File::create(&path).unwrap().write_all(b"x\n").unwrap();
        assert!(Unprotected::begin(&path).is_err());
        assert!(Unprotected::begin(&dir.path().join("gone")).is_err());
    }
}
