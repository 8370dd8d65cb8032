//! The trial on machines that run Debian's systemd, with a hardware watchdog: who holds it when,
//! what systemd is asked for, and what brings the old system back.
//!
//! Run by `cargo xtask test`, like `notices_hangs.rs`; what is waited for has limits far above the
//! times that are usual.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on may panic

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use qemu_tests::disk::{Contents, Disk, GRUBENV};
use qemu_tests::grub;
use qemu_tests::kernel::Kernel;
use qemu_tests::machine::{Machine, Setup, Watchdog, new_dir};
use qemu_tests::programs;
use qemu_tests::systemd::System;
use qemu_tests::workspace::Workspace;

/// From power-on to the first unit of the tests: 25 s when nothing else runs on the host.
const START_LIMIT: Duration = Duration::from_secs(180);

/// A command in the guest while it is starting.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// The window of a trial, a watchdog's timeout and a start, on a host that is very busy.
const RETURN_LIMIT: Duration = Duration::from_secs(400);

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

/// The application must be up and not fall, and the test must say so.
const SETTINGS: &str = "\
[trial]
tries = 1
window-seconds = WINDOW

[watchdog]
timeout-seconds = 10

[[check]]
name = \"application\"
unit = \"app.service\"
interval-seconds = 1

[[check]]
name = \"all\"
no-failed-units = true

[[check]]
name = \"test\"
vote = true
";

/// Who has a watchdog open, of systemd and slotmgr.
const FEEDERS: &str = "for id in 1 $(pidof slotmgr); do \
                       ls -l /proc/$id/fd 2> /dev/null | grep -q /dev/watchdog && cat /proc/$id/comm; done";

/// What an ordinary boot must leave alone, and when it was written.
const MEMORY: &str = "cd /boot/efi/grub && sha256sum grubenv && stat -c '%n %Y %Z' grubenv; \
                      cd /data/slotmgr && sha256sum * && stat -c '%n %Y %Z' *";

const TRIAL: &str = "slotmgr-trial.service";

/// What the trial said in the boot before. (Nothing was installed on these machines, so that the
/// record knows of no update.)
const BEFORE: &str = "journalctl --boot=-1 --no-pager --unit=slotmgr-trial.service";

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
        let system = System {
            kernel: &kernel,
            slotmgr: &programs::guest_slotmgr(&workspace).unwrap(),
            unit: &workspace.root.join("slotmgr/systemd/slotmgr-trial.service"),
            keyring: &keyring,
        };
        let image = workspace
            .with_debian(|debian| system.image(&dir, debian))
            .unwrap();
        let loader = grub::efi_image(&dir.join("grub-systemd.efi")).unwrap();
        Parts {
            workspace,
            image,
            loader,
        }
    })
}

/// A machine that is about to start the system in B on its only try.
struct Rig {
    machine: Machine<'static>,
    disk: Disk,
}

impl Rig {
    /// `arguments` are for the kernel, or for systemd.
    fn start(name: &str, window: u32, arguments: &str) -> Rig {
        let parts = parts();
        let dir = parts.workspace.demo_dir().join("systemd-tests").join(name);
        let dir = new_dir(&dir).unwrap();
        let config = String::from_utf8(grub::config(&parts.workspace).unwrap()).unwrap();
        let arguments = format!("panic=1 systemd.getty_auto=0 {arguments}");
        let config = config.replace("panic=1", &arguments);
        let settings = SETTINGS.replace("WINDOW", &window.to_string());
        let environment = grub::environment_block(&ENVIRONMENT).unwrap();
        let esp: [(&str, &[u8]); 4] = [
            ("EFI/BOOT/BOOTX64.EFI", &parts.loader),
            ("grub/grub.cfg", config.as_bytes()),
            (GRUBENV, &environment),
            ("settings", settings.as_bytes()),
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
            watchdog: Watchdog::I6300esb,
        };
        let machine = Machine::start(&setup, Box::new(|_| {})).unwrap();
        let mut rig = Rig { machine, disk };
        assert!(rig.started().contains("slot=B"), "the new system is tried");
        rig
    }

    /// Waits for the next start of the machine.
    fn started(&mut self) -> String {
        let console = &mut self.machine.console;
        let line = console.wait_for(&["slotmgr-rig: started"], RETURN_LIMIT);
        console
            .wait_for(&["slotmgr-rig: shell"], START_LIMIT)
            .unwrap();
        line.unwrap()
    }

    /// What a command prints in the guest.
    fn ask(&mut self, command: &str) -> String {
        let said = self.machine.console.run(command, COMMAND_LIMIT);
        said.unwrap().output.trim_end().to_owned()
    }

    /// A property of a unit, or of systemd itself.
    fn property(&mut self, name: &str, unit: &str) -> String {
        self.ask(&format!("systemctl show --value --property={name} {unit}"))
    }

    /// Asks until the answer is this one.
    fn until(&mut self, command: &str, wanted: &str) {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let said = self.ask(command);
            if said == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{command}: {said}");
        }
    }

    fn restart(&mut self) {
        self.machine.console.send("systemctl reboot").unwrap();
    }

    fn said(&self, text: &str) -> bool {
        let mut lines = self.machine.console.history().iter();
        lines.any(|line| line.contains(text))
    }

    fn environment(self) -> BTreeMap<String, String> {
        self.machine.cut_power().unwrap();
        grub::environment(&self.disk.read_esp(GRUBENV).unwrap()).unwrap()
    }
}

