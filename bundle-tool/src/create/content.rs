//! What goes into a bundle: the files, and the manifest with their digests.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bundle_format::Manifest;
use bundle_format::block_hash_index::IndexError;
use bundle_format::limits::MAX_KEYFILE_SIZE;
use bundle_format::manifest::{Image, MANIFEST_FILE, ManifestError, Update};

use super::conversion::{self, ConversionError, Trees};
use super::images;
use super::request::{CreateRequest, Input, NewManifest};
use crate::observer::Observer;

/// What is wrong with the input.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A file cannot be read.
    #[error("cannot read the input")]
    Read(#[from] io::Error),
    /// No manifest.
    #[error("{directory} has no {MANIFEST_FILE}: write one, or name the images with --image CLASS=FILE", directory = directory.display())]
    NoManifest {
        /// Where it should be.
        directory: PathBuf,
    },
    /// The manifest is not valid.
    #[error("the manifest in {directory} is not valid", directory = directory.display())]
    Manifest {
        /// Where it is.
        directory: PathBuf,
        /// What is wrong.
        source: Box<ManifestError>,
    },
    /// What would be written could not be read again.
    #[error("this would give a manifest that is not valid")]
    NewManifest(#[source] Box<ManifestError>),
    /// The manifest is too large.
    #[error("{path} is too large for a manifest", path = path.display())]
    ManifestTooLarge {
        /// Which.
        path: PathBuf,
    },
    /// The manifest wants another format.
    #[error("the manifest says format={manifest}, but {asked} is to be created")]
    Format {
        /// What the manifest says.
        manifest: &'static str,
        /// What is asked for.
        asked: &'static str,
    },
    /// A file that the manifest names is missing.
    #[error("{what} needs the file {path}, which is missing", path = path.display())]
    Missing {
        /// Which section.
        what: String,
        /// Which file.
        path: PathBuf,
    },
    /// Something that a bundle must not hold.
    #[error("{path} must not be in a bundle: {reason}", path = path.display())]
    Forbidden {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// Two files of one name.
    #[error("two files are called {name}")]
    Doubled {
        /// The name.
        name: String,
    },
    /// An image that is chunked already does not say what it expands to.
    #[error("{what} is chunked: the manifest has to say sha256 and size of what it expands to")]
    Chunked {
        /// Which section.
        what: String,
    },
    /// A method that we do not know how to prepare.
    #[error("{what} asks for the adaptive method {method}; only block-hash-index can be prepared")]
    Adaptive {
        /// Which section.
        what: String,
        /// The method.
        method: String,
    },
    /// The index for an adaptive method cannot be made.
    #[error("{what}: no block-hash-index can be made")]
    Index {
        /// Which section.
        what: String,
        /// Why.
        source: IndexError,
    },
    /// `convert=` cannot be done.
    #[error("{what} cannot be converted")]
    Conversion {
        /// Which section.
        what: String,
        /// Why.
        source: ConversionError,
    },
    /// The install hook stands alone.
    #[error(
        "{what} has the hook install together with others; install replaces the whole installation of the slot"
    )]
    InstallHook {
        /// Which section.
        what: String,
    },
    /// Nothing to install.
    #[error("no image is given: use --image CLASS=FILE")]
    NoImages,
    /// Digests and hash trees are ours to fill in.
    #[error("the manifest has verity-hash or crypt-key already; these are filled in here")]
    Finished,
}

/// What goes into the squashfs.
pub struct Gathered {
    /// The manifest, with size and digest of every image.
    pub manifest: Manifest,
    /// Every file and directory for the root of the payload, by name; without what is made here.
    pub sources: BTreeMap<String, PathBuf>,
    /// Files that are made here, by name; without the manifest.
    pub made: BTreeMap<String, Vec<u8>>,
    /// Those of the sources that are unpacked archives: there, owners and attributes count.
    pub trees: Trees,
}

/// Collects the input and fills in the manifest; what is to be unpacked is unpacked beside the output.
pub(super) fn gather(
    request: &CreateRequest,
    observer: &mut dyn Observer,
) -> Result<Gathered, ContentError> {
    let format = request.format;
    let (mut manifest, mut sources) = match &request.input {
        Input::Directory(directory) => from_directory(directory)?,
        Input::Images(new) => from_images(new)?,
    };
    if manifest.bundle.verity.is_some() || manifest.bundle.crypt_key.is_some() {
        return Err(ContentError::Finished);
    }
    if !manifest.bundle.format_assumed && manifest.bundle.format != format {
        let (manifest, asked) = (manifest.bundle.format.name(), format.name());
        return Err(ContentError::Format { manifest, asked });
    }
    manifest.bundle.format = format;
    manifest.bundle.format_assumed = false;
    check_programs(&manifest, &sources)?;
    let made = images::fill_in(&mut manifest, &mut sources, observer)?;
    let trees = conversion::convert(&mut manifest, &mut sources, &request.output.path)?;
    Manifest::parse(&manifest.to_bytes())
        .and_then(|manifest| manifest.check_min_rauc_version())
        .map_err(|e| ContentError::NewManifest(e.into()))?;
    Ok(Gathered {
        manifest,
        sources,
        made,
        trees,
    })
}

