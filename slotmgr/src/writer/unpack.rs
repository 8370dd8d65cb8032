//! Unpacks an archive, tar's or casync's, below a directory, and nowhere else.
//!
//! Every path is walked component by component from an open directory, without following a link:
//! what an archive says cannot lead out of it, whatever links it has made before.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use bundle_format::Digest;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::libc::dev_t;
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, makedev, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat};
use sha2::{Digest as _, Sha256};
use tar::{Entry, EntryType};
use xattr::FileExt as _;

mod directory;
mod tree;

pub(crate) use directory::copy_directory;
pub(crate) use tree::unpack_tree;

/// Most entries of an archive.
const MAX_ENTRIES: u64 = 4_000_000;

/// Deepest path.
const MAX_DEPTH: usize = 128;

/// Bytes that are copied at once.
const PIECE: usize = 1 << 18;

/// How extended attributes stand in an archive.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Why an archive cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is damaged, or no archive.
    #[error("it cannot be read as an archive")]
    Stream(#[source] io::Error),
    /// The same of casync's.
    #[error("it cannot be read as an archive of casync's")]
    Tree(#[from] casync::catar::DecodeError),
    /// The same of a directory of the bundle.
    #[error("it cannot be read from the bundle")]
    Directory(#[from] bundle_format::PayloadError),
    /// A path that leads out of the slot.
    #[error("the path {} leads out of the slot", path.display())]
    Escape {
        /// As it stands in the archive.
        path: PathBuf,
    },
    /// A path that goes through a link, or through something else that is no directory.
    #[error("{} goes through {}, which is a link or no directory", path.display(), through.display())]
    Through {
        /// As it stands in the archive.
        path: PathBuf,
        /// What is in its way.
        through: PathBuf,
    },
    /// Something that has no place in a file system.
    #[error("{} is of a kind ({kind:?}) that cannot be unpacked", path.display())]
    Kind {
        /// As it stands in the archive.
        path: PathBuf,
        /// Which.
        kind: EntryType,
    },
    /// The file system does not take it.
    #[error("cannot make {}", path.display())]
    Make {
        /// As it stands in the archive.
        path: PathBuf,
        /// What the kernel said: `ENOSPC` if the slot is too small.
        #[source]
        source: io::Error,
    },
    /// More than anybody has.
    #[error("the archive has more than {MAX_ENTRIES} entries, or paths deeper than {MAX_DEPTH}")]
    TooMany,
}

/// What of an entry's owner, mode and attributes a file system can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Everything.
    All,
    /// Nothing but the time (FAT).
    Times,
}

/// Owner, mode and time of an entry.
#[derive(Clone, Copy)]
struct Attributes {
    uid: Uid,
    gid: Gid,
    mode: Mode,
    time: TimeSpec,
}

/// Unpacks everything; gives the digest of each regular file.
pub(crate) fn unpack(
    archive: impl Read,
    root: &Path,
    keep: Keep,
) -> Result<BTreeMap<PathBuf, Digest>, UnpackError> {
    let mut tree = Tree::new(root, keep)?;
    let mut archive = tar::Archive::new(archive);
    let mut count = 0;
    for entry in archive.entries().map_err(UnpackError::Stream)? {
        tree.entry(entry.map_err(UnpackError::Stream)?)?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(UnpackError::TooMany);
        }
    }
    tree.finish_directories()?;
    Ok(tree.files)
}

struct Tree {
    root: OwnedFd,
    keep: Keep,
    files: BTreeMap<PathBuf, Digest>,
    /// Their times change with everything that is made in them, so they come last.
    directories: Vec<(PathBuf, Attributes)>,
}

fn made(path: &Path) -> impl Fn(io::Error) -> UnpackError + use<> {
    let path = path.to_owned();
    move |source| UnpackError::Make {
        path: path.clone(),
        source,
    }
}

