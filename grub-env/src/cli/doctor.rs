//! Looking at an environment file and saying what is right and wrong with it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::rauc::{RaucSlots, rauc_slots};
use crate::block::{Block, BlockError, SECTOR};
use crate::file::{FileError, read_file};
use crate::placement::{Finding, Hinders, Place, Sources, survey};

/// Whether one may rely on the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing to say.
    Fit,
    /// It works, but a power cut during a write, or a reader, may get something else.
    Weak,
    /// GRUB or Linux cannot use it.
    Unfit,
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: usize,
    /// What it holds, or why it holds nothing.
    pub content: Inside,
    /// What is wrong with its place; empty if nothing.
    pub placement: Vec<Misplaced>,
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Inside {
    /// A block.
    Valid(Content),
    /// Something else.
    Broken {
        /// What is wrong, and at which byte.
        why: String,
    },
}

/// A finding about the place of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Misplaced {
    /// In words.
    pub what: String,
    /// Whether GRUB can rely on what it reads there all the same.
    pub readable: bool,
}

/// What the block holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Lines that are variables.
    pub variables: usize,
    /// Bytes left.
    pub free: usize,
    /// Where the last variable ends.
    pub live_len: usize,
    /// Whether one sector decides about all variables.
    pub one_sector: bool,
    /// What is odd, in words.
    pub oddities: Vec<String>,
    /// RAUC's slots, if its variables are there.
    pub rauc: Option<RaucSlots>,
}

impl Report {
    /// The verdict.
    #[must_use]
    pub fn health(&self) -> Health {
        match &self.content {
            Inside::Broken { .. } => Health::Unfit,
            Inside::Valid(_) if !self.placement.is_empty() => Health::Unfit,
            Inside::Valid(c) if c.one_sector && c.oddities.is_empty() => Health::Fit,
            Inside::Valid(_) => Health::Weak,
        }
    }
}

/// Looks at a file without changing or locking it.
///
/// # Errors
/// [`FileError`] if there is nothing to look at.
pub fn examine(path: &Path) -> Result<Report, FileError> {
    let io_error = |source| FileError::Io {
        path: path.to_owned(),
        stage: "ask where it lies:",
        source,
    };
    let broken = |e: &BlockError| Inside::Broken { why: e.to_string() };
    let (len, content) = match read_file(path) {
        Ok(bytes) => match Block::parse(&bytes) {
            Ok(block) => (bytes.len(), Inside::Valid(contents(&block, &bytes))),
            Err(e) => (bytes.len(), broken(&e)),
        },
        Err(FileError::Block {
            source: e @ BlockError::TooShort { len },
            ..
        }) => (len, broken(&e)),
        Err(other) => return Err(other),
    };
    let mut placement = misplaced(path).map_err(io_error)?;
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    if is_link {
        let what = "it is a symbolic link, which GRUB follows only within one file system \
                    and not on FAT; name the file itself in grub.cfg and here";
        placement.push(Misplaced {
            what: what.to_owned(),
            readable: false,
        });
    }
    Ok(Report {
        path: path.to_owned(),
        len,
        content,
        placement,
    })
}

fn misplaced(path: &Path) -> io::Result<Vec<Misplaced>> {
    let file = File::open(path)?;
    let findings = survey(&file, &Place::of(&file)?, Sources::default())?;
    let told = |f: &Finding| Misplaced {
        what: f.to_string(),
        readable: f.hinders() == Hinders::Saving,
    };
    Ok(findings.iter().map(told).collect())
}

fn contents(block: &Block, bytes: &[u8]) -> Content {
    let mut oddities = Vec::new();
    let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    for name in block.repeated_names() {
        oddities.push(format!(
            "{:?} is there more than once; GRUB takes the last",
            shown(name)
        ));
    }
    if let Some(text) = block.stray_text() {
        oddities.push(format!(
            "text without '=' behind the last variable; the next new variable replaces it: {:?}",
            shown(text)
        ));
    }
    for (name, value) in block.iter() {
        if name.is_empty() {
            oddities.push("a variable has no name".to_owned());
        }
        if name.contains(&b'\n') {
            oddities.push(format!(
                "an empty line or one without '=' spoils the variable behind it; GRUB sees the \
                 name {:?}",
                shown(name)
            ));
        }
        if value.contains(&b'\r') {
            oddities.push(format!(
                "the value of {:?} contains a carriage return",
                shown(name)
            ));
        }
        if name.contains(&0) || value.contains(&0) {
            oddities.push(format!(
                "{:?} contains a zero byte, where GRUB stops",
                shown(name)
            ));
        }
    }
    if block
        .to_bytes(bytes.len())
        .is_ok_and(|again| again != bytes)
    {
        oddities.push(
            "a newline follows the padding (an editor's?), so that GRUB's own tool finds no \
             room; the next write here repairs it"
                .to_owned(),
        );
    }
    Content {
        variables: block.iter().count(),
        free: bytes.len().saturating_sub(block.needed_len()),
        live_len: block.live_len(),
        one_sector: block.fits_first_sector(),
        oddities,
        rauc: rauc_slots(block),
    }
}

/// The sentence about power cuts.
pub(super) fn atomicity(content: &Content) -> String {
    if content.one_sector {
        format!("all variables within the first {SECTOR} bytes: a write is old or new")
    } else {
        format!(
            "variables reach byte {}: a power cut between sectors leaves a mixture; remove \
             variables, or use a file of their own for the slots",
            content.live_len
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Content {
        let bytes = format!("# GRUB Environment Block\n{body}");
        contents(&Block::parse(bytes.as_bytes()).unwrap(), bytes.as_bytes())
    }

    #[test]
    fn a_good_block_has_no_oddities() {
        let c = of("ORDER=A B\nA_OK=1\n########");
        assert_eq!((c.variables, c.free, c.one_sector), (2, 8, true));
        assert_eq!(c.oddities, Vec::<String>::new());
    }

    #[test]
    fn oddities_are_named() {
        let c = of("a=1\r\na=2\n=x\njunk\nb=x\nz=\0\n####\n");
        let all = c.oddities.join("\n");
        for part in [
            "\"a\" is there more",
            "junk",
            "no name",
            "carriage",
            "zero byte",
            "newline",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }

    #[test]
    fn two_sectors_are_weak() {
        let c = of(&format!("a={}\n#", "x".repeat(600)));
        assert!(!c.one_sector);
        assert!(atomicity(&c).contains("628"));
    }
}
