//! Copies a directory of a bundle: what an archive was unpacked to when the bundle was made.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bundle_format::squashfs::{self, Entry, EntryKind, FileContent, InodeRef, Special, Squashfs};
use bundle_format::{Digest, ReadAt};
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, makedev};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, linkat, symlinkat};
use xattr::FileExt as _;

use super::{
    Attributes, Keep, MAX_DEPTH, MAX_ENTRIES, Tree, UnpackError, copy, made, make_directory,
    make_node, new_file,
};
use crate::program::Stop;

/// Copies what is in `directory` below `root`; gives the digest of each regular file. `tell` gets the
/// bytes that are done.
///
/// Names are plain ones, and everything is made anew, so no link can be walked through.
pub(crate) fn copy_directory<R: ReadAt + Clone>(
    files: &Squashfs<R>,
    directory: InodeRef,
    root: &Path,
    (stop, tell): (&Stop, &mut dyn FnMut(u64)),
) -> Result<BTreeMap<PathBuf, Digest>, UnpackError> {
    let tree = Tree::new(root, Keep::All)?;
    let mut copying = Copying {
        files,
        tree,
        names: HashMap::new(),
        count: 0,
        done: 0,
        stop,
        tell,
    };
    copying
        .tree
        .directories
        .push((PathBuf::from("."), attributes(files, directory)?));
    copying.inside(directory, Path::new(""), 0)?;
    copying.tree.finish_directories()?;
    Ok(copying.tree.files)
}

struct Copying<'c, R> {
    files: &'c Squashfs<R>,
    tree: Tree,
    /// The first name of each file: others become links to it.
    names: HashMap<InodeRef, PathBuf>,
    count: u64,
    done: u64,
    stop: &'c Stop,
    tell: &'c mut dyn FnMut(u64),
}

impl<R: ReadAt + Clone> Copying<'_, R> {
    fn inside(&mut self, directory: InodeRef, at: &Path, depth: usize) -> Result<(), UnpackError> {
        for entry in self.files.read_dir(directory)? {
            self.stop.check().map_err(UnpackError::Stream)?;
            self.count += 1;
            if self.count > MAX_ENTRIES || depth >= MAX_DEPTH {
                return Err(UnpackError::TooMany);
            }
            let path = at.join(OsStr::from_bytes(&entry.name));
            if entry.kind == EntryKind::Directory {
                let parent = self.tree.directory(at)?;
                let name = OsStr::from_bytes(&entry.name);
                make_directory(&parent, name).map_err(made(&path))?;
                let attributes = attributes(self.files, entry.inode)?;
                self.tree.directories.push((path.clone(), attributes));
                self.inside(entry.inode, &path, depth + 1)?;
            } else {
                self.add(&entry, at, &path)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: &Entry, at: &Path, path: &Path) -> Result<(), UnpackError> {
        let parent = self.tree.directory(at)?;
        let name = OsStr::from_bytes(&entry.name);
        let failed = made(path);
        if let Some(first) = self.names.get(&entry.inode) {
            let first = first.clone();
            linkat(&self.tree.root, &first, &parent, name, AtFlags::empty())
                .map_err(|errno| failed(errno.into()))?;
            if let Some(digest) = self.tree.files.get(&first).copied() {
                self.tree.files.insert(path.to_owned(), digest);
            }
            return Ok(());
        }
        let attributes = attributes(self.files, entry.inode)?;
        match entry.kind {
            EntryKind::File => return self.file(entry, &parent, path, attributes),
            EntryKind::Symlink => {
                let target = self.files.link_target(entry.inode)?;
                symlinkat(OsStr::from_bytes(&target), &parent, name)
                    .map_err(|errno| failed(errno.into()))?;
            }
            EntryKind::Special | EntryKind::Directory => {
                let (kind, device) = node(self.files.special(entry.inode)?);
                make_node(&parent, name, kind, device).map_err(&failed)?;
            }
        }
        let link = entry.kind == EntryKind::Symlink;
        self.tree
            .apply(&parent, name, attributes, link)
            .map_err(failed)?;
        self.names.insert(entry.inode, path.to_owned());
        Ok(())
    }

    fn file(
        &mut self,
        entry: &Entry,
        parent: &OwnedFd,
        path: &Path,
        attributes: Attributes,
    ) -> Result<(), UnpackError> {
        let name = OsStr::from_bytes(&entry.name);
        let mut watched = Watched {
            content: self.files.file(entry.inode)?,
            done: &mut self.done,
            stop: self.stop,
            tell: self.tell,
        };
        let mut file = new_file(parent, name).map_err(made(path))?;
        let digest = copy(&mut watched, &mut file, path)?;
        self.tree
            .apply(parent, name, attributes, false)
            .map_err(made(path))?;
        // Last, since a change of the owner takes capabilities away.
        for squashfs::Xattr { name, value } in self.files.xattrs(entry.inode)? {
            file.set_xattr(OsStr::from_bytes(&name), &value)
                .map_err(made(path))?;
        }
        self.tree.files.insert(path.to_owned(), digest);
        self.names.insert(entry.inode, path.to_owned());
        Ok(())
    }
}

fn attributes<R: ReadAt>(files: &Squashfs<R>, inode: InodeRef) -> Result<Attributes, UnpackError> {
    let said = files.attributes(inode)?;
    Ok(Attributes {
        uid: Uid::from_raw(said.uid),
        gid: Gid::from_raw(said.gid),
        mode: Mode::from_bits_truncate(said.permissions.into()),
        time: TimeSpec::new(said.modified.into(), 0),
    })
}

fn node(special: Special) -> (SFlag, nix::libc::dev_t) {
    let number = |device: squashfs::Device| makedev(device.major.into(), device.minor.into());
    match special {
        Special::Block(device) => (SFlag::S_IFBLK, number(device)),
        Special::Character(device) => (SFlag::S_IFCHR, number(device)),
        Special::Fifo => (SFlag::S_IFIFO, 0),
        Special::Socket => (SFlag::S_IFSOCK, 0),
    }
}

/// A file of the bundle, counted as it is read.
struct Watched<'w, R> {
    content: FileContent<R>,
    done: &'w mut u64,
    stop: &'w Stop,
    tell: &'w mut dyn FnMut(u64),
}

impl<R: ReadAt + Clone> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let count = self.content.read(buf)?;
        *self.done += count as u64;
        (self.tell)(*self.done);
        Ok(count)
    }
}
