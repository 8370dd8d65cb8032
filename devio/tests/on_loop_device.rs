//! Block devices, partitions and extents on a real loop device. Needs root, util-linux and
//! e2fsprogs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs::{self, File};
use std::io::Write;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use devio::block::{self, DeviceNumber, OpenError};
use devio::extents::{block_map, extents};
use devio::filesystem::{FsKind, fs_kind, inode_flags};
use devio::partition::{self, Partition, PartitionError};

const SIZE: u64 = 16 << 20;

fn run(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output();
    let out = out.unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {text}");
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}

/// A loop device over a file of [`SIZE`] bytes.
struct Loop {
    dir: tempfile::TempDir,
    node: PathBuf,
}

impl Loop {
    fn new(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk");
        File::create(&image).unwrap().set_len(SIZE).unwrap();
        let mut args = vec!["--find", "--show"];
        args.extend_from_slice(options);
        args.push(image.to_str().unwrap());
        let node = run("losetup", &args).into();
        Self { dir, node }
    }

    fn mount(&self) -> Mounted {
        let root = self.dir.path().join("root");
        fs::create_dir_all(&root).unwrap();
        run(
            "mount",
            &[self.node.to_str().unwrap(), root.to_str().unwrap()],
        );
        Mounted { root }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .arg("--detach")
            .arg(&self.node)
            .status();
    }
}

struct Mounted {
    root: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.root).status();
    }
}

#[test]
fn length_sectors_and_number() {
    let disk = Loop::new(&["--sector-size", "4096"]);
    let file = block::open_exclusive(&disk.node).unwrap();
    assert_eq!(block::device_len(&file).unwrap(), SIZE);
    assert_eq!(block::logical_sector_size(&file).unwrap(), 4096);
    assert_eq!(block::physical_sector_size(&file).unwrap(), 4096);
    assert!(!block::is_read_only(&file).unwrap());
    let number = DeviceNumber::of_node(&disk.node).unwrap().unwrap();
    let name = disk.node.file_name().unwrap();
    let sysfs = fs::read_to_string(Path::new("/sys/class/block").join(name).join("dev")).unwrap();
    assert_eq!(sysfs.parse::<DeviceNumber>().unwrap(), number);
}

#[test]
fn a_device_in_use_is_not_opened() {
    let disk = Loop::new(&[]);
    run("mke2fs", &["-q", "-t", "ext4", disk.node.to_str().unwrap()]);
    let mounted = disk.mount();
    assert!(matches!(
        block::open_exclusive(&disk.node),
        Err(OpenError::InUse { .. })
    ));
    let inside = File::create(mounted.root.join("f")).unwrap();
    let number = DeviceNumber::of_node(&disk.node).unwrap().unwrap();
    assert_eq!(DeviceNumber::holding(&inside).unwrap(), number);
    drop(inside);
    drop(mounted);
    let first = block::open_exclusive(&disk.node).unwrap();
    assert!(matches!(
        block::open_exclusive(&disk.node),
        Err(OpenError::InUse { .. })
    ));
    drop(first);
    block::open_exclusive(&disk.node).unwrap();
}

#[test]
fn a_write_protected_device_is_told() {
    let disk = Loop::new(&["--read-only"]);
    assert!(block::is_read_only(&File::open(&disk.node).unwrap()).unwrap());
    assert!(matches!(
        block::open_exclusive(&disk.node),
        Err(OpenError::ReadOnly { .. })
    ));
}

#[test]
fn the_cache_is_dropped() {
    let disk = Loop::new(&[]);
    let file = block::open_exclusive(&disk.node).unwrap();
    file.write_all_at(&[7; 4096], 8192).unwrap();
    block::drop_cache(&file).unwrap();
    // Behind the device's back: what is read now can only come from the medium.
    let image = File::options()
        .write(true)
        .open(disk.dir.path().join("disk"))
        .unwrap();
    image.write_all_at(&[9; 4096], 8192).unwrap();
    let mut bytes = [0; 4096];
    file.read_exact_at(&mut bytes, 8192).unwrap();
    assert_eq!(bytes, [9; 4096]);
    image.write_all_at(&[5; 4096], 8192).unwrap();
    file.read_exact_at(&mut bytes, 8192).unwrap();
    assert_eq!(bytes, [9; 4096], "cached again");
    block::drop_cache(&file).unwrap();
    file.read_exact_at(&mut bytes, 8192).unwrap();
    assert_eq!(bytes, [5; 4096]);
}

