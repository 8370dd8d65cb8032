//! Directory listings.

use super::bytes::Fields;
use super::inode::{DirectoryPlace, InodeRef};
use super::metadata::Metadata;
use super::{Result, Squashfs, SquashfsError};
use crate::limits::{MAX_DIRECTORY_BYTES, MAX_DIRECTORY_ENTRIES};
use crate::read_at::ReadAt;

/// Entries under one header.
const MAX_RUN: u32 = 256;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: never empty, `.`, `..`, and never with a `/` or a NUL in it.
    pub name: Vec<u8>,
    /// What it is said to be; the inode decides when it is opened.
    pub kind: EntryKind,
    /// Its inode.
    pub inode: InodeRef,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket.
    Special,
}

impl<R: ReadAt> Squashfs<R> {
    /// Headers `u32` count - 1, `u32` inode block, `u32` inode number, each followed by entries
    /// `u16` inode position, `i16` number, `u16` type, `u16` length - 1, name.
    pub(super) fn listing(&self, place: &DirectoryPlace) -> Result<Vec<Entry>> {
        let too_large = |entries| SquashfsError::DirectoryTooLarge {
            entries,
            bytes: place.bytes,
        };
        if place.bytes > MAX_DIRECTORY_BYTES {
            return Err(too_large(0).into());
        }
        let mut entries = Vec::new();
        if place.bytes == 0 {
            return Ok(entries);
        }
        let offset = self
            .layout
            .directory_table
            .saturating_add(place.block.into());
        let mut stream = Metadata::new(self, offset, usize::from(place.position))?;
        let mut left = place.bytes;
        while left > 0 {
            let header: [u8; 12] = stream.array()?;
            let mut fields = Fields::new(&header);
            let (count, block) = (fields.u32()?, fields.u32()?);
            let count = count.checked_add(1).filter(|count| *count <= MAX_RUN);
            let count = count.ok_or_else(|| damaged(&stream))?;
            left = left.checked_sub(12).ok_or_else(|| damaged(&stream))?;
            for _ in 0..count {
                let (entry, len) = read_entry(&mut stream, block)?;
                left = left.checked_sub(len).ok_or_else(|| damaged(&stream))?;
                if entries.len() == MAX_DIRECTORY_ENTRIES {
                    return Err(too_large(entries.len()).into());
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

fn read_entry<R: ReadAt>(stream: &mut Metadata<'_, R>, block: u32) -> Result<(Entry, u64)> {
    let header: [u8; 8] = stream.array()?;
    let mut fields = Fields::new(&header);
    let position = fields.u16()?;
    fields.skip(2)?;
    let kind = match fields.u16()? {
        1 => EntryKind::Directory,
        2 => EntryKind::File,
        3 => EntryKind::Symlink,
        _ => EntryKind::Special,
    };
    let len = usize::from(fields.u16()?) + 1;
    if len > 256 {
        return Err(damaged(stream).into());
    }
    let mut name = vec![0; len];
    stream.read(&mut name)?;
    let tricks = name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
    if tricks {
        return Err(damaged(stream).into());
    }
    let inode = InodeRef::new(block, position);
    Ok((Entry { name, kind, inode }, 8 + len as u64))
}

fn damaged<R: ReadAt>(stream: &Metadata<'_, R>) -> SquashfsError {
    SquashfsError::Damaged {
        what: "directory",
        offset: stream.offset(),
    }
}
