//! What kind of data an image is: by `type=`, or by the end of its file name.

/// Kinds of image, named as in the manifest's `type=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageType {
    /// Bytes that are written as they are (`*.img`).
    Raw,
    /// An ext4 file system.
    Ext4,
    /// A FAT file system.
    Vfat,
    /// A squashfs file system.
    Squashfs,
    /// A UBIFS volume image.
    Ubifs,
    /// A tar archive, compressed or not.
    Tar,
    /// A casync archive.
    Catar,
    /// An index of a chunked casync archive.
    Caidx,
    /// An index of a chunked raw image.
    RawCaibx,
    /// An index of a chunked ext4 image.
    Ext4Caibx,
    /// An index of a chunked FAT image.
    VfatCaibx,
    /// An index of a chunked UBIFS image.
    UbifsCaibx,
    /// An index of a chunked squashfs image.
    SquashfsCaibx,
    /// No data: an empty file system is made.
    EmptyFs,
}

/// Names for `type=`.
const NAMES: [(ImageType, &str); 14] = [
    (ImageType::Raw, "raw"),
    (ImageType::Ext4, "ext4"),
    (ImageType::Vfat, "vfat"),
    (ImageType::Squashfs, "squashfs"),
    (ImageType::Ubifs, "ubifs"),
    (ImageType::Tar, "tar"),
    (ImageType::Catar, "catar"),
    (ImageType::Caidx, "caidx"),
    (ImageType::RawCaibx, "raw-caibx"),
    (ImageType::Ext4Caibx, "ext4-caibx"),
    (ImageType::VfatCaibx, "vfat-caibx"),
    (ImageType::UbifsCaibx, "ubifs-caibx"),
    (ImageType::SquashfsCaibx, "squashfs-caibx"),
    (ImageType::EmptyFs, "emptyfs"),
];

/// One rule of the suffix table. The first that fits wins.
enum Suffix {
    /// The name ends with this.
    End(&'static str, ImageType),
    /// `.squashfs`, or `.squashfs-` and anything, before the end given here.
    Squashfs(&'static str, ImageType),
    /// `.tar` followed by anything.
    Tar,
}

/// RAUC's table, in RAUC's order.
const SUFFIXES: [Suffix; 15] = [
    Suffix::End(".ext4.caibx", ImageType::Ext4Caibx),
    Suffix::End(".vfat.caibx", ImageType::VfatCaibx),
    Suffix::End(".ubifs.caibx", ImageType::UbifsCaibx),
    Suffix::End(".img.caibx", ImageType::RawCaibx),
    Suffix::Squashfs(".caibx", ImageType::SquashfsCaibx),
    Suffix::End(".catar", ImageType::Catar),
    Suffix::End(".caidx", ImageType::Caidx),
    Suffix::Tar,
    Suffix::End(".tgz", ImageType::Tar),
    Suffix::End(".ext4", ImageType::Ext4),
    Suffix::End(".vfat", ImageType::Vfat),
    Suffix::End(".img", ImageType::Raw),
    Suffix::Squashfs("", ImageType::Squashfs),
    Suffix::End(".ubifs", ImageType::Ubifs),
    // Not in RAUC's table, but what casync calls an index of anything.
    Suffix::End(".raw.caibx", ImageType::RawCaibx),
];

impl ImageType {
    /// The type called `name` in `type=`.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
    }

    /// Its name in `type=`.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("raw", |(_, name)| name)
    }

    /// The type that the end of a file name stands for.
    pub fn from_file_name(name: &str) -> Option<Self> {
        SUFFIXES.iter().find_map(|rule| rule.matches(name))
    }

    /// Whether the file in the bundle is an index that points to chunks elsewhere.
    pub fn is_chunked(self) -> bool {
        self == Self::Caidx || self.of_chunks().is_some()
    }

    /// The type of the image that the chunks of such an index make; `None` for anything else, and for
    /// an index of a directory tree.
    pub fn of_chunks(self) -> Option<Self> {
        match self {
            Self::RawCaibx => Some(Self::Raw),
            Self::Ext4Caibx => Some(Self::Ext4),
            Self::VfatCaibx => Some(Self::Vfat),
            Self::UbifsCaibx => Some(Self::Ubifs),
            Self::SquashfsCaibx => Some(Self::Squashfs),
            _ => None,
        }
    }
}

impl Suffix {
    fn matches(&self, name: &str) -> Option<ImageType> {
        match self {
            Self::End(end, kind) => name.ends_with(end).then_some(*kind),
            Self::Tar => name.contains(".tar").then_some(ImageType::Tar),
            Self::Squashfs(end, kind) => {
                let stem = name.strip_suffix(end)?;
                (stem.ends_with(".squashfs") || stem.contains(".squashfs-")).then_some(*kind)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes() {
        use ImageType::*;
        for (name, kind) in [
            ("rootfs.ext4", Some(Ext4)),
            ("rootfs.ext4.caibx", Some(Ext4Caibx)),
            ("a.img.caibx", Some(RawCaibx)),
            ("a.squashfs", Some(Squashfs)),
            ("a.squashfs-xz", Some(Squashfs)),
            ("a.squashfs-lzo.caibx", Some(SquashfsCaibx)),
            ("a.tar.xz", Some(Tar)),
            ("a.tgz", Some(Tar)),
            ("a.tar", Some(Tar)),
            ("a.catar", Some(Catar)),
            ("a.caidx", Some(Caidx)),
            ("boot.vfat", Some(Vfat)),
            ("u-boot.img", Some(Raw)),
            ("a.ubifs", Some(Ubifs)),
            ("a.bin", None),
            ("ext4", None),
            ("", None),
        ] {
            assert_eq!(ImageType::from_file_name(name), kind, "{name}");
        }
    }

    #[test]
    fn names_go_both_ways() {
        for (kind, name) in NAMES {
            assert_eq!(ImageType::from_name(name), Some(kind));
            assert_eq!(kind.name(), name);
        }
        assert_eq!(ImageType::from_name("qcow2"), None);
    }
}
