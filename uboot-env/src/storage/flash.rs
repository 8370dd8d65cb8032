//! A copy on raw flash: erase blocks, bad blocks, block locks.
//!
//! A copy owns whole erase blocks, `[offset, end)`. On NAND it may own more than it needs; bad
//! blocks are then skipped, as U-Boot skips them. What else lies in the last block it uses is kept
//! (read, erased, written back): a power cut in between loses that rest, so nothing but the
//! environment should live there. Two copies never share a block: that is refused at opening.

use super::mtd::{Mtd, MtdKind, Protection};
use super::{CopyError, Op, check_len};
use crate::codec::FLAGS_OFFSET;
use crate::config::FlashLock;
use crate::select::FLAG_OBSOLETE;
use devio::mtd::is_chip_failure;
use std::io;
use std::path::{Path, PathBuf};

/// The part of a flash device that a copy owns, in bytes. Start and end are multiples of the
/// erase block size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
}

/// A copy on a flash device.
pub struct FlashCopy {
    mtd: Box<dyn Mtd>,
    path: PathBuf,
    range: Range,
    size: u64,
    lock: FlashLock,
}

impl std::fmt::Debug for FlashCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlashCopy")
            .field("path", &self.path)
            .field("range", &self.range)
            .finish()
    }
}

impl FlashCopy {
    /// A copy of `size` bytes. `path` is used in errors only.
    #[must_use]
    pub fn new(mtd: Box<dyn Mtd>, path: impl Into<PathBuf>, range: Range, size: u64) -> Self {
        Self {
            mtd,
            path: path.into(),
            range,
            size,
            lock: FlashLock::Respect,
        }
    }