pub(super) type Sources = BTreeMap<String, PathBuf>;

fn from_directory(directory: &Path) -> Result<(Manifest, Sources), ContentError> {
    let mut sources = Sources::new();
    for entry in fs_err::read_dir(directory)? {
        let path = entry?.path();
        let name = file_name(&path)?;
        check_entry(&path, true)?;
        sources.insert(name, path);
    }
    let path = sources
        .remove(MANIFEST_FILE)
        .ok_or_else(|| ContentError::NoManifest {
            directory: directory.to_owned(),
        })?;
    let mut bytes = Vec::new();
    fs_err::File::open(&path)?
        .take(MAX_KEYFILE_SIZE as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > MAX_KEYFILE_SIZE {
        return Err(ContentError::ManifestTooLarge { path });
    }
    let manifest = Manifest::parse(&bytes).map_err(|error| ContentError::Manifest {
        directory: directory.to_owned(),
        source: error.into(),
    })?;
    Ok((manifest, sources))
}

fn from_images(new: &NewManifest) -> Result<(Manifest, Sources), ContentError> {
    if new.images.is_empty() {
        return Err(ContentError::NoImages);
    }
    let mut manifest = Manifest {
        update: Update {
            compatible: new.compatible.clone(),
            version: new.version.clone(),
            description: new.description.clone(),
            build: new.build.clone(),
            min_rauc_version: None,
        },
        ..Manifest::default()
    };
    manifest.bundle.format_assumed = true;
    let mut sources = Sources::new();
    for source in &new.images {
        let name = file_name(&source.path)?;
        if !fs_err::File::open(&source.path)?.metadata()?.is_file() {
            let reason = "an image has to be a regular file";
            return Err(ContentError::Forbidden {
                path: source.path.clone(),
                reason,
            });
        }
        if name == MANIFEST_FILE || sources.contains_key(&name) {
            return Err(ContentError::Doubled { name });
        }
        manifest.images.push(Image {
            class: source.class.clone(),
            variant: source.variant.clone(),
            filename: Some(name.clone()),
            ..Image::default()
        });
        sources.insert(name, source.path.clone());
    }
    Ok((manifest, sources))
}

/// Regular files, directories of them, and links to a neighbour. Names that start with a dot are
/// reserved in the root directory.
fn check_entry(path: &Path, in_root: bool) -> Result<(), ContentError> {
    let forbidden = |reason| {
        Err(ContentError::Forbidden {
            path: path.to_owned(),
            reason,
        })
    };
    let kind = fs_err::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        let target = fs_err::read_link(path)?;
        let neighbour = target
            .to_str()
            .is_some_and(|t| !t.contains('/') && t != "." && t != "..");
        return if neighbour {
            Ok(())
        } else {
            forbidden("a link may only name a neighbour")
        };
    }
    if kind.is_dir() {
        if in_root && file_name(path)?.starts_with('.') {
            return forbidden("directories that start with a dot are reserved");
        }
        return fs_err::read_dir(path)?.try_for_each(|entry| check_entry(&entry?.path(), false));
    }
    if kind.is_file() {
        Ok(())
    } else {
        forbidden("only files, directories and links may be")
    }
}

/// The programs of `[handler]` and `[hooks]` have to be there.
fn check_programs(manifest: &Manifest, sources: &Sources) -> Result<(), ContentError> {
    let handler = manifest
        .handler
        .as_ref()
        .map(|handler| ("[handler]", &handler.filename));
    let hooks = manifest
        .hooks
        .as_ref()
        .map(|hooks| ("[hooks]", &hooks.filename));
    for (what, name) in handler.into_iter().chain(hooks) {
        if !sources.contains_key(name) {
            return Err(ContentError::Missing {
                what: what.to_owned(),
                path: name.into(),
            });
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> Result<String, ContentError> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .map(str::to_owned);
    let reason = "its name is not UTF-8 text";
    name.ok_or_else(|| ContentError::Forbidden {
        path: path.to_owned(),
        reason,
    })
}
