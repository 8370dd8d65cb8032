//! Reads an index item by item.

use std::io::{self, Read};

use thiserror::Error;

use super::{
    FeatureFlags, FlagsError, HEADER_LEN, INDEX_MAGIC, ITEM_LEN, ITEMS_OFFSET, IndexChunk,
    TABLE_HEADER_LEN, TABLE_LEN_UNKNOWN, TABLE_MAGIC, TAIL_MAGIC,
};
use crate::chunk::ChunkId;
use crate::limits::INDEX_CHUNKS;
use crate::sizes::{ChunkSizes, SizesError};

/// Bytes of one item, as an array length.
const ITEM: usize = 40;

/// Why bytes are no index. Offsets count from the start of the index.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The bytes could not be read.
    #[error("cannot read the index at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// It ends before its tail: cut off, or not whole yet.
    #[error("the index ends within the {part} at byte {offset}; it was cut short")]
    Truncated {
        /// Where the part begins.
        offset: u64,
        /// What was expected there.
        part: &'static str,
    },
    /// A word that has only one value has another.
    #[error("not a casync index: {what} at byte {offset} is {found:#x}, not {expected:#x}")]
    Word {
        /// Where the word is.
        offset: u64,
        /// Its name.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What it must be.
        expected: u64,
    },
    /// The feature flags are not ones that casync takes.
    #[error("bad feature flags at byte 16 of the index")]
    Flags(#[source] FlagsError),
    /// The chunk sizes are not ones that casync takes.
    #[error("bad chunk sizes at byte 24 of the index")]
    Sizes(#[source] SizesError),
    /// A chunk does not end behind its start.
    #[error("chunk {number} at byte {offset} of the index ends at {end}, not behind {start}")]
    NotAscending {
        /// Byte of the item in the index.
        offset: u64,
        /// Its number, from 0.
        number: usize,
        /// Where the chunk begins in the image.
        start: u64,
        /// Where it claims to end.
        end: u64,
    },
    /// A chunk is longer than the header allows.
    #[error("chunk {number} at byte {offset} of the index has {len} bytes, more than {max}")]
    TooLong {
        /// Byte of the item in the index.
        offset: u64,
        /// Its number, from 0.
        number: usize,
        /// Its length.
        len: u64,
        /// The header's largest chunk size.
        max: u32,
    },
    /// More chunks than this program handles.
    #[error("the index lists more than {INDEX_CHUNKS} chunks (byte {offset})")]
    TooMany {
        /// Byte of the first item too many.
        offset: u64,
    },
    /// Bytes follow the tail.
    #[error("bytes follow the end of the index at byte {offset}")]
    Trailing {
        /// Where they begin.
        offset: u64,
    },
}

/// Reads an index from any source, with no more than one item in memory.
///
/// Nothing that was read may be acted upon before [`Self::next_chunk`] has returned `None`: only
/// then is the index known to be whole.
#[derive(Debug)]
pub struct IndexReader<R> {
    input: R,
    offset: u64,
    flags: FeatureFlags,
    sizes: ChunkSizes,
    last_end: u64,
    number: usize,
    done: bool,
}

impl<R: Read> IndexReader<R> {
    /// Reads and checks the 64 bytes before the first item.
    ///
    /// Reads of 40 bytes follow: give it something buffered.
    pub fn new(mut input: R) -> Result<Self, IndexError> {
        let words: [u64; 8] = read_words(&mut input, 0, "header")?;
        let [header_len, index, flags, min, avg, max, table_len, table] = words;
        expect_word(0, "header size", header_len, HEADER_LEN)?;
        expect_word(8, "header type", index, INDEX_MAGIC)?;
        let flags = FeatureFlags::from_bits(flags).map_err(IndexError::Flags)?;
        let sizes = ChunkSizes::new(min, avg, max).map_err(IndexError::Sizes)?;
        expect_word(48, "table size", table_len, TABLE_LEN_UNKNOWN)?;
        expect_word(56, "table type", table, TABLE_MAGIC)?;
        Ok(Self {
            input,
            offset: ITEMS_OFFSET,
            flags,
            sizes,
            last_end: 0,
            number: 0,
            done: false,
        })
    }

    /// The feature flags of the header.
    #[must_use]
    pub fn flags(&self) -> FeatureFlags {
        self.flags
    }

    /// The chunk sizes of the header.
    #[must_use]
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }

    /// The next chunk; `None` after the tail, when the index was whole.
    pub fn next_chunk(&mut self) -> Result<Option<IndexChunk>, IndexError> {
        if self.done {
            return Ok(None);
        }
        let mut item = [0; ITEM];
        fill(&mut self.input, &mut item, self.offset, "table")?;
        let (words, _) = item.as_chunks::<8>();
        let mut words = words.iter().copied().map(u64::from_le_bytes);
        let end = words.next().unwrap_or_default();
        // An item that ends at 0 would be an empty chunk: only the tail begins so.
        if end == 0 && words.next_back() == Some(TAIL_MAGIC) {
            return self.finish(words);
        }
        let start = self.last_end;
        let chunk = self.checked(start, end, &item)?;
        (self.last_end, self.number) = (end, self.number + 1);
        self.offset += ITEM_LEN;
        Ok(Some(chunk))
    }

    fn checked(&self, start: u64, end: u64, item: &[u8; ITEM]) -> Result<IndexChunk, IndexError> {
        let (offset, number, max) = (self.offset, self.number, self.sizes.max());
        if number >= INDEX_CHUNKS {
            return Err(IndexError::TooMany { offset });
        }
        if end <= start {
            return Err(IndexError::NotAscending {
                offset,
                number,
                start,
                end,
            });
        }
        let too_long = IndexError::TooLong {
            offset,
            number,
            len: end - start,
            max,
        };
        let len = u32::try_from(end - start)
            .ok()
            .filter(|len| *len <= max)
            .ok_or(too_long)?;
        let mut id = [0; ChunkId::LEN];
        id.copy_from_slice(&item[8..]);
        Ok(IndexChunk {
            start,
            len,
            id: ChunkId::from_bytes(id),
        })
    }

    /// The tail's middle words, and that nothing follows.
    fn finish(
        &mut self,
        mut words: impl Iterator<Item = u64>,
    ) -> Result<Option<IndexChunk>, IndexError> {
        let table_len = self.offset - ITEMS_OFFSET + TABLE_HEADER_LEN + ITEM_LEN;
        let expected = [
            ("tail filler", 0),
            ("index offset", HEADER_LEN),
            ("table size", table_len),
        ];
        let mut at = self.offset;
        for (what, value) in expected {
            at += 8;
            expect_word(at, what, words.next().unwrap_or_default(), value)?;
        }
        self.offset += ITEM_LEN;
        let offset = self.offset;
        let read = read_some(&mut self.input, &mut [0])
            .map_err(|source| IndexError::Read { offset, source })?;
        if read != 0 {
            return Err(IndexError::Trailing { offset });
        }
        self.done = true;
        Ok(None)
    }
}

fn expect_word(
    offset: u64,
    what: &'static str,
    found: u64,
    expected: u64,
) -> Result<(), IndexError> {
    if found != expected {
        return Err(IndexError::Word {
            offset,
            what,
            found,
            expected,
        });
    }
    Ok(())
}

fn read_words<const N: usize>(
    input: &mut impl Read,
    offset: u64,
    part: &'static str,
) -> Result<[u64; N], IndexError> {
    let mut words = [0; N];
    for (word, at) in words.iter_mut().zip((offset..).step_by(8)) {
        let mut bytes = [0; 8];
        fill(input, &mut bytes, at, part)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}

fn fill(
    input: &mut impl Read,
    buffer: &mut [u8],
    offset: u64,
    part: &'static str,
) -> Result<(), IndexError> {
    input
        .read_exact(buffer)
        .map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => IndexError::Truncated { offset, part },
            _ => IndexError::Read { offset, source },
        })
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
