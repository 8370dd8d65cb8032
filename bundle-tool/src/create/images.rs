//! What the manifest says about each image: filled in from the file.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use bundle_format::block_hash_index::{self, BlockHashIndex};
use bundle_format::manifest::{Image, ImageHook};
use bundle_format::{Digest, FileReader, Manifest};

use super::content::{ContentError, Sources};
use crate::observer::Observer;

/// Bytes that are hashed at once.
const HASH_BUFFER: usize = 1024 * 1024;

/// Files that are made for the bundle, by name.
type Made = BTreeMap<String, Vec<u8>>;

/// Fills in size and digest of every image, and makes the indexes that they ask for.
pub(super) fn fill_in(
    manifest: &mut Manifest,
    sources: &mut Sources,
    observer: &mut dyn Observer,
) -> Result<Made, ContentError> {
    let mut made = Made::new();
    // A handler of its own may bring whatever it likes.
    let any_kind = manifest.handler.is_some();
    for image in &mut manifest.images {
        let what = format!("[image.{}]", image.label());
        if image.hooks.contains(&ImageHook::Install) && image.hooks.len() > 1 {
            return Err(ContentError::InstallHook { what });
        }
        let Some(name) = image.filename.clone() else {
            continue;
        };
        let Some(path) = sources.get(&name) else {
            return Err(ContentError::Missing {
                what,
                path: name.into(),
            });
        };
        if !any_kind && !is_installable(image) {
            observer.warn(&format!(
                "{what}: nothing tells what kind of data {name} is, so devices will refuse it; \
                 use an ending like .ext4, .vfat, .squashfs, .img or .tar.gz, or type="
            ));
        }
        measure(image, path, &what, observer)?;
        if let Some(index) = adaptive(image, path, &what)? {
            let index_name = block_hash_index::file_name(&name);
            // rauc leaves the index of its last run in the input directory.
            sources.remove(&index_name);
            made.insert(index_name, index);
        }
    }
    Ok(made)
}

/// Whether a device can know what to do with it.
fn is_installable(image: &Image) -> bool {
    image.kind().is_some() || image.artifact.is_some() || image.hooks.contains(&ImageHook::Install)
}

/// What the manifest says already is replaced, as RAUC does.
fn measure(
    image: &mut Image,
    path: &Path,
    what: &str,
    observer: &mut dyn Observer,
) -> Result<(), ContentError> {
    // What a chunked image expands to is not here to be measured.
    if image.is_chunked() {
        return match (image.sha256, image.size) {
            (Some(_), Some(_)) => Ok(()),
            _ => Err(ContentError::Chunked {
                what: what.to_owned(),
            }),
        };
    }
    let (found, size) = hash(path, observer)?;
    if image.sha256.is_some_and(|said| said != found) || image.size.is_some_and(|s| s != size) {
        observer.warn(&format!(
            "{what}: sha256 or size in the manifest is old and was replaced"
        ));
    }
    image.sha256 = Some(found);
    image.size = Some(size);
    Ok(())
}

/// The index that the image asks for.
fn adaptive(image: &Image, path: &Path, what: &str) -> Result<Option<Vec<u8>>, ContentError> {
    let what = || what.to_owned();
    let unknown = image
        .adaptive
        .iter()
        .find(|method| *method != block_hash_index::METHOD);
    if let Some(method) = unknown {
        return Err(ContentError::Adaptive {
            what: what(),
            method: method.clone(),
        });
    }
    if image.adaptive.is_empty() {
        return Ok(None);
    }
    let file = FileReader::open(path)?;
    let index = BlockHashIndex::build(&file).map_err(|source| ContentError::Index {
        what: what(),
        source,
    })?;
    Ok(Some(index.to_bytes()))
}

fn hash(path: &Path, observer: &mut dyn Observer) -> Result<(Digest, u64), ContentError> {
    let mut file = fs_err::File::open(path)?;
    let total = file.metadata()?.len();
    let mut hasher = openssl::sha::Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER];
    let mut done = 0;
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            return Ok((Digest::from_bytes(hasher.finish()), done));
        }
        hasher.update(&buffer[..len]);
        done += len as u64;
        observer.progress(done, total);
    }
}
