//! The boot areas of an eMMC, `mmcblkNbootM`: the kernel keeps them read-only until `force_ro` in
//! sysfs is cleared.

use super::{CopyError, Op};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The `force_ro` attribute of a boot area, or `None` for any other device.
///
/// `node` is the device node, links resolved; `sys_block` is `/sys/class/block`.
#[must_use]
pub fn force_ro_of(node: &Path, sys_block: &Path) -> Option<PathBuf> {
    let name = node.file_name()?.to_str()?;
    let (disk, area) = name.strip_prefix("mmcblk")?.split_once("boot")?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    (digits(disk) && digits(area)).then(|| sys_block.join(name).join("force_ro"))
}

/// Lifts the write protection for as long as this value lives, and puts back what was there.
#[derive(Debug)]
pub struct Unprotected {
    restore: Option<PathBuf>,
}

impl Unprotected {
    /// Writes 0 to `force_ro` if it is not 0 already.
    ///
    /// # Errors
    /// If the attribute cannot be read or written.
    pub fn new(force_ro: &Path) -> Result<Self, CopyError> {
        let failed = |e| CopyError::io(Op::ForceRo, force_ro, 0)(e);
        if fs::read_to_string(force_ro).map_err(failed)?.trim() == "0" {
            return Ok(Self { restore: None });
        }
        set(force_ro, b"0").map_err(CopyError::io(Op::ForceRo, force_ro, 0))?;
        Ok(Self {
            restore: Some(force_ro.to_path_buf()),
        })
    }

    /// Restores the protection and says whether that worked.
    ///
    /// # Errors
    /// If the attribute cannot be written.
    pub fn restore(mut self) -> Result<(), CopyError> {
        let Some(path) = self.restore.take() else {
            return Ok(());
        };
        set(&path, b"1").map_err(CopyError::io(Op::ForceRo, &path, 0))
    }
}

impl Drop for Unprotected {
    fn drop(&mut self) {
        // Only reached when the write itself failed, which is the error that is reported.
        if let Some(path) = &self.restore {
            drop(set(path, b"1"));
        }
    }
}

/// sysfs takes a value in one write; there is nothing to truncate or to sync.
fn set(path: &Path, value: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        reason = "test files need no power-cut safety"
    )]
    use super::*;

    #[test]
    fn only_boot_areas_have_the_attribute() {
        let sys = Path::new("/sys/class/block");
        let attr = |node: &str| force_ro_of(Path::new(node), sys);
        let want = Some(sys.join("mmcblk12boot0/force_ro"));
        assert_eq!(attr("/dev/mmcblk12boot0"), want);
        assert_eq!(attr("/dev/block/mmcblk12boot0"), want);
        for other in [
            "/dev/mmcblk0",
            "/dev/mmcblk0p1",
            "/dev/mmcblkboot0",
            "/dev/mmcblk0boot",
            "/",
        ] {
            assert_eq!(attr(other), None, "{other}");
        }
    }

    #[test]
    fn the_former_state_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let attr = dir.path().join("force_ro");
        for before in ["0\n", "1\n"] {
            fs::write(&attr, before).unwrap();
            let guard = Unprotected::new(&attr).unwrap();
            assert_eq!(fs::read_to_string(&attr).unwrap().trim(), "0");
            guard.restore().unwrap();
            assert_eq!(fs::read_to_string(&attr).unwrap().trim(), before.trim());
            drop(Unprotected::new(&attr).unwrap());
            assert_eq!(fs::read_to_string(&attr).unwrap().trim(), before.trim());
        }
        assert!(Unprotected::new(&dir.path().join("none")).is_err());
    }
}
