use std::num::NonZeroUsize;

use proptest::prelude::*;

use zstd::zstd_safe::{CCtx, CParameter};

use super::*;
use crate::assemble::{Assembled, Ingredients, assemble};
use crate::chunk::DigestKind;
use crate::chunker::CutRule;
use crate::codec::StoredForm;
use crate::index::Index;
use crate::indexer::Indexer;
use crate::plan::{Plan, Sources};
use crate::sizes::ChunkSizes;
use crate::store::{ChunkStore, MemoryStore, StoreError};

const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..len).map(step).collect()
}

/// Bytes that compress to about half.
fn half_noise(len: usize, seed: u64) -> Vec<u8> {
    noise(len, seed).iter().map(|b| b & 15 | 64).collect()
}

fn index(image: &[u8]) -> Index {
    let rule = CutRule::new(ChunkSizes::from_avg(16 * 1024).unwrap()).unwrap();
    let indexer = Indexer::new(rule, DigestKind::default());
    indexer.index(&image.to_vec()).unwrap()
}

/// An image of compressed blocks, as a squashfs has them, with some bytes between.
fn blocks(contents: &[Vec<u8>], level: u8) -> Vec<u8> {
    let mut image = noise(96, 1);
    for content in contents {
        image.extend(frame::frame_of(content, level).unwrap());
        image.extend([0x12, 0x80]);
    }
    image
}

struct Pair {
    base: Vec<u8>,
    new: Vec<u8>,
}

impl Pair {
    /// Plain bytes: something inserted and changed.
    fn plain() -> Self {
        let base = noise(1_000_000, 3);
        let mut new = base.clone();
        for at in (200_000..400_000).step_by(20_000) {
            new.splice(at..at, *b"changed");
        }
        Self { base, new }
    }

    /// Compressed blocks, a few of which change by a little; `foreign` ones with another level.
    fn compressed(foreign: usize) -> Self {
        let mut contents: Vec<_> = (0..12).map(|n| half_noise(100_000, n)).collect();
        let base = blocks(&contents, 15);
        for content in &mut contents[4..8] {
            content.splice(50_000..50_010, *b"changed");
        }
        let mut new = blocks(&contents[..6 - foreign], 15);
        new.extend(blocks(&contents[6 - foreign..6], 3));
        new.extend(blocks(&contents[6..], 15));
        Self { base, new }
    }

    fn build(&self) -> (Vec<u8>, Totals) {
        let options = BuildOptions {
            level: 12,
            threads: THREADS,
        };
        let (base, new) = (index(&self.base), index(&self.new));
        let side = |index, image| Side { index, image };
        let built = build(side(&base, &self.base), side(&new, &self.new), &options).unwrap();
        let mut file = Vec::new();
        let len = built.write_to(&mut file, &base, &new).unwrap();
        assert_eq!(len, u64::try_from(file.len()).unwrap());
        (file, *built.totals())
    }
}

/// Makes the new image of `base` and the delta, with `more` to ask where the delta fails.
fn apply(base: &[u8], file: &[u8], more: &dyn ChunkStore) -> (Vec<u8>, Assembled) {
    let (base, file) = (&base.to_vec(), &file.to_vec());
    let old = index(base);
    let delta = Delta::open(file, &old).unwrap();
    let store = DeltaStore::new("delta", &delta, file, base);
    let sources = Sources {
        seeds: &[&old],
        ..Sources::default()
    };
    let plan = Plan::new(delta.index(), &sources).unwrap();
    let mut target = vec![0; usize::try_from(delta.index().image_len()).unwrap()];
    let ingredients = Ingredients {
        index: delta.index(),
        seeds: &[base],
        stores: &[&store, more],
        threads: THREADS,
    };
    let done = assemble(&plan, &ingredients, &mut target).unwrap();
    (target, done)
}

fn nothing() -> MemoryStore {
    MemoryStore::new("nothing")
}

#[test]
fn plain_bytes_are_made_of_what_is_like_them() {
    let pair = Pair::plain();
    let (file, totals) = pair.build();
    assert!(file.len() < 5_000, "{} bytes, {totals:?}", file.len());
    assert_eq!(apply(&pair.base, &file, &nothing()).0, pair.new);
}

#[test]
fn compressed_blocks_are_made_of_their_old_contents() {
    let pair = Pair::compressed(0);
    let (file, totals) = pair.build();
    assert_eq!(
        (totals.frames.0 >= 4, totals.foreign_frames),
        (true, 0),
        "{totals:?}"
    );
    assert!(file.len() < 5_000, "{} bytes, {totals:?}", file.len());
    assert_eq!(apply(&pair.base, &file, &nothing()).0, pair.new);
}

#[test]
fn blocks_of_another_encoder_come_out_to_the_byte_all_the_same() {
    let pair = Pair::compressed(2);
    let (file, totals) = pair.build();
    assert_eq!(totals.foreign_frames, 2, "{totals:?}");
    assert_eq!(apply(&pair.base, &file, &nothing()).0, pair.new);
}

