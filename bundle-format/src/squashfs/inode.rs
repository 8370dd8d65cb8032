//! Inodes: what a name stands for.

use super::attributes::{Device, Special};
use super::bytes::Fields;
use super::metadata::Metadata;
use super::{Result, Squashfs, SquashfsError};
use crate::limits::MAX_FILE_BLOCKS;
use crate::read_at::ReadAt;

/// A file without a fragment.
const NO_FRAGMENT: u32 = u32::MAX;

/// An inode without extended attributes.
const NO_XATTRS: u32 = u32::MAX;

/// Longest target of a symbolic link, in bytes.
const MAX_TARGET: u32 = 4096;

/// Block sizes that are read at once.
const BLOCK_LIST_RUN: usize = 1024;

/// Where an inode lies: block in the inode table, and byte in the unpacked block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InodeRef {
    block: u64,
    position: u16,
}

impl InodeRef {
    /// 48 bits block, 16 bits position.
    pub(super) fn from_raw(raw: u64) -> Self {
        let [a, b, ..] = raw.to_le_bytes();
        Self {
            block: raw >> 16,
            position: u16::from_le_bytes([a, b]),
        }
    }

    pub(super) fn new(block: u32, position: u16) -> Self {
        Self {
            block: block.into(),
            position,
        }
    }
}

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) permissions: u16,
    /// Places in the table of ids.
    pub(super) uid: u16,
    pub(super) gid: u16,
    /// Seconds since 1970.
    pub(super) modified: u32,
    /// Place in the table of extended attributes.
    pub(super) xattrs: Option<u32>,
    pub(super) body: InodeBody,
}

#[derive(Debug)]
pub(super) enum InodeBody {
    Directory(DirectoryPlace),
    File(FilePlace),
    Symlink(Vec<u8>),
    Special(Special),
}

#[derive(Debug)]
pub(super) struct DirectoryPlace {
    /// Block in the directory table.
    pub(super) block: u32,
    pub(super) position: u16,
    /// Bytes of the listing.
    pub(super) bytes: u64,
}

#[derive(Debug, Clone)]
pub(super) struct FilePlace {
    pub(super) size: u64,
    /// Where its first block lies in the image.
    pub(super) start: u64,
    /// Size words of its whole blocks.
    pub(super) blocks: Vec<u32>,
    pub(super) tail: Option<Tail>,
}

/// The end of a file, kept with others in a fragment block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) fragment: u32,
    pub(super) position: u32,
}

impl Inode {
    /// `u16` type, `u16` mode, `u16` uid, `u16` gid, `u32` mtime, `u32` number; then by type.
    pub(super) fn read<R: ReadAt>(fs: &Squashfs<R>, inode: InodeRef) -> Result<Self> {
        let offset = fs.layout.inode_table.saturating_add(inode.block);
        let mut stream = Metadata::new(fs, offset, usize::from(inode.position))?;
        let header: [u8; 16] = stream.array()?;
        let mut fields = Fields::new(&header);
        let (kind, mode) = (fields.u16()?, fields.u16()?);
        let (uid, gid, modified) = (fields.u16()?, fields.u16()?, fields.u32()?);
        let mut xattrs = NO_XATTRS;
        let body = match kind {
            1 => basic_directory(&mut stream)?,
            2 => basic_file(fs, &mut stream)?,
            3 | 10 => symlink(&mut stream)?,
            8 => extended_directory(&mut stream, &mut xattrs)?,
            9 => extended_file(fs, &mut stream, &mut xattrs)?,
            4..=7 | 11..=14 => special(&mut stream, kind)?,
            _ => {
                let offset = stream.offset();
                return Err(SquashfsError::Damaged {
                    what: "inode",
                    offset,
                }
                .into());
            }
        };
        // Behind everything else, in the extended forms of these.
        if matches!(kind, 10..=14) {
            xattrs = u32::from_le_bytes(stream.array()?);
        }
        Ok(Self {
            permissions: mode & 0o7777,
            uid,
            gid,
            modified,
            xattrs: (xattrs != NO_XATTRS).then_some(xattrs),
            body,
        })
    }
}

/// `u32` links, and of a device its `u32` number: twelve bits of the major one above eight of the
/// minor one, whose other twelve stand in front.
fn special<R: ReadAt>(stream: &mut Metadata<'_, R>, kind: u16) -> Result<InodeBody> {
    let _links: [u8; 4] = stream.array()?;
    let mut device = || -> Result<Device> {
        let number = u32::from_le_bytes(stream.array()?);
        Ok(Device {
            major: (number >> 8) & 0xfff,
            minor: (number & 0xff) | ((number >> 12) & 0xf_ff00),
        })
    };
    Ok(InodeBody::Special(match kind {
        4 | 11 => Special::Block(device()?),
        5 | 12 => Special::Character(device()?),
        6 | 13 => Special::Fifo,
        _ => Special::Socket,
    }))
}

