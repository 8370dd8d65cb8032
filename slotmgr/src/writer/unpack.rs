//! Unpacks an archive, tar's or casync's, below a directory, and nowhere else.
//!
//! Every path is walked component by component from an open directory, without following a link:
//! what an archive says cannot lead out of it, whatever links it has made before.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use bundle_format::Digest;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::libc::dev_t;
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

mod archive;
mod directory;
mod sparse;
mod tree;

pub(crate) use archive::unpack;
pub(crate) use directory::copy_directory;
pub(crate) use tree::unpack_tree;

/// Most entries of an archive.
const MAX_ENTRIES: u64 = 4_000_000;

/// Deepest path.
const MAX_DEPTH: usize = 128;

/// Bytes that are copied at once.
const PIECE: usize = 1 << 18;

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
    /// A file of it.
    #[error("cannot read {} out of the bundle", path.display())]
    Read {
        /// As it stands in the archive.
        path: PathBuf,
        /// What is wrong with it, or with what it comes over.
        #[source]
        source: io::Error,
    },
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
            // Opened, so that a link that took its place cannot lead elsewhere.
            let directory = self.directory(&path)?;
            self.apply(&directory, OsStr::new("."), attributes, false)
                .map_err(made(&path))?;
        }
        Ok(())
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

/// Copies the content of the file at `path`.
fn copy(from: &mut impl Read, to: &mut File, path: &Path) -> Result<Digest, UnpackError> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_bytes(digest.finalize().into())),
            Ok(count) => {
                digest.update(&buffer[..count]);
                to.write_all(&buffer[..count]).map_err(made(path))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                let path = path.to_owned();
                return Err(UnpackError::Read { path, source });
            }
        }
    }
}

fn make_directory(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        // A link or a file of this name is found when something goes into it.
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn make_node(parent: &OwnedFd, name: &OsStr, kind: SFlag, device: dev_t) -> io::Result<()> {
    mknodat(parent, name, kind, Mode::from_bits_truncate(0o600), device)?;
    Ok(())
}

#[cfg(test)]
mod tests;
