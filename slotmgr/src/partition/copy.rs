//! One copy of a GPT on the disk: read, checked, and written as far as it differs.

use std::io;
use std::ops::Range;

use super::SectorSize;
use super::gpt::GptError;
use super::header::{Fields, Flaw, Header};
use super::table::Table;
use crate::storage::Storage;

/// Where the primary header stands.
pub(super) const PRIMARY: u64 = 1;

/// The largest write that most flash makes as a whole, in bytes.
const FLASH_UNIT: u64 = 4096;

/// Which of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// At the start of the disk.
    Primary,
    /// At its end.
    Backup,
}

impl std::fmt::Display for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Copy::Primary => "primary",
            Copy::Backup => "backup",
        })
    }
}

/// One copy as it stands, or shall stand, on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) header: Header,
    /// Whole sectors: behind the last entry there may be something that is none.
    pub(super) array: Vec<u8>,
}

impl Image {
    pub(super) fn covered(&self) -> &[u8] {
        let bytes = usize::try_from(self.header.fields().array_bytes()).unwrap_or(usize::MAX);
        self.array.get(..bytes).unwrap_or(&self.array)
    }

    pub(super) fn table(&self) -> Table {
        Table::new(&self.header, self.covered().to_vec())
    }

    pub(super) fn agrees(&self, other: &Image) -> bool {
        let (own, others) = (self.header.fields(), other.header.fields());
        own.same_table(&others) && self.covered() == other.covered()
    }

    pub(super) fn with(&self, table: &Table) -> Image {
        let mut array = self.array.clone();
        super::put(&mut array, 0, table.bytes());
        Image {
            header: self.header.with_entries(table.bytes()),
            array,
        }
    }
}

/// Writes one copy, as far as it differs from what is there, and reads it back.
pub(super) fn write(
    disk: &mut dyn Storage,
    sector: SectorSize,
    copy: Copy,
    (old, new): (Option<&Image>, &Image),
) -> Result<(), GptError> {
    let io = |doing| move |source| GptError::Io { doing, source };
    let far = || io::Error::from(io::ErrorKind::InvalidInput);
    let fields = new.header.fields();
    let at = |lba| sector.offset(lba).ok_or_else(far).map_err(io("writing"));
    let (header_at, array_at) = (at(fields.own)?, at(fields.array)?);
    let span = match old {
        Some(old) => differing(&old.array, &new.array, sector.bytes()),
        None => 0..new.array.len(),
    };
    let changed = new.array.get(span.clone()).unwrap_or_default();
    let start = array_at + span.start as u64;
    let together = header_at + sector.bytes() as u64 == array_at
        && header_at / FLASH_UNIT == (start + changed.len() as u64 - 1) / FLASH_UNIT;
    if together {
        let unit = [
            new.header.sector(),
            new.array.get(..span.end).unwrap_or_default(),
        ]
        .concat();
        disk.write_at(&unit, header_at).map_err(io("writing"))?;
    } else {
        // The entries first: until the header is there, its old checksum tells that they are not.
        disk.write_at(changed, start).map_err(io("writing"))?;
        disk.write_at(new.header.sector(), header_at)
            .map_err(io("writing"))?;
    }
    disk.sync().map_err(io("syncing"))?;
    let back = read_copy(disk, sector, (fields.own, fields.other)).map_err(io("reading back"))?;
    match back {
        Ok(image) if image == *new => Ok(()),
        _ => Err(GptError::ReadBack(copy)),
    }
}

/// The bytes, in whole sectors, from the first difference to the last. Never empty.
fn differing(old: &[u8], new: &[u8], sector: usize) -> Range<usize> {
    let pieces = || old.chunks(sector).zip(new.chunks(sector));
    let first = pieces().position(|(old, new)| old != new).unwrap_or(0);
    let last = pieces().rposition(|(old, new)| old != new).unwrap_or(first);
    first * sector..((last + 1) * sector).min(new.len())
}

pub(super) fn read(
    disk: &mut dyn Storage,
    sector: SectorSize,
    lba: u64,
    count: u64,
) -> io::Result<Vec<u8>> {
    let far = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let count = usize::try_from(count).map_err(|_| far())?;
    let mut bytes = vec![0; count.checked_mul(sector.bytes()).ok_or_else(far)?];
    disk.read_at(&mut bytes, sector.offset(lba).ok_or_else(far)?)?;
    Ok(bytes)
}

/// One copy: its header in `own`, which must name `other` as its twin (a primary may name another
/// sector: that is an error of its own).
pub(super) fn read_copy(
    disk: &mut dyn Storage,
    sector: SectorSize,
    (own, other): (u64, u64),
) -> io::Result<Result<Image, Flaw>> {
    let header = match Header::parse(read(disk, sector, own, 1)?) {
        Ok(header) => header,
        Err(flaw) => return Ok(Err(flaw)),
    };
    let fields = header.fields();
    if fields.own != own || (own != PRIMARY && fields.other != other) {
        return Ok(Err(Flaw::Place));
    }
    if !array_fits(&fields, sector, own.max(other)) {
        return Ok(Err(Flaw::Array));
    }
    let sectors = sector.sectors(fields.array_bytes());
    let array = read(disk, sector, fields.array, sectors)?;
    let image = Image { header, array };
    if crc32fast::hash(image.covered()) != fields.array_crc {
        return Ok(Err(Flaw::EntriesCrc));
    }
    Ok(Ok(image))
}

/// Between the two headers, whatever the header says of the usable space.
fn array_fits(fields: &Fields, sector: SectorSize, last: u64) -> bool {
    let end = fields.array_end(sector);
    fields.array > PRIMARY && end.is_some_and(|end| end <= last)
}
