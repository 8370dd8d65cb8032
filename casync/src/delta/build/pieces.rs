//! Makes the pieces: cuts what is missing, finds what is like it, tries, and keeps the shortest.

use std::ops::Range;

use super::frames::{self, Found};
use super::level::{self, Again};
use super::similar::{Similar, each_window, sampling};
use super::{BuildError, BuildOptions, Side, read};
use crate::blob::Blob;
use crate::chunker::widen;
use crate::delta::decode::{bytes_of, contents_of};
use crate::delta::directory::{BaseRange, Piece, PieceKind};
use crate::delta::frame::pack;
use crate::delta::tools::Tools;
use crate::parallel;

/// Unit of the base's plain bytes.
const UNIT: u64 = 32 * 1024;
/// Longest piece of plain bytes. A piece and its prefix are in memory on the device; shorter ones each
/// have their own tables of codes, which are most of a piece in which little has changed.
const PLAIN_PIECE: u64 = 256 * 1024;
/// Bytes of a plain piece that are looked up for themselves: what a piece is made of need not lie together.
const PART: usize = 64 * 1024;
/// Plain bytes of the base on either side of the most similar unit.
const MARGIN: u64 = 64 * 1024;
/// Contents of the base's frames that a frame is decoded against, at least.
const FRAME_PREFIX: u32 = 512 * 1024;
/// A piece of less than this is not worth an entry and a prefix.
const SMALL: usize = 64;

/// What is needed to make pieces.
pub(super) struct Maker<'a> {
    base: &'a dyn Blob,
    new: &'a dyn Blob,
    options: &'a BuildOptions,
    base_frames: Vec<Found>,
    new_frames: Vec<Found>,
    like_plain: Similar,
    like_frame: Similar,
    level: Option<u8>,
}

/// All pieces with their data.
pub(super) struct Made {
    pub(super) pieces: Vec<(Piece, Vec<u8>)>,
    pub(super) foreign_frames: usize,
}

/// A stretch that becomes one piece.
#[derive(Clone, Debug)]
enum Stretch {
    Plain(Range<u64>),
    /// A frame, its number, and the part of it that is missing.
    Frame(usize, Range<u64>),
}

/// A piece, its data, and whether it lies in a frame that this zstd does not make again.
type Attempt = (Piece, Vec<u8>, bool);

impl<'a> Maker<'a> {
    pub(super) fn new(
        base: &'a dyn Blob,
        new: Side<'a>,
        options: &'a BuildOptions,
        runs: &[Range<u64>],
    ) -> Result<Self, BuildError> {
        let find = |image, whose| frames::find(image).map_err(|e| BuildError::Read(whose, e));
        let base_frames = find(base, "base")?;
        let new_frames = find(new.image, "new")?;
        let rule = sampling().ok_or(BuildError::Sampling)?;
        let frame_windows = parallel::map(
            options.threads,
            &numbered(&base_frames),
            |(number, found)| {
                let mut windows = Vec::new();
                // A frame that does not unpack is none.
                let mut tools = Tools::default();
                if contents_of(&[found.range()], base, &mut tools).is_ok() {
                    each_window(&rule, &tools.prefix, |hash| windows.push((hash, *number)));
                }
                windows
            },
        );
        let units: Vec<u64> = (0..base.len().div_ceil(UNIT)).collect();
        let plain_windows = parallel::map(options.threads, &units, |unit| {
            let mut windows = Vec::new();
            let range = unit * UNIT..((unit + 1) * UNIT).min(base.len());
            if !covered(&base_frames, &range) {
                let bytes = read(base, &range).map_err(|e| BuildError::Read("base", e))?;
                let number = u32::try_from(*unit).unwrap_or(u32::MAX);
                each_window(&rule, &bytes, |hash| windows.push((hash, number)));
            }
            Ok(windows)
        });
        let plain_windows: Result<Vec<_>, BuildError> = plain_windows.into_iter().collect();
        let mut maker = Self {
            base,
            new: new.image,
            options,
            base_frames,
            new_frames,
            like_plain: Similar::new(rule, plain_windows?.concat()),
            like_frame: Similar::new(rule, frame_windows.concat()),
            level: None,
        };
        let missing = |f: &&Found| runs.iter().any(|r| r.start < f.end() && f.start < r.end);
        let frames: Vec<Found> = maker.new_frames.iter().filter(missing).copied().collect();
        maker.level = level::find(maker.new, frames, options.level);
        Ok(maker)
    }

