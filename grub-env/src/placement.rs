//! Whether GRUB sees, after a power cut, what Linux wrote to a file in place, and whether GRUB can
//! save into that file itself.
//!
//! GRUB's file system drivers do not replay journals. What they read is what lies on the disk
//! where the metadata, as last checkpointed, says. Measured with GRUB's own file system code on
//! ext4, on a snapshot taken the moment each call returned: after `rename` + fsync of file and
//! directory, and after truncate + write + fsync, GRUB reads the **old** value; after one write in
//! place of the same size + fsync it reads the **new** one. So the file's blocks must exist, must
//! be written, and must not move. On XFS the same was seen: in place GRUB reads the new value,
//! after the usual editor's truncate and write the old one. FAT is asked by FIBMAP, which needs root.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use devio::block::DeviceNumber;
use devio::extents::{BlockMap, Extent, ExtentError, block_map, extents};
use devio::filesystem::{FsKind, InodeFlags, fs_kind, inode_flags};

/// Where the facts about mounts and devices are read; other places in tests.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// `/proc/self/mountinfo`
    pub mountinfo: &'a Path,
    /// `/sys/dev/block`
    pub sys_dev_block: &'a Path,
}

impl Default for Sources<'static> {
    fn default() -> Self {
        Self {
            mountinfo: Path::new("/proc/self/mountinfo"),
            sys_dev_block: Path::new("/sys/dev/block"),
        }
    }
}

/// What a finding keeps GRUB from doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hinders {
    /// GRUB may read an old or a wrong block after Linux wrote: no use at all.
    Reading,
    /// GRUB reads it, but cannot write into it: it could count no boot attempts there.
    Saving,
}

/// One reason why a file is unfit for an environment block.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A file system that moves data on every write, that GRUB cannot read, or that is not on a
    /// disk.
    FileSystem(FsKind),
    /// ext4 `data=journal`, as a mount option or by `chattr +j`. Linux 6.18 brings the data home on
    /// fsync all the same (measured); that is not promised anywhere, so it is refused.
    DataJournal,
    /// Part of the file has no block.
    Sparse,
    /// The bytes lie in the inode or share a block with others.
    Inline,
    /// Compressed or encrypted.
    Encoded,
    /// Allocated in advance and never written.
    Unwritten,
    /// Shared with a copy (reflink): the next write moves it.
    Shared,
    /// In so many pieces; two pieces are never written at once.
    Pieces(usize),
    /// The file system has no place for it yet, or does not tell.
    PlaceUnknown,
    /// `chattr +i` or `+a`, or fs-verity.
    Protected,
    /// The file system is on device-mapper (LVM, LUKS) or software RAID.
    Stacked(&'static str),
}

impl Finding {
    /// What this keeps GRUB from doing.
    #[must_use]
    pub fn hinders(&self) -> Hinders {
        match self {
            Self::Stacked(_) => Hinders::Saving,
            _ => Hinders::Reading,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileSystem(kind) => write!(
                f,
                "it lies on {kind}, where GRUB would not see a write, or could not make one; \
                 put it on ext4 (data=ordered), XFS or FAT"
            ),
            Self::DataJournal => f.write_str(
                "its file system journals data, so that with some kernels a synced write is only in \
                 the journal, which GRUB does not read; mount without data=journal (and chattr -j \
                 the file)",
            ),
            Self::Sparse => f.write_str("it has holes; create it anew with 'grub-env create'"),
            Self::Inline => f.write_str(
                "its bytes lie inside the file system's metadata; \
                 create it anew with 1024 bytes or more",
            ),
            Self::Encoded => f.write_str("it is compressed or encrypted; GRUB needs plain bytes"),
            Self::Unwritten => f.write_str(
                "its blocks were reserved but never written; create it anew with \
                 'grub-env create'",
            ),
            Self::Shared => f.write_str(
                "it shares its blocks with a copy (reflink), so that the next write moves it; \
                 create it anew with 'grub-env create'",
            ),
            Self::Pieces(n) => {
                write!(
                    f,
                    "it is in {n} pieces; create it anew with 'grub-env create'"
                )
            }
            Self::PlaceUnknown => f.write_str(
                "the file system does not tell where it lies (for FAT this needs root); \
                 without that nobody knows whether GRUB sees a write",
            ),
            Self::Protected => f.write_str("it is protected (chattr +i, +a or fs-verity)"),
            Self::Stacked(what) => write!(
                f,
                "its file system is on {what}: GRUB can read there but not save, so it could \
                 count no boot attempts"
            ),
        }
    }
}

/// Where a file's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// By FIEMAP.
    Extents(Vec<Extent>),
    /// By FIBMAP (FAT).
    Blocks(BlockMap),
    /// Neither told.
    Unknown,
}

