//! GRUB with two files written in turn and a counter of its own: `[grub] paired` in `slotmgr.toml`.
//!
//! [`grub_env::paired`] has the format, the rules by which GRUB reads it, and the text for
//! `grub.cfg`. Here a [`BootChange`] becomes one write: always to the copy that GRUB does *not* go
//! by, so that neither a write cut short nor one that tears within a sector costs anything.
//!
//! The files name a slot to start and, maybe, one to fall back to. So there are exactly two slots,
//! and "bad" is the one that is not named.

use std::num::NonZeroU8;

use grub_env::paired::{BadName, Count, LEN, MAX_TRIES, Name, Pair, State, TrialChange};
use grub_env::paired::{Update, Which};

use super::{BootChange, BootEnv, BootError, BootState, ChangeKind, Standing, Tries};
use crate::slot::{Layout, SlotId};
use crate::storage::{Area, Disks, EnvCopy, Storage, read_all};

/// The backend for `bootloader=grub` with paired files.
#[derive(Debug)]
pub struct GrubPair {
    slots: [(SlotId, Name); 2],
}

/// The layout does not fit the paired scheme.
#[derive(Debug, thiserror::Error)]
pub enum NotPaired {
    /// It names a slot and its fallback, no more.
    #[error(
        "GRUB's paired files are for two slots with a bootname, and there are {found}: leave \
         [grub] paired out of slotmgr.toml"
    )]
    Slots {
        /// Slots with a boot name.
        found: usize,
    },
    /// A boot name that GRUB's script cannot pass on.
    #[error("a bootname does not fit GRUB's paired files")]
    Name(#[from] BadName),
}

/// What the three files say.
struct Files {
    pair: Pair,
    count: Option<Count>,
}

impl GrubPair {
    /// For the slots of `layout` that have a boot name.
    ///
    /// # Errors
    /// These are not two, or a name does not fit.
    pub fn new(layout: &Layout) -> Result<Self, NotPaired> {
        let slots: Vec<(SlotId, Name)> = layout
            .bootable()
            .map(|(id, name)| Ok((id, Name::new(name.as_str())?)))
            .collect::<Result<_, BadName>>()?;
        let found = slots.len();
        let slots = slots.try_into().map_err(|_| NotPaired::Slots { found })?;
        Ok(GrubPair { slots })
    }

    fn id(&self, wanted: &Name) -> Option<SlotId> {
        let found = self.slots.iter().find(|(_, name)| name == wanted);
        found.map(|(id, _)| *id)
    }

    fn standing(&self, name: &Name, state: &State, count: Option<Count>) -> Standing {
        if state.fallback.as_ref() == Some(name) {
            return Standing::Good;
        }
        match state.trial {
            _ if state.primary != *name => Standing::Bad,
            None => Standing::Good,
            // A count that cannot be read cannot be used up either: GRUB starts the fallback.
            Some(trial) => Standing::Trial {
                left: count.map_or(0, |count| {
                    trial.tries().get().saturating_sub(count.used_of(trial))
                }),
            },
        }
    }

    fn state(&self, files: &Files) -> Result<BootState, BootError> {
        let (_, record) = files.in_force()?;
        let named = [Some(&record.state.primary), record.state.fallback.as_ref()];
        let standing = |(id, name): &(SlotId, Name)| {
            let standing = self.standing(name, &record.state, files.count);
            (*id, standing)
        };
        Ok(BootState {
            order: named
                .into_iter()
                .flatten()
                .filter_map(|name| self.id(name))
                .collect(),
            standings: self.slots.iter().map(standing).collect(),
        })
    }

    /// The one write that makes `change`; `None` if the files say it already.
    fn plan(&self, files: &Files, change: BootChange) -> Result<Option<Update>, BootError> {
        let Some((_, name)) = self.slots.iter().find(|(id, _)| *id == change.slot()) else {
            return Ok(None); // A slot that GRUB does not know cannot be started anyway.
        };
        let (_, record) = files.in_force()?;
        let State {
            primary, fallback, ..
        } = record.state.clone();
        let is_primary = primary == *name;
        let is_fallback = fallback.as_ref() == Some(name);
        let good = self.standing(name, &record.state, files.count) == Standing::Good;
        let (primary, fallback, trial) = match change.kind() {
            ChangeKind::Bad if is_primary => match fallback {
                Some(other) => (other, None, TrialChange::None),
                None => {
                    let slot = name.to_string();
                    return Err(BootError::OnlySlot { slot });
                }
            },
            ChangeKind::Bad if is_fallback => (primary, None, TrialChange::Keep),
            ChangeKind::Bad => return Ok(None),
            ChangeKind::Good if is_primary => (primary, fallback, TrialChange::None),
            ChangeKind::Good => (primary, Some(name.clone()), TrialChange::Keep),
            ChangeKind::Next(tries) => self.to_front(files, name, begin(files, name, tries))?,
            ChangeKind::Prefer(_) if good => self.to_front(files, name, TrialChange::None)?,
            ChangeKind::Prefer(tries) => self.to_front(files, name, begin(files, name, tries))?,
        };
        let update = files.pair.change(primary, fallback, trial);
        update.map_err(BootError::Pair)
    }

