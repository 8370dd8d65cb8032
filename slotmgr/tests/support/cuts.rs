//! Cutting the power: which states are tried after a cut, and how many there were.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use slotmgr::storage::sim::{Keep, World};
use slotmgr::storage::{Area, EnvCopy};

use super::{layout, slot_id};

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
