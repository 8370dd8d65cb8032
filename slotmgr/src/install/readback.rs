//! Reads back from the medium what was written to it.

use std::io;
use std::path::PathBuf;

use bundle_format::Digest;

use super::assemble::{Fate, OpenSlot, run_hook};
use super::hooks::{Hooks, Point};
use super::{AssembleError, Progress, Stage, Step};
use crate::boot::Condemned;
use crate::program::Stop;
use crate::slot::{SlotName, Target};
use crate::storage::Disks;
use crate::writer::{FilesystemError, Proof};

/// All images are on the medium, as far as the device says.
#[must_use = "what is synced must be read back"]
pub struct Synced {
    condemned: Condemned,
    slots: Vec<OpenSlot>,
}

/// All images were read back from the medium and are what the signed manifest promises.
///
/// Only with this in hand can a slot be armed, and only [`Synced::read_back`] makes it:
///
/// ```compile_fail
/// # use slotmgr::boot::{self, BootEnv, Condemned, Tries};
/// # use slotmgr::storage::Disks;
/// fn too_early(env: &dyn BootEnv, disks: &mut dyn Disks, condemned: Condemned) {
///     let _ = boot::arm(env, disks, condemned, Tries::DEFAULT); // expected `Proven`
/// }
/// ```
#[must_use = "a proven slot is armed, or stays unusable"]
pub struct Proven {
    boot_target: Target,
    /// Still open, and still ours alone.
    slots: Vec<OpenSlot>,
    /// What was written, once everything is complete and let go of.
    written: Vec<Step>,
}

/// Why a slot was not proven.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// The device does not give it back.
    #[error(
        "while reading back slot {slot} at byte {offset}; it stays unusable until the next installation"
    )]
    Read {
        /// The target.
        slot: SlotName,
        /// Byte of the slot.
        offset: u64,
        /// What the device said.
        #[source]
        source: io::Error,
    },
    /// The device gives back something else.
    #[error(
        "slot {slot} reads back differently from what was written to it (SHA-256 {found} instead \
         of {expected}): its storage is not reliable. It stays unusable until the next \
         installation"
    )]
    Differs {
        /// The target.
        slot: SlotName,
        /// What was written.
        expected: Digest,
        /// What came back.
        found: Digest,
    },
    /// Its file system cannot be mounted again.
    #[error("while reading back slot {slot}; it stays unusable until the next installation")]
    Filesystem {
        /// The target.
        slot: SlotName,
        /// Why.
        #[source]
        source: FilesystemError,
    },
    /// A file in it cannot be read.
    #[error("while reading back {} in slot {slot}; it stays unusable until the next installation", path.display())]
    File {
        /// The target.
        slot: SlotName,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file in it is not what was unpacked.
    #[error(
        "{} in slot {slot} reads back differently from what was written: its storage is not \
         reliable. It stays unusable until the next installation",
        path.display()
    )]
    FileDiffers {
        /// The target.
        slot: SlotName,
        /// The file.
        path: PathBuf,
    },
    /// It is not open any more.
    #[error(transparent)]
    Gone(AssembleError),
}

impl Synced {
    pub(super) fn new(condemned: Condemned, slots: Vec<OpenSlot>) -> Self {
        Synced { condemned, slots }
    }

    /// Reads every image back and compares it with what the signed manifest promises.
    ///
    /// # Errors
    /// When the device fails, gives back something else, or somebody asks to stop. The target stays
    /// condemned.
    pub fn read_back(
        mut self,
        chunk: usize,
        stop: &Stop,
        progress: &mut dyn Progress,
    ) -> Result<Proven, ReadBackError> {
        let total: u64 = self.slots.iter().map(|slot| slot.step.size).sum();
        let mut before = 0;
        for slot in &mut self.slots {
            let mut tell = |done| progress.at(Stage::ReadBack, before + done, total);
            if slot.fate == Fate::Written {
                let mut proof = Proof {
                    step: &slot.step,
                    chunk,
                    stop,
                    tell: &mut tell,
                };
                slot.writer.read_back(&mut proof)?;
            }
            before += slot.step.size;
        }
        Ok(Proven {
            boot_target: self.condemned.target(),
            slots: self.slots,
            written: Vec::new(),
        })
    }
}

impl Proven {
    /// The slot that may be armed.
    #[must_use]
    pub fn boot_target(&self) -> Target {
        self.boot_target
    }

    /// The slots that were written, complete and held by nobody.
    pub(super) fn written(&self) -> &[Step] {
        &self.written
    }

    /// What comes after the proof, slot by slot: file systems grow, post-install hooks run, boot
    /// areas are switched. The bootloader still ignores the target.
    pub(super) fn complete(
        mut self,
        hooks: Option<&Hooks<'_>>,
        disks: &mut dyn Disks,
        stop: &Stop,
        progress: &mut dyn Progress,
    ) -> Result<Proven, AssembleError> {
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| slot.fate == Fate::Written)
        {
            run_hook(slot, hooks, Point::PostInstall, disks, progress)?;
            slot.writer.complete(stop)?;
        }
        let slots = std::mem::take(&mut self.slots).into_iter();
        let written = slots.filter(|slot| slot.fate == Fate::Written);
        self.written = written.map(|slot| slot.step).collect();
        Ok(self)
    }
}
