//! Install, trial and confirmation with the real program on a U-Boot environment of two copies in a
//! file, read by `fw_printenv` as a peer.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::process::{Command, Output};

use support::rig::{Rig, stderr, stdout};
use support::{bundle_file, image};

fn run(rig: &Rig, slot: &str, arguments: &[&str]) -> Output {
    let config = rig.path("fw_env.config");
    let mut all = vec!["--fw-env-config", config.to_str().unwrap()];
    all.extend(arguments);
    let output = rig.run_on(slot, &all);
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// What Debian's tool reads, sorted.
fn peer(rig: &Rig) -> String {
    let output = Command::new("fw_printenv")
        .arg("-c")
        .arg(rig.path("fw_env.config"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let mut lines: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
    lines.sort();
    lines.join(",")
}

#[test]
fn the_peer_reads_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let (bundle, keyring) = bundle_file(dir.path(), &image(3), "3");
    let rig = Rig::new(&image(1), &keyring);
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    let conf = conf.replace("bootloader=grub\ngrubenv=grubenv", "bootloader=uboot");
    fs_err::write(rig.path("system.conf"), conf).unwrap();
    let text = "BOOT_A_GOOD=1\nBOOT_A_LEFT=3\nBOOT_B_LEFT=0\nBOOT_ORDER=A B\n";
    fs_err::write(rig.path("env.txt"), text).unwrap();
    let made = Command::new("mkenvimage")
        .args(["-r", "-s", "0x1000", "-o"])
        .args([rig.path("env"), rig.path("env.txt")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let mut copies = fs_err::read(rig.path("env")).unwrap();
    copies.resize(0x2000, 0xff);
    fs_err::write(rig.path("env"), copies).unwrap();
    let env = rig.path("env").display().to_string();
    let config = format!("{env} 0x0 0x1000\n{env} 0x1000 0x1000\n");
    fs_err::write(rig.path("fw_env.config"), config).unwrap();

    run(&rig, "A", &["install", bundle.to_str().unwrap()]);
    assert_eq!(
        peer(&rig),
        "BOOT_A_GOOD=1,BOOT_A_LEFT=3,BOOT_B_LEFT=3,BOOT_ORDER=B A"
    );
    let trial = run(&rig, "B", &["trial"]);
    assert!(stdout(&trial).contains("rootfs.1 is confirmed"));
    let good = "BOOT_A_GOOD=1,BOOT_A_LEFT=3,BOOT_B_GOOD=1,BOOT_B_LEFT=3,BOOT_ORDER=B A";
    assert_eq!(peer(&rig), good);
    let before = fs_err::read(rig.path("env")).unwrap();
    run(&rig, "B", &["trial"]);
    assert!(
        fs_err::read(rig.path("env")).unwrap() == before,
        "an ordinary start writes nothing"
    );
    run(&rig, "B", &["mark", "bad", "other"]);
    assert_eq!(
        peer(&rig),
        "BOOT_A_LEFT=0,BOOT_B_GOOD=1,BOOT_B_LEFT=3,BOOT_ORDER=B"
    );

    let yaml = format!(
        "board:\n  size: 0x1000\n  devices:\n    - path: {env}\n      offset: 0x0\n    \
         - path: {env}\n      offset: 0x1000\n"
    );
    fs_err::write(rig.path("fw_env.config"), yaml).unwrap();
    let status = stdout(&run(&rig, "B", &["status"]));
    assert!(status.contains("(B)"), "libubootenv's YAML: {status}");
}
