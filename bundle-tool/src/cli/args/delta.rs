//! Arguments of `delta …`.

use std::path::PathBuf;

use casync::chunk::DigestKind;
use casync::chunker::CutRule;
use clap::Subcommand;

use super::chunks::ThreadArgs;
use super::groups::ForceArgs;
use super::parse;
use crate::cli::Environment;
use crate::delta::{Cut, DeltaRequest, ImageAndIndex};

/// `delta …`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum DeltaCommand {
    /// Make the delta between two images
    Create(Box<DeltaCreateArgs>),
    /// Make the new image of the old one and a delta
    Apply(Box<DeltaApplyArgs>),
    /// Compare what a delta and other ways of updating fetch
    Stats(Box<DeltaStatsArgs>),
}

/// The image that devices have.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct FromArgs {
    /// The image that devices have
    #[arg(long, value_name = "IMAGE")]
    pub from: PathBuf,
    /// Its index, if there is one already
    #[arg(long, value_name = "INDEX")]
    pub from_index: Option<PathBuf>,
    /// Chunk sizes of images without an index: AVG or MIN:AVG:MAX
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = parse::chunk_sizes)]
    pub chunk_size: CutRule,
    /// Digest of images without an index: sha512-256 or sha256
    #[arg(long, value_name = "NAME", default_value = "sha512-256", value_parser = parse::digest)]
    pub digest: DigestKind,
}

impl FromArgs {
    /// How images without an index are cut.
    pub fn cut(&self) -> Cut {
        Cut {
            rule: self.chunk_size,
            digest: self.digest,
        }
    }

    /// The image.
    pub fn image(&self) -> ImageAndIndex {
        ImageAndIndex {
            image: self.from.clone(),
            index: self.from_index.clone(),
        }
    }
}

/// Both images.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct BetweenArgs {
    /// The old one.
    #[command(flatten)]
    pub from: FromArgs,
    /// The image that they are to have
    #[arg(long, value_name = "IMAGE")]
    pub to: PathBuf,
    /// Its index, if there is one already
    #[arg(long, value_name = "INDEX")]
    pub to_index: Option<PathBuf>,
    /// zstd's level; higher ones take longer here and not on the device
    #[arg(long, value_name = "LEVEL", default_value = "19", value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: i32,
    /// How many work.
    #[command(flatten)]
    pub threads: ThreadArgs,
}

impl BetweenArgs {
    /// As the library wants it.
    pub fn request(&self, environment: &Environment) -> DeltaRequest {
        DeltaRequest {
            from: self.from.image(),
            to: ImageAndIndex {
                image: self.to.clone(),
                index: self.to_index.clone(),
            },
            cut: self.from.cut(),
            level: self.level,
            workers: self.threads.workers(environment),
        }
    }
}

/// `delta create …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = CREATE_EXAMPLE)]
pub struct DeltaCreateArgs {
    /// Between what.
    #[command(flatten)]
    pub between: BetweenArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The delta to create; in a directory, it gets its name from the digests of the two indices
    pub output: PathBuf,
}

const CREATE_EXAMPLE: &str = "\
  bundle-tool delta create --from v1.img --to v2.img v1-v2.delta
  bundle-tool delta apply --from v1.img v1-v2.delta v2.img

A delta is a shortcut, not a source of truth: a device that cannot use it fetches chunks.";

/// `delta apply …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct DeltaApplyArgs {
    /// What there is.
    #[command(flatten)]
    pub from: FromArgs,
    /// Directory with chunks, for what the delta cannot give; may be given several times
    #[arg(long, value_name = "DIR")]
    pub store: Vec<PathBuf>,
    /// How many work.
    #[command(flatten)]
    pub threads: ThreadArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The delta
    pub delta: PathBuf,
    /// The image to create
    pub output: PathBuf,
}

/// `delta stats …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct DeltaStatsArgs {
    /// Between what.
    #[command(flatten)]
    pub between: BetweenArgs,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}
