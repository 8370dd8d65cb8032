//! Images of trees, the same for the same tree.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::super::Bench;
use super::trees::TIME;
use crate::command::logged;

/// UUID and hash seed of file systems: fixed, as for every image that is to give small updates.
const UUID: &str = "11111111-2222-3333-4444-555555555555";

/// Bytes that an ext4 gets besides its content, as a share of that and at least.
const ROOM: (u64, u64) = (3, 64 << 20);

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// squashfs, compressed with zstd at mksquashfs's own level.
    SquashfsZstd,
    /// squashfs as our tool makes it.
    SquashfsOurs,
    /// squashfs without compression.
    Squashfs,
    /// ext4.
    Ext4,
    /// erofs without compression.
    Erofs,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::SquashfsZstd,
        Self::SquashfsOurs,
        Self::Squashfs,
        Self::Ext4,
        Self::Erofs,
    ];

    /// What tables call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SquashfsZstd => "squashfs, zstd",
            Self::SquashfsOurs => "squashfs, bundle-tool image",
            Self::Squashfs => "squashfs, uncompressed",
            Self::Ext4 => "ext4",
            Self::Erofs => "erofs",
        }
    }

    /// What the command line calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SquashfsZstd => "squashfs-zstd",
            Self::SquashfsOurs => "squashfs-ours",
            Self::Squashfs => "squashfs",
            Self::Ext4 => "ext4",
            Self::Erofs => "erofs",
        }
    }

    /// Makes the image `path` of `tree`.
    ///
    /// # Errors
    /// The tool fails.
    pub fn make(self, bench: &Bench<'_>, tree: &Path, path: &Path) -> Result<()> {
        let mut command = match self {
            Self::SquashfsZstd | Self::Squashfs => self.mksquashfs(tree, path),
            Self::SquashfsOurs => {
                let mut command = Command::new(bench.program("bundle-tool"));
                command.env("SOURCE_DATE_EPOCH", TIME);
                command.arg("image").arg(tree).arg(path);
                command.args(["--", "-all-root"]);
                command
            }
            Self::Ext4 => mke2fs(tree, path)?,
            Self::Erofs => {
                let mut command = Command::new("mkfs.erofs");
                command.arg(format!("-T{TIME}")).args(["-U", UUID]);
                command.arg(path).arg(tree);
                command
            }
        };
        logged(&mut command, &bench.log())
    }

    fn mksquashfs(self, tree: &Path, path: &Path) -> Command {
        let mut command = Command::new("mksquashfs");
        command.env("SOURCE_DATE_EPOCH", TIME).arg(tree).arg(path);
        command.args(["-noappend", "-no-progress", "-quiet", "-all-root"]);
        match self {
            Self::Squashfs => command.args(["-noI", "-noD", "-noF", "-noX"]),
            _ => command.args(["-comp", "zstd", "-Xcompression-level", "15"]),
        };
        command
    }
}

/// All trees get file systems of one size, as devices have slots of one size.
fn mke2fs(tree: &Path, path: &Path) -> Result<Command> {
    let content = size_of(tree)?;
    let step = 64 << 20;
    let len = (content + (content / ROOM.0).max(ROOM.1)).next_multiple_of(step);
    fs_err::File::create(path)?.set_len(len)?;
    let mut command = Command::new("mke2fs");
    command.env("E2FSPROGS_FAKE_TIME", TIME);
    command.args(["-q", "-F", "-t", "ext4", "-U", UUID, "-E"]);
    command.arg(format!(
        "hash_seed={UUID},root_owner=0:0,lazy_itable_init=0"
    ));
    command.arg("-d").arg(tree).arg(path);
    Ok(command)
}

/// Bytes of all files below `path`.
pub fn size_of(path: &Path) -> Result<u64> {
    let found = path.symlink_metadata()?;
    if !found.is_dir() {
        return Ok(found.len());
    }
    let mut total = 0;
    for entry in fs_err::read_dir(path)? {
        total += size_of(&entry?.path())?;
    }
    Ok(total)
}

/// The images of one format.
#[derive(Debug)]
pub struct Images {
    /// Where they are, and what is made of them.
    pub folder: PathBuf,
}

impl Images {
    /// The image called `name`: `old`, or the word of a change.
    pub fn image(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.img"))
    }
}
