//! Contents of regular files.

use std::io::{self, Read};
use std::ops::Range;

use super::bytes::Fields;
use super::codec::Compressor;
use super::inode::{FilePlace, Tail};
use super::metadata::Metadata;
use super::{NONE_U64, Result, Squashfs, SquashfsError};
use crate::parallel;
use crate::payload_error::PayloadError;
use crate::read_at::ReadAt;

/// Bit of a block's size word: stored as it is.
const STORED: u32 = 1 << 24;

/// Entries of the fragment table in one metadata block.
const FRAGMENTS_PER_BLOCK: u32 = 512;

/// What is read and unpacked at once, in bytes of the file: enough that every core has several
/// blocks to unpack, and little enough for a small device.
const BATCH: usize = 2 * 1024 * 1024;

/// Reads a file, or a part of it, in order, a batch of blocks at a time.
pub struct FileContent<R> {
    fs: Squashfs<R>,
    file: FilePlace,
    /// Next block, as an index into `file.blocks`; one beyond them is the tail.
    next: usize,
    /// Where the next packed block lies in the image.
    packed_at: u64,
    packed: Vec<u8>,
    /// The unpacked batch.
    ready: Vec<u8>,
    ready_used: usize,
    /// Bytes of the file that are still to be unpacked.
    left: u64,
    /// The part of the file that is still to be handed out.
    wanted: Range<u64>,
    /// Bytes of a batch.
    batch: usize,
}

/// A block, and where it unpacks to.
struct Job<'a> {
    word: u32,
    packed: &'a [u8],
    out: &'a mut [u8],
    /// Of the packed bytes, in the image.
    offset: u64,
}

impl<R: ReadAt> FileContent<R> {
    pub(super) fn new(fs: Squashfs<R>, file: FilePlace) -> Self {
        let (packed_at, left) = (file.start, file.size);
        Self {
            fs,
            file,
            next: 0,
            packed_at,
            packed: Vec::new(),
            ready: Vec::new(),
            ready_used: 0,
            left,
            wanted: 0..left,
            batch: BATCH,
        }
    }

    /// From now on, no more than `bytes` are read and unpacked at once, or one block if that is more:
    /// from a source that is slow, they are there sooner.
    pub fn read_at_once(&mut self, bytes: usize) {
        self.batch = bytes.min(BATCH);
    }

    /// From now on, only `range` of the file is handed out, as far as the file goes.
    pub fn restrict(&mut self, range: Range<u64>) {
        let (size, block_size) = (self.file.size, u64::from(self.fs.layout.block_size));
        self.wanted = range.start.min(size)..range.end.min(size);
        let first = usize::try_from(self.wanted.start / block_size).unwrap_or(usize::MAX);
        self.next = first.min(self.file.blocks.len());
        self.packed_at = self.file.start + self.packed_before(self.next);
        self.left = size.saturating_sub(self.next as u64 * block_size);
        self.ready.clear();
        self.ready_used = 0;
    }

    /// Says that these ranges of the file will be read in this order soon ([`ReadAt::expect`]).
    pub fn expect(&self, ranges: &[Range<u64>]) {
        self.fs.source.expect(&self.packed(ranges));
    }

    /// Bytes that these ranges of the file take in the image, without the tail that may stand
    /// elsewhere.
    pub fn packed_len(&self, ranges: &[Range<u64>]) -> u64 {
        let packed = self.packed(ranges);
        packed.iter().map(|range| range.end - range.start).sum()
    }

    /// Where in the image these ranges of the file are.
    fn packed(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let block_size = u64::from(self.fs.layout.block_size);
        let before = |number: u64| {
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            self.file.start + self.packed_before(number.min(self.file.blocks.len()))
        };
        let packed = |range: &Range<u64>| {
            before(range.start / block_size)..before(range.end.div_ceil(block_size))
        };
        ranges.iter().map(packed).collect()
    }

    /// Packed bytes of the blocks before this one.
    fn packed_before(&self, block: usize) -> u64 {
        let words = self.file.blocks[..block].iter();
        words.map(|word| packed_len(*word) as u64).sum()
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.file.size
    }

