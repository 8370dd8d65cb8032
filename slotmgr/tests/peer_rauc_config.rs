//! What the real `rauc` 1.8 says of a `system.conf`, and what we say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::path::Path;
use std::process::Command;

use slotmgr::config::SystemConf;

const GRUB: &str = "[system]\ncompatible=b\nbootloader=grub\ngrubenv=/g\n";
const UBOOT: &str = "[system]\ncompatible=b\nbootloader=uboot\n";

/// `rauc` reads the configuration before it looks for its service, which is not there.
fn rauc_accepts(text: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("system.conf");
    fs_err::write(&path, text).unwrap();
    let output = Command::new("rauc")
        .arg("--conf")
        .arg(&path)
        .arg("status")
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
        .output()
        .expect("rauc (Debian's package `rauc`) runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let refused = told.contains("Failed to load system config");
    assert!(refused || told.contains("D-Bus"), "{text}: {told}");
    !refused
}

fn we_accept(text: &str) -> bool {
    SystemConf::parse(text.as_bytes(), "system.conf", Path::new("/etc/rauc")).is_ok()
}

#[test]
fn the_same_is_accepted_and_refused() {
    let tails = [
        "",
        "mountprefix=/m\nbundle-formats=-plain\nmax-bundle-download-size=1000\n",
        "activate-installed=false\nvariant-name=x\nstatusfile=/a\ndata-directory=/d\n",
        "variant-dtb=true\n",
        "statusfile=per-slot\n",
        "[keyring]\npath=k\ncheck-crl=true\nallow-partial-chain=true\ncheck-purpose=codesign\n",
        "[casync]\nuse-desync=true\nstorepath=/s\ntmppath=/t\ninstall-args=--x\n",
        "[encryption]\nkey=/k\ncert=/c\n",
        "[streaming]\nsandbox-user=n\ntls-cert=c\ntls-key=k\ntls-ca=a\n",
        "[autoinstall]\npath=/x\n",
        "[handlers]\nsystem-info=/a\npre-install=/b\npost-install=/c\n",
        "[slot.a.0]\ndevice=/x\ntype=ext4\nresize=true\nreadonly=true\nextra-mount-opts=ro\nallow-mounted=true\n",
        "[slot.a.0]\ndevice=/x\ninstall-same=false\nforce-install-same=true\nignore-checksum=true\n",
        "[slot.a.0]\ndevice=/x\nbootname=A\n[slot.b.0]\ndevice=/y\nparent=a.0\ndescription=d\n",
        "[slot.a.0]\ndevice=/x\ntype=boot-mbr-switch\nregion-start=4M\nregion-size=8M\n",
        "[slot.a.0]\ndevice=/x\ntype=ubivol\n[slot.b.0]\ndevice=/y\ntype=nand\n[slot.c.0]\ndevice=/z\ntype=boot-emmc\n",
        // Refused by both.
        "colour=red\n",
        "[weather]\n",
        "activate-installed=maybe\n",
        "bundle-formats=-plain +foo\n",
        "barebox-statename=x\n",
        "efi-use-bootnext=true\n",
        "variant-name=x\nvariant-file=/y\n",
        "statusfile=per-slot\ndata-directory=/d\n",
        "max-bundle-download-size=12M\n",
        "[slot.a]\ndevice=/x\n",
        "[slot.a.b.c]\ndevice=/x\n",
        "[slot.a.0]\n",
        "[slot.a.0]\ndevice=/x\ntype=floppy\n",
        "[slot.a.0]\ndevice=/x\nregion-start=4\n",
        "[slot.a.0]\ndevice=/x\ntype=boot-mbr-switch\n",
        "[slot.a.0]\ndevice=/x\nparent=b.0\n",
        "[slot.a.0]\ndevice=/x\nbootname=A\n[slot.a.1]\ndevice=/y\nbootname=A\n",
        "[slot.a.0]\ndevice=/x\n[slot.b.0]\ndevice=/y\nparent=a.0\nbootname=B\n",
    ];
    for tail in tails {
        let text = format!("{GRUB}{tail}");
        assert_eq!(we_accept(&text), rauc_accepts(&text), "{text}");
    }
    for tail in ["boot-attempts=3\nboot-attempts-primary=2\n", "grubenv=/x\n"] {
        let text = format!("{UBOOT}{tail}");
        assert_eq!(we_accept(&text), rauc_accepts(&text), "{text}");
    }
}

/// Each of these would end in a machine that does not come up, or in a slot nobody meant.
#[test]
fn stricter_on_purpose() {
    for text in [
        // Later versions of RAUC refuse this too.
        format!("{GRUB}boot-attempts=3\n"),
        // `rauc` finds this only when it verifies a bundle.
        format!("{GRUB}[keyring]\ncheck-purpose=fun\n"),
        format!("{UBOOT}boot-attempts=20\n"),
        format!("{GRUB}[slot.a.0]\ndevice=/x\nbootname=a b\n"),
        format!("{GRUB}[slot.a.0]\ndevice=/x\n[slot.a.1]\ndevice=/x\n"),
    ] {
        assert!(rauc_accepts(&text), "{text}");
        assert!(!we_accept(&text), "{text}");
    }
}

/// Newer RAUCs know these; and JFFS2, which RAUC documents and refuses.
#[test]
fn newer_than_1_8() {
    for tail in [
        "min-bundle-version=1.2\nperform-pre-check=true\nprevent-late-fallback=true\n",
        "[keyring]\nallowed-signer-cns=me\n",
        "[log.a]\nfilename=/x\nformat=json\n",
        "[streaming]\nsend-headers=boot-id\n",
        "[slot.a.0]\ndevice=/x\ntype=jffs2\n",
        "[handlers]\ninstall-failed=/x\n",
    ] {
        let text = format!("{GRUB}{tail}");
        assert!(we_accept(&text), "{text}");
        assert!(!rauc_accepts(&text), "{text}");
    }
}
