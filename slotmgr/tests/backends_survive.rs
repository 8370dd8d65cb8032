//! Every bootloader, every verb, the power failing at every operation: the model of the bootloader
//! starts the old or the new system, whole, and the next run finishes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::sync::{Arc, OnceLock};

use bundle_format::VerifiedBundle;
use slotmgr::boot::{self, Mark, Standing, Tries};
use slotmgr::storage::Area;
use slotmgr::storage::record::RecordingDisks;
use slotmgr::storage::sim::{Keep, World};
use support::cuts::{Tried, cut_everywhere, cut_twice};
use support::labs::{self, Lab};
use support::{BOTH_GOOD, booted, image, layout, policy, slot_id};

const OLD: u8 = 1;
const OLDER: u8 = 2;
const NEW: u8 = 3;

fn bundle() -> &'static VerifiedBundle<Arc<Vec<u8>>> {
    static BUNDLE: OnceLock<VerifiedBundle<Arc<Vec<u8>>>> = OnceLock::new();
    BUNDLE.get_or_init(|| support::bundle(&image(NEW), "3"))
}

fn start(lab: &Lab) -> World {
    let world = support::world(&image(OLD), &image(OLDER), BOTH_GOOD);
    for (copy, bytes) in (lab.memory)() {
        world.add(Area::BootEnv(copy), bytes);
    }
    world
}

fn install(lab: &Lab, world: &World) -> bool {
    let env = (lab.env)(world);
    let what = (bundle(), &policy());
    support::install_by(env.as_ref(), &mut world.clone(), "A", what).is_ok()
}

fn mark(lab: &Lab, world: &World, name: &str, mark: Mark) -> bool {
    let (env, layout) = ((lab.env)(world), layout());
    let what = (mark, Tries::new(2).unwrap());
    let slot = slot_id(&layout, name);
    boot::mark(env.as_ref(), &mut world.clone(), &layout, slot, what).is_ok()
}

fn confirm(lab: &Lab, world: &World, name: &str) -> bool {
    let layout = layout();
    let booted = support::booted(&layout, name);
    boot::confirm((lab.env)(world).as_ref(), &mut world.clone(), booted).is_ok()
}

fn confirm_alone(lab: &Lab, world: &World, name: &str) -> bool {
    let layout = layout();
    let booted = support::booted(&layout, name);
    boot::confirm_alone((lab.env)(world).as_ref(), &mut world.clone(), booted).is_ok()
}

fn standing(lab: &Lab, world: &World, name: &str) -> Standing {
    let state = (lab.env)(world).read(&mut world.clone()).unwrap();
    state.standing(slot_id(&layout(), name))
}

fn holds(world: &World, name: &str, seed: u8) -> bool {
    world.holds(Area::Slot(slot_id(&layout(), name)), &image(seed))
}

#[test]
fn a_whole_installation() {
    for lab in labs::all() {
        let mut tried = Tried::default();
        let work = |world: &World| {
            install(&lab, world);
        };
        cut_everywhere(
            &|| start(&lab),
            &work,
            &mut tried,
            &mut |found, (_, keep)| {
                let name = (lab.boot)(&found.power_on(Keep::None));
                match name.as_deref() {
                    Some("A") => assert!(holds(found, "A", OLD)),
                    Some("B") => assert!(holds(found, "B", NEW), "{}: B is not whole", lab.name),
                    other => panic!("{}: {other:?} is started", lab.name),
                }
                if matches!(keep, Keep::None) && name.as_deref() == Some("A") {
                    assert!(install(&lab, found), "{}: the next run finishes", lab.name);
                    assert_eq!((lab.boot)(found).as_deref(), Some("B"), "{}", lab.name);
                }
            },
        );
        tried.report(&format!("{}, installation", lab.name));
    }
}

