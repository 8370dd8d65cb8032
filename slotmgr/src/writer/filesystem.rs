//! Making, mounting and growing file systems. The only programs that are run are those that make and
//! grow them; mounting is done by the kernel at our word.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::install::{Environment, Program, ProgramError, TOOL_LIMIT};
use crate::program::Stop;
use crate::slot::{Layout, Slot, SlotKind};
use crate::storage::mounts::Mounts;

/// Longest label of an ext4 file system.
const EXT4_LABEL: usize = 16;

/// Longest label of a FAT file system.
const VFAT_LABEL: usize = 11;

/// Mount options that are flags to the kernel and not text for the file system.
const FLAGS: [(&str, MsFlags); 9] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
];

/// What can go wrong with a file system.
#[derive(Debug, thiserror::Error)]
pub enum FilesystemError {
    /// A program that makes or grows it.
    #[error("a program for its file system failed")]
    Program(#[from] ProgramError),
    /// Not to be mounted.
    #[error("cannot mount {} at {}", device.display(), at.display())]
    Mount {
        /// What.
        device: PathBuf,
        /// Where.
        at: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Not to be unmounted, so that nobody knows whether everything is written.
    #[error("cannot unmount {}", at.display())]
    Unmount {
        /// Where.
        at: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The device behind it.
    #[error("cannot use {}", device.display())]
    Device {
        /// Which.
        device: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A status file that is not on the medium, or only in part.
    #[error("cannot write {}", path.display())]
    StatusFile {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A type without a file system.
    #[error("no file system can be made in a slot of type {0}")]
    NoFilesystem(SlotKind),
}

/// Makes an empty file system in the slot. Everything that was there is gone.
pub(super) fn make(slot: &Slot, stop: &Stop) -> Result<(), FilesystemError> {
    let device = slot.device.display().to_string();
    let label = |length: usize| {
        slot.name
            .to_string()
            .chars()
            .take(length)
            .collect::<String>()
    };
    // FAT labels have no dots.
    let vfat_label = label(VFAT_LABEL).to_uppercase().replace('.', "_");
    let mut command: Vec<String> = match slot.kind {
        SlotKind::Ext4 => [
            "mkfs.ext4",
            "-q",
            "-F",
            "-I",
            "256",
            "-L",
            &label(EXT4_LABEL),
        ]
        .map(str::to_owned)
        .to_vec(),
        SlotKind::Vfat => ["mkfs.vfat", "-I", "-n", &vfat_label]
            .map(str::to_owned)
            .to_vec(),
        SlotKind::Ubifs => ["mkfs.ubifs", "-y"].map(str::to_owned).to_vec(),
        other => return Err(FilesystemError::NoFilesystem(other)),
    };
    command.extend(slot.options.mkfs_options.iter().cloned());
    command.push(device);
    run(command, stop)
}

/// Grows an ext4 file system to the size of its device.
pub(super) fn grow_ext4(device: &Path, stop: &Stop) -> Result<(), FilesystemError> {
    let device = device.display().to_string();
    // `resize2fs` wants a file system that was checked after its last mount.
    run(
        ["e2fsck", "-f", "-p", &device].map(str::to_owned).to_vec(),
        stop,
    )?;
    run(["resize2fs", &device].map(str::to_owned).to_vec(), stop)
}

fn run(command: Vec<String>, stop: &Stop) -> Result<(), FilesystemError> {
    let program = Program {
        name: command.first().cloned().unwrap_or_default(),
        command,
        environment: Environment::new(),
        limit: TOOL_LIMIT,
    };
    // Tools begin and end with banners: only all that they say tells what is wrong.
    let whole = |error: ProgramError| {
        let lines: Vec<&str> = error
            .output
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        ProgramError {
            last: lines.join("; "),
            ..error
        }
    };
    program.run(stop).map_err(whole)?;
    Ok(())
}

/// Opens the device exclusively, flushes it and lets go: neither mounted nor in use, and everything
/// on the medium; what is read next comes from there.
///
/// # Errors
/// When somebody holds it, or it does not take what was written.
pub fn exclusive(device: &Path) -> Result<(), FilesystemError> {
    let failed = |source| FilesystemError::Device {
        device: device.to_owned(),
        source,
    };
    let file =
        devio::block::open_exclusive(device).map_err(|error| failed(io::Error::other(error)))?;
    devio::block::drop_cache(&file).map_err(failed)
}

/// Mount options to read an ext4 file system with. Without `noload`, the kernel replays the journal
/// first, which is a write; with it, it refuses every option that concerns the journal.
fn without_journal(options: &str) -> String {
    const OF_JOURNAL: &[&str] = &["data=", "data_err=", "commit=", "journal_"];
    let kept = options.split(',').map(str::trim).filter(|option| {
        let mut of_journal = OF_JOURNAL.iter();
        !of_journal.any(|prefix| option.starts_with(prefix))
    });
    kept.chain(["ro", "noload"]).collect::<Vec<_>>().join(",")
}

/// Whether a mounted slot may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// A mounted slot; unmounted when this goes.
#[derive(Debug)]
pub struct Mounted {
    at: Option<PathBuf>,
}

/// Unmounts slots that a slotmgr which was killed has left mounted below `directory`. Only for whoever
/// has the machine's lock: then nobody of us works there.
pub(crate) fn unmount_leftovers(layout: &Layout, directory: &Path) {
    let mounts = Mounts::now();
    for (_, slot) in layout.iter() {
        let at = directory.join(slot.name.to_string());
        if !mounts.all_of(&slot.device).any(|place| place == at) {
            continue;
        }
        match umount2(&at, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => tracing::info!("slot {} was still mounted on {}", slot.name, at.display()),
            // Somebody uses it: then the slot is not written, and that is told there.
            Err(errno) => tracing::warn!("cannot unmount {}: {errno}", at.display()),
        }
    }
}

impl Mounted {
    /// Mounts the slot for writing, below `directory`, in a directory with its name.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn writable(slot: &Slot, directory: &Path) -> Result<Mounted, FilesystemError> {
        Mounted::new(slot, directory, Access::Write)
    }

    /// The same, for reading. Nothing in the slot is changed, its journal neither.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn readable(slot: &Slot, directory: &Path) -> Result<Mounted, FilesystemError> {
        Mounted::new(slot, directory, Access::Read)
    }

    fn new(slot: &Slot, directory: &Path, access: Access) -> Result<Mounted, FilesystemError> {
        let at = directory.join(slot.name.to_string());
        let failed = |source: io::Error| FilesystemError::Mount {
            device: slot.device.clone(),
            at: at.clone(),
            source,
        };
        fs_err::create_dir_all(&at).map_err(failed)?;
        let options = slot.options.mount_options.as_deref().unwrap_or_default();
        let options = match (access, slot.kind) {
            (Access::Write, _) => options.to_owned(),
            (Access::Read, SlotKind::Ext4) => without_journal(options),
            (Access::Read, _) => format!("{options},ro"),
        };
        let (flags, data) = split_options(&options);
        let kind = slot.kind.to_string();
        mount(
            Some(source(slot).as_path()),
            &at,
            Some(kind.as_str()),
            flags,
            Some(data.as_str()),
        )
        .map_err(|errno| failed(errno.into()))?;
        Ok(Mounted { at: Some(at) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.at.as_deref().unwrap_or(Path::new(""))
    }

    /// Writes everything out and unmounts.
    ///
    /// # Errors
    /// Then nobody knows what is on the medium.
    pub fn unmount(mut self) -> Result<(), FilesystemError> {
        let Some(at) = self.at.take() else {
            return Ok(());
        };
        let failed = |source| FilesystemError::Unmount {
            at: at.clone(),
            source,
        };
        let root = File::open(&at).map_err(failed)?;
        devio::system::sync_filesystem(&root).map_err(failed)?;
        drop(root);
        umount2(&at, MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| failed(errno.into()))?;
        // The directory is ours, and empty; if it stays, nothing is lost.
        let _ = std::fs::remove_dir(&at);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(at) = self.at.take() {
            // After an error: the slot is condemned, and a next installation must be able to open it.
            let _ = umount2(&at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
            let _ = std::fs::remove_dir(&at);
        }
    }
}

/// How the kernel wants to hear of the device: JFFS2 takes a block device or the name of the flash,
/// and not the character device that everything else is done with.
fn source(slot: &Slot) -> PathBuf {
    match slot.device.canonicalize() {
        Ok(real) if slot.kind == SlotKind::Jffs2 => real
            .file_name()
            .map_or_else(|| slot.device.clone(), PathBuf::from),
        _ => slot.device.clone(),
    }
}

fn split_options(options: &str) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for option in options
        .split(',')
        .map(str::trim)
        .filter(|option| !option.is_empty())
    {
        match FLAGS.iter().find(|(name, _)| *name == option) {
            Some((_, flag)) => flags |= *flag,
            None if matches!(option, "defaults" | "rw") => {}
            None => data.push(option),
        }
    }
    (flags, data.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_options_are_flags_or_text() {
        let (flags, data) = split_options("noatime,data=journal, nosuid,defaults,commit=5");
        assert_eq!(flags, MsFlags::MS_NOATIME | MsFlags::MS_NOSUID);
        assert_eq!(data, "data=journal,commit=5");
        let (flags, data) = split_options(&without_journal("noatime, data=ordered,acl,commit=5"));
        assert_eq!(flags, MsFlags::MS_NOATIME | MsFlags::MS_RDONLY);
        assert_eq!(data, "acl,noload");
    }
}
