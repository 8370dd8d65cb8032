//! What a service answers, in our terms.

use std::collections::HashMap;

use zbus::{OwnedVariant, Variant};

use super::wire::Dict;
use crate::service::{ArtifactStatus, InstanceStatus, RepositoryStatus, SlotStatus};

/// What a service tells of a slot.
pub(super) fn slot(name: String, dict: HashMap<String, OwnedVariant>) -> SlotStatus {
    let mut slot = SlotStatus {
        name,
        ..SlotStatus::default()
    };
    for (key, value) in dict {
        let text = match &*value {
            Variant::Str(text) => text.to_string(),
            Variant::U32(number) => number.to_string(),
            Variant::U64(number) => number.to_string(),
            _ => continue,
        };
        match key.as_str() {
            "class" => slot.class = text,
            "device" => slot.device = text,
            "type" => slot.kind = text,
            "state" => slot.state = text,
            "bootname" => slot.bootname = Some(text),
            "description" => slot.description = Some(text),
            "parent" => slot.parent = Some(text),
            "mountpoint" => slot.mountpoint = Some(text),
            "boot-status" => slot.boot_status = Some(text),
            _ => drop(slot.content.insert(key, text)),
        }
    }
    slot
}

/// What a service tells of a repository; what it leaves out is empty.
pub(super) fn repository(mut dict: Dict) -> RepositoryStatus {
    let artifacts = dicts(&mut dict, "artifacts").into_iter();
    RepositoryStatus {
        name: text(&mut dict, "name").unwrap_or_default(),
        description: text(&mut dict, "description"),
        path: text(&mut dict, "path").unwrap_or_default(),
        kind: text(&mut dict, "type").unwrap_or_default(),
        parent_class: text(&mut dict, "parent-class"),
        artifacts: artifacts
            .map(|mut artifact| ArtifactStatus {
                name: text(&mut artifact, "name").unwrap_or_default(),
                instances: dicts(&mut artifact, "instances")
                    .into_iter()
                    .map(instance)
                    .collect(),
            })
            .collect(),
    }
}

fn instance(mut dict: Dict) -> InstanceStatus {
    let references = dict.remove("references");
    InstanceStatus {
        checksum: text(&mut dict, "checksum").unwrap_or_default(),
        references: references
            .and_then(|value| Vec::try_from(value).ok())
            .unwrap_or_default(),
    }
}

/// A text of a dictionary, taken out of it.
pub(super) fn text(dict: &mut Dict, key: &str) -> Option<String> {
    String::try_from(dict.remove(key)?).ok()
}

fn dicts(dict: &mut Dict, key: &str) -> Vec<Dict> {
    let value = dict.remove(key);
    value
        .and_then(|value| Vec::try_from(value).ok())
        .unwrap_or_default()
}
