use std::path::Path;

use bundle_format::manifest::Format;

use super::system::parse_formats;
use super::*;
use crate::boot::Tries;
use crate::slot::{Access, SlotKind};

const GOOD: &str = "[system]
compatible=board
bootloader=grub
grubenv=/boot/efi/grub/grubenv
bundle-formats=-plain
data-directory=data
mountprefix=/run/rauc

[keyring]
path=keyring.pem

[slot.rootfs.0]
device=/dev/disk/by-partlabel/rootfs.A
type=raw
bootname=A

[slot.rootfs.1]
device=/dev/disk/by-partlabel/rootfs.B
bootname=B

[slot.app.0]
device=/dev/app
type=ext4
parent=rootfs.0
readonly=true
";

fn parse(text: &str) -> Result<SystemConf, String> {
    let chain = |error: ConfigError| {
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text = format!("{text}: {cause}");
        }
        text
    };
    SystemConf::parse(text.as_bytes(), "system.conf", Path::new("/etc/rauc")).map_err(chain)
}

#[test]
fn an_ordinary_file() {
    let conf = parse(GOOD).unwrap();
    assert_eq!(conf.compatible, "board");
    assert_eq!(conf.keyring.path, Some("/etc/rauc/keyring.pem".into()));
    assert_eq!(conf.data_directory, Some("/etc/rauc/data".into()));
    assert_eq!(
        conf.bootloader,
        Bootloader::Grub {
            grubenv: "/boot/efi/grub/grubenv".into()
        }
    );
    assert_eq!(conf.not_yet, []);
    let slots: Vec<_> = conf
        .layout
        .iter()
        .map(|(_, s)| (s.name.to_string(), s.kind))
        .collect();
    assert_eq!(slots[2], ("app.0".to_owned(), SlotKind::Ext4));
    let app = conf.layout.iter().nth(2).unwrap().1;
    assert_eq!(app.access, Access::ReadOnly);
}

#[test]
fn mistakes_are_told_with_file_and_line() {
    let table = [
        ("compatible=board\n", "system.conf"),
        (
            "[system]\ncompatible=b\nbootloader=lilo\n",
            "system.conf:3: ",
        ),
        ("[system]\nbootloader=grub\n", "compatible"),
        (
            "[system]\ncompatible=b\nbootloader=grub\ngrubemv=/x\n",
            "system.conf:4: ",
        ),
        (
            "[system]\ncompatible=b\nbootloader=grub\nboot-attempts=3\n",
            "U-Boot and barebox",
        ),
        (
            "[system]\ncompatible=b\nbootloader=grub\n[slots.a.0]\n",
            "system.conf:4: ",
        ),
        (
            "[system]\ncompatible=b\nbootloader=grub\n[slot.a]\ndevice=/x\n",
            "CLASS.INDEX",
        ),
        (
            "[system]\ncompatible=b\nbootloader=grub\n[slot.a.0]\n",
            "device",
        ),
        (
            "[system]\ncompatible=b\nbootloader=grub\n[slot.a.0]\ndevice=/x\ntype=floppy\n",
            "system.conf:6: ",
        ),
        (
            "[system]\ncompatible=b\nbootloader=grub\n[keyring]\ncheck-purpose=fun\n",
            "system.conf:5: ",
        ),
        (
            "[system]\ncompatible=b\nbootloader=grub\n[slot.a.0]\ndevice=/x\nparent=b.0\n",
            "not configured",
        ),
    ];
    for (text, expected) in table {
        let message = parse(text).unwrap_err();
        assert!(message.contains(expected), "{text}\n{message}");
    }
}

#[test]
fn u_boot_and_its_attempts() {
    let head = "[system]\ncompatible=b\nbootloader=uboot\n";
    let conf = parse(&format!("{head}boot-attempts=5\nboot-attempts-primary=2\n")).unwrap();
    assert_eq!(
        conf.bootloader,
        Bootloader::UBoot {
            attempts: Tries::new(5).unwrap(),
            primary: Tries::new(2)
        }
    );
    for wrong in ["0", "10", "a", "-1", "300"] {
        let message = parse(&format!("{head}boot-attempts={wrong}\n")).unwrap_err();
        assert!(message.contains("must be 1 to 9"), "{message}");
    }
}

#[test]
fn formats() {
    use Format::{Crypt, Plain, Verity};
    let table: [(&str, &[Format]); 4] = [
        ("verity", &[Verity]),
        ("-plain", &[Verity, Crypt]),
        ("verity;crypt;", &[Verity, Crypt]),
        ("-crypt +plain", &[Verity, Plain]),
    ];
    for (list, expected) in table {
        assert_eq!(parse_formats(list).as_deref(), Ok(expected), "{list}");
    }
    for wrong in [
        "zip",
        "verity -plain",
        "-plain verity",
        "-plain -verity -crypt",
        ";",
    ] {
        assert!(parse_formats(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_would_change_an_installation_is_not_left_out_in_silence() {
    let head = "[system]\ncompatible=b\nbootloader=grub\n";
    let table = [
        ("min-bundle-version=2\n", "system.conf:4"),
        ("activate-installed=false\n", "activate-installed=false"),
        ("[handlers]\npre-install=/bin/x\n", "pre-install"),
        (
            "[slot.a.0]\ndevice=/x\nallow-mounted=true\n",
            "allow-mounted",
        ),
    ];
    for (text, expected) in table {
        let list = parse(&format!("{head}{text}")).unwrap().not_yet;
        assert_eq!(list.len(), 1, "{text}");
        let told = format!("{}: {}", list[0].place, list[0].what);
        assert!(told.contains(expected), "{told}");
    }
    for text in [
        "activate-installed=true\n",
        "[keyring]\ncheck-purpose=codesign\ncheck-crl=true\nallowed-signer-cns=x\n",
    ] {
        assert_eq!(
            parse(&format!("{head}{text}")).unwrap().not_yet,
            [],
            "{text}"
        );
    }
}
