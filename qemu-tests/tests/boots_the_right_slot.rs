//! GRUB itself, started by real firmware, with the configuration that slotmgr ships: which slot
//! does it start, and what does it write before?
//!
//! These boot machines: they need Debian's packages, a kernel and root rights to install these,
//! and take seconds each. So they are ignored by a plain `cargo test`, and `cargo xtask test` runs
//! them after it has installed the packages. (A separate program would need its own list, report
//! and choice of tests; the test runner has them all.)
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on may panic

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use qemu_tests::disk::{Contents, Disk, GRUBENV, SLOT_A, SLOT_B};
use qemu_tests::grub;
use qemu_tests::kernel::Kernel;
use qemu_tests::machine::{GRUB_LIMIT, Machine, Setup, Watchdog, new_dir};
use qemu_tests::rootfs;
use qemu_tests::workspace::Workspace;
use xtask::debian::Debian;
use xtask::progress::{Progress, Style};

/// What all tests share: made once.
struct Parts {
    workspace: Workspace,
    image: PathBuf,
    loader: Vec<u8>,
}

fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = Workspace::of_package(manifest_dir, "cargo".into());
        let progress = Progress::new(Style::Silent);
        let debian = Debian {
            log: workspace.log("apt.log"),
            progress: &progress,
        };
        let dir = workspace.demo_dir();
        let kernel = Kernel::fetch(&dir.join("kernel"), &debian).unwrap();
        let image = rootfs::kernel_only(&kernel, &dir).unwrap();
        let loader = grub::efi_image(&dir.join("grub-test.efi")).unwrap();
        Parts {
            workspace,
            image,
            loader,
        }
    })
}

/// A machine with a kernel in both slots, and this environment block.
struct Pc {
    dir: PathBuf,
    disk: Disk,
    boots: u32,
}

impl Pc {
    fn new(name: &str, environment: &[u8]) -> Self {
        let parts = parts();
        let dir = new_dir(&parts.workspace.demo_dir().join("grub-tests").join(name)).unwrap();
        let config = grub::config(&parts.workspace).unwrap();
        let esp: [(&str, &[u8]); 3] = [
            ("EFI/BOOT/BOOTX64.EFI", &parts.loader),
            ("grub/grub.cfg", &config),
            (GRUBENV, environment),
        ];
        let image = Some(parts.image.as_path());
        let contents = Contents {
            esp: &esp,
            slot_a: image,
            slot_b: image,
        };
        let disk = Disk::create(&dir.join("disk.img"), &contents).unwrap();
        Self {
            dir,
            disk,
            boots: 0,
        }
    }

    fn with(name: &str, variables: &[(&str, &str)]) -> Self {
        Self::new(name, &grub::environment_block(variables).unwrap())
    }

    /// Turns the machine on until one of its slots starts, and takes the power away. Returns what
    /// GRUB said, without the beginning that all its lines have.
    fn boot(&mut self) -> Vec<String> {
        self.boot_until("starting its kernel")
    }

    fn boot_until(&mut self, text: &str) -> Vec<String> {
        self.boots += 1;
        let log = self.dir.join(format!("console-{}.log", self.boots));
        let setup = Setup {
            dir: &self.dir,
            disk: &self.disk.path,
            log: &log,
            network: None,
            watchdog: Watchdog::None,
        };
        let mut machine = Machine::start(&setup, Box::new(|_| {})).unwrap();
        machine.console.wait_for(&[text], GRUB_LIMIT).unwrap();
        let said = machine
            .console
            .history()
            .iter()
            .filter_map(|line| line.strip_prefix("slotmgr-grub: "))
            .map(str::to_owned)
            .collect();
        machine.cut_power().unwrap();
        said
    }

    fn environment(&self) -> BTreeMap<String, String> {
        grub::environment(&self.disk.read_esp(GRUBENV).unwrap()).unwrap()
    }
}

