//! The whole life of an update with the real program, on files: install, trial, confirm; and the
//! way back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use support::rig::{Rig, stderr, stdout};
use support::{bundle_file, image};

fn installed(check: &str) -> (Rig, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, keyring) = bundle_file(dir.path(), &image(3), "3");
    let rig = Rig::new(&image(1), &keyring);
    rig.configure(&format!(
        "tries = 2\n[[check]]\nname = \"app\"\ncommand = [\"/bin/sh\", \"-c\", \"{check}\"]\n"
    ));
    let output = rig.run(&["install", bundle.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    (rig, dir)
}

#[test]
fn a_good_one_is_confirmed_once_and_nothing_is_written_afterwards() {
    let (rig, _dir) = installed("echo fine");
    assert_eq!(rig.start(), "B");
    let status = stdout(&rig.run_on("B", &["status"]));
    assert!(
        status.contains("version 3 is running, on trial"),
        "{status}"
    );
    let trial = rig.run_on("B", &["trial"]);
    assert!(trial.status.success(), "{}", stderr(&trial));
    assert!(stdout(&trial).contains("rootfs.1 is confirmed: 1 of 1 checks passed"));
    let env = rig.snapshot().env;
    let text = String::from_utf8(env.clone()).unwrap();
    assert!(
        text.contains("\nB_LEFT=good\n") && text.contains("\nB_TRY=0\n"),
        "{text}"
    );

    assert_eq!(rig.start(), "B");
    assert!(
        rig.snapshot().env == env,
        "an ordinary start writes nothing"
    );
    let again = rig.run_on("B", &["trial"]);
    assert!(
        stdout(&again).contains("not on trial"),
        "{}",
        stdout(&again)
    );
    assert!(rig.snapshot().env == env);
    let status = stdout(&rig.run_on("B", &["status"]));
    assert!(status.contains("version 3 has proved itself"), "{status}");
}

#[test]
fn a_bad_one_gives_way_and_the_old_system_says_why() {
    let (rig, _dir) = installed("echo no database; exit 3");
    for left in ["1 more try", "its last try"] {
        assert_eq!(rig.start(), "B");
        let trial = rig.run_on("B", &["trial", "--no-reboot"]);
        assert_eq!(trial.status.code(), Some(1));
        assert!(stdout(&trial).contains(left), "{}", stdout(&trial));
    }
    assert_eq!(rig.start(), "A");
    let status = stdout(&rig.run(&["status"]));
    assert!(
        status.contains(
            "version 3 did not prove itself, and this system came back: check `app` failed with \
             exit code 3: no database"
        ),
        "{status}"
    );
    assert!(rig.snapshot().a.starts_with(&image(1)));
}

#[test]
fn json_for_programs() {
    let (rig, _dir) = installed("true");
    let json = |output| -> serde_json::Value { serde_json::from_str(&stdout(&output)).unwrap() };
    let status = json(rig.run(&["status", "--json"]));
    assert_eq!(status["schema"], 1);
    assert_eq!(status["booted"], "rootfs.0");
    assert_eq!(status["primary"], "rootfs.1");
    assert_eq!(status["outcome"]["state"], "waiting");
    assert_eq!(status["slots"][1]["boot-status"], "trial");
    assert_eq!(status["slots"][1]["tries-left"], 2);
    assert_eq!(status["slots"][1]["content"]["release"]["version"], "3");
    rig.start();
    let trial = json(rig.run_on("B", &["trial", "--json"]));
    assert_eq!(trial["result"], "confirmed");
    assert_eq!(trial["checks"][0]["passed"], true);
}

#[test]
fn marks_by_hand_and_what_is_refused() {
    let (rig, _dir) = installed("true");
    let bad = rig.run(&["mark", "bad", "other"]);
    assert!(stdout(&bad).contains("rootfs.1 is marked bad; rootfs.0 is started next"));
    let alone = rig.run(&["mark", "bad", "booted"]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(
        stderr(&alone).contains("without a system"),
        "{}",
        stderr(&alone)
    );
    let active = rig.run(&["mark", "active", "B"]);
    assert!(
        stdout(&active).contains("rootfs.1 is started next"),
        "{}",
        stdout(&active)
    );
    let unknown = rig.run(&["mark", "good", "C"]);
    assert!(stderr(&unknown).contains("no slot is called `C`; there are A, B"));
    assert_eq!(rig.run(&["mark", "perfect"]).status.code(), Some(2));
}

#[test]
fn a_second_installer_has_to_wait_its_turn() {
    let (rig, dir) = installed("true");
    let slot = std::fs::File::options()
        .write(true)
        .open(rig.path("slot-b"))
        .unwrap();
    slot.lock().unwrap();
    let before = rig.snapshot();
    let bundle = dir.path().join("update-3.raucb");
    let output = rig.run(&["install", bundle.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is in use"), "{}", stderr(&output));
    assert!(rig.snapshot() == before);
}
