//! What an inode has beside its content: owner, mode, time, extended attributes, device numbers.

use super::inode::{InodeBody, InodeRef};
use super::metadata::Metadata;
use super::{NONE_U64, Result, Squashfs, SquashfsError};
use crate::limits::{MAX_XATTR_BYTES, MAX_XATTRS, SQUASHFS_METADATA_SIZE};
use crate::payload_error::PayloadError;
use crate::read_at::ReadAt;

/// What the namespaces of extended attributes are called, in the order of their numbers.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// Bit of an attribute's type: its value is kept elsewhere, with that of another inode.
const ELSEWHERE: u16 = 0x100;

/// Bytes of an owner in the table.
const ID: usize = 4;

/// Bytes of an inode's attributes in the table.
const XATTR_ID: usize = 16;

/// Owner, mode and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// The low 12 bits of the mode.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub modified: u32,
}

/// What is neither a file nor a directory nor a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A block device.
    Block(Device),
    /// A character device.
    Character(Device),
    /// A pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Numbers of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// With its namespace: `security.capability`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl<R: ReadAt> Squashfs<R> {
    /// Owner, mode and time.
    ///
    /// # Errors
    /// Damaged.
    pub fn attributes(&self, inode: InodeRef) -> Result<Attributes> {
        let inode = self.inode(inode)?;
        Ok(Attributes {
            permissions: inode.permissions,
            uid: self.id(inode.uid)?,
            gid: self.id(inode.gid)?,
            modified: inode.modified,
        })
    }

    /// What it is that is neither a file nor a directory nor a link.
    ///
    /// # Errors
    /// It is one of these, or damaged.
    pub fn special(&self, inode: InodeRef) -> Result<Special> {
        match self.inode(inode)?.body {
            InodeBody::Special(special) => Ok(special),
            _ => Err(SquashfsError::NotSpecial.into()),
        }
    }

    /// Its extended attributes.
    ///
    /// # Errors
    /// Damaged, or more than anybody has.
    pub fn xattrs(&self, inode: InodeRef) -> Result<Vec<Xattr>> {
        match self.inode(inode)?.xattrs {
            Some(index) => self.xattrs_at(index),
            None => Ok(Vec::new()),
        }
    }

    /// Entry of the table of `u32` ids.
    fn id(&self, index: u16) -> Result<u32> {
        if index >= self.layout.ids {
            return Err(damaged("table of ids", self.layout.id_table));
        }
        let place = usize::from(index) * ID;
        let mut stream = self.in_table(self.layout.id_table, place)?;
        Ok(u32::from_le_bytes(stream.array()?))
    }

    /// Byte `place` of a table that is a list of `u64` places of metadata blocks.
    fn in_table(&self, list: u64, place: usize) -> Result<Metadata<'_, R>> {
        let block = (place / SQUASHFS_METADATA_SIZE) as u64;
        let offset = self.u64_at(list.saturating_add(block * 8))?;
        Metadata::new(self, offset, place % SQUASHFS_METADATA_SIZE)
    }

    fn u64_at(&self, offset: u64) -> Result<u64> {
        if offset.saturating_add(8) > self.layout.used {
            return Err(damaged("table", offset));
        }
        let mut bytes = [0; 8];
        let read = self.source.read_exact_at(&mut bytes, offset);
        read.map_err(|error| PayloadError::from_io(offset, error))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The table begins with `u64` where names and values lie and `u32` its entries; 16 bytes on comes
    /// the list of blocks. An entry: `u64` reference, `u32` attributes, `u32` bytes.
    fn xattrs_at(&self, index: u32) -> Result<Vec<Xattr>> {
        let table = self.layout.xattr_table;
        if table == NONE_U64 {
            return Err(damaged("table of attributes", table));
        }
        let start = self.u64_at(table)?;
        let entries = self.u64_at(table.saturating_add(8))? & u64::from(u32::MAX);
        if u64::from(index) >= entries {
            return Err(damaged("table of attributes", table));
        }
        let place = usize::try_from(index)
            .unwrap_or(usize::MAX)
            .saturating_mul(XATTR_ID);
        let mut entry = self.in_table(table.saturating_add(16), place)?;
        let reference = u64::from_le_bytes(entry.array()?);
        let count = u32::from_le_bytes(entry.array()?);
        if count > MAX_XATTRS {
            return Err(damaged("number of attributes", table));
        }
        let mut stream = self.attribute_stream(start, reference)?;
        let mut left = MAX_XATTR_BYTES;
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.xattr(&mut stream, start, &mut left)?);
        }
        Ok(all)
    }

    fn attribute_stream(&self, start: u64, reference: u64) -> Result<Metadata<'_, R>> {
        let [low, high, ..] = reference.to_le_bytes();
        let position = usize::from(u16::from_le_bytes([low, high]));
        Metadata::new(self, start.saturating_add(reference >> 16), position)
    }

    /// `u16` type, `u16` length of the name, name, `u32` length of the value, value; or, kept elsewhere,
    /// the `u64` reference of length and value as the value.
    fn xattr(&self, stream: &mut Metadata<'_, R>, start: u64, left: &mut usize) -> Result<Xattr> {
        let kind = u16::from_le_bytes(stream.array()?);
        let length = u16::from_le_bytes(stream.array()?);
        let namespace = NAMESPACES.get(usize::from(kind & !ELSEWHERE));
        let namespace = namespace.ok_or_else(|| damaged("attribute", stream.offset()))?;
        let name = [namespace, &*taken(stream, length.into(), left)?].concat();
        let value = if kind & ELSEWHERE == 0 {
            value(stream, left)?
        } else {
            let _eight: [u8; 4] = stream.array()?;
            let reference = u64::from_le_bytes(stream.array()?);
            value(&mut self.attribute_stream(start, reference)?, left)?
        };
        Ok(Xattr { name, value })
    }
}

fn value<R: ReadAt>(stream: &mut Metadata<'_, R>, left: &mut usize) -> Result<Vec<u8>> {
    let length = u32::from_le_bytes(stream.array()?);
    taken(stream, usize::try_from(length).unwrap_or(usize::MAX), left)
}

fn taken<R: ReadAt>(
    stream: &mut Metadata<'_, R>,
    length: usize,
    left: &mut usize,
) -> Result<Vec<u8>> {
    let too_long = || damaged("attributes of a file", stream.offset());
    *left = left.checked_sub(length).ok_or_else(too_long)?;
    let mut bytes = vec![0; length];
    stream.read(&mut bytes)?;
    Ok(bytes)
}

fn damaged(what: &'static str, offset: u64) -> PayloadError {
    SquashfsError::Damaged { what, offset }.into()
}