impl Place {
    /// Asks the file system, after it wrote all that is dirty.
    ///
    /// # Errors
    /// If the question itself fails for another reason than "no such question here".
    pub fn of(file: &File) -> io::Result<Self> {
        match extents(file) {
            Ok(list) => return Ok(Self::Extents(list)),
            Err(ExtentError::Unsupported | ExtentError::TooMany) => {}
            Err(ExtentError::Io(e)) => return Err(e),
        }
        match block_map(file) {
            Ok(map) => Ok(Self::Blocks(map)),
            Err(ExtentError::Unsupported | ExtentError::TooMany) => Ok(Self::Unknown),
            // FIBMAP is for root only; not knowing is a finding, not a failure.
            Err(ExtentError::Io(e)) if e.kind() == io::ErrorKind::PermissionDenied => {
                Ok(Self::Unknown)
            }
            Err(ExtentError::Io(e)) => Err(e),
        }
    }

    /// What is wrong with it for a file of `len` bytes.
    #[must_use]
    pub fn findings(&self, len: u64) -> Vec<Finding> {
        match self {
            Self::Unknown => vec![Finding::PlaceUnknown],
            Self::Blocks(map) if map.blocks.contains(&0) || map.blocks.is_empty() => {
                vec![Finding::Sparse]
            }
            Self::Blocks(map) if !map.is_one_piece() => vec![Finding::Pieces(map.blocks.len())],
            Self::Blocks(_) => Vec::new(),
            Self::Extents(list) => extent_findings(list, len),
        }
    }
}

fn extent_findings(list: &[Extent], len: u64) -> Vec<Finding> {
    let any = |test: fn(&Extent) -> bool| list.iter().any(test);
    let covered = list.iter().try_fold(0_u64, |at, e| {
        (e.logical <= at).then(|| e.logical.saturating_add(e.length))
    });
    let mut found = Vec::new();
    let mut add = |is: bool, finding: Finding| {
        if is {
            found.push(finding);
        }
    };
    add(any(|e| e.flags.inline()), Finding::Inline);
    add(any(|e| e.flags.encoded()), Finding::Encoded);
    add(any(|e| e.flags.unwritten()), Finding::Unwritten);
    add(any(|e| e.flags.shared()), Finding::Shared);
    add(any(|e| e.flags.unplaced()), Finding::PlaceUnknown);
    add(covered.is_none_or(|end| end < len), Finding::Sparse);
    add(list.len() > 1, Finding::Pieces(list.len()));
    found
}

/// Everything that is wrong with the place of an open file; empty if it is fit.
///
/// # Errors
/// If the file system or `/proc` cannot be asked.
pub fn survey(file: &File, place: &Place, sources: Sources<'_>) -> io::Result<Vec<Finding>> {
    let mut found = Vec::new();
    let kind = fs_kind(file)?;
    if !matches!(kind, FsKind::Ext | FsKind::Xfs | FsKind::Fat) {
        // Where data lies there is beside the point.
        return Ok(vec![Finding::FileSystem(kind)]);
    }
    let device = DeviceNumber::holding(file)?;
    let flags = inode_flags(file)?;
    let has = |test: fn(InodeFlags) -> bool| flags.is_some_and(test);
    let mounts = std::fs::read_to_string(sources.mountinfo)?;
    if has(InodeFlags::journalled) || mounts_journal_data(&mounts, device) {
        found.push(Finding::DataJournal);
    }
    if has(|f| f.immutable() || f.append_only() || f.verity()) {
        found.push(Finding::Protected);
    }
    found.extend(place.findings(file.metadata()?.len()));
    for (flag, finding) in [
        (has(InodeFlags::inline), Finding::Inline),
        (has(|f| f.compressed() || f.encrypted()), Finding::Encoded),
    ] {
        if flag && !found.contains(&finding) {
            found.push(finding);
        }
    }
    found.extend(stacking(device, sources.sys_dev_block).map(Finding::Stacked));
    Ok(found)
}

/// Whether a mount of this device has the option `data=journal`.
///
/// A line of mountinfo is `id parent major:minor root point options [optional…] - type source
/// super-options` (proc_pid_mountinfo(5)).
fn mounts_journal_data(mountinfo: &str, device: DeviceNumber) -> bool {
    mountinfo.lines().any(|line| {
        let Some((mount, fs)) = line.split_once(" - ") else {
            return false;
        };
        let is_ours = mount
            .split(' ')
            .nth(2)
            .is_some_and(|n| n.parse() == Ok(device));
        let options = fs.split(' ').nth(2).unwrap_or_default();
        is_ours && options.split(',').any(|o| o == "data=journal")
    })
}

/// What the device is stacked on, by the directories that its driver makes in sysfs.
fn stacking(device: DeviceNumber, sys_dev_block: &Path) -> Option<&'static str> {
    let entry = sys_dev_block.join(device.to_string());
    // A partition of such a device is a directory below the device's own.
    let here = entry.canonicalize().unwrap_or(entry);
    let drivers = [("dm", "device-mapper (LVM, LUKS)"), ("md", "software RAID")];
    let is_there =
        |dir: &str| here.join(dir).is_dir() || here.parent().is_some_and(|p| p.join(dir).is_dir());
    drivers
        .into_iter()
        .find(|(dir, _)| is_there(dir))
        .map(|(_, name)| name)
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