/// `u32` block, `u32` links, `u16` size, `u16` position, `u32` parent.
fn basic_directory<R: ReadAt>(stream: &mut Metadata<'_, R>) -> Result<InodeBody> {
    let bytes: [u8; 16] = stream.array()?;
    let mut fields = Fields::new(&bytes);
    let block = fields.u32()?;
    fields.skip(4)?;
    let (size, position) = (fields.u16()?, fields.u16()?);
    Ok(directory(block, position, size.into()))
}

/// `u32` links, `u32` size, `u32` block, `u32` parent, `u16` indexes, `u16` position, `u32` xattr.
fn extended_directory<R: ReadAt>(
    stream: &mut Metadata<'_, R>,
    xattrs: &mut u32,
) -> Result<InodeBody> {
    let bytes: [u8; 24] = stream.array()?;
    let mut fields = Fields::new(&bytes);
    fields.skip(4)?;
    let (size, block) = (fields.u32()?, fields.u32()?);
    fields.skip(6)?;
    let position = fields.u16()?;
    *xattrs = fields.u32()?;
    Ok(directory(block, position, size.into()))
}

/// The size counts three bytes for `.` and `..`, which are not stored.
fn directory(block: u32, position: u16, size: u64) -> InodeBody {
    InodeBody::Directory(DirectoryPlace {
        block,
        position,
        bytes: size.saturating_sub(3),
    })
}

/// `u32` links, `u32` length, then the target.
fn symlink<R: ReadAt>(stream: &mut Metadata<'_, R>) -> Result<InodeBody> {
    let bytes: [u8; 8] = stream.array()?;
    let mut fields = Fields::new(&bytes);
    fields.skip(4)?;
    let len = fields.u32()?;
    if len == 0 || len > MAX_TARGET {
        let offset = stream.offset();
        return Err(SquashfsError::Damaged {
            what: "symbolic link",
            offset,
        }
        .into());
    }
    let mut target = vec![0; usize::try_from(len).unwrap_or(0)];
    stream.read(&mut target)?;
    Ok(InodeBody::Symlink(target))
}

/// `u32` start, `u32` fragment, `u32` position in it, `u32` size; then the block sizes.
fn basic_file<R: ReadAt>(fs: &Squashfs<R>, stream: &mut Metadata<'_, R>) -> Result<InodeBody> {
    let bytes: [u8; 16] = stream.array()?;
    let mut fields = Fields::new(&bytes);
    let start = fields.u32()?.into();
    let tail = tail(fields.u32()?, fields.u32()?);
    let size = fields.u32()?.into();
    file(
        fs,
        stream,
        FilePlace {
            size,
            start,
            blocks: Vec::new(),
            tail,
        },
    )
}

/// `u64` start, `u64` size, `u64` sparse, `u32` links, `u32` fragment, `u32` position in it,
/// `u32` xattr; then the block sizes.
fn extended_file<R: ReadAt>(
    fs: &Squashfs<R>,
    stream: &mut Metadata<'_, R>,
    xattrs: &mut u32,
) -> Result<InodeBody> {
    let bytes: [u8; 40] = stream.array()?;
    let mut fields = Fields::new(&bytes);
    let (start, size) = (fields.u64()?, fields.u64()?);
    fields.skip(12)?;
    let tail = tail(fields.u32()?, fields.u32()?);
    *xattrs = fields.u32()?;
    file(
        fs,
        stream,
        FilePlace {
            size,
            start,
            blocks: Vec::new(),
            tail,
        },
    )
}

fn tail(fragment: u32, position: u32) -> Option<Tail> {
    (fragment != NO_FRAGMENT).then_some(Tail { fragment, position })
}

/// Reads the block sizes: one per whole block, and one for the rest if it is not in a fragment.
fn file<R: ReadAt>(
    fs: &Squashfs<R>,
    stream: &mut Metadata<'_, R>,
    mut file: FilePlace,
) -> Result<InodeBody> {
    let block_size = u64::from(fs.layout.block_size);
    let blocks = match file.tail {
        Some(_) => file.size / block_size,
        None => file.size.div_ceil(block_size),
    };
    if blocks > MAX_FILE_BLOCKS {
        return Err(SquashfsError::FileTooLarge {
            size: file.size,
            blocks,
        }
        .into());
    }
    let mut left = usize::try_from(blocks).unwrap_or(usize::MAX);
    // Memory grows with what is really there, not with what the size promises.
    let mut run = [0; BLOCK_LIST_RUN * 4];
    while left > 0 {
        let count = left.min(BLOCK_LIST_RUN);
        let run = &mut run[..count * 4];
        stream.read(run)?;
        file.blocks.extend(
            run.chunks_exact(4)
                .map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])),
        );
        left -= count;
    }
    Ok(InodeBody::File(file))
}
