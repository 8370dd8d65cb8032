//! Partition tables of live disks: GPT and MBR, read strictly and changed so that a power cut
//! leaves a table that can be used.
//!
//! [`header`], [`table`], [`mbr`], [`priority`] and [`region`] are pure: bytes to checked values and
//! back. [`gpt`] is the ordered writer; it works on a [`Storage`](crate::storage::Storage), so that
//! the power-cut machine can cut each of its writes. [`live`] opens and locks real disks, and
//! [`emmc`] switches between the boot areas of eMMC.
//!
//! Source of the formats: UEFI Specification 2.10, chapter 5 (GPT, protective MBR); the attribute
//! bits of [`priority`] as ChromiumOS documents them ("Disk Format").

mod copy;
pub mod emmc;
pub mod gpt;
mod guid;
pub mod header;
pub mod live;
pub mod mbr;
pub mod priority;
pub mod region;
pub mod table;

pub use guid::{BadGuid, Guid};

/// Size of a logical sector in bytes: the unit in which tables count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorSize(u16);

impl SectorSize {
    /// 512, as nearly all disks have it.
    pub const S512: SectorSize = SectorSize(512);
    /// 4,096, as some SSDs and UFS have it.
    pub const S4096: SectorSize = SectorSize(4096);

    /// 512, 1,024, 2,048 or 4,096.
    #[must_use]
    pub fn new(bytes: u32) -> Option<Self> {
        match bytes {
            512 | 1024 | 2048 | 4096 => u16::try_from(bytes).ok().map(SectorSize),
            _ => None,
        }
    }

    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        usize::from(self.0)
    }

    /// Where a sector begins, in bytes; `None` beyond all disks.
    #[must_use]
    pub fn offset(self, lba: u64) -> Option<u64> {
        lba.checked_mul(u64::from(self.0))
    }

    /// How many sectors so many bytes take.
    #[must_use]
    pub fn sectors(self, bytes: u64) -> u64 {
        bytes.div_ceil(u64::from(self.0))
    }
}

/// A little-endian number out of a fixed place; 0 beyond the end.
fn le_u32(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at.saturating_add(4)) {
        Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// A little-endian number out of a fixed place; 0 beyond the end.
fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le_u32(bytes, at)) | u64::from(le_u32(bytes, at.saturating_add(4))) << 32
}

/// Puts bytes into their place; what lies beyond the end is not written.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(value.len())) {
        place.copy_from_slice(value);
    }
}
