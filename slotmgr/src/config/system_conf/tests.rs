use std::path::Path;

use bundle_format::manifest::Format;

use super::system::parse_formats;
use super::*;
use crate::boot::Tries;
use crate::boot::efi::Activate;
use crate::install::Version;
use crate::slot::{Access, InstallSame, Mounted, Region, Resize, SlotKind};

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
    assert_eq!(conf.system.compatible, "board");
    assert_eq!(conf.keyring.path, Some("/etc/rauc/keyring.pem".into()));
    assert_eq!(conf.system.data_directory, Some("/etc/rauc/data".into()));
    assert_eq!(
        conf.system.bootloader,
        Bootloader::Grub {
            grubenv: "/boot/efi/grub/grubenv".into()
        }
    );
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
            "bootloader=uboot and barebox only",
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
        conf.system.bootloader,
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

const HEAD: &str = "[system]\ncompatible=b\nbootloader=grub\n";

#[test]
fn slips_are_told_with_what_was_probably_meant() {
    let table = [
        (
            "compatibel=x\n",
            "system.conf:4: unknown key 'compatibel' in [system]. Did you mean `compatible`?",
        ),
        ("check-crl=true\n", "It belongs into [keyring]"),
        ("[keyrings]\n", "Did you mean [keyring]?"),
        ("[slots.rootfs.0]\n", "Did you mean [slot.rootfs.0]?"),
        ("[image.rootfs]\n", "It belongs into a bundle's manifest"),
        (
            "[slot.rootfs.0]\ndevcie=/x\n",
            "system.conf:5: unknown key 'devcie' in [slot.rootfs.0]. Did you mean `device`?",
        ),
        ("[weather]\n", "unknown section [weather]"),
    ];
    for (text, expected) in table {
        let message = parse(&format!("{HEAD}{text}")).unwrap_err();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn what_an_installation_needs_to_know() {
    let conf = parse(&format!(
        "{HEAD}min-bundle-version=1.2\nactivate-installed=false\nprevent-late-fallback=true\n\
         mountprefix=/run/m\nvariant-file=variant\nstatusfile=/data/central\n\
         [handlers]\npre-install=pre.sh\ninstall-failed=/bin/failed\n\
         [streaming]\ntls-ca=ca.pem\ntls-key=pkcs11:object=k\nsend-headers=boot-id;uptime\n\
         [encryption]\nkey=k.pem\n[log.events]\nfilename=/e.log\nevents=install;mark\nmax-size=1M\n\
         [artifacts.apps]\npath=/apps\ntype=trees\n[polling]\nurl=https://x\n"
    ))
    .unwrap();
    assert_eq!(conf.system.min_version, Version::parse("1.2"));
    assert_eq!(conf.system.activation, Activation::ByHand);
    assert_eq!(conf.system.late_fallback, LateFallback::Prevented);
    assert_eq!(
        conf.system.variant,
        VariantSource::File("/etc/rauc/variant".into())
    );
    assert_eq!(
        conf.system.status,
        StatusPlace::Central("/data/central".into())
    );
    assert_eq!(conf.handlers.pre_install, Some("/etc/rauc/pre.sh".into()));
    assert_eq!(conf.handlers.install_failed, Some("/bin/failed".into()));
    assert_eq!(conf.streaming.tls_ca.as_deref(), Some("/etc/rauc/ca.pem"));
    assert_eq!(conf.streaming.tls_key.as_deref(), Some("pkcs11:object=k"));
    assert_eq!(
        conf.streaming.send_headers,
        [InfoHeader::BootId, InfoHeader::Uptime]
    );
    assert_eq!(conf.encryption.key, Some("/etc/rauc/k.pem".into()));
    assert_eq!(conf.logs[0].max_size, Some(1 << 20));
    assert_eq!(conf.repositories[0].kind, RepositoryKind::Trees);
    assert_eq!(conf.idle.len(), 1);
}

#[test]
fn relative_paths_of_the_status_and_of_logs() {
    let conf = parse(&format!("{HEAD}statusfile=central\n")).unwrap();
    let place = StatusPlace::Central("/etc/rauc/central".into());
    assert_eq!(conf.system.status, place);
    let logs = "data-directory=/data\n[log.a]\nfilename=a.log\n[log.b]\nfilename=/var/b.log\n";
    let conf = parse(&format!("{HEAD}{logs}")).unwrap();
    let paths: Vec<_> = conf.logs.iter().map(|log| log.path.as_path()).collect();
    assert_eq!(paths, [Path::new("/data/a.log"), Path::new("/var/b.log")]);
}

#[test]
fn values_that_cannot_be() {
    let table = [
        ("variant-name=a\nvariant-file=/b\n", "system.conf:5: "),
        (
            "statusfile=per-slot\ndata-directory=/d\n",
            "does not go together",
        ),
        ("bundle-formats=\n", "must not be empty"),
        ("min-bundle-version=\n", "must not be empty"),
        ("[keyring]\ncheck-purpose=\n", "must not be empty"),
        ("max-bundle-signature-size=0\n", "more than 0"),
        ("min-bundle-version=new\n", "is no version"),
        ("barebox-statename=x\n", "bootloader=barebox only"),
        ("max-bundle-download-size=12M\n", "whole number"),
        ("[log.a]\nfilename=x\n", "needs data-directory="),
        ("[log.a]\nfilename=/x\nmax-files=0\n", "1 to 1000"),
        (
            "[log.a]\nfilename=/x\nevents=rain\n",
            "is none of all, boot",
        ),
        (
            "[log.a]\nfilename=/x\nevents=all;boot\n",
            "names `all` and others",
        ),
        ("[artifacts.a]\npath=/x\n", "'type'"),
        (
            "[slot.a.0]\ndevice=/x\n[artifacts.a]\npath=/x\ntype=files\n",
            "has the name of a slot class",
        ),
        ("[slot.a.0]\ndevice=/x\nregion-start=4\n", "boot-mbr-switch"),
        (
            "[slot.a.0]\ndevice=/x\ntype=boot-gpt-switch\nregion-start=4\n",
            "region-size",
        ),
        ("[slot.a.0]\ndevice=/x\nsize-limit=4M\n", "boot-emmc only"),
        ("[slot.a.0]\ndevice=/x\nefi-cmdline=quiet\n", "efi-loader"),
        ("[slot.a.0]\ndevice=/x\nefi-loader=/\n", "path of a program"),
        ("[slot.a.0]\ndevice=/x\nextra-mkfs-opts='x\n", "quote"),
        (
            "[streaming]\nsend-headers=shoe-size\n",
            "is none of boot-id",
        ),
        ("[polling]\n", "url"),
    ];
    for (text, expected) in table {
        let message = parse(&format!("{HEAD}{text}")).unwrap_err();
        assert!(message.contains(expected), "{text}: {message}");
    }
    let custom = "[system]\ncompatible=b\nbootloader=custom\n";
    assert!(
        parse(custom)
            .unwrap_err()
            .contains("bootloader-custom-backend")
    );
}

#[test]
fn bootloaders_and_their_keys() {
    let parsed = |text: &str| {
        let text = format!("[system]\ncompatible=b\nbootloader={text}\n");
        parse(&text).map(|conf| conf.system.bootloader)
    };
    let activate = Activate::ForGood;
    let barebox = Bootloader::Barebox {
        state: Some("state".to_owned()),
        dtb: Some("/etc/rauc/board.dtb".into()),
        attempts: Tries::DEFAULT,
        primary: Tries::new(2),
    };
    let table = [
        ("noop", Bootloader::Noop),
        ("efi\nefi-use-bootnext=false", Bootloader::Efi { activate }),
        (
            "barebox\nbarebox-statename=state\nbarebox-dtbpath=board.dtb\nboot-attempts-primary=2",
            barebox,
        ),
        (
            "gpt-priority\ngpt-disk=/dev/sda",
            Bootloader::GptPriority {
                disk: "/dev/sda".into(),
            },
        ),
        (
            "tryboot",
            Bootloader::Tryboot {
                config: "/boot/firmware/autoboot.txt".into(),
            },
        ),
        (
            "systemd-boot\nsystemd-boot-entries=/efi/loader/entries",
            Bootloader::SystemdBoot {
                entries: "/efi/loader/entries".into(),
            },
        ),
    ];
    for (text, expected) in table {
        assert_eq!(parsed(text).unwrap(), expected, "{text}");
        let name = text.lines().next().unwrap_or_default();
        assert_eq!(expected.name(), name);
    }
    for (text, expected) in [
        ("gpt-priority", "gpt-disk"),
        ("grub\ngpt-disk=/dev/sda", "gpt-priority only"),
        ("efi\ntryboot-config=/x", "tryboot only"),
        ("efi\nefi-use-bootnext=maybe", "efi-use-bootnext"),
    ] {
        let message = parsed(text).unwrap_err();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

/// As RAUC's documentation has it, with the escapes of its files; firmware wants backslashes.
#[test]
fn entries_of_the_firmware() {
    let slots = ["\\\\EFI\\\\a.efi\nefi-cmdline=@1", "EFI/a.efi"]
        .map(|text| format!("{HEAD}[slot.a.0]\ndevice=/x\nbootname=A\nefi-loader={text}\n"));
    let entry = |text: &String| {
        let conf = parse(text).unwrap();
        let (_, slot) = conf.layout.iter().next().unwrap();
        slot.options.firmware_entry.clone().unwrap()
    };
    let [first, second] = [entry(&slots[0]), entry(&slots[1])];
    assert_eq!(
        (first.loader.as_str(), first.command_line.as_str()),
        ("\\EFI\\a.efi", "@1")
    );
    assert_eq!(
        (second.loader.as_str(), second.command_line.as_str()),
        ("\\EFI\\a.efi", "")
    );
}

#[test]
fn options_of_slots() {
    let conf = parse(&format!(
        "{HEAD}[slot.a.0]\ndevice=/x\ntype=boot-mbr-switch\nregion-start=4M\nregion-size=8M\n\
         install-same=false\nforce-install-same=true\n\
         [slot.b.0]\ndevice=/y\ntype=ext4\nresize=true\nallow-mounted=true\nextra-mkfs-opts=-L 'my root'\n"
    ))
    .unwrap();
    let options: Vec<_> = conf
        .layout
        .iter()
        .map(|(_, slot)| slot.options.clone())
        .collect();
    assert_eq!(
        options[0].region,
        Some(Region {
            start: 4 << 20,
            size: 8 << 20
        })
    );
    assert_eq!(options[0].same, InstallSame::Skip);
    assert_eq!(options[1].same, InstallSame::Write);
    assert_eq!(
        (options[1].resize, options[1].mounted),
        (Resize::ToSlot, Mounted::Allowed)
    );
    assert_eq!(options[1].mkfs_options, ["-L", "my root"]);
}
