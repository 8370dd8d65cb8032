//! A machine of files for the real program: slots, environment, configuration, keyring.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::grub_model;
use super::{FACTORY, SLOT, environment};

/// Files below one directory that stand for a machine; A runs.
pub struct Rig {
    pub dir: tempfile::TempDir,
}

/// Everything that an installation could have touched.
#[derive(PartialEq, Eq)]
pub struct Snapshot {
    pub a: Vec<u8>,
    pub b: Vec<u8>,
    pub env: Vec<u8>,
}

impl Rig {
    /// Slot A holds `a`, B is full of 0xee.
    pub fn new(a: &[u8], keyring: &Path) -> Rig {
        let rig = Rig {
            dir: tempfile::tempdir().unwrap(),
        };
        let mut content = a.to_vec();
        content.resize(SLOT, 0xee);
        fs_err::write(rig.path("slot-a"), content).unwrap();
        fs_err::write(rig.path("slot-b"), vec![0xee; SLOT]).unwrap();
        fs_err::write(rig.path("grubenv"), environment(FACTORY)).unwrap();
        fs_err::copy(keyring, rig.path("keyring.pem")).unwrap();
        let conf = "[system]\ncompatible=board\nbootloader=grub\ngrubenv=grubenv\n\
                    data-directory=data\n[keyring]\npath=keyring.pem\n\
                    [slot.rootfs.0]\ndevice=slot-a\nbootname=A\n\
                    [slot.rootfs.1]\ndevice=slot-b\nbootname=B\n";
        fs_err::write(rig.path("system.conf"), conf).unwrap();
        rig.configure("");
        rig
    }

    /// Writes `slotmgr.toml`. Never with the watchdog, the scripts or the restart of the machine
    /// that runs the tests: `[trial]` is written here, and may go on in `text`.
    pub fn configure(&self, text: &str) {
        let restarted = self.path("restarted").display().to_string();
        let scripts = self.path("scripts").display().to_string();
        let toml = format!(
            "[watchdog]\nuse = \"never\"\n[trial]\nreboot-command = [\"touch\", \
             \"{restarted}\"]\ndirectories = [\"{scripts}\"]\n{text}"
        );
        fs_err::write(self.path("slotmgr.toml"), toml).unwrap();
    }

    /// GRUB starts the machine: which slot?
    pub fn start(&self) -> String {
        let mut variables = grub_model::load_env(&self.snapshot().env).unwrap();
        let booted = grub_model::choose(&mut variables).unwrap();
        fs_err::write(self.path("grubenv"), grub_model::render(&variables)).unwrap();
        // Memory does not survive.
        if self.path("run").exists() {
            fs_err::remove_dir_all(self.path("run")).unwrap();
        }
        booted
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the real program as if the kernel had started `slot`.
    pub fn run_on(&self, slot: &str, arguments: &[&str]) -> Output {
        self.command(slot, arguments).output().unwrap()
    }

    /// The same, to be run by the test.
    pub fn command(&self, slot: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotmgr"));
        command
            .arg("--conf")
            .arg(self.path("system.conf"))
            .args(["--override-boot-slot", slot])
            .arg("--run-directory")
            .arg(self.path("run"))
            .arg("--journal-socket")
            .arg(self.path("journal"))
            .args(arguments);
        command
    }

    /// Runs the real program on A.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_on("A", arguments)
    }

    pub fn snapshot(&self) -> Snapshot {
        let read = |name| fs_err::read(self.path(name)).unwrap();
        Snapshot {
            a: read("slot-a"),
            b: read("slot-b"),
            env: read("grubenv"),
        }
    }
}

/// Standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
