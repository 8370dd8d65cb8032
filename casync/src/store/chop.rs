//! Packs the chunks of an image into a directory store, from several threads.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::{ChunkStore, DirStore, DirStoreError};
use crate::chunk::{ChunkId, HashedChunk};
use crate::codec::{Decoder, EncodeError, Encoder, Packing, StoredForm};
use crate::limits::packed_len;

/// Puts chunks into a store that does not have them yet.
#[derive(Debug)]
pub struct Chopper<'a> {
    store: &'a DirStore,
    packing: Packing,
    /// What was put or found here before: a chunk may be in an image many times.
    seen: Mutex<HashSet<ChunkId>>,
    /// What no thread uses at the moment; as many as there are threads in the end.
    idle: Mutex<Vec<Tools>>,
}

/// What one thread works with, used again.
#[derive(Debug)]
struct Tools {
    encoder: Encoder,
    decoder: Decoder,
    stored: Vec<u8>,
    plain: Vec<u8>,
}

/// A chunk could not be put.
#[derive(Debug, Error)]
pub enum ChopError {
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
    /// The store has it already, and gives its bytes.
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
            seen: Mutex::default(),
            idle: Mutex::default(),
        }
    }

    /// Puts one chunk, if the store does not have it. A file that is not this chunk, under its name,
    /// is replaced: a power cut leaves such files.
    pub fn put<B: AsRef<[u8]>>(&self, chunk: &HashedChunk<B>) -> Result<Chopped, ChopError> {
        if !lock(&self.seen).insert(chunk.id()) {
            return Ok(Chopped::Present);
        }
        let idle = lock(&self.idle).pop();
        let mut tools = match idle {
            Some(tools) => tools,
            None => Tools::new(self.packing)?,
        };
        let chopped = if tools.find(self.store, chunk) {
            Chopped::Present
        } else {
            tools.encoder.encode(chunk.bytes(), &mut tools.stored)?;
            self.store
                .put(&chunk.id(), StoredForm::Packed, &tools.stored)?;
            Chopped::Put(tools.stored.len())
        };
        lock(&self.idle).push(tools);
        Ok(chopped)
    }
}

impl Tools {
    fn new(packing: Packing) -> Result<Self, EncodeError> {
        Ok(Self {
            encoder: Encoder::new(packing)?,
            decoder: Decoder::new(),
            stored: Vec::new(),
            plain: Vec::new(),
        })
    }

    /// Whether the store gives these very bytes. Why it does not makes no difference: what is put
    /// will say what is wrong with the store.
    fn find<B: AsRef<[u8]>>(&mut self, store: &DirStore, chunk: &HashedChunk<B>) -> bool {
        let bytes = chunk.bytes();
        let max_len = packed_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let Ok(form) = store.get(&chunk.id(), max_len, &mut self.stored) else {
            return false;
        };
        self.plain.resize(bytes.len(), 0);
        let decoded = self.decoder.decode(form, &self.stored, &mut self.plain);
        decoded.is_ok() && self.plain == bytes
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
