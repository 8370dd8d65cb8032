//! `index`: an image to its index, and to its chunks if there is a store for them.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use casync::chunk::{DigestKind, HashedChunk};
use casync::chunker::CutRule;
use casync::index::Index;
use casync::indexer::Indexer;

use super::{ChunksError, CountingChopper, ImageInput, StoreTarget, StoredTotals, Workers};
use crate::observer::Observer;
use crate::output::Output;
use crate::rewrite::Target;

/// What is to be indexed, and how.
pub struct IndexRequest {
    /// The image.
    pub input: ImageInput,
    /// Where it is cut.
    pub rule: CutRule,
    /// What names the chunks.
    pub digest: DigestKind,
    /// Where the chunks go, if anywhere.
    pub store: Option<StoreTarget>,
    /// The index.
    pub output: Target,
    /// How the work is done.
    pub workers: Workers,
}

/// What was made.
#[derive(Debug)]
pub struct Indexed {
    /// The index.
    pub index: Index,
    /// What went into the store; `None` without one.
    pub stored: Option<StoredTotals>,
}

/// Makes the index of an image, and puts its chunks into the store.
///
/// The index appears only when all of its chunks are safely stored.
///
/// # Errors
/// The image cannot be read, or something cannot be written.
pub fn make_index(
    request: &IndexRequest,
    observer: &mut dyn Observer,
) -> Result<Indexed, ChunksError> {
    let output = Output::create(&request.output.path, request.output.overwrite)?
        .is_none_of(&[&request.input.path])?;
    let indexer = Indexer::new(request.rule, request.digest).with_threads(request.workers.threads);
    observer.step(&format!("indexing {}", request.input.path.display()));
    let indexed = request.input.with(|image, _| match &request.store {
        None => Ok(Indexed {
            index: indexer.index(image)?,
            stored: None,
        }),
        Some(target) => {
            let store = target.open(request.workers.nonce);
            let chopper = CountingChopper::new(&store, target.packing);
            let put = |_: u64, chunk: &HashedChunk<&[u8]>| chopper.put(chunk);
            let index = indexer.index_and_visit(image, &put)?;
            store.sync()?;
            let stored = Some(chopper.totals());
            Ok(Indexed { index, stored })
        }
    })?;
    write_index(&indexed.index, output)?;
    Ok(indexed)
}

fn write_index(index: &Index, mut output: Output) -> Result<(), ChunksError> {
    let mut writer = BufWriter::new(output.file());
    index.write_to(&mut writer)?;
    let flushed = writer.flush();
    drop(writer);
    flushed.map_err(|source| output.failed(source))?;
    Ok(output.finish()?)
}

/// Reads an index from a file.
///
/// # Errors
/// The file cannot be opened, or is no whole index.
pub fn read_index(path: &Path) -> Result<Index, ChunksError> {
    let file = File::open(path).map_err(|source| ChunksError::Open {
        path: path.to_owned(),
        source,
    })?;
    Index::read_from(BufReader::new(file)).map_err(|source| ChunksError::Index {
        path: path.to_owned(),
        source,
    })
}