    pub(super) fn make(&self, runs: &[Range<u64>]) -> Result<Made, BuildError> {
        let stretches = self.stretches(runs);
        let made = parallel::map(self.options.threads, &stretches, |stretch| {
            self.one(stretch)
        });
        let (mut pieces, mut data_start, mut foreign_frames) = (Vec::new(), 0, 0);
        for attempt in made {
            let (mut piece, data, foreign) = attempt?;
            piece.data_start = data_start;
            data_start += u64::from(piece.data_len);
            foreign_frames += usize::from(foreign);
            pieces.push((piece, data));
        }
        Ok(Made {
            pieces,
            foreign_frames,
        })
    }

    /// Cuts the runs at the borders of frames, and what is between into pieces.
    fn stretches(&self, runs: &[Range<u64>]) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for run in runs {
            let mut at = run.start;
            let first = self.new_frames.partition_point(|f| f.end() <= run.start);
            for (number, frame) in self.new_frames.iter().enumerate().skip(first) {
                if frame.start >= run.end {
                    break;
                }
                plain(&mut stretches, at..frame.start);
                let part = at.max(frame.start)..run.end.min(frame.end());
                at = part.end;
                match stretches.last_mut() {
                    // Two runs end and begin in the same frame.
                    Some(Stretch::Frame(same, before)) if *same == number => before.end = part.end,
                    _ => stretches.push(Stretch::Frame(number, part)),
                }
            }
            plain(&mut stretches, at..run.end);
        }
        stretches
    }

    fn one(&self, stretch: &Stretch) -> Result<Attempt, BuildError> {
        match stretch {
            Stretch::Plain(range) => {
                let (piece, data) = self.plain(range)?;
                Ok((piece, data, false))
            }
            Stretch::Frame(number, part) => {
                let found = &self.new_frames[*number];
                let again = self
                    .level
                    .and_then(|level| Again::new(self.new, found, level));
                let literal = self.plain(part)?;
                let Some(again) = again else {
                    return Ok((literal.0, literal.1, true));
                };
                let foreign = !again.is_same();
                let made = self.frame(*number, &again)?;
                let shorter = made.1.len() < literal.1.len();
                let (piece, data) = if shorter { made } else { literal };
                Ok((piece, data, foreign))
            }
        }
    }

    fn plain(&self, range: &Range<u64>) -> Result<(Piece, Vec<u8>), BuildError> {
        let bytes = read(self.new, range).map_err(|e| BuildError::Read("new", e))?;
        let prefix = self.plain_prefix(&bytes);
        let mut old = Tools::default();
        bytes_of(&prefix, self.base, &mut old)
            .map_err(|e| BuildError::Read("base", io_error(e)))?;
        let packed = self.pack(&old.prefix, &bytes)?;
        let (kind, data) = if packed.len() < bytes.len() {
            (PieceKind::Packed { prefix }, packed)
        } else {
            (PieceKind::Raw, bytes)
        };
        let len = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
        Ok(piece(range.start, len, data, kind))
    }

    /// What is like each part of the bytes: the second most similar units, then the most similar ones
    /// with what is around them: what is used most is nearest.
    fn plain_prefix(&self, bytes: &[u8]) -> Vec<BaseRange> {
        if bytes.len() < SMALL {
            return Vec::new();
        }
        let (mut best, mut second) = (Vec::new(), Vec::new());
        for part in bytes.chunks(PART) {
            let units = self.like_plain.to(part);
            let Some(first) = units.first().map(|unit| u64::from(*unit) * UNIT) else {
                continue;
            };
            let start = first.saturating_sub(MARGIN);
            let around = start..(first + UNIT + MARGIN).min(self.base.len());
            let others = units.iter().map(|unit| u64::from(*unit) * UNIT);
            let other = others.clone().find(|start| !around.contains(start));
            best.push(around);
            second.extend(other.map(|start| start..(start + UNIT).min(self.base.len())));
        }
        let best = merged(best);
        let known = |range: &Range<u64>| best.iter().any(|b| b.contains(&range.start));
        second.retain(|range| !known(range));
        let ranges = merged(second).into_iter().chain(best);
        ranges.map(base_range).collect()
    }

    fn frame(&self, number: usize, again: &Again) -> Result<(Piece, Vec<u8>), BuildError> {
        let found = &self.new_frames[number];
        let prefix = self.frame_prefix(number, &again.content);
        let mut old = Tools::default();
        contents_of(&prefix, self.base, &mut old)
            .map_err(|e| BuildError::Read("base", io_error(e)))?;
        let mut data = self.pack(&old.prefix, &again.content)?;
        let (mend, second) = again
            .mend(self.options.level)
            .map_err(BuildError::Compress)?;
        data.extend_from_slice(&second);
        let kind = PieceKind::Frame {
            level: again.level,
            content: found.content,
            mend,
            prefix,
        };
        Ok(piece(found.start, found.len, data, kind))
    }

    fn frame_prefix(&self, number: usize, content: &[u8]) -> Vec<BaseRange> {
        let frames = &self.base_frames;
        let units = self.like_frame.to(content);
        // Tables at the end of an image change all over: the one as far from the end is a good guess.
        let from_end = self.new_frames.len() - number;
        let best = units.first().map(|unit| widen(*unit));
        let best = best.or_else(|| frames.len().checked_sub(from_end));
        let Some(best) = best.filter(|best| *best < frames.len()) else {
            return Vec::new();
        };
        let around = around(frames, best);
        let outside = |unit: &usize| !around.contains(unit);
        let second = units.iter().map(|unit| widen(*unit)).find(outside);
        let chosen = second.into_iter().chain(around.clone());
        chosen
            .filter_map(|n| frames.get(n))
            .map(Found::range)
            .collect()
    }

    fn pack(&self, prefix: &[u8], bytes: &[u8]) -> Result<Vec<u8>, BuildError> {
        pack(prefix, bytes, self.options.level).map_err(BuildError::Compress)
    }
}

