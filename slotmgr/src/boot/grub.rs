//! GRUB, with RAUC's variables in its environment block, and one more of our own.
//!
//! | variable | values | meaning |
//! |---|---|---|
//! | `ORDER` | boot names, blanks between | the order in which slots are looked at |
//! | `<n>_OK` | `1`, else not started | whether the slot may be started |
//! | `<n>_TRY` | `0`, `1` | `1`: the last try has been taken; `grub.cfg` sets it, a confirmation clears it |
//! | `<n>_LEFT` | `good`, `1` to `9`, unset | ours: confirmed; so many tries left; RAUC's rule (one try) |
//!
//! RAUC knows the first three, so its `grub.cfg` goes on working: it ignores `_LEFT` and gives one
//! try. The `grub.cfg` shipped beside this file (`slotmgr/bootloader/grub.cfg`) counts `_LEFT`
//! down to `0`, sets `_TRY=1` with the last try, and starts a `good` slot without writing.
//!
//! GRUB reads its environment without replaying a journal and writes it in place, sector by
//! sector. So do we: same size, only the sectors that change, and only if all of it is the first.

use grub_env::{Block, Change, changed_sectors};

use super::{BootChange, BootEnv, BootError, BootState, ChangeKind, Standing, Tries};
use crate::slot::{BootName, Layout, SlotId};
use crate::storage::{Area, Disks, EnvCopy, SECTOR, Storage, read_all};

/// Largest environment file that is read. GRUB's own have 1,024 bytes.
pub const MAX_ENV_SIZE: u64 = 64 * 1024;

/// The backend for `bootloader=grub`.
#[derive(Debug)]
pub struct Grub {
    names: Vec<(SlotId, BootName)>,
}

impl Grub {
    /// For the slots of `layout` that have a boot name.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        Grub {
            names: layout
                .bootable()
                .map(|(id, name)| (id, name.clone()))
                .collect(),
        }
    }

    fn name_of(&self, id: SlotId) -> Option<&BootName> {
        self.names
            .iter()
            .find(|(slot, _)| *slot == id)
            .map(|(_, name)| name)
    }

    fn state(&self, block: &Block) -> BootState {
        let by_name = |text: &str| {
            self.names
                .iter()
                .find(|(_, name)| name.as_str() == text)
                .map(|(id, _)| *id)
        };
        let order = match block.get_text("ORDER") {
            Some(order) => order.split_ascii_whitespace().filter_map(by_name).collect(),
            None => self.names.iter().map(|(id, _)| *id).collect(),
        };
        let standings = self
            .names
            .iter()
            .map(|(id, name)| (*id, standing(block, name)))
            .collect();
        BootState { order, standings }
    }

    /// The order with `first` in front; all others keep their places, and none is lost.
    fn order_with(&self, block: &Block, first: &BootName) -> String {
        let old = block.get_text("ORDER").unwrap_or_default();
        let mut order = vec![first.as_str()];
        let configured = self.names.iter().map(|(_, name)| name.as_str());
        for name in old.split_ascii_whitespace().chain(configured) {
            if !order.contains(&name) {
                order.push(name);
            }
        }
        order.join(" ")
    }

    fn edit(&self, block: &mut Block, change: BootChange) -> Result<(), BootError> {
        let Some(name) = self.name_of(change.slot()) else {
            return Ok(()); // A slot that the bootloader does not know cannot be started anyway.
        };
        let tries = |tries: Tries| tries.count().to_string();
        let (ok, left) = match change.kind() {
            ChangeKind::Bad => ("0", None),
            ChangeKind::Good | ChangeKind::GoodAlone => ("1", Some("good".to_owned())),
            ChangeKind::Next(count) => ("1", Some(tries(count))),
            ChangeKind::Prefer(_) if standing(block, name) == Standing::Good => (
                "1",
                block.get_text(&variable(name, "LEFT")).map(str::to_owned),
            ),
            ChangeKind::Prefer(count) => ("1", Some(tries(count))),
        };
        if matches!(change.kind(), ChangeKind::Next(_) | ChangeKind::Prefer(_)) {
            let order = self.order_with(block, name);
            set(block, "ORDER", &order)?;
        }
        if change.kind() == ChangeKind::GoodAlone {
            for (_, other) in self.names.iter().filter(|(_, other)| other != name) {
                set_counts(block, other, ("0", None))?;
            }
        }
        set_counts(block, name, (ok, left.as_deref()))
    }
}

fn variable(name: &BootName, suffix: &str) -> String {
    format!("{name}_{suffix}")
}

/// `OK` and `LEFT` of a slot, which has not been tried since.
fn set_counts(
    block: &mut Block,
    name: &BootName,
    (ok, left): (&str, Option<&str>),
) -> Result<(), BootError> {
    set(block, &variable(name, "OK"), ok)?;
    set(block, &variable(name, "TRY"), "0")?;
    match left {
        Some(left) => set(block, &variable(name, "LEFT"), left)?,
        None => {
            let _: Change = block.unset(variable(name, "LEFT"));
        }
    }
    Ok(())
}

