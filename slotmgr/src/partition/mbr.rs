//! The MBR: what stands in sector 0, as the protection of a GPT and as a table of its own.
//!
//! An entry is 16 bytes, from offset 446 on: flag, first CHS (3), type, last CHS (3), first sector,
//! number of sectors, both little-endian. The sector ends with `55 aa`.
//!
//! A change is one write of one sector, the only one that every disk makes as a whole.

use std::fmt;
use std::io;

use super::{SectorSize, le_u32, put};
use crate::storage::{SECTOR, Storage};

const ENTRIES: usize = 446;
const ENTRY: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
const PROTECTIVE: u8 = 0xee;

/// What sector 0 is, as seen by a GPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// One entry of type `ee` from sector 1 on, and no other.
    Protective,
    /// That entry, and others beside it.
    Hybrid,
    /// An MBR with partitions of its own.
    Mbr,
    /// No MBR at all.
    None,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protection::Protective => "it is one",
            Protection::Hybrid => "it is a hybrid MBR: it has partitions of its own beside the GPT",
            Protection::Mbr => "it is an ordinary MBR",
            Protection::None => "it has no MBR",
        })
    }
}

/// Judges sector 0.
#[must_use]
pub fn protection(sector: &[u8]) -> Protection {
    if !is_mbr(sector) {
        return Protection::None;
    }
    let used: Vec<Entry> = entries(sector).into_iter().flatten().collect();
    let protective = |entry: &Entry| entry.kind == PROTECTIVE;
    match used.as_slice() {
        [entry] if protective(entry) && entry.first == 1 => Protection::Protective,
        used if used.iter().any(protective) => Protection::Hybrid,
        _ => Protection::Mbr,
    }
}

/// A used entry of an MBR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Number, 1 to 4.
    pub number: u8,
    /// Type.
    pub kind: u8,
    /// First sector.
    pub first: u32,
    /// Number of sectors.
    pub sectors: u32,
}

/// Why an MBR was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MbrError {
    /// The disk itself.
    #[error("while {doing} the partition table")]
    Io {
        /// reading, writing, syncing, reading back.
        doing: &'static str,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// No MBR, or the one of a GPT.
    #[error("sector 0 is not an MBR with partitions ({found}). Nothing was written")]
    NoMbr {
        /// What it is.
        found: Protection,
    },
    /// No such partition.
    #[error("there is no partition {number} in the MBR. Nothing was written")]
    Missing {
        /// The partition.
        number: u8,
    },
    /// Beyond 2 TiB, beyond the end, or in the way of another partition.
    #[error("partition {number} cannot be put there: {why}. Nothing was written")]
    Place {
        /// The partition.
        number: u8,
        /// Why not.
        why: &'static str,
    },
    /// The disk did not keep it.
    #[error("the MBR reads back differently from what was written")]
    ReadBack,
}

/// Reads the used entries.
///
/// # Errors
/// When sector 0 is no MBR, or protects a GPT.
pub fn load(disk: &mut dyn Storage, sector: SectorSize) -> Result<Vec<Entry>, MbrError> {
    let raw = read(disk, sector, "reading")?;
    Ok(entries(&raw).into_iter().flatten().collect())
}

/// Moves a partition, durably, in one write of one sector. Everything else in the sector is kept.
/// Equal content writes nothing.
///
/// # Errors
/// Before the write nothing has changed; after it the old or the new sector is there.
pub fn set_place(
    disk: &mut dyn Storage,
    sector: SectorSize,
    number: u8,
    (first, sectors): (u64, u64),
) -> Result<(), MbrError> {
    let (old, new) = moved(disk, sector, number, (first, sectors))?;
    if new == old {
        return Ok(());
    }
    write(disk, sector, &new)
}

/// Whether [`set_place`] would do it. Writes nothing.
///
/// # Errors
/// As [`set_place`], as far as it can be told before.
pub fn check_place(
    disk: &mut dyn Storage,
    sector: SectorSize,
    number: u8,
    place: (u64, u64),
) -> Result<(), MbrError> {
    moved(disk, sector, number, place).map(|_| ())
}

