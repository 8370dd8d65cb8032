//! Where chunks come from. A store is not trusted: what it gives is decoded within bounds and
//! compared with the id before anything is made of it.

mod chop;
mod directory;
mod fetch;
mod memory;
mod recent;

pub use chop::{ChopError, Chopped, Chopper};
pub use directory::{DirStore, DirStoreError, Durability};
pub use fetch::{AttemptError, FetchError, Fetcher};
pub use memory::MemoryStore;
pub(crate) use recent::Recent;

use std::error::Error;

use thiserror::Error as ThisError;

use crate::chunk::ChunkId;
use crate::codec::StoredForm;

/// A source of chunks by id.
///
/// Several threads may ask at once. A store gives the stored form; [`Fetcher`] does the rest.
pub trait ChunkStore: Send + Sync {
    /// What the store is called in messages: its path or its address, without credentials.
    fn name(&self) -> &str;

    /// Replaces `into` by the chunk's stored form, and says what form that is.
    ///
    /// `max_len` bounds the stored bytes: a store must stop there and say [`StoreError::TooLong`],
    /// without having taken memory for more.
    fn get(&self, id: &ChunkId, max_len: u64, into: &mut Vec<u8>)
    -> Result<StoredForm, StoreError>;
}

/// Why a store gave no chunk. The store's name and the chunk's id are the caller's to add.
#[derive(Debug, ThisError)]
pub enum StoreError {
    /// The store does not have it; another may.
    #[error("the chunk is not in the store")]
    Missing,
    /// What is stored is longer than any form of the chunk can be.
    #[error("the stored chunk has more than {max} bytes")]
    TooLong {
        /// The bound that was given.
        max: u64,
    },
    /// The store could not be asked, or its answer not be read.
    #[error("the store cannot be read")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
}

#[cfg(test)]
mod tests;
