//! Why an image with an index could not be put together.

use std::io;
use std::path::PathBuf;

use bundle_format::PayloadError;
use bundle_format::block_hash_index::IndexError as BlocksError;
use casync::SizesError;
use casync::assemble::AssembleError;
use casync::chunker::RuleError;
use casync::index::{IndexError, IndexWriteError};
use casync::indexer::IndexerError;
use casync::plan::PlanError;
use casync::store::FetchError;

/// Why an image with an index could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum ChunkedError {
    /// The index cannot be read out of the bundle.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// It is none.
    #[error("the bundle's index is not good")]
    Index(#[from] IndexError),
    /// The same, of blocks.
    #[error("the bundle's index of blocks is not good")]
    Blocks(#[from] BlocksError),
    /// It has chunk sizes that nobody can cut by.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The same.
    #[error(transparent)]
    Sizes(#[from] SizesError),
    /// It has a chunk that no index has.
    #[error(transparent)]
    Chunk(#[from] IndexWriteError),
    /// It is of another image.
    #[error("the index is of an image of {index} bytes, and the manifest promises {manifest}")]
    Size {
        /// By the index.
        index: u64,
        /// By the manifest.
        manifest: u64,
    },
    /// A slot of the running system cannot be read.
    #[error("cannot read {}", device.display())]
    Seed {
        /// Its device.
        device: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What a slot holds cannot be indexed.
    #[error("cannot index what is there")]
    Indexer(#[from] IndexerError),
    /// Indices do not fit each other.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A chunk is nowhere, or cannot be written.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A chunk is nowhere to be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The end of the image cannot be written.
    #[error("cannot write the target")]
    Write(#[source] io::Error),
}

impl ChunkedError {
    /// Whether the index in the bundle is of no use, so that the image has to be had without it.
    pub(in crate::install) fn is_about_index(&self) -> bool {
        matches!(
            self,
            Self::Payload(_)
                | Self::Blocks(_)
                | Self::Sizes(_)
                | Self::Chunk(_)
                | Self::Size { .. }
        )
    }
}
