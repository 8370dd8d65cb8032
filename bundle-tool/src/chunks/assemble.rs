//! `assemble`: an image out of its index, stores and seeds.

use std::fs::File;
use std::path::{Path, PathBuf};

use casync::assemble::{Assembled, Ingredients, assemble as carry_out};
use casync::chunker::CutRule;
use casync::delta::IndexDigest;
use casync::index::Index;
use casync::indexer::Indexer;
use casync::pack::{Pack, PackStore, RunRule};
use casync::plan::{Plan, Sources};
use casync::store::ChunkStore;
use casync::{Blob, BlobMut, FileBlob, OnlyChanges};

use super::input::open_image;
use super::{ChunksError, Workers, read_index};
use crate::observer::Observer;
use crate::output::{Output, Overwrite};

/// Old content of the target that may be held in memory while chunks change places.
const STASH: u64 = 64 * 1024 * 1024;

/// What is to be put together, and from what.
pub struct AssembleRequest<'a> {
    /// The index.
    pub index: PathBuf,
    /// Packs of this image, asked before the stores; each with its name for messages.
    pub packs: &'a [(String, &'a dyn Blob)],
    /// Where chunks come from, best first.
    pub stores: &'a [&'a dyn ChunkStore],
    /// Images or devices that have some of the chunks already.
    pub seeds: Vec<PathBuf>,
    /// The image.
    pub output: PathBuf,
    /// How it is written.
    pub place: Place,
    /// How the work is done.
    pub workers: Workers,
}

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Into a new file, which appears when it is whole.
    New(Overwrite),
    /// Over what is there, whose chunks are used at any offset. An interrupted run goes on from what
    /// it has written.
    InPlace,
}

/// What was done.
#[derive(Debug)]
pub struct AssembledImage {
    /// Length of the image.
    pub len: u64,
    /// Where its bytes came from.
    pub from: Assembled,
}

/// Puts an image together. Every chunk is compared with the index before it is written.
///
/// # Errors
/// Something cannot be read or written, or a chunk is nowhere to be had.
pub fn assemble(
    request: &AssembleRequest<'_>,
    observer: &mut dyn Observer,
) -> Result<AssembledImage, ChunksError> {
    let index = read_index(&request.index)?;
    let seeds = Seeds::open(request, &index, observer)?;
    let len = index.image_len();
    let work = Work {
        request,
        index: &index,
        seeds: &seeds,
    };
    let from = match request.place {
        Place::New(overwrite) => write_new(&request.output, overwrite, len, &mut |target| {
            work.write(None, target, observer)
        })?,
        Place::InPlace => in_place(&work, observer)?,
    };
    Ok(AssembledImage { len, from })
}

/// Calls `fill` with a file of `len` bytes that becomes `path` when it is done.
///
/// # Errors
/// The file cannot be created, or what `fill` returns.
pub fn write_new(
    path: &Path,
    overwrite: Overwrite,
    len: u64,
    fill: &mut dyn FnMut(&mut dyn BlobMut) -> Result<Assembled, ChunksError>,
) -> Result<Assembled, ChunksError> {
    let mut output = Output::create(path, overwrite)?;
    output.truncate(len)?;
    let blob = output.file().try_clone().and_then(FileBlob::new);
    let mut blob = blob.map_err(|source| output.failed(source))?;
    let done = fill(&mut blob)?;
    output.finish()?;
    Ok(done)
}

fn in_place(work: &Work<'_>, observer: &mut dyn Observer) -> Result<Assembled, ChunksError> {
    let path = &work.request.output;
    let failed = |source| ChunksError::Open {
        path: path.clone(),
        source,
    };
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(failed)?;
    let is_file = file.metadata().map_err(failed)?.is_file();
    let wanted = work.index.image_len();
    let mut blob = FileBlob::new(file).map_err(failed)?;
    let old = index_of(&blob, path, work.index, work.request.workers, observer)?;
    // A file is made long enough first; it is cut only when everything was taken out of its end.
    if is_file && blob.len() < wanted {
        let file = blob.file().try_clone().map_err(failed)?;
        file.set_len(wanted).map_err(failed)?;
        blob = FileBlob::new(file).map_err(failed)?;
    }
    let mut changes = OnlyChanges::to(blob);
    let done = work.write(Some(&old), &mut changes, observer)?;
    let blob = changes.into_inner();
    if is_file {
        blob.file().set_len(wanted).map_err(failed)?;
    }
    blob.file().sync_all().map_err(|source| ChunksError::Sync {
        path: path.clone(),
        source,
    })?;
    Ok(done)
}

