//! The slots of a machine and how they belong together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{BootName, Evidence, SlotKind, SlotName, SlotOptions};

/// A slot of the [`Layout`] that made it: its place in `system.conf`, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(usize);

impl SlotId {
    /// The place in `system.conf`, counted from 0.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }

    /// For tests of the storages, which have no layout.
    #[cfg(test)]
    #[must_use]
    pub fn for_test(index: usize) -> Self {
        SlotId(index)
    }
}

/// Whether an installation may write a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Writable,
    /// `readonly=true`: never.
    ReadOnly,
}

/// One slot as `system.conf` describes it.
#[derive(Debug, Clone)]
pub struct Slot {
    /// `CLASS.INDEX`.
    pub name: SlotName,
    /// Block device, or a regular file (test rigs).
    pub device: PathBuf,
    /// What is written into it, and how.
    pub kind: SlotKind,
    /// The bootloader's name for it; only slots without a parent have one.
    pub boot_name: Option<BootName>,
    /// The slot that this one belongs to.
    pub parent: Option<SlotName>,
    /// Whether it may be written.
    pub access: Access,
    /// How it is written.
    pub options: SlotOptions,
}

impl Slot {
    /// Whether two slots of one device share no byte: one disk may have several regions, and an eMMC
    /// has its boot areas beside them.
    #[must_use]
    pub fn is_beside(&self, other: &Slot) -> bool {
        let areas = |a: &Slot, b: &Slot| a.kind == SlotKind::BootEmmc && b.kind.has_region();
        let regions = (self.options.region, other.options.region);
        areas(self, other)
            || areas(other, self)
            || matches!(regions, (Some(one), Some(two)) if !one.overlaps(two))
    }
}

/// All slots, in the order of `system.conf`.
#[derive(Debug, Clone)]
pub struct Layout {
    slots: Vec<Slot>,
}

/// The root slot of the system that runs now. Only [`Layout::booted`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booted(SlotId);

impl Booted {
    /// Which slot it is.
    #[must_use]
    pub fn id(self) -> SlotId {
        self.0
    }
}

/// What runs now. Only [`Layout::booted`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// The system in one of the slots.
    Slot(Booted),
    /// A system that lies in no slot: started from the network, or from a stick.
    Outside,
}

impl Running {
    /// The root slot that runs, if one does.
    #[must_use]
    pub fn slot(self) -> Option<Booted> {
        match self {
            Running::Slot(booted) => Some(booted),
            Running::Outside => None,
        }
    }

    /// The same, as a place in the layout.
    #[must_use]
    pub fn id(self) -> Option<SlotId> {
        self.slot().map(Booted::id)
    }
}

/// Why slots do not make a layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Two slots of one name.
    #[error("slot {0} is there twice")]
    DoubleName(SlotName),
    /// Two slots with one boot name.
    #[error("slots {first} and {second} both have the boot name {name}")]
    DoubleBootName {
        /// The name.
        name: BootName,
        /// The one slot.
        first: SlotName,
        /// The other.
        second: SlotName,
    },
    /// Two slots on one device.
    #[error("slots {first} and {second} both use {}", device.display())]
    DoubleDevice {
        /// The device.
        device: PathBuf,
        /// The one slot.
        first: SlotName,
        /// The other.
        second: SlotName,
    },
    /// A parent that is not there.
    #[error("slot {slot} has the parent {parent}, which is not configured")]
    NoParent {
        /// The child.
        slot: SlotName,
        /// What it names.
        parent: SlotName,
    },
    /// A slot that is its own ancestor.
    #[error("slot {0} is its own parent, directly or by way of others")]
    Loop(SlotName),
    /// A child with a boot name.
    #[error("slot {0} has a parent and a boot name; only the parent is booted")]
    BootableChild(SlotName),
}

/// What RAUC calls a system that lies in no slot, in the place of a boot name.
pub const OUTSIDE: &str = "_external_";

