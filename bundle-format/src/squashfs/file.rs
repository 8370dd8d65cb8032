//! Contents of regular files.

use std::io::{self, Read};

use super::bytes::Fields;
use super::inode::{FilePlace, Tail};
use super::metadata::Metadata;
use super::{NONE_U64, Result, Squashfs, SquashfsError};
use crate::payload_error::PayloadError;
use crate::read_at::ReadAt;

/// Bit of a block's size word: stored as it is.
const STORED: u32 = 1 << 24;

/// Entries of the fragment table in one metadata block.
const FRAGMENTS_PER_BLOCK: u32 = 512;

/// Packed blocks lie one after the other: this much is read from the source at once, in bytes.
const WINDOW: usize = 1024 * 1024;

/// Reads a file from its start to its end.
pub struct FileContent<R> {
    fs: Squashfs<R>,
    file: FilePlace,
    /// Next block, as an index into `file.blocks`; one beyond them is the tail.
    next: usize,
    /// Where the next packed block lies in the image.
    packed_at: u64,
    /// Packed bytes that were read already, from `packed_at` on.
    window: Vec<u8>,
    window_used: usize,
    /// The unpacked block.
    block: Vec<u8>,
    block_used: usize,
    /// Bytes of the file that are still to be unpacked.
    left: u64,
}

impl<R: ReadAt> FileContent<R> {
    pub(super) fn new(fs: Squashfs<R>, file: FilePlace) -> Self {
        let (packed_at, left) = (file.start, file.size);
        Self {
            fs,
            file,
            next: 0,
            packed_at,
            window: Vec::new(),
            window_used: 0,
            block: Vec::new(),
            block_used: 0,
            left,
        }
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.file.size
    }

    /// Unpacks the next block; `false` at the end of the file.
    fn advance(&mut self) -> Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        let block_size = u64::from(self.fs.layout.block_size);
        // At most MAX_SQUASHFS_BLOCK.
        let len = usize::try_from(self.left.min(block_size)).unwrap_or(0);
        match self.file.blocks.get(self.next) {
            Some(&word) => self.unpack_block(word, len)?,
            None => {
                let damaged = SquashfsError::Damaged {
                    what: "file size",
                    offset: self.packed_at,
                };
                let tail = self.file.tail.ok_or(damaged)?;
                self.block = self.fs.tail(tail, len)?;
            }
        }
        self.next += 1;
        self.block_used = 0;
        self.left -= len as u64;
        Ok(true)
    }

    fn unpack_block(&mut self, word: u32, len: usize) -> Result<()> {
        self.block.clear();
        self.block.resize(len, 0);
        let packed_len = packed_len(word);
        if packed_len == 0 {
            // A hole.
            return Ok(());
        }
        self.fill_window(packed_len)?;
        let offset = self.packed_at;
        let packed = &self.window[self.window_used..self.window_used + packed_len];
        self.fs.unpack(word, packed, &mut self.block, offset)?;
        self.window_used += packed_len;
        self.packed_at += packed_len as u64;
        Ok(())
    }

    /// Makes the next `packed_len` packed bytes available, and some more for the blocks to come.
    fn fill_window(&mut self, packed_len: usize) -> Result<()> {
        if self.window.len() - self.window_used >= packed_len {
            return Ok(());
        }
        let following = self.file.blocks[self.next..]
            .iter()
            .map(|word| self::packed_len(*word));
        let mut wanted = 0;
        for len in following {
            if wanted >= packed_len && wanted + len > WINDOW {
                break;
            }
            wanted += len;
        }
        self.window_used = 0;
        self.window.clear();
        self.fs.check_block(wanted, self.packed_at)?;
        self.window.resize(wanted, 0);
        let result = self
            .fs
            .source
            .read_exact_at(&mut self.window, self.packed_at);
        result.map_err(|error| {
            self.window.clear();
            PayloadError::from_io(self.packed_at, error)
        })
    }
}