fn set(block: &mut Block, name: &str, value: &str) -> Result<(), BootError> {
    let _: Change = block.set(name, value).map_err(|source| BootError::Value {
        what: format!("{name}={value}"),
        source,
    })?;
    Ok(())
}

fn standing(block: &Block, name: &BootName) -> Standing {
    if block.get_text(&variable(name, "OK")) != Some("1") {
        return Standing::Bad;
    }
    let tried = block
        .get_text(&variable(name, "TRY"))
        .is_some_and(|value| value != "0");
    let left = block.get_text(&variable(name, "LEFT")).unwrap_or_default();
    match left.as_bytes() {
        _ if tried => Standing::Trial { left: 0 },
        [digit @ b'1'..=b'9'] => Standing::Trial { left: digit - b'0' },
        // `good`, or RAUC's rule: OK and not tried.
        _ => Standing::Good,
    }
}

impl BootEnv for Grub {
    fn name(&self) -> &'static str {
        "grub"
    }

    fn read(&self, disks: &mut dyn Disks) -> Result<BootState, BootError> {
        let mut storage = disks
            .open(Area::BootEnv(EnvCopy::First))
            .map_err(BootError::Open)?;
        Ok(self.state(&load(storage.as_mut())?.1))
    }

    fn apply(&self, disks: &mut dyn Disks, change: BootChange) -> Result<(), BootError> {
        let mut storage = disks
            .open(Area::BootEnv(EnvCopy::First))
            .map_err(BootError::Open)?;
        let (old, mut block) = load(storage.as_mut())?;
        self.edit(&mut block, change)?;
        // Safe to stop: nothing has been written.
        let new = block
            .to_bytes(old.len())
            .map_err(|_| BootError::NotAtomic)?;
        match changed_sectors(&old, &new).as_slice() {
            [] => return Ok(()),
            [0] if block.fits_first_sector() => {}
            _ => return Err(BootError::NotAtomic),
        }
        let io = |doing| move |source| BootError::Io { doing, source };
        // From here on the old or the new sector is there, as a whole.
        storage
            .write_at(&new[..SECTOR.min(new.len())], 0)
            .map_err(io("writing"))?;
        storage.sync().map_err(io("syncing"))?;
        let after = read_all(storage.as_mut(), MAX_ENV_SIZE).map_err(io("reading back"))?;
        if after == new {
            Ok(())
        } else {
            Err(BootError::ReadBack)
        }
    }
}

fn load(storage: &mut dyn Storage) -> Result<(Vec<u8>, Block), BootError> {
    let bytes = read_all(storage, MAX_ENV_SIZE).map_err(|source| BootError::Io {
        doing: "reading",
        source,
    })?;
    let block = Block::parse(&bytes).map_err(BootError::Damaged)?;
    Ok((bytes, block))
}

#[cfg(test)]
mod tests {
    use super::super::{BootChange, ChangeKind};
    use super::*;
    use crate::slot::{Access, Evidence, Slot, SlotKind, SlotName, SlotOptions};
    use crate::storage::sim::World;

    fn layout() -> Layout {
        let slot = |index: usize, boot: &str| Slot {
            name: SlotName::parse(&format!("rootfs.{index}")).unwrap(),
            device: format!("/dev/{boot}").into(),
            kind: SlotKind::Raw,
            boot_name: Some(BootName::parse(boot).unwrap()),
            parent: None,
            access: Access::Writable,
            options: SlotOptions::default(),
        };
        Layout::new(vec![slot(0, "A"), slot(1, "B")]).unwrap()
    }

    fn world(variables: &[(&str, &str)]) -> World {
        let mut block = Block::new();
        for (name, value) in variables {
            block.set(name, value).unwrap();
        }
        let world = World::new();
        world.add(Area::BootEnv(EnvCopy::First), block.to_bytes(1024).unwrap());
        world
    }

    fn variables(world: &World) -> String {
        let block = Block::parse(&world.current(Area::BootEnv(EnvCopy::First))).unwrap();
        let mut text: Vec<String> = block
            .iter()
            .map(|(k, v)| {
                format!(
                    "{}={}",
                    String::from_utf8_lossy(k),
                    String::from_utf8_lossy(v)
                )
            })
            .collect();
        text.sort();
        text.join(" ")
    }

    fn factory() -> World {
        world(&[
            ("ORDER", "A B"),
            ("A_OK", "1"),
            ("A_TRY", "0"),
            ("A_LEFT", "good"),
            ("B_OK", "0"),
            ("B_TRY", "0"),
        ])
    }

    fn apply(world: &World, slot: usize, kind: ChangeKind) -> Result<(), BootError> {
        let slot = SlotId::for_test(slot);
        Grub::new(&layout()).apply(&mut world.clone(), BootChange { slot, kind })
    }

