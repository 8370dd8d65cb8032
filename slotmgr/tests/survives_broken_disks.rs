//! Slots that break in the middle: the running system stays, and the next installation works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slotmgr::storage::Area;
use slotmgr::storage::sim::World;
use support::faults::{Break, BreakingDisks};
use support::{BOTH_GOOD, bundle, grub_model, image, install, layout, policy, slot_id, world};

fn start() -> World {
    world(&image(1), &image(2), BOTH_GOOD)
}

fn breaking(world: &mut World, how: Break, at: u64) -> (BreakingDisks<'_>, Arc<AtomicU64>) {
    let seen = Arc::new(AtomicU64::new(0));
    (
        BreakingDisks {
            inner: world,
            how,
            at,
            seen: Arc::clone(&seen),
        },
        seen,
    )
}

#[test]
fn at_every_operation() {
    let new = bundle(&image(3), "3");
    let mut whole = start();
    let (mut disks, seen) = breaking(&mut whole, Break::Io, u64::MAX);
    let _installed = install(&mut disks, "A", &new, &policy()).unwrap();
    let operations = seen.load(Ordering::Relaxed);
    assert!(operations > 20, "{operations}");
    for how in [Break::Io, Break::Gone, Break::Full, Break::Forgets] {
        let mut failures = 0;
        for at in 0..operations {
            let mut world = start();
            let (mut disks, _) = breaking(&mut world, how, at);
            let installed = install(&mut disks, "A", &new, &policy());
            let boot = grub_model::boot(&world).unwrap();
            match installed {
                Ok(_) => {
                    assert_eq!(boot.name, "B", "{how:?} {at}");
                    assert!(
                        world.holds(Area::Slot(slot_id(&layout(), "B")), &image(3)),
                        "{how:?} {at}"
                    );
                }
                Err(error) => {
                    failures += 1;
                    assert_eq!(boot.name, "A", "{how:?} {at}: {error}");
                    assert!(
                        error.to_string().contains("rootfs.1"),
                        "it names the slot: {error}"
                    );
                    assert!(
                        error.source().is_some() || how == Break::Forgets,
                        "it says why: {error}"
                    );
                }
            }
            assert!(world.holds(Area::Slot(slot_id(&layout(), "A")), &image(1)));
            // A is confirmed by now; a new disk of the same content is put in.
            if boot.name == "A" {
                let _installed =
                    install(&mut world, "A", &new, &policy()).expect("the next one works");
                assert_eq!(grub_model::boot(&world).unwrap().name, "B");
            }
        }
        assert!(failures > 0, "{how:?} was never noticed");
    }
}
