//! How long compressing again takes on this machine, and how much of it is worth while.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decode::{contents_of, prefix_of};
use super::directory::{Piece, PieceKind};
use super::file::Delta;
use super::frame::frame_with;
use super::tools::Tools;
use crate::blob::Blob;
use crate::chunker::widen;
use crate::index::IndexChunk;

/// Pieces of a level that its pace is measured with: a fraction of a second even on a slow processor.
const SAMPLES: usize = 3;

/// What of a delta can be made within a limit of processor time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affordable {
    /// These chunks.
    pub chunks: Vec<IndexChunk>,
    /// Processor time that compressing again takes for them.
    pub time: Duration,
    /// The same for all chunks that were asked for.
    pub whole: Duration,
}

/// Measures this machine.
pub struct Pace<'a> {
    base: &'a dyn Blob,
    /// Processor time of this thread.
    clock: &'a dyn Fn() -> Duration,
    /// Processor time for a piece's content, by level: so much for so many bytes.
    known: BTreeMap<u8, (Duration, u64)>,
}

impl<'a> Pace<'a> {
    /// Measures with content of `base`; `clock` tells the processor time that this thread has had.
    #[must_use]
    pub fn new(base: &'a dyn Blob, clock: &'a dyn Fn() -> Duration) -> Self {
        Self {
            base,
            clock,
            known: BTreeMap::new(),
        }
    }

    /// What it takes to compress the content of `piece` again, and to unpack what that is decoded against.
    fn cost(&mut self, piece: &Piece, all: &[Piece]) -> Duration {
        let PieceKind::Frame { level, content, .. } = &piece.kind else {
            return Duration::ZERO;
        };
        let (base, clock) = (self.base, self.clock);
        let known = self.known.entry(*level);
        let (time, bytes) = *known.or_insert_with(|| measure(*level, all, (base, clock)));
        // Without a sample the base is not what it should be: the piece fails at once.
        let nanos = time.as_nanos() * u128::from(*content);
        let nanos = nanos.checked_div(bytes.into()).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// Does what some pieces of the level need, but for their data: that is not here yet.
fn measure(
    level: u8,
    all: &[Piece],
    (base, clock): (&dyn Blob, &dyn Fn() -> Duration),
) -> (Duration, u64) {
    let of_level = |piece: &&Piece| match &piece.kind {
        PieceKind::Frame { level: its, .. } => *its == level && !prefix_of(piece).is_empty(),
        _ => false,
    };
    let pieces: Vec<&Piece> = all.iter().filter(of_level).collect();
    let step = (pieces.len() / SAMPLES).max(1);
    let mut tools = Tools::default();
    let (mut time, mut bytes) = (Duration::ZERO, 0);
    for piece in pieces.into_iter().step_by(step).take(SAMPLES) {
        let PieceKind::Frame { content, .. } = &piece.kind else {
            continue;
        };
        let before = clock();
        if contents_of(prefix_of(piece), base, &mut tools).is_err() {
            continue;
        }
        let len = widen(*content).min(tools.prefix.len());
        let sample = &tools.prefix[..len];
        if frame_with(&mut tools.packer, sample, level).is_ok() {
            time += clock().saturating_sub(before);
            bytes += u64::try_from(len).unwrap_or(u64::MAX);
        }
    }
    (time, bytes)
}

impl Delta {
    /// Which of these chunks can be made if compressing again may take `limit` of processor time, all
    /// threads together. In image order, as far as the time lasts: neighbours share pieces.
    pub fn affordable<'c>(
        &self,
        wanted: impl IntoIterator<Item = &'c IndexChunk>,
        limit: Duration,
        pace: &mut Pace<'_>,
    ) -> Affordable {
        let mut found = Affordable::default();
        let (mut paid, mut counted) = (0, 0);
        for chunk in wanted {
            let pieces = self.pieces_of(chunk);
            let mut cost = |from: &usize| -> Duration {
                let new = pieces.clone().filter(|number| number >= from);
                new.map(|number| pace.cost(&self.pieces[number], &self.pieces))
                    .sum()
            };
            found.whole = found.whole.saturating_add(cost(&counted));
            counted = counted.max(pieces.end);
            let time = found.time.saturating_add(cost(&paid));
            if time <= limit {
                found.time = time;
                found.chunks.push(*chunk);
                paid = paid.max(pieces.end);
            }
        }
        found
    }
}
