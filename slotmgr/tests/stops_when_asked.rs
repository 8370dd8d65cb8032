//! Ctrl-C in the middle: the target stays condemned, the exit code says so, the next one works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::chunks::Lab;
use support::rig::{Rig, stderr, stdout};
use support::server::{Fault, Request};
use support::{bundle_with, image};

#[test]
fn while_a_hook_runs() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "[update]\ncompatible=board\nversion=2\n[bundle]\nformat=verity\n[hooks]\nfilename=hook\n\
                    [image.rootfs]\nfilename=r.img\nhooks=pre-install\n";
    let started = dir.path().join("started");
    let hook = format!(
        "#!/bin/sh\n[ -e {0} ] && exit 0\ntouch {0}\nsleep 1000\n",
        started.display()
    );
    let image_2 = image(2);
    let (bundle, keyring) = bundle_with(
        dir.path(),
        manifest,
        &[("r.img", &image_2), ("hook", hook.as_bytes())],
    );
    for signal in ["INT", "TERM"] {
        let _ = std::fs::remove_file(&started);
        let rig = Rig::new(&image(1), &keyring);
        let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
        fs_err::write(
            rig.path("system.conf"),
            conf.replace("[keyring]", "mountprefix=mnt\n[keyring]"),
        )
        .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_slotmgr"))
            .arg("--conf")
            .arg(rig.path("system.conf"))
            .arg("--run-directory")
            .arg(rig.path("run"))
            .args(["--override-boot-slot", "A", "install", "--json"])
            .arg(&bundle)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while !started.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        support::loops::run("kill", &["-s", signal, &child.id().to_string()]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["exit-code"], 130, "{answer}");
        let status = stdout(&rig.run(&["status"]));
        assert!(status.contains("next start rootfs.0 (A)"), "{status}");
        assert!(rig.snapshot().a.starts_with(&image(1)));
        let again = rig.run(&["install", bundle.to_str().unwrap()]);
        assert!(again.status.success(), "{}", stderr(&again));
    }
}

/// Tells one request from others.
type Which = fn(&Request) -> bool;

/// The update is asked to stop once the server has fallen silent (`fault`) in the middle of the
/// answer to the first request that is `which`.
fn stopped_while_silent(lab: &Lab, fault: Fault, which: Which) -> String {
    let silent = Arc::new(AtomicBool::new(false));
    let fell = Arc::clone(&silent);
    let server =
        lab.serve(
            move |request| match which(request) && !fell.swap(true, Ordering::Relaxed) {
                true => fault,
                false => Fault::None,
            },
        );
    let url = format!("{}/update-2.raucb", server.url);
    let mut command = lab.rig.command("B", &["install", &url]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !silent.load(Ordering::Relaxed) {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // What else is under way comes to its end.
    let mut before = 0;
    while before != server.requests() {
        before = server.requests();
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    support::loops::run("kill", &["-s", "INT", &child.id().to_string()]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    // Who waits for the server to the end of his patience asks it again.
    assert_eq!(server.requests(), before);
    assert_eq!(lab.rig.start(), "B");
    stderr(&output)
}

#[test]
fn while_the_server_is_silent() {
    let chunk = |request: &Request| request.path.ends_with(".cacnk");
    let cases: [(Fault, Which, &str); 5] = [
        // The very first request; the signature; chunks; one large request for many.
        (
            Fault::Busy(50),
            |request| request.number == 0,
            "nothing was written",
        ),
        (
            Fault::Stall,
            |request| request.number == 1,
            "nothing was written",
        ),
        (Fault::Stall, chunk, "stays unusable"),
        (Fault::Busy(50), chunk, "stays unusable"),
        (
            Fault::Stall,
            |request| request.path.ends_with(".pack") && request.range.unwrap().1 > 500_000,
            "stays unusable",
        ),
    ];
    for (number, (fault, which, expected)) in cases.into_iter().enumerate() {
        let lab = support::chunks::lab();
        if number == 4 {
            lab.releases.pack(&lab.second);
        }
        let message = stopped_while_silent(&lab, fault, which);
        assert!(message.contains("was stopped"), "{number}: {message}");
        assert!(message.contains(expected), "{number}: {message}");
        lab.fetched(&lab.serve(|_| Fault::None));
    }
}
