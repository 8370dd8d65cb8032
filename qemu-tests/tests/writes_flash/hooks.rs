//! Hooks, and installations that fail in the middle, on flash.

use std::path::Path;
use std::process::Command;

use crate::rig::{Guest, noise, parts, sha256, signed};
use crate::slots::Release;
use qemu_tests::machine::new_dir;
use xtask::command::captured;

/// Versions of the bundles here: after those of the other tests in the guest.
const AROUND: u32 = 21;
const INSTEAD: u32 = 22;
const REFUSED: u32 = 23;

/// Says what it was told, and what is in the slot. Fails for the slot that `/tmp/fail` names, at the
/// point that it names.
const HOOK: &str = "#!/bin/sh
at=$RAUC_SLOT_MOUNT_POINT
echo \"$1 $RAUC_SLOT_NAME $RAUC_SLOT_TYPE $RAUC_SLOT_DEVICE ${at:+mounted}\" >> /tmp/hooked
if [ \"$1 $RAUC_SLOT_NAME\" = \"$(cat /tmp/fail 2>/dev/null)\" ]; then
    echo \"<< error no fonts for $RAUC_SLOT_NAME\"
    exit 1
fi
case \"$1 $RAUC_SLOT_TYPE\" in
install-check*)
    [ -e /tmp/reject ] || exit 0
    echo 'no radio in this machine' >&2
    exit 10 ;;
slot-post-install*)
    [ -z \"$at\" ] || echo \"$RAUC_SLOT_NAME\" > $at/from-hook ;;
slot-install*nand | slot-install*nor)
    flash_erase -q $RAUC_SLOT_DEVICE 0 0 && cat $RAUC_IMAGE_NAME > $RAUC_SLOT_DEVICE ;;
slot-install*)
    ubiupdatevol $RAUC_SLOT_DEVICE $RAUC_IMAGE_NAME ;;
esac
";

/// Bytes of the images that a hook writes: whole pages of NAND.
const OWN_SIZE: usize = 64 * 2048;

/// The bundles that [`all`] installs: place in the guest, and content.
pub fn bundles(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let release = Release::new(dir, AROUND);
    let around: Vec<_> = release
        .images
        .iter()
        .map(|(class, name, content)| (*class, *name, content.clone()))
        .collect();
    let own = ["rootfs", "kernel", "app", "loader"].map(|class| {
        let name = ["rootfs.img", "kernel.img", "app.img", "loader.img"];
        let name = name.into_iter().find(|name| name.starts_with(class));
        (class, name.unwrap(), own(class))
    });
    [
        (AROUND, "pre-install;post-install", around.as_slice()),
        (INSTEAD, "install", own.as_slice()),
        (REFUSED, "pre-install", own.as_slice()),
    ]
    .map(|(version, hooks, images)| {
        let dir = new_dir(&dir.join(format!("hooked-{version}"))).unwrap();
        let input = new_dir(&dir.join("input")).unwrap();
        fs_err::write(input.join("hook"), HOOK).unwrap();
        captured(Command::new("chmod").arg("755").arg(input.join("hook"))).unwrap();
        let mut manifest = format!(
            "[update]\ncompatible=flash\nversion={version}\n[bundle]\nformat=verity\n\
             [hooks]\nfilename=hook\nhooks=install-check\n"
        );
        for (class, name, content) in images {
            fs_err::write(input.join(name), content).unwrap();
            manifest += &format!("[image.{class}]\nfilename={name}\nhooks={hooks}\n");
        }
        fs_err::write(input.join("manifest.raucm"), manifest).unwrap();
        let output = dir.join("update.raucb");
        let mut command = signed(parts());
        captured(command.arg(&input).arg(&output)).unwrap();
        let place = format!("bundles/{version}.raucb");
        (place, fs_err::read(output).unwrap())
    })
    .to_vec()
}

/// The image of a slot that a hook writes.
fn own(class: &str) -> Vec<u8> {
    let seed = class.bytes().map(u64::from).sum();
    noise(seed, OWN_SIZE)
}

