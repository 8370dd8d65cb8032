//! Installations onto every kind of flash.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::hooks;
use crate::rig::{FACTORY, Guest, NAND, bundle, noise, parts, sha256};
use qemu_tests::machine::new_dir;
use xtask::command::captured;

/// The partitions of the NAND chip in blocks, `/dev/mtd0` and so on: `kernel.0`, `kernel.1` (with
/// three bad blocks, one of them the third), U-Boot's environment (its first block is bad),
/// `worn.1` (half of it is bad), `weak.1`, and what UBI gets.
///
/// `weak.1` has a block that cannot be erased and one with a page that cannot be programmed; the
/// chip finds out when it is tried.
const CHIPS: &str = "parts=24,24,16,8,16 \
    badblocks=0x1a,0x21,0x22,0x30,0x41,0x42,0x43,0x45 weakblocks=0x4a:0 weakpages=0x1305:0";

/// The NOR chip is `/dev/mtd6`, its partitions follow.
const NOR: &str = "modprobe mtdram total_size=12288 erase_size=64 && \
    mtdpart add /dev/mtd6 loader.0 0 0x100000 && \
    mtdpart add /dev/mtd6 loader.1 0x100000 0x100000 && \
    mtdpart add /dev/mtd6 data.0 0x200000 0x400000 && \
    mtdpart add /dev/mtd6 data.1 0x600000 0x400000";

/// `/dev/ubi0_0` to `/dev/ubi0_7`.
const VOLUMES: &str = "modprobe -a ubi ubifs jffs2 mtdblock && ubiattach -m 5 && \
    for slot in 0 1; do \
    ubimkvol /dev/ubi0 -N rootfs.$slot -s 6MiB && \
    ubimkvol /dev/ubi0 -N app.$slot -s 1MiB -t static && \
    ubimkvol /dev/ubi0 -N map.$slot -s 1MiB && \
    ubimkvol /dev/ubi0 -N files.$slot -s 6MiB || break; \
    done";

/// Bytes of a volume of 1 MiB: nine logical blocks.
const SMALL_VOLUME: usize = 9 * 129_024;

/// Class of the slots, type, the device in group 0 and in group 1.
const SLOTS: [(&str, &str, [Option<&str>; 2]); 10] = [
    ("rootfs", "ubifs", [Some("ubi0_0"), Some("ubi0_4")]),
    ("app", "ubivol", [Some("ubi0_1"), Some("ubi0_5")]),
    ("map", "ubivol", [Some("ubi0_2"), Some("ubi0_6")]),
    ("files", "ubifs", [Some("ubi0_3"), Some("ubi0_7")]),
    ("kernel", "nand", [Some("mtd0"), Some("mtd1")]),
    ("loader", "nor", [Some("mtd7"), Some("mtd8")]),
    ("data", "jffs2", [Some("mtd9"), Some("mtd10")]),
    ("worn", "nand", [None, Some("mtd3")]),
    ("weak", "nand", [None, Some("mtd4")]),
    ("held", "nand", [None, Some("mtd5")]),
];

/// Both copies have spare blocks.
const FW_ENV_CONFIG: &str = "/dev/mtd2 0x0 0x4000 0x20000 8\n\
                             /dev/mtd2 0x100000 0x4000 0x20000 8\n";

pub fn system_conf(slots: &[(&str, &str, [Option<&str>; 2])]) -> String {
    let mut conf = "[system]\ncompatible=flash\nbootloader=uboot\ndata-directory=/data/slotmgr\n\
                    [keyring]\npath=keyring.pem\n"
        .to_owned();
    for (class, kind, devices) in slots {
        for (group, device) in devices.iter().enumerate() {
            let Some(device) = device else { continue };
            let place = match *class {
                "rootfs" => format!("bootname={}", ["A", "B"][group]),
                _ => format!("parent=rootfs.{group}"),
            };
            conf +=
                &format!("[slot.{class}.{group}]\ndevice=/dev/{device}\ntype={kind}\n{place}\n");
        }
    }
    conf
}

/// A folder with files, and what `sha256sum` says about them.
struct Files {
    root: PathBuf,
    digests: String,
}

impl Files {
    fn new(dir: &Path, seed: u64) -> Files {
        let root = new_dir(&dir.join(format!("files-{seed}"))).unwrap();
        fs_err::create_dir_all(root.join("etc/empty")).unwrap();
        let mut digests = String::new();
        for (number, name) in (1..).zip(["./big", "./etc/nothing", "./etc/version"]) {
            let content = match name {
                "./big" => noise(seed + number, 700_001),
                "./etc/version" => format!("{seed}\n").into_bytes(),
                _ => Vec::new(),
            };
            fs_err::write(root.join(name), &content).unwrap();
            digests += &format!("{}  {name}\n", sha256(&content));
        }
        Files { root, digests }
    }

