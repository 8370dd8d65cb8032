//! An installation from a web server that was cut off goes on with what is in the target.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use support::rig::{Rig, stderr};
use support::server::{Fault, Server};
use support::{bundle_file, noise};

/// Bytes of the image: large enough that what is under way at a time is less than a hundredth.
const IMAGE: usize = 128 << 20;

struct Lab {
    dir: tempfile::TempDir,
    rig: Rig,
    image: Vec<u8>,
    bundle: PathBuf,
}

fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let image = noise(1, IMAGE);
    let (bundle, keyring) = bundle_file(dir.path(), &image, "1");
    let rig = Rig::with_slots(IMAGE, &[], &keyring);
    Lab {
        dir,
        rig,
        image,
        bundle,
    }
}

impl Lab {
    fn len(&self) -> u64 {
        fs_err::metadata(&self.bundle).unwrap().len()
    }

    fn url(&self, server: &Server) -> String {
        let name = self.bundle.file_name().unwrap().to_str().unwrap();
        format!("{}/{name}", server.url)
    }

    /// Installs until `bytes` have been sent, then kills the process without a warning.
    fn killed_after(&self, server: &Server, bytes: u64) {
        let url = self.url(server);
        let mut command = self.rig.command("A", &["install", &url]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while server.sent() < bytes {
            assert!(child.try_wait().unwrap().is_none(), "it ended early");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_killed_installation_fetches_hardly_anything_twice() {
    let lab = lab();
    let server = Server::of(lab.dir.path(), |_| Fault::None);
    lab.killed_after(&server, 40 << 20);
    assert_eq!(lab.rig.start(), "A");
    lab.killed_after(&server, 90 << 20);
    let output = lab.rig.run(&["install", &lab.url(&server)]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(lab.rig.snapshot().b == lab.image);
    assert!(!lab.rig.path("data/unfinished").exists());
    let twice = server.sent() - lab.len();
    // Two kills, a hundredth each.
    assert!(twice < lab.len() / 50, "{twice} of {}", lab.len());
}

#[test]
fn what_a_power_cut_took_is_fetched_again_and_notes_are_not_believed() {
    let lab = lab();
    let server = Server::of(lab.dir.path(), |_| Fault::None);
    lab.killed_after(&server, 40 << 20);
    // Blocks that had not reached the medium, in the middle of others that had; and notes that say
    // of a part of the image what is in the slot, and not what belongs there.
    let mut slot = fs_err::read(lab.rig.path("slot-b")).unwrap();
    slot[10 << 20..11 << 20].fill(0);
    fs_err::write(lab.rig.path("slot-b"), &slot).unwrap();
    let output = lab.rig.run(&["install", &lab.url(&server)]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(lab.rig.snapshot().b == lab.image);
    let twice = server.sent() - lab.len();
    assert!(twice < (1 << 20) + lab.len() / 50, "{twice}");
}

#[test]
fn notes_that_lie_cost_an_attempt_and_nothing_else() {
    let lab = lab();
    let server = Server::of(lab.dir.path(), |_| Fault::None);
    lab.killed_after(&server, 40 << 20);
    let directory = fs_err::read_dir(lab.rig.path("data/unfinished")).unwrap();
    let notes = directory.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut lies = fs_err::read(&notes).unwrap();
    let mut slot = fs_err::read(lab.rig.path("slot-b")).unwrap();
    slot[..64 << 10].fill(7);
    lies[..32].copy_from_slice(bundle_format::Digest::of(&slot[..64 << 10]).as_bytes());
    fs_err::write(lab.rig.path("slot-b"), &slot).unwrap();
    fs_err::write(&notes, lies).unwrap();

    let output = lab.rig.run(&["install", &lab.url(&server)]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lab.rig.start(), "A");
    let output = lab.rig.run(&["install", &lab.url(&server)]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(lab.rig.snapshot().b == lab.image);
}