/// Every third cut of an installation, and then the next one is cut at every operation.
#[test]
fn a_second_cut_in_the_recovery_of_an_installation() {
    for lab in labs::all() {
        let whole = start(&lab);
        assert!(install(&lab, &whole));
        let work = |world: &World| {
            install(&lab, world);
        };
        let mut tried = Tried::default();
        for first in (0..whole.operations()).step_by(3) {
            let world = start(&lab);
            world.cut_at(first);
            install(&lab, &world);
            let found = world.power_on(Keep::Random(first));
            if (lab.boot)(&found.power_on(Keep::None)).as_deref() == Some("B") {
                continue; // Armed: there is nothing to recover from.
            }
            tried.recoveries += 1;
            let begin = || found.power_on(Keep::None);
            cut_everywhere(
                &begin,
                &work,
                &mut tried,
                &mut |found, _| match (lab.boot)(found).as_deref() {
                    Some("A") => assert!(holds(found, "A", OLD)),
                    Some("B") => assert!(holds(found, "B", NEW), "{}: B is not whole", lab.name),
                    other => panic!("{}: {other:?} is started", lab.name),
                },
            );
        }
        tried.report(&format!("{}, a second cut in the recovery", lab.name));
    }
}

#[test]
fn the_trial_and_its_confirmation() {
    for lab in labs::all() {
        let armed = start(&lab);
        assert!(install(&lab, &armed));
        let begin = || armed.power_on(Keep::None);
        let work = |world: &World| {
            if let Some(name) = (lab.boot)(world) {
                confirm(&lab, world, &name);
            }
        };
        // The next run knows who runs: starting counts another try.
        let again = |world: &World| {
            confirm(&lab, world, "B");
        };
        let mut tried = Tried::default();
        cut_twice(&begin, &work, &again, &mut tried, &mut |found| {
            // Where there is one try, a power cut in the trial brings the old system back. Where
            // there are two, each has been counted by now, or not.
            let spent = !standing(&lab, found, "B").can_start();
            let name = (lab.boot)(found).unwrap();
            let may_fall_back = spent || lab.tries == Some(1) || lab.may_lose_entry;
            assert!(name == "B" || may_fall_back, "{}: {name}", lab.name);
            assert!(holds(found, &name, if name == "B" { NEW } else { OLD }));
            if name == "B" {
                assert!(confirm(&lab, found, "B"), "{}", lab.name);
                assert_eq!(standing(&lab, found, "B"), Standing::Good, "{}", lab.name);
                for _ in 0..4 {
                    assert_eq!((lab.boot)(found).as_deref(), Some("B"), "{}", lab.name);
                    assert_eq!(standing(&lab, found, "B"), Standing::Good, "{}", lab.name);
                }
                assert_eq!(standing(&lab, found, "A"), Standing::Good, "{}", lab.name);
            }
        });
        tried.report(&format!("{}, trial and confirmation", lab.name));
    }
}

/// `prevent-late-fallback`: whoever finds the new system confirmed finds the old one given up, and
/// whoever finds it on trial finds the old one good. There is no third state.
#[test]
fn a_confirmation_that_prevents_the_late_fallback_is_one_change() {
    for lab in labs::all() {
        let armed = start(&lab);
        assert!(install(&lab, &armed));
        assert_eq!((lab.boot)(&armed).as_deref(), Some("B"), "{}", lab.name);
        let begin = || armed.power_on(Keep::None);
        let work = |world: &World| {
            confirm_alone(&lab, world, "B");
        };
        let mut tried = Tried::default();
        cut_twice(&begin, &work, &work, &mut tried, &mut |found| {
            let confirmed = standing(&lab, found, "B") == Standing::Good;
            // Renames are one for each slot: a confirmed system with a fallback lies between them.
            if lab.tries.is_some() && !lab.may_lose_entry {
                let fallback = standing(&lab, found, "A") == Standing::Good;
                assert!(confirmed != fallback, "{}: {confirmed}", lab.name);
            }
            let name = (lab.boot)(found).unwrap();
            // Where B's entry is lost A runs, and nobody confirms B: the second run is one too many.
            let may_fall_back = !confirmed || lab.may_lose_entry;
            assert!(name == "B" || may_fall_back, "{}: {name}", lab.name);
            if name == "B" {
                assert!(confirm_alone(&lab, found, "B"), "{}", lab.name);
                for _ in 0..4 {
                    assert_eq!((lab.boot)(found).as_deref(), Some("B"), "{}", lab.name);
                }
            }
        });
        tried.report(&format!("{}, confirmation alone", lab.name));
    }
}

