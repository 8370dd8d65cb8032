//! Images that are written as they are, onto a block device.

use std::path::PathBuf;

use super::changes::Changes;
use super::filesystem::{self, exclusive};
use super::{Proof, Writer, too_large, write_error};
use crate::install::{AssembleError, ImageStream, ReadBackError, Step};
use crate::program::Stop;
use crate::slot::{Resize, Slot, SlotKind, SlotName};
use crate::storage::{Area, Disks, OpenError, Storage};

/// What comes over a network is brought to the medium every so many bytes, so that a power cut does
/// not take more of it: it would have to be fetched again.
const SYNC_AFTER: usize = 8 << 20;

/// A block device, open and ours alone while `storage` is there.
pub(super) struct Raw {
    area: Area,
    slot: SlotName,
    device: PathBuf,
    grow: bool,
    storage: Option<Box<dyn Storage>>,
}

impl Raw {
    pub fn open(step: &Step, slot: &Slot, disks: &mut dyn Disks) -> Result<Raw, AssembleError> {
        let mut raw = Raw {
            area: Area::Slot(step.target.id()),
            slot: slot.name.clone(),
            device: slot.device.clone(),
            grow: slot.kind == SlotKind::Ext4 && slot.options.resize == Resize::ToSlot,
            storage: None,
        };
        raw.acquire(disks)?;
        let len = raw.storage()?.len();
        if step.size > len {
            return Err(too_large(step, len));
        }
        Ok(raw)
    }

    /// Over a device that somebody else has opened.
    pub fn over(area: Area, (slot, device): (SlotName, PathBuf), storage: Box<dyn Storage>) -> Raw {
        Raw {
            area,
            slot,
            device,
            grow: false,
            storage: Some(storage),
        }
    }

    fn storage(&mut self) -> Result<&mut dyn Storage, AssembleError> {
        let absent = || AssembleError::Open {
            slot: self.slot.clone(),
            source: OpenError::Absent(format!("open handle of {}", self.device.display())),
        };
        let missing = absent();
        self.storage
            .as_mut()
            .map(|storage| &mut **storage as &mut dyn Storage)
            .ok_or(missing)
    }
}

impl Writer for Raw {
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        let mut changes = Changes::default().looking_less_where_nothing_is_equal();
        let slot = self.slot.clone();
        let storage = self.storage()?;
        let mut unsynced = 0;
        while let Some(piece) = image.next_piece()? {
            let offset = image.offset();
            changes
                .write(storage, &piece, offset)
                .map_err(|(at, error)| write_error(&slot, at)(error))?;
            storage.begin_write_out(offset, piece.len() as u64);
            image.wrote(&piece);
            unsynced += piece.len();
            if image.is_noted() && unsynced >= SYNC_AFTER {
                storage.sync().map_err(write_error(&slot, offset))?;
                unsynced = 0;
            }
        }
        Ok(())
    }

    fn anywhere(&mut self) -> Option<&mut dyn Storage> {
        self.storage().ok()
    }

    fn sync(&mut self) -> Result<(), AssembleError> {
        let slot = self.slot.clone();
        let storage = self.storage()?;
        let end = storage.len();
        storage.sync().map_err(write_error(&slot, end))
    }

    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError> {
        let storage = self.storage().map_err(ReadBackError::Gone)?;
        proof.compare(&mut |piece, offset| storage.read_at(piece, offset))
    }

    fn release(&mut self) {
        self.storage = None;
    }

    fn acquire(&mut self, disks: &mut dyn Disks) -> Result<(), AssembleError> {
        if self.storage.is_none() {
            let opened = disks.open(self.area);
            let open = |source| AssembleError::Open {
                slot: self.slot.clone(),
                source,
            };
            self.storage = Some(opened.map_err(open)?);
        }
        Ok(())
    }

    fn complete(&mut self, stop: &Stop) -> Result<(), AssembleError> {
        if !self.grow {
            return Ok(());
        }
        self.release();
        let failed = |source| AssembleError::Filesystem {
            slot: self.slot.clone(),
            source,
        };
        filesystem::grow_ext4(&self.device, stop).map_err(failed)?;
        exclusive(&self.device).map_err(failed)
    }
}
