//! What was fetched, what is on its way, and what is to be fetched next. No I/O.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;

/// Unit of what is read here and there: a directory of a bundle, a few blocks of its hash tree.
const PAGE: u64 = 16 << 10;

/// Parts of one expectation that are on their way, or wait to be read.
const AHEAD: usize = 3;

/// Bytes that are kept.
const KEPT: u64 = 12 << 20;

/// Bytes of one request for what is read in order, of a file of `len` bytes: few requests, and little that
/// is lost if the process is killed while [`AHEAD`] of them are under way.
fn part(len: u64) -> u64 {
    const SMALLEST: u64 = 64 << 10;
    const LARGEST: u64 = 2 << 20;
    let part = (len / 768).clamp(SMALLEST, LARGEST);
    part - part % SMALLEST
}

/// The pieces of a file that are here or coming. They do not overlap.
pub(super) struct Cache {
    len: u64,
    /// Bytes of one request for what is read in order.
    part: u64,
    /// By their start.
    pieces: BTreeMap<u64, Piece>,
    /// A queue for each call of `expect`, of what was not asked for yet.
    expected: Vec<VecDeque<Range<u64>>>,
    /// Counts what is read, to tell what was not used for long.
    clock: u64,
}

struct Piece {
    end: u64,
    state: State,
    /// The expectation that it was fetched for, until somebody has read from it.
    ahead_for: Option<usize>,
    used: u64,
}

enum State {
    Coming,
    Here(Vec<u8>),
    Failed(io::Error),
}

/// What there is at a position.
pub(super) enum Found {
    /// So many bytes were copied.
    Bytes(usize),
    /// It is on its way.
    Coming,
    /// It could not be had. Whoever asks again tries again.
    Failed(io::Error),
    /// Nobody has asked for it.
    Nothing,
}

impl Cache {
    /// For a file of `len` bytes.
    pub(super) fn new(len: u64) -> Cache {
        Cache {
            len,
            part: part(len),
            pieces: BTreeMap::new(),
            expected: Vec::new(),
            clock: 0,
        }
    }

    /// Remembers what will be read.
    pub(super) fn expect(&mut self, ranges: &[Range<u64>]) {
        let inside = |range: &Range<u64>| range.start..range.end.min(self.len);
        let ranges = ranges.iter().map(inside).filter(|range| !range.is_empty());
        self.expected.push(ranges.collect());
    }

    /// Copies what is at `offset` into the start of `buf`.
    pub(super) fn look(&mut self, offset: u64, buf: &mut [u8]) -> Found {
        self.clock += 1;
        let before = self.pieces.range_mut(..=offset).next_back();
        let Some((start, piece)) = before.filter(|(_, piece)| offset < piece.end) else {
            return Found::Nothing;
        };
        let start = *start;
        piece.used = self.clock;
        match &piece.state {
            State::Coming => return Found::Coming,
            State::Here(bytes) => {
                let at = usize::try_from(offset - start).unwrap_or(usize::MAX);
                let there = bytes.get(at..).unwrap_or_default();
                let count = there.len().min(buf.len());
                buf[..count].copy_from_slice(&there[..count]);
                piece.ahead_for = None;
                return Found::Bytes(count);
            }
            State::Failed(_) => {}
        }
        match self.pieces.remove(&start).map(|piece| piece.state) {
            Some(State::Failed(error)) => Found::Failed(error),
            _ => Found::Nothing,
        }
    }

    /// What to ask for so that `len` bytes at `offset`, where there is nothing, can be read.
    pub(super) fn want(&mut self, offset: u64, len: usize) -> Range<u64> {
        if let Some(end) = self.drop_before(offset) {
            return self.ask(offset..end.min(offset + self.part), None);
        }
        let len = u64::try_from(len).unwrap_or(self.part).min(self.part);
        let end = (offset + len).next_multiple_of(PAGE).min(self.len);
        // What is before it on its page is fetched along, if it is not here.
        let behind = self.pieces.range(..=offset).next_back();
        let behind = behind.map_or(0, |(_, piece)| piece.end);
        self.ask((offset - offset % PAGE).max(behind)..end, None)
    }

    /// What should be asked for because it is expected.
    pub(super) fn ahead(&mut self) -> Vec<Range<u64>> {
        let mut asked = Vec::new();
        for queue in 0..self.expected.len() {
            let waits = |piece: &&Piece| piece.ahead_for == Some(queue);
            let mut waiting = self.pieces.values().filter(waits).count();
            while waiting < AHEAD
                && let Some(part) = self.next_part(queue)
            {
                asked.push(self.ask(part, Some(queue)));
                waiting += 1;
            }
        }
        self.forget();
        asked
    }

    /// What came, or why it did not.
    pub(super) fn put(&mut self, start: u64, result: io::Result<Vec<u8>>) {
        if let Some(piece) = self.pieces.get_mut(&start) {
            piece.state = match result {
                Ok(bytes) => State::Here(bytes),
                Err(error) => State::Failed(error),
            };
        }
    }

    /// Where the expectation ends that `offset` is in, if it is in one. What that one had before
    /// `offset` was passed over.
    fn drop_before(&mut self, offset: u64) -> Option<u64> {
        let holds = |range: &Range<u64>| range.contains(&offset);
        let queue = self.expected.iter_mut().find(|q| q.iter().any(holds))?;
        while queue.front().is_some_and(|range| range.end <= offset) {
            queue.pop_front();
        }
        let front = queue.front_mut()?;
        front.start = offset;
        Some(front.end)
    }

