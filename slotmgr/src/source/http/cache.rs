//! What was fetched, what is on its way, and what is to be fetched next. No I/O.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;

/// Unit of what is read here and there: a directory of a bundle, a few blocks of its hash tree.
const PAGE: u64 = 16 << 10;

/// Parts of one expectation that are on their way, or wait to be read: as few as this while the reader is
/// slower than the network, since what is under way is lost if the process is killed.
const AHEAD_LEAST: usize = 3;

/// The same once the reader has waited for the network: on a link with a long way to the server, most
/// of the time of a request is spent on the way.
pub(super) const AHEAD_MOST: usize = 8;

/// The same while the part that the reader waits for has to be asked for again, after a pause that the
/// server wants: the others do not wait for it.
const AHEAD_OF_LATE: usize = 2 * AHEAD_MOST;

/// Parts that came before they were wanted, after which one less is asked for ahead.
const IN_TIME: usize = 8;

/// Bytes that are kept.
const KEPT: u64 = 12 << 20;

/// Bytes of one request for what is read in order, `len` bytes in all: few requests, and little that
/// is lost if the process is killed while some of them are under way. [`AHEAD_MOST`] of the largest are
/// what a link of 20 MB/s brings in 0.2 s.
fn part(len: u64) -> u64 {
    const SMALLEST: u64 = 64 << 10;
    const LARGEST: u64 = 512 << 10;
    let part = (len / 1024).clamp(SMALLEST, LARGEST);
    part - part % SMALLEST
}

/// The pieces of a file that are here or coming. They do not overlap.
pub(super) struct Cache {
    len: u64,
    /// Bytes of one request for what is read in order.
    part: u64,
    /// By their start.
    pieces: BTreeMap<u64, Piece>,
    /// One for each call of `expect`.
    expected: Vec<Expectation>,
    /// Counts what is read, to tell what was not used for long.
    clock: u64,
}

/// What somebody will read.
struct Expectation {
    /// What was not asked for yet.
    left: VecDeque<Range<u64>>,
    /// Bytes of one request for it.
    part: u64,
    /// Parts of it that are on their way, or wait to be read.
    ahead: usize,
    /// How many of them came in time since `ahead` was changed.
    in_time: usize,
}

struct Piece {
    end: u64,
    state: State,
    /// The expectation that it was fetched for, until somebody has read from it.
    ahead_for: Option<usize>,
    /// Somebody wanted to read it before it was here.
    is_late: bool,
    used: u64,
}

impl Expectation {
    /// A part was here before it was wanted.
    fn was_in_time(&mut self) {
        self.in_time += 1;
        if self.in_time == IN_TIME {
            (self.ahead, self.in_time) = ((self.ahead - 1).max(AHEAD_LEAST), 0);
        }
    }
}

impl Piece {
    fn is_coming(&self) -> bool {
        matches!(self.state, State::Coming)
    }
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
        let left: VecDeque<Range<u64>> = ranges.collect();
        self.expected.push(Expectation {
            part: part(left.iter().map(|range| range.end - range.start).sum()),
            left,
            ahead: AHEAD_LEAST,
            in_time: 0,
        });
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
            State::Coming => {
                let is_late = std::mem::replace(&mut piece.is_late, true);
                let queue = piece.ahead_for.filter(|_| !is_late);
                if let Some(expected) = queue.and_then(|queue| self.expected.get_mut(queue)) {
                    (expected.ahead, expected.in_time) = (AHEAD_MOST, 0);
                }
                return Found::Coming;
            }
            State::Here(bytes) => {
                let at = usize::try_from(offset - start).unwrap_or(usize::MAX);
                let there = bytes.get(at..).unwrap_or_default();
                let count = there.len().min(buf.len());
                buf[..count].copy_from_slice(&there[..count]);
                let queue = piece.ahead_for.take();
                let queue = queue.filter(|_| !piece.is_late);
                if let Some(expected) = queue.and_then(|queue| self.expected.get_mut(queue)) {
                    expected.was_in_time();
                }
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
        if let Some((end, part)) = self.drop_before(offset) {
            return self.ask(offset..end.min(offset + part), None);
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
            for _ in 0..self.room(queue) {
                let Some(part) = self.next_part(queue) else {
                    break;
                };
                asked.push(self.ask(part, Some(queue)));
            }
        }
        self.forget();
        asked
    }