#[test]
fn zeroing_and_discarding() {
    let disk = Loop::new(&[]);
    let file = block::open_exclusive(&disk.node).unwrap();
    file.write_all_at(&[7; 16384], 0).unwrap();
    block::zero_out(&file, 4096, 4096).unwrap();
    block::discard(&file, 8192, 4096).unwrap();
    block::drop_cache(&file).unwrap();
    let mut bytes = [1; 16384];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes[..4096], [7; 4096]);
    assert_eq!(
        bytes[4096..12288],
        [0; 8192],
        "a loop device reads discarded bytes as zeros"
    );
    assert_eq!(bytes[12288..], [7; 4096]);
    assert!(block::zero_out(&file, 1, 512).is_err());
    assert!(block::zero_out(&file, SIZE, 512).is_err());
    assert!(block::discard(&file, 0, 100).is_err());
}

#[test]
fn partitions_come_change_and_go() {
    let disk = Loop::new(&["--partscan"]);
    let file = File::options()
        .read(true)
        .write(true)
        .open(&disk.node)
        .unwrap();
    let _lock = partition::lock_disk(&file, Duration::from_secs(5)).unwrap();
    let at = |number: u32, start: u64, length: u64| Partition {
        number: NonZeroU32::new(number).unwrap(),
        start,
        length,
    };
    let name = disk.node.file_name().unwrap().to_str().unwrap().to_owned();
    let sectors = |number: u32| -> Option<u64> {
        let size = format!("/sys/class/block/{name}p{number}/size");
        fs::read_to_string(size).ok()?.trim_end().parse().ok()
    };
    partition::add(&file, at(3, 1 << 20, 1 << 20)).unwrap();
    assert_eq!(sectors(3), Some(2048));
    let overlap = partition::add(&file, at(4, 1 << 20, 4096));
    assert!(
        matches!(overlap, Err(PartitionError::DoesNotFit { number: 4 })),
        "{overlap:?}"
    );
    let twice = partition::add(&file, at(3, 4 << 20, 4096));
    assert!(
        matches!(twice, Err(PartitionError::DoesNotFit { number: 3 })),
        "{twice:?}"
    );
    partition::resize(&file, at(3, 1 << 20, 2 << 20)).unwrap();
    assert_eq!(sectors(3), Some(4096));

    let node = PathBuf::from(format!("{}p3", disk.node.display()));
    if let Ok(open) = File::open(&node) {
        let number = NonZeroU32::new(3).unwrap();
        assert!(matches!(
            partition::delete(&file, number),
            Err(PartitionError::InUse { .. })
        ));
        drop(open);
    }
    partition::delete(&file, NonZeroU32::new(3).unwrap()).unwrap();
    assert_eq!(sectors(3), None);
    let gone = partition::delete(&file, NonZeroU32::new(3).unwrap());
    assert!(
        matches!(gone, Err(PartitionError::Missing { number: 3 })),
        "{gone:?}"
    );
}

#[test]
fn extents_of_files_on_ext4() {
    let disk = Loop::new(&[]);
    run(
        "mke2fs",
        &[
            "-q",
            "-t",
            "ext4",
            "-b",
            "1024",
            disk.node.to_str().unwrap(),
        ],
    );
    let mounted = disk.mount();
    let create = |name: &str| {
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(mounted.root.join(name))
            .unwrap()
    };
    let mut small = create("small");
    small.write_all(&[7; 1000]).unwrap();
    assert_eq!(fs_kind(&small).unwrap(), FsKind::Ext);
    assert!(!inode_flags(&small).unwrap().unwrap().journalled());
    let list = extents(&small).unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].logical, list[0].length), (0, 1024));
    assert!(list[0].flags.last() && list[0].flags.bits() & !1 == 0);
    let map = block_map(&small).unwrap();
    assert!(map.is_one_piece());
    assert_eq!(u64::from(map.blocks[0]) * 1024, list[0].physical);
    // And it is true: the bytes are there.
    let device = File::open(&disk.node).unwrap();
    small.sync_all().unwrap();
    let mut bytes = [0; 1000];
    device.read_exact_at(&mut bytes, list[0].physical).unwrap();
    assert_eq!(bytes, [7; 1000]);

    assert_eq!(extents(&create("empty")).unwrap(), []);
    let holes = create("holes");
    // More pieces than are asked for at once.
    for i in 0..100 {
        holes.write_all_at(b"x", i * 4096).unwrap();
    }
    let list = extents(&holes).unwrap();
    assert_eq!(list.len(), 100);
    assert!(
        list.iter()
            .enumerate()
            .all(|(i, e)| e.logical == 4096 * u64::try_from(i).unwrap())
    );
    assert!(!block_map(&holes).unwrap().is_one_piece());
}