    /// `name` as the primary, with the other one as its fallback if that is good.
    fn to_front(
        &self,
        files: &Files,
        name: &Name,
        trial: TrialChange,
    ) -> Result<(Name, Option<Name>, TrialChange), BootError> {
        let (_, record) = files.in_force()?;
        let good = |other: &&(SlotId, Name)| {
            other.1 != *name
                && self.standing(&other.1, &record.state, files.count) == Standing::Good
        };
        let fallback = self.slots.iter().find(good);
        Ok((
            name.clone(),
            fallback.map(|(_, other)| other.clone()),
            trial,
        ))
    }
}

/// A trial that has not begun yet, with as many tries, is the one that is asked for.
fn begin(files: &Files, name: &Name, tries: Tries) -> TrialChange {
    let under_way = files
        .pair
        .in_force()
        .filter(|(_, record)| record.state.primary == *name)
        .and_then(|(_, record)| record.state.trial);
    let unused = under_way.filter(|trial| {
        trial.tries().get() == tries.count()
            && files.count.is_some_and(|count| count.used_of(*trial) == 0)
    });
    match unused {
        Some(_) => TrialChange::Keep,
        None => TrialChange::Begin(
            NonZeroU8::new(tries.count().min(MAX_TRIES)).unwrap_or(NonZeroU8::MIN),
        ),
    }
}

impl Files {
    fn load(disks: &mut dyn Disks) -> Result<Files, BootError> {
        let mut unread = None;
        let mut bytes = |copy| {
            read(disks, copy).unwrap_or_else(|error| {
                unread = Some(error);
                Vec::new()
            })
        };
        let pair = Pair::parse(&bytes(EnvCopy::First), &bytes(EnvCopy::Second));
        let count = Count::parse(&bytes(EnvCopy::Counter));
        let files = Files { pair, count };
        match unread {
            // Why it cannot be read says more than that it does not count.
            Some(error) if files.pair.in_force().is_none() => Err(error),
            // One copy is enough, as it is for GRUB.
            _ => Ok(files),
        }
    }

    fn in_force(&self) -> Result<(Which, &grub_env::paired::Record), BootError> {
        let none = || BootError::Pair(grub_env::paired::PairError::NoCopy);
        self.pair.in_force().ok_or_else(none)
    }
}

fn area(which: Which) -> Area {
    Area::BootEnv(match which {
        Which::First => EnvCopy::First,
        Which::Second => EnvCopy::Second,
    })
}

fn read(disks: &mut dyn Disks, copy: EnvCopy) -> Result<Vec<u8>, BootError> {
    let mut storage = disks.open(Area::BootEnv(copy)).map_err(BootError::Open)?;
    let bytes = read_all(storage.as_mut(), super::grub::MAX_ENV_SIZE);
    bytes.map_err(|source| BootError::Io {
        doing: "reading",
        source,
    })
}

fn write(storage: &mut dyn Storage, new: &[u8]) -> Result<(), BootError> {
    let io = |doing| move |source| BootError::Io { doing, source };
    if storage.len() != LEN as u64 {
        return Err(BootError::PairLength {
            size: storage.len(),
        });
    }
    // Safe to stop at any point from here on: GRUB goes by the other copy until this one is whole.
    storage.write_at(new, 0).map_err(io("writing"))?;
    storage.sync().map_err(io("syncing"))?;
    let after = read_all(storage, LEN as u64).map_err(io("reading back"))?;
    if after == new {
        Ok(())
    } else {
        Err(BootError::ReadBack)
    }
}

