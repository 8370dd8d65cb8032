//! Raw flash, NAND and NOR: erased and programmed block by block.

use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

use devio::mtd::{BlockHealth, Mtd, MtdError};
use devio::ubi::UbiError;

use super::{Proof, Writer, too_large, write_error};
use crate::install::{AssembleError, ImageStream, ReadBackError, Step};
use crate::slot::{Slot, SlotName};

/// What flash says.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// Raw flash.
    #[error(transparent)]
    Mtd(#[from] MtdError),
    /// A UBI volume.
    #[error(transparent)]
    Ubi(#[from] UbiError),
}

/// An MTD device and its good blocks.
pub(super) struct Flash {
    slot: SlotName,
    mtd: Mtd,
    /// Bytes of a block.
    block: usize,
    /// Bytes that are programmed at once.
    page: usize,
    /// First bytes of the blocks that are not marked bad.
    good: Vec<u64>,
}

impl Flash {
    pub fn open(step: &Step, slot: &Slot) -> Result<Flash, AssembleError> {
        let flash = |source| AssembleError::Flash {
            slot: slot.name.clone(),
            source: FlashError::Mtd(source),
        };
        let mtd = Mtd::open(&slot.device).map_err(flash)?;
        let info = mtd.info();
        let block = usize::try_from(info.erase_size)
            .unwrap_or(usize::MAX)
            .max(1);
        let page = usize::try_from(info.write_size)
            .unwrap_or(usize::MAX)
            .max(1);
        let mut good = Vec::new();
        for offset in (0..u64::from(info.size)).step_by(block) {
            if mtd.block_health(offset).map_err(flash)? == BlockHealth::Good {
                good.push(offset);
            }
        }
        let len = good.len() as u64 * block as u64;
        if step.size > len {
            return Err(too_large(step, len));
        }
        Ok(Flash {
            slot: slot.name.clone(),
            mtd,
            block,
            page,
            good,
        })
    }

    fn next_block(&self, image: &mut ImageStream<'_>) -> Result<Vec<u8>, AssembleError> {
        let mut bytes = Vec::with_capacity(self.block);
        let read = image
            .by_ref()
            .take(self.block as u64)
            .read_to_end(&mut bytes);
        if let Some(error) = image.take_error() {
            return Err(error);
        }
        read.map_err(write_error(&self.slot, 0))?;
        Ok(bytes)
    }
}

impl Writer for Flash {
    /// Every block is erased, also behind the image: what a file system finds there must be its own.
    fn write(&mut self, image: &mut ImageStream<'_>) -> Result<(), AssembleError> {
        let flash = |source| AssembleError::Flash {
            slot: self.slot.clone(),
            source: FlashError::Mtd(source),
        };
        for offset in &self.good {
            let mut bytes = self.next_block(image)?;
            self.mtd.erase(*offset, self.block as u64).map_err(flash)?;
            if !bytes.is_empty() {
                bytes.resize(bytes.len().next_multiple_of(self.page), 0xff);
                let written = self.mtd.file().write_all_at(&bytes, *offset);
                written.map_err(write_error(&self.slot, *offset))?;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AssembleError> {
        // Raw flash has no cache below the character device.
        Ok(())
    }

    fn read_back(&mut self, proof: &mut Proof<'_>) -> Result<(), ReadBackError> {
        let (good, block, file) = (&self.good, self.block as u64, self.mtd.file());
        proof.compare(&mut |piece, offset| {
            let mut done = 0;
            while done < piece.len() {
                let at = offset + done as u64;
                let number = usize::try_from(at / block).map_err(io::Error::other)?;
                let start = good.get(number).ok_or(io::ErrorKind::UnexpectedEof)?;
                let left = usize::try_from(block - at % block).unwrap_or(usize::MAX);
                let end = (done + left).min(piece.len());
                file.read_exact_at(&mut piece[done..end], start + at % block)?;
                done = end;
            }
            Ok(())
        })
    }
}