/// A runs, and B is installed.
pub fn all(guest: &mut Guest) {
    they_run_around_each_slot(guest);
    one_that_fails_leaves_the_target_condemned(guest);
    they_write_themselves(guest);
    one_that_rejects_changes_nothing(guest);
}

fn hooked(guest: &mut Guest) -> String {
    guest.ask("cat /tmp/hooked; rm /tmp/hooked")
}

/// What can be mounted is mounted, before and after.
fn they_run_around_each_slot(guest: &mut Guest) {
    guest.install(1, "");
    guest.install(AROUND, "");
    let lines = [
        ("rootfs.1", "ubifs /dev/ubi0_4 mounted"),
        ("kernel.1", "nand /dev/mtd1 "),
        ("app.1", "ubivol /dev/ubi0_5 "),
        ("map.1", "ubivol /dev/ubi0_6 "),
        ("files.1", "ubifs /dev/ubi0_7 mounted"),
        ("loader.1", "nor /dev/mtd8 "),
        ("data.1", "jffs2 /dev/mtd10 mounted"),
    ];
    let mut said = hooked(guest).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(said.remove(0), "install-check    ");
    let point = |point: &str| lines.map(|(slot, rest)| format!("{point} {slot} {rest}"));
    let expected = [point("slot-pre-install"), point("slot-post-install")].concat();
    said.sort();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(said, sorted);
    for (mount, slot) in [
        ("ubifs /dev/ubi0_4", "rootfs.1"),
        ("ubifs /dev/ubi0_7", "files.1"),
        ("jffs2 /dev/mtdblock10", "data.1"),
    ] {
        let left = guest.ask(&format!(
            "mount -o ro -t {mount} /mnt && cat /mnt/from-hook && umount /mnt"
        ));
        assert_eq!(left, slot);
    }
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=B A");
}

/// At whatever slot and point: A is what is started, everything is unmounted, and the next
/// installation works.
fn one_that_fails_leaves_the_target_condemned(guest: &mut Guest) {
    let mounts = guest.ask("wc -l < /proc/mounts");
    for at in [
        "slot-pre-install data.1",
        "slot-post-install kernel.1",
        "slot-post-install rootfs.1",
    ] {
        guest.ask(&format!("echo {at} > /tmp/fail"));
        let said = guest.refused(&format!("slotmgr install /bundles/{AROUND}.raucb 2>&1"));
        assert!(said.contains("no fonts for"), "{at}: {said}");
        assert_eq!(
            guest.ask("uboot-env print BOOT_ORDER"),
            "BOOT_ORDER=A",
            "{at}"
        );
        assert_eq!(guest.ask("wc -l < /proc/mounts"), mounts, "{at}");
        guest.refused("slotmgr rollback 2>&1");
    }
    guest.ask("rm /tmp/fail");
    guest.install(AROUND, "");
    guest.ask("rm /tmp/hooked");
}

fn they_write_themselves(guest: &mut Guest) {
    guest.install(INSTEAD, "");
    let said = hooked(guest);
    for slot in [
        "rootfs.1 ubifs",
        "kernel.1 nand",
        "app.1 ubivol",
        "loader.1 nor",
    ] {
        assert!(said.contains(&format!("slot-install {slot}")), "{said}");
    }
    for (class, device) in [
        ("rootfs", "ubi0_4"),
        ("kernel", "mtd1"),
        ("app", "ubi0_5"),
        ("loader", "mtd8"),
    ] {
        let found = guest.ask(&format!("head -c {OWN_SIZE} /dev/{device} | sha256sum"));
        assert_eq!(found, format!("{}  -", sha256(&own(class))), "{class}");
    }
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=B A");
}

fn one_that_rejects_changes_nothing(guest: &mut Guest) {
    let slots = "sha256sum /dev/mtd1 /dev/mtd8 /dev/ubi0_4 /dev/ubi0_5; uboot-env print";
    let before = guest.ask(slots);
    guest.ask("touch /tmp/reject");
    let said = guest.refused(&format!("slotmgr install /bundles/{REFUSED}.raucb 2>&1"));
    assert!(said.contains("no radio in this machine"), "{said}");
    assert_eq!(guest.ask(slots), before);
    guest.ask("rm /tmp/reject /tmp/hooked");
}
