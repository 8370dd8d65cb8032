//! Where each chunk of a new image is best taken from.

use std::collections::BTreeMap;

use super::Sources;
use super::lookup::Lookup;
use crate::chunk::ChunkId;
use crate::index::Index;

/// Where one chunk of the new image comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Keep,
    Seed {
        seed: usize,
        number: usize,
        from: u64,
    },
    Move {
        from: u64,
    },
    Repeat {
        of: usize,
    },
    Fetch,
}

/// Chooses for every chunk, in image order.
///
/// What is in its place stays. Read-only seeds come before old content of the target: they put no
/// order on the operations, and a run that was cut off cannot have overwritten them.
pub(super) fn choose(new: &Index, sources: &Sources<'_>) -> Vec<Choice> {
    let lookups: Vec<Lookup<'_>> = sources.seeds.iter().map(|seed| Lookup::new(seed)).collect();
    let old = sources.target.map(Lookup::new);
    let kept = kept_chunks(new, sources.target);
    let mut placed = first_places(new, &kept);
    let mut choices: Vec<Choice> = Vec::with_capacity(new.len());
    for (number, chunk) in new.chunks().iter().enumerate() {
        let last = choices.last();
        let repeats_last = number > 0 && placed.get(&chunk.id) == Some(&(number - 1));
        let choice = if kept[number] {
            Choice::Keep
        } else if repeats_last {
            Choice::Repeat { of: number - 1 }
        } else if let Some(found) = in_seeds(&lookups, last, &chunk.id) {
            found
        } else if let Some(of) = placed.get(&chunk.id) {
            Choice::Repeat { of: *of }
        } else if let Some(from) = old.as_ref().and_then(|old| old.find(&chunk.id)) {
            Choice::Move { from: from.start }
        } else {
            Choice::Fetch
        };
        choices.push(choice);
        // The nearest one before is the one that makes long runs, and is surely in its place.
        placed.insert(chunk.id, number);
    }
    choices
}

/// Which chunks the target has at their new offsets already.
fn kept_chunks(new: &Index, target: Option<&Index>) -> Vec<bool> {
    let Some(target) = target else {
        return vec![false; new.len()];
    };
    let mut old = target.chunks().iter().peekable();
    let mut kept = Vec::with_capacity(new.len());
    for chunk in new.chunks() {
        while old.next_if(|o| o.start < chunk.start).is_some() {}
        kept.push(old.peek().is_some_and(|o| **o == *chunk));
    }
    kept
}

/// Where each of the chunks that are kept is first.
fn first_places(new: &Index, kept: &[bool]) -> BTreeMap<ChunkId, usize> {
    let mut places = BTreeMap::new();
    let numbered = new.chunks().iter().enumerate().zip(kept);
    for ((number, chunk), _) in numbered.filter(|(_, kept)| **kept) {
        places.entry(chunk.id).or_insert(number);
    }
    places
}

/// A seed's chunk: the one behind the last choice if it fits, else the first that fits.
fn in_seeds(lookups: &[Lookup<'_>], last: Option<&Choice>, id: &ChunkId) -> Option<Choice> {
    if let Some(Choice::Seed { seed, number, .. }) = last
        && let Some(next) = lookups.get(*seed).and_then(|l| l.index().get(number + 1))
        && next.id == *id
    {
        return Some(Choice::Seed {
            seed: *seed,
            number: number + 1,
            from: next.start,
        });
    }
    lookups.iter().enumerate().find_map(|(seed, lookup)| {
        let found = lookup.find(id)?;
        Some(Choice::Seed {
            seed,
            number: found.number,
            from: found.start,
        })
    })
}
