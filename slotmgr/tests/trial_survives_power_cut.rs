//! The power fails at every write of a trial, and of the old system that finds itself back: each
//! time something whole is started by the ordinary rules, and the trial comes to its end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use slotmgr::boot::{BootEnv, Standing, grub::Grub};
use slotmgr::config::LateFallback;
use slotmgr::health::window::Demand;
use slotmgr::health::{self, Examination, Examiner, Failure, Report, TrialEnd, Verdict};
use slotmgr::install::Machine;
use slotmgr::program::End;
use slotmgr::state::{Record, Traces, When};
use slotmgr::storage::sim::{Keep, World};
use support::{
    BOTH_GOOD, bundle, grub_model, image, install, layout, policy, running, slot_id, world,
};

/// Random subsets of what was not yet written, for each cut.
const RANDOM: u64 = 16;

/// A trial whose verdict is given.
struct Verdicts(Option<Failure>);

impl Examiner for Verdicts {
    fn examine(&mut self) -> Examination {
        let report = Report {
            name: "app".to_owned(),
            demand: Demand::Required,
            verdict: Verdict::Failed(End::ExitCode(3)),
            output: "no database".to_owned(),
        };
        Examination {
            reports: self.0.iter().map(|_| report.clone()).collect(),
            failed: self.0.clone(),
        }
    }
    fn traces(&mut self) -> Traces {
        Traces {
            journal: "its last words".to_owned(),
            ..Traces::default()
        }
    }
}

/// The bootloader starts a slot, and `slotmgr trial` runs there; `None` if the power went away.
fn boot_and_try(
    world: &World,
    boot_id: &str,
    verdict: Option<Failure>,
    late: LateFallback,
) -> Option<(String, TrialEnd)> {
    let started = grub_model::boot(world)?;
    assert!(
        started.by_order,
        "the bootloader was left with its last resort"
    );
    let layout = layout();
    let mut disks = world.clone();
    let mut record = Record::load(&mut disks);
    let running = running(&layout, &started.name);
    let booted = running.slot().unwrap();
    let mut machine = Machine {
        layout: &layout,
        booted: running,
        env: &Grub::new(&layout),
        disks: &mut disks,
        record: &mut record,
    };
    let when = When {
        boot_id,
        now: 2_000,
    };
    let end = health::trial(&mut machine, booted, when, late, &mut Verdicts(verdict)).ok()?;
    Some((started.name, end))
}

fn standing(world: &World, name: &str) -> Standing {
    let layout = layout();
    let state = Grub::new(&layout).read(&mut world.clone()).unwrap();
    state.standing(slot_id(&layout, name))
}

/// A machine with a new system in B that is about to be tried.
fn armed() -> World {
    let mut world = world(&image(1), &image(2), BOTH_GOOD);
    let bundle = bundle(&image(3), "3");
    let _armed = install(&mut world, "A", &bundle, &policy()).unwrap();
    world.power_on(Keep::None)
}

/// Cuts `step` at each of its operations, and hands each state that may be found to `check`.
fn cut_everywhere(start: &World, step: &dyn Fn(&World), check: &dyn Fn(&World)) {
    let whole = start.power_on(Keep::None);
    step(&whole);
    assert!(whole.operations() > 0, "nothing was written");
    for cut in 0..whole.operations() {
        let world = start.power_on(Keep::None);
        world.cut_at(cut);
        step(&world);
        assert!(world.is_off(), "operation {cut} was not reached");
        let prefixes = (1..world.unconfirmed()).map(Keep::Prefix);
        let random = (0..RANDOM).map(Keep::Random);
        for keep in [Keep::None, Keep::All]
            .into_iter()
            .chain(prefixes)
            .chain(random)
        {
            check(&world.power_on(keep));
        }
    }
}

#[test]
fn a_trial_that_is_good_ends_confirmed_also_where_the_old_system_is_marked_bad() {
    for late in [LateFallback::Allowed, LateFallback::Prevented] {
        let step = |world: &World| {
            let _ = boot_and_try(world, "boot-2", None, late);
        };
        cut_everywhere(&armed(), &step, &|found| {
            let (slot, _) = boot_and_try(found, "boot-3", None, late).unwrap();
            assert_eq!(slot, "B");
            assert_eq!(standing(found, "B"), Standing::Good);
        });
    }
}

#[test]
fn a_trial_that_fails_ends_in_the_old_system_which_knows_it() {
    let bad = || Some(Failure::TryAgain("check `app` failed".to_owned()));
    let give_up = || Some(Failure::GiveUp("check `app` gave up".to_owned()));
    for verdict in [bad, give_up] as [fn() -> Option<Failure>; 2] {
        let step = |world: &World| {
            let _ = boot_and_try(world, "boot-2", verdict(), LateFallback::Prevented);
        };
        cut_everywhere(&armed(), &step, &|found| {
            let boots = (3..10).map(|number| {
                let boot_id = format!("boot-{number}");
                boot_and_try(found, &boot_id, verdict(), LateFallback::Prevented)
                    .unwrap()
                    .0
            });
            let slots: Vec<String> = boots.collect();
            assert_eq!(slots.last().unwrap(), "A", "{slots:?}");
            assert_eq!(standing(found, "A"), Standing::Good);
            let record = Record::load(&mut found.clone());
            let fall = record.fell_back().expect("it knows that it fell back");
            assert_eq!(fall.traces.journal, "its last words");
            assert_eq!(record.falls(&fall.release.clone()), 1, "counted once");
        });
    }
}

#[test]
fn the_old_system_notes_its_return_whenever_the_power_fails_meanwhile() {
    let bad = || Some(Failure::GiveUp("no".to_owned()));
    let fallen = armed();
    let _ = boot_and_try(&fallen, "boot-2", bad(), LateFallback::Allowed).unwrap();
    let step = |world: &World| {
        let _ = boot_and_try(world, "boot-3", bad(), LateFallback::Allowed);
    };
    cut_everywhere(&fallen, &step, &|found| {
        let (slot, end) = boot_and_try(found, "boot-4", bad(), LateFallback::Allowed).unwrap();
        assert!(slot == "A" && matches!(end, TrialEnd::NotOnTrial { .. }));
        let record = Record::load(&mut found.clone());
        let release = record.fell_back().unwrap().release.clone();
        assert_eq!(record.falls(&release), 1);
    });
}
