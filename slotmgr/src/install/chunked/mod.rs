//! Images that come as chunks: casync's indices, and images whose blocks have digests.
//!
//! An image is put together of what this machine has (the running system's slot, what the target
//! held before, at any offset) and of what it has not, which is fetched: by a delta, out of a pack, or
//! chunk by chunk. Every chunk is compared with the signed index before it is written. What an
//! earlier run has written is found by hashing the target, like everything else in it.

mod bundled;
mod error;
mod seeds;
mod sidecars;
mod stream;
mod supply;
mod target;

pub use error::ChunkedError;
pub(super) use stream::Chunks;
pub use supply::Supply;

use std::io::BufReader;
use std::num::NonZeroUsize;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bundle_format::block_hash_index::{self, BlockHashIndex};
use bundle_format::{ReadAt, VerifiedBundle};
use casync::Blob;
use casync::assemble::{Assembled, Ingredients, assemble};
use casync::index::{Index, IndexChunk};
use casync::plan::{Plan, Sources};
use casync::store::ChunkStore;

use super::plan::Form;
use super::{Site, Step};
use crate::source::portion;
use crate::storage::Storage;
use bundled::BundledBlocks;
use seeds::{Head, Known, Seed};
use sidecars::Sidecars;
use target::SlotBlob;

/// Old content of the target that may be held in memory while chunks change places.
const STASH: u64 = 4 << 20;

/// Threads that read seeds and ask stores: they wait more than they work. What they hold is lost if the process
/// is killed, and more of them would lose more than a hundredth of a small image.
const THREADS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// How often it is told how far an image is.
const TELL: Duration = Duration::from_millis(50);

/// Where an image with an index comes from, and into what machine it goes.
pub(super) struct Assembly<'a, R> {
    pub(super) bundle: &'a VerifiedBundle<R>,
    pub(super) site: &'a Site<'a>,
    pub(super) step: &'a Step,
}

/// What is had, what is missing, and how it is come by.
struct Prepared {
    index: Index,
    seeds: Vec<Seed>,
    plan: Plan,
}

/// What is done with the stores, best first, and by how many threads.
type Work<'w> = dyn FnMut(&[&dyn ChunkStore], NonZeroUsize) -> Result<Assembled, ChunkedError> + 'w;

/// What an image would cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes to fetch, as far as that is known before: chunks of a store without a pack count as
    /// they are in the image.
    pub fetch: u64,
    /// Bytes to write.
    pub write: u64,
    /// Processor time, of all cores together, to compress blocks again.
    pub processor: Duration,
}

