//! Raw flash, NAND and NOR: erased and programmed block by block.

use std::io::Read as _;

use devio::mtd::{Mtd, MtdError, MtdKind};
use devio::ubi::UbiError;

use super::{Proof, Writer, too_large, write_error};
use crate::install::{AssembleError, ImageStream, ReadBackError, Step};
use crate::slot::{Slot, SlotName};
use crate::storage::flash::{GoodBlocks, open_mtd};

/// What flash says.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// Raw flash.
    #[error(transparent)]
    Mtd(#[from] MtdError),
    /// A UBI volume.
    #[error(transparent)]
    Ubi(#[from] UbiError),
    /// Blocks went bad during the installation, and now too few are left.
    #[error(
        "the block at byte {offset} is worn out and was marked bad; the good blocks that are left \
         hold {len} bytes, the image has {size}"
    )]
    WornOut {
        /// The block that was the last straw.
        offset: u64,
        /// Bytes in the blocks that are good.
        len: u64,
        /// Bytes of the image.
        size: u64,
        /// What the chip said.
        source: MtdError,
    },
}

/// An MTD device and its good blocks.
pub(super) struct Flash {
    slot: SlotName,
    mtd: Mtd,
    /// Bytes that are programmed at once.
    page: usize,
    good: GoodBlocks,
    /// Bytes of the image.
    size: u64,
}

impl Flash {
    pub fn open(step: &Step, slot: &Slot) -> Result<Flash, AssembleError> {
        let mtd = open_mtd(&slot.device).map_err(|source| AssembleError::Open {
            slot: slot.name.clone(),
            source,
        })?;
        let good = GoodBlocks::of(&mtd).map_err(|source| AssembleError::Flash {
            slot: slot.name.clone(),
            source: FlashError::Mtd(source),
        })?;
        if step.size > good.len() {
            return Err(too_large(step, good.len()));
        }
        let page = usize::try_from(mtd.info().write_size).unwrap_or(usize::MAX);
        Ok(Flash {
            slot: slot.name.clone(),
            mtd,
            page: page.max(1),
            good,
            size: step.size,
        })
    }

    /// The next piece of the image in whole pages; nothing when it is through.
    fn next_block(&self, image: &mut ImageStream<'_>) -> Result<Vec<u8>, AssembleError> {
        let mut bytes = Vec::new();
        let read = image.by_ref().take(self.good.block).read_to_end(&mut bytes);
        if let Some(error) = image.take_error() {
            return Err(error);
        }
        read.map_err(write_error(&self.slot, 0))?;
        bytes.resize(bytes.len().next_multiple_of(self.page), 0xff);
        Ok(bytes)
    }
}

impl Flash {
    /// Erases the block at `offset`, and programs what belongs there.
    fn write_block(&self, offset: u64, bytes: &[u8]) -> Result<(), MtdError> {
        self.mtd.erase(offset, self.good.block)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.mtd.program(offset, bytes)
    }

    /// Marks a worn block bad and does without it, as boot loaders and mtd-utils do, if the image
    /// still fits.
    fn give_up(&mut self, offset: u64, worn: MtdError) -> Result<(), FlashError> {
        tracing::warn!("slot {}: {worn}; the block is marked bad", self.slot);
        self.mtd.mark_bad(offset)?;
        self.good.starts.retain(|block| *block != offset);
        match self.good.len() {
            len if len < self.size => Err(FlashError::WornOut {
                offset,
                len,
                size: self.size,
                source: worn,
            }),
            _ => Ok(()),
        }
    }
}

impl Writer for Flash {
    /// Every block is erased, also behind the image: what a file system finds there must be its own.
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        let slot = self.slot.clone();
        let flash = |source| AssembleError::Flash {
            slot: slot.clone(),
            source,
        };
        let mut written = 0;
        let mut bytes = self.next_block(image)?;
        while let Some(offset) = self.good.starts.get(written).copied() {
            match self.write_block(offset, &bytes) {
                Ok(()) => {
                    written += 1;
                    bytes = self.next_block(image)?;
                }
                Err(error) if error.is_worn_block() && self.mtd.info().kind == MtdKind::Nand => {
                    self.give_up(offset, error).map_err(flash)?;
                }
                Err(error) => return Err(flash(error.into())),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AssembleError> {
        // Raw flash has no cache below the character device.
        Ok(())
    }

    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError> {
        let (good, file) = (&self.good, self.mtd.file());
        proof.compare(&mut |piece, offset| good.read(file, piece, offset))
    }
}
