//! `[system]`

use std::path::Path;

use bundle_format::keyfile::SectionReader;
use bundle_format::manifest::Format;

use super::{Bootloader, ConfigError, SystemConf, block_if, block_if_present};
use crate::boot::Tries;

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

pub(super) fn read(
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

pub(super) const ALL_FORMATS: [Format; 3] = [Format::Plain, Format::Verity, Format::Crypt];

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