impl Tree {
    /// Below the directory `root`.
    fn new(root: &Path, keep: Keep) -> Result<Tree, UnpackError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(root, flags, Mode::empty()).map_err(|errno| made(root)(errno.into()))?;
        Ok(Tree {
            root,
            keep,
            files: BTreeMap::new(),
            directories: Vec::new(),
        })
    }

    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let said = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let path = inside(&said)?;
        let attributes = attributes(&entry).map_err(UnpackError::Stream)?;
        let Some(name) = path.file_name().map(ToOwned::to_owned) else {
            // The archive's own root, `./`.
            self.directories.push((PathBuf::from("."), attributes));
            return Ok(());
        };
        let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
        let failed = made(&path);
        match kind {
            EntryType::Directory => {
                make_directory(&parent, &name).map_err(failed)?;
                self.directories.push((path, attributes));
                return Ok(());
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                remove(&parent, &name).map_err(&failed)?;
                let digest = self
                    .write_file(&parent, &name, &mut entry, attributes)
                    .map_err(failed)?;
                self.files.insert(path, digest);
                return Ok(());
            }
            EntryType::Symlink => {
                remove(&parent, &name).map_err(&failed)?;
                self.files.remove(&path);
                let target = link_target(&entry)?;
                symlinkat(&target, &parent, name.as_os_str())
                    .map_err(|errno| failed(errno.into()))?;
            }
            EntryType::Link => return self.hard_link(&entry, &parent, &path),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                remove(&parent, &name).map_err(&failed)?;
                let (kind, device) = node_of(&entry).map_err(&failed)?;
                make_node(&parent, &name, kind, device).map_err(failed)?;
            }
            kind => return Err(UnpackError::Kind { path: said, kind }),
        }
        self.apply(&parent, &name, attributes, kind == EntryType::Symlink)
            .map_err(made(&path))
    }

    /// A second name of a file of this archive; it has its owner and mode already.
    fn hard_link<R: Read>(
        &mut self,
        entry: &Entry<'_, R>,
        parent: &OwnedFd,
        path: &Path,
    ) -> Result<(), UnpackError> {
        let target = inside(&link_target(entry)?)?;
        let from = self.directory(target.parent().unwrap_or(Path::new("")))?;
        let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        remove(parent, &name(path)).map_err(made(path))?;
        linkat(
            &from,
            name(&target).as_os_str(),
            parent,
            name(path).as_os_str(),
            AtFlags::empty(),
        )
        .map_err(|errno| made(path)(errno.into()))?;
        if let Some(digest) = self.files.get(&target).copied() {
            self.files.insert(path.to_owned(), digest);
        }
        Ok(())
    }

    /// Opens a directory, and makes those that the archive did not mention.
    fn directory(&self, path: &Path) -> Result<OwnedFd, UnpackError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut at = self.root.try_clone().map_err(made(path))?;
        let mut walked = PathBuf::new();
        for name in path.components() {
            walked.push(name);
            let opened = match openat(&at, name.as_os_str(), flags, Mode::empty()) {
                Err(Errno::ENOENT) => {
                    make_directory(&at, name.as_os_str()).map_err(made(&walked))?;
                    openat(&at, name.as_os_str(), flags, Mode::empty())
                }
                other => other,
            };
            at = opened.map_err(|errno| match errno {
                Errno::ELOOP | Errno::ENOTDIR => UnpackError::Through {
                    path: path.to_owned(),
                    through: walked.clone(),
                },
                other => made(&walked)(other.into()),
            })?;
        }
        Ok(at)
    }

    fn finish_directories(&mut self) -> Result<(), UnpackError> {
        for (path, attributes) in std::mem::take(&mut self.directories).into_iter().rev() {
            let name = path.file_name().unwrap_or(OsStr::new("."));
            let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
            self.apply(&parent, name, attributes, false)
                .map_err(made(&path))?;
        }
        Ok(())
    }

    fn write_file<R: Read>(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &mut Entry<'_, R>,
        attributes: Attributes,
    ) -> io::Result<Digest> {
        let mut file = new_file(parent, name)?;
        let digest = copy(entry, &mut file)?;
        self.apply(parent, name, attributes, false)?;
        // Last, since a change of the owner takes capabilities away.
        if self.keep == Keep::All
            && let Some(extensions) = entry.pax_extensions()?
        {
            for extension in extensions {
                let extension = extension?;
                if let Some(name) = extension.key_bytes().strip_prefix(XATTR) {
                    file.set_xattr(OsStr::from_bytes(name), extension.value_bytes())?;
                }
            }
        }
        Ok(digest)
    }

    /// The owner first: changing it takes the set-user-id bit away.
    fn apply(
        &self,
        parent: &impl AsFd,
        name: &OsStr,
        attributes: Attributes,
        link: bool,
    ) -> io::Result<()> {
        let Attributes {
            uid,
            gid,
            mode,
            time,
        } = attributes;
        if self.keep == Keep::All {
            fchownat(
                parent,
                name,
                Some(uid),
                Some(gid),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )?;
            if !link {
                fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink)?;
            }
        }
        utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)?;
        Ok(())
    }
}

