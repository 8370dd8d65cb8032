//! What can be written into a slot, a file per kind of target.
//!
//! A writer is made before anything is touched, is asked for the four steps of an installation in
//! their order (write, sync, read back, complete), and knows nothing of the order itself.

mod archive;
mod changes;
mod compression;
mod emmc;
mod fallback;
mod filesystem;
mod flash;
mod half;
mod hasher;
mod kind;
mod raw;
mod switch;
mod ubi;
mod unpack;
mod untouched;

pub(crate) use archive::digest_of;
pub(crate) use changes::Changes;
pub(crate) use compression::decompress;
pub(crate) use filesystem::unmount_leftovers;
pub use filesystem::{FilesystemError, Mounted, exclusive};
pub use flash::FlashError;
pub use half::SwitchError;
use hasher::Hasher;
pub use kind::Method;
pub use unpack::UnpackError;
pub(crate) use unpack::{Keep, copy_directory, unpack};

use std::io;
use std::path::Path;

use bundle_format::Digest;

use crate::install::{AssembleError, Environment, ImageStream, ReadBackError, Step};
use crate::program::Stop;
use crate::slot::{Slot, SlotKind, SlotName};
use crate::storage::{Area, Disks, Storage};

/// One target on its way.
pub(crate) trait Writer: Send {
    /// Writes the whole image.
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError>;

    /// The target, where what it holds can be read and parts of it written in any order.
    fn anywhere(&mut self) -> Option<&mut dyn Storage> {
        None
    }

    /// The barrier: returns when everything is on the medium.
    fn sync(&mut self) -> Result<(), AssembleError>;

    /// Compares what is on the medium with what was promised.
    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError>;

    /// Whether the image is there already. The barrier makes its bytes come from the medium.
    fn holds(&mut self, proof: &mut Proof<'_>) -> bool {
        self.sync().is_ok() && self.read_back(proof).is_ok()
    }

    /// What the hooks of its image are told beyond what every hook is.
    fn told(&self) -> Environment {
        Environment::new()
    }

    /// Lets go of the device, so that a hook can mount it. Whoever writes calls `acquire` first.
    fn release(&mut self) {}

    /// Takes hold of the device again.
    fn acquire(&mut self, _disks: &mut dyn Disks) -> Result<(), AssembleError> {
        Ok(())
    }

    /// Once every slot is proven: a file system grows, a switch is set.
    fn complete(&mut self, _stop: &Stop) -> Result<(), AssembleError> {
        Ok(())
    }
}

/// What a read-back needs.
pub(crate) struct Proof<'p> {
    pub step: &'p Step,
    /// Bytes per read.
    pub chunk: usize,
    /// Ends it early.
    pub stop: &'p Stop,
    /// Is told how many bytes are through.
    pub tell: &'p mut dyn FnMut(u64),
}

impl Proof<'_> {
    /// Hashes what `read` gives and compares it with what was promised.
    fn compare(
        &mut self,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> Result<(), ReadBackError> {
        let slot = || self.step.slot.clone();
        let stop = self.stop;
        let read = &mut |piece: &mut [u8], offset| {
            stop.check()?;
            read(piece, offset)
        };
        let found =
            hash(self.step.size, self.chunk, read, self.tell).map_err(|(offset, source)| {
                ReadBackError::Read {
                    slot: slot(),
                    offset,
                    source,
                }
            })?;
        if found == self.step.sha256 {
            return Ok(());
        }
        Err(ReadBackError::Differs {
            slot: slot(),
            expected: self.step.sha256,
            found,
        })
    }
}

/// The digest of the first `size` bytes, or the offset at which they cannot be read.
pub(crate) fn hash(
    size: u64,
    chunk: usize,
    read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<()>,
    tell: &mut dyn FnMut(u64),
) -> Result<Digest, (u64, io::Error)> {
    std::thread::scope(|scope| {
        let hasher = Hasher::new(scope);
        let mut offset = 0;
        while offset < size {
            let count = usize::try_from(size - offset)
                .unwrap_or(usize::MAX)
                .min(chunk);
            let failed = |error| (offset, error);
            let mut piece = hasher.memory();
            piece.resize(count);
            read(&mut piece, offset).map_err(failed)?;
            hasher.add(piece).map_err(failed)?;
            offset += count as u64;
            tell(offset);
        }
        hasher.finish().map_err(|error| (size, error))
    })
}

/// Opens the target of `step`, and checks what can be checked without writing.
///
/// # Errors
/// When it is not there, is in use, or is too small.
pub(crate) fn open(
    step: &Step,
    slot: &Slot,
    disks: &mut dyn Disks,
    work_directory: &Path,
) -> Result<Box<dyn Writer>, AssembleError> {
    let area = Area::Slot(step.target.id());
    Ok(match step.method {
        Method::Copy => Box::new(raw::Raw::open(step, slot, disks)?),
        Method::Archive | Method::Tree | Method::EmptyFs => {
            // Opened and let go: it is neither mounted nor in use, and it is there.
            disks.open(area).map_err(|source| AssembleError::Open {
                slot: step.slot.clone(),
                source,
            })?;
            Box::new(archive::Archive::new(step, slot, work_directory))
        }
        Method::UbiVolume => Box::new(ubi::Volume::open(step, slot)?),
        Method::Flash => Box::new(flash::Flash::open(step, slot)?),
        Method::Emmc => Box::new(emmc::Emmc::open(step, slot)?),
        Method::Switch if slot.kind == SlotKind::BootRawFallback => {
            Box::new(fallback::Fallback::open(step, slot, disks)?)
        }
        Method::Switch => Box::new(switch::Switch::open(step, slot, disks)?),
        Method::Hook => Box::new(untouched::Untouched::open(slot, disks, area)?),
    })
}

fn too_large(step: &Step, len: u64) -> AssembleError {
    AssembleError::TooLarge {
        image: step.label().to_owned(),
        size: step.size,
        slot: step.slot.clone(),
        len,
    }
}

/// The error for a device that does not take bytes.
fn write_error(slot: &SlotName, offset: u64) -> impl FnOnce(io::Error) -> AssembleError + use<> {
    let slot = slot.clone();
    move |source| AssembleError::Write {
        slot,
        offset,
        source,
    }
}
