//! Reading a squashfs 4.0 in our own process: nothing is mounted, nothing is trusted.
//!
//! Only what a bundle needs: looking names up, listing directories, reading files, symbolic links and,
//! of unpacked archives, what else an inode has. Every offset is checked against the image, every size against a cap before memory is
//! taken, and each look-up reads just the metadata blocks that it needs (which matters over a
//! network). Written from the format's published description; see the table at each structure.

mod attributes;
mod bytes;
mod codec;
mod directory;
mod error;
mod file;
mod inode;
mod metadata;

pub use attributes::{Attributes, Device, Special, Xattr};
pub use codec::Compressor;
pub use directory::{Entry, EntryKind};
pub use error::SquashfsError;
pub use file::FileContent;
pub use inode::InodeRef;

use crate::limits::MAX_SQUASHFS_BLOCK;
use crate::payload_error::PayloadError;
use crate::read_at::ReadAt;
use bytes::Fields;
use inode::{Inode, InodeBody};

type Result<T, E = PayloadError> = std::result::Result<T, E>;

/// Bytes of the superblock.
const SUPERBLOCK_SIZE: usize = 96;

/// "hsqs" as a little-endian number.
const MAGIC: u32 = 0x7371_7368;

/// A table or a fragment that is not there.
const NONE_U64: u64 = u64::MAX;

/// A squashfs image. `R` is cheap to clone: a reference, or an `Arc`.
#[derive(Clone)]
pub struct Squashfs<R> {
    source: R,
    layout: Layout,
}

/// What the superblock says, checked.
#[derive(Debug, Clone)]
struct Layout {
    block_size: u32,
    compressor: Compressor,
    fragments: u32,
    root: InodeRef,
    /// Bytes of the image: no table or block may reach beyond.
    used: u64,
    inode_table: u64,
    directory_table: u64,
    fragment_table: u64,
    /// How many owners and groups there are.
    ids: u16,
    id_table: u64,
    xattr_table: u64,
}

impl<R: ReadAt> Squashfs<R> {
    /// Reads the superblock.
    ///
    /// # Errors
    /// Not a squashfs 4.0, a compressor that we do not have, or sizes that cannot be.
    pub fn open(source: R) -> Result<Self> {
        let mut superblock = [0; SUPERBLOCK_SIZE];
        if source.len() < SUPERBLOCK_SIZE as u64 {
            return Err(SquashfsError::NotSquashfs.into());
        }
        source
            .read_exact_at(&mut superblock, 0)
            .map_err(|e| PayloadError::from_io(0, e))?;
        let layout = Layout::parse(&superblock, source.len())?;
        Ok(Self { source, layout })
    }

    /// The root directory.
    pub fn root(&self) -> InodeRef {
        self.layout.root
    }

    /// The entries of a directory, in the order of the image (sorted by name).
    ///
    /// # Errors
    /// Not a directory, or damaged.
    pub fn read_dir(&self, inode: InodeRef) -> Result<Vec<Entry>> {
        match self.inode(inode)?.body {
            InodeBody::Directory(place) => self.listing(&place),
            _ => Err(SquashfsError::NotDirectory.into()),
        }
    }

    /// The content of a regular file.
    ///
    /// # Errors
    /// Not a regular file, or damaged.
    pub fn file(&self, inode: InodeRef) -> Result<FileContent<R>>
    where
        R: Clone,
    {
        match self.inode(inode)?.body {
            InodeBody::File(file) => Ok(FileContent::new(self.clone(), file)),
            _ => Err(SquashfsError::NotFile.into()),
        }
    }

    /// Where a symbolic link points to.
    ///
    /// # Errors
    /// Not a symbolic link, or damaged.
    pub fn link_target(&self, inode: InodeRef) -> Result<Vec<u8>> {
        match self.inode(inode)?.body {
            InodeBody::Symlink(target) => Ok(target),
            _ => Err(SquashfsError::NotLink.into()),
        }
    }

