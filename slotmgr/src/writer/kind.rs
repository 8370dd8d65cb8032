//! Which image goes into which type of slot, and how.

use bundle_format::manifest::ImageType;

use crate::slot::SlotKind;

/// How an image gets into its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Byte by byte onto a block device.
    Copy,
    /// A file system is made and an archive unpacked into it.
    Archive,
    /// A file system is made and casync's archive of a directory tree unpacked into it.
    Tree,
    /// A file system is made.
    EmptyFs,
    /// A UBI volume is updated.
    UbiVolume,
    /// Raw flash is erased and programmed.
    Flash,
    /// The boot area of an eMMC that is not used now.
    Emmc,
    /// A half of a region of a disk.
    Switch,
    /// The bundle's own install hook does it.
    Hook,
}

impl Method {
    /// How an image of this type gets into a slot of this type; `None` if it does not.
    ///
    /// The pairs are RAUC's, and `raw` into `jffs2`, which RAUC documents and refuses. An archive
    /// does not go there: nothing here makes a JFFS2 file system.
    #[must_use]
    pub fn of(image: ImageType, slot: SlotKind) -> Option<Method> {
        use ImageType as I;
        use SlotKind as S;
        match (image, slot) {
            (I::Raw, S::Raw | S::Ext4 | S::Vfat)
            | (I::Ext4, S::Ext4 | S::Raw)
            | (I::Vfat, S::Vfat | S::Raw)
            | (I::Squashfs, S::Raw) => Some(Method::Copy),
            (I::Tar, S::Ext4 | S::Vfat | S::Ubifs) => Some(Method::Archive),
            (I::Catar | I::Caidx, S::Ext4 | S::Vfat | S::Ubifs) => Some(Method::Tree),
            (I::EmptyFs, S::Ext4) => Some(Method::EmptyFs),
            (I::Raw | I::Ubifs, S::Ubifs | S::Ubivol) | (I::Squashfs, S::Ubivol) => {
                Some(Method::UbiVolume)
            }
            (I::Raw, S::Nand | S::Nor | S::Jffs2) => Some(Method::Flash),
            (I::Raw, S::BootEmmc) => Some(Method::Emmc),
            (I::Raw, S::BootMbrSwitch | S::BootGptSwitch | S::BootRawFallback)
            | (I::Ext4, S::BootGptSwitch)
            | (I::Vfat, S::BootMbrSwitch | S::BootGptSwitch) => Some(Method::Switch),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        for (image, slot) in [
            (ImageType::Tar, SlotKind::Raw),
            (ImageType::Caidx, SlotKind::Raw),
            (ImageType::Ext4, SlotKind::Vfat),
            (ImageType::Squashfs, SlotKind::Ext4),
            (ImageType::EmptyFs, SlotKind::Vfat),
            (ImageType::Ubifs, SlotKind::Raw),
            (ImageType::Tar, SlotKind::Jffs2),
            (ImageType::RawCaibx, SlotKind::Raw),
        ] {
            assert_eq!(Method::of(image, slot), None, "{image:?} {slot}");
        }
    }
}