#[test]
fn a_system_that_never_confirms_gives_way_to_the_old_one() {
    for lab in labs::all() {
        let Some(tries) = lab.tries else { continue };
        let world = start(&lab);
        assert!(install(&lab, &world));
        for number in 1..=tries {
            assert_eq!((lab.boot)(&world).as_deref(), Some("B"), "{}", lab.name);
            assert!(
                matches!(standing(&lab, &world, "B"), Standing::Trial { .. }),
                "{}: start {number} is known as a trial",
                lab.name
            );
        }
        for _ in 0..3 {
            assert_eq!((lab.boot)(&world).as_deref(), Some("A"), "{}", lab.name);
            assert_eq!(standing(&lab, &world, "A"), Standing::Good, "{}", lab.name);
            assert!(!standing(&lab, &world, "B").can_start(), "{}", lab.name);
        }
        assert!(
            install(&lab, &world),
            "{}: and may be tried again",
            lab.name
        );
        assert_eq!((lab.boot)(&world).as_deref(), Some("B"), "{}", lab.name);
    }
}

#[test]
fn marks_by_hand() {
    for lab in labs::all() {
        let mut tried = Tried::default();
        for (name, what) in [
            ("B", Mark::Bad),
            ("B", Mark::Active),
            ("A", Mark::Bad),
            ("B", Mark::Good),
            ("A", Mark::Active),
        ] {
            for armed in [false, true] {
                let begin = start(&lab);
                assert!(!armed || install(&lab, &begin));
                if armed && (name, what) == ("A", Mark::Bad) {
                    continue; // Nothing good would be left: `slotmgr mark` refuses it.
                }
                let before = (lab.boot)(&begin.power_on(Keep::None));
                let whole = begin.power_on(Keep::None);
                assert!(mark(&lab, &whole, name, what), "{}", lab.name);
                let operations = whole.operations();
                assert!(mark(&lab, &whole, name, what), "{}", lab.name);
                assert_eq!(
                    whole.operations(),
                    operations,
                    "{}: equal content writes nothing",
                    lab.name
                );
                let after = (lab.boot)(&whole.power_on(Keep::None));
                match what {
                    Mark::Bad => assert_ne!(after.as_deref(), Some(name), "{}", lab.name),
                    Mark::Active => assert_eq!(after.as_deref(), Some(name), "{}", lab.name),
                    Mark::Good => assert_eq!(standing(&lab, &whole, name), Standing::Good),
                }
                if operations == 0 {
                    continue;
                }
                let work = |world: &World| {
                    mark(&lab, world, name, what);
                };
                let start = || begin.power_on(Keep::None);
                cut_twice(&start, &work, &work, &mut tried, &mut |found| {
                    let now = (lab.boot)(&found.power_on(Keep::None));
                    let lost = lab.may_lose_entry && now.as_deref() == Some("A");
                    assert!(
                        now == before || now == after || lost,
                        "{}: {now:?}",
                        lab.name
                    );
                    assert!(mark(&lab, found, name, what));
                    let now = (lab.boot)(found);
                    assert!(now == after || lost, "{}: {now:?}", lab.name);
                });
            }
        }
        tried.report(&format!("{}, marks by hand", lab.name));
    }
}