    /// Permission bits of an inode (the low 12 bits of the mode).
    ///
    /// # Errors
    /// Damaged.
    pub fn permissions(&self, inode: InodeRef) -> Result<u16> {
        Ok(self.inode(inode)?.permissions)
    }

    /// The entry called `name` in the root directory.
    ///
    /// # Errors
    /// Damaged.
    pub fn find(&self, name: &str) -> Result<Option<Entry>> {
        let entries = self.read_dir(self.root())?;
        Ok(entries
            .into_iter()
            .find(|entry| entry.name == name.as_bytes()))
    }

    /// The regular file called `name` in the root directory; a symbolic link to another name in
    /// the root directory is followed once, as bundles may have them.
    ///
    /// # Errors
    /// No such file, something else than a file, or damaged.
    pub fn open_file(&self, name: &str) -> Result<FileContent<R>>
    where
        R: Clone,
    {
        let missing = || SquashfsError::NoSuchFile {
            name: name.to_owned(),
        };
        let entry = self.find(name)?.ok_or_else(missing)?;
        let entry = match entry.kind {
            EntryKind::Symlink => {
                let target = String::from_utf8(self.link_target(entry.inode)?);
                let target = target.map_err(|_| missing())?;
                self.find(&target)?.ok_or_else(missing)?
            }
            _ => entry,
        };
        match entry.kind {
            EntryKind::File => self.file(entry.inode),
            _ => Err(SquashfsError::NotRegular {
                name: name.to_owned(),
            }
            .into()),
        }
    }

    fn inode(&self, inode: InodeRef) -> Result<Inode> {
        Inode::read(self, inode)
    }
}

impl Layout {
    /// ```text
    ///  0 u32 magic       4 u32 inodes      8 u32 mtime      12 u32 block size
    /// 16 u32 fragments  20 u16 compressor 22 u16 block log  24 u16 flags
    /// 26 u16 ids        28 u16 major      30 u16 minor      32 u64 root inode
    /// 40 u64 bytes used 48 u64 ids        56 u64 xattrs     64 u64 inodes
    /// 72 u64 directories 80 u64 fragments 88 u64 exports
    /// ```
    fn parse(superblock: &[u8; SUPERBLOCK_SIZE], available: u64) -> Result<Self, SquashfsError> {
        let mut fields = Fields::new(superblock);
        if fields.u32()? != MAGIC {
            return Err(SquashfsError::NotSquashfs);
        }
        fields.skip(8)?;
        let block_size = fields.u32()?;
        let fragments = fields.u32()?;
        let compressor = fields.u16()?;
        let block_log = fields.u16()?;
        fields.skip(2)?;
        let ids = fields.u16()?;
        let (major, minor) = (fields.u16()?, fields.u16()?);
        let root = InodeRef::from_raw(fields.u64()?);
        let used = fields.u64()?;
        let (id_table, xattr_table) = (fields.u64()?, fields.u64()?);
        let (inode_table, directory_table) = (fields.u64()?, fields.u64()?);
        let fragment_table = fields.u64()?;
        if (major, minor) != (4, 0) {
            return Err(SquashfsError::Version { major, minor });
        }
        let sane = (4096..=MAX_SQUASHFS_BLOCK).contains(&block_size)
            && block_size.checked_ilog2() == Some(u32::from(block_log))
            && block_size.is_power_of_two();
        if !sane {
            return Err(SquashfsError::BlockSize {
                block_size,
                block_log,
            });
        }
        if used > available {
            return Err(SquashfsError::Truncated { used, available });
        }
        for (what, offset) in [
            ("inode table", inode_table),
            ("directory table", directory_table),
        ] {
            if offset < SUPERBLOCK_SIZE as u64 || offset >= used {
                return Err(SquashfsError::Bounds { what, offset });
            }
        }
        let compressor = Compressor::from_id(compressor)?;
        Ok(Self {
            block_size,
            compressor,
            fragments,
            root,
            used,
            inode_table,
            directory_table,
            fragment_table,
            ids,
            id_table,
            xattr_table,
        })
    }
}
