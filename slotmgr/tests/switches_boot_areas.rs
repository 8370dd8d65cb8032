//! Bootloaders in halves of a region (`boot-gpt-switch`, `boot-mbr-switch`, `boot-raw-fallback`):
//! on real block devices with `sgdisk` and `sfdisk` as judges, and in the power-cut machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use bundle_format::VerifiedBundle;
use slotmgr::slot::{Layout, Region, Slot, SlotKind, SlotName};
use slotmgr::storage::Area;
use slotmgr::storage::record::RecordingDisks;
use slotmgr::storage::sim::{Keep, World};
use support::cuts::{Tried, cut_everywhere, keeps};
use support::loops::{Loop, run};
use support::rig::stderr;
use support::table_disk::{self as model, Part, Shape};
use support::{
    BOTH_GOOD, FACTORY, bundle_with, environment, grub_model, image, install_into, layout, policy,
    slot_id, world,
};

const MIB: u64 = 1 << 20;
const DISK: u64 = 24 * MIB;

fn head(version: &str) -> String {
    format!("[update]\ncompatible=board\nversion={version}\n[bundle]\nformat=verity\n")
}

/// A board of files, but for the disk that its boot ROM reads.
struct Board {
    dir: tempfile::TempDir,
    disk: Loop,
}

impl Board {
    fn new(kind: &str, disk: impl FnOnce(&str)) -> Board {
        let dir = tempfile::tempdir().unwrap();
        let boot = Loop::new(dir.path(), "boot.disk", DISK);
        disk(boot.text());
        for slot in ["slot-a", "slot-b"] {
            fs_err::write(dir.path().join(slot), vec![0xee; support::SLOT]).unwrap();
        }
        let conf = format!(
            "[system]\ncompatible=board\nbootloader=grub\ngrubenv=grubenv\n\
             data-directory=data\n[keyring]\npath=keyring.pem\n\
             [slot.rootfs.0]\ndevice=slot-a\nbootname=A\n\
             [slot.rootfs.1]\ndevice=slot-b\nbootname=B\n\
             [slot.bootloader.0]\ndevice={}\ntype={kind}\nregion-start=1M\nregion-size=8M\n",
            boot.text()
        );
        fs_err::write(dir.path().join("system.conf"), conf).unwrap();
        fs_err::write(dir.path().join("grubenv"), environment(FACTORY)).unwrap();
        Board { dir, disk: boot }
    }

    fn install(&self, version: &str, bootloader: &[u8]) -> Output {
        let manifest = head(version)
            + "[image.rootfs]\nfilename=root.img\n[image.bootloader]\nfilename=boot.img\n";
        let files: [(&str, &[u8]); 2] = [("root.img", &image(9)), ("boot.img", bootloader)];
        self.install_bundle(&manifest, &files)
    }

    fn install_bundle(&self, manifest: &str, files: &[(&str, &[u8])]) -> Output {
        let (bundle, keyring) = bundle_with(self.dir.path(), manifest, files);
        fs_err::copy(keyring, self.dir.path().join("keyring.pem")).unwrap();
        Command::new(env!("CARGO_BIN_EXE_slotmgr"))
            .arg("--conf")
            .arg(self.dir.path().join("system.conf"))
            .args(["--override-boot-slot", "A", "install"])
            .arg(bundle)
            .output()
            .unwrap()
    }

