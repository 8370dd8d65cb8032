//! Keeps what is slow to make, for as long as nothing that it is made of has changed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// A digest over everything that goes into an artefact.
#[derive(Debug, Clone)]
pub struct Inputs(Sha256);

impl Inputs {
    /// Inputs of a recipe; `recipe` names it and changes whenever the recipe does.
    #[must_use]
    pub fn new(recipe: &str) -> Self {
        Self(Sha256::new()).bytes(recipe.as_bytes())
    }

    /// Adds a value.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        // With its length, so that two values cannot be mistaken for one.
        let length = bytes.len().to_string();
        self.0.update(length.as_bytes());
        self.0.update(b":");
        self.0.update(bytes);
        self
    }

    /// Adds the content of a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn file(self, path: &Path) -> Result<Self> {
        let content = fs_err::read(path)?;
        Ok(self.bytes(&content))
    }

    /// The digest as lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0
            .clone()
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Makes the file or folder `path` with `make`, unless it is there and was made of `inputs`.
///
/// `make` gets a temporary path, which becomes `path` only when it succeeds; so an interrupted
/// run never leaves half an artefact behind.
///
/// # Errors
/// Those of `make`, or the artefact cannot be put in place.
pub fn cached(
    path: &Path,
    inputs: &Inputs,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let mark = with_suffix(path, ".inputs");
    let inputs = inputs.hex();
    if path.exists() && fs_err::read_to_string(&mark).is_ok_and(|made_of| made_of == inputs) {
        return Ok(path.to_owned());
    }
    if let Some(dir) = path.parent() {
        fs_err::create_dir_all(dir)?;
    }
    let part = with_suffix(path, ".part");
    remove(&part)?;
    make(&part).with_context(|| format!("making {}", path.display()))?;
    remove(&mark)?;
    remove(path)?;
    fs_err::rename(&part, path)?;
    fs_err::write(&mark, inputs)?;
    Ok(path.to_owned())
}

/// Removes a file or a folder with all that it holds; it need not exist.
///
/// # Errors
/// It exists and cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    let result = match fs_err::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs_err::remove_dir_all(path),
        Ok(_) => fs_err::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_again_only_when_inputs_change_or_making_failed() {
        let dir = std::env::temp_dir().join(format!("slotmgr-cache-{}", std::process::id()));
        let path = dir.join("image");
        let made = std::cell::Cell::new(0);
        let make = |part: &Path| {
            made.set(made.get() + 1);
            Ok(fs_err::write(part, "x")?)
        };
        let one = Inputs::new("recipe").bytes(b"1");
        let two = Inputs::new("recipe").bytes(b"2");
        cached(&path, &one, make).unwrap();
        cached(&path, &one, make).unwrap();
        assert_eq!(made.get(), 1);
        cached(&path, &two, |_| anyhow::bail!("no space")).unwrap_err();
        cached(&path, &one, make).unwrap();
        assert_eq!(made.get(), 1, "a failed attempt leaves the old artefact");
        cached(&path, &two, make).unwrap();
        assert_eq!(made.get(), 2);
        remove(&dir).unwrap();
        remove(&dir).unwrap();
    }

    #[test]
    fn neighbours_are_kept_apart() {
        let a = Inputs::new("r").bytes(b"ab").bytes(b"c");
        let b = Inputs::new("r").bytes(b"a").bytes(b"bc");
        assert_ne!(a.hex(), b.hex());
        assert_eq!(a.hex().len(), 64);
    }
}
