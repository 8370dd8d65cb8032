//! `chop` and `verify-index`: an image beside an index that exists already.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use casync::chunk::{HashedChunk, WrongChunk};
use casync::index::{Index, IndexChunk};
use casync::walk::{Compared, walk};

use super::{
    ChunksError, CountingChopper, ImageInput, StoreTarget, StoredTotals, Workers, read_index,
};
use crate::observer::Observer;

/// An image and its index.
pub struct ChopRequest {
    /// The index.
    pub index: PathBuf,
    /// The image.
    pub input: ImageInput,
    /// How the work is done.
    pub workers: Workers,
}

/// What was done.
#[derive(Debug)]
pub struct Chop {
    /// The index.
    pub index: Index,
    /// What went into the store.
    pub stored: StoredTotals,
}

/// Puts the chunks of an image into a store, by an index that exists already.
///
/// Chunks that differ from the index are not stored, and are an error once all others are.
///
/// # Errors
/// Something cannot be read or written, or the image is not that of the index.
pub fn chop(
    request: &ChopRequest,
    target: &StoreTarget,
    observer: &mut dyn Observer,
) -> Result<Chop, ChunksError> {
    let store = target.open(request.workers.nonce);
    let chopper = CountingChopper::new(&store, target.packing);
    let index = compare(request, observer, &|chunk| chopper.put(&chunk))?;
    store.sync()?;
    let stored = chopper.totals();
    Ok(Chop { index, stored })
}

/// Compares every chunk of an image with its index.
///
/// # Errors
/// Something cannot be read, or the image is not that of the index.
pub fn verify_index(
    request: &ChopRequest,
    observer: &mut dyn Observer,
) -> Result<Index, ChunksError> {
    compare(request, observer, &|_| Ok(()))
}

/// Chunks that differ: how many, and the first.
#[derive(Default)]
struct Wrong {
    count: usize,
    first: Option<(u64, WrongChunk)>,
}

fn compare(
    request: &ChopRequest,
    observer: &mut dyn Observer,
    take: &(dyn Fn(HashedChunk<Vec<u8>>) -> io::Result<()> + Sync),
) -> Result<Index, ChunksError> {
    let index = read_index(&request.index)?;
    observer.step(&format!("comparing {}", request.input.path.display()));
    let wrong = Mutex::new(Wrong::default());
    let visit = |chunk: &IndexChunk, compared: Compared| match compared {
        Ok(checked) => take(checked.into()),
        Err(difference) => {
            let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
            wrong.count += 1;
            if wrong.first.is_none_or(|(offset, _)| chunk.start < offset) {
                wrong.first = Some((chunk.start, difference));
            }
            Ok(())
        }
    };
    let threads = request.workers.threads;
    request
        .input
        .with(|image, tail| Ok(walk(&index, image, tail, threads, &visit)?))?;
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    match wrong.first {
        None => Ok(index),
        Some((offset, WrongChunk { expected, found })) => Err(ChunksError::Differs {
            wrong: wrong.count,
            chunks: index.len(),
            offset,
            expected,
            found,
        }),
    }
}
