//! Files and directories of ours that are still there after a power cut.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Makes a directory, and those above it that are missing, so that it is still there after a power
/// cut: a new name is on the medium only once the directory that holds it is.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory.parent();
    // A relative path of one part lies in the current directory.
    let above = above.map(|above| match above.as_os_str().is_empty() {
        true => Path::new("."),
        false => above,
    });
    if let Some(above) = above {
        create_directory(above)?;
    }
    match std::fs::create_dir(directory) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made?,
    }
    above.map_or(Ok(()), |above| File::open(above)?.sync_all())
}

/// Replaces a file. A power cut leaves the old one or the new one: it gets its name only when it is on
/// the medium.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    create_directory(directory)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_from_the_top() {
        let work = tempfile::tempdir().unwrap();
        let deep = work.path().join("a/b/c");
        for _ in 0..2 {
            create_directory(&deep).unwrap();
            assert!(deep.is_dir());
        }
        fs_err::write(work.path().join("file"), "").unwrap();
        assert!(create_directory(&work.path().join("file")).is_err());
        assert!(create_directory(&work.path().join("file/below")).is_err());
    }
}
