//! The firmware's variables, as Linux shows them in efivarfs.
//!
//! A file `NAME-GUID` holds the attributes (`u32`, little-endian) and the content. A write has to be
//! one write(2) of all of it, and is done when it returns: the firmware has stored the variable.
//! Files of variables that the kernel does not know are immutable until the flag is taken off.
//!
//! Source: Linux, `Documentation/filesystems/efivarfs.rst`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::super::BootError;

/// The GUID of the variables of the specification.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Non-volatile, for the firmware and for us.
const ATTRIBUTES: u32 = 7;

/// Largest variable that is read, in bytes. Firmware allows some kilobytes.
const MAX_VARIABLE: u64 = 64 * 1024;

/// The variables of the specification's own name space, without their attributes.
pub trait EfiVars {
    /// The names of all variables.
    ///
    /// # Errors
    /// When there are none to be had.
    fn names(&self) -> Result<Vec<String>, BootError>;

    /// The content; `None` if there is no such variable.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, BootError>;

    /// Sets a variable, durably and as a whole.
    ///
    /// # Errors
    /// When the firmware refuses; the old content is there then.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), BootError>;

    /// Takes a variable away; one that is not there is no error.
    ///
    /// # Errors
    /// When the firmware refuses.
    fn remove(&self, name: &str) -> Result<(), BootError>;
}

/// The variables of this machine.
#[derive(Debug)]
pub struct EfiVarFs {
    /// Where efivarfs is mounted: `/sys/firmware/efi/efivars`.
    pub root: PathBuf,
}

impl EfiVarFs {
    /// Where it always is.
    pub const ROOT: &str = "/sys/firmware/efi/efivars";

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}-{GLOBAL}"))
    }

    fn raw(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_VARIABLE).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn put(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let old = self.raw(name)?;
        let attributes = match old.as_deref().and_then(<[u8]>::first_chunk::<4>) {
            Some(old) => *old,
            None => ATTRIBUTES.to_le_bytes(),
        };
        if old.is_some() {
            devio::inode::clear_immutable(&File::open(&path)?)?;
        }
        // Never truncated: efivarfs takes a write as the new content, whatever was there.
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let bytes = [&attributes[..], content].concat();
        let written = match file.write(&bytes) {
            Ok(count) if count == bytes.len() => return Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(error),
        };
        if old.is_none() {
            // A variable that the firmware refused leaves an empty file, which is no variable. If
            // it cannot be taken away, reading it says the same.
            let _ = std::fs::remove_file(&path);
        }
        written
    }
}

fn variable(name: &str) -> String {
    format!("the variable {name}")
}

fn failed(name: &str, doing: &'static str) -> impl Fn(io::Error) -> BootError {
    move |source| BootError::Variables {
        doing,
        name: name.to_owned(),
        source,
    }
}

impl EfiVars for EfiVarFs {
    fn names(&self) -> Result<Vec<String>, BootError> {
        let failed = failed("the list of variables", "reading");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(&failed)? {
            let name = entry.map_err(&failed)?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(GLOBAL));
            names.extend(
                name.and_then(|name| name.strip_suffix('-'))
                    .map(str::to_owned),
            );
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, BootError> {
        let raw = self.raw(name).map_err(failed(&variable(name), "reading"))?;
        Ok(raw.and_then(|raw| raw.get(4..).map(<[u8]>::to_vec)))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), BootError> {
        self.put(name, content)
            .map_err(failed(&variable(name), "writing"))
    }

    fn remove(&self, name: &str) -> Result<(), BootError> {
        let path = self.path(name);
        let gone = File::open(&path)
            .and_then(|file| devio::inode::clear_immutable(&file))
            .and_then(|()| std::fs::remove_file(&path));
        match gone {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(&variable(name), "removing")(error))
            }
            _ => Ok(()),
        }
    }
}