/// The variables as people read them, in the order of their names.
fn shown(environment: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = environment
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    pairs.join(" ")
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn a_confirmed_slot_starts_without_any_write() {
    let mut pc = Pc::with("confirmed", &grub::FACTORY_ENVIRONMENT);
    let before = pc.disk.read_esp(GRUBENV).unwrap();
    assert_eq!(
        pc.boot(),
        ["slot A, confirmed", "slot A, starting its kernel"]
    );
    assert_eq!(pc.disk.read_esp(GRUBENV).unwrap(), before);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn an_armed_slot_has_its_tries_and_then_the_old_one_returns() {
    let mut pc = Pc::with(
        "armed",
        &[
            ("ORDER", "B A"),
            ("A_OK", "1"),
            ("A_TRY", "0"),
            ("A_LEFT", "good"),
            ("B_OK", "1"),
            ("B_TRY", "0"),
            ("B_LEFT", "2"),
        ],
    );
    assert_eq!(
        pc.boot(),
        ["slot B, tries left 1", "slot B, starting its kernel"]
    );
    let environment = "A_LEFT=good A_OK=1 A_TRY=0 B_LEFT=1 B_OK=1 B_TRY=0 ORDER=B A";
    assert_eq!(shown(&pc.environment()), environment);

    assert_eq!(
        pc.boot(),
        ["slot B, tries left 0", "slot B, starting its kernel"]
    );
    let environment = "A_LEFT=good A_OK=1 A_TRY=0 B_LEFT=0 B_OK=1 B_TRY=1 ORDER=B A";
    assert_eq!(shown(&pc.environment()), environment);

    let third = pc.boot();
    let words = [
        "slot B has no tries left",
        "slot A, confirmed",
        "slot A, starting its kernel",
    ];
    assert_eq!(third, words);
    assert_eq!(shown(&pc.environment()), environment);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn slots_of_rauc_have_one_try_each_and_come_back_when_all_are_used() {
    let mut pc = Pc::with(
        "rauc",
        &[
            ("ORDER", "A B"),
            ("A_OK", "1"),
            ("A_TRY", "0"),
            ("B_OK", "0"),
            ("B_TRY", "0"),
        ],
    );
    assert_eq!(
        pc.boot(),
        ["slot A, its only try", "slot A, starting its kernel"]
    );
    let environment = "A_OK=1 A_TRY=1 B_OK=0 B_TRY=0 ORDER=A B";
    assert_eq!(shown(&pc.environment()), environment);

    let words = [
        "slot A has no tries left",
        "slot B is marked bad",
        "slot A, once more (it was never marked bad)",
        "slot A, starting its kernel",
    ];
    assert_eq!(pc.boot(), words);
    assert_eq!(shown(&pc.environment()), environment);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn a_slot_without_a_kernel_is_passed_over() {
    let mut pc = Pc::with(
        "unreadable",
        &[
            ("ORDER", "B A"),
            ("A_OK", "1"),
            ("A_TRY", "0"),
            ("A_LEFT", "good"),
            ("B_OK", "1"),
            ("B_TRY", "0"),
            ("B_LEFT", "2"),
        ],
    );
    pc.disk.wipe_slot(SLOT_B).unwrap();
    let words = [
        "slot B, tries left 1",
        "slot B does not load, going on with the next one",
        "slot A, confirmed",
        "slot A, starting its kernel",
    ];
    assert_eq!(pc.boot(), words);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn a_damaged_environment_still_starts_something() {
    let mut pc = Pc::new("damaged", &[0; 1024]);
    let said = pc.boot();
    let tail = ["slot A, as a last resort", "slot A, starting its kernel"];
    assert!(said[0].starts_with("cannot read "), "{said:?}");
    assert_eq!(said[said.len() - 2..], tail);
    assert_eq!(
        pc.disk.read_esp(GRUBENV).unwrap(),
        [0; 1024],
        "nothing is written to it"
    );
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn a_machine_without_any_system_says_so() {
    let mut pc = Pc::with("empty", &grub::FACTORY_ENVIRONMENT);
    pc.disk.wipe_slot(SLOT_A).unwrap();
    pc.disk.wipe_slot(SLOT_B).unwrap();
    let said = pc.boot_until("no slot can be started");
    let tries = said
        .iter()
        .filter(|line| line.ends_with("going on with the next one"))
        .count();
    // A as confirmed, as once confirmed, as never marked bad and as a last resort; B as the last.
    assert_eq!(tries, 5, "{said:?}");
}

#[test]
fn grub_accepts_the_configuration() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../slotmgr/bootloader/grub.cfg");
    let mut check = std::process::Command::new("grub-script-check");
    xtask::command::captured(check.arg(config)).unwrap();
}
