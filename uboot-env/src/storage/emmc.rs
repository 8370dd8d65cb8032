//! The boot areas of an eMMC, `mmcblkNbootM`: the kernel keeps them read-only until `force_ro` in
//! sysfs is cleared.
//!
//! [`devio::mmc::Unprotected`] does that, and puts back what was there.

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

#[cfg(test)]
mod tests {
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
}
