//! What `convert=` asks for: images that a bundle holds in another form than that of their file.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use bundle_format::Manifest;
use bundle_format::manifest::{CONVERT_KEEP, CONVERT_TAR, Image};

use super::content::{ContentError, Sources};

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
    #[error("a temporary directory cannot be used")]
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

/// Makes the other forms in `staging`, and takes the files whose other form is all that the bundle
/// shall hold out of `sources`. Gives the names of the directories that were unpacked.
pub(super) fn convert(
    manifest: &mut Manifest,
    sources: &mut Sources,
    staging: &Path,
) -> Result<Vec<String>, ContentError> {
    let mut trees = Vec::new();
    for image in &mut manifest.images {
        let what = format!("[image.{}]", image.label());
        let made = forms(image).and_then(|forms| {
            // That the file is there was seen when it was measured.
            let archive = sources.get(&forms.file);
            for tree in &forms.trees {
                if !trees.contains(tree) {
                    unpack(archive.ok_or(ConversionError::NoFile)?, &staging.join(tree))?;
                    trees.push(tree.clone());
                }
            }
            Ok(forms.all)
        });
        image.converted = made.map_err(|source| ContentError::Conversion { what, source })?;
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
    for name in &trees {
        if sources.insert(name.clone(), staging.join(name)).is_some() {
            return Err(ContentError::Doubled { name: name.clone() });
        }
    }
    Ok(trees)
}

/// What is to be made of one file.
struct Forms {
    file: String,
    /// Names for `converted=`, one for each method.
    all: Vec<String>,
    /// Those that are unpacked.
    trees: Vec<String>,
}

fn forms(image: &Image) -> Result<Forms, ConversionError> {
    let mut forms = Forms {
        file: image.filename.clone().unwrap_or_default(),
        all: Vec::new(),
        trees: Vec::new(),
    };
    for method in &image.convert {
        if image.filename.is_none() {
            return Err(ConversionError::NoFile);
        }
        let name = match method.as_str() {
            CONVERT_KEEP => forms.file.clone(),
            CONVERT_TAR => {
                forms.trees.push(forms.file.clone() + EXTRACTED);
                forms.file.clone() + EXTRACTED
            }
            _ => {
                let method = method.clone();
                return Err(ConversionError::Method { method });
            }
        };
        forms.all.push(name);
    }
    Ok(forms)
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
