//! The files of a bundle that programs need: hooks, handlers, and what they bring along.
//!
//! RAUC mounts the bundle for them. We unpack into a directory that only root can enter, and leave
//! out the images that we write ourselves.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bundle_format::squashfs::EntryKind;
use bundle_format::{PayloadError, ReadAt, VerifiedBundle};
use nix::sys::statvfs::statvfs;

use crate::storage::mounts::Mounts;

/// Files that are unpacked of one bundle, at most.
const MAX_FILES: usize = 4096;

/// A directory with files of the bundle; gone when this goes.
#[derive(Debug)]
pub struct Unpacked {
    path: PathBuf,
}

/// Why the files cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackedError {
    /// The bundle is damaged.
    #[error("while unpacking what the bundle's programs need")]
    Payload(#[from] PayloadError),
    /// The directory, or a file in it.
    #[error("cannot write {}, where the bundle's programs are unpacked", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is somebody's mount point.
    #[error(
        "something is mounted on {}, where the bundle's programs are to be unpacked (by `rauc mount`, or by a rauc \
         that was killed). Nothing was written; unmount it and try again",
        path.display()
    )]
    Mounted {
        /// Which.
        path: PathBuf,
    },
    /// Too little room.
    #[error(
        "the bundle's programs need {needed} bytes in {}, and there are {free}. Nothing was written; make room, or \
         let mountprefix= in system.conf name another place",
        path.display()
    )]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// More than anybody brings along.
    #[error("the bundle has more than {MAX_FILES} files")]
    TooMany,
}

impl Unpacked {
    /// Unpacks the regular files of the bundle's root directory for which `wanted` says so.
    ///
    /// # Errors
    /// When the bundle is damaged, or there is no room.
    pub fn new<R: ReadAt>(
        bundle: &VerifiedBundle<R>,
        work_directory: &Path,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Unpacked, UnpackedError> {
        let path = work_directory.join("bundle");
        let failed = write_error(&path);
        // Removing what is in it would remove somebody's files.
        if Mounts::now().has(&path) {
            return Err(UnpackedError::Mounted { path });
        }
        match std::fs::remove_dir_all(&path) {
            // What an installation left behind that was cut off.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        fs_err::create_dir_all(work_directory).map_err(&failed)?;
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(&failed)?;
        let unpacked = Unpacked { path };
        unpacked.fill(bundle, wanted)?;
        Ok(unpacked)
    }

    fn fill<R: ReadAt>(
        &self,
        bundle: &VerifiedBundle<R>,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), UnpackedError> {
        let files = bundle.files()?;
        let mut chosen = Vec::new();
        for entry in files.read_dir(files.root())? {
            // The signature's own rules keep `/` and `..` out of names; a name that is no text is no
            // file that a manifest could mean.
            let Ok(name) = String::from_utf8(entry.name.clone()) else {
                continue;
            };
            if entry.kind == EntryKind::File && wanted(&name) {
                chosen.push((name, entry.inode));
            }
        }
        if chosen.len() > MAX_FILES {
            return Err(UnpackedError::TooMany);
        }
        let mut needed = 0;
        for (_, inode) in &chosen {
            needed += files.file(*inode)?.size();
        }
        self.check_room(needed)?;
        for (name, inode) in chosen {
            let path = self.path.join(&name);
            let mode = files.permissions(inode)?;
            let mut content = files.file(inode)?;
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(u32::from(mode) & 0o755 | 0o600)
                .open(&path);
            let copied = file.and_then(|mut file| io::copy(&mut content, &mut file));
            copied.map_err(write_error(&path))?;
        }
        Ok(())
    }

    #[allow(
        clippy::useless_conversion,
        reason = "these numbers have 32 bits on small machines"
    )]
    fn check_room(&self, needed: u64) -> Result<(), UnpackedError> {
        let found = statvfs(&self.path).map_err(|errno| write_error(&self.path)(errno.into()))?;
        let free =
            u64::from(found.blocks_available()).saturating_mul(u64::from(found.fragment_size()));
        if needed > free {
            return Err(UnpackedError::NoRoom {
                path: self.path.clone(),
                needed,
                free,
            });
        }
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> UnpackedError + use<> {
    let path = path.to_owned();
    move |source| UnpackedError::Write {
        path: path.clone(),
        source,
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // What stays is removed by the next installation.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
