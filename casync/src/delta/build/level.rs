//! Finds out how the frames of an image were made.

use std::io;

use super::frames::Found;
use super::read;
use crate::blob::Blob;
use crate::chunker::widen;
use crate::delta::directory::Mend;
use crate::delta::frame::{frame_of, pack, unpack};
use crate::delta::parts::{put_together, take_apart};
use crate::limits::DELTA_PARTS;

/// Levels that are tried on an image's frames, the usual ones first.
const LEVELS: [u8; 22] = [
    15, 3, 19, 9, 22, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 20, 21,
];
/// Frames that the level is found out with.
const PROBES: usize = 12;
/// Frames that are mended at each level, where hardly any comes out the same.
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

    /// What makes the image's frame of the one that this zstd makes, and the second frame for it.
    pub(super) fn mend(&self, packing: i32) -> io::Result<(Mend, Vec<u8>)> {
        if self.is_same() {
            return Ok((Mend::None, Vec::new()));
        }
        if let Some((known, parts)) = self.parts() {
            let second = pack(&known, &parts, packing)?;
            let mend = Mend::Parts {
                len: u32::try_from(second.len()).unwrap_or(u32::MAX),
                parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
            };
            return Ok((mend, second));
        }
        let second = pack(&self.made, &self.frame, packing)?;
        let len = u32::try_from(second.len()).unwrap_or(u32::MAX);
        Ok((Mend::Bytes { len }, second))
    }

    /// The parts of both frames, if those of the image's come together again.
    fn parts(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let parts = take_apart(&self.frame).filter(|parts| parts.len() <= DELTA_PARTS)?;
        let again = put_together(&parts, &self.content)?;
        (again == self.frame).then_some((take_apart(&self.made)?, parts))
    }
}

/// The level that makes more than half of some of these frames again. If none does, another zstd made
/// them: then the level whose frames are mended with the fewest bytes.
pub(super) fn find(image: &dyn Blob, mut frames: Vec<Found>, packing: i32) -> Option<u8> {
    frames.sort_unstable_by_key(|found| std::cmp::Reverse(found.content));
    let step = (frames.len() / (2 * PROBES)).max(1);
    let probes: Vec<Found> = frames.into_iter().step_by(step).take(PROBES).collect();
    let hits = |level: u8| {
        let again = probes.iter().filter_map(|f| Again::new(image, f, level));
        again.filter(Again::is_same).count()
    };
    // Neighbouring levels often make the same of a block: half of them is a sure sign.
    let sure = LEVELS.into_iter().find(|l| hits(*l) * 2 > probes.len());
    let few = probes.get(..MENDED).unwrap_or(&probes);
    sure.or_else(|| nearest(image, few, packing))
}

fn nearest(image: &dyn Blob, probes: &[Found], packing: i32) -> Option<u8> {
    let mended = |level: u8| -> Option<usize> {
        let mend = |found: &Found| {
            let (_, second) = Again::new(image, found, level)?.mend(packing).ok()?;
            Some(second.len())
        };
        probes.iter().map(mend).sum()
    };
    let levels = LEVELS.into_iter().filter(|_| !probes.is_empty());
    let costs = levels.filter_map(|level| Some((mended(level)?, level)));
    Some(costs.min_by_key(|(bytes, _)| *bytes)?.1)
}
