//! Variables for a shell to `eval`.

use slotmgr::service::SlotStatus;

use super::{Depth, Shown};
use crate::info::shell::Text;

/// Variables of a slot's content, and the keys of its status.
const CONTENT: [(&str, &str); 11] = [
    ("BUNDLE_COMPATIBLE", "bundle.compatible"),
    ("BUNDLE_VERSION", "bundle.version"),
    ("BUNDLE_DESCRIPTION", "bundle.description"),
    ("BUNDLE_BUILD", "bundle.build"),
    ("CHECKSUM_SHA256", "sha256"),
    ("CHECKSUM_SIZE", "size"),
    ("INSTALLED_TIMESTAMP", "installed.timestamp"),
    ("INSTALLED_COUNT", "installed.count"),
    ("ACTIVATED_TIMESTAMP", "activated.timestamp"),
    ("ACTIVATED_COUNT", "activated.count"),
    ("STATUS", "status"),
];

pub(super) fn text(shown: &Shown) -> String {
    let mut text = Text::default();
    let identity = &shown.identity;
    text.quoted("RAUC_SYSTEM_COMPATIBLE", &identity.compatible);
    text.quoted("RAUC_SYSTEM_VARIANT", &identity.variant);
    if !identity.system_version.is_empty() {
        text.quoted("RAUC_SYSTEM_VERSION", &identity.system_version);
    }
    text.quoted("RAUC_SYSTEM_BOOTED_BOOTNAME", &identity.boot_slot);
    text.quoted("RAUC_BOOT_PRIMARY", shown.primary.as_deref().unwrap_or(""));
    let names: Vec<&str> = shown.slots.iter().map(|slot| slot.name.as_str()).collect();
    text.quoted("RAUC_SYSTEM_SLOTS", &names.join(" "));
    let numbers: Vec<String> = (1..=names.len()).map(|number| number.to_string()).collect();
    text.quoted("RAUC_SLOTS", &numbers.join(" "));
    for (slot, number) in shown.slots.iter().zip(numbers) {
        self::slot(&mut text, slot, &number, shown.depth);
    }
    text.finish() + "\n"
}

fn slot(text: &mut Text, slot: &SlotStatus, number: &str, depth: Depth) {
    let or_empty = |value: &Option<String>| value.clone().unwrap_or_default();
    for (name, value) in [
        ("STATE", slot.state.clone()),
        ("CLASS", slot.class.clone()),
        ("DEVICE", slot.device.clone()),
        ("TYPE", slot.kind.clone()),
        ("BOOTNAME", or_empty(&slot.bootname)),
        ("PARENT", or_empty(&slot.parent)),
        ("MOUNTPOINT", or_empty(&slot.mountpoint)),
        ("BOOT_STATUS", or_empty(&slot.boot_status)),
    ] {
        text.quoted(&format!("RAUC_SLOT_{name}_{number}"), &value);
    }
    if depth == Depth::Short {
        return;
    }
    for (name, key) in CONTENT {
        let nothing = if key == "size" || key.ends_with(".count") {
            "0"
        } else {
            ""
        };
        let value = slot.content.get(key).map_or(nothing, String::as_str);
        text.quoted(&format!("RAUC_SLOT_STATUS_{name}_{number}"), value);
    }
}
