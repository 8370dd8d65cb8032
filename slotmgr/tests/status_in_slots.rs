//! `statusfile=per-slot` beside Debian's `rauc`: each reads what the other left in a slot.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::loops::{Loop, run};
use support::rig::{stderr, stdout};
use support::{FACTORY, bundle_with, environment};

const MIB: u64 = 1 << 20;

/// Two slots with ext4 on loop devices; A runs.
struct Board {
    dir: tempfile::TempDir,
    slots: [Loop; 2],
}

impl Board {
    fn new() -> Board {
        let dir = tempfile::tempdir().unwrap();
        let slots = ["a", "b"].map(|name| Loop::new(dir.path(), name, 8 * MIB));
        for slot in &slots {
            run("mkfs.ext4", &["-q", slot.text()]);
        }
        fs_err::write(dir.path().join("grubenv"), environment(FACTORY)).unwrap();
        let here = dir.path().display();
        let conf = format!(
            "[system]\ncompatible=board\nbootloader=grub\ngrubenv={here}/grubenv\n\
             statusfile=per-slot\nmountprefix={here}/mnt\n[keyring]\npath=pki/keyring.pem\n\
             [slot.rootfs.0]\ndevice={}\ntype=ext4\nbootname=A\n\
             [slot.rootfs.1]\ndevice={}\ntype=ext4\nbootname=B\n",
            slots[0].text(),
            slots[1].text(),
        );
        fs_err::write(dir.path().join("system.conf"), conf).unwrap();
        Board { dir, slots }
    }

    fn slotmgr(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotmgr"));
        command
            .current_dir(self.dir.path())
            .args(["--conf", "system.conf", "--override-boot-slot", "A"])
            .arg("--run-directory")
            .arg(self.dir.path().join("run"))
            .args(arguments);
        command.output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.slotmgr(arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    }

    /// What `slotmgr status` tells of the second slot's content.
    fn told(&self) -> Value {
        let status: Value = serde_json::from_str(&self.ok(&["status", "--json"])).unwrap();
        status["slots"][1]["slot-status"].clone()
    }

    /// What `rauc status --detailed` tells of it, after `command`.
    fn told_by_rauc(&self, command: &str) -> Value {
        let script = format!(
            "export DBUS_STARTER_BUS_TYPE=session; rauc -c system.conf service --override-boot-slot=A & \
             service=$!; until gdbus wait --session --timeout=10 de.pengutronix.rauc; do :; done; \
             {command}; rauc -c system.conf status --detailed --output-format=json; kill $service"
        );
        let output = Command::new("dbus-run-session")
            .args(["--", "timeout", "60", "sh", "-c", &script])
            .current_dir(self.dir.path())
            .output()
            .expect("dbus-run-session (Debian's package `dbus`) runs");
        let text = stdout(&output);
        let json: Value = text
            .lines()
            .find_map(|line| serde_json::from_str(line).ok())
            .unwrap_or_else(|| panic!("{text}{}", stderr(&output)));
        let slots = json["slots"].as_array().unwrap();
        let slot = slots.iter().find_map(|slot| slot.get("rootfs.1")).unwrap();
        slot["slot_status"].clone()
    }

    fn install(&self, image: &Path, version: &str) {
        let manifest = format!(
            "[update]\ncompatible=board\nversion={version}\n[bundle]\nformat=verity\n\
             [image.rootfs]\nfilename=rootfs.ext4\n"
        );
        let content = fs_err::read(image).unwrap();
        let (bundle, _) = bundle_with(self.dir.path(), &manifest, &[("rootfs.ext4", &content)]);
        self.ok(&[
            "install",
            "--transaction-id",
            "t-1",
            bundle.to_str().unwrap(),
        ]);
    }

    /// An image with a file in it.
    fn image(&self) -> std::path::PathBuf {
        let tree = self.dir.path().join("tree");
        fs_err::create_dir_all(&tree).unwrap();
        fs_err::write(tree.join("hello"), "new").unwrap();
        let image = self.dir.path().join("rootfs.ext4");
        let (tree, text) = (tree.to_str().unwrap(), image.to_str().unwrap());
        run("mkfs.ext4", &["-q", "-F", "-d", tree, text, "4M"]);
        image
    }
}

#[test]
fn rauc_reads_what_we_left_in_a_slot_and_we_what_rauc_left() {
    let board = Board::new();
    board.install(&board.image(), "7");
    // In the slot, beside what was installed, in two copies.
    board.slots[1].mounted(|root| {
        assert_eq!(fs_err::read_to_string(root.join("hello")).unwrap(), "new");
        for copy in ["slot.raucs", "slot.raucs.copy"] {
            let text = fs_err::read_to_string(root.join(copy)).unwrap();
            assert!(text.contains("\n[slot]\n"), "{text}");
        }
    });
    let status = board.told_by_rauc("true");
    assert_eq!(status["status"], "ok");
    assert_eq!(status["bundle"]["version"], "7");
    assert_eq!(status["checksum"]["size"], 4 * MIB);
    assert_eq!(status["installed"]["count"], 1);
    assert_eq!(status["activated"]["count"], 1);
    assert_eq!(board.told()["installed.transaction"], "t-1");

    // RAUC writes the file anew; we read it, and go on counting.
    let status = board.told_by_rauc("rauc -c system.conf status mark-active rootfs.1");
    assert_eq!(status["activated"]["count"], 2);
    assert_eq!(board.told()["activated.count"], "2");
    board.ok(&["mark", "active", "rootfs.1"]);
    assert_eq!(board.told()["activated.count"], "3");
    board.install(&board.image(), "8");
    let status = board.told_by_rauc("true");
    assert_eq!(status["bundle"]["version"], "8");
    assert_eq!(status["installed"]["count"], 2);
    assert_eq!(status["activated"]["count"], 4);
}

#[test]
fn a_mounted_slot_is_read_where_it_is_and_looking_changes_nothing() {
    let board = Board::new();
    board.install(&board.image(), "7");
    let content = || fs_err::read(&board.slots[1].node).unwrap();
    let before = content();
    assert_eq!(board.told()["bundle.version"], "7");
    assert!(content() == before, "reading the status wrote to the slot");
    board.slots[1].mounted(|root| {
        assert_eq!(board.told()["bundle.version"], "7");
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        let times = mounts.matches(board.slots[1].text()).count();
        assert_eq!(
            times,
            1,
            "left mounted a second time, beside {}",
            root.display()
        );
    });
}

/// An image without a file system is what it was promised to be, and stays so.
#[test]
fn where_nothing_can_be_mounted_nothing_is_written() {
    let board = Board::new();
    let image = board.dir.path().join("noise.img");
    fs_err::write(&image, vec![0x5a; 100_000]).unwrap();
    board.install(&image, "7");
    let content = fs_err::read(&board.slots[1].node).unwrap();
    assert!(content[..100_000].iter().all(|byte| *byte == 0x5a));
    assert_eq!(board.told(), Value::Object(serde_json::Map::new()));
}
