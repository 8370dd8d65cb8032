//! In which order a repository is changed.
//!
//! Each function may be cut off anywhere and is simply called again: what it finds half done it does
//! anew. [`Shelf`] is the seam; the tests put a directory under it that forgets what was not synced.

use std::io;

const PREFIX: &str = ".artifact-";
const UNFINISHED: &str = ".tmp";
const NEW_LINK: &str = ".link-";

/// What is in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Where it leads, if it is a link.
    pub target: Option<String>,
}

/// The directory of a repository.
pub trait Shelf {
    /// Everything in it.
    ///
    /// # Errors
    /// What the kernel says.
    fn entries(&self) -> io::Result<Vec<Entry>>;

    /// The barrier for what `name` holds, to its last file.
    ///
    /// # Errors
    /// Then nothing may be assumed of it.
    fn sync_content(&mut self, name: &str) -> io::Result<()>;

    /// Gives `from` another name, in the place of what had it.
    ///
    /// # Errors
    /// What the kernel says.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Makes a link that leads to `target`.
    ///
    /// # Errors
    /// What the kernel says.
    fn link(&mut self, name: &str, target: &str) -> io::Result<()>;

    /// Takes away a file, a link or a tree; what is not there is no error.
    ///
    /// # Errors
    /// What the kernel says.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// The barrier for the names.
    ///
    /// # Errors
    /// Then nothing may be assumed of what was renamed or linked.
    fn sync(&mut self) -> io::Result<()>;

    /// Whether some program still has it open.
    fn is_open(&self, name: &str) -> bool;
}

/// One content of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The artifact's name.
    pub name: String,
    /// In hexadecimal.
    pub sha256: String,
}

impl Instance {
    /// Its name in the directory.
    #[must_use]
    pub fn stored(&self) -> String {
        format!("{PREFIX}{}-{}", self.name, self.sha256)
    }

    /// The inverse of [`Instance::stored`].
    #[must_use]
    pub fn parse(stored: &str) -> Option<Instance> {
        let (name, sha256) = stored.strip_prefix(PREFIX)?.rsplit_once('-')?;
        let hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        let whole = !sha256.is_empty() && sha256.bytes().all(hex);
        whole.then(|| Instance {
            name: name.to_owned(),
            sha256: sha256.to_owned(),
        })
    }
}

/// Brings an instance into the directory: written under another name, synced, checked, and only then
/// called what it is. What has its name already is whole.
///
/// # Errors
/// Of `write` and `check`, and what the kernel says.
pub fn store<S: Shelf, W, E: From<io::Error>>(
    shelf: &mut S,
    instance: &Instance,
    write: impl FnOnce(&mut S, &str) -> Result<W, E>,
    check: impl FnOnce(&S, &str, W) -> Result<(), E>,
) -> Result<(), E> {
    let stored = instance.stored();
    if shelf.entries()?.iter().any(|entry| entry.name == stored) {
        return Ok(());
    }
    let unfinished = format!("{stored}{UNFINISHED}");
    shelf.remove(&unfinished)?;
    let written = write(shelf, &unfinished)?;
    shelf.sync_content(&unfinished)?;
    check(shelf, &unfinished, written)?;
    shelf.rename(&unfinished, &stored)?;
    // Before any link leads to it.
    shelf.sync()?;
    Ok(())
}

/// Lets the artifact's link lead to an instance that is stored.
///
/// # Errors
/// What the kernel says; the link leads to the old or to the new instance.
pub fn activate<S: Shelf>(shelf: &mut S, instance: &Instance) -> io::Result<()> {
    let (name, stored) = (&instance.name, instance.stored());
    let leads_there = |entry: &Entry| entry.name == *name && entry.target.as_ref() == Some(&stored);
    if shelf.entries()?.iter().any(leads_there) {
        // A power cut may have come between the rename and its barrier.
        return shelf.sync();
    }
    let link = format!("{NEW_LINK}{name}{UNFINISHED}");
    shelf.remove(&link)?;
    shelf.link(&link, &stored)?;
    shelf.rename(&link, name)?;
    shelf.sync()
}

/// Takes away instances that no link leads to, unless they are open, and whatever was left unfinished.
/// What somebody else has put there stays.
///
/// # Errors
/// What the kernel says.
pub fn prune<S: Shelf>(shelf: &mut S) -> io::Result<()> {
    let entries = shelf.entries()?;
    let used = |stored: &str| {
        let mut links = entries.iter().filter_map(|entry| entry.target.as_deref());
        links.any(|target| target == stored)
    };
    for Entry { name, .. } in &entries {
        let begun =
            name.ends_with(UNFINISHED) && (name.starts_with(PREFIX) || name.starts_with(NEW_LINK));
        let unused = Instance::parse(name).is_some() && !used(name) && !shelf.is_open(name);
        if begun || unused {
            shelf.remove(name)?;
        }
    }
    shelf.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let instance = Instance {
            name: "map-of-africa".into(),
            sha256: "00ff".into(),
        };
        assert_eq!(instance.stored(), ".artifact-map-of-africa-00ff");
        assert_eq!(Instance::parse(&instance.stored()), Some(instance));
        for other in [
            "map",
            ".artifact-map",
            ".artifact-map-",
            ".artifact-map-00ff.tmp",
            ".artifact-a-XY",
        ] {
            assert_eq!(Instance::parse(other), None, "{other}");
        }
    }
}
