//! A system that was started from the network or from a stick: no slot runs, and each may be written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use serde_json::Value;
use support::rig::{Rig, stderr, stdout};
use support::{BOTH_GOOD, bundle_file, environment, image};

/// How RAUC calls it in the place of a boot name.
const OUTSIDE: &str = "_external_";

fn rig() -> (Rig, [String; 3]) {
    let dir = tempfile::tempdir().unwrap();
    let rig = {
        let (_, keyring) = bundle_file(dir.path(), &image(2), "2");
        Rig::new(&image(1), &keyring)
    };
    let bundle = |number: u8| {
        let (made, _) = bundle_file(dir.path(), &image(10 + number), &format!("1{number}"));
        let name = rig.path(&format!("{number}.raucb"));
        fs_err::copy(made, &name).unwrap();
        name.to_str().unwrap().to_owned()
    };
    let bundles = [1, 2, 3].map(bundle);
    fs_err::write(rig.path("grubenv"), environment(BOTH_GOOD)).unwrap();
    (rig, bundles)
}

fn status(rig: &Rig) -> Value {
    let output = rig.run_on(OUTSIDE, &["status", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_slot_in_turn_is_installed_into() {
    let (rig, bundles) = rig();
    for (bundle, (slot, seed)) in bundles.iter().zip([("A", 11), ("B", 12), ("A", 13)]) {
        let output = rig.run_on(OUTSIDE, &["install", bundle]);
        assert!(output.status.success(), "{}", stderr(&output));
        let found = rig.snapshot();
        let content = if slot == "A" { found.a } else { found.b };
        assert!(content.starts_with(&image(seed)), "{slot} after {bundle}");
        assert_eq!(rig.start(), slot, "the new one is started");
        let told = status(&rig);
        assert_eq!(told["booted"], Value::Null);
        for index in 0..2 {
            assert_eq!(told["slots"][index]["state"], "inactive");
        }
        // Two installations in one second would be equally old.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
}

#[test]
fn verbs_that_mean_the_running_slot_want_a_name() {
    let (rig, _) = rig();
    let before = rig.snapshot();
    for words in [
        &["mark", "good"][..],
        &["mark", "bad", "booted"],
        &["mark", "active", "other"],
        &["rollback"],
    ] {
        let output = rig.run_on(OUTSIDE, words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(
            stderr(&output).contains("from outside its slots"),
            "{}",
            stderr(&output)
        );
    }
    assert!(rig.snapshot() == before);
    let text = stdout(&rig.run_on(OUTSIDE, &["status"]));
    assert!(
        text.contains("running    a system outside the slots"),
        "{text}"
    );
    let trial = rig.run_on(OUTSIDE, &["trial"]);
    assert!(trial.status.success(), "{}", stderr(&trial));
    assert!(stdout(&trial).contains("lies in no slot"));
    let preflight = rig.run_on(OUTSIDE, &["preflight"]);
    assert!(preflight.status.success(), "{}", stdout(&preflight));
    let marked = rig.run_on(OUTSIDE, &["mark", "active", "rootfs.1"]);
    assert!(marked.status.success(), "{}", stderr(&marked));
    assert_eq!(rig.start(), "B");
}
