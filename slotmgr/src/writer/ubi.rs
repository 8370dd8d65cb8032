//! UBI volumes.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use devio::ubi::UbiVolume;

use super::{FlashError, Proof, Writer, too_large, write_error};
use crate::install::{AssembleError, ImageStream, ReadBackError, Step};
use crate::slot::{Slot, SlotName};
use crate::storage::flash::{open_ubi, volume_facts};

/// A volume (`/dev/ubiX_Y`). The kernel lets nobody else write while an update runs, and refuses
/// to update a volume that is mounted.
pub(super) struct Volume {
    slot: SlotName,
    size: u64,
    volume: UbiVolume,
}

impl Volume {
    pub fn open(step: &Step, slot: &Slot) -> Result<Volume, AssembleError> {
        let volume = open_ubi(&slot.device).map_err(|source| AssembleError::Open {
            slot: slot.name.clone(),
            source,
        })?;
        // Without the facts the kernel still refuses what is too large, when the update begins.
        if let Some(facts) = volume_facts(&slot.device) {
            let len = facts.usable_block.saturating_mul(facts.blocks);
            if step.size > len {
                return Err(too_large(step, len));
            }
        }
        Ok(Volume {
            slot: slot.name.clone(),
            size: step.size,
            volume,
        })
    }
}

impl Writer for Volume {
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        let flash = |source| AssembleError::Flash {
            slot: self.slot.clone(),
            source: FlashError::Ubi(source),
        };
        let mut update = self.volume.begin_update(self.size).map_err(flash)?;
        let mut offset = 0;
        while let Some(piece) = image.next_piece()? {
            update
                .write_all(&piece)
                .map_err(write_error(&self.slot, offset))?;
            offset += piece.len() as u64;
        }
        update.finish().map_err(flash)
    }

    fn sync(&mut self) -> Result<(), AssembleError> {
        // An update that ended is on the flash.
        Ok(())
    }

    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError> {
        let file = self.volume.file();
        proof.compare(&mut |piece, offset| file.read_exact_at(piece, offset))
    }
}
