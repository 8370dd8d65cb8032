//! Finds out how the frames of an image were made.

use super::frames::Found;
use super::read;
use crate::blob::Blob;
use crate::chunker::widen;
use crate::delta::frame::{frame_of, pack, unpack};

/// Levels that are tried on an image's frames, the usual ones first.
const LEVELS: [u8; 22] = [
    15, 3, 19, 9, 22, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 20, 21,
];
/// Frames that the level is found out with.
const PROBES: usize = 12;
/// Frames that are mended at each level, where none comes out the same.
const MENDED: usize = 3;

/// A frame of the new image, and what this zstd makes of its content.
pub(super) struct Again {
    pub(super) frame: Vec<u8>,
    pub(super) content: Vec<u8>,
    pub(super) made: Vec<u8>,
    pub(super) level: u8,
}

impl Again {
    /// What this zstd makes of the content of `found` at `level`.
    pub(super) fn new(image: &dyn Blob, found: &Found, level: u8) -> Option<Again> {
        let frame = read(image, &(found.start..found.end())).ok()?;
        let mut content = vec![0; widen(found.content)];
        unpack(&[], &frame, &mut content).ok()?;
        let made = frame_of(&content, level).ok()?;
        Some(Again {
            frame,
            content,
            made,
            level,
        })
    }

    pub(super) fn is_same(&self) -> bool {
        self.frame == self.made
    }
}

/// The level that makes most of some of these frames again. If none makes any, another zstd made all of
/// them: then the level whose frames are mended with the fewest bytes.
pub(super) fn find(image: &dyn Blob, mut frames: Vec<Found>, packing: i32) -> Option<u8> {
    frames.sort_unstable_by_key(|found| std::cmp::Reverse(found.content));
    let step = (frames.len() / (2 * PROBES)).max(1);
    let probes: Vec<Found> = frames.into_iter().step_by(step).take(PROBES).collect();
    let hits = |level: u8| {
        let again = probes.iter().filter_map(|f| Again::new(image, f, level));
        again.filter(Again::is_same).count()
    };
    let mut best = (0, None);
    for level in LEVELS {
        let count = hits(level);
        if count > best.0 {
            best = (count, Some(level));
        }
        // Neighbouring levels often make the same of a block: half of them is a sure sign.
        if count * 2 > probes.len() {
            break;
        }
    }
    let few = probes.get(..MENDED).unwrap_or(&probes);
    best.1.or_else(|| nearest(image, few, packing))
}

fn nearest(image: &dyn Blob, probes: &[Found], packing: i32) -> Option<u8> {
    let mended = |level: u8| -> Option<usize> {
        let mend = |found: &Found| {
            let again = Again::new(image, found, level)?;
            Some(pack(&again.made, &again.frame, packing).ok()?.len())
        };
        probes.iter().map(mend).sum()
    };
    let levels = LEVELS.into_iter().filter(|_| !probes.is_empty());
    let costs = levels.filter_map(|level| Some((mended(level)?, level)));
    Some(costs.min_by_key(|(bytes, _)| *bytes)?.1)
}
