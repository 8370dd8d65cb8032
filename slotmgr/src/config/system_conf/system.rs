//! `[system]`

use std::path::{Path, PathBuf};

use bundle_format::keyfile::{KeyFileError, SectionReader};
use bundle_format::manifest::Format;

use super::{Bootloader, ConfigError, StatusPlace, VariantSource};
use crate::boot::Tries;
use crate::boot::efi::Activate;
use crate::install::Version;

/// RAUC's, and three of our own at the end.
const BOOTLOADERS: [&str; 9] = [
    "grub",
    "uboot",
    "barebox",
    "efi",
    "custom",
    "noop",
    "gpt-priority",
    "tryboot",
    "systemd-boot",
];

/// Where the boot partition's entries are when it is mounted as most systems do it.
const ENTRIES: &str = "/boot/efi/loader/entries";

/// Where Raspberry Pi OS mounts the partition that the firmware reads first.
const AUTOBOOT: &str = "/boot/firmware/autoboot.txt";

/// Where things are mounted and unpacked when nothing is said. RAUC says `/mnt/rauc` here, and its
/// service file this: below `/run` it works with a root file system that cannot be written.
const MOUNT_PREFIX: &str = "/run/rauc/mnt";

/// What happens with a slot once it is proven (`activate-installed`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The bootloader is told to start it next.
    AtOnce,
    /// It stays as it is until somebody marks it active.
    ByHand,
}

/// What becomes of the other slot once the running one is confirmed (`prevent-late-fallback`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateFallback {
    /// It stays startable.
    Allowed,
    /// It is marked bad.
    Prevented,
}

/// The settings of `[system]`.
#[derive(Debug, Clone)]
pub struct System {
    /// `compatible=`
    pub compatible: String,
    /// `bootloader=`
    pub bootloader: Bootloader,
    /// `data-directory=`: where our record and RAUC's status file are kept.
    pub data_directory: Option<PathBuf>,
    /// Where RAUC's status is kept.
    pub status: StatusPlace,
    /// `bundle-formats=`: those that may be installed.
    pub formats: Vec<Format>,
    /// `min-bundle-version=`: older ones are refused.
    pub min_version: Option<Version>,
    /// `perform-pre-check=`: read everything before the first write, always.
    pub pre_check: bool,
    /// `max-bundle-signature-size=`, in bytes.
    pub max_signature_size: Option<u64>,
    /// `mountprefix=`: below it things are mounted and unpacked.
    pub mount_prefix: PathBuf,
    /// `activate-installed=`
    pub activation: Activation,
    /// `prevent-late-fallback=`
    pub late_fallback: LateFallback,
    /// Which variant of the machine this is.
    pub variant: VariantSource,
}

pub(super) fn read(mut section: SectionReader<'_>, base: &Path) -> Result<System, ConfigError> {
    let compatible = section.required("compatible")?;
    for key in ["bundle-formats", "min-bundle-version"] {
        section.not_empty(key)?;
    }
    let bootloader = read_bootloader(&mut section, base)?;
    let variant = read_variant(&mut section, base)?;
    let data_directory = section
        .string("data-directory")?
        .map(|path| base.join(path));
    let status = read_status(&mut section, base, data_directory.as_deref())?;
    let version =
        |text: &str| Version::parse(text).ok_or("is no version (1.2.3 or 1.2.3-rc.1)".to_owned());
    let system = System {
        compatible,
        bootloader,
        status,
        formats: section
            .parse("bundle-formats", parse_formats)?
            .unwrap_or_else(|| ALL_FORMATS.to_vec()),
        min_version: section.parse("min-bundle-version", version)?,
        pre_check: section.bool("perform-pre-check")?.unwrap_or(false),
        max_signature_size: limit(
            &mut section,
            "max-bundle-signature-size",
            SectionReader::size,
        )?,
        mount_prefix: base.join(
            section
                .string("mountprefix")?
                .unwrap_or_else(|| MOUNT_PREFIX.to_owned()),
        ),
        activation: match section.bool("activate-installed")? {
            Some(false) => Activation::ByHand,
            _ => Activation::AtOnce,
        },
        late_fallback: match section.bool("prevent-late-fallback")? {
            Some(true) => LateFallback::Prevented,
            _ => LateFallback::Allowed,
        },
        data_directory,
        variant,
    };
    // The size of a download that we do not make: bundles are read where they are.
    limit(&mut section, "max-bundle-download-size", SectionReader::u64)?;
    section.finish()?;
    Ok(system)
}

/// A limit of nothing is a mistake.
fn limit<'s>(
    section: &mut SectionReader<'s>,
    key: &str,
    read: fn(&mut SectionReader<'s>, &str) -> Result<Option<u64>, KeyFileError>,
) -> Result<Option<u64>, KeyFileError> {
    let entry = section.take(key);
    match (read(section, key)?, entry) {
        (Some(0), Some(entry)) => Err(section.wrong(entry, "must be more than 0")),
        (value, _) => Ok(value),
    }
}

