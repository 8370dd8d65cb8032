//! Promise: on raw flash only the range of the copy that is written changes, bad blocks are
//! skipped as U-Boot skips them, locks are as before, and two copies never share an erase block.

#![allow(
    clippy::disallowed_methods,
    reason = "test files need no power-cut safety"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation fails the test"
)]

mod common;

use common::flash_sim::Sim;
use common::{SIZE, image};
use std::io;
use std::path::Path;
use uboot_env::codec::Endian;
use uboot_env::config::{self, FlashLock};
use uboot_env::select::{CopyId, FlagScheme};
use uboot_env::storage::flash::{FlashCopy, Range};
use uboot_env::storage::mtd::{Mtd, MtdKind};
use uboot_env::storage::ubi::{UbiVolume, node_of};
use uboot_env::storage::{
    CopyError, Devices, EnvStorage, Media, NoRawDevices, OpenError, RawDevices, SysPaths,
};

fn one(sim: &Sim, range: Range) -> Media {
    let scheme = match sim.geometry().kind {
        MtdKind::Nand => FlagScheme::Incremental,
        _ => FlagScheme::Boolean,
    };
    Media::flash(
        scheme,
        FlashCopy::new(sim.boxed(), "/dev/mtd0", range, SIZE),
        None,
    )
}

fn cells(sim: &Sim, from: u64, len: u64) -> Vec<u8> {
    let (from, len) = (
        usize::try_from(from).unwrap(),
        usize::try_from(len).unwrap(),
    );
    sim.0.borrow().cells[from..from + len].to_vec()
}

fn new_image() -> Vec<u8> {
    image(&[("a", "1")], Some(1))
}

#[test]
fn bad_blocks_are_skipped_within_the_range() {
    let sim = Sim::new(MtdKind::Nand, 12);
    // 0x2000 bytes are four blocks of 0x800; the range is six, two of them bad.
    sim.0.borrow_mut().bad = vec![0x1800, 0x2800];
    let mut media = one(
        &sim,
        Range {
            start: 0x1000,
            end: 0x4000,
        },
    );
    media.write(CopyId::First, &new_image()).unwrap();
    assert_eq!(media.read(CopyId::First).unwrap(), new_image());
    assert_eq!(cells(&sim, 0x1000, 0x800), new_image()[..0x800]);
    assert_eq!(cells(&sim, 0x2000, 0x800), new_image()[0x800..0x1000]);
    assert_eq!(cells(&sim, 0x3000, 0x1000), new_image()[0x1000..]);
    for outside in [cells(&sim, 0, 0x1000), cells(&sim, 0x4000, 0x2000)] {
        assert!(outside.iter().all(|&b| b == 0xFF));
    }
}

#[test]
fn too_few_good_blocks_are_noticed_before_anything_is_erased() {
    let sim = Sim::new(MtdKind::Nand, 8);
    let mut media = one(
        &sim,
        Range {
            start: 0,
            end: 0x2800,
        },
    );
    media.write(CopyId::First, &new_image()).unwrap();
    sim.0.borrow_mut().bad = vec![0x0, 0x800];
    sim.0.borrow_mut().log.clear();
    let error = media.write(CopyId::First, &new_image()).unwrap_err();
    assert!(
        matches!(
            error,
            CopyError::TooFewGoodBlocks {
                good: 3,
                needed: 4,
                ..
            }
        ),
        "{error}"
    );
    assert!(media.read(CopyId::First).is_err());
    assert!(sim.0.borrow().log.is_empty(), "{:?}", sim.0.borrow().log);
}

#[test]
fn a_block_that_wears_out_is_replaced_by_a_spare_one() {
    let sim = Sim::new(MtdKind::Nand, 8);
    sim.0.borrow_mut().wearing = vec![0x800];
    let mut media = one(
        &sim,
        Range {
            start: 0,
            end: 0x2800,
        },
    );
    media.write(CopyId::First, &new_image()).unwrap();
    assert_eq!(media.read(CopyId::First).unwrap(), new_image());
    assert_eq!(sim.0.borrow().bad, [0x800]);
    // No spare is left now: the next one is an error and is not given up for ever.
    sim.0.borrow_mut().wearing = vec![0x1000];
    assert!(media.write(CopyId::First, &new_image()).is_err());
    assert_eq!(sim.0.borrow().bad, [0x800]);
}

