//! The squashfs that is read.

use std::path::Path;

use bundle_format::limits::SQUASHFS_METADATA_SIZE;
use bundle_format::squashfs::Compressor;
use bundle_format::{FileReader, ReadAt as _};

use super::ImageError;
use super::fields::{to_usize, u16_at, u64_at};
use super::superblock::{self, Superblock};
use super::table::Table;

/// Bit of a metadata block's header: stored as it is.
pub(super) const STORED: u16 = 0x8000;
/// Largest unpacked table: ten million inodes.
const MAX_TABLE: usize = 1 << 30;

/// A squashfs, opened.
pub(super) struct Source {
    file: FileReader,
    compressor: Compressor,
    pub(super) superblock: Superblock,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, ImageError> {
        let file = FileReader::open(path).map_err(|source| ImageError::Open {
            path: path.to_owned(),
            source,
        })?;
        let mut raw = [0; superblock::LEN];
        if file.len() < superblock::LEN as u64 {
            return Err(ImageError::NotSquashfs);
        }
        file.read_exact_at(&mut raw, 0)
            .map_err(|source| ImageError::Read { offset: 0, source })?;
        let superblock = Superblock::parse(raw)?;
        if superblock.used > file.len() {
            return Err(ImageError::damaged("end of the image", superblock.used));
        }
        let compressor =
            Compressor::from_id(superblock.compressor).map_err(ImageError::Compressor)?;
        Ok(Self {
            file,
            compressor,
            superblock,
        })
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, ImageError> {
        let end = offset.checked_add(u64::try_from(len).unwrap_or(u64::MAX));
        if end.is_none_or(|end| end > self.superblock.used) {
            return Err(ImageError::damaged("a place outside of the image", offset));
        }
        let mut bytes = vec![0; len];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(source) => Err(ImageError::Read { offset, source }),
        }
    }

    /// What is in packed bytes that were read at `offset`: at most `longest`.
    pub(super) fn unpack(
        &self,
        packed: &[u8],
        longest: usize,
        offset: u64,
    ) -> Result<Vec<u8>, ImageError> {
        let mut content = vec![0; longest];
        match self.compressor.unpack(packed, &mut content) {
            Ok(len) => {
                content.truncate(len);
                Ok(content)
            }
            Err(_) => Err(ImageError::damaged("a packed block", offset)),
        }
    }

    /// The table whose packed blocks are all there is between `start` and `end`.
    pub(super) fn table(&self, start: u64, end: u64) -> Result<Table, ImageError> {
        let mut table = Table::default();
        let mut at = start;
        while at < end {
            if table.len() > MAX_TABLE {
                return Err(ImageError::TableTooLarge {
                    limit: MAX_TABLE,
                    offset: start,
                });
            }
            // All blocks but the last one are full, so that places can be counted.
            if !table.len().is_multiple_of(SQUASHFS_METADATA_SIZE) {
                return Err(ImageError::damaged("a table with a gap", at));
            }
            let header = u16_at(&self.read(at, 2)?, 0)?;
            let packed = self.read(at + 2, usize::from(header & !STORED))?;
            let content = if header & STORED == 0 {
                self.unpack(&packed, SQUASHFS_METADATA_SIZE, at)?
            } else {
                packed
            };
            table.push(at - start, &content);
            at += 2 + u64::from(header & !STORED);
        }
        if at > end {
            return Err(ImageError::damaged("a table's end", end));
        }
        Ok(table)
    }

    /// The place of the first block of a table that has `len` bytes and its list of blocks at `list`.
    pub(super) fn first_block(&self, list: u64, len: usize) -> Result<u64, ImageError> {
        if len == 0 {
            return Ok(list);
        }
        let first = u64_at(&self.read(list, 8)?, 0)?;
        if first > list {
            return Err(ImageError::damaged("a table behind its list", list));
        }
        Ok(first)
    }

    /// A table with a list of blocks: the blocks come first, the list follows.
    pub(super) fn listed(&self, list: u64, len: usize) -> Result<Table, ImageError> {
        let table = self.table(self.first_block(list, len)?, list)?;
        if table.len() != len {
            return Err(ImageError::damaged("a table of another length", list));
        }
        Ok(table)
    }

    /// Where the directories' last block ends: at the first table that follows.
    pub(super) fn directories_end(&self) -> Result<u64, ImageError> {
        let sb = &self.superblock;
        let mut end = self.first_block(sb.ids, usize::from(sb.id_count) * 4)?;
        for (list, len) in [
            (sb.fragment_table, to_usize(sb.fragments).saturating_mul(16)),
            (sb.exports, to_usize(sb.inode_count).saturating_mul(8)),
        ] {
            if list != superblock::NONE && len > 0 {
                end = end.min(self.first_block(list, len)?);
            }
        }
        Ok(end)
    }
}
