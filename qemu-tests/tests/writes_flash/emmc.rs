//! The boot areas of an eMMC: a boot loader in the one that is not used, then the switch; and U-Boot's
//! environment in both.

use std::path::Path;

use qemu_tests::flash::BOOT_AREA;
use qemu_tests::machine::new_dir;

use crate::rig::{FACTORY, Guest, bundle, noise, parts, sha256};

const CONF: &str = "\
[system]
compatible=flash
bootloader=uboot
data-directory=/data/slotmgr

[keyring]
path=keyring.pem

[slot.rootfs.0]
device=/dev/vda
type=raw
bootname=A

[slot.rootfs.1]
device=/dev/vdb
type=raw
bootname=B

[slot.bootloader.0]
device=/dev/mmcblk0
type=boot-emmc
size-limit=960K
";

/// At the end of each boot area, counted from there.
const FW_ENV_CONFIG: &str = "/dev/mmcblk0boot0 -0x4000 0x4000\n/dev/mmcblk0boot1 -0x4000 0x4000\n";

/// For libubootenv of Debian 12, which writes nothing at an offset from the end.
const THEIR_CONFIG: &str = "/dev/mmcblk0boot0 0xfc000 0x4000\n/dev/mmcblk0boot1 0xfc000 0x4000\n";

const LOADER_SIZE: usize = 700_001;

/// The byte PARTITION_CONFIG of the card, as the kernel reads it: two digits for each byte.
const BOOT_CONFIG: &str = "cut -c 359-360 /sys/kernel/debug/mmc0/mmc0:0001/ext_csd";

const PROTECTION: &str = "cd /sys/class/block && cat mmcblk0boot0/force_ro mmcblk0boot1/force_ro \
                          | tr -d '\\n'; cd /";

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn boot_areas_of_an_emmc() {
    let dir = new_dir(&parts().dir.join("emmc")).unwrap();
    let loaders = [1, 2, 3].map(|seed| noise(seed, LOADER_SIZE));
    let too_large = noise(4, 0xf_0001);
    let bundles = [
        loader_bundle(&dir, 1, &loaders[0]),
        loader_bundle(&dir, 2, &loaders[1]),
        loader_bundle(&dir, 3, &loaders[2]),
        loader_bundle(&dir, 4, &too_large),
    ];
    let archive = Guest::archive(
        &dir,
        &[
            ("etc/rauc/system.conf", CONF.as_bytes()),
            ("etc/fw_env.config", FW_ENV_CONFIG.as_bytes()),
            ("etc/theirs.config", THEIR_CONFIG.as_bytes()),
            ("bundles/1.raucb", &bundles[0]),
            ("bundles/2.raucb", &bundles[1]),
            ("bundles/3.raucb", &bundles[2]),
            ("bundles/4.raucb", &bundles[3]),
        ],
    );
    let disks = ["a", "b"].map(|name| dir.join(format!("{name}.img")));
    for disk in &disks {
        fs_err::write(disk, vec![0; 1 << 20]).unwrap();
    }
    let card = dir.join("card.img");
    fs_err::File::create(&card)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();

    let mut guest = Guest::with_emmc(&dir, &archive, &disks, Some(&card));
    guest.ask("modprobe -a sdhci_pci mmc_block && mount -t debugfs debugfs /sys/kernel/debug");
    guest.ask("while [ ! -b /dev/mmcblk0boot1 ]; do sleep 0.1; done");
    assert_eq!(guest.ask(PROTECTION), "11", "as the kernel leaves it");
    guest.ask(FACTORY);
    assert_eq!(guest.ask(PROTECTION), "11", "as it was");

    loaders_take_turns(&mut guest, &loaders);
    let before = guest.ask("sha256sum /dev/mmcblk0boot0 /dev/mmcblk0boot1");
    let said = guest.refused("slotmgr install /bundles/4.raucb 2>&1");
    assert!(said.contains("bootloader.0"), "{said}");
    let after = guest.ask("sha256sum /dev/mmcblk0boot0 /dev/mmcblk0boot1");
    assert_eq!(before, after);
    both_read_the_environment(&mut guest);
}

fn loader_bundle(dir: &Path, version: u32, image: &[u8]) -> Vec<u8> {
    let root = noise(u64::from(version) + 1000, 10_000);
    let images: [(&str, &str, &[u8]); 2] = [
        ("rootfs", "rootfs.img", &root),
        ("bootloader", "loader.img", image),
    ];
    bundle(dir, version, &images)
}

/// First booting from the card is off, then it is `boot0`, then the other one each time. An area whose
/// protection somebody took off stays without.
fn loaders_take_turns(guest: &mut Guest, loaders: &[Vec<u8>; 3]) {
    assert_eq!(guest.ask(BOOT_CONFIG), "00");
    for (version, area, config) in [(1, 0, "08"), (2, 1, "10"), (3, 0, "08")] {
        let other = format!(
            "head -c {LOADER_SIZE} /dev/mmcblk0boot{} | sha256sum",
            1 - area
        );
        let before = guest.ask(&other);
        if version == 3 {
            guest.ask("echo 0 > /sys/class/block/mmcblk0boot0/force_ro");
        }
        guest.install(version, "");
        assert_eq!(guest.ask(BOOT_CONFIG), config, "version {version}");
        let found = guest.ask(&format!(
            "head -c {LOADER_SIZE} /dev/mmcblk0boot{area} | sha256sum"
        ));
        let loader = &loaders[usize::try_from(version).unwrap() - 1];
        assert_eq!(found, format!("{}  -", sha256(loader)));
        assert_eq!(guest.ask(&other), before, "the area that was in use");
        let protection = if version == 3 { "01" } else { "11" };
        assert_eq!(guest.ask(PROTECTION), protection);
    }
    guest.ask("echo 1 > /sys/class/block/mmcblk0boot0/force_ro");
}

/// The environment is where the boot loaders end, and nothing of theirs went over it.
fn both_read_the_environment(guest: &mut Guest) {
    let theirs = "fw_printenv -c /etc/theirs.config | sort";
    assert_eq!(guest.ask("uboot-env print | sort"), guest.ask(theirs));
    guest.ask("fw_setenv -c /etc/theirs.config name theirs");
    assert_eq!(guest.ask("uboot-env print name"), "name=theirs");
    guest.ask("uboot-env set name=ours");
    assert_eq!(
        guest.ask("fw_printenv -c /etc/theirs.config -n name"),
        "ours"
    );
    assert_eq!(guest.ask(PROTECTION), "11");
    assert_eq!(BOOT_AREA, 0xfc000 + 0x4000);
}
