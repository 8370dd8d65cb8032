//! Packs the chunks of an image into a directory store, from several threads.

use std::sync::{Mutex, PoisonError};

use thiserror::Error;

use super::{DirStore, DirStoreError, StoreError};
use crate::chunk::HashedChunk;
use crate::codec::{EncodeError, Encoder, Packing, StoredForm};

/// Puts chunks into a store that does not have them yet.
#[derive(Debug)]
pub struct Chopper<'a> {
    store: &'a DirStore,
    packing: Packing,
    /// Compressors that no thread uses at the moment; as many as there are threads in the end.
    idle: Mutex<Vec<(Encoder, Vec<u8>)>>,
}

/// A chunk could not be put.
#[derive(Debug, Error)]
pub enum ChopError {
    /// The store could not be asked for it.
    #[error("cannot see whether the store has a chunk")]
    Look(#[source] StoreError),
    /// It could not be packed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It could not be written.
    #[error(transparent)]
    Put(#[from] DirStoreError),
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chopped {
    /// The store has it already.
    Present,
    /// It was packed and put, with this many stored bytes.
    Put(usize),
}

impl<'a> Chopper<'a> {
    /// Puts into `store`, packed so.
    #[must_use]
    pub fn new(store: &'a DirStore, packing: Packing) -> Self {
        Self {
            store,
            packing,
            idle: Mutex::default(),
        }
    }

    /// Puts one chunk, if the store does not have it.
    pub fn put<B: AsRef<[u8]>>(&self, chunk: &HashedChunk<B>) -> Result<Chopped, ChopError> {
        if self.store.has(&chunk.id()).map_err(ChopError::Look)? {
            return Ok(Chopped::Present);
        }
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let (mut encoder, mut packed) = match idle {
            Some(idle) => idle,
            None => (Encoder::new(self.packing)?, Vec::new()),
        };
        encoder.encode(chunk.bytes(), &mut packed)?;
        self.store.put(&chunk.id(), StoredForm::Packed, &packed)?;
        let len = packed.len();
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((encoder, packed));
        Ok(Chopped::Put(len))
    }
}