impl<R: ReadAt> Squashfs<R> {
    /// The tail of a file: `len` bytes from a fragment block.
    fn tail(&self, tail: Tail, len: usize) -> Result<Vec<u8>> {
        let (offset, word) = self.fragment(tail.fragment)?;
        let packed_len = packed_len(word);
        self.check_block(packed_len, offset)?;
        let mut packed = vec![0; packed_len];
        self.source
            .read_exact_at(&mut packed, offset)
            .map_err(|error| PayloadError::from_io(offset, error))?;
        let damaged = SquashfsError::Damaged {
            what: "fragment",
            offset,
        };
        // At most MAX_SQUASHFS_BLOCK.
        let mut block = vec![0; usize::try_from(self.layout.block_size).unwrap_or(0)];
        let unpacked = self.unpack_any(word, &packed, &mut block, offset)?;
        let start = usize::try_from(tail.position).unwrap_or(usize::MAX);
        let end = start.checked_add(len).filter(|end| *end <= unpacked);
        match end {
            Some(end) => Ok(block[start..end].to_vec()),
            None => Err(damaged.into()),
        }
    }

    /// Where fragment block `index` lies, and its size word. The table is a list of `u64`, each
    /// the offset of a metadata block with 512 entries of `u64` start, `u32` size word, `u32` 0.
    fn fragment(&self, index: u32) -> Result<(u64, u32)> {
        let table = self.layout.fragment_table;
        let bounds = SquashfsError::Bounds {
            what: "fragment",
            offset: table,
        };
        let pointer = table.checked_add(u64::from(index / FRAGMENTS_PER_BLOCK) * 8);
        let pointer = match pointer {
            Some(pointer) if table != NONE_U64 && index < self.layout.fragments => pointer,
            _ => return Err(bounds.into()),
        };
        if pointer
            .checked_add(8)
            .is_none_or(|end| end > self.layout.used)
        {
            return Err(bounds.into());
        }
        let mut block = [0; 8];
        self.source
            .read_exact_at(&mut block, pointer)
            .map_err(|error| PayloadError::from_io(pointer, error))?;
        let position = usize::try_from(index % FRAGMENTS_PER_BLOCK).unwrap_or(0) * 16;
        let mut stream = Metadata::new(self, u64::from_le_bytes(block), position)?;
        let entry: [u8; 16] = stream.array()?;
        let mut fields = Fields::new(&entry);
        Ok((fields.u64()?, fields.u32()?))
    }

    /// A packed block must lie inside the image before memory is taken for it.
    fn check_block(&self, len: usize, offset: u64) -> Result<()> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.layout.used => Ok(()),
            _ => Err(SquashfsError::Bounds {
                what: "data block",
                offset,
            }
            .into()),
        }
    }

    /// Unpacks a block that has to fill `out` exactly.
    fn unpack(&self, word: u32, packed: &[u8], out: &mut [u8], offset: u64) -> Result<()> {
        let unpacked = self.unpack_any(word, packed, out, offset)?;
        if unpacked == out.len() {
            return Ok(());
        }
        let problem = format!("it gives {unpacked} bytes instead of {}", out.len());
        Err(SquashfsError::Unpack { offset, problem }.into())
    }

    fn unpack_any(&self, word: u32, packed: &[u8], out: &mut [u8], offset: u64) -> Result<usize> {
        let wrong = |problem| SquashfsError::Unpack { offset, problem };
        if word & STORED == 0 {
            return Ok(self.layout.compressor.unpack(packed, out).map_err(wrong)?);
        }
        let space = out.get_mut(..packed.len());
        let space = space.ok_or_else(|| wrong("it is larger than a block may be".to_owned()))?;
        space.copy_from_slice(packed);
        Ok(packed.len())
    }
}

impl<R: ReadAt> Read for FileContent<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.block_used == self.block.len() {
            let more = self.advance().inspect_err(|_| {
                // A half-made block is never handed out; reading again tries again.
                self.block.clear();
                self.block_used = 0;
            })?;
            if !more {
                return Ok(0);
            }
        }
        let ready = &self.block[self.block_used..];
        let len = ready.len().min(buf.len());
        buf[..len].copy_from_slice(&ready[..len]);
        self.block_used += len;
        Ok(len)
    }
}

/// Packed bytes of a block: the low 24 bits of its size word.
fn packed_len(word: u32) -> usize {
    usize::try_from(word & (STORED - 1)).unwrap_or(0)
}
