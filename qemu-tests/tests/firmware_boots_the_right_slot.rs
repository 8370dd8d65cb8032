//! UEFI's own boot manager, with no bootloader between it and the kernels: does the firmware start
//! the slot that slotmgr wrote into its variables, through the kernel's own efivarfs?
//!
//! Run by `cargo xtask test`, like `boots_the_right_slot.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on may panic

use std::sync::OnceLock;

use qemu_tests::disk::{Contents, Disk, SLOT_A, SLOT_B};
use qemu_tests::firmware::System;
use qemu_tests::machine::{BOOT_LIMIT, COMMAND_LIMIT, Machine, Setup, Watchdog, new_dir};
use qemu_tests::workspace::Workspace;

fn system() -> &'static (Workspace, System) {
    static SYSTEM: OnceLock<(Workspace, System)> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let workspace = Workspace::of_tests();
        let system = System::build(&workspace).unwrap();
        (workspace, system)
    })
}

/// A machine whose firmware remembers nothing, and starts what lies at the place where firmware
/// looks then.
struct Pc {
    machine: Machine<'static>,
}

impl Pc {
    /// `esp` is the boot partition; `slots` are the files of the slots' partitions.
    fn start(name: &str, esp: &[(&str, &[u8])], slots: &[(&str, &[u8])]) -> Pc {
        let (workspace, _) = system();
        let dir = new_dir(&workspace.demo_dir().join("firmware-tests").join(name)).unwrap();
        let contents = Contents {
            esp,
            slot_a: None,
            slot_b: None,
        };
        let disk = Disk::create(&dir.join("disk.img"), &contents).unwrap();
        for slot in [SLOT_A, SLOT_B] {
            disk.format(slot, slots).unwrap();
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
        let console = &mut self.machine.console;
        let line = console.wait_for(&["slotmgr-rig: started"], BOOT_LIMIT);
        let line = line.unwrap();
        assert!(line.ends_with(&format!("slot={slot}")), "{line}");
    }

    fn run(&mut self, command: &str) -> String {
        let outcome = self.machine.console.run(command, COMMAND_LIMIT).unwrap();
        outcome.success().unwrap()
    }

    fn restart(&mut self) {
        let command = "umount /esp; sync; reboot -f";
        self.machine.console.send(command).unwrap();
    }

    /// The line of `slotmgr status` that has this in it.
    fn told(&mut self, about: &str) -> String {
        let said = self.run("slotmgr status");
        let line = said.lines().find(|line| line.contains(about));
        line.unwrap_or(&said).to_owned()
    }

    /// Which slot is started next, as slotmgr reads it.
    fn next(&mut self) -> String {
        self.told("next start")
    }

    /// The number of the boot entry of this slot.
    fn entry(&mut self, slot: &str) -> Option<String> {
        // In UTF-16 behind six bytes; what comes next is the zero at its end.
        let find = format!(
            "cd {VARIABLES} && for v in Boot0*; do dd if=$v bs=1 skip=10 count=4 2>/dev/null \
             | hexdump -v -e '1/1 \"%02x\"' | grep -q {:02x}000000 && echo $v; done; true",
            slot.as_bytes()[0]
        );
        self.run(&find).lines().next().map(str::to_owned)
    }
}

const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// From a firmware that has lost everything, through an update that is confirmed, to one that is
/// not; and on the way an entry is lost.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn firmware_gets_back_the_entries_that_it_has_lost_and_tries_a_new_system_once() {
    let (_, system) = system();
    let esp: [(&str, &[u8]); 2] = [
        ("EFI/BOOT/BOOTX64.EFI", &system.fallback),
        ("system.conf", FIRMWARE_CONF),
    ];
    let slots: [(&str, &[u8]); 2] = [
        ("linux.efi", &system.kernel),
        ("initrd.img", &system.archive),
    ];
    let mut pc = Pc::start("entries", &esp, &slots);
    pc.starts("A");
    assert_eq!([pc.entry("A"), pc.entry("B")], [None, None]);
    pc.run("slotmgr mark good booted");
    pc.run("slotmgr mark bad other");
    assert!(pc.next().contains("(A)"));
    pc.run("slotmgr mark active other");
    assert!(pc.next().contains("(B)"));
    pc.restart();

