//! Unpacks a tar archive.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use bundle_format::Digest;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::libc::dev_t;
use nix::sys::stat::{Mode, SFlag, fstatat, makedev};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, linkat, symlinkat, unlinkat};
use tar::{Entry, EntryType};
use xattr::FileExt as _;

use super::sparse::Holes;
use super::{
    Attributes, Keep, MAX_DEPTH, MAX_ENTRIES, Tree, UnpackError, copy, made, make_directory,
    make_node, new_file,
};

/// How extended attributes stand in an archive.
const XATTR: &[u8] = b"SCHILY.xattr.";

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

impl Tree {
    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let holes = Holes::of(&mut entry).map_err(UnpackError::Stream)?;
        let said = match &holes {
            Some(holes) => holes.path.clone(),
            None => PathBuf::from(OsStr::from_bytes(&entry.path_bytes())),
        };
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
                self.replace_by_directory(&parent, &path).map_err(failed)?;
                self.directories.push((path, attributes));
                return Ok(());
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.remove(&parent, &path).map_err(failed)?;
                let digest = self.write_file(&parent, &path, (&mut entry, holes), attributes)?;
                self.files.insert(path, digest);
                return Ok(());
            }
            EntryType::Symlink => {
                self.remove(&parent, &path).map_err(&failed)?;
                let target = link_target(&entry)?;
                symlinkat(&target, &parent, name.as_os_str())
                    .map_err(|errno| failed(errno.into()))?;
            }
            EntryType::Link => return self.hard_link(&entry, &parent, &path),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                self.remove(&parent, &path).map_err(&failed)?;
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
        // GNU tar writes this when it is given one file twice.
        if target == path {
            return Ok(());
        }
        let from = self.directory(target.parent().unwrap_or(Path::new("")))?;
        let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        self.remove(parent, path).map_err(made(path))?;
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

    fn write_file<R: Read>(
        &self,
        parent: &OwnedFd,
        path: &Path,
        (entry, holes): (&mut Entry<'_, R>, Option<Holes>),
        attributes: Attributes,
    ) -> Result<Digest, UnpackError> {
        let name = path.file_name().unwrap_or_default();
        let mut file = new_file(parent, name).map_err(made(path))?;
        let digest = match holes {
            Some(holes) => {
                let mut filled = holes.fill(&mut *entry).map_err(UnpackError::Stream)?;
                copy(&mut filled, &mut file, path)?
            }
            None => copy(entry, &mut file, path)?,
        };
        self.apply(parent, name, attributes, false)
            .map_err(made(path))?;
        // Last, since a change of the owner takes capabilities away.
        if self.keep == Keep::All
            && let Some(extensions) = entry.pax_extensions().map_err(UnpackError::Stream)?
        {
            for extension in extensions {
                let extension = extension.map_err(UnpackError::Stream)?;
                if let Some(name) = extension.key_bytes().strip_prefix(XATTR) {
                    file.set_xattr(OsStr::from_bytes(name), extension.value_bytes())
                        .map_err(made(path))?;
                }
            }
        }
        Ok(digest)
    }

    /// The last entry of a name counts, but a directory stays one, with everything in it.
    fn replace_by_directory(&mut self, parent: &OwnedFd, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        let found = match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()),
            Err(Errno::ENOENT) => return make_directory(parent, name),
            Err(errno) => return Err(errno.into()),
        };
        if found != SFlag::S_IFDIR {
            self.remove(parent, path)?;
        }
        make_directory(parent, name)
    }

    /// The last entry of a name counts.
    fn remove(&mut self, parent: &OwnedFd, path: &Path) -> io::Result<()> {
        self.files.remove(path);
        let name = path.file_name().unwrap_or_default();
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
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
