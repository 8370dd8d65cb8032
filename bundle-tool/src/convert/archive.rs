//! A tar archive as a tree: contents in a spool file, everything else in memory. Nothing is
//! unpacked, so owners and devices need no rights.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path};

use casync::catar::{Directory, Kind, Metadata, Node, NodeKind, TreeError};
use tar::{Entry, EntryType};

/// Bytes that are copied at once.
const BUFFER: usize = 1024 * 1024;

/// Permissions of a directory that an archive names only in paths.
const IMPLIED_PERMISSIONS: u16 = 0o755;

/// Why a tar archive is no tree.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read, or the spool not be written.
    #[error("the archive cannot be read")]
    Read(#[from] io::Error),
    /// A path that leads out of the tree, or through something that is no directory.
    #[error("the archive has the path {path}, which leads nowhere in it")]
    Path {
        /// Which.
        path: String,
    },
    /// A link to a file that did not come before.
    #[error("the archive has a hard link {path} to something that does not come before it")]
    Link {
        /// Which.
        path: String,
    },
    /// A kind of entry that no file system has.
    #[error("the archive has at {path} an entry of the unknown type {kind:?}")]
    Kind {
        /// Where.
        path: String,
        /// Which.
        kind: EntryType,
    },
    /// A file with holes, as the PAX format has them.
    #[error(
        "the archive has at {path} a file with holes, of which only the rest is kept: make it without `tar --sparse`"
    )]
    Holes {
        /// Where.
        path: String,
    },
    /// A name that is none.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Where a content is in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    offset: u64,
    len: u64,
}

/// A tree, and the contents of its files.
pub(super) struct Tree {
    pub(super) root: Node<Span>,
    spool: File,
}

impl Tree {
    /// Reads the tar archive at `path`, compressed or not.
    pub(super) fn read(path: &Path) -> Result<Self, ArchiveError> {
        let mut tree = Self {
            root: implied_directory(),
            spool: tempfile::tempfile()?,
        };
        let mut archive = tar::Archive::new(unpacked(path)?);
        for entry in archive.entries()? {
            tree.add(entry?)?;
        }
        Ok(tree)
    }

    /// Copies a content to `output`.
    pub(super) fn copy(&self, span: Span, output: &mut dyn Write) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        let mut done = 0;
        while done < span.len {
            // At most BUFFER.
            let run = usize::try_from(span.len - done).map_or(BUFFER, |left| left.min(BUFFER));
            self.spool
                .read_exact_at(&mut buffer[..run], span.offset + done)?;
            output.write_all(&buffer[..run])?;
            done += run as u64;
        }
        Ok(())
    }

    fn add<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), ArchiveError> {
        let path = entry.path()?.into_owned();
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            return Ok(());
        }
        if has_holes(&mut entry)? {
            let path = path.display().to_string();
            return Err(ArchiveError::Holes { path });
        }
        let names = names(&path)?;
        let metadata = metadata(entry.header())?;
        let kind = self.kind(&mut entry, &path)?;
        match names.split_last() {
            None if matches!(kind, Kind::Directory(_)) => self.root.metadata = metadata,
            None => return Err(nowhere(&path)),
            Some((name, parents)) => {
                let parent = parent(&mut self.root, parents).ok_or_else(|| nowhere(&path))?;
                put(parent, name, Node { metadata, kind })?;
            }
        }
        Ok(())
    }

    fn kind<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        path: &Path,
    ) -> Result<Kind<Span>, ArchiveError> {
        let kind = entry.header().entry_type();
        Ok(match kind {
            EntryType::Directory => Kind::Directory(Directory::default()),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let offset = self.spool.seek(SeekFrom::End(0))?;
                let len = io::copy(entry, &mut self.spool)?;
                let content = Span { offset, len };
                Kind::File { len, content }
            }
            EntryType::Symlink => Kind::Symlink(link_name(entry)?),
            EntryType::Link => self.linked(&link_name(entry)?, path)?,
            EntryType::Char => device(entry, NodeKind::Character)?,
            EntryType::Block => device(entry, NodeKind::Block)?,
            EntryType::Fifo => Kind::Fifo,
            _ => {
                let path = path.display().to_string();
                return Err(ArchiveError::Kind { path, kind });
            }
        })
    }

    /// The format has no hard links: the file is there twice, its chunks once.
    fn linked(&mut self, target: &[u8], path: &Path) -> Result<Kind<Span>, ArchiveError> {
        let names = names(Path::new(std::ffi::OsStr::from_bytes(target)))?;
        let found = names.split_last().and_then(|(name, parents)| {
            let directory = parent(&mut self.root, parents)?;
            Some(directory.get_mut(name)?.kind.clone())
        });
        match found {
            Some(kind) if !matches!(kind, Kind::Directory(_)) => Ok(kind),
            _ => Err(ArchiveError::Link {
                path: path.display().to_string(),
            }),
        }
    }
}

