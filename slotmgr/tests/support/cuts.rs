//! Cutting the power: which states are tried after a cut, and how many there were.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use slotmgr::boot::BootEnv;
use slotmgr::storage::sim::{Keep, World};
use slotmgr::storage::{Area, EnvCopy};

use super::{image, layout, slot_id};

/// Random subsets that are tried for each cut.
const RANDOM: u64 = 48;

/// What was tried, for the report at the end of a test.
#[derive(Default)]
pub struct Tried {
    pub cuts: u64,
    pub states: u64,
    pub recoveries: u64,
}

impl Tried {
    fn add(&mut self, more: &Tried) {
        self.cuts += more.cuts;
        self.states += more.states;
        self.recoveries += more.recoveries;
    }

    /// Prints it; nothing tried is a failure.
    pub fn report(&self, what: &str) {
        let recoveries = match self.recoveries {
            0 => String::new(),
            count => format!(", {count} recoveries run to their end"),
        };
        println!(
            "power-cut machine: {what}: {} cut points, {} states after a cut{recoveries}",
            self.cuts, self.states
        );
        assert!(
            self.cuts > 0 && self.states > self.cuts,
            "nothing was tried"
        );
    }
}

/// Every way in which the unconfirmed sectors of `world` may have ended up.
pub fn keeps(world: &World) -> impl Iterator<Item = Keep> + use<> {
    let sectors = world.unconfirmed();
    [Keep::None, Keep::All]
        .into_iter()
        .chain((1..sectors).map(Keep::Prefix))
        .chain((0..if sectors > 1 { RANDOM } else { 0 }).map(Keep::Random))
}

/// The same for disks with the same content: a recovery that was tried once need not be tried again.
pub fn fingerprint(world: &World) -> u64 {
    let layout = layout();
    let slots = ["A", "B"].map(|name| Area::Slot(slot_id(&layout, name)));
    let copies = [EnvCopy::First, EnvCopy::Second, EnvCopy::Counter].map(Area::BootEnv);
    let mut hasher = DefaultHasher::new();
    for area in slots.into_iter().chain(copies) {
        world.current(area).hash(&mut hasher);
    }
    hasher.finish()
}

/// Cuts `work` at every operation. `check` gets each world that may be found afterwards, with the
/// number of the cut and what was kept.
pub fn cut_everywhere(
    start: &dyn Fn() -> World,
    work: &dyn Fn(&World),
    tried: &mut Tried,
    check: &mut dyn FnMut(&World, (u64, Keep)),
) {
    let whole = start();
    work(&whole);
    for cut in 0..whole.operations() {
        let world = start();
        world.cut_at(cut);
        work(&world);
        assert!(world.is_off(), "operation {cut} was not reached");
        tried.cuts += 1;
        for keep in keeps(&world) {
            tried.states += 1;
            check(&world.power_on(keep), (cut, keep));
        }
    }
}

/// The same, and after each cut `again`, the next run, is cut at every operation of its own. What was
/// found twice is recovered from once.
pub fn cut_twice(
    start: &dyn Fn() -> World,
    work: &dyn Fn(&World),
    again: &dyn Fn(&World),
    tried: &mut Tried,
    check: &mut dyn FnMut(&World),
) {
    let (mut second, mut seen) = (Tried::default(), HashSet::new());
    cut_everywhere(start, work, tried, &mut |found, _| {
        let begin = || found.power_on(Keep::None);
        check(&begin());
        if seen.insert(fingerprint(found)) {
            second.recoveries += 1;
            cut_everywhere(&begin, again, &mut second, &mut |found, _| check(found));
        }
    });
    tried.add(&second);
}

/// A bootloader whose memory is a program's, which changes it as a whole. It starts A, which is good.
pub struct ByProgram {
    pub env: Box<dyn BootEnv>,
    /// What it starts next, as the program's own memory has it.
    pub next: Box<dyn Fn() -> String>,
}

/// Cuts an installation from A into B at every operation on the disks, with a new bootloader for each
/// cut, and lets the next one finish.
pub fn cut_installation_by(make: &dyn Fn() -> ByProgram) -> Tried {
    let bundle = super::bundle(&image(3), "3");
    let start = || super::world(&image(1), &image(2), "");
    let install = |by: &ByProgram, world: &World| {
        let what = (&bundle, &super::policy());
        super::install_by(by.env.as_ref(), &mut world.clone(), "A", what).is_ok()
    };
    let whole = start();
    assert!(install(&make(), &whole));
    let mut tried = Tried::default();
    for cut in 0..whole.operations() {
        let (by, world) = (make(), start());
        world.cut_at(cut);
        install(&by, &world);
        tried.cuts += 1;
        let next = (by.next)();
        let wanted = image(if next == "A" { 1 } else { 3 });
        let slot = Area::Slot(slot_id(&layout(), &next));
        for keep in keeps(&world) {
            tried.states += 1;
            assert!(world.power_on(keep).holds(slot, &wanted), "{next} is whole");
        }
        if next == "A" {
            tried.recoveries += 1;
            let found = world.power_on(Keep::Random(cut));
            assert!(install(&by, &found), "the next run finishes");
            assert_eq!((by.next)(), "B");
            assert!(found.holds(Area::Slot(slot_id(&layout(), "B")), &image(3)));
        }
    }
    tried
}
