//! U-Boot itself, on an emulated ARM board, with the boot script that slotmgr ships: what slotmgr
//! writes it reads, what it writes slotmgr reads, and each time the right slot starts.
//!
//! Ignored by a plain `cargo test`, as all tests here that boot machines; `cargo xtask test` runs
//! them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on may panic

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use qemu_tests::disk::{Contents, Disk, SLOT_B};
use qemu_tests::machine::{UBOOT_LIMIT, new_dir};
use qemu_tests::programs;
use qemu_tests::uboot::{self, CARD_COPIES, CARD_COPY_SIZE, DEBIAN_BUILD, FLASH_SIZE, Setup};
use qemu_tests::workspace::Workspace;
use xtask::command::captured;

/// What all tests share: made once.
struct Parts {
    workspace: Workspace,
    dir: PathBuf,
    slotmgr: PathBuf,
    redundant: PathBuf,
    slot: PathBuf,
}

fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let workspace = Workspace::of_tests();
        let dir = workspace.demo_dir().join("uboot-tests");
        let log = workspace.log("u-boot.log");
        fs_err::create_dir_all(&dir).unwrap();
        Parts {
            redundant: workspace
                .with_debian(|debian| uboot::redundant_build(&dir, debian, &log))
                .unwrap(),
            slotmgr: programs::guest_slotmgr(&workspace).unwrap(),
            slot: uboot::slot_image(&dir).unwrap(),
            workspace,
            dir,
        }
    })
}

/// Where the environment is kept, and so which U-Boot, and which `fw_env.config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// Two copies on an SD card, by `saveenv`.
    Card,
    /// One sector of the disk, by `env export` and `virtio write`.
    Sector,
    /// One large copy in flash, by `saveenv`: Debian's build as it is.
    Flash,
}

/// Where [`Keeping::Sector`] has it.
const SECTOR_AT: u64 = 0x8000;
const SECTOR_SIZE: u64 = 0x200;
const FLASH_COPY_SIZE: u64 = 0x40000;

/// A blank of `bootcmd` fits for all: Debian's default looks at every bus first.
const BOOTCMD: &str = "bootdelay=0\nkernel_addr_r=0x40400000\nloadaddr=0x40200000\n\
    bootcmd=virtio scan; setenv devtype virtio; setenv devnum 0; \
    load virtio 0:1 0x40300000 boot.scr && source 0x40300000\n";
const FACTORY: &str = "BOOT_ORDER=A B\nBOOT_A_LEFT=3\nBOOT_A_GOOD=1\nBOOT_B_LEFT=0\n";

/// The part for the integrator: a "kernel" that is only loaded.
const START: &str = "setenv sm_try 'load ${devtype} ${devnum}:${sm_part} ${kernel_addr_r} /boot/Image && \
    echo \"slotmgr-uboot: slot ${sm_slot}, starting its kernel\" && sleep 3600'\n\
    sm_part_A=2\nsm_part_B=3\n";

impl Keeping {
    /// How the script saves a try.
    fn save(self) -> &'static str {
        match self {
            Keeping::Card | Keeping::Flash => "setenv sm_save saveenv\n",
            Keeping::Sector => {
                "setenv sm_vars BOOT_ORDER BOOT_A_LEFT BOOT_A_GOOD BOOT_B_LEFT BOOT_B_GOOD\n\
                 setenv sm_save 'env export -c -s 0x200 ${loadaddr} ${sm_vars} && virtio write ${loadaddr} 0x40 1'\n\
                 virtio read ${loadaddr} 0x40 1 && env import -d -c ${loadaddr} 0x200 ${sm_vars}\n"
            }
        }
    }
}

/// A board, and slotmgr as it would run on it.
struct Board {
    dir: PathBuf,
    keeping: Keeping,
    disk: Disk,
    boots: u32,
}

impl Board {
    fn new(name: &str, keeping: Keeping, variables: &str) -> Self {
        Self::with_save(name, keeping, variables, keeping.save())
    }

