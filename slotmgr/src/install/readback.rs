//! Reads back from the medium what was written to it.

use std::io;

use bundle_format::Digest;
use sha2::{Digest as _, Sha256};

use super::assemble::OpenSlot;
use super::{Progress, Stage};
use crate::boot::Condemned;
use crate::slot::{SlotName, Target};

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
#[derive(Debug)]
pub struct Proven {
    boot_target: Target,
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
}

impl Synced {
    pub(super) fn new(condemned: Condemned, slots: Vec<OpenSlot>) -> Self {
        Synced { condemned, slots }
    }

    /// Reads every image back and compares its digest.
    ///
    /// # Errors
    /// When the device fails, or gives back something else. The target stays condemned.
    pub fn read_back(
        mut self,
        chunk: usize,
        progress: &mut dyn Progress,
    ) -> Result<Proven, ReadBackError> {
        let total: u64 = self.slots.iter().map(|slot| slot.step.size).sum();
        let mut before = 0;
        let mut buffer = vec![0; chunk];
        for slot in &mut self.slots {
            let mut tell = |done| progress.at(Stage::ReadBack, before + done, total);
            let found = digest_of(slot, &mut buffer, &mut tell)?;
            let expected = slot.step.sha256;
            if found != expected {
                let slot = slot.step.slot.clone();
                return Err(ReadBackError::Differs {
                    slot,
                    expected,
                    found,
                });
            }
            before += slot.step.size;
        }
        Ok(Proven {
            boot_target: self.condemned.target(),
        })
    }
}

fn digest_of(
    slot: &mut OpenSlot,
    buffer: &mut [u8],
    progress: &mut dyn FnMut(u64),
) -> Result<Digest, ReadBackError> {
    let mut digest = Sha256::new();
    let mut offset = 0;
    while offset < slot.step.size {
        let left = usize::try_from(slot.step.size - offset).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        let piece = &mut buffer[..count];
        slot.storage
            .read_at(piece, offset)
            .map_err(|source| ReadBackError::Read {
                slot: slot.step.slot.clone(),
                offset,
                source,
            })?;
        digest.update(&*piece);
        offset += count as u64;
        progress(offset);
    }
    Ok(Digest::from_bytes(digest.finalize().into()))
}

impl Proven {
    /// The slot that may be armed.
    #[must_use]
    pub fn boot_target(&self) -> Target {
        self.boot_target
    }
}