    pc.starts("B");
    assert!(pc.told("boot.1 (B)  ").contains("on trial, no further try"));
    pc.run("slotmgr mark good booted");
    assert!(pc.next().contains("(B)"));
    let lost = pc.entry("A").expect("it was made");
    pc.run(&format!("rm {VARIABLES}/{lost}"));
    assert!(pc.told("boot.0 (A)  ").contains("bad"));
    pc.run("slotmgr mark active other");
    let made = pc.entry("A").expect("it is made anew");
    assert_ne!(made, lost, "BootOrder goes on naming the lost one");
    pc.restart();

    pc.starts("A");
    assert!(pc.told("boot.0 (A)  ").contains("on trial, no further try"));
    pc.restart();

    pc.starts("B");
    assert!(pc.told("boot.1 (B)  ").contains("good"));
    assert_eq!(pc.entry("A"), Some(made), "and nothing more");
}

/// systemd-boot itself, with the files that slotmgr ships: it counts down, gives up, and is told
/// that a system is good.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn systemd_boot_counts_a_new_system_down_and_gives_it_up() {
    let (workspace, system) = system();
    let shipped = workspace.root.join("slotmgr/bootloader/systemd-boot");
    let text = |name: &str| fs_err::read_to_string(shipped.join(name)).unwrap();
    let entry = |slot: &str| {
        let text = text(&format!("{slot}.conf")).replace(&format!("/{slot}/"), "/");
        text.replace("panic=5", "panic=1 console=ttyS0 quiet")
    };
    let (a, b, loader) = (entry("A"), entry("B"), text("loader.conf"));
    let program = fs_err::read("/usr/lib/systemd/boot/efi/systemd-bootx64.efi").unwrap();
    let esp: [(&str, &[u8]); 9] = [
        ("EFI/BOOT/BOOTX64.EFI", &program),
        ("system.conf", SYSTEMD_BOOT_CONF),
        ("linux.efi", &system.kernel),
        ("initrd.img", &system.archive),
        ("loader/loader.conf", loader.as_bytes()),
        ("loader/entries/A.conf", a.as_bytes()),
        ("loader/entries/B+0.conf", b.as_bytes()),
        ("loader/slotmgr/A.conf", a.as_bytes()),
        ("loader/slotmgr/B.conf", b.as_bytes()),
    ];
    let mut pc = Pc::start("systemd-boot", &esp, &[]);
    pc.starts("A");
    assert!(pc.told("boot.1 (B)  ").contains("bad"));
    pc.run("slotmgr mark active other");
    assert!(pc.next().contains("(B)"));
    assert_eq!(pc.run(ENTRIES), "A.conf\nB+1.conf\n");
    pc.restart();

    pc.starts("B");
    assert_eq!(pc.run(ENTRIES), "A.conf\nB+0-1.conf\n");
    assert!(pc.told("boot.1 (B)  ").contains("on trial, no further try"));
    pc.restart();

    pc.starts("A");
    pc.run("slotmgr mark active other && slotmgr mark good other");
    assert_eq!(pc.run(ENTRIES), "A.conf\nB.conf\n");
    pc.restart();

    pc.starts("B");
    assert_eq!(
        pc.run(ENTRIES),
        "A.conf\nB.conf\n",
        "nothing is counted any more"
    );
}

const ENTRIES: &str = "ls -1 /esp/loader/entries";
const FIRMWARE_CONF: &[u8] = include_bytes!("../guest/firmware.conf");
const SYSTEMD_BOOT_CONF: &[u8] = include_bytes!("../guest/systemd-boot.conf");