#[test]
fn a_refusal_does_not_make_a_block_bad() {
    let sim = Sim::new(MtdKind::Nand, 8);
    // Locked, and lock calls are switched off: the chip refuses with EROFS.
    sim.0.borrow_mut().locked = vec![0];
    let range = Range {
        start: 0,
        end: 0x4000,
    };
    let copy = FlashCopy::new(sim.boxed(), "/dev/mtd0", range, SIZE).with_lock(FlashLock::Ignore);
    let mut media = Media::flash(FlagScheme::Incremental, copy, None);
    assert!(media.write(CopyId::First, &new_image()).is_err());
    assert!(sim.0.borrow().bad.is_empty());
}

/// libubootenv loses it.
#[test]
fn the_rest_of_the_last_erase_block_is_kept() {
    let sim = Sim::new(MtdKind::Nor, 4);
    let small = 0x1800;
    let range = Range {
        start: 0x1000,
        end: 0x3000,
    };
    let copy = FlashCopy::new(sim.boxed(), "/dev/mtd0", range, small);
    let mut media = Media::flash(FlagScheme::Boolean, copy, None);
    sim.clone().program(0x2800, &[0x42; 0x800]).unwrap();
    sim.clone().program(0x3000, &[0x43; 0x1000]).unwrap();
    media.write(CopyId::First, &vec![7; 0x1800]).unwrap();
    assert_eq!(cells(&sim, 0x1000, 0x1800), [7; 0x1800]);
    assert_eq!(cells(&sim, 0x2800, 0x800), [0x42; 0x800]);
    assert_eq!(cells(&sim, 0x3000, 0x1000), [0x43; 0x1000]);
    assert_eq!(
        sim.0
            .borrow()
            .log
            .iter()
            .filter(|l| l.starts_with("erase"))
            .count(),
        2
    );
}

#[test]
fn locked_blocks_are_unlocked_and_locked_again_and_others_left_alone() {
    let sim = Sim::new(MtdKind::Nor, 4);
    sim.0.borrow_mut().locked = vec![0x1000];
    let mut media = one(
        &sim,
        Range {
            start: 0,
            end: 0x2000,
        },
    );
    media.write(CopyId::First, &new_image()).unwrap();
    let calls = |sim: &Sim| {
        let log = sim.0.borrow().log.clone();
        log.into_iter()
            .filter(|l| l.contains("ocked"))
            .collect::<Vec<_>>()
    };
    assert_eq!(calls(&sim), ["Unlocked 0x1000", "Locked 0x1000"]);
    assert_eq!(sim.0.borrow().locked, [0x1000]);
    // Also when the write between them fails.
    sim.0.borrow_mut().wearing = vec![0x1000];
    assert!(media.write(CopyId::First, &new_image()).is_err());
    assert_eq!(sim.0.borrow().locked, [0x1000]);
    // `disable_lock`: no lock calls at all, and the chip's refusal is reported.
    sim.0.borrow_mut().log.clear();
    let range = Range {
        start: 0,
        end: 0x2000,
    };
    let copy = FlashCopy::new(sim.boxed(), "/dev/mtd0", range, SIZE).with_lock(FlashLock::Ignore);
    let mut media = Media::flash(FlagScheme::Boolean, copy, None);
    assert!(media.write(CopyId::First, &new_image()).is_err());
    assert!(calls(&sim).is_empty());
}

#[test]
fn obsoleting_clears_one_byte_and_erases_nothing() {
    let sim = Sim::new(MtdKind::Nor, 2);
    let mut media = one(
        &sim,
        Range {
            start: 0,
            end: 0x2000,
        },
    );
    media.write(CopyId::First, &new_image()).unwrap();
    sim.0.borrow_mut().log.clear();
    media.obsolete(CopyId::First).unwrap();
    let mut want = new_image();
    want[4] = 0;
    assert_eq!(media.read(CopyId::First).unwrap(), want);
    assert_eq!(sim.0.borrow().log, ["program 0x4+0x1"]);
}

#[test]
fn dataflash_is_written_without_an_erase() {
    let sim = Sim::new(MtdKind::DataFlash, 2);
    let mut media = one(
        &sim,
        Range {
            start: 0,
            end: 0x2000,
        },
    );
    media.write(CopyId::First, &new_image()).unwrap();
    media
        .write(CopyId::First, &image(&[("b", "2")], Some(0)))
        .unwrap();
    assert_eq!(
        media.read(CopyId::First).unwrap(),
        image(&[("b", "2")], Some(0))
    );
    assert!(sim.0.borrow().log.iter().all(|l| l.starts_with("program")));
}

/// `/dev/null` stands for the node; what answers is the simulation.
struct Lab(Sim);

