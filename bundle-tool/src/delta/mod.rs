//! Deltas between two images: made, applied, and compared with other ways to update.

mod apply;
mod compare;
mod create;

pub use apply::{AppliedDelta, ApplyRequest, apply};
pub use compare::{Comparison, Way, compare};
pub use create::{CreatedDelta, DeltaRequest, create};

use std::path::PathBuf;

use casync::chunk::DigestKind;
use casync::chunker::CutRule;
use casync::delta::{BuildError, DeltaError};
use casync::index::Index;
use casync::indexer::Indexer;
use casync::{Blob, FileBlob};

use crate::chunks::{ChunksError, Workers, open_image, read_index};
use crate::observer::Observer;
use crate::output::OutputError;

/// Why a delta was not made or applied.
#[derive(Debug, thiserror::Error)]
pub enum DeltaToolError {
    /// Something with the images or their indices.
    #[error(transparent)]
    Chunks(#[from] ChunksError),
    /// The delta cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The delta cannot be used.
    #[error("{path} cannot be applied", path = path.display())]
    Delta {
        /// Which.
        path: PathBuf,
        /// Why.
        source: DeltaError,
    },
    /// An image cannot be read while it is compared.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Output(#[from] OutputError),
}

/// How images are cut whose index is not given.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Where.
    pub rule: CutRule,
    /// What names the chunks.
    pub digest: DigestKind,
}

/// An image, and its index if there is one already.
#[derive(Debug, Clone)]
pub struct ImageAndIndex {
    /// The image: a file or a device.
    pub image: PathBuf,
    /// Its index; made if missing.
    pub index: Option<PathBuf>,
}

/// Both, opened.
struct Opened {
    blob: FileBlob,
    index: Index,
}

impl ImageAndIndex {
    fn open(
        &self,
        cut: Cut,
        workers: Workers,
        observer: &mut dyn Observer,
    ) -> Result<Opened, ChunksError> {
        let blob = open_image(&self.image)?;
        let index = match &self.index {
            Some(path) => read_index(path)?,
            None => {
                observer.step(&format!("indexing {}", self.image.display()));
                let indexer = Indexer::new(cut.rule, cut.digest).with_threads(workers.threads);
                indexer.index(&blob)?
            }
        };
        if index.image_len() > blob.len() {
            let (image, index) = (blob.len(), index.image_len());
            return Err(casync::walk::WalkError::Length { image, index }.into());
        }
        Ok(Opened { blob, index })
    }
}