    #[test]
    fn the_life_of_an_update_in_variables() {
        let world = factory();
        apply(&world, 1, ChangeKind::Bad).unwrap();
        assert_eq!(world.operations(), 0, "equal content writes nothing");
        apply(&world, 1, ChangeKind::Next(Tries::new(2).unwrap())).unwrap();
        assert_eq!(
            variables(&world),
            "A_LEFT=good A_OK=1 A_TRY=0 B_LEFT=2 B_OK=1 B_TRY=0 ORDER=B A"
        );
        assert_eq!(world.operations(), 2, "one write, one sync");
        apply(&world, 1, ChangeKind::Good).unwrap();
        assert_eq!(
            variables(&world),
            "A_LEFT=good A_OK=1 A_TRY=0 B_LEFT=good B_OK=1 B_TRY=0 ORDER=B A"
        );
        apply(&world, 0, ChangeKind::Bad).unwrap();
        assert_eq!(
            variables(&world),
            "A_OK=0 A_TRY=0 B_LEFT=good B_OK=1 B_TRY=0 ORDER=B A"
        );
    }

    #[test]
    fn what_the_bootloader_makes_of_it() {
        type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, Option<usize>);
        let table: [Row<'_>; 9] = [
            (
                &[
                    ("ORDER", "A B"),
                    ("A_OK", "1"),
                    ("A_TRY", "0"),
                    ("A_LEFT", "good"),
                ],
                "good",
                Some(0),
            ),
            (
                &[("ORDER", "A"), ("A_OK", "1"), ("A_TRY", "0")],
                "good",
                Some(0),
            ),
            (&[("ORDER", "A"), ("A_OK", "1")], "good", Some(0)),
            (
                &[("ORDER", "A"), ("A_OK", "1"), ("A_TRY", "1")],
                "on trial, no further try",
                None,
            ),
            (
                &[
                    ("ORDER", "A"),
                    ("A_OK", "1"),
                    ("A_TRY", "1"),
                    ("A_LEFT", "good"),
                ],
                "on trial, no further try",
                None,
            ),
            (
                &[
                    ("ORDER", "A"),
                    ("A_OK", "1"),
                    ("A_TRY", "0"),
                    ("A_LEFT", "3"),
                ],
                "on trial, 3 further tries",
                Some(0),
            ),
            (
                &[("ORDER", "B"), ("A_OK", "1"), ("A_TRY", "0")],
                "good",
                None,
            ),
            (&[("A_OK", "1"), ("A_TRY", "0")], "good", Some(0)),
            (&[], "bad", None),
        ];
        for (vars, expected, primary) in table {
            let state = Grub::new(&layout()).read(&mut world(vars)).unwrap();
            assert_eq!(
                state.standing(SlotId::for_test(0)).to_string(),
                expected,
                "{vars:?}"
            );
            assert_eq!(state.primary().map(SlotId::index), primary, "{vars:?}");
        }
    }

    #[test]
    fn an_installation_needs_a_running_slot_to_fall_back_to() {
        let layout = layout();
        let evidence = Evidence {
            chosen: Some("A".into()),
            ..Evidence::default()
        };
        let booted = layout.booted(&evidence).unwrap();
        let check = |vars: &[(&str, &str)]| {
            super::super::check_fallback(&Grub::new(&layout), &mut world(vars), &layout, booted)
        };
        check(&[("ORDER", "B A"), ("A_OK", "1")]).unwrap();
        for vars in [
            &[("ORDER", "A"), ("A_OK", "0")][..],
            &[("ORDER", "A"), ("A_OK", "1"), ("A_TRY", "1")],
            &[("ORDER", "A"), ("A_OK", "1"), ("A_LEFT", "2")],
            &[("ORDER", "B"), ("A_OK", "1")],
            &[],
        ] {
            let error = check(vars).unwrap_err();
            assert!(
                matches!(error, BootError::RunningSlotNotGood { .. }),
                "{vars:?}: {error}"
            );
        }
    }

    #[test]
    fn names_of_others_keep_their_place_in_the_order() {
        let world = world(&[("ORDER", "rescue A B"), ("theme", "a\\b\nc")]);
        apply(&world, 1, ChangeKind::Prefer(Tries::DEFAULT)).unwrap();
        let text = variables(&world);
        assert!(text.contains("ORDER=B rescue A"), "{text}");
        assert!(text.contains("theme=a\\b\nc"), "{text}");
    }

    #[test]
    fn a_block_that_would_not_be_one_sector_is_left_alone() {
        let long = "x".repeat(450);
        let world = world(&[("long", &long), ("ORDER", "A B")]);
        let error = apply(&world, 1, ChangeKind::Next(Tries::DEFAULT)).unwrap_err();
        assert!(matches!(error, BootError::NotAtomic), "{error}");
        assert_eq!(world.operations(), 0);
    }

    #[test]
    fn something_else_is_not_written_over() {
        for bytes in [vec![], vec![0; 1024], b"# GRUB Environment Bl".to_vec()] {
            let world = World::new();
            world.add(Area::BootEnv(EnvCopy::First), bytes);
            assert!(matches!(
                apply(&world, 1, ChangeKind::Bad),
                Err(BootError::Damaged(_))
            ));
            assert_eq!(world.operations(), 0);
        }
    }
}
