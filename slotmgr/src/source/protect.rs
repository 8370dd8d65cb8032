//! Who may write to a bundle's file while it is read: nobody but root and we, as RAUC demands it of
//! plain bundles, which have no tree of digests.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use devio::filesystem::{FsKind, fs_kind};
use devio::lease::{LeaseError, prove_no_writer};

/// Nobody but the owner may write.
const WIDEST_MODE: u32 = 0o755;

/// Why somebody could change the file behind our back.
#[derive(Debug, thiserror::Error)]
pub enum Exposed {
    /// It is someone else's.
    #[error("it belongs to user {0}, who could change it")]
    Owner(u32),
    /// Group or others may write.
    #[error("its mode {0:o} lets others than its owner change it")]
    Mode(u32),
    /// A file system that somebody else serves.
    #[error(
        "it lies on a file system ({0:?}) whose content may change at any time; copy it to a disk"
    )]
    FileSystem(FsKind),
    /// The disk below can be written by somebody else.
    #[error("it lies on {}, which belongs to user {owner}", device.display())]
    Device {
        /// The disk.
        device: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Somebody has it open.
    #[error(transparent)]
    Writer(#[from] LeaseError),
    /// It cannot be looked at.
    #[error("it cannot be looked at")]
    Io(#[from] io::Error),
}

/// Makes sure of it; a file that somebody else could write to is taken over, if that is possible.
///
/// # Errors
/// When somebody could still change it.
pub fn protect(file: &File) -> Result<(), Exposed> {
    let Err(first) = check(file) else {
        return Ok(());
    };
    match first {
        Exposed::Owner(_) | Exposed::Mode(_) => {
            take_over(file).map_err(|_| first)?;
            check(file)
        }
        other => Err(other),
    }
}

fn check(file: &File) -> Result<(), Exposed> {
    let metadata = file.metadata()?;
    let owner = metadata.uid();
    if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        return Err(Exposed::Owner(owner));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & !WIDEST_MODE != 0 {
        return Err(Exposed::Mode(mode));
    }
    check_file_system(file, &metadata)?;
    Ok(prove_no_writer(file)?)
}

/// The file system of `/` is trusted whatever it is: slotmgr itself comes from there.
fn check_file_system(file: &File, metadata: &Metadata) -> Result<(), Exposed> {
    if std::fs::metadata("/").is_ok_and(|root| root.dev() == metadata.dev()) {
        return Ok(());
    }
    let kind = fs_kind(file)?;
    let served = matches!(kind, FsKind::Fuse | FsKind::Nfs | FsKind::NineP);
    if served || matches!(kind, FsKind::Other(_)) {
        return Err(Exposed::FileSystem(kind));
    }
    let Some(device) = device_below(metadata.dev()) else {
        return Ok(());
    };
    match std::fs::metadata(&device)?.uid() {
        0 => Ok(()),
        owner => Err(Exposed::Device { device, owner }),
    }
}

/// The node of a block device, by its number; file systems in memory have none.
fn device_below(number: u64) -> Option<PathBuf> {
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let about = format!("/sys/dev/block/{major}:{minor}/uevent");
    let about = std::fs::read_to_string(about).ok()?;
    let name = about.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map(|name| Path::new("/dev").join(name))
}

/// Ours from now on, and nobody's to write.
fn take_over(file: &File) -> io::Result<()> {
    let me = nix::unistd::geteuid().as_raw();
    fchown(file, Some(me), None)?;
    let mode = file.metadata()?.mode() & 0o555;
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs root, as installing does.
    #[test]
    fn a_file_of_somebody_else_is_taken_over_and_an_open_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle");
        let writer = File::create(&path).unwrap();
        let file = File::open(&path).unwrap();
        assert!(matches!(
            protect(&file),
            Err(Exposed::Writer(LeaseError::Writer))
        ));
        drop(writer);
        for (owner, mode) in [(0, 0o644), (12, 0o644), (0, 0o666), (12, 0o4777)] {
            fchown(&file, Some(owner), None).unwrap();
            file.set_permissions(Permissions::from_mode(mode)).unwrap();
            protect(&file).unwrap();
            let metadata = file.metadata().unwrap();
            assert_eq!(metadata.uid(), 0);
            assert_eq!(metadata.mode() & 0o7022, 0, "{mode:o}");
        }
        fchown(&file, Some(12), None).unwrap();
        let _writer = File::options().write(true).open(&path).unwrap();
        assert!(protect(&file).is_err(), "what is open stays writable");
    }

    #[test]
    fn what_somebody_else_serves_is_refused() {
        // Not on the file system of `/`, and of none of the kinds that disks have.
        let file = File::open("/proc/self/status").unwrap();
        let metadata = file.metadata().unwrap();
        let found = check_file_system(&file, &metadata);
        assert!(matches!(found, Err(Exposed::FileSystem(_))), "{found:?}");
    }
}
