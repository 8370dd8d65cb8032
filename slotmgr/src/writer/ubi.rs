//! UBI volumes.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use devio::ubi::UbiVolume;

use super::{FlashError, Proof, Writer, too_large, write_error};
use crate::install::{AssembleError, ImageStream, ReadBackError, Step};
use crate::slot::{Slot, SlotName};
use crate::storage::Disks;
use crate::storage::flash::{open_ubi, volume_facts};

/// A volume (`/dev/ubiX_Y`). The kernel lets nobody else write while an update runs, and refuses
/// to update a volume that is mounted.
pub(super) struct Volume {
    slot: SlotName,
    device: PathBuf,
    size: u64,
    volume: Option<UbiVolume>,
}

impl Volume {
    pub fn open(step: &Step, slot: &Slot) -> Result<Volume, AssembleError> {
        let mut volume = Volume {
            slot: slot.name.clone(),
            device: slot.device.clone(),
            size: step.size,
            volume: None,
        };
        volume.volume()?;
        // Without the facts the kernel still refuses what is too large, when the update begins.
        if let Some(facts) = volume_facts(&slot.device) {
            let len = facts.usable_block.saturating_mul(facts.blocks);
            if step.size > len {
                return Err(too_large(step, len));
            }
        }
        Ok(volume)
    }

    /// Open; opened again if a hook had it meanwhile.
    fn volume(&mut self) -> Result<&mut UbiVolume, AssembleError> {
        let volume = match self.volume.take() {
            Some(volume) => volume,
            None => open_ubi(&self.device).map_err(|source| AssembleError::Open {
                slot: self.slot.clone(),
                source,
            })?,
        };
        Ok(self.volume.insert(volume))
    }
}

impl Writer for Volume {
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        let (slot, size) = (self.slot.clone(), self.size);
        let flash = |source| AssembleError::Flash {
            slot: slot.clone(),
            source: FlashError::Ubi(source),
        };
        let mut update = self.volume()?.begin_update(size).map_err(flash)?;
        let mut offset = 0;
        while let Some(piece) = image.next_piece()? {
            update
                .write_all(&piece)
                .map_err(write_error(&slot, offset))?;
            offset += piece.len() as u64;
        }
        update.finish().map_err(flash)
    }

    fn sync(&mut self) -> Result<(), AssembleError> {
        // An update that ended is on the flash.
        Ok(())
    }

    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError> {
        let file = self.volume().map_err(ReadBackError::Gone)?.file();
        proof.compare(&mut |piece, offset| file.read_exact_at(piece, offset))
    }

    fn release(&mut self) {
        self.volume = None;
    }

    fn acquire(&mut self, _disks: &mut dyn Disks) -> Result<(), AssembleError> {
        self.volume().map(drop)
    }
}
