//! An archive to a sequence of events, strictly: what this reader accepts, the writer could have
//! written.
//!
//! The whole structure is checked on the way: names that lead elsewhere, children out of order,
//! tables that do not fit, and anything behind the end are errors.

use std::io::{self, Read};

use thiserror::Error;

use super::goodbye::Children;
use super::tree::{Directory, Kind, Metadata, Node, NodeKind, TreeError, check_name, check_target};
use super::{
    DEVICE, DEVICE_SIZE, ENTRY, ENTRY_SIZE, FILENAME, GOODBYE, HEADER_SIZE, PAYLOAD, SECOND,
    SYMLINK, flag,
};
use crate::index::{FeatureFlags, FlagsError};
use crate::limits::{MAX_LINK_TARGET, MAX_NAME, MAX_TREE_DEPTH, MAX_TREE_NODES};

/// An archive cannot be read.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The input fails, or ends too early.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Something stands where it must not.
    #[error("the archive is damaged at byte {offset}: {problem}")]
    Damaged {
        /// Where.
        offset: u64,
        /// What.
        problem: &'static str,
    },
    /// A name or target that is none.
    #[error("the archive is damaged at byte {offset}")]
    Tree {
        /// Where.
        offset: u64,
        /// What.
        source: TreeError,
    },
    /// Feature flags that nobody writes.
    #[error("the archive's feature flags cannot be read")]
    Flags(#[from] FlagsError),
    /// An archive that records more than `casync --with=unix` does.
    #[error(
        "the archive records more than owners, permissions and times (feature flags {0:#x}): make it with `casync make --with=unix`"
    )]
    Unsupported(u64),
    /// More nodes than any system has.
    #[error("the archive has more than {MAX_TREE_NODES} nodes")]
    TooMany,
}

/// What comes next in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node. After a directory come its children, after a file its content ([`Decoder::read`]).
    Node {
        /// Its name; empty for the root.
        name: Vec<u8>,
        /// What it is; a directory is still empty here.
        node: Node<()>,
    },
    /// The end of the directory that was entered last.
    Leave,
}

/// Flags of archives that record no more than is read here. Finer times are cut to seconds.
const READABLE: u64 =
    flag::UIDS_16_BIT | flag::UIDS_32_BIT | 0xf << 3 | flag::PERMISSIONS | flag::KINDS | 0xf << 60;

struct Level {
    children: Children,
    /// Of the child before, for the order.
    last: Option<Vec<u8>>,
    /// Own name, and where its FILENAME begins, for the parent's table.
    name: Vec<u8>,
    begin: u64,
}

/// Reads an archive from its beginning to its end.
pub struct Decoder<R> {
    input: R,
    offset: u64,
    flags: Option<u64>,
    levels: Vec<Level>,
    nodes: u64,
    /// Content of the current file that was not read yet.
    content: u64,
}

type Step<T> = Result<T, DecodeError>;

impl<R: Read> Decoder<R> {
    /// Nothing is read yet.
    pub fn new(input: R) -> Self {
        Self {
            input,
            offset: 0,
            flags: None,
            levels: Vec::new(),
            nodes: 0,
            content: 0,
        }
    }

    /// What the archive records; `None` before the first node.
    pub fn feature_flags(&self) -> Option<FeatureFlags> {
        self.flags.map(FeatureFlags::for_archive)
    }

    /// The next node, or the end of a directory; `None` behind the root directory. Content that was
    /// not read is skipped.
    ///
    /// # Errors
    /// The archive is damaged, or records what cannot be read here.
    pub fn next_event(&mut self) -> Step<Option<Event>> {
        self.skip_content()?;
        if self.levels.is_empty() {
            return if self.flags.is_some() {
                self.end()
            } else {
                self.root().map(Some)
            };
        }
        let begin = self.offset;
        match self.header()? {
            (size, FILENAME) => {
                let name = self.text(size, MAX_NAME)?;
                check_name(&name).map_err(|source| DecodeError::Tree {
                    offset: begin,
                    source,
                })?;
                self.in_order(&name, begin)?;
                self.node(name, begin).map(Some)
            }
            (size, GOODBYE) => self.leave(begin, size).map(Some),
            _ => Err(damaged(begin, "neither a name nor the end of a directory")),
        }
    }