impl RawDevices for Lab {
    fn mtd(&self, _node: &Path) -> io::Result<Box<dyn Mtd>> {
        Ok(self.0.boxed())
    }
    fn ubi(&self, node: &Path) -> io::Result<Box<dyn UbiVolume>> {
        NoRawDevices.ubi(node)
    }
}

fn open(sim: &Sim, lines: &str) -> Result<Devices, OpenError> {
    let env = config::parse("t", lines.as_bytes()).unwrap().remove(0);
    Devices::open(
        &env,
        Endian::Little,
        &SysPaths::default(),
        &Lab(sim.clone()),
    )
}

#[test]
fn copies_in_one_erase_block_are_refused() {
    // The sizes do not overlap, the 4 KiB blocks do.
    let sim = Sim::new(MtdKind::Nor, 8);
    let shared = open(&sim, "/dev/null 0 0x800 0x1000\n/dev/null 0x1000 0x800\n").map(drop);
    shared.unwrap();
    let e = open(&sim, "/dev/null 0 0x800\n/dev/null 0x800 0x800\n").unwrap_err();
    assert!(matches!(e, OpenError::Misplaced { .. }), "{e}");
    let e = open(&sim, "/dev/null 0 0x800 0x1000 2\n/dev/null 0x1000 0x800\n").unwrap_err();
    assert!(
        matches!(
            e,
            OpenError::Shared {
                unit: "erase block",
                ..
            }
        ),
        "{e}"
    );
}

#[test]
fn nand_without_a_stated_range_uses_the_blocks_up_to_the_other_copy() {
    let sim = Sim::new(MtdKind::Nand, 16);
    sim.0.borrow_mut().bad = vec![0x800, 0x5000];
    let mut devices = open(&sim, "/dev/null 0 0x2000\n/dev/null 0x4000 0x2000\n").unwrap();
    for (copy, flags) in [(CopyId::First, 1), (CopyId::Second, 2)] {
        devices
            .write(copy, &image(&[("a", "1")], Some(flags)))
            .unwrap();
    }
    assert_eq!(devices.read(CopyId::First).unwrap(), new_image());
    assert_eq!(devices.shape().scheme, FlagScheme::Incremental);
    let stated = open(
        &sim,
        "/dev/null 0 0x2000 0x800 4\n/dev/null 0x4000 0x2000 0x800 4\n",
    );
    let e = stated.unwrap().read(CopyId::First).unwrap_err();
    assert!(
        matches!(
            e,
            CopyError::TooFewGoodBlocks {
                good: 3,
                needed: 4,
                ..
            }
        ),
        "{e}"
    );
}

#[test]
fn ranges_that_do_not_fit_the_device_are_refused() {
    let sim = Sim::new(MtdKind::Nor, 4);
    for line in [
        "/dev/null 0x3000 0x2000",
        "/dev/null 0x800 0x1000",
        "/dev/null 0 0x1000 0x1800",
        "/dev/null 0 0x1000 0x1000 5",
        "/dev/null -0x5000 0x1000",
        "/dev/null 0x7ffffffffffff000 0x1000",
    ] {
        let e = open(&sim, line).unwrap_err();
        assert!(matches!(e, OpenError::Misplaced { .. }), "{line}: {e}");
    }
    open(&sim, "/dev/null -0x2000 0x2000").unwrap();
}

#[test]
fn a_build_without_raw_flash_says_so() {
    let env = config::parse("t", b"/dev/null 0 0x1000").unwrap().remove(0);
    let e = Devices::open(&env, Endian::Little, &SysPaths::default(), &NoRawDevices).unwrap_err();
    let chain = anyhow::Error::from(e);
    assert!(
        format!("{chain:#}").contains("this build cannot reach raw flash"),
        "{chain:#}"
    );
}

#[test]
fn ubi_volumes_are_found_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("ubi0/mtd_num", "3\n");
    put("ubi1/mtd_num", "7\n");
    put("ubi0_0/name", "rootfs\n");
    put("ubi0_5/name", "env\n");
    put("ubi1_2/name", "env\n");
    put("ubi10_1/name", "other\n");
    let node = |path: &str| node_of(Path::new(path), dir.path()).map(|p| p.display().to_string());
    assert_eq!(node("/dev/ubi0_1").as_deref(), Some("/dev/ubi0_1"));
    assert_eq!(node("/dev/ubi0:env").as_deref(), Some("/dev/ubi0_5"));
    assert_eq!(node("/dev/mtd7:env").as_deref(), Some("/dev/ubi1_2"));
    for none in [
        "/dev/ubi0:none",
        "/dev/ubi1:other",
        "/dev/mtd9:env",
        "/dev/ubi2:env",
    ] {
        assert_eq!(node(none), None, "{none}");
    }
}