    /// Makes an image of the files by a program that is told their folder and the image.
    fn image(&self, ending: &str, make: impl Fn(&mut Command, &Path)) -> Vec<u8> {
        let image = self.root.with_extension(ending);
        let mut command = Command::new("env");
        command.arg("--");
        make(&mut command, &image);
        captured(&mut command).unwrap();
        fs_err::read(image).unwrap()
    }

    fn ubifs(&self) -> Vec<u8> {
        self.image("ubifs", |command, image| {
            command.args(["mkfs.ubifs", "-m", "2048", "-e", "129024", "-c", "48"]);
            command.arg("-r").arg(&self.root).arg("-o").arg(image);
        })
    }

    fn jffs2(&self) -> Vec<u8> {
        self.image("jffs2", |command, image| {
            command.args(["mkfs.jffs2", "-e", "64KiB"]);
            command.arg("-r").arg(&self.root).arg("-o").arg(image);
        })
    }

    fn squashfs(&self) -> Vec<u8> {
        self.image("squashfs", |command, image| {
            command.arg("mksquashfs").arg(&self.root).arg(image);
            command.args(["-noappend", "-no-progress", "-quiet"]);
        })
    }

    fn tar(&self) -> Vec<u8> {
        self.image("tar", |command, image| {
            command.args(["tar", "-cf"]).arg(image).arg("-C");
            command.arg(&self.root).arg(".");
        })
    }
}

/// Everything of one version of the machine's software.
pub struct Release {
    files: Files,
    /// Class of the slots, name and content of the image.
    pub images: Vec<(&'static str, &'static str, Vec<u8>)>,
}

impl Release {
    pub fn new(dir: &Path, version: u32) -> Release {
        let seed = u64::from(version) * 100;
        let files = Files::new(dir, seed);
        let images = vec![
            ("rootfs", "rootfs.ubifs", files.ubifs()),
            // More than fits where no block is bad, no multiple of a page or a block.
            ("kernel", "kernel.img", noise(seed + 11, 2_600_001)),
            ("app", "app.img", noise(seed + 12, 700_003)),
            ("map", "map.squashfs", files.squashfs()),
            ("files", "files.tar", files.tar()),
            ("loader", "loader.img", noise(seed + 13, 900_001)),
            ("data", "data.img", files.jffs2()),
        ];
        Release { files, images }
    }

    fn bundle(&self, dir: &Path, version: u32) -> Vec<u8> {
        let images: Vec<_> = self
            .images
            .iter()
            .map(|(class, name, content)| (*class, *name, content.as_slice()))
            .collect();
        bundle(dir, version, &images)
    }

    fn image(&self, class: &str) -> &[u8] {
        let mut images = self.images.iter();
        &images.find(|(name, _, _)| *name == class).unwrap().2
    }
}

/// The device of a slot.
fn device(class: &str, group: usize) -> &'static str {
    let mut slots = SLOTS.iter();
    slots.find(|(name, _, _)| *name == class).unwrap().2[group].unwrap()
}

trait Flash {
    fn contents(&mut self, group: usize) -> String;
    fn holds(&mut self, release: &Release, group: usize);
    fn first_bytes(&mut self, class: &str, group: usize, content: &[u8]);
    fn mounted(&mut self, kind: &str, device: &str) -> String;
}

impl Flash for Guest {
    /// The digest of every slot of a group, but for what UBI writes as it likes.
    fn contents(&mut self, group: usize) -> String {
        let own = SLOTS.iter().filter(|(class, _, _)| *class != "held");
        let devices = own.filter_map(|(_, _, devices)| devices[group]);
        let list = devices.collect::<Vec<_>>().join(" /dev/");
        self.ask(&format!("sha256sum /dev/{list}"))
    }

