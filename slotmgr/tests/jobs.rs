//! Installations as jobs: started, watched, stopped and remembered over D-Bus, and what is left of
//! one that was killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::bus::Bus;
use support::rig::{Rig, stderr, stdout};
use support::{bundle_with, image};

/// A machine with a bus; its bundle has a hook that waits until it is told to go on.
struct Machine {
    rig: Rig,
    bus: Bus,
    bundle: PathBuf,
}

impl Machine {
    fn new() -> Machine {
        let made = tempfile::tempdir().unwrap();
        let manifest = "[update]\ncompatible=board\nversion=2\n[bundle]\nformat=verity\n[hooks]\n\
                        filename=hook\n[image.rootfs]\nfilename=r.img\nhooks=pre-install\n";
        let hook = "#!/bin/sh\ncd \"$RAUC_MOUNT_PREFIX\" || exit 1\necho '<< image 50 half of it'\ntouch started\n\
                    while [ ! -e go ]; do sleep 0.05; done\n";
        let content = image(2);
        let files = [("r.img", &content[..]), ("hook", hook.as_bytes())];
        let (bundle, keyring) = bundle_with(made.path(), manifest, &files);
        let rig = Rig::new(&image(1), &keyring);
        let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
        let conf = conf.replace("[keyring]", "mountprefix=mnt\n[keyring]");
        fs_err::write(rig.path("system.conf"), conf).unwrap();
        fs_err::create_dir(rig.path("mnt")).unwrap();
        let path = rig.path("update.raucb");
        fs_err::copy(bundle, &path).unwrap();
        let bus = Bus::start(rig.dir.path());
        Machine {
            rig,
            bus,
            bundle: path,
        }
    }

    /// The hook does not wait.
    fn let_go(&self) {
        fs_err::write(self.rig.path("mnt/go"), "").unwrap();
    }

    fn wait_for_the_hook(&self) {
        let started = self.rig.path("mnt/started");
        wait(|| started.exists());
        fs_err::remove_file(started).unwrap();
    }

