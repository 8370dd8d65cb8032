//! The header of a GPT: one sector.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | `EFI PART` |
//! | 8 | 4 | revision |
//! | 12 | 4 | bytes of the header, from 92 on |
//! | 16 | 4 | CRC32 of the header, with zeroes in this place |
//! | 24 | 8 | its own sector |
//! | 32 | 8 | the sector of the other header |
//! | 40 | 8 + 8 | first and last sector that partitions may use |
//! | 56 | 16 | the disk's GUID |
//! | 72 | 8 | first sector of the entries |
//! | 80 | 4 + 4 | number of entries, and bytes of each |
//! | 88 | 4 | CRC32 of all entries |
//!
//! What lies beyond, in the header or after it in its sector, is kept as it is.

use super::{Guid, SectorSize, le_u32, le_u64, put};

const SIGNATURE: &[u8; 8] = b"EFI PART";
const SMALLEST_HEADER: usize = 92;
const OLDEST_REVISION: u32 = 0x0001_0000;
const SMALLEST_ENTRY: u32 = 128;
const LARGEST_ENTRY: u32 = 4096;

/// Largest array of entries that is read, in bytes; an ordinary one has 16,384.
pub const MAX_ARRAY: u64 = 1 << 20;

/// What keeps a header, or its entries, from being used by a bootloader that checks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// No `EFI PART` at its start.
    #[error("it has no GPT header")]
    NoHeader,
    /// A revision or size that no version of the format has.
    #[error("its header has an impossible revision or size")]
    Shape,
    /// The checksum of the header.
    #[error("the checksum of its header is wrong")]
    HeaderCrc,
    /// A header that says that it stands elsewhere, or that its twin does.
    #[error("its header belongs to another sector")]
    Place,
    /// Number or size of the entries.
    #[error("its header has an impossible number or size of entries")]
    Entries,
    /// Entries outside the disk, or in the way of the partitions.
    #[error("its entries lie where they cannot")]
    Array,
    /// The checksum of the entries.
    #[error("the checksum of its entries is wrong")]
    EntriesCrc,
}

/// One header, with the whole sector that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    sector: Vec<u8>,
}

/// What a header says about its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// Where this header stands.
    pub own: u64,
    /// Where the other one stands.
    pub other: u64,
    /// First sector that partitions may use.
    pub first_usable: u64,
    /// Last sector that partitions may use.
    pub last_usable: u64,
    /// The disk's GUID.
    pub disk: Guid,
    /// First sector of the entries.
    pub array: u64,
    /// Number of entries.
    pub count: u32,
    /// Bytes of an entry.
    pub entry_size: u32,
    /// Checksum of the entries.
    pub array_crc: u32,
}

impl Header {
    /// Checks everything that the header says about itself. `sector` is a whole sector.
    ///
    /// # Errors
    /// The first flaw.
    pub fn parse(sector: Vec<u8>) -> Result<Header, Flaw> {
        if !sector.starts_with(SIGNATURE) {
            return Err(Flaw::NoHeader);
        }
        let header = Header { sector };
        let size = header.size().ok_or(Flaw::Shape)?;
        if le_u32(&header.sector, 8) < OLDEST_REVISION {
            return Err(Flaw::Shape);
        }
        if header.crc(size) != le_u32(&header.sector, 16) {
            return Err(Flaw::HeaderCrc);
        }
        let fields = header.fields();
        let entry = fields.entry_size;
        if !(SMALLEST_ENTRY..=LARGEST_ENTRY).contains(&entry)
            || !entry.is_power_of_two()
            || fields.count == 0
            || fields.array_bytes() > MAX_ARRAY
        {
            return Err(Flaw::Entries);
        }
        Ok(header)
    }

    /// What it says.
    #[must_use]
    pub fn fields(&self) -> Fields {
        let s = &self.sector;
        let mut disk = [0; 16];
        disk.copy_from_slice(s.get(56..72).unwrap_or(&[0; 16]));
        Fields {
            own: le_u64(s, 24),
            other: le_u64(s, 32),
            first_usable: le_u64(s, 40),
            last_usable: le_u64(s, 48),
            disk: Guid(disk),
            array: le_u64(s, 72),
            count: le_u32(s, 80),
            entry_size: le_u32(s, 84),
            array_crc: le_u32(s, 88),
        }
    }

    /// The sector as it is to be written.
    #[must_use]
    pub fn sector(&self) -> &[u8] {
        &self.sector
    }

    /// The same header for other entries.
    #[must_use]
    pub fn with_entries(&self, entries: &[u8]) -> Header {
        let mut new = self.clone();
        put(&mut new.sector, 88, &crc32fast::hash(entries).to_le_bytes());
        new.seal();
        new
    }

    /// The header of the other copy, whose entries are at `array`.
    #[must_use]
    pub fn twin(&self, array: u64) -> Header {
        let fields = self.fields();
        let mut new = self.clone();
        put(&mut new.sector, 24, &fields.other.to_le_bytes());
        put(&mut new.sector, 32, &fields.own.to_le_bytes());
        put(&mut new.sector, 72, &array.to_le_bytes());
        new.seal();
        new
    }

    fn seal(&mut self) {
        if let Some(size) = self.size() {
            let crc = self.crc(size).to_le_bytes();
            put(&mut self.sector, 16, &crc);
        }
    }

    fn size(&self) -> Option<usize> {
        let size = usize::try_from(le_u32(&self.sector, 12)).ok()?;
        (SMALLEST_HEADER..=self.sector.len())
            .contains(&size)
            .then_some(size)
    }

    fn crc(&self, size: usize) -> u32 {
        let mut header = self.sector.get(..size).unwrap_or_default().to_vec();
        put(&mut header, 16, &[0; 4]);
        crc32fast::hash(&header)
    }
}

impl Fields {
    /// Bytes of all entries together.
    #[must_use]
    pub fn array_bytes(&self) -> u64 {
        u64::from(self.count) * u64::from(self.entry_size)
    }

    /// The first sector behind the entries; `None` beyond all disks.
    #[must_use]
    pub fn array_end(&self, sector: SectorSize) -> Option<u64> {
        self.array.checked_add(sector.sectors(self.array_bytes()))
    }

    /// Whether two headers describe the same table.
    #[must_use]
    pub fn same_table(&self, other: &Fields) -> bool {
        let shared = |f: &Fields| {
            let usable = (f.first_usable, f.last_usable);
            (usable, f.disk, f.count, f.entry_size, f.array_crc)
        };
        shared(self) == shared(other)
    }
}
