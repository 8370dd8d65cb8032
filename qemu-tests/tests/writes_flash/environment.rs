//! U-Boot's environment on flash: what `uboot-env` writes Debian's `fw_printenv` reads, and the other
//! way round; bad blocks, worn blocks, and what else lies in a block.

use std::process::Command;

use qemu_tests::machine::new_dir;
use xtask::command::captured;

use crate::rig::{Guest, NAND, parts};

/// The simulator of NOR says that it is RAM. U-Boot's tool and libubootenv take no such memory; so
/// theirs, and only theirs, is told that it is NOR. Everything else is as the kernel does it.
const SAYS_NOR: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <mtd/mtd-user.h>
#include <sys/ioctl.h>

int ioctl(int file, unsigned long request, ...) {
    int (*real)(int, unsigned long, void *) = dlsym(RTLD_NEXT, "ioctl");
    __builtin_va_list arguments;
    __builtin_va_start(arguments, request);
    void *argument = __builtin_va_arg(arguments, void *);
    __builtin_va_end(arguments);
    int result = real(file, request, argument);
    struct mtd_info_user *info = argument;
    if (request == MEMGETINFO && result == 0 && info->type == MTD_RAM)
        info->type = MTD_NORFLASH;
    return result;
}
"#;

/// `/dev/mtd0`: 8 blocks, of which the second is bad and the fifth fails when it is erased for the
/// fifth time. UBI gets the rest.
const CHIPS: &str = "parts=8 badblocks=1 weakblocks=4:4";

const OTHERS: &str = "modprobe mtdram total_size=1024 erase_size=64 && \
    modprobe ubi && ubiattach -m 1 && \
    ubimkvol /dev/ubi0 -N env0 -s 128KiB && ubimkvol /dev/ubi0 -N env1 -s 128KiB && \
    mkdir /ours && ln -s /usr/bin/uboot-env /ours/fw_printenv && \
    ln -s /usr/bin/uboot-env /ours/fw_setenv";

/// A block and a half; with the bad block it ends in the third.
const NAND_CONFIG: &str = "/dev/mtd0 0x0 0x30000 0x20000 4\n/dev/mtd0 0x80000 0x30000 0x20000 4\n";
/// A quarter of a block.
const NOR_CONFIG: &str = "/dev/mtd2 0x0 0x4000 0x10000\n/dev/mtd2 0x10000 0x4000 0x10000\n";
const UBI_CONFIG: &str = "/dev/ubi0:env0 0x0 0x8000\n/dev/ubi0:env1 0x0 0x8000\n";

#[test]
#[ignore = "boots QEMU: run by cargo xtask test"]
fn on_nand_nor_and_ubi() {
    let dir = new_dir(&parts().dir.join("environment")).unwrap();
    let (source, library) = (dir.join("says_nor.c"), dir.join("says_nor.so"));
    fs_err::write(&source, SAYS_NOR).unwrap();
    let mut compile = Command::new("gcc");
    compile.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]);
    captured(compile.arg(&library).arg(&source)).unwrap();
    let library = fs_err::read(library).unwrap();
    let archive = Guest::archive(
        &dir,
        &[
            ("usr/lib/says_nor.so", &library),
            ("etc/nand.config", NAND_CONFIG.as_bytes()),
            ("etc/nor.config", NOR_CONFIG.as_bytes()),
            ("etc/ubi.config", UBI_CONFIG.as_bytes()),
        ],
    );
    let mut guest = Guest::start(&dir, &archive, &[]);
    guest.ask(&format!("{NAND} {CHIPS}"));
    guest.ask(OTHERS);
    for medium in ["nor", "ubi", "nand"] {
        both_read_each_other(&mut guest, medium);
    }
    nor_has_one_active_copy(&mut guest);
    neighbours_survive(&mut guest);
    a_block_wears_out(&mut guest);
    a_range_without_enough_good_blocks_is_refused(&mut guest);
    an_interrupted_volume_update_is_survived(&mut guest);
}

fn theirs(medium: &str, program: &str, arguments: &str) -> String {
    format!(
        "LD_PRELOAD=/usr/lib/says_nor.so /usr/bin/fw_{program}env -c /etc/{medium}.config {arguments}"
    )
}

fn ours(medium: &str, program: &str, arguments: &str) -> String {
    format!("/ours/fw_{program}env -c /etc/{medium}.config {arguments}")
}

