//! What lies beside the chunks of an image, and how much of it is used.
//!
//! A pack has the same bytes as the chunks, in few large requests. A delta from what runs here has
//! fewer, and takes processor time where it has blocks to be compressed again: of these, as many are
//! made as the configured time is enough for, by what a sample takes on this machine. The rest comes as
//! chunks. What is cheaper in bytes is used.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use casync::Blob as _;
use casync::chunk::ChunkId;
use casync::delta::{Affordable, Delta, DeltaStore, IndexDigest, Pace};
use casync::index::IndexChunk;
use casync::pack::{Pack, PackStore, RunRule};
use nix::time::{ClockId, clock_gettime};

use super::supply::Sidecar;
use super::{Prepared, wanted};
use crate::install::{Policy, Site};
use crate::source::portion;

/// A pack of the chunks, and a delta from what runs here.
#[derive(Default)]
pub(super) struct Sidecars {
    pack: Option<(String, Sidecar, Pack)>,
    delta: Option<Applied>,
}

/// A delta, and what of it is used.
struct Applied {
    name: String,
    file: Sidecar,
    delta: Delta,
    /// The number of the seed that it is for.
    seed: usize,
    part: Affordable,
}

impl Applied {
    fn bytes(&self) -> u64 {
        let ranges = self.delta.data_for(&self.part.chunks);
        ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Says so if not all of it is used.
    fn tell(&self, limit: Duration) {
        let (name, part) = (&self.name, &self.part);
        if part.time < part.whole {
            tracing::info!(
                "{name} would take {} s of processor time here, and {} s are allowed \
                 (delta-cpu-seconds): the rest comes as chunks",
                part.whole.as_secs(),
                limit.as_secs(),
            );
        }
    }
}

impl Sidecars {
    /// Opens what there is. A delta is taken if it is cheaper than the chunks are.
    pub(super) fn choose(site: &Site<'_>, prepared: &Prepared) -> Sidecars {
        let mut sidecars = Sidecars::default();
        if prepared.plan.totals().fetch == 0 {
            return sidecars;
        }
        let Ok(new) = IndexDigest::of(&prepared.index) else {
            return sidecars;
        };
        let (supply, stop) = (&site.policy.supply, &site.policy.stop);
        let name = format!("{new}.pack");
        sidecars.pack = supply.sidecar(&name, stop).and_then(|file| {
            let pack = used(&name, Pack::open_for(&file, &prepared.index))?;
            Some((name, file, pack))
        });
        let chunks = sidecars.packed(wanted(prepared));
        sidecars.delta = delta(site.policy, prepared, new);
        let with_delta = sidecars
            .delta
            .as_ref()
            .map(Applied::bytes)
            .zip(sidecars.packed(sidecars.left(prepared)));
        let is_dearer = with_delta
            .zip(chunks)
            .is_some_and(|((delta, rest), all)| delta + rest >= all);
        if is_dearer {
            sidecars.delta = None;
        }
        if let Some(delta) = &sidecars.delta {
            delta.tell(site.policy.delta_cpu);
        }
        sidecars
    }

    /// Begins to fetch what will be read.
    pub(super) fn expect(&self, prepared: &Prepared) {
        if let Some(applied) = &self.delta {
            applied
                .file
                .expect(&applied.delta.data_for(&applied.part.chunks));
        }
        if let Some((_, file, _)) = &self.pack {
            let store = self.pack_store(prepared);
            file.expect(store.as_ref().map_or(&[], PackStore::runs));
        }
    }

    /// Bytes that are fetched, and processor time that it takes besides.
    pub(super) fn cost(&self, prepared: &Prepared) -> (u64, Duration) {
        let (delta, time) = self.delta.as_ref().map_or((0, Duration::ZERO), |applied| {
            let head = applied.delta.directory_len();
            (head + applied.bytes(), applied.part.time)
        });
        let in_image = || self.left(prepared).map(|chunk| u64::from(chunk.len)).sum();
        let head = self
            .pack
            .as_ref()
            .map_or(0, |(_, _, pack)| pack.table_len());
        let rest = self.packed(self.left(prepared)).map(|bytes| head + bytes);
        (delta + rest.unwrap_or_else(in_image), time)
    }

    /// The pack, for what the delta does not give.
    pub(super) fn pack_store(&self, prepared: &Prepared) -> Option<PackStore<'_>> {
        self.store(self.left(prepared))
    }

    pub(super) fn delta_store<'a>(&'a self, prepared: &'a Prepared) -> Option<DeltaStore<'a>> {
        let applied = self.delta.as_ref()?;
        let base = &prepared.seeds.get(applied.seed)?.blob;
        let store = DeltaStore::new(&applied.name, &applied.delta, &applied.file, base);
        let workers = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Some(store.with_workers(workers).only(&applied.part.chunks))
    }

    /// What has to be fetched and the delta is not used for.
    fn left<'a>(&'a self, prepared: &'a Prepared) -> impl Iterator<Item = &'a IndexChunk> {
        let given = self.delta.iter().flat_map(|applied| &applied.part.chunks);
        let given: BTreeSet<ChunkId> = given.map(|chunk| chunk.id).collect();
        wanted(prepared).filter(move |chunk| !given.contains(&chunk.id))
    }

    /// Bytes of the pack that it takes to get these.
    fn packed<'a>(&self, chunks: impl Iterator<Item = &'a IndexChunk>) -> Option<u64> {
        self.store(chunks).map(|store| store.bytes())
    }

    fn store<'a>(&self, chunks: impl Iterator<Item = &'a IndexChunk>) -> Option<PackStore<'_>> {
        let (name, file, pack) = self.pack.as_ref()?;
        let ids = chunks.map(|chunk| chunk.id);
        // What is under way is lost if the process is killed.
        let rule = RunRule {
            longest: portion(file.len()) as u64,
            ..RunRule::default()
        };
        Some(PackStore::new(name, (pack, file), ids, &rule))
    }
}

/// The delta to `new` from one of the seeds, as far as there is time for it.
fn delta(policy: &Policy, prepared: &Prepared, new: IndexDigest) -> Option<Applied> {
    let mut seeds = prepared.seeds.iter().enumerate();
    seeds.find_map(|(seed, base)| {
        let name = format!("{}-{new}.delta", IndexDigest::of(&base.index).ok()?);
        let file = policy.supply.sidecar(&name, &policy.stop)?;
        let delta = used(&name, Delta::open(&file, &base.index))?;
        (delta.digest() == new).then_some(())?;
        let clock = || {
            clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
        };
        let mut pace = Pace::new(&base.blob, &clock);
        let part = delta.affordable(wanted(prepared), policy.delta_cpu, &mut pace);
        Some(Applied {
            name,
            file,
            delta,
            seed,
            part,
        })
    })
}

/// A sidecar that can be used; of any other it is told why not.
fn used<T>(name: &str, opened: Result<T, impl std::error::Error>) -> Option<T> {
    opened
        .inspect_err(|error| tracing::warn!("{name} is not used: {error}"))
        .ok()
}
