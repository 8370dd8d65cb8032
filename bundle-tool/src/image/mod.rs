//! Squashfs images that give small deltas.
//!
//! A delta of a squashfs is small where the device can make a compressed block again to the byte
//! ([`casync::delta`]), and that takes the same zstd. Distributions' mksquashfs has any version of
//! it. So mksquashfs only lays the image out here, without compressing anything, and the blocks are
//! compressed by the zstd that is built into this program and into the device's. Images that
//! somebody else made get their blocks compressed again in the same way.
//!
//! Files, their order and their fragments stay where they are in the unpacked tables and blocks;
//! only the places of compressed blocks change. Those are in inodes, directories, fragments,
//! exports and extended attributes, and all of them are written anew.

mod blocks;
mod error;
mod fields;
mod inode;
mod nodes;
mod repack;
mod source;
mod superblock;
mod table;
mod tail;

pub use error::ImageError;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::NamedTempFile;

use crate::create::mksquashfs;
use crate::observer::Observer;
use crate::output::{Output, OutputError};
use crate::rewrite::Target;
use repack::{Repack, repack};
use source::Source;

/// Level of zstd if none is given. A device compresses each changed block again at this level:
/// above 9, that takes it several times as long.
pub const DEFAULT_LEVEL: u8 = 9;

/// Memory that mksquashfs may use for its queues. It compresses nothing here, so that more would be
/// of no use; by itself it takes a quarter of the machine's.
const MKSQUASHFS_MEMORY: &str = "128M";

/// What is to be made.
#[derive(Debug, Clone)]
pub struct ImageRequest {
    /// A directory, or a squashfs.
    pub input: PathBuf,
    /// The image.
    pub output: Target,
    /// zstd's level, 1 to 22.
    pub level: u8,
    /// No time in the image is after this one, in seconds since 1970.
    pub newest: Option<u32>,
    /// Threads that compress.
    pub threads: NonZeroUsize,
    /// Further arguments for mksquashfs, if the input is a directory.
    pub arguments: Vec<String>,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MadeImage {
    /// Bytes of the image.
    pub len: u64,
    /// Bytes of its blocks' contents.
    pub content: u64,
    /// Blocks of files and fragments.
    pub blocks: usize,
}

/// Makes a squashfs of a directory, or makes the blocks of one anew.
///
/// The same input, level and newest time give the same image, on any machine and with any number
/// of threads. Memory: the unpacked tables of the image, 16 MiB of blocks, and what zstd takes for
/// each thread.
///
/// # Errors
/// mksquashfs is missing or fails; the input is no squashfs that is understood; the disk is full.
/// In every case, nothing is left under the name of the output.
pub fn make_image(
    request: &ImageRequest,
    observer: &mut dyn Observer,
) -> Result<MadeImage, ImageError> {
    let mut output = Output::create(&request.output.path, request.output.overwrite)?;
    let directory = request.input.is_dir();
    let laid_out = if directory {
        observer.step("collecting the files");
        Some(lay_out(request)?)
    } else {
        None
    };
    let path = laid_out
        .as_ref()
        .map_or(request.input.as_path(), NamedTempFile::path);
    let source = Source::open(path)?;
    observer.step("compressing the blocks");
    let how = Repack {
        level: request.level,
        newest: request.newest,
        // What mksquashfs says here is when it ran.
        time_of_newest_file: directory,
        threads: request.threads,
    };
    let made = repack(&source, &how, output.file(), observer)?;
    output.finish()?;
    Ok(made)
}

/// The directory as a squashfs without compression, beside the output: there is room for images.
fn lay_out(request: &ImageRequest) -> Result<NamedTempFile, ImageError> {
    mksquashfs::check_program()?;
    let beside = request.output.path.parent();
    let beside = beside.filter(|path| !path.as_os_str().is_empty());
    let beside = beside.unwrap_or(Path::new("."));
    let create = |source| OutputError::Create {
        directory: beside.to_owned(),
        source,
    };
    let file = NamedTempFile::new_in(beside).map_err(create)?;
    let mut command = Command::new(mksquashfs::PROGRAM);
    command.arg(mksquashfs::absolute(&request.input));
    command.arg(mksquashfs::absolute(file.path()));
    command.args(["-noappend", "-no-progress", "-quiet", "-no-recovery"]);
    command.args(["-noI", "-noId", "-noD", "-noF", "-noX"]);
    command.args(["-mem", MKSQUASHFS_MEMORY]);
    command.args(["-processors", &request.threads.to_string()]);
    command.args(&request.arguments);
    mksquashfs::run(&mut command)?;
    Ok(file)
}