struct Work<'a> {
    request: &'a AssembleRequest<'a>,
    index: &'a Index,
    seeds: &'a Seeds,
}

impl Work<'_> {
    fn write(
        &self,
        old: Option<&Index>,
        target: &mut dyn BlobMut,
        observer: &mut dyn Observer,
    ) -> Result<Assembled, ChunksError> {
        let indices: Vec<&Index> = self.seeds.0.iter().map(|(_, index)| index).collect();
        let blobs: Vec<&dyn Blob> = self.seeds.0.iter().map(|(b, _)| b as &dyn Blob).collect();
        let sources = Sources {
            seeds: &indices,
            target: old,
            stash: STASH,
        };
        let plan = Plan::new(self.index, &sources)?;
        observer.step(&format!("assembling {}", self.request.output.display()));
        let packs = self.packs()?;
        let packs = self.pack_stores(&packs, &plan);
        let mut stores: Vec<&dyn ChunkStore> = packs.iter().map(|p| p as _).collect();
        stores.extend(self.request.stores);
        let ingredients = Ingredients {
            index: self.index,
            seeds: &blobs,
            stores: &stores,
            threads: self.request.workers.threads,
        };
        Ok(carry_out(&plan, &ingredients, target)?)
    }

    /// Reads the heads of the packs; each has to be of this image.
    fn packs(&self) -> Result<Vec<Pack>, ChunksError> {
        let wanted = IndexDigest::of(self.index)?;
        let open = |(name, file): &(String, &dyn Blob)| {
            let pack = Pack::open(*file).map_err(|source| ChunksError::Pack {
                name: name.clone(),
                source,
            })?;
            if pack.digest() != wanted {
                return Err(ChunksError::OtherPack { name: name.clone() });
            }
            Ok(pack)
        };
        self.request.packs.iter().map(open).collect()
    }

    fn pack_stores<'a>(&'a self, packs: &'a [Pack], plan: &Plan) -> Vec<PackStore<'a>> {
        let wanted = || {
            let numbers = plan.fetches().flatten();
            numbers.filter_map(|number| self.index.get(number).map(|chunk| chunk.id))
        };
        let files = self.request.packs.iter().zip(packs);
        let store = |((name, file), pack): (&'a (String, &dyn Blob), &'a Pack)| {
            PackStore::new(name, (pack, *file), wanted(), &RunRule::default())
        };
        files.map(store).collect()
    }
}

/// The seeds, each with an index that was made just now.
struct Seeds(Vec<(FileBlob, Index)>);

impl Seeds {
    fn open(
        request: &AssembleRequest<'_>,
        new: &Index,
        observer: &mut dyn Observer,
    ) -> Result<Self, ChunksError> {
        let mut seeds = Vec::new();
        for path in &request.seeds {
            let blob = open_image(path)?;
            let index = index_of(&blob, path, new, request.workers, observer)?;
            seeds.push((blob, index));
        }
        Ok(Self(seeds))
    }
}

/// The index of a seed, cut as the new image is.
fn index_of(
    blob: &FileBlob,
    path: &Path,
    new: &Index,
    workers: Workers,
    observer: &mut dyn Observer,
) -> Result<Index, ChunksError> {
    observer.step(&format!("indexing {}", path.display()));
    let rule = CutRule::new(new.sizes())?;
    let indexer = Indexer::new(rule, new.digest()).with_threads(workers.threads);
    Ok(indexer.index(blob)?)
}