    /// The next part of an expectation that is not here and not coming.
    fn next_part(&mut self, queue: usize) -> Option<Range<u64>> {
        loop {
            let front = self.expected.get_mut(queue)?.front_mut()?;
            if front.is_empty() {
                self.expected.get_mut(queue)?.pop_front();
                continue;
            }
            let before = self.pieces.range(..=front.start).next_back();
            match before.map(|(_, piece)| piece.end) {
                // Behind it another one may begin at once.
                Some(end) if end > front.start => front.start = end.min(front.end),
                _ => return Some(front.start..front.end.min(front.start + self.part)),
            }
        }
    }

    /// Notes that the range is on its way, as far as nothing else is there.
    fn ask(&mut self, range: Range<u64>, ahead_for: Option<usize>) -> Range<u64> {
        let next = self.pieces.range(range.start..).next();
        let end = next.map_or(range.end, |(start, _)| range.end.min(*start));
        let piece = Piece {
            end,
            state: State::Coming,
            ahead_for,
            used: self.clock,
        };
        self.pieces.insert(range.start, piece);
        range.start..end
    }

    /// Drops what was read and not used for long; pages last, since they are read again and again.
    fn forget(&mut self) {
        let len = |(start, piece): (&u64, &Piece)| piece.end - start;
        while self.pieces.iter().map(len).sum::<u64>() > KEPT {
            let read = |(_, piece): &(&u64, &Piece)| {
                matches!(piece.state, State::Here(_)) && piece.ahead_for.is_none()
            };
            let age = |(start, piece): &(&u64, &Piece)| (piece.end - **start <= PAGE, piece.used);
            let oldest = self.pieces.iter().filter(read).min_by_key(age);
            let Some(start) = oldest.map(|(start, _)| *start) else {
                return;
            };
            self.pieces.remove(&start);
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    reason = "lists of ranges, some with one"
)]
mod tests {
    use super::*;

    const PART: u64 = 2 << 20;
    const LEN: u64 = 1024 * PART;

    /// Answers everything that was asked for.
    fn serve(cache: &mut Cache, asked: Vec<Range<u64>>) -> Vec<Range<u64>> {
        for range in &asked {
            let len = usize::try_from(range.end - range.start).unwrap();
            cache.put(range.start, Ok(vec![7; len]));
        }
        asked
    }

    fn read(cache: &mut Cache, offset: u64, len: usize) -> Vec<Range<u64>> {
        let (mut asked, mut done) = (Vec::new(), 0);
        let mut buf = vec![0; len];
        while done < len {
            let at = offset + done as u64;
            match cache.look(at, &mut buf[done..]) {
                Found::Bytes(count) => done += count,
                Found::Nothing => {
                    let range = cache.want(at, len - done);
                    asked.extend(serve(cache, vec![range]));
                }
                _ => panic!("everything is served at once"),
            }
            let ahead = cache.ahead();
            asked.extend(serve(cache, ahead));
        }
        assert!(buf.iter().all(|byte| *byte == 7));
        asked
    }

    #[test]
    fn what_is_read_here_and_there_comes_in_pages_and_once() {
        let mut cache = Cache::new(LEN);
        assert_eq!(read(&mut cache, LEN - 8, 8), [LEN - PAGE..LEN]);
        assert_eq!(read(&mut cache, LEN - 2_000, 2_000), []);
        assert_eq!(read(&mut cache, 5, 10), [0..PAGE]);
        let across = read(&mut cache, PAGE - 10, 20);
        assert_eq!(across, [PAGE..2 * PAGE]);
        assert_eq!(read(&mut cache, 0, 100), []);
    }

    #[test]
    fn what_is_expected_is_fetched_once_in_parts_and_no_further() {
        let mut cache = Cache::new(LEN);
        read(&mut cache, 0, 96);
        let end = 20 * PART + 5;
        cache.expect(&[96..end]);
        let ahead = cache.ahead();
        assert_eq!(ahead.len(), AHEAD);
        let mut asked = serve(&mut cache, ahead);
        for offset in (96..end - 70_000).step_by(70_000) {
            asked.extend(read(&mut cache, offset, 70_000));
        }
        let left = (end - 96) % 70_000;
        asked.extend(read(&mut cache, end - left, usize::try_from(left).unwrap()));
        let bytes: u64 = asked.iter().map(|range| range.end - range.start).sum();
        assert_eq!(
            bytes,
            end - PAGE,
            "the page that was here, and nothing twice"
        );
        assert!(cache.pieces.len() < 16, "what was read is forgotten");
    }

    #[test]
    fn pieces_that_touch_are_passed_over_together() {
        let mut cache = Cache::new(LEN);
        read(&mut cache, 0, 10);
        read(&mut cache, PAGE, 10);
        cache.expect(&[5..3 * PAGE]);
        let ahead = cache.ahead();
        assert_eq!(serve(&mut cache, ahead), [2 * PAGE..3 * PAGE]);
        cache.expect(&[5..2 * PAGE]);
        assert_eq!(cache.ahead(), []);
    }

    #[test]
    fn a_reader_that_skips_ahead_drops_what_it_passed() {
        let mut cache = Cache::new(LEN);
        cache.expect(&[0..10 * PART, 50 * PART..51 * PART]);
        let asked = read(&mut cache, 50 * PART + 10, 10);
        assert_eq!(asked, [50 * PART + 10..51 * PART]);
    }

    #[test]
    fn a_failure_is_told_once_and_tried_again() {
        let mut cache = Cache::new(LEN);
        let range = cache.want(0, 8);
        cache.put(range.start, Err(io::ErrorKind::TimedOut.into()));
        assert!(matches!(cache.look(0, &mut [0; 8]), Found::Failed(_)));
        assert!(matches!(cache.look(0, &mut [0; 8]), Found::Nothing));
        assert_eq!(read(&mut cache, 0, 8), [0..PAGE]);
    }
}