/// Numbers of the frames around `best` whose contents are long enough together.
fn around(frames: &[Found], best: usize) -> Range<usize> {
    let (mut range, mut total) = (best..best + 1, frames[best].content);
    while total < FRAME_PREFIX && range.len() < 64 {
        let before = range.start.checked_sub(1).and_then(|n| frames.get(n));
        let after = frames.get(range.end);
        range.start -= usize::from(before.is_some());
        range.end += usize::from(after.is_some());
        let more = [before, after].into_iter().flatten();
        let more: u32 = more.map(|found| found.content).sum();
        if more == 0 {
            break;
        }
        total = total.saturating_add(more);
    }
    range
}

fn piece(start: u64, len: u32, data: Vec<u8>, kind: PieceKind) -> (Piece, Vec<u8>) {
    let data_len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let piece = Piece {
        start,
        len,
        data_start: 0,
        data_len,
        kind,
    };
    (piece, data)
}

fn plain(stretches: &mut Vec<Stretch>, range: Range<u64>) {
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + PLAIN_PIECE);
        stretches.push(Stretch::Plain(at..end));
        at = end;
    }
}

/// Ranges in ascending order, those that overlap or touch as one.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged = Vec::<Range<u64>>::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn base_range(range: Range<u64>) -> BaseRange {
    BaseRange {
        start: range.start,
        len: u32::try_from(range.end - range.start).unwrap_or(u32::MAX),
    }
}

fn numbered(frames: &[Found]) -> Vec<(u32, Found)> {
    (0..).zip(frames.iter().copied()).collect()
}

/// Whether a range lies in frames all the way: their compressed bytes are like nothing.
fn covered(frames: &[Found], range: &Range<u64>) -> bool {
    let first = frames.partition_point(|f| f.end() <= range.start);
    let mut at = range.start;
    for frame in frames[first..].iter().take_while(|f| f.start < range.end) {
        if frame.start > at + 16 {
            return false;
        }
        at = frame.end();
    }
    at >= range.end
}

fn io_error(error: crate::delta::PieceError) -> std::io::Error {
    std::io::Error::other(error)
}
