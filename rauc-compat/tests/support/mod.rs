//! What the tests of this room share: a scratch directory with keys and an input directory.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod machine;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bundle_tool::keys::demo_pki;

/// Our program.
pub const OURS: &str = env!("CARGO_BIN_EXE_rauc");
/// Debian's.
pub const THEIRS: &str = "/usr/bin/rauc";

pub const KEYRING: &str = "--keyring=pki/keyring.pem";
pub const SIGNER: &str = "--cert=pki/signer.cert.pem --key=pki/signer.key.pem";

/// A scratch directory.
pub struct Workshop(tempfile::TempDir);

impl Workshop {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        demo_pki(&dir.path().join("pki")).unwrap();
        let workshop = Self(dir);
        fs_err::create_dir(workshop.path("input")).unwrap();
        workshop.write("input/rootfs.ext4", &noise(320 * 1024));
        workshop.write("input/boot.vfat", &noise(3000));
        workshop.write("input/hook.sh", b"#!/bin/sh\nexit 0\n");
        workshop.manifest("verity");
        workshop
    }

    pub fn manifest(&self, format: &str) {
        let text = format!(
            "[update]\ncompatible=Test Board\nversion=2026.01-1\n\
             description=it's a \"test\" \\\\ x\nbuild=42\n\n[bundle]\nformat={format}\n\n\
             [hooks]\nfilename=hook.sh\nhooks=install-check\n\n\
             [image.rootfs]\nfilename=rootfs.ext4\nhooks=pre-install;post-install\n\
             adaptive=block-hash-index\n\n[image.boot.v1]\nfilename=boot.vfat\n"
        );
        self.write("input/manifest.raucm", text.as_bytes());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs_err::write(self.path(name), bytes).unwrap();
    }

    /// Runs a program in the scratch directory; words are split at spaces.
    pub fn run(&self, program: &str, line: &str) -> Output {
        Command::new(program)
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .env("LC_ALL", "C")
            .env_remove("NO_COLOR")
            .output()
            .unwrap_or_else(|error| panic!("{program} is not installed: {error}"))
    }

    /// The same, and it has to succeed.
    pub fn ok(&self, program: &str, line: &str) -> String {
        let done = self.run(program, line);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{program} {line}: {said}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Both programs print the same and end alike.
    pub fn same(&self, line: &str) {
        let (theirs, ours) = (self.run(THEIRS, line), self.run(OURS, line));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = text(&ours.stderr);
        assert_eq!(ours.status.code(), theirs.status.code(), "{line}: {told}");
        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{line}");
    }
}

/// Bytes that do not compress and are the same every time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
