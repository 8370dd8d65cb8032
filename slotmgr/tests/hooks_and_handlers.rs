//! Programs that take part in an installation: the bundle's hooks and handler, the machine's handlers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use support::rig::{Rig, stderr, stdout};
use support::{bundle_with, image};

const MANIFEST: &str = "[update]\ncompatible=board\nversion=2\n[bundle]\nformat=verity\n";

/// A rig, and where its programs write down what they were told.
fn rig(dir: &tempfile::TempDir, handlers: &[(&str, &str)]) -> Rig {
    let (_, keyring) = bundle_with(
        dir.path(),
        &format!("{MANIFEST}[image.rootfs]\nfilename=r.img\n"),
        &[("r.img", b"x")],
    );
    let rig = Rig::new(&image(1), &keyring);
    let mut conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    conf = conf.replace("[keyring]", "mountprefix=mnt\n[keyring]");
    conf += "[handlers]\n";
    for (name, script) in handlers {
        let path = rig.path(name);
        fs_err::write(
            &path,
            format!("#!/bin/sh\ncd {}\n{script}\n", rig.dir.path().display()),
        )
        .unwrap();
        support::loops::run("chmod", &["755", path.to_str().unwrap()]);
        conf += &format!("{name}={}\n", path.display());
    }
    fs_err::write(rig.path("system.conf"), conf).unwrap();
    rig
}

fn install(dir: &tempfile::TempDir, rig: &Rig, manifest: &str, hook: &str) -> std::process::Output {
    let hook = format!("#!/bin/sh\ncd {}\n{hook}\n", rig.dir.path().display());
    let image = image(2);
    let (bundle, _) = bundle_with(
        dir.path(),
        manifest,
        &[("r.img", &image), ("hook", hook.as_bytes())],
    );
    rig.run(&["install", bundle.to_str().unwrap()])
}

fn told(rig: &Rig, name: &str) -> String {
    fs_err::read_to_string(rig.path(name)).unwrap_or_default()
}

fn has_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.lines().any(|found| found == *line),
            "`{line}` is not in:\n{text}"
        );
    }
}

const HOOKED: &str = "[hooks]\nfilename=hook\nhooks=install-check\n\
                      [image.rootfs]\nfilename=r.img\nhooks=pre-install;post-install\n[meta.shop]\norder-id=7\n";

#[test]
fn hooks_are_asked_in_order_and_told_what_rauc_tells() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(
        &dir,
        &[(
            "system-info",
            "echo RAUC_SYSTEM_SERIAL=123; echo RAUC_SYSTEM_VARIANT=big; echo noise",
        )],
    );
    let hook = "env > told.$1; echo $1 >> order; head -c 4 slot-b | od -c > seen.$1";
    // A bundle with an install-check need not be for this machine.
    let manifest = MANIFEST.replace("board", "other") + HOOKED;
    let output = install(&dir, &rig, &manifest, hook);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        told(&rig, "order"),
        "install-check\nslot-pre-install\nslot-post-install\n"
    );
    has_lines(
        &told(&rig, "told.install-check"),
        &[
            "RAUC_SYSTEM_COMPATIBLE=board",
            "RAUC_SYSTEM_VARIANT=big",
            "RAUC_SYSTEM_SERIAL=123",
            "RAUC_MF_COMPATIBLE=other",
            "RAUC_MF_VERSION=2",
            "RAUC_META_SHOP_ORDER_ID=7",
        ],
    );
    let size = image(2).len();
    let bundle = rig.path("mnt/bundle");
    has_lines(
        &told(&rig, "told.slot-post-install"),
        &[
            "RAUC_SLOT_NAME=rootfs.1",
            "RAUC_SLOT_STATE=inactive",
            "RAUC_SLOT_CLASS=rootfs",
            "RAUC_SLOT_TYPE=raw",
            "RAUC_SLOT_BOOTNAME=B",
            &format!("RAUC_SLOT_DEVICE={}", rig.path("slot-b").display()),
            &format!("RAUC_IMAGE_SIZE={size}"),
            &format!("RAUC_IMAGE_NAME={}/r.img", bundle.display()),
            &format!("RAUC_BUNDLE_MOUNT_POINT={}", bundle.display()),
        ],
    );
    // The signer's key, and that of who vouches for it.
    let hook = told(&rig, "told.slot-pre-install");
    let mut lines = hook.lines();
    let keys = lines.find_map(|line| line.strip_prefix("RAUC_BUNDLE_SPKI_HASHES="));
    let keys: Vec<&str> = keys.unwrap().split(' ').collect();
    assert!(
        keys.len() == 2 && keys.iter().all(|key| key.len() == 32 * 3 - 1),
        "{keys:?}"
    );
    assert_ne!(
        told(&rig, "seen.slot-pre-install"),
        told(&rig, "seen.slot-post-install")
    );
    assert!(!bundle.exists(), "what was unpacked is removed");
}

