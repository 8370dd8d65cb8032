//! `[slot.CLASS.INDEX]`

use std::path::Path;

use bundle_format::keyfile::{KeyFile, Section};

use super::{ConfigError, NotYet, block_if};
use crate::slot::{Access, BootName, Slot, SlotKind, SlotName};

pub(super) fn read(
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