/// In turns: each change goes to the copy that is not the current one, and both find it there.
fn both_read_each_other(guest: &mut Guest, medium: &str) {
    let blank = guest.refused(&ours(medium, "set", "name value"));
    assert!(blank.contains("--init"), "{medium}: {blank}");
    let init = format!("uboot-env set -c /etc/{medium}.config --init count=0 'text=a b=c'");
    guest.ask(&init);
    for count in 1..=4 {
        let writer = if count % 2 == 0 { ours } else { theirs };
        guest.ask(&writer(medium, "set", &format!("count {count}")));
        for reader in [ours, theirs] {
            let found = guest.ask(&reader(medium, "print", "| sort"));
            assert_eq!(found, format!("count={count}\ntext=a b=c"), "{medium}");
        }
    }
    guest.ask(&format!("uboot-env doctor -c /etc/{medium}.config"));
}

/// The flags bytes of the two copies.
fn flags(guest: &mut Guest) -> String {
    guest.ask("for at in 4 65540; do od -An -tx1 -N1 -j$at /dev/mtd2; done | tr -d ' \\n'")
}

fn nor_has_one_active_copy(guest: &mut Guest) {
    for expected in ["0001", "0100", "0001"] {
        let next = format!("switch {expected}");
        if flags(guest) == expected {
            guest.ask(&ours("nor", "set", &format!("{next} before")));
        }
        guest.ask(&ours("nor", "set", &next));
        assert_eq!(flags(guest), expected);
    }
}

/// What lies behind the environment in its last block.
fn neighbours_survive(guest: &mut Guest) {
    guest.ask(
        "for at in 16384 81920; do \
               echo a neighbour | dd of=/dev/mtd2 bs=1 seek=$at conv=notrunc; done 2> /dev/null",
    );
    for count in 1..=2 {
        guest.ask(&ours("nor", "set", &format!("neighbour {count}")));
    }
    for at in [16_384, 81_920] {
        let found = guest.ask(&format!("tail -c +{} /dev/mtd2 | head -n 1", at + 1));
        assert_eq!(found, "a neighbour");
    }
    // On NAND: half of the third block is the first copy's.
    guest.ask("dd if=/dev/zero bs=2048 count=1 | tr '\\0' n > /tmp/page");
    guest.ask("dd if=/tmp/page of=/dev/mtd0 bs=2048 seek=160 conv=notrunc");
    for count in 1..=2 {
        guest.ask(&ours("nand", "set", &format!("neighbour {count}")));
    }
    guest.ask("dd if=/dev/mtd0 bs=2048 skip=160 count=1 | cmp - /tmp/page");
}

/// The second copy moves to blocks that are good, and both programs find it there.
fn a_block_wears_out(guest: &mut Guest) {
    for count in 1..=8 {
        guest.ask(&ours("nand", "set", &format!("worn {count}")));
        for reader in [ours, theirs] {
            assert_eq!(
                guest.ask(&reader("nand", "print", "-n worn")),
                count.to_string()
            );
        }
    }
    assert_eq!(guest.ask("cat /sys/class/mtd/mtd0/bad_blocks"), "2");
}

fn a_range_without_enough_good_blocks_is_refused(guest: &mut Guest) {
    guest.ask("sed s/4$/2/ /etc/nand.config > /etc/tight.config");
    let said = guest.ask("uboot-env print -c /etc/tight.config worn 2>&1; true");
    assert!(said.contains("good blocks"), "{said}");
}

/// The marker of an update that did not end makes a volume unreadable. The other copy is used: it has
/// the last change, or all but that one; and the next changes heal the first.
fn an_interrupted_volume_update_is_survived(guest: &mut Guest) {
    for volume in [0, 1] {
        let states = [1, 2].map(|count| {
            guest.ask(&ours("ubi", "set", &format!("before {volume}{count}")));
            guest.ask(&ours("ubi", "print", "| sort"))
        });
        guest.refused(&format!(
            "head -c 1000 /dev/zero | ubiupdatevol -s 32768 /dev/ubi0_{volume} -"
        ));
        guest.refused(&format!("head -c 1 /dev/ubi0_{volume}"));
        let now = guest.ask(&ours("ubi", "print", "2> /dev/null | sort"));
        assert!(states.contains(&now), "{now}");
        for count in 1..=2 {
            guest.ask(&ours("ubi", "set", &format!("healed {volume}{count}")));
        }
        guest.ask(&format!("head -c 1 /dev/ubi0_{volume}"));
        let found = guest.ask(&theirs("ubi", "print", "-n healed"));
        assert_eq!(found, format!("{volume}2"));
    }
}
