//! Metadata streams: inodes, directories and tables come in packed blocks of up to 8 KiB.

use super::{Result, Squashfs, SquashfsError};
use crate::limits::SQUASHFS_METADATA_SIZE;
use crate::payload_error::PayloadError;
use crate::read_at::ReadAt;

/// Bit of a metadata block's header: stored as it is.
const STORED: u16 = 0x8000;

/// Reads across metadata blocks.
pub(super) struct Metadata<'a, R> {
    fs: &'a Squashfs<R>,
    /// Where the current block starts, for messages.
    offset: u64,
    /// Where the next block starts.
    next: u64,
    block: Vec<u8>,
    position: usize,
}

impl<'a, R: ReadAt> Metadata<'a, R> {
    /// From byte `position` of the unpacked block at `offset` on.
    pub(super) fn new(fs: &'a Squashfs<R>, offset: u64, position: usize) -> Result<Self> {
        let mut metadata = Self {
            fs,
            offset,
            next: offset,
            block: Vec::new(),
            position: 0,
        };
        metadata.load()?;
        if position > metadata.block.len() {
            return Err(SquashfsError::Damaged {
                what: "reference into a block",
                offset,
            }
            .into());
        }
        metadata.position = position;
        Ok(metadata)
    }

    /// Where the current block starts.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < buf.len() {
            if self.position == self.block.len() {
                self.load()?;
            }
            let len = (self.block.len() - self.position).min(buf.len() - filled);
            buf[filled..filled + len]
                .copy_from_slice(&self.block[self.position..self.position + len]);
            self.position += len;
            filled += len;
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// `u16` header (bit 15: stored; else packed; the rest: bytes that follow), then the bytes.
    fn load(&mut self) -> Result<()> {
        let offset = self.next;
        let left = self.fs.layout.used.saturating_sub(offset);
        if left < 2 {
            return Err(SquashfsError::Bounds {
                what: "metadata block",
                offset,
            }
            .into());
        }
        // One read for header and body: what is read too much is at most 8 KiB.
        let mut raw = [0; SQUASHFS_METADATA_SIZE + 2];
        let available = usize::try_from(left).unwrap_or(usize::MAX).min(raw.len());
        let raw = &mut raw[..available];
        self.fs
            .source
            .read_exact_at(raw, offset)
            .map_err(|error| PayloadError::from_io(offset, error))?;
        let header = u16::from_le_bytes([raw[0], raw[1]]);
        let len = usize::from(header & !STORED);
        let body =
            raw.get(2..2 + len)
                .filter(|body| !body.is_empty())
                .ok_or(SquashfsError::Damaged {
                    what: "metadata block",
                    offset,
                })?;
        if header & STORED != 0 {
            self.block = body.to_vec();
        } else {
            let mut block = vec![0; SQUASHFS_METADATA_SIZE];
            let unpacked = self.fs.layout.compressor.unpack(body, &mut block);
            block.truncate(unpacked.map_err(|problem| SquashfsError::Unpack { offset, problem })?);
            self.block = block;
        }
        if self.block.is_empty() {
            return Err(SquashfsError::Damaged {
                what: "metadata block",
                offset,
            }
            .into());
        }
        self.offset = offset;
        self.next = offset + 2 + len as u64;
        self.position = 0;
        Ok(())
    }
}