#[test]
fn a_bundle_that_does_not_want_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(&dir, &[]);
    let before = rig.snapshot();
    let manifest = MANIFEST.to_owned() + HOOKED;
    let output = install(
        &dir,
        &rig,
        &manifest,
        "echo no radio in this machine >&2; exit 10",
    );
    assert!(
        stderr(&output).contains("does not want to be installed here: no radio"),
        "{}",
        stderr(&output)
    );
    let output = install(&dir, &rig, &manifest, "exit 3");
    assert!(
        stderr(&output).contains("exit code 3"),
        "{}",
        stderr(&output)
    );
    assert!(rig.snapshot() == before);
}

/// Megabytes of it hold nobody up, and the reason at their end is heard.
#[test]
fn a_hook_that_floods_us() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(&dir, &[]);
    let manifest = MANIFEST.to_owned() + HOOKED;
    let flood =
        "yes '<< image 5 still at it' | head -c 50000000; head -c 50000000 /dev/zero >&2; echo >&2";
    let refuses = format!("{flood}; echo no radio in this machine >&2; exit 10");
    let output = install(&dir, &rig, &manifest, &refuses);
    let said = stderr(&output);
    let reason = "does not want to be installed here: no radio";
    assert!(
        said.contains(reason),
        "{}",
        &said[said.len().saturating_sub(500)..]
    );
    let output = install(&dir, &rig, &manifest, flood);
    assert!(output.status.success());
    assert!(rig.snapshot().b.starts_with(&image(2)));
}

#[test]
fn a_hook_that_fails_leaves_the_target_condemned() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(
        &dir,
        &[("install-failed", "echo \"$SLOTMGR_ERROR\" > failed")],
    );
    let manifest = MANIFEST.to_owned() + HOOKED;
    for (point, step) in [("slot-pre-install", "pre"), ("slot-post-install", "post")] {
        let hook = format!("[ $1 = {point} ] && echo '<< error no fonts' && exit 1; exit 0");
        let output = install(&dir, &rig, &manifest, &hook);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("no fonts"),
            "{step}: {}",
            stderr(&output)
        );
        let status = stdout(&rig.run(&["status"]));
        assert!(status.contains("next start rootfs.0 (A)"), "{status}");
        assert!(told(&rig, "failed").contains("a hook of the bundle failed"));
        assert!(rig.snapshot().a.starts_with(&image(1)));
    }
    assert!(install(&dir, &rig, &manifest, "exit 0").status.success());
}