    fn with_save(name: &str, keeping: Keeping, variables: &str, save: &str) -> Self {
        let parts = parts();
        let dir = new_dir(&parts.dir.join(name)).unwrap();
        let script = uboot::boot_script(&parts.workspace, &format!("{START}{save}"), &dir).unwrap();
        let slot = Some(parts.slot.as_path());
        let contents = Contents {
            esp: &[("boot.scr", &script)],
            slot_a: slot,
            slot_b: slot,
        };
        let disk = Disk::create(&dir.join("disk.img"), &contents).unwrap();
        let board = Self {
            dir,
            keeping,
            disk,
            boots: 0,
        };
        board.configure();
        board.make_environment(variables);
        board
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes what slotmgr and the peer need to know.
    fn configure(&self) {
        let place = |file: &str, at: u64, size: u64| {
            format!("{} {at:#x} {size:#x}\n", self.path(file).display())
        };
        let config = match self.keeping {
            Keeping::Card => CARD_COPIES
                .map(|at| place("card.img", at, CARD_COPY_SIZE))
                .concat(),
            Keeping::Sector => place("disk.img", SECTOR_AT, SECTOR_SIZE),
            Keeping::Flash => place("flash.img", 0, FLASH_COPY_SIZE),
        };
        fs_err::write(self.path("fw_env.config"), config).unwrap();
        for slot in ["slot-a", "slot-b"] {
            fs_err::write(self.path(slot), [0; 4096]).unwrap();
        }
        let conf = "[system]\ncompatible=board\nbootloader=uboot\n[keyring]\npath=none.pem\n\
                    [slot.rootfs.0]\ndevice=slot-a\nbootname=A\n\
                    [slot.rootfs.1]\ndevice=slot-b\nbootname=B\n";
        fs_err::write(self.path("system.conf"), conf).unwrap();
        fs_err::write(self.path("slotmgr.toml"), "[trial]\ntries = 2\n").unwrap();
    }

    /// The first environment is `mkenvimage`'s, as at a factory.
    fn make_environment(&self, variables: &str) {
        let (medium, at, size) = match self.keeping {
            Keeping::Card => ("card.img", CARD_COPIES[0], CARD_COPY_SIZE),
            Keeping::Sector => ("disk.img", SECTOR_AT, SECTOR_SIZE),
            Keeping::Flash => ("flash.img", 0, FLASH_COPY_SIZE),
        };
        if self.keeping != Keeping::Sector {
            let file = fs_err::File::create(self.path(medium)).unwrap();
            file.set_len(FLASH_SIZE).unwrap();
        }
        if self.keeping == Keeping::Sector {
            // The large environment with `bootcmd` comes from flash, as on a board of which only
            // the defaults are used.
            fs_err::File::create(self.path("flash.img"))
                .unwrap()
                .set_len(FLASH_SIZE)
                .unwrap();
            self.write_image("flash.img", (0, FLASH_COPY_SIZE), BOOTCMD);
            self.write_image(medium, (at, size), variables);
        } else {
            self.write_image(medium, (at, size), &format!("{BOOTCMD}{variables}"));
        }
    }

    fn write_image(&self, medium: &str, (at, size): (u64, u64), variables: &str) {
        let (text, image) = (self.path("env.txt"), self.path("env.bin"));
        fs_err::write(&text, variables).unwrap();
        let mut make = Command::new("mkenvimage");
        if self.keeping == Keeping::Card {
            make.arg("-r");
        }
        make.args(["-s", &format!("{size:#x}"), "-o"])
            .args([&image, &text]);
        captured(&mut make).unwrap();
        self.overwrite(medium, at, &fs_err::read(image).unwrap());
    }

    fn overwrite(&self, medium: &str, at: u64, bytes: &[u8]) {
        let mut options = fs_err::OpenOptions::new();
        let file = options.write(true).open(self.path(medium)).unwrap();
        file.file().write_all_at(bytes, at).unwrap();
    }

    /// Turns the board on until one of its slots starts, and takes the power away. Returns what
    /// the script said, without the beginning that all its lines have.
    fn boot(&mut self) -> Vec<String> {
        self.boots += 1;
        let log = self.path(&format!("console-{}.log", self.boots));
        let (card, flash) = (self.path("card.img"), self.path("flash.img"));
        let setup = Setup {
            firmware: match self.keeping {
                Keeping::Card => &parts().redundant,
                Keeping::Sector | Keeping::Flash => Path::new(DEBIAN_BUILD),
            },
            disk: &self.disk.path,
            card: (self.keeping == Keeping::Card).then_some(card.as_path()),
            flash: (self.keeping != Keeping::Card).then_some(flash.as_path()),
            log: &log,
        };
        let mut machine = uboot::start(&setup, Box::new(|_| {})).unwrap();
        machine
            .console
            .wait_for(&["starting its kernel"], UBOOT_LIMIT)
            .unwrap();
        let said = machine
            .console
            .history()
            .iter()
            .filter_map(|line| line.strip_prefix("slotmgr-uboot: "))
            .map(str::to_owned)
            .collect();
        machine.cut_power().unwrap();
        said
    }

    fn run_on(&self, slot: &str, arguments: &[&str]) -> Output {
        Command::new(&parts().slotmgr)
            .args(["--override-boot-slot", slot, "--conf"])
            .arg(self.path("system.conf"))
            .arg("--fw-env-config")
            .arg(self.path("fw_env.config"))
            .args(arguments)
            .output()
            .unwrap()
    }

    fn mark(&self, running: &str, state: &str, slot: &str) {
        let output = self.run_on(running, &["mark", state, slot]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// Which slot slotmgr says is started next.
    fn next(&self) -> String {
        let output = self.run_on("A", &["status"]);
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.contains("next"));
        line.unwrap_or(&said).to_owned()
    }

    /// The variables of slotmgr, as Debian's `fw_printenv` reads them.
    fn peer(&self) -> String {
        let mut print = Command::new("fw_printenv");
        print.arg("-c").arg(self.path("fw_env.config"));
        let text = captured(&mut print).unwrap();
        let mut ours: Vec<&str> = text.lines().filter(|l| l.starts_with("BOOT_")).collect();
        ours.sort_unstable();
        ours.join(",")
    }

    /// The bytes of the environment, with all copies.
    fn bytes(&self) -> Vec<u8> {
        let (medium, at, len) = match self.keeping {
            Keeping::Card => ("card.img", CARD_COPIES[0], CARD_COPY_SIZE * 2),
            Keeping::Sector => ("disk.img", SECTOR_AT, SECTOR_SIZE),
            Keeping::Flash => ("flash.img", 0, FLASH_COPY_SIZE),
        };
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        let file = fs_err::File::open(self.path(medium)).unwrap();
        file.file().read_exact_at(&mut bytes, at).unwrap();
        bytes
    }
}

/// The life of an update, with U-Boot and slotmgr taking turns on the same bytes.
fn life_of_an_update(name: &str, keeping: Keeping) {
    let mut board = Board::new(name, keeping, FACTORY);
    let confirmed = |slot: &str| {
        [
            format!("slot {slot}, confirmed"),
            format!("slot {slot}, starting its kernel"),
        ]
    };
    let before = board.bytes();
    assert_eq!(board.boot(), confirmed("A"));
    assert!(
        board.bytes() == before,
        "a confirmed slot starts without any write"
    );

    board.mark("A", "active", "B");
    let armed = "BOOT_A_GOOD=1,BOOT_A_LEFT=3,BOOT_B_LEFT=2,BOOT_ORDER=B A";
    assert_eq!(board.peer(), armed);
    for left in ["1", "0"] {
        let said = [
            format!("slot B, tries left {left}"),
            "slot B, starting its kernel".to_owned(),
        ];
        assert_eq!(board.boot(), said);
        assert_eq!(
            board.peer(),
            armed.replace("B_LEFT=2", &format!("B_LEFT={left}"))
        );
    }
    assert!(board.next().contains("(A)"), "{}", board.next());
    let returned = [
        &["slot B has no tries left".to_owned()][..],
        &confirmed("A"),
    ]
    .concat();
    assert_eq!(board.boot(), returned);

    board.mark("A", "active", "B");
    assert!(board.next().contains("(B)"), "{}", board.next());
    assert_eq!(board.boot()[0], "slot B, tries left 1");
    board.mark("B", "good", "booted");
    let before = board.bytes();
    assert_eq!(board.boot(), confirmed("B"));
    assert!(board.bytes() == before);
    let good = "BOOT_A_GOOD=1,BOOT_A_LEFT=3,BOOT_B_GOOD=1,BOOT_B_LEFT=3,BOOT_ORDER=B A";
    assert_eq!(board.peer(), good);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn two_copies_on_a_card() {
    life_of_an_update("card", Keeping::Card);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn one_sector_of_the_disk() {
    life_of_an_update("sector", Keeping::Sector);
}

/// After the loss of either copy slotmgr and U-Boot go on with the same other one.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn a_lost_copy_is_seen_by_both_in_the_same_way() {
    for (lost, at) in (0..).zip(CARD_COPIES) {
        let mut board = Board::new(&format!("lost-{lost}"), Keeping::Card, FACTORY);
        // Both copies are valid after this: the factory's, and slotmgr's.
        board.mark("A", "active", "B");
        board.overwrite("card.img", at, &[0; 4096]);
        let expected = board.next();
        let started = board.boot().pop().unwrap();
        let slot = if expected.contains("(B)") { "B" } else { "A" };
        assert_eq!(
            started,
            format!("slot {slot}, starting its kernel"),
            "{expected}"
        );
        // The first write after that makes two good copies again.
        board.mark("A", "bad", "B");
        assert_eq!(board.boot().pop().unwrap(), "slot A, starting its kernel");
    }
}

/// Debian's build keeps one large copy, which a power cut can tear: slotmgr reads it, and refuses
/// to write it. Other tools do write it.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn one_large_copy_is_read_and_not_written() {
    let armed = FACTORY
        .replace("A B", "B A")
        .replace("B_LEFT=0", "B_LEFT=2");
    let mut board = Board::new("flash", Keeping::Flash, &armed);
    assert_eq!(board.boot()[0], "slot B, tries left 1");
    assert_eq!(
        board.peer(),
        "BOOT_A_GOOD=1,BOOT_A_LEFT=3,BOOT_B_LEFT=1,BOOT_ORDER=B A"
    );
    assert!(board.next().contains("(B)"), "{}", board.next());
    let before = board.bytes();
    let output = board.run_on("B", &["mark", "good", "booted"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("single copy"), "{said}");
    assert!(board.bytes() == before);
}

/// RAUC writes counts in hexadecimal, U-Boot's own `bootmeth_rauc` in decimal: a slot with ten
/// tries starts, whichever of them wrote it.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn ten_tries_in_either_notation_are_tries() {
    for (count, next) in [("a", "9"), ("f", "9"), ("10", "9"), ("9", "8")] {
        let armed = FACTORY
            .replace("A B", "B A")
            .replace("B_LEFT=0", &format!("B_LEFT={count}"));
        let mut board = Board::new(&format!("count-{count}"), Keeping::Sector, &armed);
        assert!(board.next().contains("(B)"), "{count}: {}", board.next());
        assert_eq!(
            board.boot()[0],
            format!("slot B, tries left {next}"),
            "{count}"
        );
    }
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn a_try_that_cannot_be_saved_is_not_used() {
    let armed = FACTORY
        .replace("A B", "B A")
        .replace("B_LEFT=0", "B_LEFT=2");
    let save = Keeping::Sector.save().replace("virtio write", "false");
    let mut board = Board::with_save("unsaved", Keeping::Sector, &armed, &save);
    let said = [
        "slot B, its try cannot be saved",
        "slot B does not load",
        "slot A, confirmed",
        "slot A, starting its kernel",
    ];
    assert_eq!(board.boot(), said);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn a_slot_without_a_kernel_and_an_environment_that_is_lost() {
    let armed = FACTORY
        .replace("A B", "B A")
        .replace("B_LEFT=0", "B_LEFT=2");
    let mut board = Board::new("empty", Keeping::Sector, &armed);
    board.disk.wipe_slot(SLOT_B).unwrap();
    let said = [
        "slot B, tries left 1",
        "slot B does not load",
        "slot A, confirmed",
        "slot A, starting its kernel",
    ];
    assert_eq!(board.boot(), said);

    board.overwrite("disk.img", SECTOR_AT, &[0; 512]);
    let said = [
        "slot A has no tries left",
        "slot B has no tries left",
        "slot A, as a last resort",
        "slot A, starting its kernel",
    ];
    assert_eq!(board.boot(), said);
    let before = board.bytes();
    assert!(
        !board
            .run_on("A", &["mark", "good", "booted"])
            .status
            .success()
    );
    assert!(
        board.bytes() == before,
        "nothing is written over what cannot be read"
    );
}
