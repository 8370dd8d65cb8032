//! The real `rauc` program as the client of our service.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use support::bus::{Bus, OnBus};
use support::rig::{Rig, stderr, stdout};
use support::{bundle_file, image};

struct Machine {
    rig: Rig,
    /// Version 7, with image 7.
    bundle: String,
    bus: Bus,
    _daemon: OnBus,
}

impl Machine {
    fn start() -> Machine {
        let made = tempfile::tempdir().unwrap();
        let (bundle, keyring) = bundle_file(made.path(), &image(7), "7");
        let rig = Rig::new(&image(1), &keyring);
        let path = rig.path("update.raucb");
        fs_err::copy(bundle, &path).unwrap();
        let bus = Bus::start(rig.dir.path());
        let daemon = bus.serve(&rig);
        Machine {
            rig,
            bundle: path.to_str().unwrap().to_owned(),
            bus,
            _daemon: daemon,
        }
    }

    fn rauc(&self, arguments: &[&str]) -> std::process::Output {
        let output = self.bus.command("rauc").args(arguments).output();
        output.expect("rauc (Debian's package `rauc`) runs")
    }

    /// Everything that the service says on the bus while `work` runs, a line for each signal.
    fn signals(&self, work: impl FnOnce()) -> Vec<String> {
        let mut monitor = self.bus.command("gdbus");
        monitor.args(["monitor", "--session", "-d", "de.pengutronix.rauc"]);
        let mut monitor = OnBus(monitor.stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(monitor.0.stdout.take().unwrap()).lines();
        // "Monitoring signals …" and "The name … is owned by …": from now on it listens.
        lines.by_ref().take(2).for_each(drop);
        work();
        let mut signals = Vec::new();
        for line in lines {
            let line = line.unwrap();
            let last = line.contains("'Operation': <'idle'>");
            // What RAUC's object says: its clients hear nothing of ours.
            if line.starts_with("/: ") {
                signals.push(line);
            }
            if last {
                break;
            }
        }
        signals
    }
}

#[test]
fn status_is_shown() {
    let machine = Machine::start();
    let output = machine.rauc(&["status", "--output-format=json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["compatible"], "board");
    assert_eq!(status["booted"], "A");
    assert_eq!(status["boot_primary"], "rootfs.0");
    let slots = status["slots"].as_array().unwrap();
    assert_eq!(slots.len(), 2);
    let slot = |name: &str| slots.iter().find_map(|slot| slot.get(name)).unwrap();
    assert_eq!(slot("rootfs.0")["state"], "booted");
    assert_eq!(slot("rootfs.1")["state"], "inactive");
    assert_eq!(slot("rootfs.0")["boot_status"], "good");
    assert_eq!(slot("rootfs.1")["boot_status"], "bad");
    assert_eq!(slot("rootfs.1")["bootname"], "B");

    let readable = machine.rauc(&["status"]);
    let text = stdout(&readable);
    assert!(text.contains("Booted from: rootfs.0 (A)"), "{text}");
}

#[test]
fn slots_are_marked() {
    let machine = Machine::start();
    for (words, said) in [
        (["mark-good", "booted"], "marked slot rootfs.0 as good"),
        (["mark-bad", "other"], "marked slot rootfs.1 as bad"),
        (["mark-active", "rootfs.1"], "activated slot rootfs.1"),
    ] {
        let output = machine.rauc(&["status", words[0], words[1]]);
        let text = stdout(&output) + &stderr(&output);
        assert!(output.status.success() && text.contains(said), "{text}");
    }
    let primary = machine.bus.call("GetPrimary", &[]);
    assert_eq!(stdout(&primary), "('rootfs.1',)\n");
    let wrong = machine.rauc(&["status", "mark-good", "nothing"]);
    assert_eq!(wrong.status.code(), Some(1));
}

#[test]
fn a_bundle_is_installed() {
    let machine = Machine::start();
    let mut installed = None;
    let signals = machine.signals(|| {
        installed = Some(machine.rauc(&["install", &machine.bundle]));
    });
    let output = installed.unwrap();
    let text = stdout(&output) + &stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("100% Installing done."), "{text}");
    assert!(machine.rig.snapshot().b.starts_with(&image(7)));
    assert_eq!(
        stdout(&machine.bus.call("GetPrimary", &[])),
        "('rootfs.1',)\n"
    );

    let at = |what: &str| {
        let found = signals.iter().position(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("no {what} in {signals:#?}"))
    };
    assert_eq!(at("'Operation': <'installing'>"), 0);
    assert!(at("(100, 'Installing done.', 1)") < at("Completed (0,)"));
    assert!(at("Completed (0,)") < at("'Operation': <'idle'>"));
}

#[test]
fn a_refused_bundle_says_why() {
    let machine = Machine::start();
    let before = machine.rig.snapshot();
    let path = machine.rig.path("bad.raucb");
    fs_err::write(&path, vec![7; 100_000]).unwrap();
    let signals = machine.signals(|| {
        let output = machine.rauc(&["install", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let text = stdout(&output) + &stderr(&output);
        assert!(
            text.contains("the bundle") && text.contains("refused"),
            "{text}"
        );
    });
    assert!(machine.rig.snapshot() == before);
    // The order that RAUC's own service was seen to keep.
    let [.., failed, error, completed, idle] = &signals[..] else {
        panic!("{signals:#?}");
    };
    assert!(
        failed.contains("(100, 'Installing failed.', 1)"),
        "{failed}"
    );
    assert!(
        error.contains("{'LastError': <") && !error.contains("Progress"),
        "{error}"
    );
    assert!(completed.contains("Completed (1,)"), "{completed}");
    assert!(idle.contains("'Operation': <'idle'>"), "{idle}");
}

#[test]
fn a_bundle_is_inspected() {
    let machine = Machine::start();
    let path = machine.bundle.as_str();
    let info = stdout(&machine.bus.call("Info", &[path]));
    assert_eq!(info, "('board', '7')\n");
    let inspected = stdout(&machine.bus.call("InspectBundle", &[path, "{}"]));
    for part in [
        "'update': <<{",
        "'compatible': <'board'>",
        "'bundle': <<{",
        "'format': <'verity'>",
        "'images': <<[{",
        "'slot-class': <'rootfs'>",
        "'hooks': <@as []>",
        "'manifest-hash': <'",
    ] {
        assert!(inspected.contains(part), "{part} is not in {inspected}");
    }
    let wrong = stderr(
        &machine
            .bus
            .call("InspectBundle", &[path, "{'foo': <true>}"]),
    );
    assert!(wrong.contains("Unsupported key: foo"), "{wrong}");
}

#[test]
fn strangers_may_look_but_not_touch() {
    let machine = Machine::start();
    let open = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(machine.rig.dir.path(), open).unwrap();
    let socket = machine.rig.path("bus");
    fs_err::set_permissions(socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    let stranger = |method: &str, arguments: &[&str]| {
        let mut command = machine.bus.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "gdbus"]);
        command.args(["call", "--session", "-d", "de.pengutronix.rauc", "-o", "/"]);
        command.args(["-m", &format!("de.pengutronix.rauc.Installer.{method}")]);
        command.args(arguments).output().unwrap()
    };
    let looked = stranger("GetPrimary", &[]);
    assert_eq!(stdout(&looked), "('rootfs.0',)\n", "{}", stderr(&looked));
    let before = machine.rig.snapshot();
    for (method, arguments) in [
        ("Mark", &["bad", "booted"][..]),
        ("Install", &["/bundle"]),
        ("InstallBundle", &["/bundle", "{}"]),
        ("Info", &["/etc/shadow"]),
    ] {
        let output = stranger(method, arguments);
        assert_eq!(output.status.code(), Some(1), "{method}");
        let text = stderr(&output);
        assert!(text.contains("AccessDenied"), "{method}: {text}");
    }
    assert!(machine.rig.snapshot() == before);
}

/// Calls a method of our own interface.
fn manager(bus: &Bus, method: &str) -> String {
    let mut command = bus.command("gdbus");
    command
        .args(["call", "--session", "-d", "de.pengutronix.rauc"])
        .args(["-o", "/org/slotmgr", "-m"])
        .arg(format!("org.slotmgr.Manager1.{method}"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

/// Seconds since the machine was started, as in `trial.json`, where they are milliseconds.
#[test]
fn our_own_interface_tells_until_when_the_trial_goes() {
    let made = tempfile::tempdir().unwrap();
    let (bundle, keyring) = bundle_file(made.path(), &image(7), "7");
    let rig = Rig::new(&image(1), &keyring);
    rig.configure("[[check]]\nname = \"app\"\nvote = true\n");
    let installed = rig.run(&["install", bundle.to_str().unwrap()]);
    assert!(installed.status.success(), "{}", stderr(&installed));
    assert_eq!(rig.start(), "B");
    let bus = Bus::start(rig.dir.path());
    let _daemon = bus.serve_on(&rig, "B");
    let before = manager(&bus, "GetTrial");
    assert!(before.contains("'state': <'on-trial'>"), "{before}");
    assert!(!before.contains("deadline"), "nothing counts yet: {before}");

    let mut trial = rig.command("B", &["trial", "--no-reboot"]).spawn().unwrap();
    let begun = rig.path("run/trial.json");
    while !begun.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let kept: serde_json::Value = serde_json::from_slice(&fs_err::read(&begun).unwrap()).unwrap();
    let seconds = kept["deadline"].as_u64().unwrap() / 1_000;
    let told = manager(&bus, "GetTrial");
    assert!(
        told.contains(&format!("'deadline': <uint64 {seconds}>")),
        "{told}"
    );

    assert!(rig.run_on("B", &["vote", "app", "ok"]).status.success());
    assert!(trial.wait().unwrap().success());
    let after = manager(&bus, "GetTrial");
    assert!(after.contains("'state': <'confirmed'>"), "{after}");
    assert!(!after.contains("deadline"), "{after}");
}

#[test]
fn our_own_interface_tells_of_the_trial() {
    let machine = Machine::start();
    let ask = |method: &str| manager(&machine.bus, method);
    assert_eq!(ask("GetTrial"), "({'state': <'none'>},)\n");
    assert_eq!(ask("GetHistory"), "(@a{sa{sv}} {},)\n");

    assert!(machine.rauc(&["install", &machine.bundle]).status.success());
    let trial = ask("GetTrial");
    assert!(trial.contains("'state': <'waiting'>"), "{trial}");
    assert!(trial.contains("'slot': <'rootfs.1'>"), "{trial}");

    // The new system does not prove itself, and the old one finds itself back.
    machine.rig.configure(
        "tries = 1\n[[check]]\nname = \"app\"\ncommand = [\"/bin/sh\", \"-c\", \"exit 3\"]\n",
    );
    while machine.rig.start() == "B" {
        let failed = machine.rig.run_on("B", &["trial", "--no-reboot"]);
        assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
    }
    assert!(machine.rig.run(&["trial"]).status.success());
    let trial = ask("GetTrial");
    assert!(trial.contains("'state': <'fell-back'>"), "{trial}");
    assert!(trial.contains("'reason': <'check `app` failed"), "{trial}");
    let history = ask("GetHistory");
    assert!(history.contains("'what': <'fell-back'>"), "{history}");
}
