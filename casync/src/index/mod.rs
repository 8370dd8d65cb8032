//! The index of an image: its chunks in order, with their ids (`.caibx`, `.caidx`).
//!
//! Byte by byte in the [crate documentation](crate#the-index).

mod flags;
mod reader;
mod writer;

pub use flags::{FeatureFlags, FlagsError};
pub use reader::{IndexError, IndexReader};
pub use writer::{IndexWriteError, IndexWriter};

use std::io::{Read, Write};
use std::ops::Range;

use crate::chunk::{ChunkId, DigestKind};
use crate::sizes::ChunkSizes;

const HEADER_LEN: u64 = 48;
const INDEX_MAGIC: u64 = 0x9682_4d9c_7b12_9ff9;
const TABLE_MAGIC: u64 = 0xe75b_9e11_2f17_417d;
const TAIL_MAGIC: u64 = 0x4b4f_050e_5549_ecd1;
/// The table's length is not known when its header is written; this stands in its place.
const TABLE_LEN_UNKNOWN: u64 = u64::MAX;
/// Index header and table header together: where the items begin.
const ITEMS_OFFSET: u64 = 64;
const TABLE_HEADER_LEN: u64 = 16;
const ITEM_LEN: u64 = 40;

/// Bytes of an index that lists `chunks` chunks.
#[must_use]
pub fn encoded_len(chunks: u64) -> u64 {
    ITEMS_OFFSET.saturating_add(chunks.saturating_add(1).saturating_mul(ITEM_LEN))
}

/// One chunk of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexChunk {
    /// Offset in the image, bytes.
    pub start: u64,
    /// Length in bytes: at least 1, at most the largest chunk size.
    pub len: u32,
    /// Digest of its bytes.
    pub id: ChunkId,
}

impl IndexChunk {
    /// Offset behind the chunk's last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + u64::from(self.len)
    }

    /// The chunk's bytes in the image.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.start..self.end()
    }
}

/// A whole index in memory: 48 bytes a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    flags: FeatureFlags,
    sizes: ChunkSizes,
    /// Without gaps from 0 on, none longer than `sizes.max()`.
    chunks: Vec<IndexChunk>,
}

impl Index {
    /// The index of an empty image.
    #[must_use]
    pub fn new(flags: FeatureFlags, sizes: ChunkSizes) -> Self {
        Self {
            flags,
            sizes,
            chunks: Vec::new(),
        }
    }

    /// Reads a whole index; nothing may follow it.
    pub fn read_from(input: impl Read) -> Result<Self, IndexError> {
        let mut reader = IndexReader::new(input)?;
        let mut index = Self::new(reader.flags(), reader.sizes());
        while let Some(chunk) = reader.next_chunk()? {
            index.chunks.push(chunk);
        }
        Ok(index)
    }

    /// Writes the whole index, as casync would.
    pub fn write_to(&self, output: impl Write) -> Result<(), IndexWriteError> {
        let mut writer = IndexWriter::new(output, self.flags, self.sizes)?;
        for chunk in &self.chunks {
            writer.push(chunk.len, &chunk.id)?;
        }
        writer.finish()
    }

    /// Adds a chunk at the end.
    pub fn push(&mut self, len: u32, id: ChunkId) -> Result<(), IndexWriteError> {
        let start = self.image_len();
        writer::next_end(&self.sizes, start, self.chunks.len(), len)?;
        self.chunks.push(IndexChunk { start, len, id });
        Ok(())
    }

    /// The feature flags.
    #[must_use]
    pub fn flags(&self) -> FeatureFlags {
        self.flags
    }

    /// The hash that names the chunks.
    #[must_use]
    pub fn digest(&self) -> DigestKind {
        self.flags.digest()
    }

    /// The chunk sizes that the image was cut with.
    #[must_use]
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// Number of chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// Whether the image is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Length of the image in bytes.
    #[must_use]
    pub fn image_len(&self) -> u64 {
        self.chunks.last().map_or(0, IndexChunk::end)
    }

    /// The chunk with this number, counted from 0.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<IndexChunk> {
        self.chunks.get(number).copied()
    }

    /// All chunks in image order.
    #[must_use]
    pub fn chunks(&self) -> &[IndexChunk] {
        &self.chunks
    }

    /// The number of the chunk that holds the image's byte at `offset`.
    #[must_use]
    pub fn number_at(&self, offset: u64) -> Option<usize> {
        (offset < self.image_len()).then(|| self.chunks.partition_point(|c| c.end() <= offset))
    }
}

#[cfg(test)]
mod tests;
