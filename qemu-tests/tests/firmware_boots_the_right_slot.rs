//! UEFI's own boot manager, with no bootloader between it and the kernels: does the firmware start
//! the slot that slotmgr wrote into its variables, through the kernel's own efivarfs?
//!
//! Run by `cargo xtask test`, like `boots_the_right_slot.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on may panic

use std::path::Path;
use std::sync::OnceLock;

use qemu_tests::disk::{Contents, Disk, SLOT_A, SLOT_B};
use qemu_tests::firmware::System;
use qemu_tests::machine::{BOOT_LIMIT, COMMAND_LIMIT, Machine, Setup, Watchdog, new_dir};
use qemu_tests::workspace::Workspace;

fn system() -> &'static (Workspace, System) {
    static SYSTEM: OnceLock<(Workspace, System)> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = Workspace::of_package(manifest_dir, "cargo".into());
        let system = System::build(&workspace).unwrap();
        (workspace, system)
    })
}

/// A machine whose firmware remembers nothing, and starts what lies at the place where firmware
/// looks then: the system of A.
struct Pc {
    machine: Machine<'static>,
}

impl Pc {
    fn new(name: &str) -> Pc {
        let (workspace, system) = system();
        let dir = new_dir(&workspace.demo_dir().join("firmware-tests").join(name)).unwrap();
        let disk = Disk::create(
            &dir.join("disk.img"),
            &Contents {
                esp: &[("EFI/BOOT/BOOTX64.EFI", &system.fallback)],
                slot_a: None,
                slot_b: None,
            },
        )
        .unwrap();
        for slot in [SLOT_A, SLOT_B] {
            let files: [(&str, &[u8]); 2] = [
                ("linux.efi", &system.kernel),
                ("initrd.img", &system.archive),
            ];
            disk.format(slot, &files).unwrap();
        }
        let setup = Setup {
            dir: &dir,
            disk: &disk.path,
            log: &dir.join("console.log"),
            network: None,
            watchdog: Watchdog::None,
        };
        let machine = Machine::start_by_variables(&setup, Box::new(|_| {})).unwrap();
        Pc { machine }
    }

    fn starts(&mut self, slot: &str) {
        let line = self
            .machine
            .console
            .wait_for(&["slotmgr-rig: started"], BOOT_LIMIT);
        let line = line.unwrap();
        assert!(line.ends_with(&format!("slot={slot}")), "{line}");
    }

    fn run(&mut self, command: &str) -> String {
        let outcome = self.machine.console.run(command, COMMAND_LIMIT).unwrap();
        outcome.success().unwrap()
    }

    fn restart(&mut self) {
        self.machine.console.send("reboot -f").unwrap();
    }

    /// Which slot the firmware starts next, as slotmgr reads it.
    fn next(&mut self) -> String {
        let said = self.run("slotmgr status");
        let line = said.lines().find(|line| line.contains("next"));
        line.unwrap_or(&said).to_owned()
    }

    /// The variables of the boot manager.
    fn variables(&mut self) -> String {
        self.run("cd /sys/firmware/efi/efivars && for v in Boot*; do echo $v; hexdump -C $v; done")
    }
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn firmware_that_remembers_nothing_gets_its_entries_and_tries_a_new_system_once() {
    let mut pc = Pc::new("tried-once");
    pc.starts("A");
    println!("{}", pc.variables());
    pc.run("slotmgr mark good booted");
    pc.run("slotmgr mark bad other");
    assert!(pc.next().contains("(A)"));
    pc.run("slotmgr mark active other");
    assert!(pc.next().contains("(B)"));
    println!("{}", pc.variables());
    pc.restart();
    pc.starts("B");
    println!("{}", pc.run("slotmgr status"));
    println!("{}", pc.variables());
    pc.restart();
    pc.starts("A");
}
