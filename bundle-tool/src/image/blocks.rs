//! Blocks of files and fragments: read, compressed on all cores, written one behind the other.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use casync::delta::frame_of;
use casync::parallel;

use super::ImageError;
use super::fields::to_usize;
use super::source::Source;
use super::table::length;
use crate::observer::Observer;

/// Bit of a block's word: stored as it is. The rest are its bytes.
const STORED: u32 = 1 << 24;
/// Contents that are compressed before anything of them is written.
const BATCH: usize = 16 << 20;

/// A block in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block {
    pub(super) start: u64,
    /// As it is in inodes and in the table of fragments.
    pub(super) word: u32,
}

impl Block {
    fn len(self) -> u32 {
        self.word & !STORED
    }

    /// A block of zeros, which is nowhere.
    pub(super) fn is_hole(self) -> bool {
        self.len() == 0
    }

    pub(super) fn end(self) -> u64 {
        self.start.saturating_add(self.len().into())
    }
}

/// Where the blocks are now.
pub(super) struct MovedBlocks {
    /// Old start and new block, sorted.
    moved: Vec<(u64, Block)>,
    /// Bytes of all contents.
    pub(super) content: u64,
}

impl MovedBlocks {
    /// Where the block that began at `start` is now.
    pub(super) fn find(&self, start: u64) -> Result<Block, ImageError> {
        let found = self.moved.binary_search_by_key(&start, |(old, _)| *old);
        let found = found.ok().and_then(|number| self.moved.get(number));
        found
            .map(|(_, block)| *block)
            .ok_or_else(|| ImageError::damaged("a block", start))
    }

    /// Where the last one ends.
    pub(super) fn end(&self) -> Option<u64> {
        self.moved.last().map(|(_, block)| block.end())
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.moved.len()
    }
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compression {
    pub(super) level: u8,
    pub(super) threads: NonZeroUsize,
}

/// Compresses `blocks` again, and writes them from the byte `start` of the image on.
pub(super) fn move_blocks(
    source: &Source,
    blocks: Vec<Block>,
    how: Compression,
    (start, out): (u64, &mut dyn Write),
    observer: &mut dyn Observer,
) -> Result<MovedBlocks, ImageError> {
    let blocks = in_order(blocks)?;
    let longest = to_usize(source.superblock.block_size);
    let total = blocks.last().map_or(0, |block| block.end());
    let mut result = MovedBlocks {
        moved: Vec::with_capacity(blocks.len()),
        content: 0,
    };
    let mut next = start;
    for batch in blocks.chunks((BATCH / longest).max(1)) {
        let packed = parallel::map(how.threads, batch, |block| {
            compress(source, *block, how.level)
        });
        for (old, packed) in batch.iter().zip(packed) {
            let Packed {
                bytes,
                word,
                content,
            } = packed?;
            out.write_all(&bytes).map_err(ImageError::Write)?;
            let block = Block { start: next, word };
            next = block.end();
            result.moved.push((old.start, block));
            result.content += content;
            observer.progress(old.end(), total);
        }
    }
    Ok(result)
}

/// Sorted, each once: files with the same content share their blocks.
fn in_order(mut blocks: Vec<Block>) -> Result<Vec<Block>, ImageError> {
    blocks.sort_unstable();
    blocks.dedup();
    let crossing = blocks.windows(2).find(|two| two[0].end() > two[1].start);
    match crossing {
        Some(two) => Err(ImageError::damaged(
            "a block inside of another",
            two[1].start,
        )),
        None => Ok(blocks),
    }
}

struct Packed {
    bytes: Vec<u8>,
    word: u32,
    content: u64,
}

fn compress(source: &Source, block: Block, level: u8) -> Result<Packed, ImageError> {
    let longest = to_usize(source.superblock.block_size);
    let bytes = source.read(block.start, to_usize(block.len()))?;
    let content = if block.word & STORED == 0 {
        source.unpack(&bytes, longest, block.start)?
    } else {
        bytes
    };
    if content.len() > longest {
        return Err(ImageError::damaged("a long block", block.start));
    }
    let frame = frame_of(&content, level).map_err(ImageError::Compress)?;
    let len = length(&content);
    let (bytes, flag) = if frame.len() < content.len() {
        (frame, 0)
    } else {
        (content, STORED)
    };
    let word = u32::try_from(bytes.len()).map_err(|e| ImageError::Compress(io::Error::other(e)))?;
    Ok(Packed {
        bytes,
        word: word | flag,
        content: len,
    })
}