impl<R: ReadAt> Assembly<'_, R> {
    /// Puts the image together in `storage`.
    pub(super) fn write(
        &self,
        storage: &mut dyn Storage,
        tell: &mut dyn FnMut(u64),
    ) -> Result<(), ChunkedError> {
        let stop = &self.site.policy.stop;
        let done = AtomicU64::new(0);
        let together = portion(self.step.size);
        let mut target = SlotBlob::new(storage, (stop, &done), together);
        let prepared = self.prepare(&target)?;
        let keep = prepared.plan.totals().keep;
        let assembled = self.with_stores(&prepared, &mut |stores, threads| {
            let seeds: Vec<&dyn Blob> = prepared.seeds.iter().map(|s| &s.blob as _).collect();
            let ingredients = Ingredients {
                index: &prepared.index,
                seeds: &seeds,
                stores,
                threads,
            };
            let work = || assemble(&prepared.plan, &ingredients, &mut target);
            Ok(while_telling(work, &mut || {
                tell(keep + done.load(Ordering::Relaxed));
            })?)
        })?;
        let written = target.finish().map_err(ChunkedError::Write)?;
        if let Some(known) = Known::to_be(self.site, self.step) {
            seeds::keep(&known, &prepared.index);
        }
        self.report(&assembled, written);
        Ok(())
    }

    /// What it would take, without writing anything.
    pub(super) fn cost(&self, storage: &mut dyn Storage) -> Result<Cost, ChunkedError> {
        let done = AtomicU64::new(0);
        let stop = &self.site.policy.stop;
        let target = SlotBlob::new(storage, (stop, &done), portion(self.step.size));
        let prepared = self.prepare(&target)?;
        let totals = prepared.plan.totals();
        let (fetch, processor) = match self.step.form {
            Form::Chunks => Sidecars::choose(self.site, &prepared).cost(&prepared),
            _ => (totals.fetch, Duration::ZERO),
        };
        Ok(Cost {
            fetch,
            write: totals.written(),
            processor,
        })
    }

    fn prepare(&self, target: &dyn Blob) -> Result<Prepared, ChunkedError> {
        let index = index(self.bundle, self.step)?;
        let seeds = seeds::find(self.site, self.step, &index);
        let old = seeds::index_of(&Head::new(target, index.image_len()), &index)?;
        let indices: Vec<&Index> = seeds.iter().map(|seed| &seed.index).collect();
        let sources = Sources {
            seeds: &indices,
            target: Some(&old),
            stash: STASH,
        };
        let plan = Plan::new(&index, &sources)?;
        Ok(Prepared { index, seeds, plan })
    }

    /// Calls `work` with the stores that have what is missing, best first.
    fn with_stores(
        &self,
        prepared: &Prepared,
        work: &mut Work<'_>,
    ) -> Result<Assembled, ChunkedError> {
        if self.step.form == Form::Blocks {
            let content = self.bundle.image(&self.step.filename)?;
            let blocks = BundledBlocks::new(content, &prepared.index, prepared.plan.fetches());
            tracing::info!(
                "{} bytes of {} are fetched",
                blocks.wanted(),
                self.step.label()
            );
            // One thread: blocks are read in the order of the bundle.
            return work(&[&blocks], NonZeroUsize::MIN);
        }
        let sidecars = Sidecars::choose(self.site, prepared);
        sidecars.expect(prepared);
        let (pack, delta) = (
            sidecars.pack_store(prepared),
            sidecars.delta_store(prepared),
        );
        let plain = self.site.policy.supply.stores();
        let mut stores: Vec<&dyn ChunkStore> = Vec::new();
        stores.extend(delta.iter().map(|store| store as &dyn ChunkStore));
        stores.extend(pack.iter().map(|store| store as &dyn ChunkStore));
        stores.extend(plain.iter().map(|store| &**store));
        work(&stores, THREADS)
    }

    fn report(&self, assembled: &Assembled, written: u64) {
        tracing::info!(
            "{}: {} bytes were in place, {} copied, {} fetched; {written} written",
            self.step.label(),
            assembled.kept,
            assembled.copied,
            assembled.fetched,
        );
        if assembled.fell_through > 0 {
            tracing::warn!(
                "{} chunks of this machine's slots were not what was expected, and were fetched",
                assembled.fell_through
            );
        }
    }
}

/// The index of an image, out of the bundle.
pub(super) fn index<R: ReadAt>(
    bundle: &VerifiedBundle<R>,
    step: &Step,
) -> Result<Index, ChunkedError> {
    let index = match step.form {
        Form::Blocks => {
            let name = block_hash_index::file_name(&step.filename);
            let file = bundle.image(&name)?;
            let len = file.size();
            file.expect(slice::from_ref(&(0..len)));
            seeds::blocks(&BlockHashIndex::read(file, len, step.size)?)?
        }
        _ => {
            let file = bundle.image(&step.filename)?;
            file.expect(slice::from_ref(&(0..file.size())));
            Index::read_from(BufReader::new(file))?
        }
    };
    if step.is_promised() && index.image_len() != step.size {
        return Err(ChunkedError::Size {
            index: index.image_len(),
            manifest: step.size,
        });
    }
    Ok(index)
}

/// Does `work` on another thread, and calls `tell` again and again meanwhile.
fn while_telling<T: Send>(work: impl FnOnce() -> T + Send, tell: &mut dyn FnMut()) -> T {
    thread::scope(|scope| {
        let (sender, done) = std::sync::mpsc::sync_channel::<()>(1);
        let worker = scope.spawn(move || {
            let _sender = sender;
            work()
        });
        // The other end is closed when the work is over, whichever way that is.
        while done.recv_timeout(TELL) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tell();
        }
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn wanted(prepared: &Prepared) -> impl Iterator<Item = &IndexChunk> {
    let chunks = prepared.index.chunks();
    let runs = prepared.plan.fetches();
    runs.flat_map(move |run| chunks.get(run).unwrap_or_default())
}
