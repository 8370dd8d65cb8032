//! Why something with an index or a chunk store did not work.

use std::io;
use std::path::PathBuf;

use bundle_format::PayloadError;
use casync::assemble::AssembleError;
use casync::chunk::ChunkId;
use casync::index::{IndexError, IndexWriteError};
use casync::indexer::IndexerError;
use casync::pack::PackError;
use casync::plan::PlanError;
use casync::store::{DirStoreError, StoreError};
use casync::walk::WalkError;

use crate::open::OpenError;
use crate::output::OutputError;

/// Why something with an index or a chunk store did not work.
#[derive(Debug, thiserror::Error)]
pub enum ChunksError {
    /// A file cannot be opened.
    #[error("cannot open {path}", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be brought to the disk.
    #[error("cannot sync {path}", path = path.display())]
    Sync {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bundle is not good.
    #[error(transparent)]
    Bundle(#[from] OpenError),
    /// Its payload is not.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The bundle has not just one image, and none of the given name.
    #[error("name the image with --image: the bundle has {}", names.join(", "))]
    WhichImage {
        /// Files of the images.
        names: Vec<String>,
    },
    /// The image is an index already.
    #[error("{name} is an index already: take it out of the bundle with extract")]
    Chunked {
        /// File of the image.
        name: String,
    },
    /// Not an index.
    #[error("{path} is not a good index", path = path.display())]
    Index {
        /// Which.
        path: PathBuf,
        /// Why.
        source: IndexError,
    },
    /// The image cannot be indexed.
    #[error(transparent)]
    Indexer(#[from] IndexerError),
    /// The index cannot be written.
    #[error("cannot write the index")]
    WriteIndex(#[from] IndexWriteError),
    /// The image cannot be compared with its index.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The image is another one than the index's.
    #[error(
        "{wrong} of {chunks} chunks differ from the index, the first at byte {offset} \
         (the index has {expected}, the image {found})"
    )]
    Differs {
        /// Chunks that differ.
        wrong: usize,
        /// Chunks in all.
        chunks: usize,
        /// Where the first begins in the image.
        offset: u64,
        /// Its id by the index.
        expected: ChunkId,
        /// The id of what is there.
        found: ChunkId,
    },
    /// The store's directory cannot be written.
    #[error(transparent)]
    Store(#[from] DirStoreError),
    /// The store cannot be looked into.
    #[error("cannot look for chunk {id} in {store}")]
    Look {
        /// The chunk.
        id: ChunkId,
        /// The store.
        store: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// No plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The image cannot be put together.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A pack cannot be used.
    #[error("{name} is not a good pack")]
    Pack {
        /// Which.
        name: String,
        /// Why.
        source: PackError,
    },
    /// A pack of another image.
    #[error("{name} is the pack of another image than the index's")]
    OtherPack {
        /// Which.
        name: String,
    },
    /// A pack cannot be made.
    #[error("the pack cannot be made from {store}")]
    MakePack {
        /// The store.
        store: PathBuf,
        /// Why.
        source: PackError,
    },
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Output(#[from] OutputError),
    /// Seeds are cut with the sizes of an index, which these are not.
    #[error("the chunk sizes of the index cannot be used to cut a seed")]
    Sizes(#[from] casync::chunker::RuleError),
}
