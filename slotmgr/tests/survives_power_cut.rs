//! The power fails at every operation, and each time the old or the new system starts, whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use bundle_format::VerifiedBundle;
use slotmgr::boot::{self, BootEnv, Mark, Standing, Tries, grub::Grub};
use slotmgr::storage::sim::{Keep, World};
use slotmgr::storage::{Area, Disks, EnvCopy};
use support::cuts::{Tried, fingerprint, keeps};
use support::{
    BOTH_GOOD, FACTORY, grub_model, image, install, layout, policy, running, slot_id, world,
};

const OLD: u8 = 1;
const OLDER: u8 = 2;
const NEW: u8 = 3;

fn new_bundle() -> &'static VerifiedBundle<Arc<Vec<u8>>> {
    static BUNDLE: OnceLock<VerifiedBundle<Arc<Vec<u8>>>> = OnceLock::new();
    BUNDLE.get_or_init(|| support::bundle(&image(NEW), "3"))
}

fn holds(world: &World, name: &str, seed: u8) -> bool {
    world.holds(Area::Slot(slot_id(&layout(), name)), &image(seed))
}

fn standing(world: &World, name: &str) -> Standing {
    let layout = layout();
    Grub::new(&layout)
        .read(&mut world.clone())
        .unwrap()
        .standing(slot_id(&layout, name))
}

/// After a cut in an installation from A into B: the old system in A, whole, or the new in B,
/// whole, by the ordinary rules of the bootloader. Then the next run finishes.
fn check_after_cut(found: &World, recover: bool) {
    let boot = grub_model::boot(found).expect("the power stays on");
    assert!(
        boot.by_order,
        "the bootloader was left with its last resort: {boot:?}"
    );
    match boot.name.as_str() {
        "A" => assert!(holds(found, "A", OLD), "the running slot was touched"),
        _ if holds(found, "B", NEW) => {
            assert!(matches!(standing(found, "B"), Standing::Trial { .. }));
        }
        // A cut before anything was condemned may leave an older release that was good before.
        _ => panic!("B is started, and it is not whole"),
    }
    if !recover {
        return;
    }
    let mut next = found.power_on(Keep::None);
    if boot.name == "A" {
        let _armed = install(&mut next, "A", new_bundle(), &policy())
            .expect("the next installation finishes");
        let again = grub_model::boot(&next).unwrap();
        assert_eq!(again.name, "B");
    }
    assert!(holds(&next, "B", NEW));
    let layout = layout();
    let booted = running(&layout, "B").slot().unwrap();
    boot::confirm(&Grub::new(&layout), &mut next, booted).unwrap();
    assert_eq!(standing(&next, "B"), Standing::Good);
    assert_eq!(grub_model::boot(&next).unwrap().name, "B");
}

/// Cuts an installation at every operation.
fn cut_everywhere(start: &dyn Fn() -> World, tried: &mut Tried) {
    let whole = start();
    let _armed = install(&mut whole.clone(), "A", new_bundle(), &policy()).unwrap();
    let mut seen = HashSet::new();
    for cut in 0..whole.operations() {
        let mut world = start();
        world.cut_at(cut);
        // Cuts in our own record do not stop an installation; all others do.
        let _ = install(&mut world, "A", new_bundle(), &policy());
        assert!(world.is_off(), "operation {cut} was not reached");
        tried.cuts += 1;
        for keep in keeps(&world) {
            let found = world.power_on(keep);
            tried.states += 1;
            let new = seen.insert(fingerprint(&found));
            tried.recoveries += u64::from(new);
            check_after_cut(&found, new);
        }
    }
}

#[test]
fn the_first_installation_into_an_empty_slot() {
    let mut tried = Tried::default();
    cut_everywhere(&|| world(&image(OLD), &[], FACTORY), &mut tried);
    tried.report("installation into an empty slot");
}

#[test]
fn an_installation_over_an_older_release() {
    let mut tried = Tried::default();
    cut_everywhere(&|| world(&image(OLD), &image(OLDER), BOTH_GOOD), &mut tried);
    tried.report("installation over an older release");
}