    /// All slots of a group have what is in the release.
    fn holds(&mut self, release: &Release, group: usize) {
        let kernel = release.image("kernel");
        let place = device("kernel", group);
        self.ask(&format!(
            "nanddump -q --bb=skipbad -f /tmp/dump /dev/{place}"
        ));
        let size = kernel.len();
        let dump = self.ask(&format!("head -c {size} /tmp/dump | sha256sum"));
        assert_eq!(dump, format!("{}  -", sha256(kernel)), "kernel.{group}");
        let behind = format!("tail -c +{} /tmp/dump | tr -d '\\377' | wc -c", size + 1);
        assert_eq!(self.ask(&behind), "0", "behind the kernel all is erased");

        self.first_bytes("loader", group, release.image("loader"));
        self.first_bytes("map", group, release.image("map"));
        let app = release.image("app");
        let whole = self.ask(&format!("sha256sum < /dev/{}", device("app", group)));
        assert_eq!(
            whole,
            format!("{}  -", sha256(app)),
            "a static volume ends with its data"
        );

        let digests = release.files.digests.trim_end();
        let root = self.mounted("ubifs", device("rootfs", group));
        assert_eq!(root, digests, "rootfs.{group}");
        let files = self.mounted("ubifs", device("files", group));
        assert_eq!(files, digests, "files.{group}");
        let block = device("data", group).replace("mtd", "mtdblock");
        assert_eq!(self.mounted("jffs2", &block), digests, "data.{group}");
    }

    fn first_bytes(&mut self, class: &str, group: usize, content: &[u8]) {
        let (place, size) = (device(class, group), content.len());
        let found = self.ask(&format!("head -c {size} /dev/{place} | sha256sum"));
        assert_eq!(found, format!("{}  -", sha256(content)), "{class}.{group}");
    }

    /// The digests of the files in a slot.
    fn mounted(&mut self, kind: &str, device: &str) -> String {
        self.ask(&format!(
            "mount -t {kind} -o ro /dev/{device} /mnt && cd /mnt && \
             find . -type f | sort | xargs sha256sum && cd / && umount /mnt"
        ))
    }
}

/// Bundles that must be refused, or do well although the chip does not. What is to start belongs into
/// each.
fn single(dir: &Path, version: u32, class: &str, size: usize) -> (String, Vec<u8>) {
    let image = noise(u64::from(version), size);
    let name = format!("{class}.img");
    let root = noise(u64::from(version) + 1000, 10_000);
    let images: [(&str, &str, &[u8]); 2] =
        [("rootfs", "rootfs.img", &root), (class, &name, &image)];
    let bytes = bundle(dir, version, &images);
    (format!("bundles/{version}.raucb"), bytes)
}

const WEAK_SIZE: usize = 1_500_001;

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn every_kind_of_flash() {
    let dir = new_dir(&parts().dir.join("kinds")).unwrap();
    let releases = [1, 2, 3].map(|version| Release::new(&dir, version));
    let mut bundles: Vec<(String, Vec<u8>)> = (1..)
        .zip(&releases)
        .map(|(version, release)| {
            let bytes = release.bundle(&dir, version);
            (format!("bundles/{version}.raucb"), bytes)
        })
        .collect();
    // One byte more than 21 good blocks, than the volume, than four good blocks.
    bundles.push(single(&dir, 11, "kernel", 21 * 131_072 + 1));
    bundles.push(single(&dir, 12, "app", SMALL_VOLUME + 1));
    bundles.push(single(&dir, 13, "worn", 4 * 131_072 + 1));
    bundles.push(single(&dir, 14, "worn", 4 * 131_072));
    bundles.push(single(&dir, 17, "held", 1000));
    bundles.push(single(&dir, 15, "weak", WEAK_SIZE));
    bundles.push(single(&dir, 16, "weak", 14 * 131_072 + 1));
    bundles.extend(hooks::bundles(&dir));
    let conf = system_conf(&SLOTS);
    let mut files: Vec<(&str, &[u8])> = vec![
        ("etc/rauc/system.conf", conf.as_bytes()),
        ("etc/fw_env.config", FW_ENV_CONFIG.as_bytes()),
    ];
    files.extend(
        bundles
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice())),
    );
    let archive = Guest::archive(&dir, &files);
    let mut guest = Guest::start(&dir, &archive, &[]);
    for command in [&format!("{NAND} {CHIPS}"), NOR, VOLUMES, FACTORY] {
        guest.ask(command);
    }

    both_groups(&mut guest, &releases);
    what_does_not_fit_is_refused(&mut guest);
    what_somebody_uses_is_refused(&mut guest);
    a_killed_installation_is_made_good(&mut guest, &releases[2]);
    blocks_that_go_bad_are_replaced(&mut guest);
    hooks::all(&mut guest);
    what_proved_itself_is_rolled_back_to(&mut guest);
}

/// A writes B, then B writes A; each time the other one stays as it was, and the environment (on
/// NAND, with a bad block in front) says what is to start.
fn both_groups(guest: &mut Guest, releases: &[Release]) {
    let a = guest.contents(0);
    guest.install(1, "");
    guest.holds(&releases[0], 1);
    assert_eq!(guest.contents(0), a);
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=B A");

    guest.ask("slotmgr mark good --override-boot-slot B");
    let b = guest.contents(1);
    guest.install(2, "--override-boot-slot B");
    guest.holds(&releases[1], 0);
    assert_eq!(guest.contents(1), b);
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=A B");
    guest.ask("slotmgr mark good");
}

