//! `system.conf` as RAUC defines it, strict: what is not known is an error with file and line.
//!
//! Every section and key of RAUC is known here. Some are not acted upon yet. Where leaving them out
//! would change what an installation does or whom it trusts, they are collected in
//! [`SystemConf::not_yet`], and `slotmgr install` refuses to run; the others (mount options for
//! things that we do not mount, the cache of a download that we do not make) have no effect here.

use std::io;
use std::path::{Path, PathBuf};

use bundle_format::keyfile::{KeyFile, KeyFileError, Place, Section, SectionReader};
use bundle_format::manifest::Format;

use super::Keyring;
use crate::boot::Tries;
use crate::slot::{Access, BootName, Layout, LayoutError, NameError, Slot, SlotKind, SlotName};

/// Largest `system.conf` that is read, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// `bootloader=`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootloader {
    /// GRUB and its environment block.
    Grub {
        /// `grubenv=`
        grubenv: PathBuf,
    },
    /// U-Boot; `fw_env.config` says where its environment is.
    UBoot {
        /// `boot-attempts=`: what a confirmed slot is given.
        attempts: Tries,
        /// `boot-attempts-primary=`: what a new system is given.
        primary: Option<Tries>,
    },
    /// One that RAUC knows and that this version does not drive yet.
    Other(String),
}

/// A setting that is understood but not acted upon yet, and that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotYet {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub what: String,
}

/// A checked `system.conf`.
#[derive(Debug, Clone)]
pub struct SystemConf {
    /// `compatible=`
    pub compatible: String,
    /// `bootloader=`
    pub bootloader: Bootloader,
    /// `data-directory=`: where our record is kept.
    pub data_directory: Option<PathBuf>,
    /// `bundle-formats=`: those that may be installed.
    pub formats: Vec<Format>,
    /// `perform-pre-check=`: read everything before the first write, always.
    pub pre_check: bool,
    /// `max-bundle-signature-size=`, in bytes.
    pub max_signature_size: Option<u64>,
    /// `[keyring]`
    pub keyring: Keyring,
    /// The slots.
    pub layout: Layout,
    /// Settings that keep `slotmgr install` from running.
    pub not_yet: Vec<NotYet>,
}

/// What is wrong with a `system.conf`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not understood.
    #[error(transparent)]
    Syntax(#[from] KeyFileError),
    /// A slot without a valid name.
    #[error("{place}: section [{section}] does not name a slot")]
    SlotName {
        /// Where.
        place: Place,
        /// The section.
        section: String,
        /// What is wrong with it.
        #[source]
        source: NameError,
    },
    /// The slots do not fit together.
    #[error("{file}: the slots do not fit together")]
    Layout {
        /// The file.
        file: String,
        /// How.
        #[source]
        source: LayoutError,
    },
}

/// Sections whose keys have no effect on what this version does.
const WITHOUT_EFFECT: [&str; 5] = [
    "casync",
    "encryption",
    "autoinstall",
    "streaming",
    "polling",
];

/// Keys of `[system]` without an effect here: for mounting, for other bootloaders, for variants
/// (a bundle with variants is refused by itself).
const SYSTEM_WITHOUT_EFFECT: [&str; 9] = [
    "mountprefix",
    "statusfile",
    "max-bundle-download-size",
    "variant-name",
    "variant-file",
    "variant-dtb",
    "barebox-statename",
    "barebox-dtbpath",
    "efi-use-bootnext",
];

const BOOTLOADERS: [&str; 6] = ["grub", "uboot", "barebox", "efi", "custom", "noop"];