#[test]
fn the_machines_own_handlers() {
    let dir = tempfile::tempdir().unwrap();
    let handlers = [
        (
            "pre-install",
            "env > told.pre; echo pre >> order; cat refuse 2>/dev/null && exit 1; exit 0",
        ),
        ("post-install", "echo post >> order"),
        ("install-failed", "echo failed >> order"),
    ];
    let rig = rig(&dir, &handlers);
    let manifest = format!("{MANIFEST}[image.rootfs]\nfilename=r.img\n");
    let before = rig.snapshot();
    fs_err::write(rig.path("refuse"), "battery is low\n").unwrap();
    let output = install(&dir, &rig, &manifest, "");
    assert!(
        stderr(&output).contains("battery is low"),
        "{}",
        stderr(&output)
    );
    assert!(rig.snapshot() == before);
    fs_err::remove_file(rig.path("refuse")).unwrap();
    let output = install(&dir, &rig, &manifest, "");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(told(&rig, "order"), "pre\npre\npost\n");
    has_lines(
        &told(&rig, "told.pre"),
        &[
            "RAUC_CURRENT_BOOTNAME=A",
            "RAUC_SLOTS=1 2",
            "RAUC_TARGET_SLOTS=2",
            "RAUC_SLOT_NAME_2=rootfs.1",
            "RAUC_SLOT_BOOTNAME_2=B",
            "RAUC_IMAGE_CLASS_2=rootfs",
            "RAUC_IMAGE_NAME_2=r.img",
            &format!("RAUC_SYSTEM_CONFIG={}", rig.path("system.conf").display()),
        ],
    );
}

#[test]
fn an_install_hook_and_a_full_handler_do_it_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(&dir, &[]);
    let manifest = format!(
        "{MANIFEST}[hooks]\nfilename=hook\n[image.rootfs]\nfilename=r.img\nhooks=install\n"
    );
    let output = install(
        &dir,
        &rig,
        &manifest,
        "cat $RAUC_IMAGE_NAME > $RAUC_SLOT_DEVICE; echo $1 > point",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(told(&rig, "point"), "slot-install\n");
    assert!(rig.snapshot().b.starts_with(&image(2)));

    let manifest = format!(
        "{MANIFEST}[handler]\nfilename=hook\nargs=--all 'right now' \"#1\"\n[image.rootfs]\nfilename=r.img\n"
    );
    let hook = "printf '%s\\n' \"$@\" > arguments; ls $RAUC_BUNDLE_MOUNT_POINT > listed";
    let output = install(&dir, &rig, &manifest, hook);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(told(&rig, "arguments"), "--all\nright now\n#1\n");
    has_lines(&told(&rig, "listed"), &["hook", "r.img", "manifest.raucm"]);

    let manifest = manifest.replace(" \"#1\"", " \"#1");
    let output = install(&dir, &rig, &manifest, hook);
    let said = stderr(&output);
    assert!(
        said.contains("never closed: --all 'right now' \"#1"),
        "{said}"
    );
}

#[test]
fn variants_versions_and_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let rig = rig(&dir, &[]);
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    let set = |keys: &str| {
        fs_err::write(
            rig.path("system.conf"),
            conf.replace("[keyring]", &format!("{keys}\n[keyring]")),
        )
        .unwrap();
    };
    let manifest = format!("{MANIFEST}[image.rootfs.big]\nfilename=r.img\n");
    assert!(stderr(&install(&dir, &rig, &manifest, "")).contains("a machine without variants"));
    set("variant-name=small");
    assert!(stderr(&install(&dir, &rig, &manifest, "")).contains("none for the variant `small`"));
    set("variant-name=big\nmin-bundle-version=2.1");
    assert!(stderr(&install(&dir, &rig, &manifest, "")).contains("2.1 or newer"));
    set("variant-name=big\nactivate-installed=false");
    let output = install(&dir, &rig, &manifest, "");
    assert!(
        stdout(&output).contains("slotmgr mark active rootfs.1"),
        "{}",
        stderr(&output)
    );
    let status = stdout(&rig.run(&["status"]));
    assert!(
        status.contains("next start rootfs.0 (A)") && status.contains("is not started by itself"),
        "{status}"
    );
    assert!(rig.run(&["mark", "active", "rootfs.1"]).status.success());
    assert!(stdout(&rig.run(&["status"])).contains("next start rootfs.1 (B)"));
}