/// What is done to the bootloader's memory, one list per verb.
#[test]
fn the_order_of_writes_is_a_contract() {
    let list = |world: &World, verb: &dyn Fn(&mut RecordingDisks<'_>)| {
        let mut world = world.clone();
        let mut disks = RecordingDisks::new(&mut world);
        let log = disks.log();
        verb(&mut disks);
        log.render()
    };
    let lab = labs::all().remove(3);
    let world = start(&lab);
    let layout = layout();
    let env = (lab.env)(&world);
    let verb = |name: &'static str, what: Mark| {
        let (env, layout) = (&env, &layout);
        move |disks: &mut RecordingDisks<'_>| {
            let what = (what, Tries::new(2).unwrap());
            boot::mark(env.as_ref(), disks, layout, slot_id(layout, name), what).unwrap();
        }
    };
    insta::assert_snapshot!(list(&world, &verb("B", Mark::Bad)), @r"
    write     boot-env @65024 +512
    write     boot-env @81408 +512
    sync      boot-env
    read-back boot-env
    write     boot-env @512 +1024
    sync      boot-env
    read-back boot-env
    ");
    assert_eq!(list(&world, &verb("B", Mark::Bad)), "");
    insta::assert_snapshot!(list(&world, &verb("B", Mark::Active)), @r"
    write     boot-env @65024 +512
    write     boot-env @81408 +512
    sync      boot-env
    read-back boot-env
    write     boot-env @512 +1024
    sync      boot-env
    read-back boot-env
    ");
}

/// `prevent-late-fallback` in the bootloader's memory: what decides is written once. (EFI variables
/// are no disk; how much is done to them is counted.)
#[test]
fn confirming_and_giving_up_is_one_update() {
    let mut lists = String::new();
    for lab in labs::all() {
        let mut armed = start(&lab);
        assert!(install(&lab, &armed));
        assert_eq!((lab.boot)(&armed).as_deref(), Some("B"), "{}", lab.name);
        let (env, world, layout) = ((lab.env)(&armed), armed.clone(), layout());
        let before = world.operations();
        let mut disks = RecordingDisks::new(&mut armed);
        let log = disks.log();
        boot::confirm_alone(env.as_ref(), &mut disks, booted(&layout, "B")).unwrap();
        let after = world.operations();
        lists.push_str(&format!(
            "{}: {}\n{}",
            lab.name,
            after - before,
            log.render()
        ));
        assert!(confirm_alone(&lab, &world, "B"));
        assert_eq!(world.operations(), after, "{}: once", lab.name);
    }
    insta::assert_snapshot!(lists, @r"
    grub: 2
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    efi: 2
    efi, efi-use-bootnext=false: 2
    gpt-priority, Bottlerocket's GRUB: 5
    write     boot-env @65024 +512
    write     boot-env @81408 +512
    sync      boot-env
    read-back boot-env
    write     boot-env @512 +1024
    sync      boot-env
    read-back boot-env
    gpt-priority, ChromeOS's firmware: 5
    write     boot-env @65024 +512
    write     boot-env @81408 +512
    sync      boot-env
    read-back boot-env
    write     boot-env @512 +1024
    sync      boot-env
    read-back boot-env
    grub, paired files: 2
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    efi, which has lost an entry: 2
    systemd-boot: 6
    ");
}

/// Condemn, arm and confirm: one list each, for what is on a disk of ours; how many operations it is
/// where it is not.
#[test]
fn one_list_per_verb_and_bootloader() {
    let mut lists = String::new();
    for lab in labs::all() {
        let mut world = start(&lab);
        let (env, layout, handle) = ((lab.env)(&world), layout(), world.clone());
        let tries = Tries::new(2).unwrap();
        let b = slot_id(&layout, "B");
        for (name, what) in [
            ("condemn", Mark::Bad),
            ("arm", Mark::Active),
            ("confirm", Mark::Good),
        ] {
            let before = handle.operations();
            let mut disks = RecordingDisks::new(&mut world);
            let log = disks.log();
            boot::mark(env.as_ref(), &mut disks, &layout, b, (what, tries)).unwrap();
            let list: Vec<String> = log
                .render()
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            let count = handle.operations() - before;
            lists.push_str(&format!("{}, {name}: {count}", lab.name));
            if !list.is_empty() {
                lists.push_str(&format!(" operations: {}", list.join(", ")));
            }
            lists.push('\n');
        }
    }
    insta::assert_snapshot!(lists, @r"
    grub, condemn: 2 operations: write boot-env @0 +512, sync boot-env, read-back boot-env
    grub, arm: 2 operations: write boot-env @0 +512, sync boot-env, read-back boot-env
    grub, confirm: 2 operations: write boot-env @0 +512, sync boot-env, read-back boot-env
    efi, condemn: 2
    efi, arm: 2
    efi, confirm: 2
    efi, efi-use-bootnext=false, condemn: 2
    efi, efi-use-bootnext=false, arm: 2
    efi, efi-use-bootnext=false, confirm: 0
    gpt-priority, Bottlerocket's GRUB, condemn: 5 operations: write boot-env @65024 +512, write boot-env @81408 +512, sync boot-env, read-back boot-env, write boot-env @512 +1024, sync boot-env, read-back boot-env
    gpt-priority, Bottlerocket's GRUB, arm: 5 operations: write boot-env @65024 +512, write boot-env @81408 +512, sync boot-env, read-back boot-env, write boot-env @512 +1024, sync boot-env, read-back boot-env
    gpt-priority, Bottlerocket's GRUB, confirm: 5 operations: write boot-env @65024 +512, write boot-env @81408 +512, sync boot-env, read-back boot-env, write boot-env @512 +1024, sync boot-env, read-back boot-env
    gpt-priority, ChromeOS's firmware, condemn: 5 operations: write boot-env @65024 +512, write boot-env @81408 +512, sync boot-env, read-back boot-env, write boot-env @512 +1024, sync boot-env, read-back boot-env
    gpt-priority, ChromeOS's firmware, arm: 5 operations: write boot-env @65024 +512, write boot-env @81408 +512, sync boot-env, read-back boot-env, write boot-env @512 +1024, sync boot-env, read-back boot-env
    gpt-priority, ChromeOS's firmware, confirm: 5 operations: write boot-env @65024 +512, write boot-env @81408 +512, sync boot-env, read-back boot-env, write boot-env @512 +1024, sync boot-env, read-back boot-env
    grub, paired files, condemn: 2 operations: write boot-env @0 +512, sync boot-env, read-back boot-env
    grub, paired files, arm: 2 operations: write boot-env.1 @0 +512, sync boot-env.1, read-back boot-env.1
    grub, paired files, confirm: 2 operations: write boot-env @0 +512, sync boot-env, read-back boot-env
    efi, which has lost an entry, condemn: 2
    efi, which has lost an entry, arm: 2
    efi, which has lost an entry, confirm: 2
    systemd-boot, condemn: 3
    systemd-boot, arm: 5
    systemd-boot, confirm: 3
    ");
}

/// Arming before the content is there: what a careless updater does. The machine finds it with
/// every bootloader.
#[test]
fn careless_orders_are_found() {
    for lab in labs::all() {
        let careless = |world: &World| {
            let mut disks = world.clone();
            let armed = mark(&lab, world, "B", Mark::Bad) && mark(&lab, world, "B", Mark::Active);
            let slot = Area::Slot(slot_id(&layout(), "B"));
            if let Ok(mut disk) = slotmgr::storage::Disks::open(&mut disks, slot) {
                let new = image(NEW);
                let _ = new
                    .chunks(8192)
                    .enumerate()
                    .try_for_each(|(number, piece)| {
                        disk.write_at(piece, number as u64 * 8192)?;
                        disk.sync()
                    });
            }
            armed
        };
        let mut harmed = false;
        let work = |world: &World| {
            careless(world);
        };
        cut_everywhere(
            &|| start(&lab),
            &work,
            &mut Tried::default(),
            &mut |found, _| {
                let name = (lab.boot)(found).unwrap_or_default();
                harmed |= !(holds(found, &name, OLD)
                    || holds(found, &name, OLDER)
                    || holds(found, &name, NEW));
            },
        );
        assert!(harmed, "{}", lab.name);
    }
}