    /// Leaves block locks alone.
    #[must_use]
    pub fn with_lock(mut self, lock: FlashLock) -> Self {
        self.lock = lock;
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn range(&self) -> Range {
        self.range
    }

    pub(crate) fn read(&mut self) -> Result<Vec<u8>, CopyError> {
        let blocks = self.good_blocks()?;
        let len = usize::try_from(self.size).map_err(|_| self.too_few(0))?;
        let mut image = vec![0; len];
        let chunks = image.chunks_mut(self.block_len());
        for (chunk, &block) in chunks.zip(&blocks) {
            self.mtd
                .read_at(block, chunk)
                .map_err(self.io(Op::Read, block))?;
        }
        Ok(image)
    }

    /// Writes the image block by block. The first erase already makes the old content of this
    /// copy invalid, and it stays invalid until the last byte is there.
    pub(crate) fn write(&mut self, image: &[u8]) -> Result<(), CopyError> {
        check_len(image, self.size)?;
        let mut blocks = self.good_blocks()?.into_iter();
        let needed = self.needed_blocks();
        for (index, chunk) in (0..).zip(image.chunks(self.block_len())) {
            loop {
                let Some(block) = blocks.next() else {
                    return Err(self.too_few(index));
                };
                let left_after = blocks.len() as u64;
                match self.write_block(block, chunk) {
                    Ok(()) => break,
                    // A block that went bad is replaced, if there is a spare one in the range.
                    Err(e) if self.is_nand() && went_bad(&e) && left_after >= needed - index => {
                        self.mtd
                            .mark_bad(block)
                            .map_err(self.io(Op::BadBlock, block))?;
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// Clears the flags byte of the copy in place.
    pub(crate) fn obsolete(&mut self) -> Result<(), CopyError> {
        let block = self.range.start;
        self.unlocked(block, |copy| {
            let at = block + FLAGS_OFFSET as u64;
            copy.mtd
                .program(at, &[FLAG_OBSOLETE])
                .map_err(copy.io(Op::Write, at))
        })
    }

    fn write_block(&mut self, block: u64, chunk: &[u8]) -> Result<(), CopyError> {
        let mut data = chunk.to_vec();
        data.append(&mut self.rest_of_block(block, chunk.len())?);
        // Erased pages need no write, and a NAND page should be written once only.
        let page = self.page_len();
        let used = data
            .iter()
            .rposition(|&b| b != 0xFF)
            .map_or(0, |last| last + 1);
        data.resize(used.max(chunk.len()).next_multiple_of(page), 0xFF);
        self.unlocked(block, |copy| {
            if copy.mtd.geometry().kind != MtdKind::DataFlash {
                copy.mtd.erase(block).map_err(copy.io(Op::Erase, block))?;
            }
            copy.mtd
                .program(block, &data)
                .map_err(copy.io(Op::Write, block))
        })
    }

    /// What follows the environment in its last block. On NAND a torn page there is beyond saving.
    fn rest_of_block(&mut self, block: u64, used: usize) -> Result<Vec<u8>, CopyError> {
        let mut rest = vec![0xFF; self.block_len().saturating_sub(used)];
        if rest.is_empty() {
            return Ok(rest);
        }
        let at = block + used as u64;
        match self.mtd.read_at(at, &mut rest) {
            Err(e) if self.is_nand() && is_ecc_error(&e) => Ok(Vec::new()),
            other => other.map_err(self.io(Op::Read, at)).map(|()| rest),
        }
    }

    /// Runs `work` with the block unlocked, and locks it again if it was locked, also after an
    /// error.
    fn unlocked(
        &mut self,
        block: u64,
        work: impl FnOnce(&mut Self) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        if self.lock == FlashLock::Ignore
            || !self
                .mtd
                .is_locked(block)
                .map_err(self.io(Op::FlashLock, block))?
        {
            return work(self);
        }
        let failed = self.io(Op::FlashLock, block);
        self.mtd
            .set_lock(block, Protection::Unlocked)
            .map_err(failed)?;
        let done = work(self);
        let locked = self.mtd.set_lock(block, Protection::Locked);
        done?;
        locked.map_err(self.io(Op::FlashLock, block))
    }

    /// All usable blocks of the range, in order; at least as many as needed.
    fn good_blocks(&mut self) -> Result<Vec<u64>, CopyError> {
        let step = self.mtd.geometry().erase_size.max(1);
        let (mut good, mut at) = (Vec::new(), self.range.start);
        while at + step <= self.range.end {
            if !self.is_nand() || !self.mtd.is_bad(at).map_err(self.io(Op::BadBlock, at))? {
                good.push(at);
            }
            at += step;
        }
        if (good.len() as u64) < self.needed_blocks() {
            return Err(self.too_few(good.len() as u64));
        }
        Ok(good)
    }

    fn needed_blocks(&self) -> u64 {
        self.size.div_ceil(self.mtd.geometry().erase_size.max(1))
    }

    fn block_len(&self) -> usize {
        // A block beyond the address space could not be held in memory anyway.
        usize::try_from(self.mtd.geometry().erase_size)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    fn page_len(&self) -> usize {
        usize::try_from(self.mtd.geometry().write_size)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    fn is_nand(&self) -> bool {
        self.mtd.geometry().kind == MtdKind::Nand
    }

    fn too_few(&self, good: u64) -> CopyError {
        CopyError::TooFewGoodBlocks {
            path: self.path.clone(),
            offset: self.range.start,
            good,
            needed: self.needed_blocks(),
        }
    }

    fn io(&self, op: Op, offset: u64) -> impl FnOnce(io::Error) -> CopyError + use<> {
        CopyError::io(op, &self.path, offset)
    }
}

/// Erasing or programming failed in the chip itself.
fn went_bad(e: &CopyError) -> bool {
    matches!(e, CopyError::Io { op: Op::Erase | Op::Write, source, .. } if is_chip_failure(source))
}

/// `EBADMSG`: more wrong bits than ECC can correct.
fn is_ecc_error(e: &io::Error) -> bool {
    const EBADMSG: i32 = 74;
    e.raw_os_error() == Some(EBADMSG)
}
