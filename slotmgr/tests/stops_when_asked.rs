//! Ctrl-C in the middle: the target stays condemned, the exit code says so, the next one works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::process::{Command, Stdio};

use support::rig::{Rig, stderr, stdout};
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
            .args(["--override-boot-slot", "A", "install"])
            .arg(&bundle)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while !started.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        support::loops::run("kill", &["-s", signal, &child.id().to_string()]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        let status = stdout(&rig.run(&["status"]));
        assert!(status.contains("next start rootfs.0 (A)"), "{status}");
        assert!(rig.snapshot().a.starts_with(&image(1)));
        let again = rig.run(&["install", bundle.to_str().unwrap()]);
        assert!(again.status.success(), "{}", stderr(&again));
    }
}
