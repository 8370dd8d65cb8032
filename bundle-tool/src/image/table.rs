//! A table of metadata: unpacked, and packed again block by block as its content gets ready.

use bundle_format::limits::SQUASHFS_METADATA_SIZE as BLOCK;
use casync::delta::frame_of;

use super::ImageError;
use super::fields::to_usize;
use super::source::STORED;

/// A table, and where its packed blocks were; places count from the table's start.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) bytes: Vec<u8>,
    starts: Vec<u64>,
}

impl Table {
    pub(super) fn push(&mut self, start: u64, content: &[u8]) {
        self.starts.push(start);
        self.bytes.extend_from_slice(content);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The place in the unpacked table that lies `offset` bytes into the packed block at `block`.
    pub(super) fn place(&self, block: u64, offset: u16) -> Result<usize, ImageError> {
        let number = self.starts.binary_search(&block);
        let number = number.map_err(|_| ImageError::damaged("a reference to no block", block))?;
        Ok(number * BLOCK + usize::from(offset))
    }

    /// The same of a reference: 48 bits block, 16 bits offset.
    pub(super) fn place_of(&self, reference: u64) -> Result<usize, ImageError> {
        let [a, b, ..] = reference.to_le_bytes();
        self.place(reference >> 16, u16::from_le_bytes([a, b]))
    }
}

/// A table that is being packed again. No place in the unpacked table changes, only where its
/// packed blocks begin.
pub(super) struct Repacked {
    pub(super) old: Table,
    pub(super) packed: Vec<u8>,
    starts: Vec<u64>,
    level: u8,
    name: &'static str,
}

impl Repacked {
    pub(super) fn new(old: Table, level: u8, name: &'static str) -> Self {
        Self {
            old,
            packed: Vec::new(),
            starts: Vec::new(),
            level,
            name,
        }
    }

    /// Packs all blocks of which everything lies before `ready`.
    pub(super) fn pack_before(&mut self, ready: usize) -> Result<(), ImageError> {
        while (self.starts.len() + 1) * BLOCK <= ready.min(self.old.len()) {
            self.pack_one()?;
        }
        Ok(())
    }

    /// Packs what is left.
    pub(super) fn finish(&mut self) -> Result<(), ImageError> {
        while self.starts.len() * BLOCK < self.old.len() {
            self.pack_one()?;
        }
        Ok(())
    }

    /// Where the block with this place begins now: known when all blocks before it are packed.
    pub(super) fn block_of(&self, place: usize) -> Result<u64, ImageError> {
        let number = place / BLOCK;
        let next = (number == self.starts.len()).then(|| length(&self.packed));
        let start = self.starts.get(number).copied().or(next);
        start.ok_or(ImageError::Order { what: self.name })
    }

    /// What a reference to the old table is now.
    pub(super) fn moved(&self, reference: u64) -> Result<u64, ImageError> {
        let start = self.block_of(self.old.place_of(reference)?)?;
        Ok(start << 16 | reference & 0xffff)
    }

    /// Where the packed blocks begin, if the table begins at `at`.
    pub(super) fn list(&self, at: u64) -> Vec<u8> {
        let places = self.starts.iter().map(|start| at + start);
        places.flat_map(u64::to_le_bytes).collect()
    }

    fn pack_one(&mut self) -> Result<(), ImageError> {
        let from = self.starts.len() * BLOCK;
        let content = &self.old.bytes[from..(from + BLOCK).min(self.old.len())];
        let frame = frame_of(content, self.level).map_err(ImageError::Compress)?;
        let (body, flag) = if frame.len() < content.len() {
            (frame.as_slice(), 0)
        } else {
            (content, STORED)
        };
        self.starts.push(length(&self.packed));
        // A block has 8 KiB at most.
        let header = u16::try_from(body.len()).unwrap_or(u16::MAX) | flag;
        self.packed.extend_from_slice(&header.to_le_bytes());
        self.packed.extend_from_slice(body);
        Ok(())
    }
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Numbers of the bytes from `at` on, in steps of `step`, as far as they go.
pub(super) fn entries(table: &Table, step: usize) -> impl Iterator<Item = usize> + use<> {
    (0..table.len() / step).map(move |number| to_usize(number * step))
}
