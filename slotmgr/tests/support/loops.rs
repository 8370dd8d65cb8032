//! Loop devices: real block devices for tests that mount and make file systems. They need root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device over a file of its own, gone when this goes.
pub struct Loop {
    pub node: PathBuf,
}

/// Runs a program; it must succeed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} does not run: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Loop {
    pub fn new(dir: &Path, name: &str, size: u64) -> Loop {
        let file = dir.join(name);
        std::fs::File::create(&file).unwrap().set_len(size).unwrap();
        Loop::over(&file)
    }

    /// Over a file that is there.
    pub fn over(file: &Path) -> Loop {
        let node = run("losetup", &["--find", "--show", file.to_str().unwrap()]);
        Loop { node: node.into() }
    }

    pub fn text(&self) -> &str {
        self.node.to_str().unwrap()
    }

    /// Mounts it read-only while `work` runs.
    pub fn mounted<T>(&self, work: impl FnOnce(&Path) -> T) -> T {
        let at = tempfile::tempdir().unwrap();
        run(
            "mount",
            &["-o", "ro", self.text(), at.path().to_str().unwrap()],
        );
        let found = work(at.path());
        run("umount", &[at.path().to_str().unwrap()]);
        found
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .arg("--detach")
            .arg(&self.node)
            .status();
    }
}
