use super::*;
use crate::sizes::ChunkSizes;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Condvar;
use std::time::Duration;

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

fn rule(min: u64, avg: u64, max: u64) -> CutRule {
    CutRule::new(ChunkSizes::new(min, avg, max).unwrap()).unwrap()
}

fn threads(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// The index by the streaming chunker and one hash per chunk.
fn plain_index(rule: CutRule, digest: DigestKind, image: &[u8]) -> Index {
    let mut index = Index::new(FeatureFlags::for_blob(digest), rule.sizes());
    let (mut chunker, mut rest) = (Chunker::new(rule), image);
    while !rest.is_empty() {
        let len = chunker.push(rest).unwrap_or(rest.len());
        index
            .push(u32::try_from(len).unwrap(), digest.id_of(&rest[..len]))
            .unwrap();
        rest = &rest[len..];
    }
    index
}

#[test]
fn any_number_of_threads_gives_the_same_index() {
    // Several batches: more than threads * PIECE_LEN bytes, with zeros across a batch's end.
    let mut image = noise(13_000_000, 5);
    image[3_900_000..5_300_000].fill(0);
    let rule = CutRule::new(ChunkSizes::default()).unwrap();
    for digest in [DigestKind::Sha512_256, DigestKind::Sha256] {
        let expected = plain_index(rule, digest, &image);
        for n in [1, 2, 3, SEARCH_TOGETHER, 5] {
            let found = Indexer::new(rule, digest)
                .with_threads(threads(n))
                .index(&image);
            assert_eq!(found.unwrap(), expected, "{n} threads");
        }
    }
}

#[test]
fn chunks_longer_than_a_piece_and_chunks_of_fixed_size_are_carried() {
    let image = noise(9_000_001, 6);
    for rule in [
        rule(3_000_000, 3_500_000, 5_000_000),
        rule(1_000_000, 1_000_000, 1_000_000),
        rule(7, 7, 7),
    ] {
        let image = if rule.longest() < 100 {
            &image[..5000]
        } else {
            &image[..]
        };
        let image = image.to_vec();
        let expected = plain_index(rule, DigestKind::Sha256, &image);
        for n in [1, 2, SEARCH_TOGETHER] {
            let found = Indexer::new(rule, DigestKind::Sha256)
                .with_threads(threads(n))
                .index(&image);
            assert_eq!(found.unwrap(), expected, "{n} threads");
        }
    }
}

#[test]
fn an_empty_image_has_an_empty_index() {
    let rule = CutRule::new(ChunkSizes::default()).unwrap();
    let index = Indexer::new(rule, DigestKind::Sha256)
        .with_threads(threads(2))
        .index(&Vec::new());
    assert!(index.unwrap().is_empty());
}

#[test]
fn every_chunk_is_shown_once_with_its_offset() {
    let (image, rule) = (
        noise(6_000_000, 9),
        CutRule::new(ChunkSizes::default()).unwrap(),
    );
    let seen = Mutex::new(BTreeSet::new());
    let visit = |offset: u64, chunk: &HashedChunk<&[u8]>| {
        let start = usize::try_from(offset).unwrap();
        assert_eq!(chunk.bytes(), &image[start..start + chunk.bytes().len()]);
        assert!(seen.lock().unwrap().insert((offset, chunk.id())));
        Ok(())
    };
    let indexer = Indexer::new(rule, DigestKind::Sha256).with_threads(threads(2));
    let index = indexer.index_and_visit(&image, &visit).unwrap();
    let expected: BTreeSet<_> = index.chunks().iter().map(|c| (c.start, c.id)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn chunks_are_worked_on_at_the_same_time() {
    let rule = CutRule::new(ChunkSizes::default()).unwrap();
    let (inside, changed) = (Mutex::new(0), Condvar::new());
    // The first two wait for each other: one thread after another would wait for ever.
    let visit = |_: u64, _: &HashedChunk<&[u8]>| {
        let mut inside = inside.lock().unwrap();
        *inside += 1;
        changed.notify_all();
        let limit = Duration::from_secs(60);
        let waited = changed.wait_timeout_while(inside, limit, |inside| *inside < 2);
        match waited.unwrap().1.timed_out() {
            true => Err(io::Error::other("the other thread does nothing")),
            false => Ok(()),
        }
    };
    let indexer = Indexer::new(rule, DigestKind::Sha256).with_threads(threads(2));
    let image = noise(3_000_000, 3);
    indexer.index_and_visit(&image, &visit).unwrap();
}

#[test]
fn a_read_error_and_a_visitors_error_end_the_run_and_say_where() {
    struct Broken;
    impl Blob for Broken {
        fn len(&self) -> u64 {
            50_000_000
        }
        fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            buffer.fill(0);
            if offset > 0 {
                Err(io::Error::other("bad sector"))
            } else {
                Ok(())
            }
        }
    }
    let rule = CutRule::new(ChunkSizes::default()).unwrap();
    let indexer = Indexer::new(rule, DigestKind::Sha256).with_threads(threads(2));
    let error = indexer.index(&Broken).unwrap_err();
    assert!(
        matches!(
            error,
            IndexerError::Read {
                offset: 2_097_152,
                ..
            }
        ),
        "{error}"
    );
    let visit = |offset: u64, _: &HashedChunk<&[u8]>| {
        if offset == 262_144 {
            Err(io::Error::other("disk full"))
        } else {
            Ok(())
        }
    };
    let error = indexer
        .index_and_visit(&vec![0; 40_000_000], &visit)
        .unwrap_err();
    assert!(
        matches!(
            error,
            IndexerError::Visit {
                offset: 262_144,
                ..
            }
        ),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn threads_do_not_change_the_index(
        len in 0..40_000_usize, seed: u64, zeros in 0..40_000_usize, min in 1..100_u64, avg in 0..300_u64, n in 1..6_usize,
    ) {
        let mut image = noise(len, seed);
        image.truncate(len);
        let from = zeros.min(len);
        image[from..(from + 3000).min(len)].fill(0);
        let rule = rule(min, min + avg, min + avg + 400);
        let found = Indexer::new(rule, DigestKind::Sha256).with_threads(threads(n)).index(&image).unwrap();
        prop_assert_eq!(found, plain_index(rule, DigestKind::Sha256, &image));
    }
}
