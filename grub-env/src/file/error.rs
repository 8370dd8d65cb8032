//! What can go wrong with an environment file.

use std::io;
use std::path::{Path, PathBuf};

use super::MAX_LEN;
use crate::block::{BlockError, TooSmall};
use crate::placement::Finding;

/// What failed while working on an environment file. Each variant leaves the file as it was,
/// unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("there is no {}; make it with 'grub-env create'", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A symbolic link: GRUB follows links only within a file system, and FAT has none.
    #[error("{} is a symbolic link; name the file that it leads to", path.display())]
    Symlink {
        /// The path.
        path: PathBuf,
    },
    /// A directory, a device…
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// More than [`MAX_LEN`].
    #[error("{} has {len} bytes; an environment block has at most {MAX_LEN}", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// Its length.
        len: u64,
    },
    /// The bytes are no environment block.
    #[error("{} is not a valid environment block", path.display())]
    Block {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        source: BlockError,
    },
    /// The variables do not fit; nothing was written.
    #[error("{} is too small; nothing was changed", path.display())]
    TooSmall {
        /// The path.
        path: PathBuf,
        /// By how much.
        source: TooSmall,
    },
    /// GRUB could not work with a file placed like this.
    #[error("{} cannot hold the environment of GRUB: {}", path.display(), list(findings))]
    Unfit {
        /// The path.
        path: PathBuf,
        /// All reasons.
        findings: Vec<Finding>,
    },
    /// Another program held the lock for [`LOCK_PATIENCE`](super::LOCK_PATIENCE).
    #[error("{} is locked by another program", path.display())]
    Locked {
        /// The path.
        path: PathBuf,
    },
    /// Another program put a new file in its place, again and again.
    #[error("{} keeps being replaced by another program", path.display())]
    Replaced {
        /// The path.
        path: PathBuf,
    },
    /// Written and synced, but the file's place changed: GRUB may still see the old bytes.
    #[error(
        "{} moved on the disk when it was written; GRUB may see the old variables until the \
         file system was unmounted cleanly",
        path.display()
    )]
    Moved {
        /// The path.
        path: PathBuf,
    },
    /// Written and synced, but reading gives other bytes: the disk lies.
    #[error("{} reads back differently at byte {offset} after it was written", path.display())]
    ReadBack {
        /// The path.
        path: PathBuf,
        /// The first byte that differs.
        offset: usize,
    },
    /// The system refused.
    #[error("cannot {stage} {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What was being done, as a verb.
        stage: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn list(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

pub(super) fn io_at(path: &Path, stage: &'static str, source: io::Error) -> FileError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path },
        _ => FileError::Io {
            path,
            stage,
            source,
        },
    }
}

pub(super) fn too_large(path: &Path, len: u64) -> FileError {
    FileError::TooLarge {
        path: path.to_owned(),
        len,
    }
}
