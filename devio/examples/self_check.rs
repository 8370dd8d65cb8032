//! Tries flash, watchdog and eMMC wrappers on real devices and says what it saw. **Destroys what
//! is on them**: for virtual machines (nandsim, mtdram, softdog, i6300esb, QEMU's eMMC) and
//! for boards on a desk.
//!
//! `self_check mtd /dev/mtdN` | `attach /dev/ubi_ctrl N` | `ubi /dev/ubiX_Y /sys/class/ubi/ubiX_Y`
//! | `watchdog /dev/watchdogN /sys/class/watchdog/watchdogN` | `emmc /dev/mmcblkX`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a check fails by panicking"
)]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use devio::mmc::{self, BootArea, Unprotected};
use devio::mtd::{BlockHealth, Mtd, MtdError, MtdKind};
use devio::ubi::{self, UbiError, UbiVolume, VolumeFacts};
use devio::watchdog::{Facts, Watchdog, WatchdogError};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["mtd", node] => check_mtd(Path::new(node)),
        ["attach", control, mtd] => attach(Path::new(control), mtd.parse().expect("a number")),
        ["ubi", node, facts] => check_ubi(Path::new(node), Path::new(facts)),
        ["watchdog", node, facts] => check_watchdog(Path::new(node), Path::new(facts)),
        ["emmc", node] => check_emmc(node),
        _ => panic!("see the head of the source"),
    }
    println!("self_check {}: ok", args.join(" "));
}

