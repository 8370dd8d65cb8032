//! Chunks in memory.

use std::collections::BTreeMap;

use super::{ChunkStore, StoreError};
use crate::chunk::ChunkId;
use crate::codec::StoredForm;

/// A store in memory: for tests, and for what a download has brought already.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    name: String,
    chunks: BTreeMap<ChunkId, (StoredForm, Vec<u8>)>,
}

impl MemoryStore {
    /// An empty store that is called `name` in messages.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            chunks: BTreeMap::new(),
        }
    }

    /// Puts a chunk's stored form in, in place of any that is there.
    pub fn put(&mut self, id: ChunkId, form: StoredForm, stored: Vec<u8>) {
        self.chunks.insert(id, (form, stored));
    }

    /// Takes a chunk out.
    pub fn remove(&mut self, id: &ChunkId) {
        self.chunks.remove(id);
    }
}

impl ChunkStore for MemoryStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn get(
        &self,
        id: &ChunkId,
        max_len: u64,
        into: &mut Vec<u8>,
    ) -> Result<StoredForm, StoreError> {
        let (form, stored) = self.chunks.get(id).ok_or(StoreError::Missing)?;
        if u64::try_from(stored.len()).map_or(true, |len| len > max_len) {
            return Err(StoreError::TooLong { max: max_len });
        }
        into.clear();
        into.extend_from_slice(stored);
        Ok(*form)
    }
}
