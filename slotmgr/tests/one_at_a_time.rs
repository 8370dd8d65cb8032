//! Two who want to work on one machine, and one who is killed while he does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use support::rig::{Rig, stderr, stdout};
use support::{bundle_with, image};

/// A machine, and a bundle whose hook waits in the middle of the installation.
struct Scene {
    rig: Rig,
    dir: tempfile::TempDir,
    bundle: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let manifest = "[update]\ncompatible=board\nversion=2\n[bundle]\nformat=verity\n\
                        [hooks]\nfilename=hook\n\
                        [image.rootfs]\nfilename=r.img\nhooks=pre-install\n";
        let at = dir.path().display();
        let hook =
            format!("#!/bin/sh\ntouch {at}/began\nuntil [ -e {at}/go ]; do sleep 0.05; done\n");
        let files: [(&str, &[u8]); 2] = [("r.img", &image(2)), ("hook", hook.as_bytes())];
        let (bundle, keyring) = bundle_with(dir.path(), manifest, &files);
        let rig = Rig::new(&image(1), &keyring);
        let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
        let conf = conf.replace("[keyring]", "mountprefix=mnt\n[keyring]");
        fs_err::write(rig.path("system.conf"), conf).unwrap();
        fs_err::write(rig.path("new.img"), image(3)).unwrap();
        Scene { rig, dir, bundle }
    }

    /// An installation that has condemned its target and does not go on.
    fn begin(&self) -> Child {
        let bundle = self.bundle.to_str().unwrap();
        let mut command = self.rig.command("A", &["install", bundle]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        while !self.dir.path().join("began").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn go(&self) {
        fs_err::write(self.dir.path().join("go"), "").unwrap();
    }
}

#[test]
fn who_comes_second_changes_nothing_and_is_told_why() {
    let scene = Scene::new();
    let first = scene.begin();
    let before = scene.rig.snapshot();
    let new = scene.rig.path("new.img");
    for words in [
        &["install", scene.bundle.to_str().unwrap()][..],
        &["mark", "active", "rootfs.1"],
        &["mark", "good", "rootfs.1"],
        &["write-slot", "B", new.to_str().unwrap()],
    ] {
        let output = scene.rig.run(words);
        assert_eq!(output.status.code(), Some(6), "{words:?}");
        let text = stderr(&output);
        assert!(text.contains("another installation"), "{words:?}: {text}");
    }
    let status = stdout(&scene.rig.run(&["status"]));
    assert!(status.contains("next start rootfs.0 (A)"), "{status}");
    assert!(scene.rig.snapshot() == before);
    scene.go();
    let output = first.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(scene.rig.start(), "B");
}

#[test]
fn who_is_killed_holds_nobody_up() {
    let scene = Scene::new();
    let mut first = scene.begin();
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(scene.rig.snapshot().a.starts_with(&image(1)));
    let status = stdout(&scene.rig.run(&["status"]));
    assert!(status.contains("next start rootfs.0 (A)"), "{status}");
    assert!(status.contains("was not finished"), "{status}");
    scene.go();
    let again = scene.rig.run(&["install", scene.bundle.to_str().unwrap()]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(scene.rig.snapshot().b.starts_with(&image(2)));
    assert_eq!(scene.rig.start(), "B");
}