    fn installs(&self, version: &str, bootloader: &[u8]) {
        let output = self.install(version, bootloader);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    fn bytes(&self) -> Vec<u8> {
        fs_err::read(&self.disk.node).unwrap()
    }
}

fn at(mib: u64) -> usize {
    usize::try_from(mib * MIB).unwrap()
}

/// The image, and zeroes to the end of the half.
fn half(image: &[u8]) -> Vec<u8> {
    let mut half = image.to_vec();
    half.resize(at(4), 0);
    half
}

fn gpt(disk: &str) {
    run(
        "sgdisk",
        &["-n", "1:1M:+4M", "-n", "2:12M:+4M", "-c", "1:boot", disk],
    );
}

fn mbr(disk: &str) {
    let mut child = Command::new("sfdisk")
        .args(["--no-reread", "--no-tell-kernel", "--quiet", disk])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let script = b"start=2048, size=8192, type=c\nstart=24576, size=8192, type=83\n";
    child.stdin.take().unwrap().write_all(script).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Where partition 1 starts, says `sfdisk`.
fn first_partition(board: &Board) -> u64 {
    let dump = run("sfdisk", &["--dump", board.disk.text()]);
    let line = dump.lines().find(|line| line.contains("start=")).unwrap();
    let start = line.split("start=").nth(1).unwrap();
    let (start, rest) = start.split_once(',').unwrap();
    let size = rest.trim().strip_prefix("size=").unwrap().split(',').next();
    assert_eq!(size.unwrap().trim(), "8192", "{dump}");
    start.trim().parse::<u64>().unwrap() * 512
}

#[test]
fn a_gpt_and_an_mbr_are_switched_there_and_back() {
    for (kind, table) in [
        ("boot-gpt-switch", gpt as fn(&str)),
        ("boot-mbr-switch", mbr),
    ] {
        let board = Board::new(kind, table);
        let before = board.bytes();
        for (version, seed, start) in [("2", 2, 5), ("3", 3, 1), ("4", 4, 5)] {
            board.installs(version, &image(seed));
            assert_eq!(first_partition(&board), start * MIB, "{kind} {version}");
            let bytes = board.bytes();
            assert!(
                bytes[at(start)..at(start + 4)] == half(&image(seed)),
                "{kind} {version}"
            );
            assert!(
                bytes[at(9)..at(23)] == before[at(9)..at(23)],
                "beyond the region"
            );
            if kind == "boot-gpt-switch" {
                let verdict = run("sgdisk", &["-v", board.disk.text()]);
                assert!(verdict.contains("No problems found"), "{verdict}");
                let shown = run("sgdisk", &["-i", "1", board.disk.text()]);
                assert!(shown.contains("'boot'"), "its name is kept: {shown}");
            }
            let verify = run("sfdisk", &["--verify", board.disk.text()]);
            assert!(!verify.contains("overlap"), "{verify}");
        }
    }
}

#[test]
fn what_system_conf_describes_must_be_what_the_disk_is() {
    let overlap: fn(&str) = |disk| {
        run("sgdisk", &["-n", "1:1M:+4M", "-n", "2:6M:+1M", disk]);
    };
    let elsewhere: fn(&str) = |disk| {
        run("sgdisk", &["-n", "1:12M:+4M", disk]);
    };
    type Case = (&'static str, fn(&str), &'static str);
    let cases: [Case; 6] = [
        ("boot-gpt-switch", overlap, "overlap"),
        (
            "boot-gpt-switch",
            elsewhere,
            "not in one half of the region",
        ),
        ("boot-gpt-switch", mbr, "ordinary MBR"),
        ("boot-mbr-switch", gpt, "not an MBR"),
        ("boot-raw-fallback", gpt, "lies over partition 1"),
        ("boot-raw-fallback", mbr, "lies over partition 1"),
    ];
    for (kind, table, expected) in cases {
        let board = Board::new(kind, table);
        let (before, env) = (
            board.bytes(),
            fs_err::read(board.dir.path().join("grubenv")).unwrap(),
        );
        let output = board.install("2", &image(2));
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains(expected),
            "{kind}: {}",
            stderr(&output)
        );
        assert!(board.bytes() == before, "{kind}: nothing was written");
        assert_eq!(
            fs_err::read(board.dir.path().join("grubenv")).unwrap(),
            env,
            "{kind}"
        );
    }
}

#[test]
fn both_halves_of_a_raw_fallback_get_the_image() {
    let board = Board::new("boot-raw-fallback", |_| ());
    for (version, seed) in [("2", 2), ("3", 3)] {
        board.installs(version, &image(seed));
        let bytes = board.bytes();
        assert!(bytes[at(1)..at(5)] == half(&image(seed)), "{version}");
        assert!(bytes[at(5)..at(9)] == half(&image(seed)), "{version}");
        assert!(bytes[..at(1)].iter().all(|byte| *byte == 0));
    }
    // Smaller than a header.
    board.installs("4", b"tiny");
    assert!(board.bytes()[at(1)..at(5)] == half(b"tiny"));
}

/// RAUC's variables for the hooks of such slots.
#[test]
fn hooks_are_told_which_half_it_is() {
    for (kind, table, expected) in [
        (
            "boot-gpt-switch",
            gpt as fn(&str),
            "PARTITION_ACTIVATING=1\nPARTITION_SIZE=4194304\nPARTITION_START=5242880\n",
        ),
        (
            "boot-raw-fallback",
            |_| (),
            "REGION_SIZE=8388608\nREGION_START=1048576\n",
        ),
    ] {
        let board = Board::new(kind, table);
        let told = board.dir.path().join("told");
        let program = format!(
            "#!/bin/sh\nenv | sed -n s/^RAUC_BOOT_//p | LC_ALL=C sort >{}\n",
            told.display()
        );
        let manifest = head("2")
            + "[hooks]\nfilename=hook\n[image.rootfs]\nfilename=root.img\n\
               [image.bootloader]\nfilename=boot.img\nhooks=post-install\n";
        let files: [(&str, &[u8]); 3] = [
            ("root.img", &image(9)),
            ("boot.img", &image(2)),
            ("hook", program.as_bytes()),
        ];
        let output = board.install_bundle(&manifest, &files);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(fs_err::read_to_string(told).unwrap(), expected);
    }
}

#[test]
fn an_image_that_is_larger_than_its_half() {
    let board = Board::new("boot-gpt-switch", gpt);
    let output = board.install("2", &vec![1; at(4) + 1]);
    assert!(
        stderr(&output).contains("too small by 1 bytes"),
        "{}",
        stderr(&output)
    );
}

const OLD: u8 = 1;
const NEW: u8 = 3;

/// The disk of the power-cut machine.
const SHAPE: Shape = Shape {
    sectors: 400,
    ..Shape::S512
};

/// Bytes of the region and of one of its halves.
const REGION: Region = Region {
    start: 40 * 512,
    size: 2 * HALF,
};
const HALF: u64 = 100 * 512;

fn machine(kind: SlotKind) -> Layout {
    let mut slots: Vec<Slot> = layout().iter().map(|(_, slot)| slot.clone()).collect();
    let mut boot = Slot {
        name: SlotName::parse("boot.0").unwrap(),
        device: "/dev/boot".into(),
        kind,
        boot_name: None,
        ..slots[0].clone()
    };
    boot.options.region = Some(REGION);
    slots.push(boot);
    Layout::new(slots).unwrap()
}

fn update() -> VerifiedBundle<Arc<Vec<u8>>> {
    let dir = tempfile::tempdir().unwrap();
    let manifest =
        head("3") + "[image.boot]\nfilename=boot.img\n[image.rootfs]\nfilename=root.img\n";
    let files: [(&str, &[u8]); 2] = [("boot.img", &image(NEW)), ("root.img", &image(NEW))];
    let (path, keyring) = bundle_with(dir.path(), &manifest, &files);
    support::verified(&path, &keyring)
}

/// The disk with the old bootloader in the first half, and an older one in the second.
fn disk_of(kind: SlotKind) -> Vec<u8> {
    let sectors = usize::try_from(SHAPE.sectors).unwrap();
    let (start, half) = (REGION.start / 512, HALF / 512);
    let mut bytes = match kind {
        SlotKind::BootGptSwitch => {
            let part = |number, first, last| Part {
                number,
                kind: 0x40,
                first,
                last,
                attributes: 4,
            };
            let parts = [
                part(1, start, start + half - 1),
                part(2, start + 2 * half, start + 2 * half + 9),
            ];
            model::disk(&SHAPE, &parts)
        }
        SlotKind::BootMbrSwitch => {
            let mut bytes = vec![0xab; sectors * 512];
            bytes[446..510].fill(0);
            bytes[446 + 4] = 0x0c;
            bytes[446 + 8..446 + 12].copy_from_slice(&u32::try_from(start).unwrap().to_le_bytes());
            bytes[446 + 12..446 + 16].copy_from_slice(&u32::try_from(half).unwrap().to_le_bytes());
            bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
            bytes
        }
        _ => vec![0; sectors * 512],
    };
    let second = if kind == SlotKind::BootRawFallback {
        OLD
    } else {
        2
    };
    for (seed, at) in [(OLD, REGION.start), (second, REGION.start + HALF)] {
        let at = usize::try_from(at).unwrap();
        bytes[at..at + support::IMAGE].copy_from_slice(&image(seed));
    }
    bytes
}

/// Where the ROM finds what it starts.
fn rom(kind: SlotKind, bytes: &[u8]) -> Option<u64> {
    match kind {
        SlotKind::BootGptSwitch => {
            let parts = model::firmware(bytes, 512)?;
            Some(parts.iter().find(|part| part.number == 1)?.first * 512)
        }
        SlotKind::BootMbrSwitch => {
            let first = bytes[446 + 8..446 + 12].try_into().ok()?;
            Some(u64::from(u32::from_le_bytes(first)) * 512)
        }
        _ => [REGION.start, REGION.start + HALF]
            .into_iter()
            .find(|start| {
                let start = usize::try_from(*start).unwrap();
                bytes[start..start + 512] != [0; 512]
            }),
    }
}

/// What the ROM starts.
fn started(kind: SlotKind, bytes: &[u8]) -> Option<u8> {
    let start = usize::try_from(rom(kind, bytes)?).unwrap();
    let found = &bytes[start..start + support::IMAGE];
    [OLD, NEW].into_iter().find(|seed| found == image(*seed))
}

fn start(kind: SlotKind, disk: Vec<u8>) -> World {
    let world = world(&image(OLD), &image(2), BOTH_GOOD);
    world.add(Area::Slot(slot_id(&machine(kind), "boot.0")), disk);
    world
}

const KINDS: [SlotKind; 3] = [
    SlotKind::BootGptSwitch,
    SlotKind::BootMbrSwitch,
    SlotKind::BootRawFallback,
];

/// At every cut the ROM finds the old bootloader or the new one, whole, and so does GRUB the
/// system; and the next installation finishes.
#[test]
fn the_power_fails_at_every_operation() {
    let bundle = update();
    for kind in KINDS {
        let layout = machine(kind);
        let area = Area::Slot(slot_id(&layout, "boot.0"));
        let install = |world: &mut World| install_into(&layout, world, "A", &bundle, &policy());
        let whole = start(kind, disk_of(kind));
        let _armed = install(&mut whole.clone()).unwrap();
        assert_eq!(started(kind, &whole.current(area)), Some(NEW), "{kind}");
        let mut tried = Tried::default();
        let mut seen = std::collections::HashSet::new();
        for cut in 0..whole.operations() {
            let mut world = start(kind, disk_of(kind));
            world.cut_at(cut);
            let _ = install(&mut world);
            assert!(world.is_off(), "operation {cut} was not reached");
            tried.cuts += 1;
            for keep in keeps(&world) {
                let found = world.power_on(keep);
                tried.states += 1;
                let disk = found.current(area);
                assert!(
                    started(kind, &disk).is_some(),
                    "{kind}: cut {cut}, {keep:?}"
                );
                let boot = grub_model::boot(&found).unwrap();
                assert!(boot.by_order, "{kind}: {boot:?}");
                if boot.name == "A" && seen.insert(disk) {
                    tried.recoveries += 1;
                    let mut next = found.power_on(Keep::None);
                    let _armed = install(&mut next).unwrap();
                    assert_eq!(started(kind, &next.current(area)), Some(NEW));
                }
            }
        }
        tried.report(&format!("{kind}"));
    }
}

/// Every third cut, and then the next installation is cut at every operation too.
#[test]
fn the_power_fails_again_in_the_next_installation() {
    let bundle = update();
    for kind in KINDS {
        let layout = machine(kind);
        let area = Area::Slot(slot_id(&layout, "boot.0"));
        let install = |world: &World| {
            drop(install_into(
                &layout,
                &mut world.clone(),
                "A",
                &bundle,
                &policy(),
            ));
        };
        let whole = start(kind, disk_of(kind));
        install(&whole);
        let mut tried = Tried::default();
        for first in (0..whole.operations()).step_by(3) {
            let world = start(kind, disk_of(kind));
            world.cut_at(first);
            install(&world);
            let found = world.power_on(Keep::Random(first));
            if grub_model::boot(&found.power_on(Keep::None)).unwrap().name == "B" {
                continue;
            }
            tried.recoveries += 1;
            let begin = || found.power_on(Keep::None);
            cut_everywhere(&begin, &install, &mut tried, &mut |again, (cut, keep)| {
                let disk = again.current(area);
                assert!(
                    started(kind, &disk).is_some(),
                    "{kind}: {first}, {cut}, {keep:?}"
                );
                assert!(grub_model::boot(again).unwrap().by_order, "{kind}");
            });
        }
        tried.report(&format!("{kind}, a second cut in the recovery"));
    }
}

/// The first half has no header: the ROM started the second, and that one is kept to the last.
#[test]
fn the_half_that_was_started_is_written_last() {
    let kind = SlotKind::BootRawFallback;
    let (layout, bundle) = (machine(kind), update());
    let area = Area::Slot(slot_id(&layout, "boot.0"));
    for blank in [0, 0xff] {
        let mut disk = disk_of(kind);
        let first = usize::try_from(REGION.start).unwrap();
        disk[first..first + 512].fill(blank);
        let install = |world: &mut World| install_into(&layout, world, "A", &bundle, &policy());
        let whole = start(kind, disk.clone());
        let _armed = install(&mut whole.clone()).unwrap();
        for cut in 0..whole.operations() {
            let mut world = start(kind, disk.clone());
            world.cut_at(cut);
            let _ = install(&mut world);
            for keep in keeps(&world) {
                let mut bytes = world.power_on(keep).current(area);
                if bytes[first..first + 512] == [0xff; 512] {
                    bytes[first..first + 512].fill(0);
                }
                assert!(started(kind, &bytes).is_some(), "cut {cut}, {keep:?}");
            }
        }
    }
}

fn golden(kind: SlotKind) -> String {
    let mut world = start(kind, disk_of(kind));
    let mut disks = RecordingDisks::new(&mut world);
    let log = disks.log();
    let mut policy = policy();
    policy.chunk = 1 << 20;
    let _armed = install_into(&machine(kind), &mut disks, "A", &update(), &policy).unwrap();
    let list = log.render();
    let boot: Vec<&str> = list
        .lines()
        .filter(|line| !line.contains("record"))
        .collect();
    boot.join("\n")
}

#[test]
fn the_order_of_writes_with_a_gpt() {
    insta::assert_snapshot!(golden(SlotKind::BootGptSwitch), @r"
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    write     slot#2 @71680 +51200
    write     slot#1 @0 +50000
    sync      slot#2
    sync      slot#1
    read-back slot#2
    read-back slot#1
    read-back slot#2
    write     slot#2 @187904 +512
    write     slot#2 @204288 +512
    sync      slot#2
    read-back slot#2
    write     slot#2 @512 +1024
    sync      slot#2
    read-back slot#2
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    ");
}

#[test]
fn the_order_of_writes_with_an_mbr() {
    insta::assert_snapshot!(golden(SlotKind::BootMbrSwitch), @r"
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    write     slot#2 @71680 +51200
    write     slot#1 @0 +50000
    sync      slot#2
    sync      slot#1
    read-back slot#2
    read-back slot#1
    read-back slot#2
    write     slot#2 @0 +512
    sync      slot#2
    read-back slot#2
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    ");
}

#[test]
fn the_order_of_writes_with_a_fallback() {
    insta::assert_snapshot!(golden(SlotKind::BootRawFallback), @r"
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    write     slot#2 @71680 +512
    sync      slot#2
    read-back slot#2
    write     slot#2 @72192 +49488
    write     slot#1 @0 +50000
    sync      slot#2
    sync      slot#1
    read-back slot#2
    read-back slot#1
    write     slot#2 @71680 +512
    sync      slot#2
    read-back slot#2
    write     slot#2 @20480 +512
    sync      slot#2
    read-back slot#2
    write     slot#2 @20992 +49488
    sync      slot#2
    read-back slot#2
    write     slot#2 @20480 +512
    sync      slot#2
    read-back slot#2
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    ");
}
