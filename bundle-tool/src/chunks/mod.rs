//! casync's index and chunk store: made from an image, checked, and put together again.
//!
//! What comes out is what casync itself would write; what casync wrote is read.

mod assemble;
mod chop;
mod error;
mod index;
mod input;
mod pack;
mod stats;

pub use assemble::{AssembleRequest, AssembledImage, Place, assemble, write_new};
pub use chop::{Chop, ChopRequest, chop, verify_index};
pub use error::ChunksError;
pub use index::{IndexRequest, Indexed, make_index, read_index};
pub use input::{BundleInput, ImageInput, open_image};
pub use pack::make_pack;
pub use stats::{PackFetch, Stats, StatsRequest, stats};

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use casync::chunk::HashedChunk;
use casync::codec::Packing;
use casync::store::{Chopped, Chopper, DirStore, Durability};

/// How the work is done: what the process brings with it.
#[derive(Debug, Clone, Copy)]
pub struct Workers {
    /// Threads that hash and compress.
    pub threads: NonZeroUsize,
    /// Tells the temporary files of this process from another's.
    pub nonce: u64,
}

/// A directory that chunks go to.
#[derive(Debug, Clone)]
pub struct StoreTarget {
    /// The directory; created if it is missing.
    pub directory: PathBuf,
    /// How the chunks are compressed.
    pub packing: Packing,
    /// When it has to be on the disk.
    pub durability: Durability,
}

/// What went into a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoredTotals {
    /// Chunks that were put.
    pub chunks: u64,
    /// Their bytes, compressed.
    pub bytes: u64,
    /// Chunks that were there already.
    pub present: u64,
}

impl StoreTarget {
    fn open(&self, nonce: u64) -> DirStore {
        DirStore::new(&self.directory, nonce, self.durability)
    }
}

/// Puts chunks from several threads and counts them.
struct CountingChopper<'a> {
    chopper: Chopper<'a>,
    chunks: AtomicU64,
    bytes: AtomicU64,
    present: AtomicU64,
}

impl<'a> CountingChopper<'a> {
    fn new(store: &'a DirStore, packing: Packing) -> Self {
        Self {
            chopper: Chopper::new(store, packing),
            chunks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            present: AtomicU64::new(0),
        }
    }

    fn put<B: AsRef<[u8]>>(&self, chunk: &HashedChunk<B>) -> std::io::Result<()> {
        match self.chopper.put(chunk).map_err(std::io::Error::other)? {
            Chopped::Present => {
                self.present.fetch_add(1, Ordering::Relaxed);
            }
            Chopped::Put(len) => {
                self.chunks.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(len as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn totals(&self) -> StoredTotals {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoredTotals {
            chunks: value(&self.chunks),
            bytes: value(&self.bytes),
            present: value(&self.present),
        }
    }
}
