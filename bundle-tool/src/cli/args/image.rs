//! Arguments of `image`.

use std::path::PathBuf;

use super::chunks::ThreadArgs;
use super::groups::ForceArgs;

/// `image …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = IMAGE_EXAMPLE)]
pub struct MakeImageArgs {
    /// zstd's level, 1 to 22; above 9, devices take several times as long to make a changed block
    /// again
    #[arg(long, value_name = "LEVEL", default_value_t = crate::image::DEFAULT_LEVEL, value_parser = clap::value_parser!(u8).range(1..=22))]
    pub level: u8,
    /// How many work.
    #[command(flatten)]
    pub threads: ThreadArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// A directory, or a squashfs that is to be compressed again
    pub input: PathBuf,
    /// The image to create
    pub output: PathBuf,
    /// Options for mksquashfs, which collects the files of a directory
    #[arg(last = true, value_name = "MKSQUASHFS OPTION")]
    pub mksquashfs: Vec<String>,
}

const IMAGE_EXAMPLE: &str = "\
The image of a directory, with everything owned by root:
  SOURCE_DATE_EPOCH=1767225600 bundle-tool image rootfs/ rootfs.squashfs -- -all-root

An image that a build system made, compressed so that deltas to and from it are small:
  bundle-tool image core-image.squashfs rootfs.squashfs

The same input gives the same image. If SOURCE_DATE_EPOCH is set, no time in the image is after it.";