#[test]
fn an_encoder_that_agrees_with_no_level_is_mended_from_the_nearest() {
    // With a checksum behind each frame, as none of ours has one.
    let strange = |content: &[u8]| {
        let mut context = CCtx::create();
        for parameter in [
            CParameter::CompressionLevel(7),
            CParameter::ChecksumFlag(true),
        ] {
            context.set_parameter(parameter).unwrap();
        }
        let mut frame = Vec::with_capacity(content.len() + 1000);
        context.compress2(&mut frame, content).unwrap();
        frame
    };
    let mut contents: Vec<_> = (0..4).map(|n| half_noise(100_000, n)).collect();
    let image = |contents: &[Vec<u8>]| contents.iter().flat_map(|c| strange(c)).collect();
    let base = image(&contents);
    contents[1].splice(50_000..50_010, *b"changed");
    contents[2].splice(50_000..50_010, *b"changed");
    let pair = Pair {
        base,
        new: image(&contents),
    };
    let (file, totals) = pair.build();
    assert!(totals.frames.0 >= 2, "{totals:?}");
    assert_eq!(totals.frames.0, totals.foreign_frames, "{totals:?}");
    assert!(file.len() < 5_000, "{} bytes, {totals:?}", file.len());
    assert_eq!(apply(&pair.base, &file, &nothing()).0, pair.new);
}

#[test]
fn equal_and_empty_images() {
    for (base, new) in [
        (noise(100_000, 1), noise(100_000, 1)),
        (Vec::new(), noise(100_000, 1)),
        (noise(100_000, 1), Vec::new()),
        (vec![0; 300_000], vec![0; 400_000]),
    ] {
        let pair = Pair { base, new };
        let (file, _) = pair.build();
        assert_eq!(apply(&pair.base, &file, &nothing()).0, pair.new);
    }
}

#[test]
fn a_delta_for_another_base_is_refused_at_once() {
    let (file, _) = Pair::plain().build();
    let error = Delta::open(&file, &index(&noise(5000, 9))).unwrap_err();
    assert!(matches!(error, DeltaError::OtherBase { .. }), "{error}");
    let error = Delta::open(&noise(500, 1), &index(&[])).unwrap_err();
    assert!(matches!(error, DeltaError::Magic), "{error}");
}

/// All chunks of an image, as a server has them.
fn full_store(image: &[u8]) -> MemoryStore {
    let mut store = MemoryStore::new("server");
    for chunk in index(image).chunks() {
        let at = usize::try_from(chunk.start).unwrap();
        let bytes = &image[at..at + usize::try_from(chunk.len).unwrap()];
        store.put(chunk.id, StoredForm::Raw, bytes.to_vec());
    }
    store
}

#[test]
fn whatever_is_damaged_is_fetched_as_chunks() {
    for pair in [Pair::plain(), Pair::compressed(1)] {
        let (file, _) = pair.build();
        let server = full_store(&pair.new);
        let head = Delta::open(&file, &index(&pair.base))
            .unwrap()
            .directory_len();
        for at in (usize::try_from(head).unwrap()..file.len()).step_by(file.len() / 7) {
            let mut bad = file.clone();
            bad[at] ^= 0x55;
            assert_eq!(apply(&pair.base, &bad, &server).0, pair.new, "byte {at}");
            bad.truncate(at);
            assert_eq!(apply(&pair.base, &bad, &server).0, pair.new, "cut at {at}");
        }
    }
}

#[test]
fn a_base_that_changes_underneath_is_noticed() {
    let pair = Pair::compressed(0);
    let (file, _) = pair.build();
    let old = index(&pair.base);
    let delta = Delta::open(&file, &old).unwrap();
    let mut changed = pair.base.clone();
    changed.truncate(changed.len() / 2);
    let store = DeltaStore::new("delta", &delta, &file, &changed);
    let mut failed = 0;
    for chunk in delta.index().chunks() {
        let mut bytes = Vec::new();
        match store.get(&chunk.id, chunk.len.into(), &mut bytes) {
            Ok(_) => assert_eq!(DigestKind::default().id_of(&bytes), chunk.id),
            Err(StoreError::Missing) => {}
            Err(error) => {
                let text = format!("{:?}", std::error::Error::source(&error));
                assert!(text.contains("BadPiece"), "{text}");
                failed += 1;
            }
        }
    }
    assert!(failed > 0);
}