fn new_file(parent: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o600);
    Ok(File::from(openat(parent, name, flags, mode)?))
}

fn copy(from: &mut impl Read, to: &mut File) -> io::Result<Digest> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_bytes(digest.finalize().into())),
            Ok(count) => {
                digest.update(&buffer[..count]);
                to.write_all(&buffer[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The path without what does not count; an absolute one is meant from the root of the slot.
fn inside(said: &Path) -> Result<PathBuf, UnpackError> {
    let mut path = PathBuf::new();
    for component in said.components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(UnpackError::Escape {
                    path: said.to_owned(),
                });
            }
        }
    }
    match path.components().count() {
        0..=MAX_DEPTH => Ok(path),
        _ => Err(UnpackError::TooMany),
    }
}

fn link_target<R: Read>(entry: &Entry<'_, R>) -> Result<PathBuf, UnpackError> {
    let missing = || UnpackError::Stream(io::Error::other("a link without a target"));
    let bytes = entry.link_name_bytes().ok_or_else(missing)?;
    Ok(PathBuf::from(OsStr::from_bytes(&bytes)))
}

fn attributes<R: Read>(entry: &Entry<'_, R>) -> io::Result<Attributes> {
    let header = entry.header();
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    let seconds = i64::try_from(header.mtime()?).map_err(io::Error::other)?;
    Ok(Attributes {
        uid: Uid::from_raw(id(header.uid()?)?),
        gid: Gid::from_raw(id(header.gid()?)?),
        mode: Mode::from_bits_truncate(header.mode()? & 0o7777),
        time: TimeSpec::new(seconds, 0),
    })
}

fn make_directory(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        // A link or a file of this name is found when something goes into it.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The last entry of a name counts.
fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Kind and number of the device that an entry describes, or of a pipe.
fn node_of<R: Read>(entry: &Entry<'_, R>) -> io::Result<(SFlag, dev_t)> {
    let header = entry.header();
    let number = |number: Option<u32>| u64::from(number.unwrap_or(0));
    let device = |header: &tar::Header| {
        io::Result::Ok(makedev(
            number(header.device_major()?),
            number(header.device_minor()?),
        ))
    };
    Ok(match header.entry_type() {
        EntryType::Char => (SFlag::S_IFCHR, device(header)?),
        EntryType::Block => (SFlag::S_IFBLK, device(header)?),
        _ => (SFlag::S_IFIFO, 0),
    })
}

fn make_node(parent: &OwnedFd, name: &OsStr, kind: SFlag, device: dev_t) -> io::Result<()> {
    mknodat(parent, name, kind, Mode::from_bits_truncate(0o600), device)?;
    Ok(())
}

#[cfg(test)]
mod tests;
