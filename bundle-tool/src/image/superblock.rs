//! The superblock.
//!
//! ```text
//!  0 u32 magic        4 u32 inodes      8 u32 time       12 u32 block size
//! 16 u32 fragments   20 u16 compressor 22 u16 block log  24 u16 flags
//! 26 u16 ids         28 u16 major      30 u16 minor      32 u64 root inode
//! 40 u64 bytes used  48 u64 ids        56 u64 attributes 64 u64 inodes
//! 72 u64 directories 80 u64 fragments  88 u64 exports
//! ```

use bundle_format::limits::MAX_SQUASHFS_BLOCK;

use super::ImageError;
use super::fields::{put, u16_at, u32_at, u64_at};

/// Bytes of the superblock.
pub(super) const LEN: usize = 96;
/// A table that is not there.
pub(super) const NONE: u64 = u64::MAX;
/// zstd's number.
const ZSTD: u16 = 6;
/// Flag: the compressor's options follow the superblock.
const OPTIONS: u16 = 1 << 10;
/// Flags: inodes, data, fragments, attributes, ids are not compressed.
const UNCOMPRESSED: u16 = 1 | 1 << 1 | 1 << 3 | 1 << 8 | 1 << 11;

/// The superblock; fields that stay as they are are only in `raw`.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    raw: [u8; LEN],
    pub(super) time: u32,
    pub(super) block_size: u32,
    pub(super) fragments: u32,
    pub(super) compressor: u16,
    flags: u16,
    pub(super) inode_count: u32,
    pub(super) id_count: u16,
    pub(super) root: u64,
    pub(super) used: u64,
    pub(super) ids: u64,
    pub(super) attributes: u64,
    pub(super) inodes: u64,
    pub(super) directories: u64,
    pub(super) fragment_table: u64,
    pub(super) exports: u64,
}

impl Superblock {
    pub(super) fn parse(raw: [u8; LEN]) -> Result<Self, ImageError> {
        let version = (u16_at(&raw, 28)?, u16_at(&raw, 30)?);
        if !raw.starts_with(b"hsqs") || version != (4, 0) {
            return Err(ImageError::NotSquashfs);
        }
        let block_size = u32_at(&raw, 12)?;
        if !(4096..=MAX_SQUASHFS_BLOCK).contains(&block_size) || !block_size.is_power_of_two() {
            return Err(ImageError::damaged("block size", 12_u64));
        }
        Ok(Self {
            inode_count: u32_at(&raw, 4)?,
            time: u32_at(&raw, 8)?,
            block_size,
            fragments: u32_at(&raw, 16)?,
            compressor: u16_at(&raw, 20)?,
            flags: u16_at(&raw, 24)?,
            id_count: u16_at(&raw, 26)?,
            root: u64_at(&raw, 32)?,
            used: u64_at(&raw, 40)?,
            ids: u64_at(&raw, 48)?,
            attributes: u64_at(&raw, 56)?,
            inodes: u64_at(&raw, 64)?,
            directories: u64_at(&raw, 72)?,
            fragment_table: u64_at(&raw, 80)?,
            exports: u64_at(&raw, 88)?,
            raw,
        })
    }

    /// The image is compressed with zstd now; `options`: they follow the superblock.
    pub(super) fn set_zstd(&mut self, options: Option<[u8; 6]>) {
        self.compressor = ZSTD;
        self.flags &= !(UNCOMPRESSED | OPTIONS);
        if options.is_some() {
            self.flags |= OPTIONS;
        }
    }

    pub(super) fn to_bytes(&self) -> [u8; LEN] {
        let mut raw = self.raw;
        put(&mut raw, 8, self.time.to_le_bytes());
        put(&mut raw, 20, self.compressor.to_le_bytes());
        put(&mut raw, 24, self.flags.to_le_bytes());
        let wide = [
            self.root,
            self.used,
            self.ids,
            self.attributes,
            self.inodes,
            self.directories,
            self.fragment_table,
            self.exports,
        ];
        for (at, field) in (32..).step_by(8).zip(wide) {
            put(&mut raw, at, field.to_le_bytes());
        }
        raw
    }
}
