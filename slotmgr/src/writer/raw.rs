//! Images that are written as they are, onto a block device.

use std::path::PathBuf;

use super::filesystem::{self, exclusive};
use super::{Proof, Writer, too_large, write_error};
use crate::health::check::Stop;
use crate::install::{AssembleError, ImageStream, ReadBackError, Step};
use crate::slot::{Resize, Slot, SlotKind, SlotName};
use crate::storage::{Area, Disks, OpenError, Storage};

/// What is compared at once with what is there already. Smaller would save more writes, and make
/// more and smaller ones of them.
const GRAIN: usize = 64 * 1024;

/// A block device, open and ours alone while `storage` is there.
pub(super) struct Raw {
    area: Area,
    slot: SlotName,
    device: PathBuf,
    grow: bool,
    storage: Option<Box<dyn Storage>>,
    there: Vec<u8>,
}

impl Raw {
    pub fn open(step: &Step, slot: &Slot, disks: &mut dyn Disks) -> Result<Raw, AssembleError> {
        let mut raw = Raw {
            area: Area::Slot(step.target.id()),
            slot: slot.name.clone(),
            device: slot.device.clone(),
            grow: slot.kind == SlotKind::Ext4 && slot.options.resize == Resize::ToSlot,
            storage: None,
            there: Vec::new(),
        };
        raw.acquire(disks)?;
        let len = raw.storage()?.len();
        if step.size > len {
            return Err(too_large(step, len));
        }
        Ok(raw)
    }

    /// Over a device that somebody else has opened.
    pub fn over(step: &Step, device: PathBuf, storage: Box<dyn Storage>) -> Raw {
        Raw {
            area: Area::Slot(step.target.id()),
            slot: step.slot.clone(),
            device,
            grow: false,
            storage: Some(storage),
            there: Vec::new(),
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

    /// Writes the parts of `bytes` that are not there already.
    fn write_changed(&mut self, bytes: &[u8], offset: u64) -> Result<(), AssembleError> {
        let slot = self.slot.clone();
        let mut there = std::mem::take(&mut self.there);
        there.resize(bytes.len(), 0);
        let storage = self.storage()?;
        // What cannot be read is worth a write: that is how a disk replaces a bad sector.
        let readable = storage.read_at(&mut there, offset).is_ok();
        let differs = |start: usize| {
            let end = (start + GRAIN).min(bytes.len());
            !readable || there[start..end] != bytes[start..end]
        };
        let mut start = 0;
        while start < bytes.len() {
            let end = run_end(start, bytes.len(), differs(start), &differs);
            if differs(start) {
                let at = offset + start as u64;
                storage
                    .write_at(&bytes[start..end], at)
                    .map_err(write_error(&slot, at))?;
            }
            start = end;
        }
        self.there = there;
        Ok(())
    }
}

/// The end of the run of grains that are like the one at `start`.
fn run_end(start: usize, len: usize, like: bool, differs: &dyn Fn(usize) -> bool) -> usize {
    let mut end = start + GRAIN;
    while end < len && differs(end) == like {
        end += GRAIN;
    }
    end.min(len)
}

impl Writer for Raw {
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        let mut offset = 0;
        while let Some(piece) = image.next_piece()? {
            self.write_changed(&piece, offset)?;
            offset += piece.len() as u64;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_grains() {
        let different = [true, false, false, true];
        let differs = |start: usize| different[start / GRAIN];
        let len = 3 * GRAIN + 5;
        let ends: Vec<_> = [0, 1, 3]
            .map(|grain| run_end(grain * GRAIN, len, different[grain], &differs))
            .to_vec();
        assert_eq!(ends, [GRAIN, 3 * GRAIN, len]);
    }
}