/// Rootfs and its child: both of the old system or both of the new one, at every cut.
#[test]
fn two_images_in_one_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "[update]\ncompatible=board\nversion=3\n[bundle]\nformat=verity\n\
                    [image.app]\nfilename=app.img\n[image.rootfs]\nfilename=root.img\n";
    let (root, app) = (image(NEW), image(NEW + 1));
    let (path, keyring) = support::bundle_with(
        dir.path(),
        manifest,
        &[("app.img", &app), ("root.img", &root)],
    );
    let bundle = support::verified(&path, &keyring);
    let layout = support::family();
    let child = |name| Area::Slot(slot_id(&layout, name));
    let start = || {
        let world = world(&image(OLD), &image(OLDER), BOTH_GOOD);
        for (name, seed) in [("app.0", OLD), ("app.1", OLDER)] {
            let mut content = image(seed);
            content.resize(support::SLOT, 0xee);
            world.add(child(name), content);
        }
        world
    };
    let whole = start();
    let install =
        |world: &mut World| support::install_into(&layout, world, "A", &bundle, &policy());
    let _installed = install(&mut whole.clone()).unwrap();
    let mut tried = Tried::default();
    for cut in 0..whole.operations() {
        let mut world = start();
        world.cut_at(cut);
        let _ = install(&mut world);
        assert!(world.is_off(), "operation {cut} was not reached");
        tried.cuts += 1;
        for keep in keeps(&world) {
            let found = world.power_on(keep);
            tried.states += 1;
            let boot = grub_model::boot(&found).unwrap();
            let (name, root, app) = match boot.name.as_str() {
                "A" => ("app.0", image(OLD), image(OLD)),
                _ => ("app.1", image(NEW), image(NEW + 1)),
            };
            let parent = Area::Slot(slot_id(&layout, &boot.name));
            assert!(
                boot.by_order && found.holds(parent, &root) && found.holds(child(name), &app),
                "{boot:?}"
            );
        }
    }
    tried.report("two images in one bundle");
}

#[test]
fn a_second_cut_while_the_first_is_being_recovered_from() {
    let start = || world(&image(OLD), &image(OLDER), BOTH_GOOD);
    let whole = start();
    let _armed = install(&mut whole.clone(), "A", new_bundle(), &policy()).unwrap();
    let mut tried = Tried::default();
    for first in 0..whole.operations() {
        let mut world = start();
        world.cut_at(first);
        let _ = install(&mut world, "A", new_bundle(), &policy());
        let found = world.power_on(Keep::Random(first));
        if grub_model::boot(&found).unwrap().name == "B" {
            continue;
        }
        cut_everywhere(&|| found.power_on(Keep::None), &mut tried);
    }
    tried.report("a second cut in the recovery");
}

#[test]
fn the_trial_and_its_confirmation() {
    let armed = world(&image(OLD), &[], FACTORY);
    let _armed = install(&mut armed.clone(), "A", new_bundle(), &policy()).unwrap();
    let layout = layout();
    let grub = Grub::new(&layout);
    let mut tried = Tried::default();
    // GRUB counts the try (two writes), then we confirm (a write and a sync).
    let trial = |world: &World| -> Option<()> {
        let boot = grub_model::boot(world)?;
        let booted = support::booted(&layout, &boot.name);
        boot::confirm(&grub, &mut world.clone(), booted).ok()
    };
    let count = armed.power_on(Keep::None);
    trial(&count).unwrap();
    for cut in 0..count.operations() {
        let world = armed.power_on(Keep::None);
        world.cut_at(cut);
        assert_eq!(trial(&world), None);
        tried.cuts += 1;
        for keep in keeps(&world) {
            let found = world.power_on(keep);
            tried.states += 1;
            tried.recoveries += 1;
            let boot = grub_model::boot(&found).unwrap();
            assert!(boot.by_order && boot.name == "B", "{boot:?}");
            boot::confirm(&grub, &mut found.clone(), support::booted(&layout, "B")).unwrap();
            assert_eq!(standing(&found, "B"), Standing::Good);
        }
    }
    tried.report("trial and confirmation");
}

#[test]
fn a_system_that_never_confirms_gives_way_to_the_old_one() {
    let mut world = world(&image(OLD), &[], FACTORY);
    let _armed = install(&mut world, "A", new_bundle(), &policy()).unwrap();
    let started: Vec<String> = (0..5)
        .map(|_| grub_model::boot(&world).unwrap().name)
        .collect();
    assert_eq!(
        started,
        ["B", "B", "A", "A", "A"],
        "two tries, then the old system for good"
    );
    assert_eq!(standing(&world, "B"), Standing::Trial { left: 0 });
}