impl SystemConf {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// With file and line where there is one.
    pub fn load(path: &Path) -> Result<SystemConf, ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > MAX_SIZE {
            return Err(read(io::Error::other(format!(
                "it has {size} bytes, more than {MAX_SIZE}"
            ))));
        }
        let bytes = std::fs::read(path).map_err(read)?;
        let base = path.parent().unwrap_or(Path::new("/"));
        SystemConf::parse(&bytes, &path.display().to_string(), base)
    }

    /// Checks `bytes`; `file` names them in errors, relative paths start at `base`.
    ///
    /// # Errors
    /// With file and line where there is one.
    pub fn parse(bytes: &[u8], file: &str, base: &Path) -> Result<SystemConf, ConfigError> {
        let keys = KeyFile::parse(bytes, file)?;
        let mut not_yet = Vec::new();
        let mut slots = Vec::new();
        let mut keyring = Keyring::default();
        for section in keys.sections() {
            let reader = keys.read(section);
            match section.name.split('.').next().unwrap_or_default() {
                "system" if section.name == "system" => {}
                "keyring" if section.name == "keyring" => {
                    keyring = Keyring::read(reader, base)?;
                }
                "handlers" if section.name == "handlers" => read_handlers(reader, &mut not_yet)?,
                "slot" => slots.push(read_slot(&keys, section, base, &mut not_yet)?),
                "log" | "artifacts" => {}
                name if WITHOUT_EFFECT.contains(&name) && name == section.name => {}
                _ => return Err(keys.unknown(section).into()),
            }
        }
        let layout = Layout::new(slots).map_err(|source| ConfigError::Layout {
            file: file.to_owned(),
            source,
        })?;
        let system = keys.required("system")?;
        read_system(system, base, SystemConf::empty(layout, keyring, not_yet))
    }

    fn empty(layout: Layout, keyring: Keyring, not_yet: Vec<NotYet>) -> SystemConf {
        SystemConf {
            compatible: String::new(),
            bootloader: Bootloader::Other(String::new()),
            data_directory: None,
            formats: ALL_FORMATS.to_vec(),
            pre_check: false,
            max_signature_size: None,
            keyring,
            layout,
            not_yet,
        }
    }
}

fn read_system(
    mut section: SectionReader<'_>,
    base: &Path,
    mut conf: SystemConf,
) -> Result<SystemConf, ConfigError> {
    conf.compatible = section.required("compatible")?;
    let known = |name: &str| match BOOTLOADERS.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(format!("is none of {}", BOOTLOADERS.join(", "))),
    };
    let bootloader = section
        .parse("bootloader", known)?
        .ok_or_else(|| section.missing("bootloader"))?;
    let grubenv = section.string("grubenv")?;
    conf.bootloader = match bootloader.as_str() {
        "grub" => Bootloader::Grub {
            grubenv: base.join(grubenv.unwrap_or_else(|| "/boot/grub/grubenv".to_owned())),
        },
        "uboot" => Bootloader::UBoot {
            attempts: section
                .parse("boot-attempts", parse_attempts)?
                .unwrap_or(Tries::DEFAULT),
            primary: section.parse("boot-attempts-primary", parse_attempts)?,
        },
        _ => Bootloader::Other(bootloader),
    };
    conf.data_directory = section
        .string("data-directory")?
        .map(|path| base.join(path));
    conf.pre_check = section.bool("perform-pre-check")?.unwrap_or(false);
    conf.max_signature_size = section.size("max-bundle-signature-size")?;
    if let Some(formats) = section.parse("bundle-formats", parse_formats)? {
        conf.formats = formats;
    }
    if matches!(conf.bootloader, Bootloader::Grub { .. }) {
        for key in ["boot-attempts", "boot-attempts-primary"] {
            if let Some(entry) = section.take(key) {
                return Err(section
                    .wrong(entry, "is for U-Boot and barebox only")
                    .into());
            }
        }
    }
    block_if(
        &mut section,
        "activate-installed",
        "false",
        &mut conf.not_yet,
    );
    block_if(
        &mut section,
        "prevent-late-fallback",
        "true",
        &mut conf.not_yet,
    );
    block_if_present(&mut section, "min-bundle-version", &mut conf.not_yet);
    for key in SYSTEM_WITHOUT_EFFECT
        .iter()
        .chain(&["boot-attempts", "boot-attempts-primary"])
    {
        section.take(key);
    }
    section.finish()?;
    Ok(conf)
}

/// From 10 on RAUC writes hexadecimal where U-Boot's `bootmeth_rauc` reads decimal.
fn parse_attempts(text: &str) -> Result<Tries, String> {
    let count = text.trim().parse().ok().and_then(Tries::new);
    count.ok_or_else(|| "must be 1 to 9".to_owned())
}

