//! `stats`: an index in numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use casync::FileBlob;
use casync::codec::StoredForm;
use casync::index::Index;
use casync::pack::{Pack, PackStore, RunRule};
use casync::plan::{Plan, Sources, Totals};
use casync::store::DirStore;
use casync::store::Durability;

use super::input::open_image;
use super::{ChunksError, read_index};

/// What is to be counted.
#[derive(Debug)]
pub struct StatsRequest {
    /// The index.
    pub index: PathBuf,
    /// The index of what a device has already.
    pub from: Option<PathBuf>,
    /// A store to look into.
    pub store: Option<PathBuf>,
    /// The pack of the index.
    pub pack: Option<PathBuf>,
}

/// An index in numbers.
#[derive(Debug)]
pub struct Stats {
    /// The index.
    pub index: Index,
    /// Different chunks.
    pub distinct: usize,
    /// Bytes of the smallest and of the largest chunk; 0 for an empty image.
    pub bounds: (u32, u32),
    /// What a device with the other image has and lacks.
    pub update: Option<Totals>,
    /// What is in the store.
    pub stored: Option<StoreStats>,
    /// What is fetched out of the pack.
    pub packed: Option<PackFetch>,
}

/// What a device fetches out of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackFetch {
    /// Bytes, with those of the pack's head.
    pub bytes: u64,
    /// Requests besides those for the head.
    pub requests: usize,
}

/// What a store holds of an index.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct StoreStats {
    /// Different chunks that are there.
    pub present: usize,
    /// Their bytes as stored.
    pub bytes: u64,
    /// Different chunks that are not there.
    pub missing: usize,
    /// Stored bytes of those that have to be fetched, if there is an image to come from.
    pub to_fetch: Option<u64>,
}

/// Counts.
///
/// # Errors
/// Something cannot be read, or the two indices name chunks by different digests.
pub fn stats(request: &StatsRequest) -> Result<Stats, ChunksError> {
    let index = read_index(&request.index)?;
    let plan = match &request.from {
        Some(path) => {
            let from = read_index(path)?;
            let seeds = [&from];
            let sources = Sources {
                seeds: &seeds,
                ..Sources::default()
            };
            Some(Plan::new(&index, &sources)?)
        }
        None => None,
    };
    let stored = match &request.store {
        Some(path) => Some(look(&index, plan.as_ref(), path.clone())?),
        None => None,
    };
    let packed = match &request.pack {
        Some(path) => Some(look_into_pack(&index, plan.as_ref(), path)?),
        None => None,
    };
    let ids: BTreeMap<_, _> = index.chunks().iter().map(|c| (c.id, c.len)).collect();
    let lens = || index.chunks().iter().map(|chunk| chunk.len);
    let bounds = (lens().min().unwrap_or(0), lens().max().unwrap_or(0));
    Ok(Stats {
        distinct: ids.len(),
        bounds,
        update: plan.map(|plan| *plan.totals()),
        stored,
        packed,
        index,
    })
}

fn look_into_pack(
    index: &Index,
    plan: Option<&Plan>,
    path: &Path,
) -> Result<PackFetch, ChunksError> {
    let file: FileBlob = open_image(path)?;
    let name = path.display().to_string();
    let pack = Pack::open_for(&file, index).map_err(|source| ChunksError::Pack {
        name: name.clone(),
        source,
    })?;
    let numbers: Vec<usize> = match plan {
        Some(plan) => plan.fetches().flatten().collect(),
        None => (0..index.len()).collect(),
    };
    let wanted = numbers.iter().filter_map(|number| index.get(*number));
    let rule = RunRule::default();
    let store = PackStore::new(name, (&pack, &file), wanted.map(|chunk| chunk.id), &rule);
    Ok(PackFetch {
        bytes: pack.head_len().saturating_add(store.bytes()),
        requests: store.requests(),
    })
}

fn look(index: &Index, plan: Option<&Plan>, path: PathBuf) -> Result<StoreStats, ChunksError> {
    let store = DirStore::new(path.clone(), 0, Durability::AtSync);
    let mut sizes = BTreeMap::new();
    let mut stats = StoreStats::default();
    for chunk in index.chunks() {
        if sizes.contains_key(&chunk.id) {
            continue;
        }
        let failed = |source| ChunksError::Look {
            id: chunk.id,
            store: path.clone(),
            source,
        };
        let size = if store.has(&chunk.id).map_err(failed)? {
            stored_size(&store, &chunk.id)
        } else {
            None
        };
        match size {
            Some(size) => {
                stats.present += 1;
                stats.bytes += size;
            }
            None => stats.missing += 1,
        }
        sizes.insert(chunk.id, size);
    }
    stats.to_fetch = plan.map(|plan| {
        let numbers = plan.fetches().flatten();
        let chunks = numbers.filter_map(|number| index.get(number));
        chunks
            .filter_map(|chunk| sizes.get(&chunk.id).copied().flatten())
            .sum()
    });
    Ok(stats)
}

fn stored_size(store: &DirStore, id: &casync::chunk::ChunkId) -> Option<u64> {
    [StoredForm::Packed, StoredForm::Raw]
        .into_iter()
        .find_map(|form| std::fs::metadata(store.path_of(id, form)).ok())
        .map(|metadata| metadata.len())
}
