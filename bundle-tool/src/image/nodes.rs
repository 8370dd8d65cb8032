//! Inodes and directories, which name each other's places.
//!
//! mksquashfs writes a directory's children, then its listing, then its inode, and packs the blocks
//! of both tables as they fill up. In the same order, each place that is named is known already.

use super::ImageError;
use super::blocks::{Block, MovedBlocks};
use super::fields::{narrow, put, u16_at, u32_at};
use super::inode::{Directory, File, Inode, Kind, TIME};
use super::table::{Repacked, Table};

/// Bytes of a run of directory entries before the first one, and of an entry before its name.
const RUN: usize = 12;
const ENTRY: usize = 8;

/// The blocks of all files, in the order of the inodes.
pub(super) fn blocks_of_files(table: &Table, block_size: u32) -> Result<Vec<Block>, ImageError> {
    let (mut blocks, mut at) = (Vec::new(), 0);
    while at < table.len() {
        let inode = Inode::parse(&table.bytes, at, block_size)?;
        at = inode.end;
        if let Kind::File(file) = inode.kind {
            let mut start = file.start;
            for number in 0..file.count {
                let word = u32_at(&table.bytes, file.words + 4 * number)?;
                let block = Block { start, word };
                start = block.end();
                if !block.is_hole() {
                    blocks.push(block);
                }
            }
        }
    }
    Ok(blocks)
}

/// The newest time of any inode.
pub(super) fn newest(table: &Table, block_size: u32) -> Result<u32, ImageError> {
    let (mut newest, mut at) = (0, 0);
    while at < table.len() {
        newest = newest.max(u32_at(&table.bytes, at + TIME)?);
        at = Inode::parse(&table.bytes, at, block_size)?.end;
    }
    Ok(newest)
}

/// Both tables on the move.
pub(super) struct Nodes<'a> {
    pub(super) inodes: Repacked,
    pub(super) directories: Repacked,
    /// Runs of directory entries before this place are done.
    runs_done: usize,
    blocks: &'a MovedBlocks,
    block_size: u32,
    /// No time is after this one.
    newest: u32,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(
        inodes: Repacked,
        directories: Repacked,
        blocks: &'a MovedBlocks,
        block_size: u32,
        newest: u32,
    ) -> Self {
        Self {
            inodes,
            directories,
            runs_done: 0,
            blocks,
            block_size,
            newest,
        }
    }

    /// Puts the new places into both tables, and packs them.
    pub(super) fn repack(&mut self) -> Result<(), ImageError> {
        let mut at = 0;
        while at < self.inodes.old.len() {
            let inode = Inode::parse(&self.inodes.old.bytes, at, self.block_size)?;
            match &inode.kind {
                Kind::Directory(directory) => self.directory(directory)?,
                Kind::File(file) => self.file(file)?,
                Kind::Other => {}
            }
            let time = u32_at(&self.inodes.old.bytes, at + TIME)?.min(self.newest);
            put(&mut self.inodes.old.bytes, at + TIME, time.to_le_bytes());
            at = inode.end;
            self.inodes.pack_before(at)?;
        }
        self.inodes.finish()?;
        self.runs_before(self.directories.old.len())?;
        self.directories.finish()
    }

    fn file(&mut self, file: &File) -> Result<(), ImageError> {
        let table = &mut self.inodes.old.bytes;
        let (mut start, mut first, mut next) = (file.start, None, 0);
        for number in 0..file.count {
            let at = file.words + 4 * number;
            let word = u32_at(table, at)?;
            let block = Block { start, word };
            start = block.end();
            if block.is_hole() {
                continue;
            }
            let moved = self.blocks.find(block.start)?;
            // A file's blocks follow one another: only the first one's place is named.
            if first.is_some() && moved.start != next {
                return Err(ImageError::damaged("a file with a gap", block.start));
            }
            first = first.or(Some(moved.start));
            next = moved.end();
            put(table, at, moved.word.to_le_bytes());
        }
        let first = first.unwrap_or(0);
        if file.wide {
            put(table, file.at, first.to_le_bytes());
        } else {
            let first = narrow(first, "a file's place")?;
            put(table, file.at, first.to_le_bytes());
        }
        Ok(())
    }

    fn directory(&mut self, directory: &Directory) -> Result<(), ImageError> {
        let table = &self.inodes.old.bytes;
        if directory.empty {
            // It has no listing, and says where one would have been.
            put(&mut self.inodes.old.bytes, directory.block, [0; 4]);
            put(&mut self.inodes.old.bytes, directory.offset, [0; 2]);
            return Ok(());
        }
        let offset = u16_at(table, directory.offset)?;
        let mut places = vec![(directory.block, offset)];
        places.extend(directory.index.iter().map(|at| (*at, 0)));
        for (at, offset) in places {
            let block = u32_at(&self.inodes.old.bytes, at)?;
            let place = self.directories.old.place(block.into(), offset)?;
            self.runs_before(place)?;
            let block = narrow(self.directories.block_of(place)?, "a directory's place")?;
            put(&mut self.inodes.old.bytes, at, block.to_le_bytes());
        }
        Ok(())
    }

    /// Moves the runs of entries that begin before `place`, and packs the blocks before it.
    fn runs_before(&mut self, place: usize) -> Result<(), ImageError> {
        while self.runs_done < place {
            let at = self.runs_done;
            let table = &self.directories.old.bytes;
            let mut end = at + RUN;
            for _ in 0..=u32_at(table, at)? {
                let name = usize::from(u16_at(table, end + 6)?);
                end += ENTRY + name + 1;
            }
            let block = u32_at(table, at + 4)?;
            let inode = self.inodes.old.place(block.into(), 0)?;
            let block = narrow(self.inodes.block_of(inode)?, "an inode's place")?;
            put(&mut self.directories.old.bytes, at + 4, block.to_le_bytes());
            self.runs_done = end;
        }
        self.directories.pack_before(place)
    }
}
