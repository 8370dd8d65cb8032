//! The folder of systemd-boot's entries, on a FAT file system.
//!
//! FAT has no journal: a rename writes the new name and takes the old one away, in two writes that
//! may come in any order. After a power cut both names may be there, leading to the same clusters,
//! or neither. So nothing here ever removes or truncates a file, which would free clusters that
//! another name may have; what is lost is made anew from a spare copy.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::super::BootError;
use crate::storage::SECTOR;

/// systemd-boot's own variables.
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Most bytes of `loader.conf` that are looked at.
const MAX_LOADER_CONF: u64 = 64 * 1024;

/// The entries, and what could stand above them.
pub trait EntryFiles {
    /// The names in the folder.
    ///
    /// # Errors
    /// When it cannot be read.
    fn names(&self) -> Result<Vec<String>, BootError>;

    /// The first 513 bytes of a file: enough to see that it is too long.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, name: &str) -> Result<Vec<u8>, BootError>;

    /// Puts as many bytes into the place of those of a file, durably.
    ///
    /// # Errors
    /// When it cannot be written; the old or the new content is there.
    fn overwrite(&self, name: &str, content: &[u8]) -> Result<(), BootError>;

    /// Gives a file another name, which no file has, durably.
    ///
    /// # Errors
    /// When it cannot be; the old name, the new one, both or neither is there.
    fn rename(&self, from: &str, to: &str) -> Result<(), BootError>;

    /// The spare copy of the entry of a boot name.
    ///
    /// # Errors
    /// When it cannot be read.
    fn spare(&self, slot: &str) -> Result<Option<Vec<u8>>, BootError>;

    /// Adds a file, durably.
    ///
    /// # Errors
    /// When it cannot be written; all, a part or nothing of it is there.
    fn add(&self, name: &str, content: &[u8]) -> Result<(), BootError>;

    /// What makes systemd-boot start something else than the first entry.
    ///
    /// # Errors
    /// When it cannot be told.
    fn overridden(&self) -> Result<Option<String>, BootError>;
}

/// The files of this machine.
#[derive(Debug)]
pub struct FatFolder {
    /// `loader/entries` on the boot partition.
    pub entries: PathBuf,
    /// Where efivarfs is mounted.
    pub variables: PathBuf,
}

impl FatFolder {
    fn failed(&self, doing: &'static str, name: &str) -> impl Fn(io::Error) -> BootError {
        let path = self.entries.join(name);
        move |source| BootError::EntryFile {
            doing,
            path: path.clone(),
            source,
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.entries)?.sync_all()
    }
}

impl EntryFiles for FatFolder {
    fn names(&self) -> Result<Vec<String>, BootError> {
        let failed = self.failed("reading", "");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.entries).map_err(&failed)? {
            // A name that is no text is none of a slot.
            names.extend(entry.map_err(&failed)?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, BootError> {
        let mut bytes = Vec::new();
        File::open(self.entries.join(name))
            .and_then(|file| file.take(SECTOR as u64 + 1).read_to_end(&mut bytes))
            .map_err(self.failed("reading", name))?;
        Ok(bytes)
    }

    fn overwrite(&self, name: &str, content: &[u8]) -> Result<(), BootError> {
        let write = || {
            let file = File::options().write(true).open(self.entries.join(name))?;
            file.write_all_at(content, 0)?;
            file.sync_all()
        };
        write().map_err(self.failed("writing", name))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), BootError> {
        let rename = || {
            let to = self.entries.join(to);
            if to.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(self.entries.join(from), to)?;
            self.sync_names()
        };
        rename().map_err(self.failed("renaming", from))
    }

    fn spare(&self, slot: &str) -> Result<Option<Vec<u8>>, BootError> {
        let folder = self.entries.parent().unwrap_or(&self.entries);
        let path = folder.join("slotmgr").join(format!("{slot}.conf"));
        let mut bytes = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(SECTOR as u64 + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(BootError::EntryFile {
                doing: "reading",
                path,
                source,
            }),
        }
    }

    fn add(&self, name: &str, content: &[u8]) -> Result<(), BootError> {
        let add = || {
            let mut file = File::create_new(self.entries.join(name))?;
            file.write_all(content)?;
            file.sync_all()?;
            self.sync_names()
        };
        add().map_err(self.failed("adding", name))
    }

    fn overridden(&self) -> Result<Option<String>, BootError> {
        let variable = format!("LoaderEntryDefault-{LOADER}");
        let exists = self.variables.join(&variable).try_exists();
        if exists.map_err(self.failed("asking for a default entry beside", ""))? {
            return Ok(Some(
                "the firmware variable LoaderEntryDefault (`bootctl set-default ''` removes it)"
                    .to_owned(),
            ));
        }
        let folder = self.entries.parent().unwrap_or(&self.entries);
        let path = folder.join("loader.conf");
        let mut text = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(MAX_LOADER_CONF).read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(BootError::EntryFile {
                    doing: "reading",
                    path,
                    source,
                });
            }
        }
        let text = String::from_utf8_lossy(&text);
        let mut keys = text.lines().filter_map(|l| l.split_whitespace().next());
        let default = keys.any(|key| key == "default");
        Ok(default.then(|| format!("the line `default` of {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, FatFolder) {
        let place = tempfile::tempdir().unwrap();
        let entries = place.path().join("loader/entries");
        let variables = place.path().join("variables");
        for folder in [&entries, &variables, &place.path().join("loader/slotmgr")] {
            fs_err::create_dir_all(folder).unwrap();
        }
        (place, FatFolder { entries, variables })
    }

    #[test]
    fn nothing_is_ever_renamed_over_or_truncated() {
        let (_place, folder) = folder();
        folder.add("A.conf", b"one").unwrap();
        folder.add("B.conf", b"two").unwrap();
        assert!(folder.add("B.conf", b"xxx").is_err());
        assert!(folder.rename("A.conf", "B.conf").is_err());
        folder.overwrite("A.conf", b"1").unwrap();
        folder.rename("A.conf", "A+3.conf").unwrap();
        assert_eq!(folder.read("A+3.conf").unwrap(), b"1ne");
        assert_eq!(folder.read("B.conf").unwrap(), b"two");
        assert!(
            folder.overwrite("C.conf", b"new").is_err(),
            "it is not made"
        );
        let mut names = folder.names().unwrap();
        names.sort();
        assert_eq!(names, ["A+3.conf", "B.conf"]);
    }

    #[test]
    fn what_stands_above_the_order_is_found() {
        let (place, folder) = folder();
        let above = || folder.overridden().unwrap();
        assert_eq!(above(), None);
        let conf = place.path().join("loader/loader.conf");
        fs_err::write(&conf, "# default A\ntimeout 0\n").unwrap();
        assert_eq!(above(), None);
        fs_err::write(&conf, "timeout 0\n default A.conf\n").unwrap();
        assert!(above().unwrap().contains("loader.conf"));
        fs_err::remove_file(&conf).unwrap();
        let variable = folder
            .variables
            .join(format!("LoaderEntryDefault-{LOADER}"));
        fs_err::write(&variable, "x").unwrap();
        assert!(above().unwrap().contains("LoaderEntryDefault"));
    }

    #[test]
    fn spare_copies() {
        let (place, folder) = folder();
        assert_eq!(folder.spare("A").unwrap(), None);
        fs_err::write(place.path().join("loader/slotmgr/A.conf"), "spare").unwrap();
        assert_eq!(folder.spare("A").unwrap().as_deref(), Some(&b"spare"[..]));
    }
}
