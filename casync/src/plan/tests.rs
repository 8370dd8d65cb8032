use super::*;
use crate::assemble::{AssembleError, Assembled, Ingredients, assemble};
use crate::blob::Blob;
use crate::chunk::DigestKind;
use crate::codec::StoredForm;
use crate::index::FeatureFlags;
use crate::sizes::ChunkSizes;
use crate::store::MemoryStore;
use proptest::prelude::*;
use std::num::NonZeroUsize;

const DIGEST: DigestKind = DigestKind::Sha256;
const THREADS: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// A chunk that is known by one letter: lower case 3 bytes, upper case 5, digits 1.
fn chunk(letter: u8) -> Vec<u8> {
    let len = match letter {
        b'a'..=b'z' => 3,
        b'A'..=b'Z' => 5,
        _ => 1,
    };
    vec![letter; len]
}

fn bytes_of(letters: &str) -> Vec<u8> {
    letters.bytes().flat_map(chunk).collect()
}

fn index_of(letters: &str) -> Index {
    let sizes = ChunkSizes::new(1, 3, 5).unwrap();
    let mut index = Index::new(FeatureFlags::for_blob(DIGEST), sizes);
    for letter in letters.bytes() {
        let bytes = chunk(letter);
        index
            .push(u32::try_from(bytes.len()).unwrap(), DIGEST.id_of(&bytes))
            .unwrap();
    }
    index
}

fn store_of(letters: &str) -> MemoryStore {
    let mut store = MemoryStore::new("store");
    for bytes in letters.bytes().map(chunk) {
        store.put(DIGEST.id_of(&bytes), StoredForm::Raw, bytes);
    }
    store
}

struct Case<'a> {
    new: &'a str,
    old: &'a str,
    seeds: &'a [&'a str],
    stash: u64,
}

impl Case<'_> {
    fn plan(&self) -> Plan {
        let seeds: Vec<Index> = self.seeds.iter().map(|s| index_of(s)).collect();
        let seeds: Vec<&Index> = seeds.iter().collect();
        let old = index_of(self.old);
        let sources = Sources {
            seeds: &seeds,
            target: Some(&old),
            stash: self.stash,
        };
        Plan::new(&index_of(self.new), &sources).unwrap()
    }

    fn run(
        &self,
        plan: &Plan,
        store: &MemoryStore,
        target: &mut Vec<u8>,
    ) -> Result<Assembled, AssembleError> {
        let seeds: Vec<Vec<u8>> = self.seeds.iter().map(|s| bytes_of(s)).collect();
        let seeds: Vec<&dyn Blob> = seeds.iter().map(|s| s as &dyn Blob).collect();
        let index = index_of(self.new);
        assemble(
            plan,
            &Ingredients {
                index: &index,
                seeds: &seeds,
                stores: &[store],
                threads: THREADS,
            },
            target,
        )
    }

    /// The target with the old content, as long as it must be.
    fn target(&self) -> Vec<u8> {
        let mut target = bytes_of(self.old);
        target.resize(target.len().max(bytes_of(self.new).len()), b'?');
        target
    }
}

/// Plans and runs with a store that has only what the plan means to fetch.
fn ops(new: &str, old: &str, seeds: &[&str], stash: u64) -> Vec<Op> {
    let case = Case {
        new,
        old,
        seeds,
        stash,
    };
    let plan = case.plan();
    let wanted: String = plan.fetches().map(|run| &new[run]).collect();
    let mut target = case.target();
    let done = case.run(&plan, &store_of(&wanted), &mut target).unwrap();
    assert_eq!(target[..bytes_of(new).len()], bytes_of(new));
    assert_eq!(
        (done.fell_through, done.kept, done.fetched),
        (0, plan.totals().keep, plan.totals().fetch)
    );
    plan.ops().to_vec()
}

