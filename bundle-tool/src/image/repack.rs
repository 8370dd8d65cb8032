//! A squashfs with its blocks compressed anew.

use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::num::NonZeroUsize;

use super::blocks::{Compression, move_blocks};
use super::nodes::{Nodes, blocks_of_files, newest};
use super::source::Source;
use super::superblock::{LEN, NONE, Superblock};
use super::table::{Repacked, length};
use super::tail::{self, Attributes};
use super::{ImageError, MadeImage};
use crate::observer::Observer;

/// Images end with a whole page: loop devices need it.
const PAGE: u64 = 4096;
/// The level that mksquashfs does not write down.
const UNSAID_LEVEL: u8 = 15;

/// How it is done.
pub(super) struct Repack {
    pub(super) level: u8,
    /// No time is after this one.
    pub(super) newest: Option<u32>,
    /// The image's own time is that of its newest file.
    pub(super) time_of_newest_file: bool,
    pub(super) threads: NonZeroUsize,
}

/// Writes what `source` holds to `out`, which is empty.
pub(super) fn repack<W: Write + io::Seek>(
    source: &Source,
    how: &Repack,
    out: &mut W,
    observer: &mut dyn Observer,
) -> Result<MadeImage, ImageError> {
    let sb = &source.superblock;
    let inodes = source.table(sb.inodes, sb.directories)?;
    let directories = source.table(sb.directories, source.directories_end()?)?;
    let (fragments, mut blocks) = tail::fragments(source)?;
    blocks.extend(blocks_of_files(&inodes, sb.block_size)?);

    let mut superblock = sb.clone();
    if how.time_of_newest_file {
        superblock.time = newest(&inodes, sb.block_size)?;
    }
    let newest = how.newest.unwrap_or(u32::MAX);
    superblock.time = superblock.time.min(newest);
    let options = options(how.level);
    superblock.set_zstd(options);

    let mut image = Image {
        out: BufWriter::new(out),
        at: 0,
        superblock,
    };
    // The superblock's place; what it says is known at the end.
    image.write(&[0; LEN])?;
    image.write(options.as_ref().map_or(&[], <[u8; 6]>::as_slice))?;
    let compression = Compression {
        level: how.level,
        threads: how.threads,
    };
    let to = (image.at, &mut image.out as &mut dyn Write);
    let blocks = move_blocks(source, blocks, compression, to, observer)?;
    image.at = blocks.end().unwrap_or(image.at);

    let inodes = Repacked::new(inodes, how.level, "inode table");
    let directories = Repacked::new(directories, how.level, "directory table");
    let mut nodes = Nodes::new(inodes, directories, &blocks, sb.block_size, newest);
    nodes.repack()?;
    image.nodes(&nodes)?;
    image.fragments(&tail::moved_fragments(fragments, &blocks, how.level)?)?;
    image.tail(source, &nodes.inodes, how.level)?;
    Ok(MadeImage {
        len: image.finish()?,
        content: blocks.content,
        blocks: blocks.len(),
    })
}

/// zstd's options as mksquashfs has them behind the superblock: a block of four bytes, stored.
fn options(level: u8) -> Option<[u8; 6]> {
    (level != UNSAID_LEVEL).then_some([4, 0x80, level, 0, 0, 0])
}

/// The image that is written. The tables come in mksquashfs's order, by which the kernel finds out
/// where each of them ends.
struct Image<W: Write> {
    out: BufWriter<W>,
    at: u64,
    superblock: Superblock,
}

impl<W: Write> Image<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.out.write_all(bytes).map_err(ImageError::Write)?;
        self.at += length(bytes);
        Ok(())
    }

    fn nodes(&mut self, nodes: &Nodes<'_>) -> Result<(), ImageError> {
        self.superblock.root = nodes.inodes.moved(self.superblock.root)?;
        self.superblock.inodes = self.at;
        self.write(&nodes.inodes.packed)?;
        self.superblock.directories = self.at;
        self.write(&nodes.directories.packed)
    }

    fn fragments(&mut self, fragments: &Repacked) -> Result<(), ImageError> {
        if self.superblock.fragment_table != NONE {
            self.superblock.fragment_table = self.table(fragments)?;
        }
        Ok(())
    }

    fn tail(&mut self, source: &Source, inodes: &Repacked, level: u8) -> Result<(), ImageError> {
        if let Some(exports) = tail::exports(source, inodes, level)? {
            self.superblock.exports = self.table(&exports)?;
        }
        self.superblock.ids = self.table(&tail::ids(source, level)?)?;
        self.superblock.attributes = match Attributes::repack(source, level)? {
            Some(attributes) => self.attributes(&attributes)?,
            None => NONE,
        };
        Ok(())
    }

    /// Writes a table and the list of its blocks; gives the list's place.
    fn table(&mut self, table: &Repacked) -> Result<u64, ImageError> {
        let start = self.at;
        self.write(&table.packed)?;
        let list = self.at;
        self.write(&table.list(start))?;
        Ok(list)
    }

    fn attributes(&mut self, attributes: &Attributes) -> Result<u64, ImageError> {
        let values = self.at;
        self.write(&attributes.values.packed)?;
        let owners = self.at;
        self.write(&attributes.owners.packed)?;
        let place = self.at;
        self.write(&values.to_le_bytes())?;
        self.write(&attributes.count.to_le_bytes())?;
        self.write(&[0; 4])?;
        self.write(&attributes.owners.list(owners))?;
        Ok(place)
    }

    /// Writes the superblock; gives the image's length.
    fn finish(mut self) -> Result<u64, ImageError>
    where
        W: io::Seek,
    {
        self.superblock.used = self.at;
        let end = self.at.next_multiple_of(PAGE);
        while self.at < end {
            self.write(&[0])?;
        }
        let mut finish = || {
            self.out.seek(SeekFrom::Start(0))?;
            self.out.write_all(&self.superblock.to_bytes())?;
            self.out.flush()
        };
        finish().map_err(ImageError::Write)?;
        Ok(end)
    }
}
