//! A system that does not prove itself: what is written, what the old system knows of it, and what
//! it does not do again. With the real program, on files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::PathBuf;
use std::process::Output;

use support::rig::{Rig, stderr, stdout};
use support::{bundle_file, image};

struct Machine {
    rig: Rig,
    dir: tempfile::TempDir,
}

/// The command line of a check that runs a script.
fn check(name: &str, script: &str, more: &str) -> String {
    format!("[[check]]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n{more}\n")
}

impl Machine {
    fn new(toml: &str) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let (_, keyring) = bundle_file(dir.path(), &image(3), "3");
        let rig = Rig::new(&image(1), &keyring);
        rig.configure(toml);
        Machine { rig, dir }
    }

    fn bundle(&self) -> PathBuf {
        self.dir.path().join("update-3.raucb")
    }

    fn install(&self, more: &[&str]) -> Output {
        let bundle = self.bundle();
        let words = [&["install", bundle.to_str().unwrap()], more].concat();
        self.rig.run(&words)
    }

    /// On trial in B: installed and started.
    fn on_trial(toml: &str) -> Machine {
        let machine = Machine::new(toml);
        let output = machine.install(&[]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(machine.rig.start(), "B");
        machine
    }

    fn trial(&self) -> Output {
        self.rig.run_on("B", &["trial", "--no-reboot"])
    }

    fn status(&self, slot: &str) -> String {
        stdout(&self.rig.run_on(slot, &["status"]))
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.rig.path("scripts").join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
}

#[test]
fn a_release_that_fell_three_times_is_not_installed_again_by_itself() {
    let machine = Machine::new(&format!(
        "tries = 1\n{}",
        check("app", "echo no; exit 3", "")
    ));
    for fall in 1..=3 {
        let output = machine.install(&[]);
        assert!(output.status.success(), "{fall}: {}", stderr(&output));
        assert_eq!(machine.rig.start(), "B");
        assert_eq!(machine.trial().status.code(), Some(1));
        assert_eq!(machine.rig.start(), "A");
        // The third fall is noted by the next installation itself.
        if fall < 3 {
            assert!(machine.rig.run(&["trial"]).status.success());
        }
    }
    let before = machine.rig.snapshot();
    let refused = machine.install(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("version 3 was installed 3 times"), "{said}");
    assert!(said.contains("--try-again"), "{said}");
    assert!(machine.rig.snapshot() == before, "nothing was written");
    assert!(machine.install(&["--try-again"]).status.success());
}

#[test]
fn the_old_system_keeps_the_evidence_and_writes_it_once() {
    let machine = Machine::on_trial(&check("app", "echo no database; exit 100", ""));
    assert_eq!(machine.trial().status.code(), Some(1));
    assert_eq!(machine.rig.start(), "A", "it gave up: no second try");
    let boot = machine.rig.run(&["trial"]);
    assert!(stdout(&boot).contains("not on trial"), "{}", stdout(&boot));
    let record = |name| fs_err::read(machine.rig.path("data").join(name)).unwrap();
    let kept = (record("state.0"), record("state.1"));
    assert!(machine.rig.run(&["trial"]).status.success());
    assert!(
        (record("state.0"), record("state.1")) == kept,
        "written once"
    );

    let status = machine.status("A");
    let sentence = "version 3 did not prove itself, and this system came back: check `app` failed \
                    and asks to give this system up at once: no database";
    assert!(status.contains(sentence), "{status}");
    assert!(status.contains("no database"), "{status}");
    let history = stdout(&machine.rig.run(&["history"]));
    for event in [
        "was installed into rootfs.1",
        "did not prove itself",
        "the old system came back",
    ] {
        assert!(history.contains(event), "{event}: {history}");
    }
    let json = stdout(&machine.rig.run(&["history", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["fell-back"]["checks"][0]["output"], "no database");
    let events = json["events"].as_array().unwrap();
    assert_eq!(events.last().unwrap()["what"], "fell-back");
}

#[test]
fn giving_up_leaves_a_machine_without_another_system_its_tries() {
    let machine = Machine::on_trial(&check("app", "exit 100", ""));
    let alone = "ORDER=B A,A_OK=0,A_TRY=0,B_OK=1,B_TRY=0,B_LEFT=1";
    fs_err::write(machine.rig.path("grubenv"), support::environment(alone)).unwrap();
    assert_eq!(machine.trial().status.code(), Some(1));
    assert!(
        String::from_utf8(machine.rig.snapshot().env)
            .unwrap()
            .contains("B_OK=1")
    );
}

#[test]
fn killed_after_the_verdict_the_next_one_only_restarts() {
    let machine = Machine::on_trial(&check("app", "exit 3", ""));
    assert_eq!(machine.trial().status.code(), Some(1));
    // Whatever the check would say now: the trial of this boot has failed.
    machine.rig.configure(&check("app", "exit 0", ""));
    let again = machine.trial();
    assert_eq!(again.status.code(), Some(1));
    assert!(stdout(&again).contains("check `app` failed with exit code 3"));
}

/// slotmgr is killed at the moment at which `marker` appears.
fn killed_at(machine: &Machine, words: &[&str], marker: &str) {
    let mut killed = machine.rig.command("B", words).spawn().unwrap();
    while !machine.rig.path(marker).exists() {
        assert!(killed.try_wait().unwrap().is_none(), "it ended before");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
}

#[test]
fn killed_in_the_failure_hooks_the_next_one_runs_them_and_no_check() {
    let machine = Machine::on_trial(&check("app", "exit 3", ""));
    let marker = machine.rig.path("in-the-hook");
    machine.script(
        "red.d/a.sh",
        &format!("touch {}; exec sleep 20", marker.display()),
    );
    killed_at(&machine, &["trial", "--no-reboot"], "in-the-hook");
    let env = machine.rig.snapshot().env;
    machine.script("red.d/a.sh", "echo $SLOTMGR_REASON > $(dirname $0)/said");
    machine.rig.configure(&check("app", "exit 0", ""));
    assert_eq!(machine.trial().status.code(), Some(1), "no second chance");
    let said = fs_err::read_to_string(machine.rig.path("scripts/red.d/said")).unwrap();
    assert!(
        said.contains("check `app` failed with exit code 3"),
        "{said}"
    );
    assert!(machine.rig.snapshot().env == env, "the count is left alone");
    assert_eq!(machine.rig.start(), "B", "the next try");
}

/// `slotmgr trial` on B, with the right to restart the machine and without the means: the kernel
/// refuses, and the emergency key leads to nothing. Whatever goes wrong in here, this machine stays.
fn harmless(machine: &Machine) -> Output {
    let trial = machine.rig.command("B", &["trial"]);
    let mut command = std::process::Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "/bin/sh", "-c"])
        .arg(
            "key=/proc/sysrq-trigger; { [ ! -e $key ] || mount --bind /dev/null $key; } \
             && exec \"$@\"",
        )
        .args(["sh", "setpriv", "--bounding-set=-sys_boot", "--"])
        .arg(trial.get_program())
        .args(trial.get_args());
    command.output().unwrap()
}

/// The command, the kernel, the emergency key: each is tried, and slotmgr says that it still runs.
#[test]
fn a_machine_that_does_not_restart_is_told_of() {
    let machine = Machine::on_trial("tries = 1\n");
    let conf = fs_err::read_to_string(machine.rig.path("slotmgr.toml")).unwrap();
    let restarted = machine.rig.path("restarted").display().to_string();
    let conf = conf.replace(
        &format!("[\"touch\", \"{restarted}\"]"),
        &format!("[\"/bin/sh\", \"-c\", \"touch {restarted}; exit 4\"]"),
    );
    let conf = format!("{conf}{}", check("app", "exit 3", ""));
    fs_err::write(machine.rig.path("slotmgr.toml"), conf).unwrap();
    let output = harmless(&machine);
    assert_eq!(output.status.code(), Some(1));
    assert!(machine.rig.path("restarted").exists());
    let said = stderr(&output);
    assert!(said.contains("the restart command failed"), "{said}");
    assert!(said.contains("the machine cannot be restarted"), "{said}");
    assert!(said.contains("nothing else restarts it"), "{said}");
    assert!(said.contains("Operation not permitted"), "{said}");
}

/// The command of the restart ends slotmgr itself at once: no test gets as far as the kernel's means.
#[test]
fn killed_in_the_restart_the_next_one_restarts() {
    let machine = Machine::on_trial("tries = 1\n");
    let marker = machine.rig.path("in-the-restart");
    let configure = |script: &str| {
        let conf = fs_err::read_to_string(machine.rig.path("slotmgr.toml")).unwrap();
        let conf: Vec<&str> = conf
            .lines()
            .filter(|line| !line.starts_with("reboot-command"))
            .collect();
        let command = format!(
            "reboot-command = [\"/bin/sh\", \"-c\", \"kill -9 $PPID; {script}\"]\n{}",
            check("app", "exit 3", "")
        );
        let text = format!("{}\n{command}", conf.join("\n"));
        fs_err::write(machine.rig.path("slotmgr.toml"), text).unwrap();
    };
    configure(&format!("touch {}", marker.display()));
    let killed = harmless(&machine);
    assert_eq!(killed.status.code(), None, "{}", stderr(&killed));
    while !marker.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    fs_err::remove_file(&marker).unwrap();
    let again = harmless(&machine);
    assert_eq!(again.status.code(), None, "it restarts again");
    let env = String::from_utf8(machine.rig.snapshot().env).unwrap();
    assert!(!env.contains("B_LEFT=good"), "{env}");
    while machine.rig.start() == "B" {}
    assert!(machine.rig.run(&["trial"]).status.success());
    assert!(machine.status("A").contains("check `app` failed"));
}

#[test]
fn killed_in_the_middle_the_next_one_has_only_the_time_that_is_left() {
    let toml = format!(
        "window-seconds = 2\n{}",
        check("app", "sleep 1000", "timeout-seconds = 2")
    );
    let machine = Machine::on_trial(&toml);
    let mut killed = machine
        .rig
        .command("B", &["trial", "--no-reboot"])
        .spawn()
        .unwrap();
    let begun = machine.rig.path("run/trial.json");
    while !begun.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let deadline = |text: String| {
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["deadline"].as_u64().unwrap()
    };
    let first = deadline(fs_err::read_to_string(&begun).unwrap());
    assert_eq!(machine.trial().status.code(), Some(1));
    assert_eq!(deadline(fs_err::read_to_string(&begun).unwrap()), first);
}

#[test]
fn scripts_of_greenboot_decide_and_hooks_are_told() {
    let machine = Machine::on_trial("");
    machine.script("check/required.d/01.sh", "echo broken; exit 1\n");
    machine.script("check/wanted.d/01.sh", "exit 1\n");
    let told = machine.rig.path("told");
    machine.script(
        "red.d/01.sh",
        &format!("echo \"$SLOTMGR_REASON\" > {}\n", told.display()),
    );
    assert_eq!(machine.trial().status.code(), Some(1));
    let reason = fs_err::read_to_string(&told).unwrap();
    assert!(
        reason.contains("required.d/01.sh` failed with exit code 1: broken"),
        "{reason}"
    );

    assert_eq!(machine.rig.start(), "B");
    machine.script("check/required.d/01.sh", "exit 0\n");
    machine.script(
        "green.d/01.sh",
        &format!("echo green > {}\n", told.display()),
    );
    let good = machine.trial();
    assert!(good.status.success(), "{}", stderr(&good));
    assert_eq!(fs_err::read_to_string(&told).unwrap(), "green\n");
}

#[test]
fn applications_vote() {
    let toml = "window-seconds = 60\n[[check]]\nname = \"app\"\nvote = true\n";
    let machine = Machine::on_trial(toml);
    let vote = |words: &[&str]| machine.rig.run_on("B", &[&["vote", "app"], words].concat());
    assert!(vote(&["bad", "--reason", "no disk"]).status.success());
    let failed = machine.trial();
    assert!(
        stdout(&failed).contains("voted bad: no disk"),
        "{}",
        stdout(&failed)
    );
    assert_eq!(machine.rig.start(), "B");
    assert!(vote(&["ok"]).status.success());
    let good = machine.trial();
    assert!(good.status.success(), "{}", stdout(&good));
    let wrong = machine.rig.run_on("B", &["vote", "../app", "ok"]);
    assert_eq!(wrong.status.code(), Some(1));
}

#[test]
fn what_was_not_reachable_before_is_not_demanded_afterwards() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let toml = format!("[[check]]\nname = \"net\"\ntcp = \"{address}\"\ntimeout-seconds = 1\n");
    // It answers while the update is installed, and not afterwards.
    let machine = Machine::on_trial(&toml);
    drop(server);
    let failed = machine.trial();
    assert_eq!(failed.status.code(), Some(1), "{}", stdout(&failed));
    // It does not answer before either.
    let machine = Machine::on_trial(&toml);
    let kept = machine.trial();
    assert!(kept.status.success(), "{}", stdout(&kept));
    assert!(stdout(&kept).contains("✗ check `net`"), "{}", stdout(&kept));
}

#[test]
fn a_demanded_watchdog_that_is_not_there_keeps_no_system() {
    let machine = Machine::on_trial("");
    let toml = "[watchdog]\nuse = \"always\"\ndevices = [\"/dev/no-such-watchdog\"]\n";
    fs_err::write(machine.rig.path("slotmgr.toml"), toml).unwrap();
    let failed = machine.trial();
    assert_eq!(failed.status.code(), Some(1));
    let said = stdout(&failed);
    assert!(
        said.contains("there is no watchdog /dev/no-such-watchdog"),
        "{said}"
    );
    let status = machine.status("B");
    assert!(status.contains("on trial"), "{status}");
}

#[test]
fn one_that_is_only_wished_for_is_told_of_in_the_status() {
    let machine = Machine::on_trial("");
    let toml = "[watchdog]\ndevices = [\"/dev/no-such-watchdog\"]\n[trial]\ndirectories = []\n";
    fs_err::write(machine.rig.path("slotmgr.toml"), toml).unwrap();
    assert!(machine.trial().status.success());
    let status = machine.status("B");
    assert!(
        status.contains("watchdog   no watchdog (there is no watchdog /dev/no-such"),
        "{status}"
    );
}

#[test]
fn preflight_says_what_is_wrong_and_writes_nothing() {
    let machine = Machine::new("");
    let before = machine.rig.snapshot();
    let fine = machine.rig.run(&["preflight"]);
    assert!(fine.status.success(), "{}", stdout(&fine));
    assert!(
        stdout(&fine).contains("✓ slot      rootfs.1 can be written"),
        "{}",
        stdout(&fine)
    );
    let alone = "ORDER=B A,A_OK=0,A_TRY=0,B_OK=1,B_TRY=0,B_LEFT=good";
    fs_err::write(machine.rig.path("grubenv"), support::environment(alone)).unwrap();
    let wrong = machine.rig.run(&["preflight"]);
    assert_eq!(wrong.status.code(), Some(9));
    assert!(stdout(&wrong).contains("✗ fallback"), "{}", stdout(&wrong));
    assert_eq!(machine.install(&[]).status.code(), Some(1));
    assert!(machine.rig.snapshot().b == before.b && !machine.rig.path("data/state.0").exists());
}

#[test]
fn a_record_that_cannot_be_written_keeps_nobody_from_an_end() {
    let machine = Machine::on_trial(&check("app", "exit 3", ""));
    let data = machine.rig.path("data");
    fs_err::remove_dir_all(&data).unwrap();
    fs_err::write(&data, "no directory").unwrap();
    assert_eq!(machine.trial().status.code(), Some(1));
    assert_eq!(machine.rig.start(), "B");
    machine.rig.configure("");
    assert!(machine.trial().status.success());
    let env = String::from_utf8(machine.rig.snapshot().env).unwrap();
    assert!(env.contains("B_LEFT=good"), "{env}");
}

/// A small file system in memory for the record, unmounted with the test.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf) -> Small {
        fs_err::create_dir_all(&path).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&path)
            .status();
        assert!(mount.unwrap().success(), "these tests are run by root");
        Small(path)
    }

    /// Until not a byte is left.
    fn fill(&self) {
        let mut file = fs_err::File::create(self.0.join("logs")).unwrap();
        for size in [4096, 1] {
            while std::io::Write::write_all(&mut file, &vec![0xaa; size]).is_ok() {}
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_var_keeps_no_installation_and_no_trial_from_its_end() {
    let machine = Machine::new(&format!("tries = 1\n{}", check("app", "exit 3", "")));
    let small = Small::mount(machine.rig.path("data"));
    small.fill();
    let preflight = machine.rig.run(&["preflight"]);
    assert_eq!(preflight.status.code(), Some(9));
    let installed = machine.install(&[]);
    let said = stderr(&installed);
    assert!(
        installed.status.success() && said.contains("is full"),
        "{said}"
    );
    assert_eq!(machine.rig.start(), "B");
    assert_eq!(machine.rig.start(), "A");

    // It fills up after the installation: the record has its size by then.
    fs_err::remove_file(small.0.join("logs")).unwrap();
    let installed = machine.install(&[]);
    assert!(installed.status.success(), "{}", stderr(&installed));
    small.fill();
    assert_eq!(machine.rig.start(), "B");
    assert_eq!(machine.trial().status.code(), Some(1));
    assert_eq!(machine.rig.start(), "A");
    assert!(machine.rig.run(&["trial"]).status.success());
    assert!(machine.status("A").contains("check `app` failed"));

    // No record at all, and no room to make one: the bootloader alone decides.
    fs_err::remove_file(small.0.join("logs")).unwrap();
    machine.rig.configure("");
    assert!(machine.install(&[]).status.success());
    for entry in fs_err::read_dir(&small.0).unwrap() {
        fs_err::remove_file(entry.unwrap().path()).unwrap();
    }
    small.fill();
    assert_eq!(machine.rig.start(), "B");
    assert!(machine.trial().status.success());
    assert_eq!(machine.rig.start(), "B");
    let env = String::from_utf8(machine.rig.snapshot().env).unwrap();
    assert!(env.contains("B_LEFT=good"), "{env}");
}

#[test]
fn a_late_fallback_is_prevented_only_after_the_commit() {
    let machine = Machine::on_trial(&check("app", "exit 3", ""));
    let conf = fs_err::read_to_string(machine.rig.path("system.conf")).unwrap();
    let conf = conf.replacen("[system]\n", "[system]\nprevent-late-fallback=true\n", 1);
    fs_err::write(machine.rig.path("system.conf"), conf).unwrap();
    let good = |slot: &str| {
        let text = String::from_utf8(machine.rig.snapshot().env).unwrap();
        text.contains(&format!("{slot}_OK=1"))
    };
    assert_eq!(machine.trial().status.code(), Some(1));
    assert!(
        good("A"),
        "a failed trial takes nothing from the old system"
    );
    assert_eq!(machine.rig.start(), "B");
    machine.rig.configure("");
    assert!(machine.trial().status.success());
    assert!(good("B") && !good("A"));
}

#[test]
fn rollback_goes_only_to_a_system_that_is_what_was_installed_and_proved_itself() {
    let machine = Machine::new("");
    let rollback =
        |slot: &str, words: &[&str]| machine.rig.run_on(slot, &[&["rollback"], words].concat());
    let refused = rollback("A", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("has not proved itself"),
        "{}",
        stderr(&refused)
    );

    assert!(machine.install(&[]).status.success());
    assert_eq!(machine.rig.start(), "B");
    let before = machine.rig.snapshot();
    assert!(machine.trial().status.success());
    let dry = rollback("B", &["--dry-run"]);
    assert!(
        stdout(&dry).contains("rootfs.0 can be gone back to"),
        "{}",
        stderr(&dry)
    );
    assert!(
        machine.rig.snapshot().env != before.env,
        "only the commit was written"
    );
    let done = rollback("B", &[]);
    assert!(
        stdout(&done).contains("rootfs.0 is started next"),
        "{}",
        stderr(&done)
    );
    assert_eq!(machine.rig.start(), "A");
    assert!(stdout(&machine.rig.run(&["history"])).contains("was left by hand"));

    let mut damaged = machine.rig.snapshot().b;
    damaged[1_000] ^= 1;
    fs_err::write(machine.rig.path("slot-b"), damaged).unwrap();
    let refused = rollback("A", &[]);
    assert!(
        stderr(&refused).contains("does not hold any more"),
        "{}",
        stderr(&refused)
    );
    assert!(rollback("A", &["--changed"]).status.success());
}

#[test]
fn the_version_floor_rises_with_a_confirmation_and_not_before() {
    let machine = Machine::new("[install]\nversion-floor = true\n");
    let place = tempfile::tempdir().unwrap();
    let (older, keyring) = bundle_file(place.path(), &image(4), "2.9");
    let install_older = |more: &[&str]| {
        let bundle = ["install", older.to_str().unwrap(), "--keyring"];
        let words = [&bundle[..], &[keyring.to_str().unwrap()], more].concat();
        machine.rig.run(&words)
    };
    assert!(machine.install(&[]).status.success());
    let output = install_older(&[]);
    assert!(
        output.status.success(),
        "installed is not confirmed: {}",
        stderr(&output)
    );
    assert!(machine.install(&[]).status.success());
    assert_eq!(machine.rig.start(), "B");
    assert!(machine.trial().status.success());

    let on_b = |words: &[&str]| machine.rig.run_on("B", words);
    let bundle = ["install", older.to_str().unwrap(), "--keyring"];
    let words = [&bundle[..], &[keyring.to_str().unwrap()]].concat();
    let refused = on_b(&words);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("takes 3 or newer"), "{said}");
    let forced = on_b(&[&words[..], &["--ignore-version-limit"]].concat());
    assert!(forced.status.success(), "{}", stderr(&forced));
    machine.rig.configure("");
    assert!(on_b(&words).status.success(), "off by default");
}

/// The third fall is not in the record yet: nothing has run on the old system since.
#[test]
fn a_simulation_counts_a_fall_that_nobody_has_noted() {
    let machine = Machine::new(&format!("tries = 1\n{}", check("app", "exit 3", "")));
    let bundle = machine.bundle();
    let simulate = || machine.rig.run(&["simulate", bundle.to_str().unwrap()]);
    for fall in 1..=3 {
        assert!(simulate().status.success(), "{fall}");
        assert!(machine.install(&[]).status.success(), "{fall}");
        assert_eq!(machine.rig.start(), "B");
        assert_eq!(machine.trial().status.code(), Some(1));
        assert_eq!(machine.rig.start(), "A");
    }
    let refused = simulate();
    assert_eq!(refused.status.code(), Some(1), "{}", stdout(&refused));
    let said = stderr(&refused);
    assert!(said.contains("was installed 3 times"), "{said}");
}

#[test]
fn a_simulation_says_what_would_be_written_and_writes_nothing() {
    let machine = Machine::new("");
    let bundle = machine.bundle();
    let words = ["simulate", bundle.to_str().unwrap()];
    let before = machine.rig.snapshot();
    let output = machine.rig.run(&words);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("✓ slot"), "{text}");
    assert!(text.contains("would write rootfs-3.img"), "{text}");
    assert!(
        text.contains("rootfs.1 would be started next, on trial. Nothing was written"),
        "{text}"
    );
    let json = machine.rig.run(&[&words[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["would-write"][0]["slot"], "rootfs.1");
    assert_eq!(json["would-start"], "rootfs.1");
    assert!(machine.rig.snapshot() == before);
    assert!(!machine.rig.path("data").exists(), "no record either");

    let mut damaged = fs_err::read(&bundle).unwrap();
    damaged[5_000] ^= 1;
    fs_err::write(&bundle, damaged).unwrap();
    let refused = machine.rig.run(&words);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("damaged"), "{}", stderr(&refused));
    assert!(machine.rig.snapshot() == before);
}
