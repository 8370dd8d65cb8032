//! `delta apply`.

use std::path::PathBuf;

use casync::assemble::{Assembled, Ingredients, assemble};
use casync::delta::{Delta, DeltaStore};
use casync::plan::{Plan, Sources};
use casync::store::ChunkStore;

use super::{Cut, DeltaToolError, ImageAndIndex};
use crate::chunks::{ChunksError, Workers, open_image, write_new};
use crate::observer::Observer;
use crate::output::Overwrite;

/// What is to be applied to what.
pub struct ApplyRequest<'a> {
    /// What there is.
    pub from: ImageAndIndex,
    /// How it is cut if it has no index.
    pub cut: Cut,
    /// The delta.
    pub delta: PathBuf,
    /// Where chunks come from that the delta cannot give.
    pub stores: &'a [&'a dyn ChunkStore],
    /// The new image.
    pub output: PathBuf,
    /// What to do if it is there already.
    pub overwrite: Overwrite,
    /// How the work is done.
    pub workers: Workers,
}

/// What was done.
#[derive(Debug)]
pub struct AppliedDelta {
    /// Bytes of the new image.
    pub len: u64,
    /// Digest of its index.
    pub index: casync::delta::IndexDigest,
    /// Where its bytes came from; those of the delta count as fetched.
    pub from: Assembled,
    /// Whether the delta was made with another zstd than this program has.
    pub other_encoder: bool,
}

/// Makes the new image. Every chunk is compared with the index that the delta gives.
///
/// # Errors
/// The delta is for another image; a piece is no use and no store has the chunk.
pub fn apply(
    request: &ApplyRequest<'_>,
    observer: &mut dyn Observer,
) -> Result<AppliedDelta, DeltaToolError> {
    let base = request.from.open(request.cut, request.workers, observer)?;
    let file = open_image(&request.delta)?;
    let delta = Delta::open(&file, &base.index).map_err(|source| DeltaToolError::Delta {
        path: request.delta.clone(),
        source,
    })?;
    let name = request.delta.display().to_string();
    let store = DeltaStore::new(name, &delta, &file, &base.blob);
    let store = store.with_workers(request.workers.threads);
    let mut stores: Vec<&dyn ChunkStore> = vec![&store];
    stores.extend(request.stores);
    let seeds = [&base.index];
    let sources = Sources {
        seeds: &seeds,
        ..Sources::default()
    };
    let plan = Plan::new(delta.index(), &sources).map_err(ChunksError::from)?;
    observer.step(&format!("making {}", request.output.display()));
    let ingredients = Ingredients {
        index: delta.index(),
        seeds: &[&base.blob],
        stores: &stores,
        threads: request.workers.threads,
    };
    let len = delta.index().image_len();
    let from = write_new(&request.output, request.overwrite, len, &mut |target| {
        Ok(assemble(&plan, &ingredients, target)?)
    })?;
    Ok(AppliedDelta {
        len,
        index: delta.digest(),
        from,
        other_encoder: !delta.has_same_encoder(),
    })
}
