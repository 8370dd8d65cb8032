//! A bundle whose images are chunk indexes, with the chunks in a casync store beside it.
//!
//! The order matters: chunks first, brought to the disk, then the bundle that names them. What is
//! left of a conversion that failed are chunks that nobody names, which a later one uses again.

mod archive;
mod chunks;
mod options;

pub use archive::ArchiveError;
pub use chunks::{ChunkError, Chunking};
pub use options::{ChunkOptionError, ChunkOptions, digest, packing, sizes};

use std::path::{Path, PathBuf};

use bundle_format::block_hash_index;
use bundle_format::manifest::{Format, Image, ImageType, MANIFEST_FILE, Manifest};
use bundle_format::squashfs::Squashfs;
use bundle_format::{BundleError, PayloadError};

use crate::create::{
    CreateError, CreateRequest, Created, Input, PackOptions, Salt, Signature, create,
};
use crate::extract::{ExtractError, extract};
use crate::observer::Observer;
use crate::open::{Check, OpenError, Source};
use crate::output::{Overwrite, workspace_beside};
use crate::rewrite::Target;
use chunks::Filling;

/// Why a bundle cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The input is no bundle, or not trusted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A bundle that cannot be read without a check.
    #[error("a crypt bundle can only be converted with its signature checked")]
    Unverifiable,
    /// Its files cannot be taken out.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// There is no room beside the output.
    #[error("cannot work beside the new bundle")]
    Workspace(#[source] std::io::Error),
    /// An image cannot be chunked.
    #[error("cannot chunk {image}")]
    Chunk {
        /// Its file.
        image: String,
        /// Why.
        source: ChunkError,
    },
    /// The store cannot be used.
    #[error("cannot use the store {path}", path = path.display())]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ChunkError,
    },
    /// The new bundle cannot be created.
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// Everything that a conversion depends on.
pub struct ConvertRequest<'a> {
    /// The bundle.
    pub source: Source<'a>,
    /// Whether its signature counts.
    pub check: Check<'a>,
    /// The bundle to create.
    pub output: Target,
    /// Slot classes whose images stay as they are.
    pub ignored: Vec<String>,
    /// How images are cut.
    pub chunking: Chunking,
    /// Who signs.
    pub signature: Signature,
    /// Salt of the new hash tree.
    pub salt: Salt,
    /// Key of the new payload, for the crypt format.
    pub crypt_key: [u8; 32],
    /// How the payload is packed.
    pub pack: PackOptions,
}

/// What was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The bundle.
    pub bundle: Created,
    /// The store.
    pub store: PathBuf,
    /// Images that are chunked now.
    pub images: usize,
    /// Bytes that were added to the store.
    pub added: u64,
}

/// Where the chunks of the bundle `output` go: `.castr` instead of `.raucb`, as devices look for it.
pub fn store_of(output: &Path) -> PathBuf {
    if output.extension().is_some_and(|end| end == "raucb") {
        return output.with_extension("castr");
    }
    let mut name = output.as_os_str().to_owned();
    name.push(".castr");
    name.into()
}

/// Converts a bundle.
///
/// # Errors
/// The input is not right, an image cannot be chunked, or the new bundle cannot be created.
pub fn convert(
    request: ConvertRequest<'_>,
    observer: &mut dyn Observer,
) -> Result<Converted, ConvertError> {
    let workspace = workspace_beside(&request.output.path).map_err(ConvertError::Workspace)?;
    let content = workspace.path().join("content");
    let mut manifest = take_out(&request, &content, observer)?;
    let format = manifest.bundle.format;
    manifest.bundle.verity = None;
    manifest.bundle.crypt_key = None;

    let store = store_of(&request.output.path);
    let unusable = |source| ConvertError::Store {
        path: store.clone(),
        source,
    };
    let filling = Filling::new(&store, &request.chunking).map_err(unusable)?;
    let images = chunk_images(
        &mut manifest,
        &content,
        &request.ignored,
        &filling,
        observer,
    )?;
    observer.step("bringing the store to the disk");
    let added = filling.finish().map_err(unusable)?;

    fs_err::write(content.join(MANIFEST_FILE), manifest.to_bytes())
        .map_err(ConvertError::Workspace)?;
    let bundle = create(
        &CreateRequest {
            input: Input::Directory(content),
            output: request.output,
            format,
            signature: request.signature,
            salt: request.salt,
            crypt_key: request.crypt_key,
            pack: request.pack,
        },
        observer,
    )?;
    Ok(Converted {
        bundle,
        store,
        images,
        added,
    })
}

