//! The applications' data across an update: a new system gets a copy that its hooks have changed, the
//! old one's stays as it is, and a snapshot comes back only when somebody asks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

use support::rig::{Rig, stderr, stdout};
use support::{bundle_file, image};

struct Machine {
    rig: Rig,
    bundle: PathBuf,
    _dir: tempfile::TempDir,
}

impl Machine {
    /// A runs, and its application has written version 1 of its data.
    fn new(more: &str) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let (bundle, keyring) = bundle_file(dir.path(), &image(3), "3");
        let rig = Rig::new(&image(1), &keyring);
        let machine = Machine {
            rig,
            bundle,
            _dir: dir,
        };
        machine.configure(more);
        machine.write("app/rootfs.0/db", "version 1\n");
        machine
    }

    fn configure(&self, more: &str) {
        let home = self.rig.path("app");
        let data = format!("[data]\ndirectory = \"{}\"\n{more}", home.display());
        self.rig.configure(&data);
    }

    /// The same, with settings of the trial.
    fn configure_trial(&self, trial: &str) {
        let home = self.rig.path("app");
        let data = format!("{trial}[data]\ndirectory = \"{}\"\n", home.display());
        self.rig.configure(&data);
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.rig.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.rig.path(name)).unwrap_or_else(|error| error.to_string())
    }

    fn hook(&self, name: &str, script: &str) {
        self.write(&format!("scripts/{name}"), script);
    }

    fn install(&self) -> Output {
        self.rig.run(&["install", self.bundle.to_str().unwrap()])
    }

    fn install_and_start(&self) {
        let output = self.install();
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(self.rig.start(), "B");
    }

    fn trial(&self) -> Output {
        self.rig.run_on("B", &["trial", "--no-reboot"])
    }
}

const CHANGE: &str = "echo \"migrated from '$2' to '$3'\" >> $1/db\n";

/// The application's own check: it finds its data where it was told, and migrated.
const CHECK: &str = "[[check]]\nname = \"app\"\ncommand = [\"/bin/sh\", \"-c\", \
                     \"grep migrated RUN/data/db\"]\n";

#[test]
fn a_new_system_gets_a_copy_that_is_migrated_before_the_checks() {
    let machine = Machine::new("");
    let run = machine.rig.path("run").display().to_string();
    machine.configure(&CHECK.replace("RUN", &run));
    machine.hook("migrate.d/10-db.sh", CHANGE);
    machine.install_and_start();
    let output = machine.trial();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        machine.read("app/rootfs.1/db"),
        "version 1\nmigrated from '' to '3'\n"
    );
    assert_eq!(
        machine.read("app/rootfs.0/db"),
        "version 1\n",
        "the old system's stays"
    );
    assert!(!machine.rig.path("app/.rootfs.1.new").exists());

    // An ordinary start copies nothing, and leads the applications to the same place.
    machine.write("app/rootfs.1/db", "in use\n");
    assert_eq!(machine.rig.start(), "B");
    assert!(machine.trial().status.success());
    assert_eq!(machine.read("run/data/db"), "in use\n");
}

#[test]
fn a_hook_that_fails_or_hangs_is_fatal_to_the_trial() {
    for (script, why) in [
        ("echo broken >> $1/db; exit 3", "failed with exit code 3"),
        ("echo broken >> $1/db; sleep 1000", "did not end within 1 s"),
    ] {
        let machine = Machine::new("hook-seconds = 1\n");
        machine.hook("migrate.d/10-db.sh", script);
        machine.hook("migrate.d/20-never.sh", "touch $1/never");
        machine.hook("check/required.d/10-never.sh", "touch $(dirname $0)/never");
        machine.install_and_start();
        let output = machine.trial();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let status = stdout(&machine.rig.run_on("B", &["status"]));
        assert!(
            status.contains(why) || stdout(&output).contains(why),
            "{status}"
        );
        for never in [
            "app/rootfs.1",
            "app/.rootfs.1.new/never",
            "scripts/check/required.d/never",
            "run/data",
        ] {
            assert!(!machine.rig.path(never).exists(), "{never}");
        }
        assert_eq!(machine.read("app/rootfs.0/db"), "version 1\n");

        // The next try begins with a fresh copy, and not with the broken one.
        machine.hook("migrate.d/10-db.sh", CHANGE);
        assert_eq!(machine.rig.start(), "B");
        assert!(machine.trial().status.success());
        assert_eq!(
            machine.read("app/rootfs.1/db"),
            "version 1\nmigrated from '' to '3'\n"
        );
    }
}