/// Before anything is written: the slot, and what the boot loader knows of it, stay.
fn what_does_not_fit_is_refused(guest: &mut Guest) {
    let before = (guest.contents(1), guest.ask("uboot-env print"));
    for (version, what) in [(11, "kernel.1"), (12, "app.1"), (13, "worn.1")] {
        let said = guest.refused(&format!("slotmgr install /bundles/{version}.raucb 2>&1"));
        assert!(said.contains(what) && said.contains("bytes"), "{said}");
        let after = (guest.contents(1), guest.ask("uboot-env print"));
        assert_eq!(before, after, "{version}");
    }
    guest.install(14, "");
    let dump = guest.ask("nanddump -q --bb=skipbad -f /tmp/dump /dev/mtd3; sha256sum < /tmp/dump");
    let image = noise(14, 4 * 131_072);
    assert_eq!(
        dump,
        format!("{}  -", sha256(&image)),
        "all that is good was needed"
    );
}

/// The kernel itself guards a volume; raw flash is guarded by nobody but us.
fn what_somebody_uses_is_refused(guest: &mut Guest) {
    guest.install(1, "");
    let before = guest.ask("uboot-env print");
    for (mount, version) in [
        ("mount -t ubifs /dev/ubi0_4 /mnt", 3),
        ("mount -t jffs2 /dev/mtdblock10 /mnt", 3),
        // UBI has it, whatever is mounted.
        ("mount -t tmpfs tmpfs /mnt", 17),
    ] {
        guest.ask(mount);
        let said = guest.refused(&format!("slotmgr install /bundles/{version}.raucb 2>&1"));
        assert!(said.contains("is in use"), "{mount}: {said}");
        assert_eq!(guest.ask("uboot-env print"), before);
        guest.ask("umount /mnt");
    }
}

/// Killed when the kernel's first block is not any more what it was.
fn a_killed_installation_is_made_good(guest: &mut Guest, release: &Release) {
    let a = guest.contents(0);
    let said = guest.ask(
        "first() { head -c 2048 /dev/mtd1 | sha256sum; }; before=$(first); \
         slotmgr install /bundles/3.raucb > /dev/null 2>&1 & job=$!; \
         while [ \"$(first)\" = \"$before\" ] && ! grep -q '^State:.Z' /proc/$job/status; do :; \
         done; kill -9 $job; wait $job; echo code $?",
    );
    assert!(said.contains("code 137"), "{said}");
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=A");
    guest.install(3, "");
    guest.holds(release, 1);
    assert_eq!(guest.contents(0), a);
}

/// What cannot be erased or programmed is marked bad, and the image goes around it.
fn blocks_that_go_bad_are_replaced(guest: &mut Guest) {
    assert_eq!(guest.ask("cat /sys/class/mtd/mtd4/bad_blocks"), "0");
    guest.install(15, "");
    assert_eq!(guest.ask("cat /sys/class/mtd/mtd4/bad_blocks"), "2");
    guest.ask("nanddump -q --bb=skipbad -f /tmp/dump /dev/mtd4");
    let found = guest.ask(&format!("head -c {WEAK_SIZE} /tmp/dump | sha256sum"));
    assert_eq!(found, format!("{}  -", sha256(&noise(15, WEAK_SIZE))));
    guest.refused("slotmgr install /bundles/16.raucb 2>&1");
}

/// B is compared, as it lies in its volume, with what was installed into it.
fn what_proved_itself_is_rolled_back_to(guest: &mut Guest) {
    guest.install(1, "");
    let said = guest.refused("slotmgr rollback 2>&1");
    assert!(said.contains("has not proved itself"), "{said}");
    guest.ask("slotmgr mark good --override-boot-slot B && slotmgr mark active rootfs.0");
    guest.ask("slotmgr mark good && slotmgr rollback");
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=B A");

    guest.ask("slotmgr mark active rootfs.0");
    guest.ask("mount -t ubifs /dev/ubi0_4 /mnt && rm /mnt/big && umount /mnt");
    let said = guest.refused("slotmgr rollback 2>&1");
    assert!(said.contains("does not hold any more"), "{said}");
    guest.ask("slotmgr rollback --changed");
    assert_eq!(guest.ask("uboot-env print BOOT_ORDER"), "BOOT_ORDER=B A");
}
