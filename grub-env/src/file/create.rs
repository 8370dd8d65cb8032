//! Making an environment file, and looking at one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::error::{io_at, too_large};
use super::{FileError, MAX_LEN, checked_len};
use crate::block::Block;

/// Reads a file without locking or checking its place; symbolic links are followed. For looking
/// only.
///
/// # Errors
/// [`FileError::Missing`], [`FileError::TooLarge`], [`FileError::NotAFile`] or
/// [`FileError::Io`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    let io_error = |e| io_at(path, "read", e);
    if !std::fs::metadata(path).map_err(io_error)?.is_file() {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(io_error)?;
    checked_len(&file, path)?;
    let mut bytes = Vec::new();
    // It may have grown since it was measured.
    file.take(MAX_LEN + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error)?;
    match u64::try_from(bytes.len()) {
        Ok(len) if len <= MAX_LEN => Ok(bytes),
        len => Err(too_large(path, len.unwrap_or(u64::MAX))),
    }
}

/// Makes a new file with the block, `size` bytes long and fully allocated, in the place of the
/// old one if there was one (whose permissions it takes): a temporary file beside it, fsync,
/// rename, fsync of the directory. Linux sees the old or the new file at any time.
///
/// **GRUB** sees the new file only after the file system's journal was written home, so at the
/// latest after a clean unmount. So this is for installation and for repair, never for arming a
/// slot.
///
/// # Errors
/// [`FileError::TooSmall`], [`FileError::TooLarge`], [`FileError::NotAFile`] or [`FileError::Io`].
pub fn create(path: &Path, block: &Block, size: usize) -> Result<(), FileError> {
    let len = u64::try_from(size).unwrap_or(u64::MAX);
    if len > MAX_LEN {
        return Err(too_large(path, len));
    }
    let bytes = block.to_bytes(size).map_err(|source| FileError::TooSmall {
        path: path.to_owned(),
        source,
    })?;
    // A link stays a link: what it leads to is replaced.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (Some(dir), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
        });
    };
    // The node of a disk, say: renamed over, it would be gone.
    if std::fs::metadata(&real).is_ok_and(|meta| !meta.is_file()) {
        return Err(FileError::NotAFile {
            path: path.to_owned(),
        });
    }
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let mut temp_name = name.to_owned();
    temp_name.push(".new");
    let temp = dir.join(temp_name);
    let done = fill(&temp, &real, &bytes).and_then(|()| std::fs::rename(&temp, &real));
    if let Err(source) = done {
        // The old file is untouched; a left-over temporary file is taken over by the next run.
        let _ = std::fs::remove_file(&temp);
        return Err(FileError::Io {
            path: path.to_owned(),
            stage: "create",
            source,
        });
    }
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|source| FileError::Io {
            path: dir.to_owned(),
            stage: "sync",
            source,
        })
}

fn fill(temp: &Path, like: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(temp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).open(temp)?;
    match std::fs::metadata(like) {
        Ok(meta) => file.set_permissions(meta.permissions())?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    file.write_all(bytes)?;
    file.sync_all()
}