/// Takes the files out; gives the manifest that was signed.
fn take_out(
    request: &ConvertRequest<'_>,
    content: &Path,
    observer: &mut dyn Observer,
) -> Result<Manifest, ConvertError> {
    let damaged = |error: PayloadError| OpenError::from(BundleError::from(error));
    match &request.check {
        Check::Trust(trust) => {
            let bundle = request.source.verified(trust)?;
            bundle.verify_payload(&mut |_, _| {}).map_err(damaged)?;
            extract(
                &bundle.files().map_err(damaged)?,
                content,
                Overwrite::Refuse,
                observer,
            )?;
            Ok(bundle.manifest().manifest().clone())
        }
        Check::None => {
            let bundle = request.source.open()?;
            let manifest = bundle.manifest_unverified().map_err(OpenError::from)?;
            if manifest.bundle.format == Format::Crypt {
                return Err(ConvertError::Unverifiable);
            }
            let payload = bundle.unverified_payload();
            let files = Squashfs::open(&payload).map_err(damaged)?;
            extract(&files, content, Overwrite::Refuse, observer)?;
            Ok(manifest)
        }
    }
}

/// Chunks every image that is not ignored; gives how many there were.
fn chunk_images(
    manifest: &mut Manifest,
    content: &Path,
    ignored: &[String],
    filling: &Filling<'_>,
    observer: &mut dyn Observer,
) -> Result<usize, ConvertError> {
    let mut originals = Vec::new();
    for image in &mut manifest.images {
        let stays =
            ignored.contains(&image.class) || image.is_chunked() || image.artifact.is_some();
        let Some(name) = image.filename.clone().filter(|_| !stays) else {
            continue;
        };
        let (chunked, new_name) = target(image, &name);
        let (from, to) = (content.join(&name), content.join(&new_name));
        // Two images may share one file.
        if !to.exists() {
            observer.step(&format!("chunking {name} into {new_name}"));
            let done = match image.kind() {
                Some(ImageType::Tar) => filling.tar(&from, &to),
                Some(ImageType::Catar) => filling.catar(&from, &to),
                _ => filling.blob(&from, &to),
            };
            done.map_err(|source| ConvertError::Chunk {
                image: name.clone(),
                source,
            })?;
        }
        image.filename = Some(new_name);
        image.image_type = image.image_type.and(chunked);
        image
            .adaptive
            .retain(|method| method != block_hash_index::METHOD);
        originals.push(name);
    }
    remove_originals(&originals, manifest, content)?;
    Ok(originals.len())
}

/// The type of the chunked image, if it has one, and the name of its index.
fn target(image: &Image, name: &str) -> (Option<ImageType>, String) {
    let chunked = match image.kind() {
        Some(ImageType::Tar | ImageType::Catar) => Some(ImageType::Caidx),
        Some(ImageType::Raw) => Some(ImageType::RawCaibx),
        Some(ImageType::Ext4) => Some(ImageType::Ext4Caibx),
        Some(ImageType::Vfat) => Some(ImageType::VfatCaibx),
        Some(ImageType::Ubifs) => Some(ImageType::UbifsCaibx),
        Some(ImageType::Squashfs) => Some(ImageType::SquashfsCaibx),
        _ => None,
    };
    let end = if chunked == Some(ImageType::Caidx) {
        "caidx"
    } else {
        "caibx"
    };
    (chunked, format!("{name}.{end}"))
}

/// Takes away the files of which there are chunks now, and their block-hash-indexes, unless another
/// image still names them.
fn remove_originals(
    originals: &[String],
    manifest: &Manifest,
    content: &Path,
) -> Result<(), ConvertError> {
    let is_named = |name: &String| {
        let named = |image: &Image| image.filename.as_ref() == Some(name);
        manifest.images.iter().any(named)
    };
    for original in originals.iter().filter(|name| !is_named(name)) {
        for name in [original.clone(), block_hash_index::file_name(original)] {
            match fs_err::remove_file(content.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ConvertError::Workspace(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}
