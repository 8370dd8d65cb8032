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
use qemu_tests::programs;
use qemu_tests::rootfs;
use qemu_tests::workspace::Workspace;

/// What all tests share: made once.
struct Parts {
    workspace: Workspace,
    image: PathBuf,
    loader: Vec<u8>,
}

fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let workspace = Workspace::of_tests();
        let dir = workspace.demo_dir();
        let kernel = workspace
            .with_debian(|debian| Kernel::fetch(&dir.join("kernel"), debian))
            .unwrap();
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
        let config = grub::config(&parts().workspace).unwrap();
        Self::with_files(name, &config, &[(GRUBENV, environment)])
    }

    fn with_files(name: &str, config: &[u8], environment: &[(&str, &[u8])]) -> Self {
        let parts = parts();
        let dir = new_dir(&parts.workspace.demo_dir().join("grub-tests").join(name)).unwrap();
        let mut esp: Vec<(&str, &[u8])> = vec![
            ("EFI/BOOT/BOOTX64.EFI", &parts.loader),
            ("grub/grub.cfg", config),
        ];
        esp.extend_from_slice(environment);
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
fn grub_accepts_the_configurations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../slotmgr/bootloader");
    for name in ["grub.cfg", "grub-pair.cfg"] {
        let mut check = std::process::Command::new("grub-script-check");
        xtask::command::captured(check.arg(folder.join(name))).unwrap();
    }
}

/// A machine with the paired files: slotmgr and GRUB take turns on the same bytes.
struct PairedPc {
    pc: Pc,
    slotmgr: PathBuf,
}

impl PairedPc {
    fn new(name: &str) -> Self {
        let workspace = &parts().workspace;
        let slotmgr = programs::guest_slotmgr(workspace).unwrap();
        let files = grub::factory_pair();
        let paths = PAIR.map(|file| format!("grub/{file}"));
        let esp = paths.iter().zip(&files);
        let esp: Vec<(&str, &[u8])> = esp
            .map(|(path, (_, bytes))| (path.as_str(), bytes.as_slice()))
            .collect();
        let pc = Pc::with_files(name, &grub::pair_config(workspace).unwrap(), &esp);
        let conf = "[system]\ncompatible=pc\nbootloader=grub\n[keyring]\npath=none.pem\n\
                    [slot.rootfs.0]\ndevice=slot-a\nbootname=A\n\
                    [slot.rootfs.1]\ndevice=slot-b\nbootname=B\n";
        let own = format!(
            "[trial]\ntries = 2\n[grub]\npaired = \"{}\"\n",
            pc.dir.display()
        );
        fs_err::write(pc.dir.join("system.conf"), conf).unwrap();
        fs_err::write(pc.dir.join("slotmgr.toml"), own).unwrap();
        for slot in ["slot-a", "slot-b"] {
            fs_err::write(pc.dir.join(slot), [0; 4096]).unwrap();
        }
        Self { pc, slotmgr }
    }

    fn files(&self) -> [Vec<u8>; 3] {
        PAIR.map(|file| self.pc.disk.read_esp(&format!("grub/{file}")).unwrap())
    }

    /// Runs slotmgr as the system in `running` would: what it changes goes back onto the disk.
    fn slotmgr(&self, running: &str, arguments: &[&str]) -> String {
        for (file, bytes) in PAIR.iter().zip(self.files()) {
            fs_err::write(self.pc.dir.join(file), bytes).unwrap();
        }
        let mut command = std::process::Command::new(&self.slotmgr);
        command
            .args(["--override-boot-slot", running, "--conf"])
            .arg(self.pc.dir.join("system.conf"))
            .args(arguments);
        let said = xtask::command::captured(&mut command).unwrap();
        for file in PAIR {
            let bytes = fs_err::read(self.pc.dir.join(file)).unwrap();
            self.pc
                .disk
                .write_esp(&format!("grub/{file}"), &bytes)
                .unwrap();
        }
        said
    }

    /// Which slot slotmgr says is started next.
    fn next(&self) -> String {
        let said = self.slotmgr("A", &["status"]);
        let line = said.lines().find(|line| line.contains("next"));
        line.unwrap_or(&said).to_owned()
    }

    fn starts(&mut self, slot: &str, why: &str) {
        let words = [
            format!("slot {slot}, {why}"),
            format!("slot {slot}, starting its kernel"),
        ];
        assert_eq!(self.pc.boot(), words);
    }
}

const PAIR: [&str; 3] = ["ab1", "ab2", "ab3"];

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn paired_files_through_the_life_of_an_update() {
    let mut pc = PairedPc::new("paired");
    let before = pc.files();
    pc.starts("A", "good");
    assert_eq!(
        pc.files(),
        before,
        "a confirmed slot starts without a write"
    );

    pc.slotmgr("A", &["mark", "active", "B"]);
    let armed = pc.files();
    for _ in 0..2 {
        assert!(pc.next().contains("(B)"), "{}", pc.next());
        pc.starts("B", "trial");
        assert_eq!(pc.files()[..2], armed[..2], "GRUB writes its own file only");
    }
    assert!(pc.next().contains("(A)"), "{}", pc.next());
    pc.starts("A", "used-up");

    pc.slotmgr("A", &["mark", "active", "B"]);
    pc.slotmgr("B", &["mark", "good", "booted"]);
    let good = pc.files();
    pc.starts("B", "good");
    assert_eq!(pc.files(), good);

    // The copy that was written last is lost: both go on with the one before it, in which B has
    // its tries still.
    let text = String::from_utf8_lossy(&good[0]).into_owned();
    let last = usize::from(!text.contains("ab_trial=none"));
    let path = format!("grub/{}", PAIR[last]);
    pc.pc.disk.write_esp(&path, &[0; 512]).unwrap();
    assert!(pc.next().contains("(B)"), "{}", pc.next());
    pc.starts("B", "trial");
}