#[test]
fn slotmgr_started_again_in_the_same_boot_does_not_migrate_again() {
    let machine = Machine::new("[[check]]\nname = \"app\"\ncommand = [\"sleep\", \"1000\"]\n");
    machine.hook("migrate.d/10-db.sh", CHANGE);
    machine.install_and_start();
    let mut trial = machine.rig.command("B", &["trial", "--no-reboot"]);
    let mut trial = trial.spawn().unwrap();
    while !machine.rig.path("run/data").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    trial.kill().unwrap();
    trial.wait().unwrap();
    machine.write("app/rootfs.1/db", "in use\n");
    machine.configure("");
    let output = machine.trial();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(machine.read("app/rootfs.1/db"), "in use\n");
}

/// What is in the way of a copy: the real `cp`, stopped in the middle, or a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Killed {
    InTheCopy,
    InTheHook,
}

impl Machine {
    /// Starts a trial, and kills slotmgr when it is in the middle of the migration, as systemd
    /// does: with everything that it has started.
    fn killed(&self, when: Killed) {
        let (marker, programs) = (self.rig.path("there"), self.rig.path("programs"));
        let hang = format!("touch {}; exec sleep 1000", marker.display());
        match when {
            Killed::InTheHook => {
                self.hook("migrate.d/10-db.sh", &format!("echo half >> $1/db; {hang}"));
            }
            Killed::InTheCopy => {
                let cp = programs.join("cp");
                let script = format!("#!/bin/sh\nfor to; do :; done; echo half > $to/db; {hang}\n");
                fs_err::create_dir_all(&programs).unwrap();
                fs_err::write(&cp, script).unwrap();
                fs_err::set_permissions(&cp, PermissionsExt::from_mode(0o755)).unwrap();
            }
        }
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let mut trial = self.rig.command("B", &["trial", "--no-reboot"]);
        let mut trial = trial.env("PATH", path).spawn().unwrap();
        while !marker.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let children = format!("/proc/{0}/task/{0}/children", trial.id());
        let children = fs_err::read_to_string(children).unwrap_or_default();
        trial.kill().unwrap();
        trial.wait().unwrap();
        for child in children.split_whitespace() {
            let _ = std::process::Command::new("kill")
                .args(["-9", child])
                .status();
        }
        fs_err::remove_file(&marker).unwrap();
        if programs.exists() {
            fs_err::remove_dir_all(programs).unwrap();
        }
        self.hook("migrate.d/10-db.sh", CHANGE);
    }
}

#[test]
fn killed_in_the_migration_the_new_system_begins_anew_and_is_confirmed() {
    for when in [Killed::InTheCopy, Killed::InTheHook] {
        for another_boot in [false, true] {
            let machine = Machine::new("");
            machine.hook("migrate.d/10-db.sh", CHANGE);
            machine.install_and_start();
            machine.killed(when);
            assert!(!machine.rig.path("app/rootfs.1").exists(), "no half of it");
            assert!(!machine.rig.path("run/data").exists());
            if another_boot {
                assert_eq!(machine.rig.start(), "B");
            }
            let output = machine.trial();
            assert!(output.status.success(), "{when:?}: {}", stderr(&output));
            assert_eq!(
                machine.read("app/rootfs.1/db"),
                "version 1\nmigrated from '' to '3'\n"
            );
            assert_eq!(machine.read("app/rootfs.0/db"), "version 1\n");
            assert_eq!(machine.rig.start(), "B", "confirmed");
        }
    }
}

