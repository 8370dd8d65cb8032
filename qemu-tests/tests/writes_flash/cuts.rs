//! The power goes in the middle of an installation, on flash that keeps what it has.

use std::process::Command;

use qemu_tests::machine::new_dir;
use xtask::command::captured;

use crate::rig::{FACTORY, Guest, bundle, noise, parts, sha256};
use crate::slots::system_conf;

/// The disk of the machine whose power is cut, as flash: the environment's two blocks, two boot
/// loaders of 8 blocks each, and the rest for UBI.
const LASTING: &str = "modprobe block2mtd block2mtd=/dev/vda,128KiB && \
    mtdpart add /dev/mtd0 env 0 0x40000 && \
    mtdpart add /dev/mtd0 loader.0 0x40000 0x100000 && \
    mtdpart add /dev/mtd0 loader.1 0x140000 0x100000 && \
    mtdpart add /dev/mtd0 ubi 0x240000 0x2dc0000 && \
    modprobe -a ubi ext4 && ubiattach -m 4 && mount -t ext4 /dev/vdb /data";

/// `loader` comes last: an installation that is about to write `rootfs` is far from its end.
const LASTING_SLOTS: [(&str, &str, [Option<&str>; 2]); 2] = [
    ("rootfs", "ubivol", [Some("ubi0_0"), Some("ubi0_1")]),
    ("loader", "nor", [Some("mtd2"), Some("mtd3")]),
];

const LASTING_ENV: &str = "/dev/mtd1 0x0 0x4000 0x20000\n/dev/mtd1 0x20000 0x4000 0x20000\n";

/// Waits until `$what` is there, stops the installation as it is, and lets the disk have all that the
/// simulated chip has: a chip has no memory of its own beside it.
const STOP_WHEN: &str = "while ! eval \"$what\" && ! grep -q '^State:.Z' /proc/$job/status; do :; \
    done; kill -STOP $job; sync; eval \"$what\" && ps -o stat,comm | grep 'T.*slotmgr'";

/// The power goes while a volume is updated, and while NOR is written: each time the old system is
/// the one that starts, and the next installation finishes.
#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn the_power_goes() {
    let dir = new_dir(&parts().dir.join("cut")).unwrap();
    let images = |version: u64| {
        (
            noise(version * 10, 12_000_001),
            noise(version * 10 + 1, 1_000_001),
        )
    };
    let first = images(1);
    let second = images(2);
    let bundles = [(1, &first), (2, &second)].map(|(version, (rootfs, loader))| {
        let images: [(&str, &str, &[u8]); 2] = [
            ("rootfs", "rootfs.img", rootfs),
            ("loader", "loader.img", loader),
        ];
        bundle(&dir, version, &images)
    });
    let conf = system_conf(&LASTING_SLOTS);
    let archive = Guest::archive(
        &dir,
        &[
            ("etc/rauc/system.conf", conf.as_bytes()),
            ("etc/fw_env.config", LASTING_ENV.as_bytes()),
            ("bundles/1.raucb", &bundles[0]),
            ("bundles/2.raucb", &bundles[1]),
        ],
    );
    let (flash, data) = (dir.join("flash.img"), dir.join("data.img"));
    // As a chip leaves the factory: all bits set.
    fs_err::write(&flash, vec![0xff; 48 << 20]).unwrap();
    let mut mkfs = Command::new("mke2fs");
    captured(mkfs.args(["-q", "-t", "ext4"]).arg(&data).arg("16M")).unwrap();
    let disks = [flash, data];

    let mut guest = Guest::start(&dir, &archive, &disks);
    for command in [
        LASTING,
        "ubimkvol /dev/ubi0 -N rootfs.0 -s 13MiB && ubimkvol /dev/ubi0 -N rootfs.1 -s 13MiB",
        FACTORY,
    ] {
        guest.ask(command);
    }
    guest.install(1, "");
    let holds = |guest: &mut Guest, (rootfs, loader): &(Vec<u8>, Vec<u8>)| {
        for (device, content) in [("ubi0_1", rootfs), ("mtd3", loader)] {
            let size = content.len();
            let found = guest.ask(&format!("head -c {size} /dev/{device} | sha256sum"));
            assert_eq!(found, format!("{}  -", sha256(content)), "{device}");
        }
    };
    holds(&mut guest, &first);

    guest.ask(&format!(
        "slotmgr install /bundles/2.raucb > /dev/null 2>&1 & job=$!; \
         what='[ $(cat /sys/class/ubi/ubi0_1/upd_marker) = 1 ]'; {STOP_WHEN}"
    ));
    guest.cut_power();

    let mut guest = Guest::start(&dir, &archive, &disks);
    guest.ask(LASTING);
    assert_eq!(guest.ask("cat /sys/class/ubi/ubi0_1/upd_marker"), "1");
    guest.refused("head -c 1 /dev/ubi0_1");
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=A");
    guest.ask("slotmgr status");
    guest.ask(&format!(
        "first() {{ head -c 2048 /dev/mtd3 | sha256sum; }}; before=$(first); \
         slotmgr install /bundles/2.raucb > /tmp/said 2>&1 & job=$!; \
         what='[ \"$(first)\" != \"$before\" ]'; {STOP_WHEN}"
    ));
    guest.cut_power();

    let mut guest = Guest::start(&dir, &archive, &disks);
    guest.ask(LASTING);
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=A");
    guest.install(2, "");
    holds(&mut guest, &second);
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=B A");
}