#[test]
fn only_as_much_is_compressed_again_as_there_is_time_for() {
    let pair = Pair::compressed(0);
    let (file, totals) = pair.build();
    let old = index(&pair.base);
    let delta = Delta::open(&file, &old).unwrap();
    let missing = || {
        let known = |id| old.chunks().iter().any(|chunk| chunk.id == id);
        let chunks = delta.index().chunks().iter();
        chunks.filter(move |chunk| !known(chunk.id))
    };
    // A second for each sample, whatever it really takes.
    let ticks = std::cell::Cell::new(0);
    let clock = || {
        ticks.set(ticks.get() + 1);
        std::time::Duration::from_secs(ticks.get())
    };
    let afford = |seconds| {
        let limit = std::time::Duration::from_secs(seconds);
        delta.affordable(missing(), limit, &mut Pace::new(&pair.base, &clock))
    };
    let all = afford(1_000);
    assert_eq!(all.chunks.len(), missing().count());
    assert_eq!(all.time, all.whole);
    let (whole, blocks) = (all.whole.as_millis() + 1, totals.frames.0);
    assert_eq!(whole / 1000, u128::try_from(blocks).unwrap(), "{totals:?}");

    let none = afford(0);
    assert_eq!((none.time.as_secs(), none.whole), (0, all.whole));
    // What lies between the blocks needs no time.
    assert!(none.chunks.len() < all.chunks.len());
    let some = afford(2);
    assert!(none.chunks.len() < some.chunks.len() && some.chunks.len() < all.chunks.len());
    assert!(some.time <= std::time::Duration::from_secs(2));

    // And the store gives these and no others.
    let store = DeltaStore::new("delta", &delta, &file, &pair.base).only(&some.chunks);
    for chunk in missing() {
        let given = store.get(&chunk.id, chunk.len.into(), &mut Vec::new());
        let wanted = some.chunks.iter().any(|some| some.id == chunk.id);
        assert_eq!(given.is_ok(), wanted, "{given:?}");
    }
}

#[test]
fn an_index_delta_is_small_and_exact() {
    let base = noise(3_000_000, 5);
    let mut new = base.clone();
    new[1_000_000] ^= 1;
    new.splice(2_000_000..2_000_000, noise(10, 1));
    let (base, new) = (index(&base), index(&new));
    let mut bytes = Vec::new();
    index_delta::put_index(&mut bytes, &new, &base);
    assert!(bytes.len() < 500, "{}", bytes.len());
    let mut numbers = varint::Numbers::new(&bytes);
    assert_eq!(index_delta::take_index(&mut numbers, &base).unwrap(), new);
    assert!(numbers.is_done());
    let other = index_delta::take_index(&mut varint::Numbers::new(&bytes), &index(&[]));
    assert!(matches!(other, Err(IndexDeltaError::NoSuchChunk(_))));
}

#[test]
fn directories_with_impossible_numbers_are_refused() {
    let piece = |start, len, kind| Piece {
        start,
        len,
        data_start: 0,
        data_len: len,
        kind,
    };
    let range = |start, len| BaseRange { start, len };
    let packed = |prefix| PieceKind::Packed { prefix };
    let framed = |level, content, mend| PieceKind::Frame {
        level,
        content,
        mend,
        prefix: Vec::new(),
    };
    let taken = |pieces: &[Piece]| {
        let mut bytes = Vec::new();
        directory::put_pieces(&mut bytes, pieces);
        directory::take_pieces(&mut varint::Numbers::new(&bytes))
    };
    let bytes = |len| Mend::Bytes { len };
    let parts = |len, parts| Mend::Parts { len, parts };
    for good in [
        piece(5, 7, PieceKind::Raw),
        piece(5, 7, packed(vec![range(9, 8), range(0, 1)])),
        piece(5, 7, framed(22, 1 << 20, Mend::None)),
        piece(5, 7, framed(22, 1 << 20, bytes(7))),
        piece(5, 7, framed(22, 1 << 20, parts(7, 2 << 20))),
        piece(5, 7, framed(22, 1 << 20, parts(0, 0))),
    ] {
        assert_eq!(taken(std::slice::from_ref(&good)).unwrap(), [good]);
    }
    for bad in [
        piece(0, 0, PieceKind::Raw),
        piece(0, 2 << 20, PieceKind::Raw),
        piece(u64::MAX, 7, PieceKind::Raw),
        piece(0, 7, packed(vec![range(0, 3 << 20)])),
        piece(0, 7, packed(vec![range(0, 1 << 20); 3])),
        piece(0, 7, packed(vec![range(0, 1); 300])),
        piece(0, 7, framed(0, 7, Mend::None)),
        piece(0, 7, framed(23, 7, Mend::None)),
        piece(0, 7, framed(3, 2 << 20, Mend::None)),
        piece(0, 7, framed(3, 7, bytes(8))),
        piece(0, 7, framed(3, 7, parts(8, 1))),
        piece(0, 7, framed(3, 7, parts(7, (2 << 20) + 1))),
    ] {
        assert!(taken(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_change_of_a_delta_makes_a_reader_panic(at: prop::sample::Index, byte: u8) {
        let pair = Pair { base: noise(60_000, 1), new: noise(61_000, 1) };
        let (mut file, _) = pair.build();
        let at = at.index(file.len());
        file[at] = byte;
        let _ = Delta::open(&file, &index(&pair.base));
    }

    #[test]
    fn no_bytes_make_a_directory_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = directory::take_pieces(&mut varint::Numbers::new(&bytes));
        let _ = index_delta::take_index(&mut varint::Numbers::new(&bytes), &index(&bytes));
    }
}
