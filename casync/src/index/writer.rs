//! Writes an index item by item, as casync does.

use std::io::{self, Write};

use thiserror::Error;

use super::{
    FeatureFlags, HEADER_LEN, INDEX_MAGIC, ITEM_LEN, TABLE_HEADER_LEN, TABLE_LEN_UNKNOWN,
    TABLE_MAGIC, TAIL_MAGIC,
};
use crate::chunk::ChunkId;
use crate::limits::INDEX_CHUNKS;
use crate::sizes::ChunkSizes;

/// Why a chunk cannot be listed, or an index not be written.
#[derive(Debug, Error)]
pub enum IndexWriteError {
    /// The output failed.
    #[error("cannot write the index")]
    Write(#[source] io::Error),
    /// A chunk of no bytes, or longer than the largest chunk size.
    #[error("chunk {number} has {len} bytes; an index with these sizes lists 1 to {max}")]
    Length {
        /// Its number, from 0.
        number: usize,
        /// Its length.
        len: u32,
        /// The largest chunk size.
        max: u32,
    },
    /// More chunks than this program's reader takes.
    #[error("the image has more than {INDEX_CHUNKS} chunks; choose a larger chunk size")]
    TooMany,
    /// The image is longer than 2^64 bytes.
    #[error("chunk {number} ends behind the last possible offset")]
    Overflow {
        /// Its number, from 0.
        number: usize,
    },
}

/// Where a chunk of `len` bytes ends that begins at `start`, if an index may list it.
pub(super) fn next_end(
    sizes: &ChunkSizes,
    start: u64,
    number: usize,
    len: u32,
) -> Result<u64, IndexWriteError> {
    if len == 0 || len > sizes.max() {
        return Err(IndexWriteError::Length {
            number,
            len,
            max: sizes.max(),
        });
    }
    if number >= INDEX_CHUNKS {
        return Err(IndexWriteError::TooMany);
    }
    start
        .checked_add(u64::from(len))
        .ok_or(IndexWriteError::Overflow { number })
}

/// Writes an index; nothing but the last offset is kept in memory.
///
/// Without [`Self::finish`] the output has no tail and is no index to any reader. Durability is the
/// caller's: the writer flushes, it does not sync.
#[derive(Debug)]
#[must_use = "an index without its tail is no index"]
pub struct IndexWriter<W> {
    output: W,
    sizes: ChunkSizes,
    last_end: u64,
    number: usize,
    table_len: u64,
}

impl<W: Write> IndexWriter<W> {
    /// Writes the 64 bytes before the first item. Give it something buffered.
    pub fn new(
        mut output: W,
        flags: FeatureFlags,
        sizes: ChunkSizes,
    ) -> Result<Self, IndexWriteError> {
        let [min, avg, max] = [sizes.min(), sizes.avg(), sizes.max()].map(u64::from);
        let header = [HEADER_LEN, INDEX_MAGIC, flags.bits(), min, avg, max];
        put_words(&mut output, &header)?;
        put_words(&mut output, &[TABLE_LEN_UNKNOWN, TABLE_MAGIC])?;
        Ok(Self {
            output,
            sizes,
            last_end: 0,
            number: 0,
            table_len: TABLE_HEADER_LEN,
        })
    }

    /// Adds the next chunk.
    pub fn push(&mut self, len: u32, id: &ChunkId) -> Result<(), IndexWriteError> {
        let end = next_end(&self.sizes, self.last_end, self.number, len)?;
        put_words(&mut self.output, &[end])?;
        self.output
            .write_all(id.as_bytes())
            .map_err(IndexWriteError::Write)?;
        (self.last_end, self.number) = (end, self.number + 1);
        self.table_len += ITEM_LEN;
        Ok(())
    }

    /// Writes the tail and flushes.
    pub fn finish(mut self) -> Result<(), IndexWriteError> {
        let table_len = self.table_len + ITEM_LEN;
        put_words(&mut self.output, &[0, 0, HEADER_LEN, table_len, TAIL_MAGIC])?;
        self.output.flush().map_err(IndexWriteError::Write)
    }
}

fn put_words(output: &mut impl Write, words: &[u64]) -> Result<(), IndexWriteError> {
    words
        .iter()
        .try_for_each(|word| output.write_all(&word.to_le_bytes()))
        .map_err(IndexWriteError::Write)
}
