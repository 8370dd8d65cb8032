//! Packing the payload with `mksquashfs`, always in the same way.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bundle_format::manifest::MANIFEST_FILE;

use super::content::Gathered;

/// The program.
pub(crate) const PROGRAM: &str = "mksquashfs";

/// The oldest version that knows all the options used here.
const OLDEST: (u32, u32) = (4, 5);

/// Why the payload cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// mksquashfs is not installed.
    #[error(
        "mksquashfs is needed to create bundles; on Debian it comes with `apt install squashfs-tools`"
    )]
    Missing(#[source] io::Error),
    /// mksquashfs is too old, or something else has its name.
    #[error(
        "mksquashfs is {found}, but at least version {a}.{b} is needed: older ones do not know the options for reproducible images", a = OLDEST.0, b = OLDEST.1
    )]
    TooOld {
        /// What it says about itself.
        found: String,
    },
    /// mksquashfs failed.
    #[error("mksquashfs failed ({status}): {message}")]
    Failed {
        /// Its exit status.
        status: String,
        /// What it said.
        message: String,
    },
    /// What is made here cannot be put beside the rest.
    #[error("cannot write the manifest into a temporary directory")]
    Staging(#[source] io::Error),
    /// An option that would change more than packing.
    #[error("the mksquashfs option {option} is not allowed here")]
    Option {
        /// Which.
        option: String,
    },
}

/// How the payload is packed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackOptions {
    /// Compressor: gzip (the default), xz or zstd.
    pub compressor: Option<String>,
    /// All times in the payload, in seconds since 1970; else those of the files.
    pub time: Option<u32>,
    /// Further arguments for mksquashfs.
    pub arguments: Vec<String>,
}

/// Fails if mksquashfs is missing or too old, before any work is done.
pub(crate) fn check_program() -> Result<(), PackError> {
    let said = Command::new(PROGRAM)
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .map_err(PackError::Missing)?;
    let said = String::from_utf8_lossy(&said.stdout);
    match version(&said) {
        Some(version) if version >= OLDEST => Ok(()),
        Some((a, b)) => Err(PackError::TooOld {
            found: format!("version {a}.{b}"),
        }),
        None => Err(PackError::TooOld {
            found: "of an unknown version".to_owned(),
        }),
    }
}

/// The first two numbers of what `mksquashfs -version` says: `mksquashfs version 4.5.1 (…)`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said
        .split_whitespace()
        .skip_while(|word| *word != "version");
    let number = |text: &str| {
        let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    };
    let mut parts = numbers.nth(1)?.split('.');
    Some((number(parts.next()?)?, number(parts.next()?)?))
}

/// Packs manifest and sources into the file `output`, which exists and is replaced.
///
/// The files are named one by one instead of as a directory: that puts them all into the root of
/// the image, without copying or linking anything first.
pub(super) fn pack(
    gathered: &Gathered,
    output: &Path,
    options: &PackOptions,
) -> Result<(), PackError> {
    let staging = tempfile::tempdir().map_err(PackError::Staging)?;
    let manifest = gathered.manifest.to_bytes();
    let made = gathered
        .made
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes));
    // A directory as the only source would give its content instead of itself; the manifest makes
    // sure that there is another one whenever there is a directory.
    let mut sources = Vec::new();
    for (name, bytes) in std::iter::once((MANIFEST_FILE, &manifest)).chain(made) {
        let path = staging.path().join(name);
        write(&path, bytes).map_err(PackError::Staging)?;
        sources.push(path);
    }
    sources.extend(gathered.sources.values().map(|path| absolute(path)));

    let mut command = Command::new(PROGRAM);
    command.args(sources).arg(output);
    command.args(["-noappend", "-root-mode", "0700"]);
    if gathered.trees.is_empty() {
        command.args(["-all-root", "-no-xattrs"]);
    } else {
        command.args(owned_by_root(gathered).map_err(PackError::Staging)?);
    }
    command.args(["-no-progress", "-quiet", "-no-recovery"]);
    if let Some(compressor) = &options.compressor {
        command.args(["-comp", compressor]);
    }
    if let Some(time) = options.time {
        let time = time.to_string();
        command.args(["-mkfs-time", &time, "-all-time", &time, "-root-time", &time]);
    }
    command.args(&options.arguments);
    run(&mut command)
}

/// Runs mksquashfs, without `SOURCE_DATE_EPOCH`: it refuses to be told the time twice.
pub(crate) fn run(command: &mut Command) -> Result<(), PackError> {
    command.env_remove("SOURCE_DATE_EPOCH").stdin(Stdio::null());
    let done = command.output().map_err(PackError::Missing)?;
    if done.status.success() {
        return Ok(());
    }
    let said = [done.stderr, done.stdout].concat();
    Err(PackError::Failed {
        status: done.status.to_string(),
        message: String::from_utf8_lossy(&said).trim().to_owned(),
    })
}

/// The same as `-all-root`, but for what is unpacked: who builds the bundle is nobody's business.
fn owned_by_root(gathered: &Gathered) -> io::Result<Vec<String>> {
    let mut arguments = Vec::new();
    let mut add = |name: &str, mode: u32| {
        let name = name.replace('\\', "\\\\").replace(' ', "\\ ");
        arguments.extend(["-p".to_owned(), format!("{name} m {mode:o} 0 0")]);
    };
    for name in std::iter::once(MANIFEST_FILE).chain(gathered.made.keys().map(String::as_str)) {
        add(name, 0o644);
    }
    let ours = gathered
        .sources
        .iter()
        .filter(|(name, _)| !gathered.trees.contains(name));
    let mut left: Vec<_> = ours
        .map(|(name, path)| (name.clone(), path.clone()))
        .collect();
    while let Some((name, path)) = left.pop() {
        let found = fs_err::symlink_metadata(&path)?;
        if found.is_symlink() {
            continue;
        }
        add(&name, found.permissions().mode() & 0o7777);
        if found.is_dir() {
            for entry in fs_err::read_dir(&path)? {
                let entry = entry?;
                left.push((
                    format!("{name}/{}", entry.file_name().to_string_lossy()),
                    entry.path(),
                ));
            }
        }
    }
    Ok(arguments)
}

/// mksquashfs takes what starts with '-' for an option.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| Path::new(".").join(path))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    std::fs::File::create(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_mksquashfs_says_them() {
        for (said, expected) in [
            (
                "mksquashfs version 4.5.1 (2022/03/17)\ncopyright",
                Some((4, 5)),
            ),
            ("mksquashfs version 4.10-git.1 (2025/01/01)", Some((4, 10))),
            ("mksquashfs version 4.4-git (2019/08/29)", Some((4, 4))),
            ("BusyBox v1.35", None),
            ("mksquashfs version", None),
            ("", None),
        ] {
            assert_eq!(version(said), expected, "{said}");
        }
        assert!((4, 10) > OLDEST && (4, 4) < OLDEST);
    }
}
