//! Inodes: how long they are, and where in them the places of other things are.
//!
//! All begin with `u16` kind, mode, owner, group and `u32` time, number. Then, for the kinds that
//! have places in them (kinds above 7 are the same with more fields):
//!
//! ```text
//! 1 directory  16 u32 block   20 u32 links  24 u16 size    26 u16 offset   28 u32 parent
//! 8 directory  16 u32 links   20 u32 size   24 u32 block   28 u32 parent   32 u16 index entries
//!              34 u16 offset  36 u32 attributes            40 the index
//! 2 file       16 u32 start   20 u32 fragment  24 u32 offset  28 u32 size  32 the blocks
//! 9 file       16 u64 start   24 u64 size   32 u64 sparse  40 u32 links    44 u32 fragment
//!              48 u32 offset  52 u32 attributes            56 the blocks
//! ```

use super::ImageError;
use super::fields::{to_usize, u16_at, u32_at, u64_at};

/// Time of an inode.
pub(super) const TIME: usize = 8;
/// A file without a fragment.
const NO_FRAGMENT: u32 = u32::MAX;
/// Bytes of an index entry before its name.
const INDEX_ENTRY: usize = 12;

/// An inode of the table.
pub(super) struct Inode {
    pub(super) kind: Kind,
    /// Where it ends, and the next one begins.
    pub(super) end: usize,
}

pub(super) enum Kind {
    Directory(Directory),
    File(File),
    Other,
}

/// Places count from the start of the table.
pub(super) struct Directory {
    /// Where the block is named, in 32 bits.
    pub(super) block: usize,
    /// Where the offset is, in 16 bits.
    pub(super) offset: usize,
    pub(super) empty: bool,
    /// Where the index names blocks, in 32 bits each.
    pub(super) index: Vec<usize>,
}

pub(super) struct File {
    /// Where the start is named.
    pub(super) at: usize,
    /// In 64 bits, not 32.
    pub(super) wide: bool,
    pub(super) start: u64,
    /// Where the first block's word is.
    pub(super) words: usize,
    pub(super) count: usize,
}

impl Inode {
    pub(super) fn parse(table: &[u8], at: usize, block_size: u32) -> Result<Self, ImageError> {
        let other = |len: usize| Self {
            kind: Kind::Other,
            end: at.saturating_add(len),
        };
        let inode = match u16_at(table, at)? {
            1 => Self::directory(table, at)?,
            8 => Self::indexed_directory(table, at)?,
            2 => Self::file(table, at, block_size)?,
            9 => Self::long_file(table, at, block_size)?,
            kind @ (3 | 10) => {
                let target = to_usize(u32_at(table, at + 20)?);
                other(target.saturating_add(if kind == 3 { 24 } else { 28 }))
            }
            4 | 5 | 13 | 14 => other(24),
            11 | 12 => other(28),
            6 | 7 => other(20),
            _ => return Err(ImageError::damaged("an inode of an unknown kind", at)),
        };
        if inode.end > table.len() {
            return Err(ImageError::damaged("an inode is cut off", at));
        }
        Ok(inode)
    }

    fn directory(table: &[u8], at: usize) -> Result<Self, ImageError> {
        let directory = Directory {
            block: at + 16,
            offset: at + 26,
            empty: is_empty(u16_at(table, at + 24)?.into()),
            index: Vec::new(),
        };
        Ok(Self {
            kind: Kind::Directory(directory),
            end: at + 32,
        })
    }

    fn indexed_directory(table: &[u8], at: usize) -> Result<Self, ImageError> {
        let (mut end, mut index) = (at + 40, Vec::new());
        for _ in 0..u16_at(table, at + 32)? {
            index.push(end + 4);
            let name = to_usize(u32_at(table, end + 8)?);
            end = name.saturating_add(end + INDEX_ENTRY + 1);
        }
        let directory = Directory {
            block: at + 24,
            offset: at + 34,
            empty: is_empty(u32_at(table, at + 20)?),
            index,
        };
        Ok(Self {
            kind: Kind::Directory(directory),
            end,
        })
    }

    fn file(table: &[u8], at: usize, block_size: u32) -> Result<Self, ImageError> {
        let size = u32_at(table, at + 28)?.into();
        let file = File {
            at: at + 16,
            wide: false,
            start: u32_at(table, at + 16)?.into(),
            words: at + 32,
            count: blocks(size, u32_at(table, at + 20)?, block_size),
        };
        Ok(Self::of_file(file))
    }

    fn long_file(table: &[u8], at: usize, block_size: u32) -> Result<Self, ImageError> {
        let size = u64_at(table, at + 24)?;
        let file = File {
            at: at + 16,
            wide: true,
            start: u64_at(table, at + 16)?,
            words: at + 56,
            count: blocks(size, u32_at(table, at + 44)?, block_size),
        };
        Ok(Self::of_file(file))
    }

    fn of_file(file: File) -> Self {
        Self {
            end: file.count.saturating_mul(4).saturating_add(file.words),
            kind: Kind::File(file),
        }
    }
}

/// The size counts `.` and `..`, which are not stored.
fn is_empty(size: u32) -> bool {
    size <= 3
}

/// Blocks of a file; the rest is in the fragment, if there is one.
fn blocks(size: u64, fragment: u32, block_size: u32) -> usize {
    let block_size = u64::from(block_size);
    to_usize(if fragment == NO_FRAGMENT {
        size.div_ceil(block_size)
    } else {
        size / block_size
    })
}