#[test]
fn runs_are_coalesced() {
    let found = ops("abcdefgh", "", &["xcdy", "gh"], 0);
    let expected = [
        Op::Fetch { chunks: 0..2 },
        Op::Seed {
            chunks: 2..4,
            seed: 0,
            from: 3,
        },
        Op::Fetch { chunks: 4..6 },
        Op::Seed {
            chunks: 6..8,
            seed: 1,
            from: 0,
        },
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_in_place_is_kept() {
    let found = ops("abXcd", "abYcd", &["ab"], 0);
    let kept = |chunks| Op::Keep { chunks };
    assert_eq!(found, [kept(0..2), Op::Fetch { chunks: 2..3 }, kept(3..5)]);
}

#[test]
fn content_that_shifts_is_moved_from_the_right_end() {
    let up = Op::Move {
        chunks: 1..5,
        from: 0,
        order: Order::Descending,
    };
    assert_eq!(
        ops("Xabcd", "abcd", &[], 0),
        [up, Op::Fetch { chunks: 0..1 }]
    );
    let down = Op::Move {
        chunks: 0..4,
        from: 5,
        order: Order::Ascending,
    };
    assert_eq!(ops("abcd", "Xabcd", &[], 0), [down]);
}

#[test]
fn a_circle_is_broken_by_memory_or_by_fetching() {
    let found = ops("ba", "ab", &[], 3);
    let stashed = [
        Op::Stash { chunk: 0, from: 3 },
        Op::Move {
            chunks: 1..2,
            from: 0,
            order: Order::Ascending,
        },
        Op::Unstash { chunk: 0 },
    ];
    assert_eq!(found, stashed);
    let moved = Op::Move {
        chunks: 1..2,
        from: 0,
        order: Order::Ascending,
    };
    assert_eq!(ops("ba", "ab", &[], 2), [moved, Op::Fetch { chunks: 0..1 }]);
}

#[test]
fn chunks_that_repeat_are_fetched_once() {
    let found = ops("aaaabaac", "", &[], 0);
    let expected = [
        Op::Fetch { chunks: 0..1 },
        Op::Repeat {
            chunks: 1..4,
            of: 0,
        },
        Op::Fetch { chunks: 4..5 },
        Op::Repeat {
            chunks: 5..6,
            of: 3,
        },
        Op::Repeat {
            chunks: 6..7,
            of: 5,
        },
        Op::Fetch { chunks: 7..8 },
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_long_rotation_needs_one_chunk_of_memory() {
    let letters: String = ('a'..='z').cycle().take(26).collect();
    let rotated = format!("{}{}", &letters[1..], &letters[..1]);
    let case = Case {
        new: &rotated,
        old: &letters,
        seeds: &[],
        stash: 3,
    };
    let totals = *case.plan().totals();
    assert_eq!((totals.moved, totals.fetch, totals.stash_peak), (78, 0, 3));
}

#[test]
fn totals_add_up() {
    let case = Case {
        new: "abXcdQaaw",
        old: "abYdc",
        seeds: &["w"],
        stash: 3,
    };
    let totals = *case.plan().totals();
    let sum = totals.keep + totals.written();
    assert_eq!(sum, index_of(case.new).image_len());
    assert_eq!(
        (totals.keep, totals.seed, totals.fetch, totals.repeat),
        (6, 3, 10, 6)
    );
    assert_eq!((totals.fetch_chunks, totals.fetch_runs), (2, 2));
}

#[test]
fn a_very_long_chain_does_not_end_the_stack() {
    let moves: Vec<Move> = (0..300_000)
        .map(|n| Move {
            number: usize::try_from(n).unwrap(),
            from: n * 10,
            to: n * 10 + 10,
            len: 10,
        })
        .collect();
    let (steps, dropped, peak) = moves::order(&moves, 0);
    assert_eq!((steps.len(), dropped.len(), peak), (300_000, 0, 0));
    assert_eq!(
        steps[0],
        Step::Copy {
            number: 299_999,
            from: 2_999_990
        }
    );
}

#[test]
fn indices_of_different_digests_are_not_mixed() {
    let other = Index::new(
        FeatureFlags::for_blob(DigestKind::Sha512_256),
        ChunkSizes::default(),
    );
    let sources = Sources {
        seeds: &[&index_of("a"), &other],
        ..Sources::default()
    };
    let error = Plan::new(&index_of("a"), &sources).unwrap_err();
    assert_eq!(
        error,
        PlanError::Digest {
            what: Whose::Seed(1)
        }
    );
}

#[test]
fn a_target_that_is_too_short_is_refused_before_anything_is_written() {
    let case = Case {
        new: "abc",
        old: "",
        seeds: &[],
        stash: 0,
    };
    let mut target = b"12345678".to_vec();
    let error = case
        .run(&case.plan(), &store_of("abc"), &mut target)
        .unwrap_err();
    assert!(matches!(
        error,
        AssembleError::TargetTooShort {
            image: 9,
            target: 8
        }
    ));
    assert_eq!(target, b"12345678");
}

#[test]
fn a_plan_for_something_else_is_refused() {
    let plan = Case {
        new: "abcd",
        old: "",
        seeds: &["cd"],
        stash: 0,
    }
    .plan();
    let other = Case {
        new: "ab",
        old: "",
        seeds: &[],
        stash: 0,
    };
    let error = other
        .run(&plan, &store_of("ab"), &mut other.target())
        .unwrap_err();
    assert!(
        matches!(error, AssembleError::PlanMismatch("a chunk")),
        "{error}"
    );
}

/// Chunk lists with many repetitions, of three lengths.
fn letters() -> impl Strategy<Value = String> {
    prop::string::string_regex("([a-h]{1,4}|[A-F]{1,2}|[1-4]){0,12}").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn carrying_out_a_plan_makes_the_image(
        new in letters(), old in letters(), one in letters(), two in letters(), stash in 0..20_u64,
    ) {
        let case = Case { new: &new, old: &old, seeds: &[&one, &two], stash };
        let plan = case.plan();
        // The store has nothing but what the plan fetches: anything else must be here.
        let wanted: String = plan.fetches().map(|run| &new[run]).collect();
        let mut target = case.target();
        let done = case.run(&plan, &store_of(&wanted), &mut target).unwrap();
        prop_assert_eq!(&target[..bytes_of(&new).len()], &bytes_of(&new)[..]);
        let totals = plan.totals();
        prop_assert_eq!(done.fell_through, 0);
        prop_assert_eq!((done.kept, done.fetched), (totals.keep, totals.fetch));
        prop_assert_eq!(done.copied, totals.moved + totals.seed + totals.repeat);
        prop_assert!(totals.stash_peak <= stash);
        prop_assert_eq!(totals.fetch_runs, plan.fetches().count());
    }

    #[test]
    fn with_memory_nothing_is_fetched_that_is_here(new in letters(), old in letters(), one in letters()) {
        let plan = Case { new: &new, old: &old, seeds: &[&one], stash: 1000 }.plan();
        let mut fetched: Vec<char> = plan.fetches().flat_map(|run| new[run].chars()).collect();
        prop_assert!(fetched.iter().all(|c| !old.contains(*c) && !one.contains(*c)));
        let count = fetched.len();
        fetched.sort_unstable();
        fetched.dedup();
        prop_assert_eq!(fetched.len(), count, "fetched once");
    }

    #[test]
    fn lying_indices_and_changed_seeds_cost_fetches_and_nothing_else(
        new in letters(), old in letters(), one in letters(), truth in letters(), stash in 0..20_u64,
    ) {
        // Planned with `old` and `one`; what is really there is `truth`.
        let plan = Case { new: &new, old: &old, seeds: &[&one], stash }.plan();
        let real = Case { new: &new, old: &truth, seeds: &[&truth], stash };
        let mut target = real.target();
        let done = real.run(&plan, &store_of(&new), &mut target).unwrap();
        prop_assert_eq!(&target[..bytes_of(&new).len()], &bytes_of(&new)[..]);
        prop_assert!(done.fetched >= plan.totals().fetch);
    }

    #[test]
    fn a_run_that_was_cut_anywhere_is_finished_by_the_next(
        new in letters(), old in letters(), stash in 0..20_u64, writes in 0..30_usize,
    ) {
        let case = Case { new: &new, old: &old, seeds: &[], stash };
        let mut target = CutOff { bytes: case.target(), writes };
        let index = index_of(&new);
        let store = store_of(&new);
        let ingredients = Ingredients { index: &index, seeds: &[], stores: &[&store], threads: THREADS };
        let first = assemble(&case.plan(), &ingredients, &mut target);
        let stopped = matches!(first, Ok(_) | Err(AssembleError::Write { .. }));
        prop_assert!(stopped);
        // The next run trusts nothing: it keeps what hashes right where it belongs.
        let case = Case { new: &new, old: &new, seeds: &[], stash };
        case.run(&case.plan(), &store, &mut target.bytes).unwrap();
        prop_assert_eq!(&target.bytes[..bytes_of(&new).len()], &bytes_of(&new)[..]);
    }
}

/// A target that fails after some writes.
struct CutOff {
    bytes: Vec<u8>,
    writes: usize,
}

impl Blob for CutOff {
    fn len(&self) -> u64 {
        Blob::len(&self.bytes)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.bytes.read_exact_at(offset, buffer)
    }
}

impl crate::blob::BlobMut for CutOff {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.writes = self
            .writes
            .checked_sub(1)
            .ok_or_else(|| std::io::Error::other("power"))?;
        self.bytes.write_all_at(offset, bytes)
    }
}