/// Before `boot-complete.target` slotmgr holds the watchdog; afterwards systemd does, and there is
/// no moment in between in which it stands still. The clock may say what it wants.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn a_system_that_is_well_is_kept_and_systemd_feeds_its_watchdog() {
    let mut rig = Rig::start("well", 300, "");
    rig.until(FEEDERS, "slotmgr");
    assert_eq!(rig.property("ActiveState", TRIAL), "activating");
    assert_eq!(rig.property("Type", TRIAL), "notify");
    assert_eq!(
        rig.property("ActiveState", "boot-complete.target"),
        "inactive"
    );
    assert!(rig.said("restarts the machine after 10 s unfed"));

    let deadline = rig.ask("cat /run/slotmgr/trial.json");
    for time in ["2099-01-01", "1971-01-01", "2026-06-01"] {
        rig.ask(&format!("date -s {time} && sleep 2"));
        assert_eq!(rig.property("ActiveState", TRIAL), "activating", "{time}");
        assert_eq!(rig.ask("cat /run/slotmgr/trial.json"), deadline, "{time}");
    }

    rig.ask(
        "(while sleep 0.1; do cat /sys/class/watchdog/watchdog0/state; done > /run/rig/states) & \
         slotmgr vote test ok",
    );
    rig.until(FEEDERS, "systemd");
    rig.until("systemctl is-active boot-complete.target", "active");
    assert!(rig.said("rootfs.1 is confirmed"));
    assert!(rig.said("/dev/watchdog0 is fed by systemd now"));
    // Longer than its timeout: somebody feeds it.
    rig.ask("sleep 15");
    assert_eq!(rig.ask("sort -u /run/rig/states"), "active");
    assert_eq!(rig.property("RuntimeWatchdogUSec", ""), "10s");
    let order = "systemctl show --value -p ActiveEnterTimestampMonotonic";
    let entered = |text: String| text.parse::<u64>().unwrap();
    let trial = entered(rig.ask(&format!("{order} {TRIAL}")));
    let complete = entered(rig.ask(&format!("{order} boot-complete.target")));
    assert!(trial < complete, "{trial} {complete}");

    let memory = rig.ask(MEMORY);
    assert!(
        memory.contains("grubenv") && memory.contains("state."),
        "{memory}"
    );
    rig.restart();
    assert!(rig.started().contains("slot=B"), "it is kept");
    rig.until("systemctl is-active slotmgr-trial.service", "active");
    assert_eq!(rig.ask(MEMORY), memory, "an ordinary boot writes nothing");
    assert_eq!(rig.ask(FEEDERS), "", "and leaves the watchdog alone");
    assert_eq!(rig.environment()["B_LEFT"], "good");
}

/// systemd feeds the only watchdog, and for as long as it lives: slotmgr restarts the machine itself,
/// also where a service does not stop.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn an_application_that_falls_again_and_again_brings_the_old_system_back() {
    let arguments = "rig.app=falls rig.stubborn rig.held systemd.watchdog_sec=10";
    let mut rig = Rig::start("falls", 300, arguments);
    let began = Instant::now();
    assert!(rig.started().contains("slot=A"), "the old system is back");
    let seconds = began.elapsed().as_secs();
    assert!(rig.said("no watchdog (/dev/watchdog0 is in use"));
    assert!(rig.said("if slotmgr or the kernel hangs, nobody notices"));
    rig.until("systemctl is-active slotmgr-trial.service", "active");
    let before = rig.ask(BEFORE);
    assert!(before.contains("app.service is"), "{before}");
    assert!(before.contains("was restarted"), "{before}");
    assert_eq!(rig.environment()["A_LEFT"], "good");
    println!("a falling application: the old system runs again {seconds} s after the start");
}

/// systemd feeds one watchdog, and slotmgr takes the other one. Nobody votes, and the clock goes
/// back: the window passes all the same.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn the_window_passes_whatever_the_clock_says_and_systemd_keeps_its_own_watchdog() {
    let arguments = "rig.held rig.second systemd.watchdog_sec=15";
    let mut rig = Rig::start("silent", 40, arguments);
    let began = Instant::now();
    rig.until(FEEDERS, "systemd\nslotmgr");
    rig.ask("date -s 1971-01-01");
    let told = rig.ask("slotmgr status");
    assert!(told.contains("is in use by another program"), "{told}");
    assert!(rig.said("restarts the machine after 10 s unfed; /dev/watchdog"));
    assert_eq!(rig.property("RuntimeWatchdogUSec", ""), "15s");
    assert!(rig.started().contains("slot=A"), "the old system is back");
    let seconds = began.elapsed().as_secs();
    rig.until("systemctl is-active slotmgr-trial.service", "active");
    let before = rig.ask(BEFORE);
    assert!(before.contains("the window of 40 s passed"), "{before}");
    println!(
        "nobody votes, the clock goes back: the old system runs again {seconds} s after the start"
    );
}
