use super::*;

const MOUNTS: &str = "\
21 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro
22 21 8:3 / /boot rw,relatime shared:2 master:1 - ext4 /dev/sda3 rw,data=journal
23 21 0:22 / /proc rw - proc proc rw
broken line
";

#[test]
fn finds_data_journal_of_the_right_mount() {
    let at = |minor| DeviceNumber { major: 8, minor };
    assert!(!mounts_journal_data(MOUNTS, at(2)));
    assert!(mounts_journal_data(MOUNTS, at(3)));
    assert!(!mounts_journal_data("", at(3)));
}

#[test]
fn finds_what_a_device_is_stacked_on() {
    let sys = tempfile::tempdir().unwrap();
    let at = |name: &str| sys.path().join(name);
    std::fs::create_dir_all(at("253:0/dm")).unwrap();
    std::fs::create_dir_all(at("md0/md")).unwrap();
    std::fs::create_dir_all(at("md0/md0p1")).unwrap();
    std::fs::create_dir_all(at("8:1")).unwrap();
    std::os::unix::fs::symlink(at("md0/md0p1"), at("259:0")).unwrap();
    let what = |major, minor| stacking(DeviceNumber { major, minor }, sys.path());
    assert_eq!(what(253, 0), Some("device-mapper (LVM, LUKS)"));
    assert_eq!(what(259, 0), Some("software RAID"));
    assert_eq!(what(8, 1), None);
    assert_eq!(what(8, 2), None);
}

#[test]
fn block_maps() {
    let place = |blocks: &[u32]| {
        Place::Blocks(BlockMap {
            block_size: 512,
            blocks: blocks.to_vec(),
        })
        .findings(1024)
    };
    assert_eq!(place(&[4, 5]), []);
    assert_eq!(place(&[4, 6]), [Finding::Pieces(2)]);
    assert_eq!(place(&[0, 6]), [Finding::Sparse]);
    assert_eq!(place(&[]), [Finding::Sparse]);
    assert_eq!(Place::Unknown.findings(1), [Finding::PlaceUnknown]);
    assert_eq!(Place::Extents(Vec::new()).findings(1024), [Finding::Sparse]);
}

#[test]
fn only_stacking_lets_grub_read() {
    assert_eq!(Finding::Stacked("x").hinders(), Hinders::Saving);
    assert_eq!(Finding::Sparse.hinders(), Hinders::Reading);
}