    /// `slotmgr` as a client of the service: it knows nothing of the machine.
    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = self.bus.command(env!("CARGO_BIN_EXE_slotmgr"));
        command.args(arguments);
        command
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.client(arguments).output().unwrap()
    }

    /// An installation by a client of the service, which is in its hook by then.
    fn installing(&self) -> Child {
        let mut client = self.client(&["install", self.bundle.to_str().unwrap()]);
        client.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = client.spawn().unwrap();
        self.wait_for_the_hook();
        child
    }

    fn jobs(&self) -> Vec<Value> {
        let output = self.ask(&["monitor", "--json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        let text = stdout(&output);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn manager(&self, user: Option<u32>, method: &str, arguments: &[&str]) -> Output {
        let method = format!("org.slotmgr.Manager1.{method}");
        let call = [
            "call",
            "--session",
            "-d",
            "de.pengutronix.rauc",
            "-o",
            "/org/slotmgr",
            "-m",
            &method,
        ];
        let mut command = match user {
            None => self.bus.command("gdbus"),
            Some(user) => {
                let mut command = self.bus.command("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={user}")]);
                command.args(["--clear-groups", "gdbus"]);
                command
            }
        };
        command.args(call).args(arguments).output().unwrap()
    }

    /// The old system is what is started, and the next installation works.
    fn works_as_before(&self) {
        assert!(self.rig.snapshot().a.starts_with(&image(1)));
        let status = stdout(&self.rig.run(&["status"]));
        assert!(status.contains("next start rootfs.0 (A)"), "{status}");
        self.let_go();
        let again = self.rig.run(&["install", self.bundle.to_str().unwrap()]);
        assert!(again.status.success(), "{}", stderr(&again));
        let status = stdout(&self.rig.run(&["status"]));
        assert!(status.contains("next start rootfs.1 (B)"), "{status}");
    }

    fn history(&self) -> Vec<String> {
        let output = self.rig.run(&["history", "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let events = answer["events"].as_array().unwrap().iter();
        events
            .map(|event| event["what"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn wait(mut until: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if until() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not come about within a minute");
}

fn send(signal: &str, child: &Child) {
    support::loops::run("kill", &["-s", signal, &child.id().to_string()]);
}

#[test]
fn a_job_has_a_name_and_bytes_and_outlives_the_service() {
    let machine = Machine::new();
    machine.let_go();
    let daemon = machine.bus.serve(&machine.rig);
    let output = machine.ask(&["install", machine.bundle.to_str().unwrap()]);
    let (said, progress) = (stdout(&output), stderr(&output));
    assert!(output.status.success(), "{progress}");
    assert!(said.contains("version 2 is in rootfs.1 (B)"), "{said}");
    // A line for each stage that has bytes, as there is no terminal.
    for stage in [
        "writing  100 %  48.8 KiB of 48.8 KiB",
        "reading back  100 %",
    ] {
        assert!(progress.contains(stage), "{progress}");
    }
    let jobs = machine.jobs();
    assert_eq!(jobs.len(), 1);
    let id = jobs[0]["job"].as_str().unwrap();
    assert_eq!(jobs[0]["state"], "installed");
    assert_eq!(jobs[0]["slot"], "rootfs.1");
    assert_eq!(jobs[0]["version"], "2");

    // Another service, which has not installed anything.
    drop(daemon);
    let _daemon = machine.bus.serve(&machine.rig);
    assert_eq!(machine.jobs(), jobs);
    let asked = stdout(&machine.manager(None, "GetJob", &[id]));
    assert!(asked.contains("'state': <'installed'>"), "{asked}");
    let unknown = machine.manager(None, "GetJob", &["nothing"]);
    assert!(stderr(&unknown).contains("no job is called nothing"));
}

#[test]
fn the_signals_of_a_job_are_few_and_tell_of_bytes() {
    let machine = Machine::new();
    machine.let_go();
    let _daemon = machine.bus.serve(&machine.rig);
    let mut client = machine.client(&["monitor", "--follow", "--json"]);
    let mut following = client.stdout(Stdio::piped()).spawn().unwrap();
    // It says first what there is: nothing. Then it listens, some time.
    std::thread::sleep(Duration::from_millis(1_000));
    let started = machine.manager(
        None,
        "StartInstall",
        &[
            machine.bundle.to_str().unwrap(),
            "{'transaction-id': <'update-7'>}",
        ],
    );
    assert!(started.status.success(), "{}", stderr(&started));
    wait(|| machine.jobs().iter().all(|job| job["state"] == "installed"));
    std::thread::sleep(Duration::from_millis(300));
    send("TERM", &following);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut following.stdout.take().unwrap(), &mut text).unwrap();
    following.wait().unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (events, jobs): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["what"].is_string());
    let words: Vec<_> = events.iter().map(|event| &event["what"]).collect();
    assert_eq!(
        words,
        [
            "install-started",
            "checking",
            "slot-writing",
            "writing",
            "syncing",
            "reading-back",
            "installed"
        ]
    );
    assert!(
        jobs.iter().all(|job| job["transaction"] == "update-7"),
        "{text}"
    );
    let written = jobs
        .iter()
        .find(|job| job["stage"] == "write" && job["done"] == 50_000);
    assert!(written.is_some(), "{text}");
    assert_eq!(jobs.last().unwrap()["state"], "installed");
    assert!(jobs.len() < 20, "not a signal for every byte: {text}");
}

#[test]
fn cancelled_by_somebody_else_it_stops_cleanly() {
    let machine = Machine::new();
    let _daemon = machine.bus.serve(&machine.rig);
    let waiting = machine.installing();
    assert_eq!(machine.jobs()[0]["state"], "running");
    let cancelled = machine.ask(&["cancel"]);
    assert!(cancelled.status.success(), "{}", stderr(&cancelled));
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("was stopped"),
        "{}",
        stderr(&output)
    );
    assert_eq!(machine.jobs()[0]["state"], "stopped");
    // Over is over.
    let again = machine.ask(&["cancel"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("installs nothing now"));
    machine.works_as_before();
    assert!(machine.history().contains(&"install-stopped".to_owned()));
}

#[test]
fn ctrl_c_in_a_client_stops_the_job() {
    let machine = Machine::new();
    let _daemon = machine.bus.serve(&machine.rig);
    let waiting = machine.installing();
    send("INT", &waiting);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(machine.jobs()[0]["state"], "stopped");
    machine.works_as_before();
}

#[test]
fn a_service_that_is_asked_to_end_stops_its_job_first() {
    let machine = Machine::new();
    let mut daemon = machine.bus.serve(&machine.rig);
    let waiting = machine.installing();
    send("TERM", &daemon.0);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(daemon.0.wait().unwrap().success());
    machine.works_as_before();
    let history = machine.history();
    assert!(
        history.contains(&"install-stopped".to_owned()),
        "{history:?}"
    );
}

#[test]
fn one_at_a_time_whoever_asks() {
    let machine = Machine::new();
    let _daemon = machine.bus.serve(&machine.rig);
    let waiting = machine.installing();
    let bundle = machine.bundle.to_str().unwrap();
    let second = machine.ask(&["install", bundle]);
    assert_eq!(second.status.code(), Some(6), "{}", stderr(&second));
    // Without the service, it is the lock that says so.
    let here = machine.rig.run(&["install", bundle]);
    assert_eq!(here.status.code(), Some(6), "{}", stderr(&here));
    assert!(stderr(&here).contains("another installation"));
    let mark = machine.rig.run(&["mark", "bad", "B"]);
    assert_eq!(mark.status.code(), Some(6), "{}", stderr(&mark));
    machine.let_go();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn strangers_may_watch_and_neither_start_nor_cancel() {
    let machine = Machine::new();
    let open = std::fs::Permissions::from_mode(0o755);
    fs_err::set_permissions(machine.rig.dir.path(), open).unwrap();
    let everybody = std::fs::Permissions::from_mode(0o777);
    fs_err::set_permissions(machine.rig.path("bus"), everybody).unwrap();
    let _daemon = machine.bus.serve(&machine.rig);
    let waiting = machine.installing();
    let id = machine.jobs()[0]["job"].as_str().unwrap().to_owned();
    let stranger = Some(65_534);
    let looked = machine.manager(stranger, "GetJobs", &[]);
    assert!(stdout(&looked).contains(&id), "{}", stderr(&looked));
    for (method, arguments) in [
        ("Cancel", vec![&*id]),
        ("StartInstall", vec!["/bundle", "{}"]),
    ] {
        let refused = machine.manager(stranger, method, &arguments);
        assert!(stderr(&refused).contains("AccessDenied"), "{method}");
    }
    assert_eq!(machine.jobs()[0]["state"], "running");
    machine.let_go();
    assert!(waiting.wait_with_output().unwrap().status.success());
}

#[test]
fn a_service_that_is_killed_in_the_middle_leaves_nothing_behind() {
    let machine = Machine::new();
    let daemon = machine.bus.serve(&machine.rig);
    let waiting = machine.installing();
    drop(daemon);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("went away"), "{}", stderr(&output));
    // The next service finds out what became of it.
    machine.let_go();
    let _daemon = machine.bus.serve(&machine.rig);
    assert_eq!(machine.jobs()[0]["state"], "interrupted");
    machine.works_as_before();
    let history = machine.history();
    assert!(
        history.contains(&"install-interrupted".to_owned()),
        "{history:?}"
    );
}

/// `slotmgr install`, ended by SIGKILL after longer and longer times, until one comes through: the
/// old system stays what is started, the next one works, and everybody who began has an end.
#[test]
fn killed_at_any_point_the_next_one_works() {
    let machine = Machine::new();
    machine.let_go();
    let bundle = machine.bundle.to_str().unwrap();
    let mut killed = 0;
    for pause in 0..200 {
        let mut installing = machine.rig.command("A", &["install", bundle]);
        installing.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = installing.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(pause * 2_500));
        let _ = child.kill();
        let ended = child.wait().unwrap();
        assert!(
            machine.rig.snapshot().a.starts_with(&image(1)),
            "after {pause}"
        );
        if ended.success() {
            break;
        }
        killed += 1;
        let status = machine.rig.run(&["status", "--json"]);
        assert!(
            status.status.success(),
            "after {pause}: {}",
            stderr(&status)
        );
    }
    assert!(killed > 3, "killed only {killed} times");
    let last = machine.rig.run(&["install", bundle]);
    assert!(last.status.success(), "{}", stderr(&last));
    assert!(machine.rig.snapshot().b.starts_with(&image(2)));
    let history = machine.history();
    let begun = history.iter().filter(|what| *what == "install-started");
    let ends = ["installed", "install-interrupted", "install-failed"];
    let ended = history.iter().filter(|what| ends.contains(&what.as_str()));
    assert_eq!(begun.count(), ended.count(), "{history:?}");
}

#[test]
fn neither_a_full_disk_nor_a_broken_journal_fails_an_installation() {
    for break_it in [
        // Not a file at all.
        (|rig: &Rig| fs_err::create_dir_all(rig.path("data/journal.jsonl")).unwrap()) as fn(&Rig),
        // Noise.
        |rig| {
            fs_err::create_dir_all(rig.path("data")).unwrap();
            fs_err::write(rig.path("data/journal.jsonl"), [0xff; 5_000]).unwrap();
        },
        // A device that is always full, and never ends.
        |rig| {
            fs_err::create_dir_all(rig.path("data")).unwrap();
            std::os::unix::fs::symlink("/dev/full", rig.path("data/journal.jsonl")).unwrap();
        },
        // No place for anything.
        |rig| fs_err::write(rig.path("data"), "").unwrap(),
    ] {
        let machine = Machine::new();
        machine.let_go();
        break_it(&machine.rig);
        let conf = fs_err::read_to_string(machine.rig.path("system.conf")).unwrap();
        let logs =
            "[log.nowhere]\nfilename=/nowhere/log\n[log.full]\nfilename=/dev/full\n[keyring]";
        fs_err::write(
            machine.rig.path("system.conf"),
            conf.replace("[keyring]", logs),
        )
        .unwrap();
        let output = machine
            .rig
            .run(&["install", machine.bundle.to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(machine.rig.snapshot().b.starts_with(&image(2)));
        let history = machine.rig.run(&["history"]);
        assert!(history.status.success(), "{}", stderr(&history));
    }
}

#[test]
fn what_a_hook_says_is_told_while_it_runs() {
    let machine = Machine::new();
    let bundle = machine.bundle.to_str().unwrap();
    let mut here = machine.rig.command("A", &["install", bundle]);
    let mut child = here.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = lines
        .map(Result::unwrap)
        .find(|line| line == "50 half of it");
    assert!(said.is_some(), "it waits for us, and we heard nothing");
    machine.let_go();
    assert!(child.wait().unwrap().success());
}
