//! A bundle in a file.

use std::io;
use std::path::{Path, PathBuf};

use bundle_format::FileReader;

/// The bundle could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the bundle {}", path.display())]
pub struct FileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Opens the file once; it is read through this one descriptor, whatever happens to the name.
///
/// # Errors
/// When it cannot be opened or is not a regular file.
pub fn open_file(path: &Path) -> Result<FileReader, FileError> {
    FileReader::open(path).map_err(|source| FileError {
        path: path.to_owned(),
        source,
    })
}