    /// Unpacks the next batch; `false` at the end of the file.
    fn advance(&mut self) -> Result<bool> {
        if self.left == 0 || self.wanted.is_empty() {
            return Ok(false);
        }
        let block_size = u64::from(self.fs.layout.block_size);
        if self.next >= self.file.blocks.len() {
            let damaged = SquashfsError::Damaged {
                what: "file size",
                offset: self.packed_at,
            };
            // At most MAX_SQUASHFS_BLOCK.
            let len = usize::try_from(self.left.min(block_size)).unwrap_or(0);
            let tail = self.file.tail.ok_or(damaged)?;
            self.ready = self.fs.tail(tail, len)?;
            self.left -= len as u64;
            self.next += 1;
        } else {
            let count = usize::try_from((self.batch as u64 / block_size).max(1)).unwrap_or(1);
            let last = self.wanted.end.div_ceil(block_size);
            let last = usize::try_from(last).unwrap_or(usize::MAX);
            let end = (self.next + count).min(self.file.blocks.len());
            let end = end.min(last.max(self.next + 1));
            let len = self.left.min((end - self.next) as u64 * block_size);
            self.unpack_blocks(end, len)?;
            self.left -= len;
            self.packed_at += self.packed.len() as u64;
            self.next = end;
        }
        // Where a part of the file begins within a block, what is before it is not handed out.
        let start = self.file.size - self.left - self.ready.len() as u64;
        let unwanted = self.wanted.start.saturating_sub(start);
        self.ready_used = usize::try_from(unwanted)
            .map_or(self.ready.len(), |unwanted| unwanted.min(self.ready.len()));
        Ok(true)
    }

    /// Unpacks the blocks up to `end`, which give `len` bytes, on all cores.
    fn unpack_blocks(&mut self, end: usize, len: u64) -> Result<()> {
        // At most BATCH and MAX_SQUASHFS_BLOCK.
        self.ready.clear();
        self.ready.resize(usize::try_from(len).unwrap_or(0), 0);
        let words = &self.file.blocks[self.next..end];
        let packed_len = words.iter().map(|word| packed_len(*word)).sum();
        self.fs.check_block(packed_len, self.packed_at)?;
        self.packed.clear();
        self.packed.resize(packed_len, 0);
        self.fs
            .source
            .read_exact_at(&mut self.packed, self.packed_at)
            .map_err(|error| PayloadError::from_io(self.packed_at, error))?;

        let block_size = usize::try_from(self.fs.layout.block_size).unwrap_or(usize::MAX);
        let mut used = 0;
        let jobs = words.iter().zip(self.ready.chunks_mut(block_size));
        let jobs = jobs.map(|(&word, out)| {
            let packed = &self.packed[used..used + self::packed_len(word)];
            let offset = self.packed_at + used as u64;
            used += packed.len();
            Job {
                word,
                packed,
                out,
                offset,
            }
        });
        let compressor = self.fs.layout.compressor;
        let unpack = |_: &mut Vec<u8>, job: Job<'_>| job.unpack(compressor).map(|()| 0);
        parallel::run(jobs, unpack, &mut |_| {})
    }
}

impl Job<'_> {
    /// The block has to fill its place exactly.
    fn unpack(self, compressor: Compressor) -> Result<()> {
        if self.packed.is_empty() {
            // A hole: the place holds zeros already.
            return Ok(());
        }
        let len = self.out.len();
        let unpacked = unpack(compressor, self.word, self.packed, self.out, self.offset)?;
        if unpacked == len {
            return Ok(());
        }
        let problem = format!("it gives {unpacked} bytes instead of {len}");
        Err(SquashfsError::Unpack {
            offset: self.offset,
            problem,
        }
        .into())
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
        let compressor = self.layout.compressor;
        let unpacked = unpack(compressor, word, &packed, &mut block, offset)?;
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
}

impl<R: ReadAt> Read for FileContent<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while self.ready_used == self.ready.len() {
            let more = self.advance().inspect_err(|_| {
                // A half-made batch is never handed out; reading again tries again.
                self.ready.clear();
                self.ready_used = 0;
            })?;
            if !more {
                return Ok(0);
            }
        }
        let ready = &self.ready[self.ready_used..];
        let wanted = self.wanted.end - self.wanted.start;
        let len = ready.len().min(buf.len());
        let len = usize::try_from(wanted).map_or(len, |wanted| wanted.min(len));
        buf[..len].copy_from_slice(&ready[..len]);
        self.ready_used += len;
        self.wanted.start += len as u64;
        Ok(len)
    }
}

/// Packed bytes of a block: the low 24 bits of its size word.
fn packed_len(word: u32) -> usize {
    usize::try_from(word & (STORED - 1)).unwrap_or(0)
}

/// Unpacks one block into the start of `out`; returns how much that gave.
fn unpack(
    compressor: Compressor,
    word: u32,
    packed: &[u8],
    out: &mut [u8],
    offset: u64,
) -> Result<usize> {
    let wrong = |problem| SquashfsError::Unpack { offset, problem };
    if word & STORED == 0 {
        return Ok(compressor.unpack(packed, out).map_err(wrong)?);
    }
    let space = out.get_mut(..packed.len());
    let space = space.ok_or_else(|| wrong("it is larger than a block may be".to_owned()))?;
    space.copy_from_slice(packed);
    Ok(packed.len())
}