fn read_bootloader(
    section: &mut SectionReader<'_>,
    base: &Path,
) -> Result<Bootloader, ConfigError> {
    let known = |name: &str| match BOOTLOADERS.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(format!("is none of {}", BOOTLOADERS.join(", "))),
    };
    let name = section
        .parse("bootloader", known)?
        .ok_or_else(|| section.missing("bootloader"))?;
    refuse_keys_of_others(section, &name)?;
    let grubenv = section.string("grubenv")?;
    let attempts = section.parse("boot-attempts", parse_attempts)?;
    let primary = section.parse("boot-attempts-primary", parse_attempts)?;
    let state = section.string("barebox-statename")?;
    let dtb = section.string("barebox-dtbpath")?;
    let bootnext = section.bool("efi-use-bootnext")?;
    let disk = section.string("gpt-disk")?;
    let config = section.string("tryboot-config")?;
    let entries = section.string("systemd-boot-entries")?;
    Ok(match name.as_str() {
        "grub" => Bootloader::Grub {
            grubenv: base.join(grubenv.unwrap_or_else(|| "/boot/grub/grubenv".to_owned())),
        },
        "uboot" => Bootloader::UBoot {
            attempts: attempts.unwrap_or(Tries::DEFAULT),
            primary,
        },
        "barebox" => Bootloader::Barebox {
            state,
            dtb: dtb.map(|path| base.join(path)),
            attempts: attempts.unwrap_or(Tries::DEFAULT),
            primary,
        },
        "efi" => Bootloader::Efi {
            activate: match bootnext {
                Some(false) => Activate::ForGood,
                _ => Activate::Once,
            },
        },
        "gpt-priority" => Bootloader::GptPriority {
            disk: base.join(disk.ok_or_else(|| section.missing("gpt-disk"))?),
        },
        "tryboot" => Bootloader::Tryboot {
            config: base.join(config.unwrap_or_else(|| AUTOBOOT.to_owned())),
        },
        "systemd-boot" => Bootloader::SystemdBoot {
            entries: base.join(entries.unwrap_or_else(|| ENTRIES.to_owned())),
        },
        "custom" => Bootloader::Custom,
        _ => Bootloader::Noop,
    })
}

/// A key for another bootloader shows that somebody believes something that is not so.
fn refuse_keys_of_others(
    section: &mut SectionReader<'_>,
    bootloader: &str,
) -> Result<(), ConfigError> {
    let owners: [(&str, &[&str]); 9] = [
        ("grubenv", &["grub"]),
        ("boot-attempts", &["uboot", "barebox"]),
        ("boot-attempts-primary", &["uboot", "barebox"]),
        ("barebox-statename", &["barebox"]),
        ("barebox-dtbpath", &["barebox"]),
        ("efi-use-bootnext", &["efi"]),
        ("gpt-disk", &["gpt-priority"]),
        ("tryboot-config", &["tryboot"]),
        ("systemd-boot-entries", &["systemd-boot"]),
    ];
    for (key, owners) in owners {
        if !owners.contains(&bootloader)
            && let Some(entry) = section.take(key)
        {
            let problem = format!("is for bootloader={} only", owners.join(" and "));
            return Err(section.wrong(entry, problem).into());
        }
    }
    Ok(())
}

fn read_variant(
    section: &mut SectionReader<'_>,
    base: &Path,
) -> Result<VariantSource, ConfigError> {
    let mut found = None;
    for key in ["variant-name", "variant-file", "variant-dtb"] {
        let Some(entry) = section.take(key) else {
            continue;
        };
        let source = match key {
            "variant-name" => section.string(key)?.map(VariantSource::Name),
            "variant-file" => section
                .string(key)?
                .map(|path| VariantSource::File(base.join(path))),
            _ => section
                .bool(key)?
                .filter(|wanted| *wanted)
                .map(|_| VariantSource::DeviceTree),
        };
        if found.is_some() {
            let problem =
                "is a second variant: only one of variant-name, variant-file, variant-dtb can be";
            return Err(section.wrong(entry, problem).into());
        }
        found = Some(source.unwrap_or(VariantSource::None));
    }
    Ok(found.unwrap_or(VariantSource::None))
}

fn read_status(
    section: &mut SectionReader<'_>,
    base: &Path,
    data_directory: Option<&Path>,
) -> Result<StatusPlace, ConfigError> {
    let entry = section.take("statusfile");
    let said = section.string("statusfile")?;
    match (said.as_deref(), entry, data_directory) {
        (Some("per-slot"), Some(entry), Some(_)) => Err(section
            .wrong(entry, "does not go together with data-directory")
            .into()),
        (Some("per-slot"), ..) | (None, _, None) => Ok(StatusPlace::PerSlot),
        (Some(path), ..) => Ok(StatusPlace::Central(base.join(path))),
        (None, _, Some(directory)) => Ok(StatusPlace::Central(directory.join("central.raucs"))),
    }
}

/// From 10 on RAUC writes hexadecimal where U-Boot's `bootmeth_rauc` reads decimal.
fn parse_attempts(text: &str) -> Result<Tries, String> {
    let count = text.trim().parse().ok().and_then(Tries::new);
    count.ok_or_else(|| "must be 1 to 9".to_owned())
}

const ALL_FORMATS: [Format; 3] = [Format::Plain, Format::Verity, Format::Crypt];

/// RAUC's list: names that are allowed, or `+name` and `-name` that edit "all".
pub(super) fn parse_formats(list: &str) -> Result<Vec<Format>, String> {
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