const ALL_FORMATS: [Format; 3] = [Format::Plain, Format::Verity, Format::Crypt];

/// RAUC's list: names that are allowed, or `+name` and `-name` that edit "all".
fn parse_formats(list: &str) -> Result<Vec<Format>, String> {
    let edits = list.starts_with(['+', '-']);
    let mut allowed = if edits {
        ALL_FORMATS.to_vec()
    } else {
        Vec::new()
    };
    for word in list
        .split(|c: char| c == ';' || c.is_whitespace())
        .filter(|word| !word.is_empty())
    {
        let (sign, name) = match word.strip_prefix(['+', '-']) {
            Some(name) => (&word[..1], name),
            None => ("", word),
        };
        let known = ALL_FORMATS.into_iter().find(|format| format.name() == name);
        let format = known.ok_or_else(|| format!("names `{name}`, which is no bundle format"))?;
        if edits == sign.is_empty() {
            return Err("mixes names with and without + or -".to_owned());
        }
        allowed.retain(|other| *other != format);
        if sign != "-" {
            allowed.push(format);
        }
    }
    if allowed.is_empty() {
        return Err("allows no format at all".to_owned());
    }
    Ok(allowed)
}

fn read_handlers(
    mut section: SectionReader<'_>,
    list: &mut Vec<NotYet>,
) -> Result<(), ConfigError> {
    for key in ["pre-install", "post-install"] {
        block_if_present(&mut section, key, list);
    }
    for key in ["system-info", "bootloader-custom-backend"] {
        section.take(key);
    }
    section.finish()?;
    Ok(())
}

fn read_slot(
    keys: &KeyFile,
    section: &Section,
    base: &Path,
    list: &mut Vec<NotYet>,
) -> Result<Slot, ConfigError> {
    let mut reader = keys.read(section);
    let place = || keys.place(section.line);
    let name = section.name.strip_prefix("slot.").unwrap_or_default();
    let name = SlotName::parse(name).map_err(|source| ConfigError::SlotName {
        place: place(),
        section: section.name.clone(),
        source,
    })?;
    let boot_name =
        |text: &str| BootName::parse(text).map_err(|error| format!("is wrong: {error}"));
    let parent = |text: &str| SlotName::parse(text).map_err(|error| format!("is wrong: {error}"));
    let kind = |text: &str| SlotKind::parse(text).ok_or("is no type of slot".to_owned());
    let slot = Slot {
        name,
        device: base.join(reader.required("device")?),
        kind: reader.parse("type", kind)?.unwrap_or(SlotKind::Raw),
        boot_name: reader.parse("bootname", boot_name)?,
        parent: reader.parse("parent", parent)?,
        access: match reader.bool("readonly")? {
            Some(true) => Access::ReadOnly,
            _ => Access::Writable,
        },
    };
    block_if(&mut reader, "allow-mounted", "true", list);
    block_if(&mut reader, "resize", "true", list);
    // About mounting, which we do not, and for types that are refused by themselves. `install-same`
    // only saves time.
    for key in [
        "description",
        "install-same",
        "force-install-same",
        "ignore-checksum",
        "extra-mount-opts",
        "extra-mkfs-opts",
        "region-start",
        "region-size",
        "size-limit",
        "efi-loader",
        "efi-cmdline",
    ] {
        reader.take(key);
    }
    reader.finish()?;
    Ok(slot)
}

fn block_if(section: &mut SectionReader<'_>, key: &str, value: &str, list: &mut Vec<NotYet>) {
    if let Some(entry) = section.take(key)
        && (entry.raw.trim() == value || !matches!(entry.raw.trim(), "true" | "false"))
    {
        not_yet(
            list,
            section,
            entry.line,
            &format!("{key}={}", entry.raw.trim()),
        );
    }
}

fn block_if_present(section: &mut SectionReader<'_>, key: &str, list: &mut Vec<NotYet>) {
    if let Some(entry) = section.take(key) {
        not_yet(list, section, entry.line, key);
    }
}

fn not_yet(list: &mut Vec<NotYet>, section: &SectionReader<'_>, line: u64, what: &str) {
    let place = Place {
        line,
        ..section.place_of_header()
    };
    list.push(NotYet {
        place,
        what: what.to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
