//! Which slots are written next.

use std::collections::BTreeMap;

use super::{Access, Layout, Role, Running, SlotId, SlotName, role};

/// A slot that an installation may write: not the running one, not a read-only one.
///
/// [`Layout::targets`] and [`Layout::target`] are the only sources. The running slot is another type, and does not become a
/// target:
///
/// ```compile_fail
/// # use slotmgr::boot::{self, BootEnv};
/// # use slotmgr::slot::Booted;
/// # use slotmgr::storage::Disks;
/// fn overwrite_what_runs(env: &dyn BootEnv, disks: &mut dyn Disks, running: Booted) {
///     let _ = boot::condemn(env, disks, running); // expected `Target`, found `Booted`
/// }
/// ```
///
/// ```compile_fail
/// # use slotmgr::slot::{Booted, Target};
/// fn smuggle(running: Booted) -> Target {
///     Target(running.id()) // the field is private
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target(SlotId);

impl Target {
    /// Which slot it is.
    #[must_use]
    pub fn id(self) -> SlotId {
        self.0
    }
}

/// What is known about a slot's last installation, for the choice among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum History {
    /// The last installation failed or was cut off: nothing is lost by writing it again.
    Failed,
    /// Never written by us.
    Never,
    /// Installed at this time, in seconds since 1970: the oldest goes first.
    Installed(i64),
}

/// One target for each class of slots; the boot target is one of them.
#[derive(Debug, Clone)]
pub struct TargetGroup {
    boot: Target,
    by_class: BTreeMap<String, Target>,
}

/// Why there is nothing to write to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The running slot has no brother.
    #[error(
        "there is no other slot of class `{class}` that can be booted and written, beside the \
         running {booted}"
    )]
    NoOther {
        /// Class of the running slot.
        class: String,
        /// The running slot.
        booted: SlotName,
    },
    /// Started from outside, and nothing to install into.
    #[error(
        "no slot has a bootname and can be written: there is nothing that an installation could \
         make the next to be started"
    )]
    NoBootable,
    /// Asked for by name, and not there.
    #[error("no slot is called `{name}`; there are {known}")]
    NoSlot {
        /// What was asked for.
        name: String,
        /// All slots.
        known: String,
    },
    /// Asked for by name, and running.
    #[error("slot {0} is running, or belongs to the slot that runs: it is never written")]
    Runs(SlotName),
    /// Asked for by name, and not to be written.
    #[error("slot {0} has readonly=true in system.conf: it is never written")]
    ReadOnly(SlotName),
    /// No slot that images of this class could go to.
    #[error("the bundle has an image for class `{0}`, and no slot of that class can be written")]
    NoClass(String),
}

impl TargetGroup {
    /// The slot that the bootloader will be told to start.
    #[must_use]
    pub fn boot(&self) -> Target {
        self.boot
    }

    /// All of them, by class.
    pub fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        self.by_class.values().copied()
    }

    /// Where an image of this class goes.
    ///
    /// # Errors
    /// When no slot of this class can be written.
    pub fn of_class(&self, class: &str) -> Result<Target, SelectError> {
        self.by_class
            .get(class)
            .copied()
            .ok_or_else(|| SelectError::NoClass(class.to_owned()))
    }
}

impl Layout {
    /// The slots that an installation writes.
    ///
    /// For each class of slots without a parent one is chosen that is not running: a failed one
    /// first, then one that was never installed, else the oldest; among equals the first of
    /// `system.conf`. Children follow their parent. From outside every slot may be chosen; the one
    /// that is to be started is of the class of the first slot with a boot name.
    ///
    /// # Errors
    /// When the running slot has no brother that can be booted and written.
    pub fn targets(
        &self,
        booted: Running,
        history: &dyn Fn(SlotId) -> History,
    ) -> Result<TargetGroup, SelectError> {
        let running = booted.id().map(|id| self.slot(id));
        let of_class = running.or_else(|| Some(self.slot(self.bootable().next()?.0)));
        let class = of_class.ok_or(SelectError::NoBootable)?.name.class();
        let boot = self
            .candidates(booted, class)
            .filter(|id| self.slot(*id).boot_name.is_some())
            .min_by_key(|id| history(*id))
            .map(Target)
            .ok_or_else(|| match running {
                Some(running) => SelectError::NoOther {
                    class: class.to_owned(),
                    booted: running.name.clone(),
                },
                None => SelectError::NoBootable,
            })?;
        let mut by_class = BTreeMap::from([(class.to_owned(), boot)]);
        for (_, slot) in self.iter().filter(|(_, slot)| slot.parent.is_none()) {
            let other = slot.name.class();
            if !by_class.contains_key(other)
                && let Some(id) = self.candidates(booted, other).min_by_key(|id| history(*id))
            {
                by_class.insert(other.to_owned(), Target(id));
            }
        }
        let roots: Vec<SlotId> = by_class.values().map(|target| target.id()).collect();
        for (id, slot) in self.iter() {
            let follows = slot.parent.is_some() && roots.contains(&self.root_of(id));
            if follows && slot.access == Access::Writable {
                by_class
                    .entry(slot.name.class().to_owned())
                    .or_insert(Target(id));
            }
        }
        Ok(TargetGroup { boot, by_class })
    }

