//! casync natively.

pub mod chunker;
pub mod limits;
mod sizes;

pub use sizes::{ChunkSizes, SizesError};
