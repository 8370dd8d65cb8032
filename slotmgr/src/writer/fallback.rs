//! Two halves with the same content, the second for when the first has no header: slots of type
//! `boot-raw-fallback`.
//!
//! The boot ROM starts the first half if there is a header in its first 512 bytes, else the second.
//! So one half at a time is without a header, and gets it back, in one write of one sector, when
//! all that follows it is on the medium and was read back. Which half comes first: the one that was
//! not started, as far as that can be told. An installation that stops anywhere leaves one whole
//! half, with the old image or with the new one.

use std::ops::Range;

use super::changes::Changes;
use super::half::{Half, SwitchError};
use super::{Proof, Writer, hash, write_error};
use crate::install::{AssembleError, CHUNK, Environment, ImageStream, ReadBackError, Step};
use crate::partition::SectorSize;
use crate::partition::gpt::{Gpt, GptError};
use crate::partition::mbr::{self, Protection};
use crate::partition::region::Region;
use crate::program::Stop;
use crate::slot::Slot;
use crate::storage::{Disks, SECTOR, Storage};

/// What the ROM looks at.
const HEADER: usize = SECTOR;

/// No header: written before the body, so that the ROM never starts half a bootloader.
const BLANK: [u8; HEADER] = [0; HEADER];

/// What flash holds where nothing was written.
const ERASED: [u8; HEADER] = [0xff; HEADER];

/// The half that is written first, and the header that it gets last.
pub(super) struct Fallback {
    half: Half,
    /// The other one, written from the first once that is proven.
    second: Range<u64>,
    step: Step,
    header: Vec<u8>,
}

impl Fallback {
    pub fn open(
        step: &Step,
        slot: &Slot,
        disks: &mut dyn Disks,
    ) -> Result<Fallback, AssembleError> {
        let half = Half::open(step, slot, disks, |disk, sector, region| {
            check_free(disk, sector, region)?;
            spare(disk, region)
        })?;
        let [primary, fallback] = half.region.halves();
        let second = match half.range == primary {
            true => fallback,
            false => primary,
        };
        Ok(Fallback {
            half,
            second,
            step: step.clone(),
            header: Vec::new(),
        })
    }

    /// Takes the header away, durably.
    fn blank(&mut self) -> Result<(), AssembleError> {
        let start = self.half.range.start;
        self.half.put(&mut Changes::default(), &BLANK, start)?;
        self.half.sync()
    }

    /// The commit point of a half: its header.
    fn seal(&mut self) -> Result<(), AssembleError> {
        let (start, slot) = (self.half.range.start, self.half.slot.clone());
        let failed = self.half.failed();
        let disk = self.half.disk()?;
        let io = |error| write_error(&slot, start)(error);
        disk.write_at(&self.header, start).map_err(io)?;
        disk.sync().map_err(io)?;
        let mut there = vec![0; self.header.len()];
        disk.read_at(&mut there, start).map_err(io)?;
        match there == self.header {
            true => Ok(()),
            false => Err(failed(SwitchError::Differs)),
        }
    }

    /// Copies the body of the proven half into the other one, proves it and gives it its header.
    fn write_second(&mut self) -> Result<(), AssembleError> {
        let first = std::mem::replace(&mut self.half.range, self.second.clone());
        self.blank()?;
        let slot = self.half.slot.clone();
        let mut changes = Changes::default();
        let mut done = HEADER as u64;
        let mut buffer = vec![0; CHUNK];
        while done < self.step.size {
            let left = usize::try_from(self.step.size - done).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(CHUNK)];
            let read = self.half.read(&first, piece, done);
            read.map_err(|error| write_error(&slot, first.start + done)(error))?;
            let at = self.second.start + done;
            self.half.put(&mut changes, piece, at)?;
            done += piece.len() as u64;
        }
        let end = self.second.start + done;
        self.half.fill(&mut changes, end)?;
        self.half.sync()?;
        let second = self.second.clone();
        let found = self.digest(&second);
        let found = found.map_err(|(at, error)| write_error(&slot, second.start + at)(error))?;
        if found != self.step.sha256 {
            return Err(self.half.failed()(SwitchError::Differs));
        }
        self.seal()
    }

    /// Of a half whose header is still in memory.
    fn digest(
        &mut self,
        range: &Range<u64>,
    ) -> Result<bundle_format::Digest, (u64, std::io::Error)> {
        let (half, header) = (&mut self.half, &self.header);
        hash(
            self.step.size,
            CHUNK,
            &mut |piece, offset| {
                half.read(range, piece, offset)?;
                overlay(header, piece, offset);
                Ok(())
            },
            &mut |_| {},
        )
    }
}