#[test]
fn killed_in_the_migration_on_its_last_try_the_old_system_is_back_with_its_data() {
    for when in [Killed::InTheCopy, Killed::InTheHook] {
        let machine = Machine::new("");
        machine.configure_trial("tries = 1\n");
        machine.hook("migrate.d/10-db.sh", CHANGE);
        machine.install_and_start();
        machine.killed(when);
        assert_eq!(machine.rig.start(), "A", "{when:?}");
        let output = machine.rig.run(&["trial", "--no-reboot"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(machine.read("run/data/db"), "version 1\n");
        assert!(!machine.rig.path("app/rootfs.1").exists());
    }
}

#[test]
fn hooks_without_data_to_migrate_keep_no_system() {
    let machine = Machine::new("");
    machine.rig.configure("");
    machine.hook("migrate.d/10-db.sh", CHANGE);
    machine.install_and_start();
    let output = machine.trial();
    assert_eq!(output.status.code(), Some(1));
    let status = stdout(&machine.rig.run_on("B", &["status"]));
    assert!(
        stdout(&output).contains("says no [data] directory"),
        "{status}"
    );
}

const SNAPSHOT: &str = "case $1 in\ncreate) cp $SLOTMGR_DATA/db $2/db;;\n\
                        restore) cp $2/db $SLOTMGR_DATA/db;;\n\
                        remove) echo $2 >> $(dirname $0)/removed;;\nesac\n";

#[test]
fn snapshots_are_taken_before_an_update_and_restored_only_when_asked() {
    let machine = Machine::new("snapshots = 2\n");
    machine.hook("snapshot.d/db.sh", SNAPSHOT);
    for version in 1..=3 {
        machine.write("app/rootfs.0/db", &format!("version {version}\n"));
        let output = machine.install();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let listed = stdout(&machine.rig.run(&["restore-data", "--list"]));
    assert!(listed.contains(": 2, 3"), "{listed}");
    assert!(
        machine
            .read("scripts/snapshot.d/removed")
            .ends_with("/snapshots/1.gone\n")
    );

    machine.write("app/rootfs.0/db", "damaged\n");
    let output = machine.rig.run(&["restore-data", "2"]);
    assert!(
        stdout(&output).contains("snapshot 2 is restored"),
        "{}",
        stderr(&output)
    );
    assert_eq!(machine.read("app/rootfs.0/db"), "version 2\n");
    assert!(machine.rig.run(&["restore-data"]).status.success());
    assert_eq!(machine.read("app/rootfs.0/db"), "version 3\n");
    let wrong = machine.rig.run(&["restore-data", "7"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        stderr(&wrong).contains("there are: 2, 3"),
        "{}",
        stderr(&wrong)
    );
}

/// Each snapshot pushes out an older one: what is refused anyway takes none.
#[test]
fn a_bundle_that_is_refused_takes_no_snapshot() {
    let machine = Machine::new("");
    machine.hook("snapshot.d/db.sh", SNAPSHOT);
    let conf = fs_err::read_to_string(machine.rig.path("system.conf")).unwrap();
    let refusing = [
        conf.replace("compatible=board", "compatible=another"),
        conf.replace("compatible=board", "compatible=board\nmin-bundle-version=4"),
    ];
    for conf in refusing {
        fs_err::write(machine.rig.path("system.conf"), conf).unwrap();
        assert_eq!(machine.install().status.code(), Some(1));
    }
    fs_err::write(machine.rig.path("system.conf"), conf).unwrap();
    let mut bytes = fs_err::read(&machine.bundle).unwrap();
    bytes[5_000] ^= 1;
    let whole = fs_err::read(&machine.bundle).unwrap();
    fs_err::write(&machine.bundle, bytes).unwrap();
    assert_eq!(machine.install().status.code(), Some(1), "it is damaged");
    fs_err::write(&machine.bundle, whole).unwrap();
    assert!(!machine.rig.path("data/snapshots").exists());
    assert!(machine.install().status.success());
    assert!(machine.rig.path("data/snapshots/1/db").exists());
}

#[test]
fn without_a_snapshot_nothing_is_installed() {
    let machine = Machine::new("hook-seconds = 1\n");
    for script in ["exit 1", "sleep 1000"] {
        machine.hook("snapshot.d/db.sh", script);
        let before = machine.rig.snapshot();
        let output = machine.install();
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(said.contains("nothing was written"), "{said}");
        assert!(machine.rig.snapshot() == before);
        let listed = stdout(&machine.rig.run(&["restore-data", "--list"]));
        assert!(listed.contains("no snapshot"), "{listed}");
    }
}
