//! The ways to the same bytes: a device, links to it, and loop devices over it or under it.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Where the kernel lists block devices.
const SYS_BLOCK: &str = "/sys/block";

/// Something that has bytes, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Store {
    /// A block device, by its number.
    Block(u64),
    /// The same of a character device.
    Flash(u64),
    /// A regular file, by the number of its file system and its own.
    File(u64, u64),
}

impl Store {
    fn of(path: &Path) -> Option<Store> {
        std::fs::metadata(path)
            .ok()
            .and_then(|found| Store::from_metadata(&found))
    }

    fn from_metadata(found: &Metadata) -> Option<Store> {
        let kind = found.file_type();
        if kind.is_block_device() {
            Some(Store::Block(found.rdev()))
        } else if kind.is_char_device() {
            Some(Store::Flash(found.rdev()))
        } else if kind.is_file() {
            Some(Store::File(found.dev(), found.ino()))
        } else {
            None
        }
    }
}

/// Everything through which the bytes of one device or file are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ways(BTreeSet<Store>);

impl Ways {
    /// Those to `path`; none if it is not there.
    pub fn to(path: &Path) -> Ways {
        let Some(store) = Store::of(path) else {
            return Ways::default();
        };
        let loops = match store {
            Store::Flash(_) => Vec::new(),
            Store::Block(_) | Store::File(..) => loops(Path::new(SYS_BLOCK)),
        };
        Ways::along(store, &loops)
    }

    /// From `store` over loop devices, each of them with what lies under it, until nothing is new.
    fn along(store: Store, loops: &[(Store, Store)]) -> Ways {
        let mut found = BTreeSet::from([store]);
        loop {
            let before = found.len();
            for (over, under) in loops {
                if found.contains(over) || found.contains(under) {
                    found.extend([*over, *under]);
                }
            }
            if found.len() == before {
                return Ways(found);
            }
        }
    }

    /// Whether both lead to the same bytes, or to some of them.
    pub fn meet(&self, other: &Ways) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// The numbers of the block devices, as the kernel writes them: `254:1`.
    pub fn numbers(&self) -> Vec<String> {
        let number = |store: &Store| match store {
            Store::Block(number) => {
                let (major, minor) = (
                    nix::sys::stat::major(*number),
                    nix::sys::stat::minor(*number),
                );
                Some(format!("{major}:{minor}"))
            }
            Store::Flash(_) | Store::File(..) => None,
        };
        self.0.iter().filter_map(number).collect()
    }
}

/// Each loop device over a whole file or device, and what is under it. One over a part is a device of
/// its own, like a partition: several slots may lie in one image like that.
fn loops(blocks: &Path) -> Vec<(Store, Store)> {
    let devices = std::fs::read_dir(blocks).into_iter().flatten().flatten();
    let pair = |path: PathBuf| {
        let under = std::fs::read_to_string(path.join("loop/backing_file")).ok()?;
        let under = Store::of(Path::new(under.trim_end_matches('\n')))?;
        let is_zero = |name: &str| {
            let text = std::fs::read_to_string(path.join("loop").join(name));
            text.is_ok_and(|text| text.trim_end() == "0")
        };
        if !is_zero("offset") || !is_zero("sizelimit") {
            return None;
        }
        let number = std::fs::read_to_string(path.join("dev")).ok()?;
        let (major, minor) = number.trim_end().split_once(':')?;
        let number = nix::sys::stat::makedev(major.parse().ok()?, minor.parse().ok()?);
        Some((Store::Block(number), under))
    };
    devices.filter_map(|entry| pair(entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_device_and_what_is_under_it_are_the_same() {
        let (file, disk) = (Store::File(1, 2), Store::Block(9));
        let [first, second, over, alone] = [1, 2, 3, 4].map(Store::Block);
        let loops = [(over, second), (first, file), (second, file), (alone, disk)];
        let ways = |store| Ways::along(store, &loops);
        for store in [file, first, second, over] {
            assert_eq!(ways(store).0.len(), 4, "{store:?}");
            assert!(ways(store).meet(&ways(file)));
            assert!(!ways(store).meet(&ways(disk)));
        }
        assert!(ways(disk).meet(&ways(alone)));
        assert!(
            !Ways::default().meet(&Ways::default()),
            "what is not there is not shared"
        );
    }

    #[test]
    fn links_lead_to_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a", "b"] {
            fs_err::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink("a", path("soft")).unwrap();
        fs_err::hard_link(path("a"), path("hard")).unwrap();
        let meet = |one: &str, other: &str| Ways::to(&path(one)).meet(&Ways::to(&path(other)));
        assert!(meet("a", "soft") && meet("soft", "hard"));
        assert!(!meet("a", "b") && !meet("a", "nothing"));
    }
}
