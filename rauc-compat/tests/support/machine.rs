//! A machine of files with a bus, for the commands of the device.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use bundle_tool::keys::demo_pki;

use super::OURS;

/// What an installation by RAUC leaves.
const STATUS: &str = "\
[slot.rootfs.1]
bundle.compatible=board
bundle.version=2.0
bundle.description=it's for you
bundle.build=20260101
status=ok
sha256=ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7
size=4096
installed.timestamp=2026-01-02T03:04:05Z
installed.count=3
activated.timestamp=2026-01-02T03:05:05Z
activated.count=2

[slot.appfs.1]
bundle.compatible=board
status=pending
";

/// A program that ends with the value.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two root slots, each with another one that belongs to it, as files; and a bus.
pub struct Machine {
    dir: tempfile::TempDir,
    address: String,
    _bus: Running,
}

impl Machine {
    pub fn new() -> Machine {
        Machine::with("")
    }

    /// One whose system.conf has these sections as well.
    pub fn with(sections: &str) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a.img", "b.img", "c.img", "d.img"] {
            fs_err::write(path(name), vec![0xee; 200_000]).unwrap();
        }
        let here = dir.path().display();
        fs_err::write(path("central.raucs"), STATUS).unwrap();
        let conf = format!(
            "[system]\ncompatible=board\nbootloader=grub\ngrubenv={here}/grubenv\n\
             statusfile={here}/central.raucs\nmountprefix={here}/mnt\n\
             [keyring]\npath=pki/keyring.pem\n\
             [slot.rootfs.0]\ndevice={here}/a.img\ntype=raw\nbootname=A\n\
             [slot.rootfs.1]\ndevice={here}/b.img\ntype=raw\nbootname=B\ndescription=The second\n\
             [slot.appfs.0]\ndevice={here}/c.img\ntype=raw\nparent=rootfs.0\n\
             [slot.appfs.1]\ndevice={here}/d.img\ntype=raw\nparent=rootfs.1\n{sections}"
        );
        fs_err::write(path("system.conf"), conf).unwrap();
        demo_pki(&path("pki")).unwrap();
        let grubenv = |words: &[&str]| {
            let mut command = Command::new("grub-editenv");
            let done = command.arg(path("grubenv")).args(words).status().unwrap();
            assert!(done.success());
        };
        grubenv(&["create"]);
        grubenv(&[
            "set",
            "ORDER=B A",
            "A_OK=1",
            "A_TRY=0",
            "A_LEFT=good",
            "B_OK=0",
            "B_TRY=0",
        ]);
        let (bus, address) = bus();
        Machine {
            dir,
            address,
            _bus: bus,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .env("DBUS_STARTER_BUS_TYPE", "session")
            .env("RAUC_TEST_RUNTIME_DIRECTORY", self.path("run"))
            .env_remove("NO_COLOR");
        command
    }

    pub fn run(&self, program: &str, line: &str) -> Output {
        self.command(program)
            .args(line.split_whitespace())
            .output()
            .unwrap()
    }

    pub fn serve(&self, program: &str) -> Running {
        let service = self
            .command(program)
            .args(["service", "-c", "system.conf", "--override-boot-slot=A"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let waited = self.run("gdbus", "wait --session --timeout=30 de.pengutronix.rauc");
        assert!(waited.status.success(), "{program} service did not start");
        Running(service)
    }

    pub fn bundle(&self, version: &str) -> String {
        let input = self.path(version);
        fs_err::create_dir(&input).unwrap();
        fs_err::write(input.join("rootfs.img"), vec![7; 100_000]).unwrap();
        let manifest = format!(
            "[update]\ncompatible=board\nversion={version}\n[bundle]\nformat=verity\n\
             [image.rootfs]\nfilename=rootfs.img\n"
        );
        fs_err::write(input.join("manifest.raucm"), manifest).unwrap();
        let name = format!("{version}.raucb");
        let line =
            format!("bundle --cert pki/signer.cert.pem --key pki/signer.key.pem {version} {name}");
        let made = self.run(OURS, &line);
        assert!(made.status.success(), "{}", err(&made));
        name
    }

    pub fn grubenv(&self) -> String {
        out(&self.run("grub-editenv", "grubenv list"))
    }
}

pub fn bus() -> (Running, String) {
    let mut daemon = Command::new("dbus-daemon")
        .args(["--session", "--nofork", "--print-address"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("dbus-daemon (Debian's package `dbus`) runs");
    let mut address = String::new();
    let mut lines = BufReader::new(daemon.stdout.take().unwrap());
    lines.read_line(&mut address).unwrap();
    (Running(daemon), address.trim().to_owned())
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
