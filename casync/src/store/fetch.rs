//! One checked chunk out of several stores.

use std::error::Error;
use std::fmt;

use thiserror::Error as ThisError;

use super::{ChunkStore, StoreError};
use crate::causes::WithCauses;
use crate::chunk::{CheckedChunk, ChunkId, DigestKind, HashedChunk, WrongChunk};
use crate::chunker::widen;
use crate::codec::{DecodeError, Decoder};
use crate::index::IndexChunk;
use crate::limits::packed_len;

/// Asks stores in order until one gives the right bytes.
#[derive(Debug)]
pub struct Fetcher {
    digest: DigestKind,
    decoder: Decoder,
    stored: Vec<u8>,
}

/// Why one store's answer was no use.
#[derive(Debug, ThisError)]
pub enum AttemptError {
    /// It gave nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It gave something that does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It gave another chunk.
    #[error("the store gave other bytes")]
    Wrong(#[from] WrongChunk),
}

/// No store gave the right bytes.
#[derive(Debug)]
pub struct FetchError {
    /// The chunk.
    pub id: ChunkId,
    /// Every store that was asked, in order, and what came of it.
    pub attempts: Vec<(String, AttemptError)>,
}

impl FetchError {
    /// Whether no store has the chunk at all, as opposed to having it damaged or not answering.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        let missing = |e: &AttemptError| matches!(e, AttemptError::Store(StoreError::Missing));
        self.attempts.iter().all(|(_, error)| missing(error))
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no store has chunk {}", self.id)?;
        let mut between = " (";
        for (store, error) in &self.attempts {
            // An error has one source and this one has many: their causes can be told here only.
            write!(f, "{between}{store}: {}", WithCauses(error))?;
            between = "; ";
        }
        if self.attempts.is_empty() {
            Ok(())
        } else {
            f.write_str(")")
        }
    }
}

impl Error for FetchError {}

impl Fetcher {
    /// A fetcher for the chunks of an index with this digest.
    #[must_use]
    pub fn new(digest: DigestKind) -> Self {
        Self {
            digest,
            decoder: Decoder::new(),
            stored: Vec::new(),
        }
    }

    /// The chunk out of the first store that gives its right bytes.
    ///
    /// `buffer` is memory to use again; it comes back in the chunk.
    pub fn fetch(
        &mut self,
        stores: &[&dyn ChunkStore],
        chunk: &IndexChunk,
        mut buffer: Vec<u8>,
    ) -> Result<CheckedChunk<Vec<u8>>, FetchError> {
        let mut attempts = Vec::new();
        for store in stores {
            match self.attempt(*store, chunk, std::mem::take(&mut buffer)) {
                Ok(checked) => return Ok(checked),
                Err(error) => attempts.push((store.name().to_owned(), error)),
            }
        }
        Err(FetchError {
            id: chunk.id,
            attempts,
        })
    }

    fn attempt(
        &mut self,
        store: &dyn ChunkStore,
        chunk: &IndexChunk,
        mut bytes: Vec<u8>,
    ) -> Result<CheckedChunk<Vec<u8>>, AttemptError> {
        let max_len = packed_len(u64::from(chunk.len));
        let form = store.get(&chunk.id, max_len, &mut self.stored)?;
        bytes.resize(widen(chunk.len), 0);
        self.decoder.decode(form, &self.stored, &mut bytes)?;
        Ok(HashedChunk::new(self.digest, bytes).check(&chunk.id)?)
    }
}