fn check_mtd(node: &Path) {
    let mtd = Mtd::open(node).unwrap();
    let info = mtd.info();
    println!("{info:?}");
    assert!(info.writeable);
    let block = u64::from(info.erase_size);
    let page = usize::try_from(info.write_size.max(512)).unwrap();
    assert_eq!(mtd.block_health(0).unwrap(), BlockHealth::Good);
    println!("protection: {:?}", mtd.protection(0, block).unwrap());
    mtd.erase(0, 2 * block).unwrap();
    let read = |offset: u64| {
        let mut bytes = vec![0; page];
        mtd.file().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    assert_eq!(read(block), vec![0xFF; page]);
    mtd.file().write_all_at(&vec![0x5A; page], block).unwrap();
    assert_eq!(read(block), vec![0x5A; page]);
    assert_eq!(read(0), vec![0xFF; page], "its neighbour");
    mtd.erase(block, block).unwrap();
    assert_eq!(read(block), vec![0xFF; page]);
    assert!(matches!(
        mtd.erase(1, block),
        Err(MtdError::NotWholeBlocks { .. })
    ));
    let end = u64::from(info.size);
    assert!(mtd.erase(end, block).is_err());
    if info.kind == MtdKind::Nand {
        let last = end - block;
        mtd.mark_bad(last).unwrap();
        assert_eq!(mtd.block_health(last).unwrap(), BlockHealth::Bad);
        assert!(matches!(
            mtd.erase(last, block),
            Err(MtdError::EraseFailed { .. })
        ));
    }
    let read_only = Mtd::open_read_only(node).unwrap();
    println!(
        "erase by a reader: {}",
        read_only.erase(0, block).unwrap_err()
    );
}

fn attach(control: &Path, mtd: u32) {
    let control = File::open(control).unwrap();
    println!("ubi{}", ubi::attach(&control, mtd).unwrap());
    assert!(matches!(
        ubi::attach(&control, mtd),
        Err(UbiError::AlreadyAttached { .. })
    ));
}

fn check_ubi(node: &Path, facts: &Path) {
    let read = |volume: &UbiVolume, len: usize| {
        let mut bytes = vec![0; len];
        volume.file().read_exact_at(&mut bytes, 0).map(|()| bytes)
    };
    let mut volume = UbiVolume::open(node).unwrap();
    println!("{:?}", VolumeFacts::read(facts).unwrap());
    assert!(!volume.is_mapped(0).unwrap());

    let content: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut update = volume.begin_update(100_000).unwrap();
    update.write_all(&content).unwrap();
    update.finish().unwrap();
    assert_eq!(read(&volume, 100_000).unwrap(), content);
    assert!(volume.is_mapped(0).unwrap());

    let mut update = volume.begin_update(100_000).unwrap();
    update.write_all(&content[..10]).unwrap();
    let early = update.finish();
    assert!(matches!(
        early,
        Err(UbiError::Unfinished { missing: 99_990 })
    ));
    drop(volume);
    assert!(VolumeFacts::read(facts).unwrap().update_marker);
    let mut volume = UbiVolume::open(node).unwrap();
    let error = read(&volume, 10).unwrap_err();
    println!("a volume whose update did not end: {error}");

    let mut update = volume.begin_update(10).unwrap();
    update.write_all(&content[..10]).unwrap();
    update.finish().unwrap();
    volume.change_block(0, b"as a whole").unwrap();
    assert_eq!(read(&volume, 10).unwrap(), b"as a whole");
    let too_much = volume.change_block(0, &vec![0; 1 << 20]);
    assert!(
        matches!(too_much, Err(UbiError::TooLarge { .. })),
        "{too_much:?}"
    );
    let too_much = volume.begin_update(1 << 40).map(|_| ());
    assert!(
        matches!(too_much, Err(UbiError::TooLarge { .. })),
        "{too_much:?}"
    );
}

fn check_watchdog(node: &Path, facts: &Path) {
    println!("{:?}", Facts::read(facts).unwrap());
    let dog = Watchdog::open(node).unwrap();
    println!("{:?}", dog.info().unwrap());
    assert!(matches!(
        Watchdog::open(node).map(drop),
        Err(WatchdogError::InUse { .. })
    ));
    let took = dog.set_timeout(Duration::from_secs(20)).unwrap();
    println!("timeout {took:?}, left {:?}", dog.time_left().unwrap());
    assert_eq!(dog.timeout().unwrap(), Some(took));
    assert!(matches!(
        dog.set_timeout(Duration::ZERO),
        Err(WatchdogError::Timeout { .. })
    ));
    println!("an hour: {:?}", dog.set_timeout(Duration::from_secs(3600)));
    dog.set_timeout(took).unwrap();
    dog.keep_alive().unwrap();
    println!("bit last time: {}", dog.caused_last_restart().unwrap());
    assert_eq!(Facts::read(facts).unwrap().active, Some(true));
    dog.hand_over().unwrap();
    assert_eq!(
        Facts::read(facts).unwrap().active,
        Some(true),
        "still running"
    );
    Watchdog::open(node).unwrap().stop().unwrap();
    assert_eq!(Facts::read(facts).unwrap().active, Some(false));
}

fn check_emmc(node: &str) {
    let open = |path: String| File::options().read(true).write(true).open(path);
    let whole = open(node.to_owned()).unwrap();
    let boot = File::open(format!("{node}boot0")).unwrap();
    let before = mmc::boot_area(&mmc::read_ext_csd(&whole).unwrap()).unwrap();
    println!("boots from {before:?}");
    for area in [BootArea::Boot1, BootArea::Boot0, BootArea::User, before] {
        mmc::select_boot_area(&boot, &whole, area).unwrap();
        assert_eq!(
            mmc::boot_area(&mmc::read_ext_csd(&whole).unwrap()).unwrap(),
            area
        );
    }

    let name = Path::new(node).file_name().unwrap().to_str().unwrap();
    let force_ro = PathBuf::from(format!("/sys/class/block/{name}boot1/force_ro"));
    let write = || {
        open(format!("{node}boot1")).and_then(|f| {
            f.write_all_at(&[7; 512], 0)?;
            f.sync_all()
        })
    };
    assert!(write().is_err());
    let off = Unprotected::begin(&force_ro).unwrap();
    write().unwrap();
    off.end().unwrap();
    assert!(write().is_err());
}