#[test]
fn marks_by_hand() {
    let layout = layout();
    let grub = Grub::new(&layout);
    let mut tried = Tried::default();
    for (name, mark) in [
        ("B", Mark::Bad),
        ("B", Mark::Active),
        ("A", Mark::Bad),
        ("B", Mark::Good),
    ] {
        let start = || world(&image(OLD), &image(OLDER), BOTH_GOOD);
        let apply = |world: &World| {
            let tries = Tries::new(3).unwrap();
            boot::mark(
                &grub,
                &mut world.clone(),
                &layout,
                slot_id(&layout, name),
                (mark, tries),
            )
        };
        let whole = start();
        apply(&whole).unwrap();
        let after = whole.current(Area::BootEnv(EnvCopy::First));
        for cut in 0..whole.operations() {
            let world = start();
            world.cut_at(cut);
            apply(&world).unwrap_err();
            tried.cuts += 1;
            for keep in keeps(&world) {
                let found = world.power_on(keep);
                tried.states += 1;
                let now = found.current(Area::BootEnv(EnvCopy::First));
                assert!(now == after || now == start().current(Area::BootEnv(EnvCopy::First)));
                assert!(grub_model::boot(&found).unwrap().by_order);
            }
        }
    }
    tried.report("marks by hand");
}

/// The machine must be able to find what it looks for: each of these is a mistake that real
/// updaters have made.
#[test]
fn careless_orders_are_found() {
    /// One step of a careless installer.
    type Step = fn(&mut World);
    let condemn: Step = |world| {
        mark(world, Mark::Bad);
    };
    let write: Step = |world| {
        let slot = Area::Slot(slot_id(&layout(), "B"));
        if let Ok(mut disk) = world.open(slot) {
            let new = image(NEW);
            let written = new
                .chunks(support::WRITE)
                .enumerate()
                .try_for_each(|(number, piece)| {
                    disk.write_at(piece, (number * support::WRITE) as u64)
                });
            let _ = written.and_then(|()| disk.sync());
        }
    };
    let write_without_sync: Step = |world| {
        let slot = Area::Slot(slot_id(&layout(), "B"));
        if let Ok(mut disk) = world.open(slot) {
            let _ = disk.write_at(&image(NEW), 0);
        }
    };
    let arm: Step = |world| mark(world, Mark::Active);
    let careful: &[Step] = &[condemn, write, arm];
    let careless: [&[Step]; 3] = [
        &[condemn, write_without_sync, arm], // no barrier before the switch
        &[arm, write],                       // the switch comes first
        &[write, arm],                       // B still counts as good while it is overwritten
    ];
    assert_eq!(first_harm(careful), None);
    for (number, steps) in careless.into_iter().enumerate() {
        assert!(
            first_harm(steps).is_some(),
            "mistake {number} was not found"
        );
    }
}

fn mark(world: &mut World, mark: Mark) {
    let layout = layout();
    let what = (mark, Tries::new(2).unwrap());
    let _ = boot::mark(
        &Grub::new(&layout),
        world,
        &layout,
        slot_id(&layout, "B"),
        what,
    );
}

/// The first cut after which a slot is started that is not whole.
fn first_harm(steps: &[fn(&mut World)]) -> Option<u64> {
    // B comes first in the order: it ran before A was installed over the network.
    let start = || {
        world(
            &image(OLD),
            &image(OLDER),
            &BOTH_GOOD.replace("ORDER=A B", "ORDER=B A"),
        )
    };
    let whole = start();
    steps.iter().for_each(|step| step(&mut whole.clone()));
    (0..whole.operations()).find(|cut| {
        let mut world = start();
        world.cut_at(*cut);
        steps.iter().for_each(|step| step(&mut world));
        keeps(&world).any(|keep| {
            let found = world.power_on(keep);
            let name = grub_model::boot(&found).unwrap().name;
            !(holds(&found, &name, OLD) || holds(&found, &name, OLDER) || holds(&found, &name, NEW))
        })
    })
}
