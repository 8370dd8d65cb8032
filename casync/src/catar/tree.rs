//! A directory tree in memory; the content of files stays elsewhere.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::limits::{MAX_LINK_TARGET, MAX_NAME, MAX_TREE_DEPTH};

/// Owner, permissions and time of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The lowest 12 bits of a mode: permissions, set-user-id, set-group-id, sticky.
    pub permissions: u16,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content, in seconds since 1970.
    pub modified: u64,
}

/// A node: `C` stands for the content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<C> {
    /// Owner, permissions and time.
    pub metadata: Metadata,
    /// What it is.
    pub kind: Kind<C>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<C> {
    /// A directory.
    Directory(Directory<C>),
    /// A file of this many bytes.
    File {
        /// Bytes of the content.
        len: u64,
        /// Where the content is.
        content: C,
    },
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A device.
    Device(NodeKind, u32, u32),
    /// A pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Read and written byte by byte.
    Character,
    /// Read and written in blocks.
    Block,
}

/// The children of a directory, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory<C>(BTreeMap<Vec<u8>, Node<C>>);

impl<C> Default for Directory<C> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// What must not be in a tree.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TreeError {
    /// A name that is none, or that leads elsewhere.
    #[error(
        "'{0}' is no name of a file: empty, '.', '..', longer than {MAX_NAME} bytes, or with '/' or NUL in it"
    )]
    Name(String),
    /// A link to nowhere.
    #[error("a link's target is empty, longer than {MAX_LINK_TARGET} bytes, or has NUL in it")]
    Target,
    /// Directories in directories in …
    #[error("directories are nested deeper than {MAX_TREE_DEPTH}")]
    TooDeep,
}

impl<C> Directory<C> {
    /// The child of this name.
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Node<C>> {
        self.0.get_mut(name)
    }

    /// Puts a child into the place of the one of the same name, if there is one.
    ///
    /// # Errors
    /// It is no name.
    pub fn insert(&mut self, name: &[u8], node: Node<C>) -> Result<(), TreeError> {
        check_name(name)?;
        self.0.insert(name.to_vec(), node);
        Ok(())
    }

    /// The children in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node<C>)> {
        self.0.iter().map(|(name, node)| (name.as_slice(), node))
    }
}

/// Refuses what is no name of a file, or leads elsewhere.
pub(super) fn check_name(name: &[u8]) -> Result<(), TreeError> {
    let good = !name.is_empty()
        && name.len() <= MAX_NAME
        && name != b"."
        && name != b".."
        && !name.contains(&b'/')
        && !name.contains(&0);
    good.then_some(())
        .ok_or_else(|| TreeError::Name(String::from_utf8_lossy(name).into_owned()))
}

/// Refuses a link to nowhere.
pub(super) fn check_target(target: &[u8]) -> Result<(), TreeError> {
    let good = !target.is_empty() && target.len() <= MAX_LINK_TARGET && !target.contains(&0);
    good.then_some(()).ok_or(TreeError::Target)
}

impl<C> Kind<C> {
    /// The type bits of a Unix mode.
    pub(super) fn mode(&self) -> u64 {
        match self {
            Self::Fifo => 0o010_000,
            Self::Device(NodeKind::Character, ..) => 0o020_000,
            Self::Directory(_) => 0o040_000,
            Self::Device(NodeKind::Block, ..) => 0o060_000,
            Self::File { .. } => 0o100_000,
            Self::Symlink(_) => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }
}
