//! `[slot.CLASS.INDEX]`

use std::path::Path;

use bundle_format::keyfile::{KeyFile, Section, SectionReader};

use super::ConfigError;
use crate::slot::{
    Access, BootName, FirmwareEntry, InstallSame, Mounted, Region, Resize, Slot, SlotKind,
    SlotName, SlotOptions,
};

pub(super) fn read(keys: &KeyFile, section: &Section, base: &Path) -> Result<Slot, ConfigError> {
    let mut reader = keys.read(section);
    let name = section.name.strip_prefix("slot.").unwrap_or_default();
    let name = SlotName::parse(name).map_err(|source| ConfigError::SlotName {
        place: keys.place(section.line),
        section: section.name.clone(),
        source,
    })?;
    let boot_name =
        |text: &str| BootName::parse(text).map_err(|error| format!("is wrong: {error}"));
    let parent = |text: &str| SlotName::parse(text).map_err(|error| format!("is wrong: {error}"));
    let kind = |text: &str| {
        SlotKind::parse(text)
            .ok_or_else(|| format!("is no type of slot; there are {}", SlotKind::names()))
    };
    let kind = reader.parse("type", kind)?.unwrap_or(SlotKind::Raw);
    refuse_keys_of_other_types(&mut reader, kind)?;
    let slot = Slot {
        name,
        device: base.join(reader.required("device")?),
        kind,
        boot_name: reader.parse("bootname", boot_name)?,
        parent: reader.parse("parent", parent)?,
        access: match reader.bool("readonly")? {
            Some(true) => Access::ReadOnly,
            _ => Access::Writable,
        },
        options: read_options(&mut reader, kind)?,
    };
    reader.finish()?;
    Ok(slot)
}

fn read_options(
    reader: &mut SectionReader<'_>,
    kind: SlotKind,
) -> Result<SlotOptions, ConfigError> {
    Ok(SlotOptions {
        description: reader.string("description")?,
        mounted: match reader.bool("allow-mounted")? {
            Some(true) => Mounted::Allowed,
            _ => Mounted::Refused,
        },
        same: read_install_same(reader)?,
        resize: match reader.bool("resize")? {
            Some(true) => Resize::ToSlot,
            _ => Resize::Never,
        },
        mount_options: reader.string("extra-mount-opts")?,
        mkfs_options: reader
            .parse("extra-mkfs-opts", split_arguments)?
            .unwrap_or_default(),
        region: read_region(reader, kind)?,
        size_limit: reader.size("size-limit")?,
        firmware_entry: read_firmware_entry(reader)?,
    })
}

/// Both belong to `bootloader=efi`: what the entry of a slot with a boot name starts.
fn read_firmware_entry(
    reader: &mut SectionReader<'_>,
) -> Result<Option<FirmwareEntry>, ConfigError> {
    let arguments = reader.take("efi-cmdline");
    let command_line = reader.string("efi-cmdline")?;
    let Some(loader) = reader.parse("efi-loader", loader_path)? else {
        return match arguments {
            Some(entry) => Err(reader
                .wrong(entry, "needs an efi-loader that gets it".to_owned())
                .into()),
            None => Ok(None),
        };
    };
    Ok(Some(FirmwareEntry {
        loader,
        command_line: command_line.unwrap_or_default(),
    }))
}

/// Longest path of a loader. FAT allows 255 characters; a variable of firmware has few kilobytes.
const MAX_LOADER: usize = 255;

/// As firmware has it: from the top of the partition, and with backslashes.
fn loader_path(text: &str) -> Result<String, String> {
    let path = text.replace('/', "\\");
    let path = format!("\\{}", path.trim_start_matches('\\'));
    match (2..=MAX_LOADER).contains(&path.len()) {
        true => Ok(path),
        false => Err(format!(
            "must be the path of a program, such as \\EFI\\BOOT\\BOOTX64.EFI, of at most \
             {MAX_LOADER} characters"
        )),
    }
}

/// Three names of one setting; the newest that is given counts.
fn read_install_same(reader: &mut SectionReader<'_>) -> Result<InstallSame, ConfigError> {
    let mut said = None;
    for key in ["ignore-checksum", "force-install-same", "install-same"] {
        said = reader.bool(key)?.or(said);
    }
    Ok(match said {
        Some(false) => InstallSame::Skip,
        _ => InstallSame::Write,
    })
}

fn read_region(
    reader: &mut SectionReader<'_>,
    kind: SlotKind,
) -> Result<Option<Region>, ConfigError> {
    let (start, size) = (reader.size("region-start")?, reader.size("region-size")?);
    match (start, size) {
        (Some(start), Some(size)) => Ok(Some(Region { start, size })),
        _ if !kind.has_region() => Ok(None),
        (None, _) => Err(reader.missing("region-start").into()),
        (_, None) => Err(reader.missing("region-size").into()),
    }
}

fn refuse_keys_of_other_types(
    reader: &mut SectionReader<'_>,
    kind: SlotKind,
) -> Result<(), ConfigError> {
    let regions = "boot-mbr-switch, boot-gpt-switch and boot-raw-fallback";
    let table = [
        ("region-start", kind.has_region(), regions),
        ("region-size", kind.has_region(), regions),
        ("size-limit", kind == SlotKind::BootEmmc, "boot-emmc"),
    ];
    for (key, fits, owners) in table {
        if !fits && let Some(entry) = reader.take(key) {
            let problem = format!("is for slots of type {owners} only; this one is {kind}");
            return Err(reader.wrong(entry, problem).into());
        }
    }
    Ok(())
}

/// Splits as a shell does, without expanding anything: blanks outside quotes, `\` before a
/// character.
fn split_arguments(text: &str) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => {
                let next = letters.next().ok_or("ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, Some(open)) if letter == open => quote = None,
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("has a quote that is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_as_a_shell_does() {
        let split = |text| split_arguments(text).unwrap();
        assert_eq!(
            split("-O  ^metadata_csum -L 'my root'"),
            ["-O", "^metadata_csum", "-L", "my root"]
        );
        assert_eq!(split(r#"a\ b "c \"d" ''"#), ["a b", "c \"d", ""]);
        assert!(split("").is_empty());
        assert!(split_arguments("'open").is_err());
        assert!(split_arguments("a\\").is_err());
    }
}
