//! One half of a region of a disk: what an update of a bootloader is written into.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::changes::Changes;
use super::{too_large, write_error};
use crate::install::{AssembleError, ImageStream, Step};
use crate::partition::SectorSize;
use crate::partition::gpt::GptError;
use crate::partition::live::{self, LiveError};
use crate::partition::mbr::MbrError;
use crate::partition::region::{BadRegion, Region};
use crate::slot::{Slot, SlotName};
use crate::storage::{Area, Disks, OpenError, Storage};

/// Bytes of zeroes that are compared and written at once.
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

/// What keeps a region from being written, or switched.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The region of `system.conf`.
    #[error(transparent)]
    Region(#[from] BadRegion),
    /// No region in `system.conf`.
    #[error("system.conf has no region-start and region-size for it")]
    NoRegion,
    /// The GPT.
    #[error(transparent)]
    Gpt(#[from] GptError),
    /// The MBR.
    #[error(transparent)]
    Mbr(#[from] MbrError),
    /// The disk cannot be locked or asked.
    #[error(transparent)]
    Disk(#[from] LiveError),
    /// No partition 1.
    #[error("the disk has no partition 1, which is the one that is switched. Nothing was written")]
    NoPartition,
    /// Somebody else's bytes.
    #[error("its region ({region}) lies over {what}. Nothing was written")]
    InTheWay {
        /// The region.
        region: Region,
        /// What is there.
        what: String,
    },
    /// The table is not what it was when the writing began.
    #[error("the partition table was changed by somebody else meanwhile; it is left as it is")]
    Moved,
    /// The half that is there does not come back as it was proven.
    #[error("the half that was written reads back differently: its storage is not reliable")]
    Differs,
}

/// A whole disk, and the half of it that is written.
pub(super) struct Half {
    pub slot: SlotName,
    pub device: PathBuf,
    area: Area,
    disk: Option<Box<dyn Storage>>,
    pub region: Region,
    pub sector: SectorSize,
    /// Bytes of the disk.
    pub range: Range<u64>,
}

impl Half {
    /// Opens the disk. `choose` says which half is written, and looks whether it may be.
    pub fn open(
        step: &Step,
        slot: &Slot,
        disks: &mut dyn Disks,
        choose: impl FnOnce(&mut dyn Storage, SectorSize, Region) -> Result<Range<u64>, SwitchError>,
    ) -> Result<Half, AssembleError> {
        let failed = |source| AssembleError::Switch {
            slot: slot.name.clone(),
            source,
        };
        let area = Area::Slot(step.target.id());
        let mut disk = open(&slot.name, area, disks)?;
        let sector = match disk.file() {
            Some(file) => live::sector_size(file, &slot.device).map_err(|e| failed(e.into()))?,
            None => SectorSize::S512,
        };
        let described = slot
            .options
            .region
            .ok_or_else(|| failed(SwitchError::NoRegion))?;
        let region = Region::new(described.start, described.size, sector.bytes() as u64)
            .map_err(|error| failed(error.into()))?;
        let [first, second] = region.halves();
        if second.end > disk.len() {
            return Err(failed(BadRegion::Size.into()));
        }
        let len = first.end - first.start;
        if step.size > len {
            return Err(too_large(step, len));
        }
        let range = choose(disk.as_mut(), sector, region).map_err(failed)?;
        Ok(Half {
            slot: slot.name.clone(),
            device: slot.device.clone(),
            area,
            disk: Some(disk),
            region,
            sector,
            range,
        })
    }

    pub fn release(&mut self) {
        self.disk = None;
    }

    pub fn acquire(&mut self, disks: &mut dyn Disks) -> Result<(), AssembleError> {
        if self.disk.is_none() {
            self.disk = Some(open(&self.slot, self.area, disks)?);
        }
        Ok(())
    }

    pub fn disk(&mut self) -> Result<&mut dyn Storage, AssembleError> {
        match &mut self.disk {
            Some(disk) => Ok(disk.as_mut()),
            None => Err(AssembleError::Open {
                slot: self.slot.clone(),
                source: OpenError::Absent(format!("open handle of {}", self.area)),
            }),
        }
    }

    pub fn failed(&self) -> impl Fn(SwitchError) -> AssembleError + use<> {
        let slot = self.slot.clone();
        move |source| AssembleError::Switch {
            slot: slot.clone(),
            source,
        }
    }

    /// Writes the image to the start of the half and zeroes behind it: what an older, longer
    /// bootloader left there is not found by the new one.
    pub fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        let mut changes = Changes::default();
        let mut at = self.range.start;
        while let Some(piece) = image.next_piece()? {
            self.put(&mut changes, &piece, at)?;
            at += piece.len() as u64;
        }
        self.fill(&mut changes, at)
    }

    /// Zeroes from `at` to the end of the half.
    pub fn fill(&mut self, changes: &mut Changes, mut at: u64) -> Result<(), AssembleError> {
        while at < self.range.end {
            let left = usize::try_from(self.range.end - at).unwrap_or(usize::MAX);
            let piece = &ZEROES[..left.min(ZEROES.len())];
            self.put(changes, piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes what is not there already, at a byte of the disk.
    pub fn put(
        &mut self,
        changes: &mut Changes,
        bytes: &[u8],
        at: u64,
    ) -> Result<(), AssembleError> {
        let slot = self.slot.clone();
        let written = changes.write(self.disk()?, bytes, at);
        written.map_err(|(at, error)| write_error(&slot, at)(error))
    }

    pub fn sync(&mut self) -> Result<(), AssembleError> {
        let (slot, end) = (self.slot.clone(), self.range.end);
        self.disk()?.sync().map_err(write_error(&slot, end))
    }

    /// Reads at an offset of the half that `range` is.
    pub fn read(&mut self, range: &Range<u64>, piece: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.disk().map_err(io::Error::other)?;
        disk.read_at(piece, range.start + offset)
    }
}

fn open(
    slot: &SlotName,
    area: Area,
    disks: &mut dyn Disks,
) -> Result<Box<dyn Storage>, AssembleError> {
    disks.open(area).map_err(|source| AssembleError::Open {
        slot: slot.clone(),
        source,
    })
}
