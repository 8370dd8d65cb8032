//! Halves of a region, switched by partition 1 of a partition table: `boot-mbr-switch` and
//! `boot-gpt-switch`.
//!
//! The half that partition 1 is not in is written and read back; the table is changed when
//! everything else of the installation is proven. Stopping anywhere before leaves the table, and
//! with it what the ROM starts, as it was.

use std::num::NonZeroU32;
use std::ops::Range;

use devio::partition::{Partition, lock_disk};

use super::half::{Half, SwitchError};
use super::{Proof, Writer};
use crate::install::{AssembleError, Environment, ImageStream, ReadBackError, Step};
use crate::partition::gpt::{self, Gpt, GptError};
use crate::partition::live::{self, LiveError};
use crate::partition::region::Region;
use crate::partition::{SectorSize, mbr};
use crate::program::Stop;
use crate::slot::{Slot, SlotKind};
use crate::storage::{Disks, Storage};

/// The partition that is switched.
const NUMBER: NonZeroU32 = NonZeroU32::MIN;

/// The same, as an MBR counts.
const MBR_NUMBER: u8 = 1;

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mbr,
    Gpt,
}

/// The half that is not started now.
pub(super) struct Switch {
    half: Half,
    kind: Kind,
}

impl Switch {
    pub fn open(step: &Step, slot: &Slot, disks: &mut dyn Disks) -> Result<Switch, AssembleError> {
        let kind = match slot.kind {
            SlotKind::BootMbrSwitch => Kind::Mbr,
            _ => Kind::Gpt,
        };
        let half = Half::open(step, slot, disks, |disk, sector, region| {
            inactive(kind, disk, sector, region)
        })?;
        Ok(Switch { half, kind })
    }

    /// The commit point: partition 1 is where the new half is.
    fn change_table(&mut self) -> Result<(), AssembleError> {
        let (kind, region, sector) = (self.kind, self.half.region, self.half.sector);
        let (wanted, slot) = (self.half.range.clone(), self.half.slot.clone());
        let (failed, device) = (self.half.failed(), self.half.device.clone());
        let disk = self.half.disk()?;
        let file = disk.file().map(std::fs::File::try_clone).transpose();
        let file = file.map_err(|source| {
            let path = device.clone();
            failed(LiveError::Open { path, source }.into())
        })?;
        let lock = file.as_ref().map(|file| lock_disk(file, live::PATIENCE));
        let _lock = lock.transpose().map_err(|source| {
            let path = device.clone();
            failed(LiveError::Locked { path, source }.into())
        })?;
        // Under the lock the table is what is read now; hooks and people had time to change it.
        if inactive(kind, disk, sector, region).map_err(&failed)? != wanted {
            return Err(failed(SwitchError::Moved));
        }
        move_partition(kind, disk, sector, &wanted).map_err(&failed)?;
        if let Some(file) = &file {
            let moved = Partition {
                number: NUMBER,
                start: wanted.start,
                length: wanted.end - wanted.start,
            };
            // The next start reads the table; until then nobody needs this.
            if let Err(error) = live::tell_kernel(file, moved) {
                tracing::warn!("slot {slot}: {error}");
            }
        }
        Ok(())
    }
}

/// The half that partition 1 is not in, if the table lets it be moved there. Writes nothing.
fn inactive(
    kind: Kind,
    disk: &mut dyn Storage,
    sector: SectorSize,
    region: Region,
) -> Result<Range<u64>, SwitchError> {
    let unit = sector.bytes() as u64;
    let bytes = |first: u64, end: u64| first.saturating_mul(unit)..end.saturating_mul(unit);
    match kind {
        Kind::Gpt => {
            let gpt = Gpt::load(disk, sector)?;
            let entry = gpt.table().entry(NUMBER.get());
            let entry = entry.ok_or(SwitchError::NoPartition)?;
            let half = region.inactive(bytes(entry.first, entry.last.saturating_add(1)))?;
            let mut table = gpt.table().clone();
            let moved = table.set_place(NUMBER.get(), first_and_last(&half, unit));
            moved.map_err(GptError::Unsound)?;
            gpt.check_rebuild(disk)?;
            Ok(half)
        }
        Kind::Mbr => {
            let entries = mbr::load(disk, sector)?;
            let entry = entries.iter().find(|entry| entry.number == MBR_NUMBER);
            let entry = entry.ok_or(SwitchError::NoPartition)?;
            let first = u64::from(entry.first);
            let half = region.inactive(bytes(first, first + u64::from(entry.sectors)))?;
            mbr::check_place(disk, sector, MBR_NUMBER, first_and_count(&half, unit))?;
            Ok(half)
        }
    }
}

fn move_partition(
    kind: Kind,
    disk: &mut dyn Storage,
    sector: SectorSize,
    half: &Range<u64>,
) -> Result<(), SwitchError> {
    let unit = sector.bytes() as u64;
    match kind {
        Kind::Mbr => mbr::set_place(disk, sector, MBR_NUMBER, first_and_count(half, unit))?,
        Kind::Gpt => {
            gpt::change(disk, sector, |table| {
                let place = first_and_last(half, unit);
                table
                    .set_place(NUMBER.get(), place)
                    .map_err(GptError::Unsound)
            })?;
        }
    }
    Ok(())
}

/// Regions are made of whole sectors.
fn first_and_last(half: &Range<u64>, unit: u64) -> (u64, u64) {
    (half.start / unit, (half.end / unit).saturating_sub(1))
}

fn first_and_count(half: &Range<u64>, unit: u64) -> (u64, u64) {
    (half.start / unit, (half.end - half.start) / unit)
}

impl Writer for Switch {
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        self.half.write(image)
    }

    fn sync(&mut self) -> Result<(), AssembleError> {
        self.half.sync()
    }

    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError> {
        let range = self.half.range.clone();
        proof.compare(&mut |piece, offset| self.half.read(&range, piece, offset))
    }

    /// What counts is the half that is started.
    fn holds(&mut self, proof: &mut Proof<'_>) -> bool {
        let halves = self.half.region.halves();
        let active = halves.into_iter().find(|half| *half != self.half.range);
        let Some(active) = active.filter(|_| self.half.sync().is_ok()) else {
            return false;
        };
        let found = proof.compare(&mut |piece, offset| self.half.read(&active, piece, offset));
        found.is_ok()
    }

    fn told(&self) -> Environment {
        let [first, _] = self.half.region.halves();
        let (start, end) = (self.half.range.start, self.half.range.end);
        let number = u64::from(self.half.range != first);
        [
            ("ACTIVATING", number),
            ("START", start),
            ("SIZE", end - start),
        ]
        .map(|(name, value)| (format!("RAUC_BOOT_PARTITION_{name}"), value.to_string()))
        .to_vec()
    }

    fn release(&mut self) {
        self.half.release();
    }

    fn acquire(&mut self, disks: &mut dyn Disks) -> Result<(), AssembleError> {
        self.half.acquire(disks)
    }

    fn complete(&mut self, _: &Stop) -> Result<(), AssembleError> {
        self.change_table()
    }
}