/// Sector 0 as it is, and as it would be.
fn moved(
    disk: &mut dyn Storage,
    sector: SectorSize,
    number: u8,
    (first, sectors): (u64, u64),
) -> Result<(Vec<u8>, Vec<u8>), MbrError> {
    let old = read(disk, sector, "reading")?;
    let used: Vec<Entry> = entries(&old).into_iter().flatten().collect();
    if !used.iter().any(|entry| entry.number == number) {
        return Err(MbrError::Missing { number });
    }
    let place = |why| MbrError::Place { number, why };
    let large = |_| place("an MBR cannot count that far");
    let (first, sectors) = (
        u32::try_from(first).map_err(large)?,
        u32::try_from(sectors).map_err(large)?,
    );
    let end = u64::from(first) + u64::from(sectors);
    if first == 0 || sectors == 0 || end > disk.len() / sector.bytes() as u64 {
        return Err(place("it is not on the disk"));
    }
    let in_the_way = |other: &&Entry| {
        let others_end = u64::from(other.first) + u64::from(other.sectors);
        other.number != number && u64::from(first) < others_end && u64::from(other.first) < end
    };
    if used.iter().any(|other| in_the_way(&other)) {
        return Err(place("another partition is there"));
    }
    let mut new = old.clone();
    let at = ENTRIES + usize::from(number - 1) * ENTRY;
    put(&mut new, at + 1, &chs(first));
    put(&mut new, at + 5, &chs(first.saturating_add(sectors - 1)));
    put(&mut new, at + 8, &first.to_le_bytes());
    put(&mut new, at + 12, &sectors.to_le_bytes());
    Ok((old, new))
}

fn write(disk: &mut dyn Storage, sector: SectorSize, new: &[u8]) -> Result<(), MbrError> {
    let io = |doing| move |source| MbrError::Io { doing, source };
    // From here on the old or the new sector is there, as a whole: the entries are in its first
    // 512 bytes.
    disk.write_at(new, 0).map_err(io("writing"))?;
    disk.sync().map_err(io("syncing"))?;
    match read(disk, sector, "reading back")? == new {
        true => Ok(()),
        false => Err(MbrError::ReadBack),
    }
}

fn read(
    disk: &mut dyn Storage,
    sector: SectorSize,
    doing: &'static str,
) -> Result<Vec<u8>, MbrError> {
    let mut raw = vec![0; sector.bytes()];
    disk.read_at(&mut raw, 0)
        .map_err(|source| MbrError::Io { doing, source })?;
    match protection(&raw) {
        Protection::Mbr => Ok(raw),
        found => Err(MbrError::NoMbr { found }),
    }
}

fn is_mbr(sector: &[u8]) -> bool {
    sector.get(SECTOR - 2..SECTOR) == Some(&SIGNATURE)
}

fn entries(sector: &[u8]) -> [Option<Entry>; 4] {
    [1_u8, 2, 3, 4].map(|number| {
        let at = ENTRIES + usize::from(number - 1) * ENTRY;
        let raw = sector.get(at..at + ENTRY)?;
        let kind = *raw.get(4)?;
        (kind != 0).then(|| Entry {
            number,
            kind,
            first: le_u32(raw, 8),
            sectors: le_u32(raw, 12),
        })
    })
}

/// Cylinder, head and sector of the usual made-up geometry (255 heads, 63 sectors), as partitioning
/// tools write it; beyond its end the largest value, which says "look at the sector numbers".
fn chs(lba: u32) -> [u8; 3] {
    const HEADS: u32 = 255;
    const SECTORS: u32 = 63;
    let cylinder = lba / (HEADS * SECTORS);
    if cylinder > 1023 {
        return [0xfe, 0xff, 0xff];
    }
    let head = lba / SECTORS % HEADS;
    let sector = lba % SECTORS + 1;
    let [low, high, ..] = cylinder.to_le_bytes();
    let [head, ..] = head.to_le_bytes();
    let [sector, ..] = sector.to_le_bytes();
    [head, sector | high << 6, low]
}
