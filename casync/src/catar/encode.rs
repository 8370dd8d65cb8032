//! A tree to an archive.

use std::io::{self, Write};

use thiserror::Error;

use super::goodbye::Children;
use super::tree::{Kind, Node, TreeError, check_target};
use super::{
    DEVICE, DEVICE_SIZE, ENTRY, ENTRY_SIZE, FILENAME, HEADER_SIZE, PAYLOAD, SECOND, SYMLINK, flag,
    unix_flags,
};
use crate::chunk::DigestKind;
use crate::index::FeatureFlags;
use crate::limits::MAX_TREE_DEPTH;

/// A tree cannot be written as an archive.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// Something in it has no place in an archive.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The root is no directory.
    #[error("the root of an archive has to be a directory")]
    Root,
    /// A content is longer or shorter than was said.
    #[error("a file has {found} bytes of content where {expected} were announced")]
    Length {
        /// What was said.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A time too late for the format (the year 2554).
    #[error("the time {0} (seconds since 1970) is too late for the format")]
    Time(u64),
    /// A content cannot be read, or the archive not be written.
    #[error("cannot write the archive")]
    Io(#[from] io::Error),
}

/// Writes the archive of `root`; `content` writes the content of a file. Returns its length in
/// bytes.
///
/// # Errors
/// The tree has no archive, or writing fails.
pub fn encode<C>(
    root: &Node<C>,
    flags: FeatureFlags,
    content: &mut dyn FnMut(&C, &mut dyn Write) -> io::Result<()>,
    output: &mut dyn Write,
) -> Result<u64, EncodeError> {
    if !matches!(root.kind, Kind::Directory(_)) {
        return Err(EncodeError::Root);
    }
    let mut archive = Archive {
        flags: flags.bits(),
        content,
        output: Counted { output, written: 0 },
    };
    archive.node(root, 0)?;
    Ok(archive.output.written)
}

/// The feature flags that an archive of `root` needs, and the index of it has.
pub fn feature_flags<C>(root: &Node<C>, digest: DigestKind) -> FeatureFlags {
    let uids = if fits_16_bits(root) {
        flag::UIDS_16_BIT
    } else {
        flag::UIDS_32_BIT
    };
    FeatureFlags::for_archive(unix_flags(uids, digest))
}

fn fits_16_bits<C>(node: &Node<C>) -> bool {
    let fits = |id: u32| u16::try_from(id).is_ok();
    let own = fits(node.metadata.uid) && fits(node.metadata.gid);
    own && match &node.kind {
        Kind::Directory(children) => children.iter().all(|(_, child)| fits_16_bits(child)),
        _ => true,
    }
}

struct Archive<'a, C> {
    flags: u64,
    content: &'a mut dyn FnMut(&C, &mut dyn Write) -> io::Result<()>,
    output: Counted<'a>,
}

impl<C> Archive<'_, C> {
    fn node(&mut self, node: &Node<C>, depth: usize) -> Result<(), EncodeError> {
        if depth > MAX_TREE_DEPTH {
            return Err(TreeError::TooDeep.into());
        }
        let begin = self.output.written;
        let metadata = &node.metadata;
        let modified = metadata
            .modified
            .checked_mul(SECOND)
            .ok_or(EncodeError::Time(metadata.modified))?;
        self.words(&[
            ENTRY_SIZE,
            ENTRY,
            self.flags,
            node.kind.mode() | u64::from(metadata.permissions & 0o7777),
            0,
            metadata.uid.into(),
            metadata.gid.into(),
            modified,
        ])?;
        match &node.kind {
            Kind::Directory(directory) => {
                let mut children = Children::new(begin);
                for (name, child) in directory.iter() {
                    let begin = self.output.written;
                    self.text(FILENAME, name)?;
                    self.node(child, depth + 1)?;
                    children.push(name, begin, self.output.written);
                }
                let table = children.table(self.output.written);
                self.output.write_all(&table)?;
            }
            Kind::File { len, content } => self.file(*len, content)?,
            Kind::Symlink(target) => {
                check_target(target)?;
                self.text(SYMLINK, target)?;
            }
            Kind::Device(_, major, minor) => {
                self.words(&[DEVICE_SIZE, DEVICE, (*major).into(), (*minor).into()])?;
            }
            Kind::Fifo | Kind::Socket => {}
        }
        Ok(())
    }

    fn file(&mut self, expected: u64, content: &C) -> Result<(), EncodeError> {
        self.words(&[HEADER_SIZE.saturating_add(expected), PAYLOAD])?;
        let begin = self.output.written;
        (self.content)(content, &mut self.output)?;
        let found = self.output.written - begin;
        if found != expected {
            return Err(EncodeError::Length { expected, found });
        }
        Ok(())
    }

    fn words(&mut self, words: &[u64]) -> io::Result<()> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.output.write_all(&bytes)
    }

    fn text(&mut self, kind: u64, text: &[u8]) -> io::Result<()> {
        self.words(&[HEADER_SIZE + text.len() as u64 + 1, kind])?;
        self.output.write_all(text)?;
        self.output.write_all(&[0])
    }
}

struct Counted<'a> {
    output: &'a mut dyn Write,
    written: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.output.write(bytes)?;
        self.written += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