    /// How many more parts of an expectation should be asked for.
    fn room(&self, queue: usize) -> usize {
        let of_queue = |piece: &&Piece| piece.ahead_for == Some(queue);
        let ahead: Vec<&Piece> = self.pieces.values().filter(of_queue).collect();
        let coming = ahead.iter().filter(|piece| piece.is_coming()).count();
        let is_late = |piece: &&Piece| piece.is_late && piece.is_coming();
        let most = match ahead.first().copied().filter(is_late) {
            Some(_) => AHEAD_OF_LATE,
            None => self.expected.get(queue).map_or(0, |one| one.ahead),
        };
        let total = most.saturating_sub(ahead.len());
        total.min(AHEAD_MOST.saturating_sub(coming))
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

    /// Where the part of an expectation ends that `offset` is in, if it is in one, and how much of it is
    /// asked for at once. What that one had before `offset` was passed over.
    fn drop_before(&mut self, offset: u64) -> Option<(u64, u64)> {
        let holds = |range: &Range<u64>| range.contains(&offset);
        let mut all = self.expected.iter_mut();
        let Expectation { left, part, .. } = all.find(|one| one.left.iter().any(holds))?;
        while left.front().is_some_and(|range| range.end <= offset) {
            left.pop_front();
        }
        let front = left.front_mut()?;
        front.start = offset;
        Some((front.end, *part))
    }

    /// The next part of an expectation that is not here and not coming.
    fn next_part(&mut self, queue: usize) -> Option<Range<u64>> {
        let Expectation { left, part, .. } = self.expected.get_mut(queue)?;
        loop {
            let front = left.front_mut()?;
            if front.is_empty() {
                left.pop_front();
                continue;
            }
            let before = self.pieces.range(..=front.start).next_back();
            match before.map(|(_, piece)| piece.end) {
                // Behind it another one may begin at once.
                Some(end) if end > front.start => front.start = end.min(front.end),
                _ => return Some(front.start..front.end.min(front.start + *part)),
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
            is_late: false,
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

    const PART: u64 = 512 << 10;
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
        assert_eq!(ahead.len(), AHEAD_LEAST);
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
        let kept = cache.pieces.iter().map(|(start, piece)| piece.end - start);
        assert!(kept.sum::<u64>() <= KEPT, "what was read is forgotten");
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
        assert_eq!(asked[0].start, 50 * PART + 10);
        assert!(asked.iter().all(|range| range.end <= 51 * PART));
    }

    /// Parts that nobody has read from.
    fn ahead_of(cache: &Cache) -> usize {
        let waiting = |piece: &&Piece| piece.ahead_for.is_some();
        cache.pieces.values().filter(waiting).count()
    }

    #[test]
    fn who_has_to_wait_has_more_fetched_ahead_and_who_does_not_less() {
        let mut cache = Cache::new(LEN);
        cache.expect(&[0..1024 * PART]);
        let mut coming = cache.ahead();
        let mut buf = vec![0; usize::try_from(PART).unwrap()];
        assert!(matches!(cache.look(0, &mut buf), Found::Coming));
        let mut at_once = Vec::new();
        for number in 0..50 {
            coming.extend(cache.ahead());
            serve(&mut cache, std::mem::take(&mut coming));
            at_once.push(ahead_of(&cache));
            assert!(matches!(
                cache.look(number * PART, &mut buf),
                Found::Bytes(_)
            ));
        }
        assert_eq!(at_once[0], AHEAD_MOST);
        assert_eq!(at_once[49], AHEAD_LEAST);
        assert!(at_once.is_sorted_by(|one, next| one >= next));
    }

    #[test]
    fn a_part_that_does_not_come_does_not_hold_up_the_others() {
        let mut cache = Cache::new(LEN);
        cache.expect(&[0..1024 * PART]);
        let mut asked = cache.ahead();
        let mut buf = [0; 8];
        for _ in 0..20 {
            assert!(matches!(cache.look(0, &mut buf), Found::Coming));
            asked.extend(cache.ahead());
            let but_the_first = asked.drain(..).filter(|range| range.start > 0);
            let but_the_first = but_the_first.collect();
            serve(&mut cache, but_the_first);
        }
        assert_eq!(ahead_of(&cache), AHEAD_OF_LATE);
        serve(&mut cache, vec![0..PART]);
        assert!(matches!(cache.look(0, &mut buf), Found::Bytes(_)));
        assert_eq!(cache.ahead(), [], "there is enough for now");
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