/// Puts the header into what was read, where it belongs.
fn overlay(header: &[u8], piece: &mut [u8], offset: u64) {
    let start = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(header.len());
    for (byte, header) in piece.iter_mut().zip(&header[start..]) {
        *byte = *header;
    }
}

/// The half that may be without a header: the second, unless the first has none already; then the
/// second is what the ROM started.
fn spare(disk: &mut dyn Storage, region: Region) -> Result<Range<u64>, SwitchError> {
    let [primary, fallback] = region.halves();
    let mut header = [0; HEADER];
    disk.read_at(&mut header, primary.start)
        .map_err(|source| GptError::Io {
            doing: "reading a header before",
            source,
        })?;
    Ok(match header == BLANK || header == ERASED {
        true => primary,
        false => fallback,
    })
}

/// A region over a partition, or over a table, is a mistake in `system.conf`.
fn check_free(
    disk: &mut dyn Storage,
    sector: SectorSize,
    region: Region,
) -> Result<(), SwitchError> {
    let unit = sector.bytes() as u64;
    let [first, second] = region.halves();
    let taken = taken(disk, sector)?;
    let in_the_way = taken.into_iter().find(|(_, range)| {
        range.start.saturating_mul(unit) < second.end
            && first.start < range.end.saturating_mul(unit)
    });
    match in_the_way {
        Some((what, _)) => Err(SwitchError::InTheWay { region, what }),
        None => Ok(()),
    }
}

/// The sectors that belong to somebody, as far as the disk has a table that says so.
fn taken(
    disk: &mut dyn Storage,
    sector: SectorSize,
) -> Result<Vec<(String, Range<u64>)>, SwitchError> {
    let table = |range| ("the partition table".to_owned(), range);
    match Gpt::load(disk, sector) {
        Ok(gpt) => {
            let parts = gpt.table().entries();
            let parts = parts.map(|e| (format!("partition {}", e.number), e.first..e.last + 1));
            let own = gpt.own_sectors().into_iter().map(table);
            Ok(parts.chain(own).collect())
        }
        Err(GptError::Unprotected {
            found: Protection::None,
        }) => Ok(Vec::new()),
        Err(GptError::Unprotected {
            found: Protection::Mbr,
        }) => {
            let entries = mbr::load(disk, sector)?;
            let parts = entries.iter().map(|e| {
                let first = u64::from(e.first);
                (
                    format!("partition {}", e.number),
                    first..first + u64::from(e.sectors),
                )
            });
            Ok(parts.chain([table(0..1)]).collect())
        }
        // A table that cannot be read says nothing about what is whose.
        Err(error) => Err(error.into()),
    }
}

impl Writer for Fallback {
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        self.blank()?;
        // Safe to stop from here on: the ROM goes to the other half.
        let mut changes = Changes::default();
        let start = self.half.range.start;
        let mut at = start;
        self.header.clear();
        while let Some(piece) = image.next_piece()? {
            let missing = (HEADER - self.header.len()).min(piece.len());
            let (header, body) = piece.split_at(missing);
            self.header.extend_from_slice(header);
            at += header.len() as u64;
            self.half.put(&mut changes, body, at)?;
            at += body.len() as u64;
        }
        self.header.resize(HEADER, 0);
        self.half.fill(&mut changes, at.max(start + HEADER as u64))
    }

    fn sync(&mut self) -> Result<(), AssembleError> {
        self.half.sync()
    }

    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError> {
        let (range, header) = (self.half.range.clone(), self.header.clone());
        proof.compare(&mut |piece, offset| {
            self.half.read(&range, piece, offset)?;
            overlay(&header, piece, offset);
            Ok(())
        })
    }

    /// Both halves, with their headers.
    fn holds(&mut self, proof: &mut Proof<'_>) -> bool {
        self.half.sync().is_ok()
            && self.half.region.halves().iter().all(|range| {
                let half = &mut self.half;
                let read = &mut |piece: &mut [u8], offset| half.read(range, piece, offset);
                proof.compare(read).is_ok()
            })
    }

    fn told(&self) -> Environment {
        let [first, second] = self.half.region.halves();
        [("START", first.start), ("SIZE", second.end - first.start)]
            .map(|(name, value)| (format!("RAUC_BOOT_REGION_{name}"), value.to_string()))
            .to_vec()
    }

    fn release(&mut self) {
        self.half.release();
    }

    fn acquire(&mut self, disks: &mut dyn Disks) -> Result<(), AssembleError> {
        self.half.acquire(disks)
    }

    fn complete(&mut self, _: &Stop) -> Result<(), AssembleError> {
        self.seal()?;
        // Safe to stop: the new image is whole in one half, the old one in the other.
        self.write_second()
    }
}
