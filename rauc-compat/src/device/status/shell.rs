//! Variables for a shell to `eval`.

use slotmgr::service::{ArtifactStatus, RepositoryStatus, SlotStatus};

use super::{Depth, Shown};
use crate::info::shell::Text;

/// Newer than 1.8; only where the service tells it.
const HASH: (&str, &str) = ("BUNDLE_HASH", "bundle.hash");

/// Variables of a slot's content, and the keys of its status.
const CONTENT: [(&str, &str); 12] = [
    ("BUNDLE_COMPATIBLE", "bundle.compatible"),
    ("BUNDLE_VERSION", "bundle.version"),
    ("BUNDLE_DESCRIPTION", "bundle.description"),
    ("BUNDLE_BUILD", "bundle.build"),
    HASH,
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
    text.quoted("RAUC_SLOTS", &numbers(names.len()));
    for (number, slot) in (1..).zip(&shown.slots) {
        self::slot(&mut text, slot, number, shown.depth);
    }
    repositories(&mut text, &shown.repositories);
    text.finish() + "\n"
}

/// Newer than 1.8; nothing where there are none.
fn repositories(text: &mut Text, repositories: &[RepositoryStatus]) {
    for (number, repository) in (1..).zip(repositories) {
        for (name, value) in [
            ("NAME", Some(&repository.name)),
            ("PATH", Some(&repository.path)),
            ("TYPE", Some(&repository.kind)),
            ("PARENT_CLASS", repository.parent_class.as_ref()),
        ] {
            if let Some(value) = value {
                text.quoted(&format!("RAUC_REPO_{name}_{number}"), value);
            }
        }
        for (place, artifact) in (1..).zip(&repository.artifacts) {
            let known = Known::of(repository);
            self::artifact(text, artifact, &format!("{number}_{place}"), known);
        }
        let name = format!("RAUC_REPO_ARTIFACTS_{number}");
        text.quoted(&name, &numbers(repository.artifacts.len()));
    }
    if !repositories.is_empty() {
        text.quoted("RAUC_REPOS", &numbers(repositories.len()));
    }
}

/// How it is told who uses an artifact.
#[derive(Clone, Copy)]
enum Known {
    /// The repository itself, or nobody.
    Used,
    /// Slots of its parent class.
    References,
}

impl Known {
    fn of(repository: &RepositoryStatus) -> Self {
        match repository.parent_class {
            None => Self::Used,
            Some(_) => Self::References,
        }
    }
}

fn artifact(text: &mut Text, artifact: &ArtifactStatus, at: &str, known: Known) {
    text.quoted(&format!("RAUC_REPO_ARTIFACT_NAME_{at}"), &artifact.name);
    for (place, instance) in (1..).zip(&artifact.instances) {
        let variable = |name: &str| format!("RAUC_REPO_ARTIFACT_INSTANCE_{name}_{at}_{place}");
        text.quoted(&variable("CHECKSUM"), &instance.checksum);
        let references = &instance.references;
        match known {
            Known::Used => {
                let used = if references.is_empty() { "0" } else { "1" };
                text.quoted(&variable("ACTIVE"), used);
            }
            Known::References => text.quoted(&variable("REFERENCES"), &references.join(" ")),
        }
    }
    let name = format!("RAUC_REPO_ARTIFACT_INSTANCES_{at}");
    text.quoted(&name, &numbers(artifact.instances.len()));
}

/// `1 2 3 …`.
fn numbers(count: usize) -> String {
    let numbers: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    numbers.join(" ")
}

fn slot(text: &mut Text, slot: &SlotStatus, number: usize, depth: Depth) {
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
    let told =
        |(name, key): &(&str, &str)| (*name, *key) != HASH || slot.content.contains_key(*key);
    for (name, key) in CONTENT.into_iter().filter(told) {
        let nothing = if key == "size" || key.ends_with(".count") {
            "0"
        } else {
            ""
        };
        let value = slot.content.get(key).map_or(nothing, String::as_str);
        text.quoted(&format!("RAUC_SLOT_STATUS_{name}_{number}"), value);
    }
}