    /// The slot that a person calls so, by boot name or slot name.
    ///
    /// # Errors
    /// There is none.
    pub fn called(&self, name: &str) -> Result<SlotId, SelectError> {
        self.find_called(name).ok_or_else(|| {
            let known: Vec<String> = self.iter().map(|(_, slot)| slot.name.to_string()).collect();
            SelectError::NoSlot {
                name: name.to_owned(),
                known: known.join(", "),
            }
        })
    }

    /// A slot that somebody asks for.
    ///
    /// # Errors
    /// It runs, belongs to what runs, or is read-only.
    pub fn target(&self, running: Running, id: SlotId) -> Result<Target, SelectError> {
        let slot = self.slot(id);
        if role(self, running, id) != Role::Inactive {
            return Err(SelectError::Runs(slot.name.clone()));
        }
        match slot.access {
            Access::Writable => Ok(Target(id)),
            Access::ReadOnly => Err(SelectError::ReadOnly(slot.name.clone())),
        }
    }

    /// The slot without a parent that `target` belongs to. With it the whole system is a target:
    /// what belongs to the running one never is.
    #[must_use]
    pub fn root_target(&self, target: Target) -> Target {
        Target(self.root_of(target.id()))
    }

    /// Slots without a parent of this class that do not run and may be written.
    fn candidates<'l>(
        &'l self,
        booted: Running,
        class: &'l str,
    ) -> impl Iterator<Item = SlotId> + 'l {
        self.iter()
            .filter(move |(id, slot)| {
                Some(*id) != booted.id()
                    && slot.parent.is_none()
                    && slot.name.class() == class
                    && slot.access == Access::Writable
            })
            .map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::{ab, slot};
    use super::*;
    use crate::slot::Evidence;

    fn booted(layout: &Layout, name: &str) -> Running {
        let evidence = Evidence {
            chosen: Some(name.into()),
            ..Evidence::default()
        };
        layout.booted(&evidence).unwrap()
    }

    fn never(_: SlotId) -> History {
        History::Never
    }

    #[test]
    fn the_other_slot_and_its_children() {
        let layout = ab();
        for (running, expected) in [("A", [1, 3]), ("B", [0, 2])] {
            let group = layout.targets(booted(&layout, running), &never).unwrap();
            assert_eq!(group.boot().id().index(), expected[0]);
            assert_eq!(group.of_class("rootfs").unwrap().id().index(), expected[0]);
            assert_eq!(group.of_class("app").unwrap().id().index(), expected[1]);
            assert_eq!(
                group.of_class("data").unwrap_err(),
                SelectError::NoClass("data".to_owned())
            );
        }
    }

    #[test]
    fn the_running_slot_is_never_a_target_whatever_the_history() {
        for slots in 1..5_usize {
            let names: Vec<String> = (0..slots).map(|i| format!("rootfs.{i}")).collect();
            let layout = Layout::new(
                names
                    .iter()
                    .map(|n| slot(n, Some(&n.replace('.', "-")), None))
                    .collect(),
            )
            .unwrap();
            for running in &names {
                for pattern in 0..3_usize.pow(u32::try_from(slots).unwrap()) {
                    let history = |id: SlotId| {
                        [History::Failed, History::Never, History::Installed(1)]
                            [pattern / 3_usize.pow(u32::try_from(id.index()).unwrap()) % 3]
                    };
                    let booted = booted(&layout, running);
                    match layout.targets(booted, &history) {
                        Ok(group) => assert_ne!(Some(group.boot().id()), booted.id()),
                        Err(SelectError::NoOther { .. }) => assert_eq!(slots, 1),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
    }

    #[test]
    fn failed_first_then_never_then_the_oldest() {
        let layout = Layout::new(
            (0..4)
                .map(|i| slot(&format!("r.{i}"), Some(&format!("R{i}")), None))
                .collect(),
        )
        .unwrap();
        let choose = |table: [History; 4]| {
            layout
                .targets(booted(&layout, "R0"), &|id| table[id.index()])
                .unwrap()
                .boot()
                .id()
                .index()
        };
        use History::{Failed, Installed, Never};
        assert_eq!(choose([Never, Installed(5), Never, Failed]), 3);
        assert_eq!(choose([Never, Installed(5), Never, Installed(1)]), 2);
        assert_eq!(choose([Never, Installed(5), Installed(7), Installed(1)]), 3);
        assert_eq!(choose([Never, Never, Never, Never]), 1);
    }

    #[test]
    fn from_outside_every_slot_may_be_the_target() {
        let bootloader = slot("bootloader.0", None, None);
        let mut slots = vec![
            bootloader,
            slot("r.0", Some("A"), None),
            slot("r.1", Some("B"), None),
        ];
        let layout = Layout::new(slots.clone()).unwrap();
        let choose = |layout: &Layout, histories: [History; 3]| {
            let group = layout.targets(Running::Outside, &|id| histories[id.index()])?;
            Ok(group.boot().id().index())
        };
        use History::{Failed, Installed, Never};
        assert_eq!(choose(&layout, [Never, Never, Never]), Ok(1));
        assert_eq!(choose(&layout, [Never, Installed(1), Never]), Ok(2));
        assert_eq!(choose(&layout, [Never, Installed(2), Installed(1)]), Ok(2));
        assert_eq!(choose(&layout, [Never, Never, Failed]), Ok(2));
        for slot in &mut slots {
            slot.access = Access::ReadOnly;
        }
        let nothing = Layout::new(slots).unwrap();
        assert_eq!(choose(&nothing, [Never; 3]), Err(SelectError::NoBootable));
    }

    #[test]
    fn what_runs_and_what_belongs_to_it_is_no_target_by_name_either() {
        let mut slots: Vec<_> = ab().iter().map(|(_, slot)| slot.clone()).collect();
        slots.push(slot("spare.0", None, None));
        slots[4].access = Access::ReadOnly;
        let layout = Layout::new(slots).unwrap();
        let running = booted(&layout, "A");
        let asked = |name| {
            let id = layout.find_called(name).unwrap();
            layout.target(running, id).map(|target| target.id() == id)
        };
        let name = |text| super::super::SlotName::parse(text).unwrap();
        assert_eq!(asked("rootfs.0"), Err(SelectError::Runs(name("rootfs.0"))));
        assert_eq!(asked("app.0"), Err(SelectError::Runs(name("app.0"))));
        assert_eq!(
            asked("spare.0"),
            Err(SelectError::ReadOnly(name("spare.0")))
        );
        assert_eq!(asked("B"), Ok(true));
        assert_eq!(asked("app.1"), Ok(true));
    }

    #[test]
    fn read_only_slots_are_no_targets() {
        let mut slots = vec![slot("r.0", Some("A"), None), slot("r.1", Some("B"), None)];
        slots[1].access = Access::ReadOnly;
        let layout = Layout::new(slots).unwrap();
        let error = layout.targets(booted(&layout, "A"), &never).unwrap_err();
        assert!(error.to_string().contains("r.0"), "{error}");
    }

    #[test]
    fn other_classes_without_a_parent_have_a_target_too() {
        let layout = Layout::new(vec![
            slot("rootfs.0", Some("A"), None),
            slot("rootfs.1", Some("B"), None),
            slot("bootloader.0", None, None),
        ])
        .unwrap();
        let group = layout.targets(booted(&layout, "A"), &never).unwrap();
        assert_eq!(group.of_class("bootloader").unwrap().id().index(), 2);
    }
}
