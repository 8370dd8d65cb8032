//! casync natively.

pub mod chunk;
pub mod chunker;
pub mod codec;
pub mod index;
pub mod limits;
mod sizes;

pub use sizes::{ChunkSizes, SizesError};
