//! Unpacks casync's archive of a directory tree.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use bundle_format::Digest;
use casync::catar::{Decoder, Event, Kind, Metadata, Node, NodeKind};
use nix::sys::stat::{Mode, SFlag, makedev};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, symlinkat};

use super::{
    Attributes, Keep, PIECE, Tree, UnpackError, copy, made, make_directory, make_node, new_file,
};

/// Unpacks everything; gives the digest of each regular file.
///
/// Names are plain ones in order, so nothing is met twice and no link can be walked through.
pub(crate) fn unpack_tree(
    archive: impl Read,
    root: &Path,
    keep: Keep,
) -> Result<BTreeMap<PathBuf, Digest>, UnpackError> {
    let mut tree = Tree::new(root, keep)?;
    let mut decoder = Decoder::new(BufReader::with_capacity(PIECE, archive));
    let mut inside = PathBuf::new();
    while let Some(event) = decoder.next_event()? {
        match event {
            Event::Leave => {
                inside.pop();
            }
            Event::Node { name, node } => {
                let path = inside.join(OsString::from_vec(name));
                add(&mut tree, &mut decoder, &path, &node)?;
                if matches!(node.kind, Kind::Directory(_)) {
                    inside = path;
                }
            }
        }
    }
    tree.finish_directories()?;
    Ok(tree.files)
}

fn add<R: Read>(
    tree: &mut Tree,
    decoder: &mut Decoder<R>,
    path: &Path,
    node: &Node<()>,
) -> Result<(), UnpackError> {
    let attributes = attributes(&node.metadata)?;
    let Some(name) = path.file_name() else {
        // The root, which has no name.
        tree.directories.push((PathBuf::from("."), attributes));
        return Ok(());
    };
    let parent = tree.directory(path.parent().unwrap_or(Path::new("")))?;
    if matches!(node.kind, Kind::Directory(_)) {
        make_directory(&parent, name).map_err(made(path))?;
        tree.directories.push((path.to_owned(), attributes));
        return Ok(());
    }
    let digest = make(decoder, &parent, path, node)?;
    let link = matches!(node.kind, Kind::Symlink(_));
    tree.apply(&parent, name, attributes, link)
        .map_err(made(path))?;
    tree.files
        .extend(digest.map(|digest| (path.to_owned(), digest)));
    Ok(())
}

/// Makes what is no directory; gives the digest of a file.
fn make<R: Read>(
    decoder: &mut Decoder<R>,
    parent: &OwnedFd,
    path: &Path,
    node: &Node<()>,
) -> Result<Option<Digest>, UnpackError> {
    let name = path.file_name().unwrap_or_default();
    let special = |kind, device| make_node(parent, name, kind, device).map_err(made(path));
    match &node.kind {
        Kind::File { .. } => {
            let mut file = new_file(parent, name).map_err(made(path))?;
            return copy(&mut Content(decoder), &mut file, path).map(Some);
        }
        Kind::Symlink(target) => symlinkat(OsStr::from_bytes(target), parent, name)
            .map_err(|errno| made(path)(errno.into()))?,
        Kind::Device(NodeKind::Character, major, minor) => special(
            SFlag::S_IFCHR,
            makedev(u64::from(*major), u64::from(*minor)),
        )?,
        Kind::Device(NodeKind::Block, major, minor) => special(
            SFlag::S_IFBLK,
            makedev(u64::from(*major), u64::from(*minor)),
        )?,
        Kind::Fifo => special(SFlag::S_IFIFO, 0)?,
        Kind::Socket => special(SFlag::S_IFSOCK, 0)?,
        // Made by the caller.
        Kind::Directory(_) => {}
    }
    Ok(None)
}

/// The content of the file that the archive is at.
struct Content<'d, R>(&'d mut Decoder<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(io::Error::other)
    }
}

fn attributes(metadata: &Metadata) -> Result<Attributes, UnpackError> {
    let seconds = i64::try_from(metadata.modified)
        .map_err(|error| UnpackError::Stream(io::Error::other(error)))?;
    Ok(Attributes {
        uid: Uid::from_raw(metadata.uid),
        gid: Gid::from_raw(metadata.gid),
        mode: Mode::from_bits_truncate(u32::from(metadata.permissions)),
        time: TimeSpec::new(seconds, 0),
    })
}
