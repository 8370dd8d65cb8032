//! A new system hangs: in its kernel, in its init, in slotmgr, in a check. Each time the old one is
//! back, without anybody's help; the tests print after how many seconds.
//!
//! These boot machines with a hardware watchdog (i6300esb) and are run by `cargo xtask test`, like
//! `boots_the_right_slot.rs`. What they wait for has limits far above the times that are usual:
//! an emulated machine's clock depends on how busy its host is.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on may panic

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use qemu_tests::disk::{Contents, Disk, GRUBENV};
use qemu_tests::grub;
use qemu_tests::kernel::Kernel;
use qemu_tests::machine::{BOOT_LIMIT, COMMAND_LIMIT, Machine, Setup, Watchdog, new_dir};
use qemu_tests::programs;
use qemu_tests::rootfs::{App, FAULTS, Version};
use qemu_tests::workspace::Workspace;

/// The window of the trial, the watchdog's timeout and a start, on a host that is very busy.
const RETURN_LIMIT: Duration = Duration::from_secs(300);

/// B has one try; A is confirmed.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("ORDER", "B A"),
    ("A_OK", "1"),
    ("A_TRY", "0"),
    ("A_LEFT", "good"),
    ("B_OK", "1"),
    ("B_TRY", "0"),
    ("B_LEFT", "1"),
];

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
            .with_debian(|debian| Kernel::fetch_general(&dir.join("kernel-general"), debian))
            .unwrap();
        let keyring = dir.join("no-keyring.pem");
        fs_err::write(&keyring, "nothing is installed on these machines\n").unwrap();
        let version = Version {
            number: 1,
            app: App::Healthy,
            kernel: &kernel,
            slotmgr: &programs::guest_slotmgr(&workspace).unwrap(),
            keyring: &keyring,
            variant: FAULTS,
        };
        let image = version.image(&dir).unwrap();
        let loader = grub::efi_image(&dir.join("grub-faults.efi")).unwrap();
        Parts {
            workspace,
            image,
            loader,
        }
    })
}

/// A machine that is about to start the system in B on its only try, and what hangs in it.
fn start(fault: &str, watchdog: Watchdog) -> (Machine<'static>, Disk) {
    let parts = parts();
    let dir = new_dir(
        &parts
            .workspace
            .demo_dir()
            .join(format!("hang-tests/{fault}-{watchdog:?}")),
    )
    .unwrap();
    let config = grub::config(&parts.workspace).unwrap();
    let environment = grub::environment_block(&ENVIRONMENT).unwrap();
    let esp: [(&str, &[u8]); 4] = [
        ("EFI/BOOT/BOOTX64.EFI", &parts.loader),
        ("grub/grub.cfg", &config),
        (GRUBENV, &environment),
        ("fault", fault.as_bytes()),
    ];
    let contents = Contents {
        esp: &esp,
        slot_a: Some(&parts.image),
        slot_b: Some(&parts.image),
    };
    let disk = Disk::create(&dir.join("disk.img"), &contents).unwrap();
    let setup = Setup {
        dir: &dir,
        disk: &disk.path,
        log: &dir.join("console.log"),
        network: None,
        watchdog,
    };
    let mut machine = Machine::start(&setup, Box::new(|_| {})).unwrap();
    let console = &mut machine.console;
    let line = console.wait_for(&["slotmgr-demo: started"], BOOT_LIMIT);
    assert!(line.unwrap().contains("slot=B"), "the new system is tried");
    (machine, disk)
}

fn old_system_returns(fault: &str, watchdog: Watchdog) {
    let (mut machine, disk) = start(fault, watchdog);
    let console = &mut machine.console;
    console.panics_are_meant();
    console.wait_for(&["fault: "], COMMAND_LIMIT).unwrap();
    let hung = Instant::now();
    let back = console.wait_for(&["slotmgr-demo: started"], RETURN_LIMIT);
    let seconds = hung.elapsed().as_secs();
    assert!(back.unwrap().contains("slot=A"), "the old system is back");
    let ready = console
        .wait_for(&["slotmgr-demo: ready"], BOOT_LIMIT)
        .unwrap();
    assert!(ready.ends_with("slot=A version=1 trial=0"), "{ready}");
    let watched = console.history().iter().any(|line| {
        line.contains("/dev/watchdog0") && line.contains("restarts the machine after 10 s unfed")
    });
    assert!(watched, "the trial held the watchdog");
    machine.cut_power().unwrap();
    let environment = grub::environment(&disk.read_esp(GRUBENV).unwrap()).unwrap();
    assert_eq!(environment["A_LEFT"], "good");
    println!("hang in {fault} ({watchdog:?}): the old system runs again {seconds} s after it");
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn of_the_kernel() {
    old_system_returns("kernel", Watchdog::I6300esb);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn of_init() {
    old_system_returns("init", Watchdog::I6300esb);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn of_slotmgr() {
    old_system_returns("slotmgr", Watchdog::I6300esb);
}

/// A machine without a watchdog of its own: the guest loads `softdog`.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn of_slotmgr_on_a_machine_with_the_software_watchdog() {
    old_system_returns("slotmgr", Watchdog::None);
}

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn of_a_check() {
    old_system_returns("check", Watchdog::I6300esb);
}

/// The same machine without a fault: it is kept, and the watchdog does not bite afterwards.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn and_a_system_that_is_well_stays() {
    let (mut machine, disk) = start("none", Watchdog::I6300esb);
    let console = &mut machine.console;
    let ready = console
        .wait_for(&["slotmgr-demo: ready"], BOOT_LIMIT)
        .unwrap();
    assert!(ready.ends_with("slot=B version=1 trial=0"), "{ready}");
    let said = |text: &str| console.history().iter().any(|line| line.contains(text));
    assert!(said("rootfs.1 is confirmed: 2 of 2 checks passed"));
    assert!(said("/dev/watchdog0 is stopped"));
    let state = console.run(
        "cat /sys/class/watchdog/watchdog0/state; sleep 15",
        BOOT_LIMIT,
    );
    assert_eq!(state.unwrap().success().unwrap(), "inactive\n");
    machine.cut_power().unwrap();
    let environment = grub::environment(&disk.read_esp(GRUBENV).unwrap()).unwrap();
    assert_eq!(environment["B_LEFT"], "good");
}
