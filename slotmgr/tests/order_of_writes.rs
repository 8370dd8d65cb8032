//! The order of writes and barriers is a contract: one golden list per verb.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use slotmgr::boot::{self, grub::Grub};
use slotmgr::config::LateFallback;
use slotmgr::health::{self, Examination, Examiner, TrialEnd};
use slotmgr::install::Machine;
use slotmgr::state::{Record, Traces, When};
use slotmgr::storage::Area;
use slotmgr::storage::record::RecordingDisks;
use slotmgr::storage::sim::World;
use support::{
    BOTH_GOOD, FACTORY, bundle, image, install, layout, policy, running, slot_id, world,
};

/// Everything that `work` does to the disks.
fn recorded(world: &World, work: impl FnOnce(&mut RecordingDisks<'_>)) -> String {
    let mut world = world.clone();
    let mut disks = RecordingDisks::new(&mut world);
    let log = disks.log();
    work(&mut disks);
    log.render()
}

#[test]
fn install_over_an_older_release() {
    let bundle = bundle(&image(3), "3");
    let world = world(&image(1), &image(2), BOTH_GOOD);
    let list = recorded(&world, |disks| {
        let _armed = install(disks, "A", &bundle, &policy()).unwrap();
    });
    insta::assert_snapshot!(list, @r"
    write     record.0 @0 +799
    sync      record.0
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    write     slot#1 @0 +50000
    sync      slot#1
    read-back slot#1
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    write     record.1 @0 +1016
    sync      record.1
    ");
}

#[test]
fn install_two_images() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = "[update]\ncompatible=board\nversion=3\n[bundle]\nformat=verity\n\
                    [image.app]\nfilename=app.img\n[image.rootfs]\nfilename=root.img\n";
    let (root, app) = (image(3), image(4));
    let files: [(&str, &[u8]); 2] = [("app.img", &app), ("root.img", &root)];
    let (path, keyring) = support::bundle_with(dir.path(), manifest, &files);
    let bundle = support::verified(&path, &keyring);
    let layout = support::family();
    let world = world(&image(1), &image(2), BOTH_GOOD);
    for name in ["app.0", "app.1"] {
        world.add(Area::Slot(slot_id(&layout, name)), vec![0; support::SLOT]);
    }
    let list = recorded(&world, |disks| {
        let _installed = support::install_into(&layout, disks, "A", &bundle, &policy()).unwrap();
    });
    insta::assert_snapshot!(list, @r"
    write     record.0 @0 +1185
    sync      record.0
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    write     slot#3 @0 +50000
    write     slot#1 @0 +50000
    sync      slot#3
    sync      slot#1
    read-back slot#3
    read-back slot#1
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    write     record.1 @0 +1397
    sync      record.1
    ");
}

#[test]
fn confirm() {
    let world = world(
        &image(1),
        &image(3),
        &FACTORY.replace("B_OK=0", "B_OK=1,B_LEFT=1"),
    );
    let list = recorded(&world, |disks| trial(disks, "B", 1));
    insta::assert_snapshot!(list, @r"
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    write     record.0 @0 +174
    sync      record.0
    ");
}

#[test]
fn nothing_at_all_on_an_ordinary_start() {
    let world = world(&image(1), &image(3), BOTH_GOOD);
    assert_eq!(recorded(&world, |disks| trial(disks, "A", 0)), "");
}

#[test]
fn mark_bad_and_again() {
    let world = world(&image(1), &image(2), BOTH_GOOD);
    let layout = layout();
    let mark = || {
        recorded(&world, |disks| {
            let what = (boot::Mark::Bad, policy().tries);
            boot::mark(
                &Grub::new(&layout),
                disks,
                &layout,
                slot_id(&layout, "B"),
                what,
            )
            .unwrap();
        })
    };
    insta::assert_snapshot!(mark(), @r"
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    ");
    assert_eq!(mark(), "", "equal content writes nothing");
}

struct NoChecks;

impl Examiner for NoChecks {
    fn examine(&mut self) -> Examination {
        Examination::default()
    }
    fn traces(&mut self) -> Traces {
        Traces::default()
    }
}

/// Runs a trial without checks; `confirmed` is 1 if it must confirm, 0 if there is none.
fn trial(disks: &mut RecordingDisks<'_>, slot: &str, confirmed: usize) {
    let layout = layout();
    let env = Grub::new(&layout);
    let mut record = Record::load(disks);
    let running = running(&layout, slot);
    let booted = running.slot().unwrap();
    let mut machine = Machine {
        layout: &layout,
        booted: running,
        env: &env,
        disks,
        record: &mut record,
    };
    let when = When {
        boot_id: "boot",
        now: 2_000,
    };
    let end = health::trial(
        &mut machine,
        booted,
        when,
        LateFallback::Allowed,
        &mut NoChecks,
    )
    .unwrap();
    assert_eq!(
        usize::from(matches!(end, TrialEnd::Confirmed { .. })),
        confirmed
    );
}
