//! Where slots are mounted, by what the kernel says of this process's mounts.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::ways::Ways;

/// All mounts at one moment.
#[derive(Debug, Clone, Default)]
pub struct Mounts(Vec<Line>);

/// A line of `mountinfo`, as far as it is of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// Of the device: `254:1`.
    number: String,
    /// What was mounted, as whoever mounted it said.
    source: String,
    at: PathBuf,
}

impl Mounts {
    /// What is mounted now; nothing where there is no `/proc`.
    #[must_use]
    pub fn now() -> Mounts {
        Mounts::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    /// Whole file systems only: a directory of one that is mounted somewhere else is no slot.
    fn parse(text: &str) -> Mounts {
        let line = |line: &str| {
            let (mount, source) = line.split_once(" - ")?;
            let mut words = mount.split(' ').skip(2);
            let (number, root, at) = (words.next()?, words.next()?, words.next()?);
            let source = source.split(' ').nth(1)?;
            (root == "/").then(|| Line {
                number: number.to_owned(),
                source: plain(source),
                at: plain(at).into(),
            })
        };
        Mounts(text.lines().filter_map(line).collect())
    }

    /// Whether a file system is mounted on this directory.
    #[must_use]
    pub fn has(&self, at: &Path) -> bool {
        self.0.iter().any(|line| line.at == at)
    }

    /// Where the content of this device is mounted first.
    #[must_use]
    pub fn of(&self, device: &Path) -> Option<PathBuf> {
        self.all_of(device).next()
    }

    /// Everywhere where the content of this device is mounted.
    pub fn all_of(&self, device: &Path) -> impl Iterator<Item = PathBuf> {
        let found = std::fs::metadata(device).map(|metadata| self.lines_of(device, &metadata));
        found.into_iter().flatten()
    }

    fn lines_of(&self, device: &Path, metadata: &Metadata) -> Vec<PathBuf> {
        let numbers = numbers(device, metadata);
        let sources = match metadata.file_type().is_char_device() {
            true => flash_sources(device),
            false => Vec::new(),
        };
        let fits = |line: &&Line| numbers.contains(&line.number) || sources.contains(&line.source);
        let lines = self.0.iter().filter(fits);
        lines.map(|line| line.at.clone()).collect()
    }
}

/// The numbers of the character devices of raw flash, and of the block devices over them. Each flash
/// has two of the former.
const MTD_MAJOR: u64 = 90;
const MTD_BLOCK_MAJOR: u64 = 31;

/// The numbers that the device is mounted by: its own, those of loop devices over or under it, or
/// that of the block device over raw flash.
fn numbers(device: &Path, metadata: &Metadata) -> Vec<String> {
    match metadata.file_type().is_char_device() {
        true => flash_number(metadata.rdev()).into_iter().collect(),
        false => Ways::to(device).numbers(),
    }
}

/// A file system on raw flash has this number, whatever it was mounted by.
fn flash_number(device: u64) -> Option<String> {
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    (major == MTD_MAJOR).then(|| format!("{MTD_BLOCK_MAJOR}:{}", minor / 2))
}

/// How UBI volumes are named when they are mounted.
fn flash_sources(device: &Path) -> Vec<String> {
    let real = device.canonicalize().unwrap_or_else(|_| device.to_owned());
    let Some(name) = real.file_name().and_then(|name| name.to_str()) else {
        return Vec::new();
    };
    let mut sources = vec![
        name.to_owned(),
        real.display().to_string(),
        device.display().to_string(),
    ];
    let volume = Path::new("/sys/class/ubi").join(name).join("name");
    if let (Some((ubi, _)), Ok(called)) = (name.split_once('_'), std::fs::read_to_string(volume)) {
        sources.push(format!("{ubi}:{}", called.trim_end()));
    }
    sources
}

/// Without the octal numbers that stand for blanks and the like.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let text = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                    30 22 254:2 /home /srv rw - ext4 /dev/vda2 rw\n\
                    31 22 254:2 / /my\\040disk\\134x rw shared:7 master:2 - ext4 /dev/vda2 rw\n\
                    32 22 0:40 / /data rw - ubifs ubi0:data rw\nnonsense\n";
        let found = Mounts::parse(text).0;
        let line = |number: &str, source: &str, at: &str| Line {
            number: number.into(),
            source: source.into(),
            at: at.into(),
        };
        assert_eq!(
            found,
            [
                line("254:1", "/dev/root", "/"),
                line("254:2", "/dev/vda2", "/my disk\\x"),
                line("0:40", "ubi0:data", "/data"),
            ]
        );
        assert_eq!(Mounts(found).of(Path::new("/dev/null")), None);
    }

    #[test]
    fn raw_flash_is_mounted_by_its_block_device() {
        let flash = |major, minor| flash_number(nix::sys::stat::makedev(major, minor));
        assert_eq!(flash(90, 20).as_deref(), Some("31:10"));
        assert_eq!(flash(90, 21).as_deref(), Some("31:10"), "the read-only one");
        assert_eq!(flash(1, 3), None);
    }
}