/// Whether the content is a list of pieces and the pieces, and not the file.
fn has_holes<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(false);
    };
    for extension in extensions {
        if extension?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn link_name<R: Read>(entry: &Entry<'_, R>) -> io::Result<Vec<u8>> {
    Ok(entry.link_name_bytes().unwrap_or_default().into_owned())
}

fn device<R: Read>(entry: &Entry<'_, R>, kind: NodeKind) -> io::Result<Kind<Span>> {
    let header = entry.header();
    let major = header.device_major()?.unwrap_or(0);
    let minor = header.device_minor()?.unwrap_or(0);
    Ok(Kind::Device(kind, major, minor))
}

fn metadata(header: &tar::Header) -> io::Result<Metadata> {
    let id = |value: u64| u32::try_from(value).map_err(io::Error::other);
    Ok(Metadata {
        // Twelve bits.
        permissions: u16::try_from(header.mode()? & 0o7777).map_err(io::Error::other)?,
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        modified: header.mtime()?,
    })
}

/// An archive that names a directory again changes its owner and times, not its children.
fn put(parent: &mut Directory<Span>, name: &[u8], node: Node<Span>) -> Result<(), TreeError> {
    match parent.get_mut(name) {
        Some(old)
            if matches!(
                (&old.kind, &node.kind),
                (Kind::Directory(_), Kind::Directory(_))
            ) =>
        {
            old.metadata = node.metadata;
            Ok(())
        }
        _ => parent.insert(name, node),
    }
}

/// The directory at `names`, with those on the way that the archive did not name.
fn parent<'a>(root: &'a mut Node<Span>, names: &[Vec<u8>]) -> Option<&'a mut Directory<Span>> {
    let Kind::Directory(first) = &mut root.kind else {
        return None;
    };
    let mut directory = first;
    for name in names {
        if directory.get_mut(name).is_none() {
            directory.insert(name, implied_directory()).ok()?;
        }
        let Kind::Directory(next) = &mut directory.get_mut(name)?.kind else {
            return None;
        };
        directory = next;
    }
    Some(directory)
}

fn implied_directory() -> Node<Span> {
    Node {
        metadata: Metadata {
            permissions: IMPLIED_PERMISSIONS,
            ..Metadata::default()
        },
        kind: Kind::Directory(Directory::default()),
    }
}

/// The names of a path below the root; as tar does, a leading `/` is taken away.
fn names(path: &Path) -> Result<Vec<Vec<u8>>, ArchiveError> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.as_bytes().to_vec()),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(nowhere(path)),
        }
    }
    Ok(names)
}

fn nowhere(path: &Path) -> ArchiveError {
    ArchiveError::Path {
        path: path.display().to_string(),
    }
}

/// The archive without its compression, which is told by its first bytes.
fn unpacked(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(path)?;
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(6).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let input = BufReader::with_capacity(BUFFER, file);
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(input))
        }
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        _ => Box::new(input),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Result<Tree, ArchiveError> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar");
        fs_err::write(&path, builder.into_inner().unwrap()).unwrap();
        Tree::read(&path)
    }

    fn header(kind: EntryType, len: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(1);
        header.set_gid(2);
        header.set_mtime(3);
        header.set_size(len);
        header
    }

    #[test]
    fn a_hard_link_shares_the_content() {
        let tree = tree(|tar| {
            let mut file = header(EntryType::Regular, 3);
            tar.append_data(&mut file, "a/b/c", &b"abc"[..]).unwrap();
            let mut link = header(EntryType::Link, 0);
            tar.append_link(&mut link, "again", "a/b/c").unwrap();
        });
        let mut tree = tree.unwrap();
        let again = parent(&mut tree.root, &[])
            .unwrap()
            .get_mut(b"again")
            .unwrap();
        let Kind::File { len: 3, content } = again.kind else {
            panic!("{again:?}");
        };
        let mut bytes = Vec::new();
        tree.copy(content, &mut bytes).unwrap();
        assert_eq!(bytes, b"abc");
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let entry = |path: &[u8], kind, link: Option<&str>| {
            tree(|tar| {
                let mut header = header(kind, 0);
                header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path);
                if let Some(link) = link {
                    header.set_link_name(link).unwrap();
                }
                header.set_cksum();
                tar.append(&header, &[][..]).unwrap();
            })
        };
        for path in ["../a", "a/../../b", "."] {
            let refused = entry(path.as_bytes(), EntryType::Regular, None).err();
            assert!(matches!(refused, Some(ArchiveError::Path { .. })), "{path}");
        }
        let link = entry(b"a", EntryType::Link, Some("../../etc/passwd")).err();
        assert!(matches!(link, Some(ArchiveError::Path { .. })), "{link:?}");
        let link = entry(b"a", EntryType::Link, Some("missing")).err();
        assert!(matches!(link, Some(ArchiveError::Link { .. })), "{link:?}");
    }

    #[test]
    fn holes_are_not_taken_for_content() {
        let refused = tree(|tar| {
            let holes = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0")];
            tar.append_pax_extensions(holes).unwrap();
            let mut file = header(EntryType::Regular, 1);
            tar.append_data(&mut file, "a", &b"x"[..]).unwrap();
        });
        let refused = refused.err();
        assert!(
            matches!(refused, Some(ArchiveError::Holes { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_path_through_a_link_is_refused() {
        let refused = tree(|tar| {
            let mut link = header(EntryType::Symlink, 0);
            tar.append_link(&mut link, "out", "/etc").unwrap();
            let mut file = header(EntryType::Regular, 1);
            tar.append_data(&mut file, "out/passwd", &b"x"[..]).unwrap();
        });
        assert!(matches!(refused.err(), Some(ArchiveError::Path { .. })));
    }
}
