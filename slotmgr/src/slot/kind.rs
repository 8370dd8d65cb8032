//! What a slot is, and how it is written.

use std::fmt;

/// What a slot is, and so what can be written into it (`type=` in `system.conf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// Bytes as they are.
    Raw,
    /// An ext4 file system.
    Ext4,
    /// A FAT file system.
    Vfat,
    /// A UBIFS file system in a UBI volume.
    Ubifs,
    /// A UBI volume.
    Ubivol,
    /// Raw NAND flash.
    Nand,
    /// Raw NOR flash.
    Nor,
    /// JFFS2 on raw flash.
    Jffs2,
    /// The two boot areas of an eMMC, switched by a register.
    BootEmmc,
    /// Two halves of a region, switched by the MBR.
    BootMbrSwitch,
    /// Two halves of a region, switched by the GPT.
    BootGptSwitch,
    /// Two halves of a region, the second for when the first is damaged.
    BootRawFallback,
}

const NAMES: [(SlotKind, &str); 12] = [
    (SlotKind::Raw, "raw"),
    (SlotKind::Ext4, "ext4"),
    (SlotKind::Vfat, "vfat"),
    (SlotKind::Ubifs, "ubifs"),
    (SlotKind::Ubivol, "ubivol"),
    (SlotKind::Nand, "nand"),
    (SlotKind::Nor, "nor"),
    (SlotKind::Jffs2, "jffs2"),
    (SlotKind::BootEmmc, "boot-emmc"),
    (SlotKind::BootMbrSwitch, "boot-mbr-switch"),
    (SlotKind::BootGptSwitch, "boot-gpt-switch"),
    (SlotKind::BootRawFallback, "boot-raw-fallback"),
];

impl SlotKind {
    /// The type of this name in `system.conf`.
    #[must_use]
    pub fn parse(name: &str) -> Option<SlotKind> {
        let found = NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(kind, _)| *kind)
    }

    /// All names, for people.
    #[must_use]
    pub fn names() -> String {
        NAMES.map(|(_, name)| name).join(", ")
    }

    /// Whether it is a part of a disk that `region-start` and `region-size` describe.
    #[must_use]
    pub fn has_region(self) -> bool {
        matches!(
            self,
            SlotKind::BootMbrSwitch | SlotKind::BootGptSwitch | SlotKind::BootRawFallback
        )
    }

    /// Whether a file system in it can be mounted.
    #[must_use]
    pub fn is_mountable(self) -> bool {
        matches!(
            self,
            SlotKind::Ext4 | SlotKind::Vfat | SlotKind::Ubifs | SlotKind::Jffs2
        )
    }
}

impl fmt::Display for SlotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = NAMES.iter().find(|(kind, _)| kind == self);
        f.write_str(found.map_or("", |(_, name)| name))
    }
}

/// How a slot is written; all of it has a default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotOptions {
    /// `description=`
    pub description: Option<String>,
    /// `allow-mounted=`
    pub mounted: Mounted,
    /// `install-same=`
    pub same: InstallSame,
    /// `resize=`
    pub resize: Resize,
    /// `extra-mount-opts=`
    pub mount_options: Option<String>,
    /// `extra-mkfs-opts=`, split as a shell does.
    pub mkfs_options: Vec<String>,
    /// `region-start=` and `region-size=`
    pub region: Option<Region>,
    /// `size-limit=` of an eMMC's boot areas, in bytes.
    pub size_limit: Option<u64>,
    /// `efi-loader=` and `efi-cmdline=`
    pub firmware_entry: Option<FirmwareEntry>,
}

/// What a boot entry of UEFI firmware starts; the partition is the slot's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareEntry {
    /// The program on the partition: `\EFI\BOOT\BOOTX64.EFI`.
    pub loader: String,
    /// What it gets as its arguments; may be empty.
    pub command_line: String,
}

/// Whether a mounted slot may be handed to a bundle's install hook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mounted {
    /// A mounted slot stops the installation.
    #[default]
    Refused,
    /// An install hook may work in it; slotmgr itself still never writes it.
    Allowed,
}

/// What happens when a slot holds the image already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InstallSame {
    /// It is written again.
    #[default]
    Write,
    /// It is left as it is, after it was read and compared.
    Skip,
}

/// What happens with an ext4 image that is smaller than its slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resize {
    /// Nothing.
    #[default]
    Never,
    /// The file system grows to the size of the slot.
    ToSlot,
}

/// A part of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Its first byte.
    pub start: u64,
    /// Its length; each half is half of it.
    pub size: u64,
}

impl Region {
    /// Whether a byte belongs to both.
    #[must_use]
    pub fn overlaps(self, other: Region) -> bool {
        let end = |region: Region| region.start.saturating_add(region.size);
        self.start < end(other) && other.start < end(self)
    }
}
