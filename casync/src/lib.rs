//! casync natively.

mod blob;
pub mod chunk;
pub mod chunker;
pub mod codec;
pub mod index;
pub mod indexer;
pub mod limits;
mod sizes;
pub mod store;

pub use blob::{Blob, BlobMut, FileBlob};
pub use sizes::{ChunkSizes, SizesError};
