use std::num::NonZeroUsize;
use std::sync::Mutex;

use proptest::prelude::*;

use super::runs::runs;
use super::*;
use crate::assemble::{Ingredients, assemble};
use crate::blob::Blob;
use crate::chunk::DigestKind;
use crate::chunker::CutRule;
use crate::codec::{Encoder, Packing, StoredForm};
use crate::index::Index;
use crate::indexer::Indexer;
use crate::plan::{Plan, Sources};
use crate::sizes::ChunkSizes;
use crate::store::MemoryStore;

const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7] & 31
    };
    (0..len).map(step).collect()
}

/// An index and a store, every third chunk of which is not compressed.
fn release(image: &[u8]) -> (Index, MemoryStore) {
    let rule = CutRule::new(ChunkSizes::from_avg(4096).unwrap()).unwrap();
    let indexer = Indexer::new(rule, DigestKind::default());
    let index = indexer.index(&image.to_vec()).unwrap();
    let mut store = MemoryStore::new("store");
    let mut encoder = Encoder::new(Packing::default()).unwrap();
    for (number, chunk) in index.chunks().iter().enumerate() {
        let at = usize::try_from(chunk.start).unwrap();
        let bytes = &image[at..at + usize::try_from(chunk.len).unwrap()];
        let mut packed = Vec::new();
        encoder.encode(bytes, &mut packed).unwrap();
        match number % 3 {
            0 => store.put(chunk.id, StoredForm::Raw, bytes.to_vec()),
            _ => store.put(chunk.id, StoredForm::Packed, packed),
        }
    }
    (index, store)
}

fn packed(image: &[u8]) -> Vec<u8> {
    let (index, store) = release(image);
    let mut file = Vec::new();
    let len = write_pack(&index, &store, &mut file).unwrap();
    assert_eq!(len, Blob::len(&file));
    file
}

/// A file that remembers what was read of it.
struct Watched {
    file: Vec<u8>,
    reads: Mutex<Vec<(u64, usize)>>,
}

impl Blob for Watched {
    fn len(&self) -> u64 {
        Blob::len(&self.file)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.reads.lock().unwrap().push((offset, buffer.len()));
        self.file.read_exact_at(offset, buffer)
    }
}

#[test]
fn missing_runs_come_by_few_requests() {
    let old = noise(300_000, 1);
    let mut new = old.clone();
    new.splice(100_000..150_000, noise(60_000, 2));
    new.extend(noise(40_000, 3));
    let watched = Watched {
        file: packed(&new),
        reads: Mutex::default(),
    };
    let pack = Pack::open(&watched).unwrap();
    watched.reads.lock().unwrap().clear();
    let (have, _) = release(&old);
    let sources = Sources {
        seeds: &[&have],
        ..Sources::default()
    };
    let plan = Plan::new(pack.index(), &sources).unwrap();
    let numbers = plan.fetches().flatten();
    let wanted = numbers.filter_map(|number| pack.index().get(number));
    let rule = RunRule::default();
    let store = PackStore::new("pack", (&pack, &watched), wanted.map(|c| c.id), &rule);
    assert_eq!(store.requests(), 2);
    let mut target = vec![0; new.len()];
    let ingredients = Ingredients {
        index: pack.index(),
        seeds: &[&old],
        stores: &[&store],
        threads: THREADS,
    };
    let done = assemble(&plan, &ingredients, &mut target).unwrap();
    assert_eq!(target, new);
    assert!(
        done.fetched >= 100_000 && done.fell_through == 0,
        "{done:?}"
    );
    let reads = watched.reads.lock().unwrap();
    assert_eq!(reads.len(), 2, "{reads:?}");
    let bytes: usize = reads.iter().map(|(_, len)| len).sum();
    assert_eq!(u64::try_from(bytes).unwrap(), store.bytes());
}

#[test]
fn chunks_that_nobody_announced_come_one_by_one() {
    let image = noise(60_000, 1);
    let file = packed(&image);
    let pack = Pack::open(&file).unwrap();
    let store = PackStore::new(
        "pack",
        (&pack, &file),
        std::iter::empty(),
        &RunRule::default(),
    );
    let plan = Plan::new(pack.index(), &Sources::default()).unwrap();
    let mut target = vec![0; image.len()];
    let ingredients = Ingredients {
        index: pack.index(),
        seeds: &[],
        stores: &[&store],
        threads: THREADS,
    };
    assemble(&plan, &ingredients, &mut target).unwrap();
    assert_eq!(target, image);
}

#[test]
fn damaged_heads_are_refused_and_damaged_chunks_fetched_elsewhere() {
    let image = noise(60_000, 1);
    let file = packed(&image);
    let pack = Pack::open(&file).unwrap();
    let head = usize::try_from(pack.head_len()).unwrap();
    for len in (0..head).step_by(7) {
        assert!(Pack::open(&file[..len].to_vec()).is_err(), "{len}");
    }
    let at = |offset: usize, byte: u8| {
        let mut bad = file.clone();
        bad[offset] ^= byte;
        Pack::open(&bad).unwrap_err()
    };
    assert!(matches!(at(0, 1), PackError::Magic));
    assert!(matches!(at(9, 1), PackError::OtherIndex { .. }));
    assert!(matches!(at(40, 1), PackError::Count { .. }));
    assert!(matches!(at(47, 0xff), PackError::LongIndex(_)));
    assert!(matches!(at(head - 2, 0xff), PackError::Length { .. }));
    let mut bad = file.clone();
    bad.truncate(head + 1000);
    bad[head + 10] ^= 1;
    let ids: Vec<_> = pack.index().chunks().iter().map(|chunk| chunk.id).collect();
    let store = PackStore::new("pack", (&pack, &bad), ids.into_iter(), &RunRule::default());
    let (index, full) = release(&image);
    let plan = Plan::new(&index, &Sources::default()).unwrap();
    let mut target = vec![0; image.len()];
    let ingredients = Ingredients {
        index: &index,
        seeds: &[],
        stores: &[&store, &full],
        threads: THREADS,
    };
    assemble(&plan, &ingredients, &mut target).unwrap();
    assert_eq!(target, image);
}

proptest! {
    #[test]
    fn runs_cover_what_is_wanted_and_little_else(
        parts in prop::collection::vec((0..5_000_u64, 0..300_u64), 0..40),
        gap in 0..100_u64, longest in 1..2_000_u64,
    ) {
        let wanted: Vec<_> = parts.iter().map(|(start, len)| *start..start + len).collect();
        let found = runs(wanted.clone(), &RunRule { gap, longest });
        for part in wanted.iter().filter(|part| !part.is_empty()) {
            let holds = |run: &&std::ops::Range<u64>| run.start <= part.start && part.end <= run.end;
            prop_assert_eq!(found.iter().filter(holds).count(), 1);
        }
        for pair in found.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
        }
    }

    #[test]
    fn no_bytes_make_a_pack_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Pack::open(&bytes);
        bytes.splice(0..0, *b"SLOTPCK1");
        let _ = Pack::open(&bytes);
    }
}
