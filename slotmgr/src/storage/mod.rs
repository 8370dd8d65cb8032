//! The seam to everything that keeps bytes: slots, copies of the boot environment, our own record.
//!
//! All writes of an installation go through [`Storage`], one [`Area`] at a time, so that the
//! power-cut machine ([`sim`]) can stand in for the real disks ([`device`]) and cut after any
//! operation, and so that the order of operations can be written down and reviewed ([`record`]).

pub mod device;
pub(crate) mod direct;
pub(crate) mod durable;
pub(crate) mod flash;
pub mod mounts;
pub mod record;
pub mod sim;
pub mod uboot_copy;
pub(crate) mod ways;

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::slot::SlotId;

/// The largest unit that storage of every kind writes as a whole, in bytes: a power cut leaves a
/// sector old or new.
pub const SECTOR: usize = 512;

/// Something with a fixed length that keeps bytes.
///
/// The contract is that of a disk behind a volatile cache:
/// * [`write_at`](Storage::write_at) may be lost, kept, reordered or torn at 512-byte borders by a
///   power cut until [`sync`](Storage::sync) has returned;
/// * `sync` returns only when all earlier writes *through this handle* are on the medium, and
///   reads after it come from the medium, not from a cache;
/// * nothing ever changes the length.
pub trait Storage: Send {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// True for a storage without a single byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end, otherwise what the device says.
    fn read_at(&mut self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `data` at `offset`; volatile until [`sync`](Storage::sync).
    ///
    /// # Errors
    /// `WriteZero` beyond the end, otherwise what the device says.
    fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()>;

    /// The range was written and is not needed any more: it may go to the medium from now on, while
    /// other work is done. Only a hint; [`sync`](Storage::sync) is the barrier.
    fn begin_write_out(&mut self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// The barrier: returns when everything written before is durable.
    ///
    /// # Errors
    /// What the device says; after an error nothing may be assumed of any earlier write.
    fn sync(&mut self) -> io::Result<()>;

    /// The open file behind it, if there is one: for what only a kernel can do with a disk, as
    /// locking it and being told of moved partitions.
    fn file(&self) -> Option<&File> {
        None
    }
}

/// What an open [`Storage`] is for. The names stand in errors and in the golden lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The contents of a slot.
    Slot(SlotId),
    /// The bootloader's environment, one of its two copies, or what the bootloader counts.
    BootEnv(EnvCopy),
    /// One of the two copies of our own record.
    Record(RecordCopy),
}

/// Which of the files or copies of the bootloader's environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnvCopy {
    /// The only one, or the first of two.
    First,
    /// The second of two.
    Second,
    /// What the bootloader alone writes: the used tries of GRUB's paired scheme.
    Counter,
}

/// Which of the two copies of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordCopy {
    /// `state.0`
    First,
    /// `state.1`
    Second,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Area::Slot(id) => write!(f, "slot#{}", id.index()),
            Area::BootEnv(EnvCopy::First) => f.write_str("boot-env"),
            Area::BootEnv(EnvCopy::Second) => f.write_str("boot-env.1"),
            Area::BootEnv(EnvCopy::Counter) => f.write_str("boot-env.counter"),
            Area::Record(RecordCopy::First) => f.write_str("record.0"),
            Area::Record(RecordCopy::Second) => f.write_str("record.1"),
        }
    }
}

/// Opens areas. One handle per area at a time; a slot is opened exclusively.
pub trait Disks {
    /// Opens `area` for reading and writing.
    ///
    /// # Errors
    /// When it is not there, cannot be opened, or is in use by somebody else.
    fn open(&mut self, area: Area) -> Result<Box<dyn Storage>, OpenError>;
}

/// Why an [`Area`] could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A device or file that cannot be opened.
    #[error("cannot open {} for {what}", path.display())]
    Open {
        /// What it would have been used for, for people.
        what: String,
        /// Device or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A slot whose device somebody else has open or mounted.
    #[error(
        "{} is in use: it is mounted, or another program has opened it. Nothing was written; \
         unmount it and try again",
        path.display()
    )]
    InUse {
        /// The device.
        path: PathBuf,
    },
    /// The boot environment's file is not fit to be written safely.
    #[error("the boot environment {} cannot be used", path.display())]
    Environment {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: grub_env::file::FileError,
    },
    /// Another program is working on the environment, or it cannot be locked.
    #[error("the boot environment cannot be locked")]
    Locked(#[source] uboot_env::storage::lock::LockError),
    /// The configuration of U-Boot's environment does not fit the devices.
    #[error("the U-Boot environment cannot be opened")]
    UBoot(#[source] uboot_env::storage::OpenError),
    /// This machine has no such area.
    #[error("there is no {0} on this machine")]
    Absent(String),
    /// The simulated power is off.
    #[error("the power is off")]
    PowerOff,
}

/// Reads everything of a small storage (an environment, a record).
///
/// # Errors
/// As [`Storage::read_at`]; `InvalidData` above `cap` bytes.
pub fn read_all(storage: &mut dyn Storage, cap: u64) -> io::Result<Vec<u8>> {
    let len = storage.len();
    if len > cap {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has {len} bytes, more than the {cap} that are read"),
        ));
    }
    let size = usize::try_from(len).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    storage.read_at(&mut bytes, 0)?;
    Ok(bytes)
}