    /// Content of the file that was the last event; 0 at its end.
    ///
    /// # Errors
    /// The input fails, or ends too early.
    pub fn read(&mut self, buffer: &mut [u8]) -> Step<usize> {
        let wanted = usize::try_from(self.content).map_or(buffer.len(), |c| c.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let offset = self.offset;
        let failed = |source| DecodeError::Read { offset, source };
        let len = self.input.read(&mut buffer[..wanted]).map_err(failed)?;
        if len == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        self.content -= len as u64;
        self.offset += len as u64;
        Ok(len)
    }

    fn skip_content(&mut self) -> Step<()> {
        let mut buffer = [0; 16 * 1024];
        while self.read(&mut buffer)? > 0 {}
        Ok(())
    }

    fn root(&mut self) -> Step<Event> {
        let event = self.node(Vec::new(), 0)?;
        if self.levels.is_empty() {
            return Err(damaged(0, "the root is no directory"));
        }
        Ok(event)
    }

    /// Nothing may follow the root directory.
    fn end(&mut self) -> Step<Option<Event>> {
        let offset = self.offset;
        let more = self
            .input
            .read(&mut [0])
            .map_err(|source| DecodeError::Read { offset, source })?;
        if more > 0 {
            return Err(damaged(offset, "something follows the root directory"));
        }
        Ok(None)
    }

    fn in_order(&mut self, name: &[u8], begin: u64) -> Step<()> {
        let level = self.levels.last_mut();
        let last = level.and_then(|level| level.last.replace(name.to_vec()));
        if last.is_some_and(|last| last.as_slice() >= name) {
            return Err(damaged(begin, "names are not in order"));
        }
        Ok(())
    }

    /// ENTRY and what belongs to it; `begin` is where the FILENAME began.
    fn node(&mut self, name: Vec<u8>, begin: u64) -> Step<Event> {
        self.nodes += 1;
        if self.nodes > MAX_TREE_NODES {
            return Err(DecodeError::TooMany);
        }
        let entry = self.offset;
        let (metadata, kind) = self.entry()?;
        let kind = self.kind(kind, entry)?;
        match kind {
            Kind::Directory(_) => {
                if self.levels.len() > MAX_TREE_DEPTH {
                    let source = TreeError::TooDeep;
                    return Err(DecodeError::Tree {
                        offset: entry,
                        source,
                    });
                }
                self.levels.push(Level {
                    children: Children::new(entry),
                    last: None,
                    name: name.clone(),
                    begin,
                });
            }
            // The end of a file is known before its content is read.
            _ => self.child_ends(&name, begin, self.offset.saturating_add(self.content)),
        }
        let node = Node { metadata, kind };
        Ok(Event::Node { name, node })
    }

    fn child_ends(&mut self, name: &[u8], begin: u64, end: u64) {
        if let Some(parent) = self.levels.last_mut() {
            parent.children.push(name, begin, end);
        }
    }

    /// Owner, permissions, time, and the type bits of the mode.
    fn entry(&mut self) -> Step<(Metadata, u64)> {
        let begin = self.offset;
        if self.header()? != (ENTRY_SIZE, ENTRY) {
            return Err(damaged(begin, "no entry where a node has to begin"));
        }
        let [flags, mode, attributes, uid, gid, time] = self.words()?;
        FeatureFlags::from_bits(flags)?;
        if flags & !READABLE != 0 {
            return Err(DecodeError::Unsupported(flags & !READABLE));
        }
        if *self.flags.get_or_insert(flags) != flags {
            return Err(damaged(begin, "two nodes differ in what they record"));
        }
        let number = |value: u64| u32::try_from(value).ok();
        let permissions = u16::try_from(mode & 0o7777).ok();
        let (Some(permissions), Some(uid), Some(gid), 0) =
            (permissions, number(uid), number(gid), attributes)
        else {
            return Err(damaged(begin, "an owner or an attribute that cannot be"));
        };
        let metadata = Metadata {
            permissions,
            uid,
            gid,
            modified: time / SECOND,
        };
        Ok((metadata, mode & !0o7777))
    }

    fn kind(&mut self, mode: u64, entry: u64) -> Step<Kind<()>> {
        Ok(match mode {
            0o010_000 => Kind::Fifo,
            0o020_000 => self.device(NodeKind::Character)?,
            0o040_000 => Kind::Directory(Directory::default()),
            0o060_000 => self.device(NodeKind::Block)?,
            0o100_000 => {
                let begin = self.offset;
                let (size, PAYLOAD) = self.header()? else {
                    return Err(damaged(begin, "a file without content"));
                };
                self.content = size - HEADER_SIZE;
                let len = self.content;
                Kind::File { len, content: () }
            }
            0o120_000 => {
                let begin = self.offset;
                let (size, SYMLINK) = self.header()? else {
                    return Err(damaged(begin, "a link without a target"));
                };
                let target = self.text(size, MAX_LINK_TARGET)?;
                check_target(&target).map_err(|source| DecodeError::Tree {
                    offset: begin,
                    source,
                })?;
                Kind::Symlink(target)
            }
            0o140_000 => Kind::Socket,
            _ => return Err(damaged(entry, "a node of an unknown kind")),
        })
    }

    fn device(&mut self, kind: NodeKind) -> Step<Kind<()>> {
        let begin = self.offset;
        if self.header()? != (DEVICE_SIZE, DEVICE) {
            return Err(damaged(begin, "a device without numbers"));
        }
        let [major, minor] = self.words()?;
        match (u32::try_from(major), u32::try_from(minor)) {
            (Ok(major), Ok(minor)) => Ok(Kind::Device(kind, major, minor)),
            _ => Err(damaged(begin, "numbers that no device has")),
        }
    }

    /// The table has to be the one that the children give.
    fn leave(&mut self, begin: u64, size: u64) -> Step<Event> {
        let wrong = || damaged(begin, "the table of a directory does not fit its children");
        let level = self.levels.pop().ok_or_else(wrong)?;
        let expected = level.children.table(begin);
        if size != expected.len() as u64 {
            return Err(wrong());
        }
        // As long as the table of children that were really read.
        let mut found = vec![0; expected.len()];
        let header = found.len().min(16);
        found[..header].copy_from_slice(&expected[..header]);
        self.exact(&mut found[header..])?;
        if found != expected {
            return Err(wrong());
        }
        self.child_ends(&level.name, level.begin, self.offset);
        Ok(Event::Leave)
    }

    /// Size and type of the next object.
    fn header(&mut self) -> Step<(u64, u64)> {
        let begin = self.offset;
        let [size, kind] = self.words()?;
        if size < HEADER_SIZE {
            return Err(damaged(begin, "an object smaller than its own header"));
        }
        Ok((size, kind))
    }

    /// A text of an object of `size` bytes, without the NUL at its end.
    fn text(&mut self, size: u64, longest: usize) -> Step<Vec<u8>> {
        let begin = self.offset;
        let len = usize::try_from(size - HEADER_SIZE).ok();
        let Some(len) = len.filter(|len| (1..=longest + 1).contains(len)) else {
            return Err(damaged(begin, "a text that is too long, or none"));
        };
        let mut text = vec![0; len];
        self.exact(&mut text)?;
        if text.pop() != Some(0) {
            return Err(damaged(begin, "a text without its end"));
        }
        Ok(text)
    }

    fn words<const N: usize>(&mut self) -> Step<[u64; N]> {
        let mut words = [0; N];
        for word in &mut words {
            let mut bytes = [0; 8];
            self.exact(&mut bytes)?;
            *word = u64::from_le_bytes(bytes);
        }
        Ok(words)
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Step<()> {
        let offset = self.offset;
        self.input
            .read_exact(buffer)
            .map_err(|source| DecodeError::Read { offset, source })?;
        self.offset += buffer.len() as u64;
        Ok(())
    }
}

fn damaged(offset: u64, problem: &'static str) -> DecodeError {
    DecodeError::Damaged { offset, problem }
}