/// Why it is not known which slot runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootedError {
    /// Nothing on the command line fits.
    #[error(
        "cannot tell which slot is running: {evidence}. Let the bootloader pass \
         rauc.slot=BOOTNAME on the kernel command line, or say it with --override-boot-slot"
    )]
    Unknown {
        /// What was looked at.
        evidence: String,
    },
    /// Said to be from outside, and a slot is mounted as `/`.
    #[error(
        "this system is said to be started from outside its slots, but {mounted} is mounted as the \
         root file system. Nothing is written while this is so: take rauc.external off the kernel \
         command line"
    )]
    NotOutside {
        /// By the kernel.
        mounted: SlotName,
    },
    /// Command line and kernel say different things.
    #[error(
        "the running slot is said to be {named}, but {mounted} is mounted as the root file \
         system. Nothing is written while this is so: correct the bootloader's command line"
    )]
    Contradiction {
        /// By command line or option.
        named: SlotName,
        /// By the kernel.
        mounted: SlotName,
    },
}

impl Layout {
    /// Checks that the slots fit together.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn new(slots: Vec<Slot>) -> Result<Self, LayoutError> {
        let layout = Layout { slots };
        layout.check_doubles()?;
        for (_, slot) in layout.iter() {
            layout.check_ancestors(slot)?;
        }
        Ok(layout)
    }

    fn check_doubles(&self) -> Result<(), LayoutError> {
        for (id, slot) in self.iter() {
            let pair = (slot.name.clone(), &slot.name);
            for (_, earlier) in self.iter().take_while(|(other, _)| *other != id) {
                let (first, second) = (earlier.name.clone(), pair.0.clone());
                if earlier.name == slot.name {
                    return Err(LayoutError::DoubleName(first));
                }
                if earlier.device == slot.device && !earlier.is_beside(slot) {
                    let device = slot.device.clone();
                    return Err(LayoutError::DoubleDevice {
                        device,
                        first,
                        second,
                    });
                }
                if let Some(name) = &slot.boot_name
                    && earlier.boot_name.as_ref() == Some(name)
                {
                    return Err(LayoutError::DoubleBootName {
                        name: name.clone(),
                        first,
                        second,
                    });
                }
            }
        }
        Ok(())
    }

    fn check_ancestors(&self, slot: &Slot) -> Result<(), LayoutError> {
        if slot.parent.is_some() && slot.boot_name.is_some() {
            return Err(LayoutError::BootableChild(slot.name.clone()));
        }
        let mut seen = BTreeSet::from([&slot.name]);
        let mut at = slot;
        while let Some(parent) = &at.parent {
            let Some((_, next)) = self.find(parent) else {
                return Err(LayoutError::NoParent {
                    slot: at.name.clone(),
                    parent: parent.clone(),
                });
            };
            if !seen.insert(&next.name) {
                return Err(LayoutError::Loop(slot.name.clone()));
            }
            at = next;
        }
        Ok(())
    }

    /// All slots in the order of `system.conf`.
    pub fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        self.slots
            .iter()
            .enumerate()
            .map(|(index, slot)| (SlotId(index), slot))
    }

    /// The slot of an id that this layout made.
    ///
    /// # Panics
    /// With an id of another, longer layout; a program has one layout.
    #[must_use]
    pub fn slot(&self, id: SlotId) -> &Slot {
        &self.slots[id.0]
    }

    /// By name.
    #[must_use]
    pub fn find(&self, name: &SlotName) -> Option<(SlotId, &Slot)> {
        self.iter().find(|(_, slot)| slot.name == *name)
    }

    /// By what a person or the bootloader calls it: boot name first, then slot name.
    #[must_use]
    pub fn find_called(&self, text: &str) -> Option<SlotId> {
        let by_boot_name = |s: &Slot| {
            s.boot_name
                .as_ref()
                .is_some_and(|name| name.as_str() == text)
        };
        self.iter()
            .find(|(_, slot)| by_boot_name(slot))
            .or_else(|| self.iter().find(|(_, slot)| slot.name.to_string() == text))
            .map(|(id, _)| id)
    }

    /// The slot without a parent that `id` belongs to; `id` itself if it has none.
    #[must_use]
    pub fn root_of(&self, id: SlotId) -> SlotId {
        let mut at = id;
        // Loops were refused in `new`.
        while let Some((parent, _)) = self
            .slot(at)
            .parent
            .as_ref()
            .and_then(|name| self.find(name))
        {
            at = parent;
        }
        at
    }

    /// Slots that the bootloader can start, with their boot names.
    pub fn bootable(&self) -> impl Iterator<Item = (SlotId, &BootName)> {
        self.iter()
            .filter_map(|(id, slot)| Some((id, slot.boot_name.as_ref()?)))
    }

    /// What runs, from what the kernel says.
    ///
    /// # Errors
    /// When nothing fits, or when the evidence contradicts itself.
    pub fn booted(&self, evidence: &Evidence) -> Result<Running, BootedError> {
        let outside = match &evidence.chosen {
            Some(chosen) => chosen == OUTSIDE,
            None => evidence.external,
        };
        let named = self.named_slot(evidence);
        let mounted = evidence
            .root_mounted_from
            .as_ref()
            .and_then(|device| self.on_device(device));
        match (named, mounted) {
            // A slot that is mounted as `/` runs, whatever anybody says.
            (_, None) if outside => Ok(Running::Outside),
            (_, Some(id)) if outside => Err(BootedError::NotOutside {
                mounted: self.slot(id).name.clone(),
            }),
            (Some(named), Some(mounted)) if self.root_of(named) != self.root_of(mounted) => {
                Err(BootedError::Contradiction {
                    named: self.slot(named).name.clone(),
                    mounted: self.slot(mounted).name.clone(),
                })
            }
            (Some(id), _) | (None, Some(id)) => Ok(Running::Slot(Booted(self.root_of(id)))),
            (None, None) => Err(BootedError::Unknown {
                evidence: evidence.to_string(),
            }),
        }
    }

    /// In RAUC's order.
    fn named_slot(&self, evidence: &Evidence) -> Option<SlotId> {
        let by_name = |text: &Option<String>| {
            let text = text.as_deref()?;
            let by_device = || self.on_device(Path::new(text));
            self.find_called(text).or_else(by_device)
        };
        if evidence.chosen.is_some() {
            // Said by a person: if it fits nothing it must not silently become something else.
            return by_name(&evidence.chosen);
        }
        let by_root = || evidence.roots.iter().find_map(|root| self.on_device(root));
        by_name(&evidence.slot_parameter)
            .or_else(|| by_name(&evidence.bootloader))
            .or_else(by_root)
    }

    fn on_device(&self, device: &Path) -> Option<SlotId> {
        self.iter()
            .find(|(_, slot)| slot.device == device)
            .map(|(id, _)| id)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Region;
    use super::*;

    pub fn slot(name: &str, boot_name: Option<&str>, parent: Option<&str>) -> Slot {
        Slot {
            name: SlotName::parse(name).unwrap(),
            device: PathBuf::from(format!("/dev/{name}")),
            kind: SlotKind::Raw,
            boot_name: boot_name.map(|n| BootName::parse(n).unwrap()),
            parent: parent.map(|n| SlotName::parse(n).unwrap()),
            access: Access::Writable,
            options: SlotOptions::default(),
        }
    }

    pub fn ab() -> Layout {
        Layout::new(vec![
            slot("rootfs.0", Some("A"), None),
            slot("rootfs.1", Some("B"), None),
            slot("app.0", None, Some("rootfs.0")),
            slot("app.1", None, Some("rootfs.1")),
        ])
        .unwrap()
    }

    fn named(name: &str) -> Evidence {
        Evidence {
            slot_parameter: Some(name.into()),
            ..Evidence::default()
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let table: [(Vec<Slot>, &str); 5] = [
            (
                vec![slot("a.0", None, None), slot("a.0", None, None)],
                "twice",
            ),
            (
                vec![slot("a.0", Some("A"), None), slot("a.1", Some("A"), None)],
                "boot name A",
            ),
            (vec![slot("a.0", None, Some("b.0"))], "not configured"),
            (
                vec![
                    slot("a.0", None, Some("b.0")),
                    slot("b.0", None, Some("a.0")),
                ],
                "its own parent",
            ),
            (
                vec![slot("a.0", None, None), slot("b.0", Some("B"), Some("a.0"))],
                "only the parent",
            ),
        ];
        for (slots, expected) in table {
            let message = Layout::new(slots).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let mut same_device = vec![slot("a.0", None, None), slot("a.1", None, None)];
        same_device[1].device = same_device[0].device.clone();
        assert!(matches!(
            Layout::new(same_device),
            Err(LayoutError::DoubleDevice { .. })
        ));
    }

    #[test]
    fn parts_of_one_disk_may_be_slots_if_they_share_no_byte() {
        let part = |name: &str, kind, region: Option<u64>| {
            let mut part = slot(name, None, None);
            part.device = "/dev/mmcblk0".into();
            part.kind = kind;
            part.options.region = region.map(|start| Region { start, size: 8 });
            part
        };
        let spl = part("spl.0", SlotKind::BootRawFallback, Some(8));
        let uboot = |start| part("uboot.0", SlotKind::BootRawFallback, Some(start));
        let emmc = part("areas.0", SlotKind::BootEmmc, None);
        assert!(Layout::new(vec![spl.clone(), emmc, uboot(16)]).is_ok());
        for other in [uboot(15), part("whole.0", SlotKind::Raw, None)] {
            assert!(matches!(
                Layout::new(vec![spl.clone(), other]),
                Err(LayoutError::DoubleDevice { .. })
            ));
        }
    }

    #[test]
    fn the_running_slot_by_boot_name_slot_name_device_and_child() {
        let layout = ab();
        let booted = |evidence: &Evidence| layout.booted(evidence).map(|b| b.id().unwrap().index());
        assert_eq!(booted(&named("B")), Ok(1));
        assert_eq!(booted(&named("rootfs.1")), Ok(1));
        assert_eq!(
            booted(&named("app.1")),
            Ok(1),
            "a child stands for its parent"
        );
        let by_root = Evidence {
            roots: vec!["/dev/rootfs.0".into()],
            ..Evidence::default()
        };
        assert_eq!(booted(&by_root), Ok(0));
        let by_mount = Evidence {
            root_mounted_from: Some("/dev/rootfs.1".into()),
            ..Evidence::default()
        };
        assert_eq!(booted(&by_mount), Ok(1));
    }

    #[test]
    fn from_outside_no_slot_runs() {
        let layout = ab();
        let outside = |chosen: Option<&str>, external| {
            let evidence = Evidence {
                chosen: chosen.map(str::to_owned),
                external,
                ..named("A")
            };
            layout.booted(&evidence).map(Running::id)
        };
        assert_eq!(outside(None, true), Ok(None));
        assert_eq!(outside(Some(OUTSIDE), false), Ok(None));
        assert_eq!(outside(Some("B"), true), Ok(layout.find_called("B")));
    }

    #[test]
    fn doubt_is_an_error() {
        let layout = ab();
        assert!(matches!(
            layout.booted(&Evidence::default()),
            Err(BootedError::Unknown { .. })
        ));
        let external = Evidence {
            external: true,
            ..Evidence::default()
        };
        let mounted = Evidence {
            root_mounted_from: Some("/dev/rootfs.0".into()),
            ..external
        };
        assert!(matches!(
            layout.booted(&mounted),
            Err(BootedError::NotOutside { .. })
        ));
        let contradiction = Evidence {
            root_mounted_from: Some("/dev/rootfs.0".into()),
            ..named("B")
        };
        assert!(matches!(
            layout.booted(&contradiction),
            Err(BootedError::Contradiction { .. })
        ));
        // A wrong override does not fall back to the command line.
        let wrong = Evidence {
            chosen: Some("C".into()),
            ..named("A")
        };
        assert!(matches!(
            layout.booted(&wrong),
            Err(BootedError::Unknown { .. })
        ));
    }
}
