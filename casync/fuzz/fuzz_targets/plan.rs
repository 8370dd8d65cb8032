//! The planner: whatever the indices are, every chunk is written once and none is lost.
#![no_main]

use casync::ChunkSizes;
use casync::chunk::{ChunkId, DigestKind};
use casync::index::{FeatureFlags, Index};
use casync::plan::{Plan, Sources};
use libfuzzer_sys::fuzz_target;

fn index(chunks: &[(u8, u8)]) -> Index {
    let sizes = ChunkSizes::new(1, 128, 1024).expect("good sizes");
    let mut index = Index::new(FeatureFlags::for_blob(DigestKind::Sha256), sizes);
    for (id, len) in chunks {
        // The same id with two lengths is what an index that lies has.
        let _ = index.push(u32::from(*len) + 1, ChunkId::from_bytes([*id; 32]));
    }
    index
}

type Chunks = Vec<(u8, u8)>;

fuzz_target!(|input: (Chunks, Chunks, Chunks, u16)| {
    let (new, old, seed, stash) = input;
    let (new, old, seed) = (index(&new), index(&old), index(&seed));
    let sources = Sources {
        seeds: &[&seed],
        target: Some(&old),
        stash: stash.into(),
    };
    let plan = Plan::new(&new, &sources).expect("one digest");
    let totals = plan.totals();
    assert_eq!(totals.keep + totals.written(), new.image_len());
    assert!(totals.stash_peak <= u64::from(stash));
});
