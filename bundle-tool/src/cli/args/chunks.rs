//! Arguments of the verbs about indices and chunk stores.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Result;
use bundle_format::Trust;
use casync::chunk::DigestKind;
use casync::chunker::CutRule;
use casync::codec::Packing;
use casync::store::Durability;

use super::groups::{DecryptArgs, ForceArgs, RuleArgs};
use super::parse;
use crate::chunks::{BundleInput, ImageInput, StoreTarget, Workers};
use crate::cli::Environment;

/// Whether INPUT is an image or a bundle, and which image of the bundle is meant.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ImageArgs {
    /// INPUT is a bundle: PEM file with the certificates to trust
    #[arg(long, value_name = "PEM")]
    pub keyring: Option<PathBuf>,
    /// Slot class or file name of the image in the bundle, if it has several
    #[arg(long, value_name = "NAME", requires = "keyring")]
    pub image: Option<String>,
    /// How to check.
    #[command(flatten)]
    pub rules: RuleArgs,
    /// How to open.
    #[command(flatten)]
    pub decrypt: DecryptArgs,
    /// The image: a file, a block device, or with --keyring a bundle
    pub input: PathBuf,
}

impl ImageArgs {
    /// Where the image is.
    ///
    /// # Errors
    /// Keyring or key cannot be read.
    pub fn load(&self, environment: &Environment) -> Result<ImageInput> {
        let bundle = match &self.keyring {
            None => None,
            Some(keyring) => Some(BundleInput {
                trust: self.rules.apply(Trust::from_keyring_file(keyring)?),
                decryption: self.decrypt.load(environment)?,
                image: self.image.clone(),
            }),
        };
        Ok(ImageInput {
            path: self.input.clone(),
            bundle,
        })
    }
}

/// How many work.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ThreadArgs {
    /// Threads that hash and compress [default: one for each processor]; the result is the same
    #[arg(long, value_name = "NUMBER")]
    pub threads: Option<NonZeroUsize>,
}

impl ThreadArgs {
    /// How the work is done.
    pub fn workers(&self, environment: &Environment) -> Workers {
        let threads = self.threads.or(environment.processors);
        Workers {
            threads: threads.unwrap_or(NonZeroUsize::MIN),
            nonce: environment.process.into(),
        }
    }
}

/// How chunks are stored.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct StoringArgs {
    /// Compression of the chunks: zstd, zstd:LEVEL, xz or gzip
    #[arg(long, value_name = "NAME", default_value = "zstd:3", value_parser = parse::packing)]
    pub compression: Packing,
    /// Do not wait until the store is on the disk: after a power cut, some of its chunks may be damaged
    #[arg(long)]
    pub no_sync: bool,
}

impl StoringArgs {
    /// The store in `directory`.
    pub fn target(&self, directory: PathBuf) -> StoreTarget {
        StoreTarget {
            directory,
            packing: self.compression,
            // A store that a power cut left half written is made again: one sync at the end will do.
            durability: if self.no_sync {
                Durability::Unsynced
            } else {
                Durability::AtSync
            },
        }
    }
}

/// `index …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = INDEX_EXAMPLE)]
pub struct IndexArgs {
    /// Directory to store the chunks in (.castr); without it, only the index is made
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// How they are stored.
    #[command(flatten)]
    pub storing: StoringArgs,
    /// Chunk sizes in bytes: AVG (then a quarter and four times of it), or MIN:AVG:MAX
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = parse::chunk_sizes)]
    pub chunk_size: CutRule,
    /// Digest that names the chunks: sha512-256 or sha256
    #[arg(long, value_name = "NAME", default_value = "sha512-256", value_parser = parse::digest)]
    pub digest: DigestKind,
    /// How many work.
    #[command(flatten)]
    pub threads: ThreadArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// What is indexed.
    #[command(flatten)]
    pub image: ImageArgs,
    /// The index to create
    pub output: PathBuf,
}

const INDEX_EXAMPLE: &str = "\
The same index and the same chunk names as of `casync make --store=store.castr rootfs.caibx rootfs.img`:
  bundle-tool index --store store.castr rootfs.img rootfs.caibx

From the image in a bundle:
  bundle-tool index --keyring keyring.pem --image rootfs update.raucb rootfs.caibx";

/// `chop …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ChopArgs {
    /// Directory to store the chunks in (.castr)
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// How they are stored.
    #[command(flatten)]
    pub storing: StoringArgs,
    /// How many work.
    #[command(flatten)]
    pub threads: ThreadArgs,
    /// The index
    pub index: PathBuf,
    /// What is chopped.
    #[command(flatten)]
    pub image: ImageArgs,
}

/// `verify-index …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct VerifyIndexArgs {
    /// How many work.
    #[command(flatten)]
    pub threads: ThreadArgs,
    /// The index
    pub index: PathBuf,
    /// What is compared.
    #[command(flatten)]
    pub image: ImageArgs,
}

/// `assemble …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = ASSEMBLE_EXAMPLE)]
pub struct AssembleArgs {
    /// Directory with chunks, or its http(s) address; may be given several times, and is asked in
    /// that order
    #[arg(long, value_name = "DIR|URL")]
    pub store: Vec<String>,
    /// Pack of the image, or its http(s) address; asked before the stores
    #[arg(long, value_name = "FILE|URL")]
    pub pack: Vec<String>,
    /// File with headers for web servers, one `Name: value` a line; they never go to another host
    #[arg(long, value_name = "FILE")]
    pub headers: Option<PathBuf>,
    /// Image or block device that has some of the chunks; may be given several times
    #[arg(long, value_name = "FILE")]
    pub seed: Vec<PathBuf>,
    /// Write over OUTPUT and use what is there (needed for a block device); when interrupted, run
    /// it again to go on
    #[arg(long, conflicts_with = "force")]
    pub in_place: bool,
    /// How many work.
    #[command(flatten)]
    pub threads: ThreadArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The index
    pub index: PathBuf,
    /// The image to create
    pub output: PathBuf,
}

const ASSEMBLE_EXAMPLE: &str = "\
  bundle-tool assemble --store store.castr --seed old.img rootfs.caibx new.img
  bundle-tool assemble --store https://server/store.castr rootfs.caibx new.img
  bundle-tool assemble --store store.castr --seed /dev/sda2 --in-place rootfs.caibx /dev/sda3

Every chunk is compared with the index before it is written, wherever it comes from. The index itself
is believed: take it from a source that you trust.";

/// `pack …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = PACK_EXAMPLE)]
pub struct PackArgs {
    /// Directory with all chunks of the image
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The index
    pub index: PathBuf,
    /// The pack to create
    pub output: PathBuf,
}

const PACK_EXAMPLE: &str = "\
  bundle-tool index --store store.castr rootfs.img rootfs.caibx
  bundle-tool pack --store store.castr rootfs.caibx rootfs.pack
  bundle-tool assemble --pack https://server/rootfs.pack --seed old.img rootfs.caibx new.img";

/// `stats …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct StatsArgs {
    /// Index of what a device has: shows what an update from it fetches
    #[arg(long, value_name = "INDEX")]
    pub from: Option<PathBuf>,
    /// Directory with chunks: shows what is in it, and the bytes that an update fetches from it
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Pack of the index: shows the bytes and requests that an update fetches from it
    #[arg(long, value_name = "FILE")]
    pub pack: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// The index
    pub index: PathBuf,
}
