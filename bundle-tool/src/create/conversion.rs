//! What `convert=` asks for: images that a bundle holds in another form than that of their file.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bundle_format::Manifest;
use bundle_format::manifest::{CONVERT_KEEP, CONVERT_TAR, Image};

use tempfile::TempDir;

use super::content::{ContentError, Sources};
use crate::output::workspace_beside;

/// How `rauc` calls the tree of an archive.
const EXTRACTED: &str = ".extracted";

/// Why an image cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConversionError {
    /// A method that we do not have.
    #[error("convert={method} is not known; there are {CONVERT_TAR} and {CONVERT_KEEP}")]
    Method {
        /// As it stands in the manifest.
        method: String,
    },
    /// Nothing to convert.
    #[error("convert= needs a filename=")]
    NoFile,
    /// There is no room for it.
    #[error("cannot make a directory for it beside the output")]
    Staging(#[source] io::Error),
    /// There is no `tar`.
    #[error("the program tar is needed")]
    NoTar(#[source] io::Error),
    /// It is no archive, or the disk is full.
    #[error("tar failed ({status}): {message}")]
    Tar {
        /// Its exit status.
        status: String,
        /// What it said.
        message: String,
    },
}

/// Archives that were unpacked; the files are gone with the value.
#[derive(Debug, Default)]
pub struct Trees {
    names: Vec<String>,
    staging: Option<TempDir>,
}

impl Trees {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether this is the directory of one.
    pub fn contains(&self, name: &String) -> bool {
        self.names.contains(name)
    }

    /// Unpacks `archive` as `name`, beside `output`; gives where that is.
    fn add(
        &mut self,
        name: &str,
        archive: &Path,
        output: &Path,
    ) -> Result<PathBuf, ConversionError> {
        let staging = match self.staging.take() {
            Some(staging) => staging,
            None => workspace_beside(output).map_err(ConversionError::Staging)?,
        };
        let place = self.staging.insert(staging).path().join(name);
        unpack(archive, &place)?;
        self.names.push(name.to_owned());
        Ok(place)
    }
}

/// Makes the other forms, and takes the files whose other form is all that the bundle shall hold out
/// of `sources`. What is unpacked lies beside `output`.
pub(super) fn convert(
    manifest: &mut Manifest,
    sources: &mut Sources,
    output: &Path,
) -> Result<Trees, ContentError> {
    let mut trees = Trees::default();
    for image in &mut manifest.images {
        let what = format!("[image.{}]", image.label());
        let failed = |source| ContentError::Conversion { what, source };
        match forms(image) {
            Ok(names) => image.converted = names,
            Err(error) => return Err(failed(error)),
        }
        let Some(tree) = image
            .unpacked()
            .filter(|tree| !trees.names.iter().any(|name| name == tree))
        else {
            continue;
        };
        // That the file is there was seen when it was measured.
        let archive = image.filename.as_ref().and_then(|name| sources.get(name));
        let place = archive
            .ok_or(ConversionError::NoFile)
            .and_then(|archive| trees.add(tree, archive, output))
            .map_err(failed)?;
        if sources.insert(tree.to_owned(), place).is_some() {
            return Err(ContentError::Doubled {
                name: tree.to_owned(),
            });
        }
    }
    let (replaced, whole): (Vec<_>, Vec<_>) = manifest
        .images
        .iter()
        .partition(|image| image.is_replaced());
    for name in replaced.iter().filter_map(|image| image.filename.as_ref()) {
        if !whole
            .iter()
            .any(|image| image.filename.as_ref() == Some(name))
        {
            sources.remove(name);
        }
    }
    Ok(trees)
}

/// Names for `converted=`, one for each method.
fn forms(image: &Image) -> Result<Vec<String>, ConversionError> {
    let form = |method: &String| {
        let file = image.filename.clone().ok_or(ConversionError::NoFile)?;
        match method.as_str() {
            CONVERT_KEEP => Ok(file),
            CONVERT_TAR => Ok(file + EXTRACTED),
            _ => Err(ConversionError::Method {
                method: method.clone(),
            }),
        }
    };
    image.convert.iter().map(form).collect()
}

/// By `tar`, as `rauc` does, so that what fakeroot and pseudo make believe of owners and devices counts.
fn unpack(archive: &Path, place: &Path) -> Result<(), ConversionError> {
    fs_err::create_dir(place).map_err(ConversionError::Staging)?;
    let done = Command::new("tar")
        .args(["--extract", "--numeric-owner", "--same-permissions"])
        .args(["--xattrs", "--xattrs-include=*", "--directory"])
        .arg(place)
        .arg("--file")
        .arg(archive)
        // A name with a colon is no other machine.
        .arg("--force-local")
        .stdin(Stdio::null())
        .output()
        .map_err(ConversionError::NoTar)?;
    match done.status.success() {
        true => Ok(()),
        false => Err(ConversionError::Tar {
            status: done.status.to_string(),
            message: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        }),
    }
}