impl BootEnv for GrubPair {
    fn name(&self) -> &'static str {
        "grub"
    }

    fn read(&self, disks: &mut dyn Disks) -> Result<BootState, BootError> {
        self.state(&Files::load(disks)?)
    }

    fn apply(&self, disks: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        let files = Files::load(disks)?;
        match self.plan(&files, change)? {
            None => Ok(()),
            Some(update) => {
                let storage = disks.open(area(update.which));
                write(storage.map_err(BootError::Open)?.as_mut(), &update.bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use grub_env::paired::{FILES, GrubCfg, initial};

    use super::*;
    use crate::slot::{Access, BootName, Slot, SlotKind, SlotName, SlotOptions};
    use crate::storage::sim::World;

    fn layout(names: &[&str]) -> Layout {
        let slot = |(index, boot): (usize, &&str)| Slot {
            name: SlotName::parse(&format!("rootfs.{index}")).unwrap(),
            device: format!("/dev/{boot}").into(),
            kind: SlotKind::Raw,
            boot_name: Some(BootName::parse(boot).unwrap()),
            parent: None,
            access: Access::Writable,
            options: SlotOptions::default(),
        };
        Layout::new(names.iter().enumerate().map(slot).collect()).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    const COPIES: [EnvCopy; 3] = [EnvCopy::First, EnvCopy::Second, EnvCopy::Counter];

    /// As a factory makes it, without the files in `lost`.
    fn world(lost: &[EnvCopy]) -> World {
        let world = World::new();
        for (copy, bytes) in COPIES.into_iter().zip(initial(name("A"), None).unwrap()) {
            if !lost.contains(&copy) {
                world.add(Area::BootEnv(copy), bytes);
            }
        }
        world
    }

    fn apply(world: &World, slot: usize, kind: ChangeKind) -> Result<(), BootError> {
        let slot = SlotId::for_test(slot);
        let env = GrubPair::new(&layout(&["A", "B"])).unwrap();
        env.apply(&mut world.clone(), BootChange { slot, kind })
    }

    fn state(world: &World) -> Result<String, BootError> {
        let env = GrubPair::new(&layout(&["A", "B"])).unwrap();
        let state = env.read(&mut world.clone())?;
        let standing = |n| state.standing(SlotId::for_test(n));
        let order: Vec<usize> = state.order.iter().map(|id| id.index()).collect();
        Ok(format!("{order:?}; {}; {}", standing(0), standing(1)))
    }

    fn next(tries: u8) -> ChangeKind {
        ChangeKind::Next(Tries::new(tries).unwrap())
    }

    #[test]
    fn the_life_of_an_update() {
        let world = world(&[]);
        assert_eq!(state(&world).unwrap(), "[0]; good; bad");
        apply(&world, 1, ChangeKind::Bad).unwrap();
        assert_eq!(world.operations(), 0, "equal content writes nothing");
        apply(&world, 1, next(2)).unwrap();
        assert_eq!(world.operations(), 2, "one write, one sync");
        let armed = "[1, 0]; good; on trial, 2 further tries";
        assert_eq!(state(&world).unwrap(), armed);
        apply(&world, 1, next(2)).unwrap();
        assert_eq!(world.operations(), 2, "the trial that has not begun");
        apply(&world, 1, next(3)).unwrap();
        apply(&world, 1, ChangeKind::Good).unwrap();
        assert_eq!(state(&world).unwrap(), "[1, 0]; good; good");
        apply(&world, 0, ChangeKind::Bad).unwrap();
        assert_eq!(state(&world).unwrap(), "[1]; bad; good");
        apply(&world, 0, ChangeKind::Good).unwrap();
        apply(&world, 0, ChangeKind::Prefer(Tries::DEFAULT)).unwrap();
        assert_eq!(state(&world).unwrap(), "[0, 1]; good; good");
    }

    #[test]
    fn a_lost_file_is_survived_and_two_lost_copies_are_told() {
        for lost in [EnvCopy::First, EnvCopy::Counter] {
            assert_eq!(state(&world(&[lost])).unwrap(), "[0]; good; bad");
        }
        // The first copy is the one to be written; without it there is nowhere to write to.
        let found = world(&[EnvCopy::First]);
        assert!(matches!(apply(&found, 1, next(2)), Err(BootError::Open(_))));
        let armed = world(&[]);
        apply(&armed, 1, next(2)).unwrap();
        armed.add(Area::BootEnv(EnvCopy::Counter), vec![0; LEN]);
        // As GRUB sees it: what cannot be counted is not started.
        let uncounted = "[1, 0]; good; on trial, no further try";
        assert_eq!(state(&armed).unwrap(), uncounted);
        for copy in [EnvCopy::First, EnvCopy::Second] {
            armed.add(Area::BootEnv(copy), vec![0; LEN]);
        }
        let error = apply(&armed, 1, ChangeKind::Good).unwrap_err();
        assert!(matches!(error, BootError::Pair(_)), "{error}");
    }

    #[test]
    fn what_the_scheme_cannot_say_is_refused() {
        let world = world(&[]);
        let error = apply(&world, 0, ChangeKind::Bad).unwrap_err();
        assert!(matches!(error, BootError::OnlySlot { .. }), "{error}");
        let mut longer = world.current(Area::BootEnv(EnvCopy::First));
        longer.resize(1024, b'#');
        world.add(Area::BootEnv(EnvCopy::First), longer);
        let error = apply(&world, 1, next(1)).unwrap_err();
        assert!(matches!(error, BootError::PairLength { size: 1024 }));
        assert_eq!(world.operations(), 0);

        for names in [&["A"][..], &["A", "B", "C"], &["A", "none"]] {
            assert!(GrubPair::new(&layout(names)).is_err(), "{names:?}");
        }
    }

    /// The shipped file and what `grub-env pair cfg --default A` prints are the same text.
    #[test]
    fn the_shipped_configuration_has_the_generated_part() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/bootloader/grub-pair.cfg");
        let shipped = std::fs::read_to_string(path).unwrap();
        let generated = GrubCfg::new("$prefix", name("A")).unwrap().to_string();
        assert!(
            shipped.contains(&generated),
            "put the output of `grub-env pair cfg --default A` between the marks of {path}"
        );
        assert!(FILES.iter().all(|file| shipped.contains(file)));
    }
}
