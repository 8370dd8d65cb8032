//! JSON, in RAUC's shape and order.

use anyhow::Result;
use serde::{Serialize, Serializer};
use slotmgr::service::{ArtifactStatus, InstanceStatus, RepositoryStatus, SlotStatus};

use super::{Depth, Shown};
use crate::info::json::{Layout, printed};

#[derive(Serialize)]
struct Status<'s> {
    compatible: &'s str,
    variant: &'s str,
    /// Newer than 1.8; only where the system tells it.
    #[serde(skip_serializing_if = "str::is_empty")]
    system_version: &'s str,
    booted: &'s str,
    boot_primary: Option<&'s str>,
    slots: Vec<Named<'s>>,
    /// Newer than 1.8; only where there are any.
    #[serde(
        rename = "artifact-repositories",
        skip_serializing_if = "Vec::is_empty"
    )]
    repositories: Vec<Repository<'s>>,
}

/// One slot: an object with the slot's name as its only key.
struct Named<'s>(&'s str, Slot<'s>);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, &self.1)])
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Repository<'s> {
    name: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s str>,
    path: &'s str,
    r#type: &'s str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_class: Option<&'s str>,
    artifacts: Vec<Artifact<'s>>,
}

#[derive(Serialize)]
struct Artifact<'s> {
    name: &'s str,
    instances: Vec<Instance<'s>>,
}

#[derive(Serialize)]
struct Instance<'s> {
    checksum: &'s str,
    references: &'s [String],
}

#[derive(Serialize)]
struct Slot<'s> {
    class: &'s str,
    device: &'s str,
    r#type: &'s str,
    bootname: Option<&'s str>,
    state: &'s str,
    parent: Option<&'s str>,
    mountpoint: Option<&'s str>,
    boot_status: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot_status: Option<Content<'s>>,
}

#[derive(Serialize)]
struct Content<'s> {
    bundle: Bundle<'s>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<Checksum<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    installed: Option<Event<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activated: Option<Event<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'s str>,
}

#[derive(Serialize)]
struct Bundle<'s> {
    compatible: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<&'s str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<&'s str>,
}

#[derive(Serialize)]
struct Checksum<'s> {
    sha256: &'s str,
    size: u64,
}

#[derive(Serialize)]
struct Event<'s> {
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<&'s str>,
    timestamp: &'s str,
    count: u64,
}

pub(super) fn text(shown: &Shown, layout: Layout) -> Result<String> {
    let identity = &shown.identity;
    let status = Status {
        compatible: &identity.compatible,
        variant: &identity.variant,
        system_version: &identity.system_version,
        booted: &identity.boot_slot,
        boot_primary: shown.primary.as_deref(),
        slots: shown
            .slots
            .iter()
            .map(|slot| Named(&slot.name, self::slot(slot, shown.depth)))
            .collect(),
        repositories: shown.repositories.iter().map(repository).collect(),
    };
    Ok(printed(&status, layout)? + "\n")
}

fn repository(repository: &RepositoryStatus) -> Repository<'_> {
    Repository {
        name: &repository.name,
        description: repository.description.as_deref(),
        path: &repository.path,
        r#type: &repository.kind,
        parent_class: repository.parent_class.as_deref(),
        artifacts: repository.artifacts.iter().map(artifact).collect(),
    }
}

fn artifact(artifact: &ArtifactStatus) -> Artifact<'_> {
    Artifact {
        name: &artifact.name,
        instances: artifact.instances.iter().map(instance).collect(),
    }
}

fn instance(instance: &InstanceStatus) -> Instance<'_> {
    Instance {
        checksum: &instance.checksum,
        references: &instance.references,
    }
}

fn slot(slot: &SlotStatus, depth: Depth) -> Slot<'_> {
    Slot {
        class: &slot.class,
        device: &slot.device,
        r#type: &slot.kind,
        bootname: slot.bootname.as_deref(),
        state: &slot.state,
        parent: slot.parent.as_deref(),
        mountpoint: slot.mountpoint.as_deref(),
        boot_status: slot.boot_status.as_deref(),
        slot_status: (depth == Depth::Detailed).then(|| content(slot)),
    }
}

fn content(slot: &SlotStatus) -> Content<'_> {
    let text = |key: &str| slot.content.get(key).map(String::as_str);
    let number = |key: &str| {
        text(key)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0)
    };
    Content {
        bundle: Bundle {
            compatible: text("bundle.compatible"),
            version: text("bundle.version"),
            description: text("bundle.description"),
            build: text("bundle.build"),
            hash: text("bundle.hash"),
        },
        checksum: text("sha256").map(|sha256| Checksum {
            sha256,
            size: number("size"),
        }),
        installed: text("installed.timestamp").map(|timestamp| Event {
            transaction: text("installed.transaction"),
            timestamp,
            count: number("installed.count"),
        }),
        activated: text("activated.timestamp").map(|timestamp| Event {
            transaction: None,
            timestamp,
            count: number("activated.count"),
        }),
        status: text("status"),
    }
}
