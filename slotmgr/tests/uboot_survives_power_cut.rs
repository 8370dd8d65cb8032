//! With U-Boot's environment the power fails at every operation too: every reader of it finds the old
//! or the new variables, and the old or the new system starts, whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use bundle_format::VerifiedBundle;
use slotmgr::boot::{self, BootEnv, BootError, Mark, Standing, Tries, uboot::UBoot};
use slotmgr::state::RECORD_SIZE;
use slotmgr::storage::record::RecordingDisks;
use slotmgr::storage::sim::{Keep, World};
use slotmgr::storage::{Area, Disks, EnvCopy, RecordCopy, SECTOR};
use support::cuts::{Tried, fingerprint, keeps};
use support::uboot_model::{self as model, render, text};
use support::{SLOT, WRITE, image, install_by, layout, policy, slot_id};
use uboot_env::select::FlagScheme;

const OLD: u8 = 1;
const OLDER: u8 = 2;
const NEW: u8 = 3;

/// Bytes of each of two copies: four sectors, so that all subsets of them can be tried.
const COPY: usize = 4 * SECTOR;

const FACTORY: &str = "BOOT_ORDER=A B,BOOT_A_LEFT=3,BOOT_A_GOOD=1,BOOT_B_LEFT=0";
const BOTH_GOOD: &str = "BOOT_ORDER=A B,BOOT_A_LEFT=3,BOOT_A_GOOD=1,BOOT_B_LEFT=3,BOOT_B_GOOD=1";
const TRIAL: &str = "BOOT_ORDER=B A,BOOT_A_LEFT=3,BOOT_A_GOOD=1,BOOT_B_LEFT=1";
const SPENT: &str = "BOOT_ORDER=B A,BOOT_A_LEFT=3,BOOT_A_GOOD=1,BOOT_B_LEFT=0";
/// As RAUC and its script leave it.
const OF_RAUC: &str = "BOOT_ORDER=A B,BOOT_A_LEFT=3,BOOT_B_LEFT=2";

/// Where the environment is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// Two copies, whose flags begin with these.
    Two(u8, u8),
    /// The same on NOR flash: 1 counts, 0 does not. With (1, 1) U-Boot takes the first.
    Nor(u8, u8),
    /// One copy of one sector.
    Sector,
}

impl Keeping {
    fn backend(self) -> UBoot {
        let lines = match self {
            Keeping::Two(..) | Keeping::Nor(..) => "/dev/x 0x0 0x800\n/dev/x 0x800 0x800\n",
            Keeping::Sector => "/dev/x 0x200 0x200\n",
        };
        let config = uboot_env::config::parse("test", lines.as_bytes())
            .unwrap()
            .remove(0);
        let scheme = match self {
            Keeping::Nor(..) => FlagScheme::Boolean,
            _ => FlagScheme::Incremental,
        };
        UBoot::new(&layout(), &config, Tries::DEFAULT).with_scheme(scheme)
    }

    /// A world with nothing but the environment.
    fn world(self, variables: &str) -> World {
        // Something that fills several sectors, so that old and new can be mixed.
        let filler = |len| format!("{variables},filler={}", "x".repeat(len));
        let world = World::new();
        let add = |copy, bytes| world.add(Area::BootEnv(copy), bytes);
        match self {
            Keeping::Sector => {
                add(EnvCopy::First, render(&vars(&filler(40)), None, SECTOR));
            }
            Keeping::Two(first, second) | Keeping::Nor(first, second) => {
                let newer = model::uboot_picks(first, second);
                for (number, copy) in [EnvCopy::First, EnvCopy::Second].into_iter().enumerate() {
                    let flags = [first, second][number];
                    let mut text = vars(&filler(1500));
                    if number != newer {
                        text.insert("stale".to_owned(), "1".to_owned());
                    }
                    add(copy, render(&text, Some(flags), COPY));
                }
            }
        }
        world
    }

    /// The same with slots and our own record.
    fn machine(self, variables: &str, a: &[u8], b: &[u8]) -> World {
        let world = self.world(variables);
        let layout = layout();
        for (name, content) in [("A", a), ("B", b)] {
            let mut bytes = content.to_vec();
            bytes.resize(SLOT, 0xee);
            world.add(Area::Slot(slot_id(&layout, name)), bytes);
        }
        for copy in [RecordCopy::First, RecordCopy::Second] {
            world.add(Area::Record(copy), vec![0; RECORD_SIZE]);
        }
        world
    }
}

fn vars(list: &str) -> model::Variables {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Every subset of the unconfirmed sectors, if they are few.
fn subsets(world: &World) -> Vec<Keep> {
    match world.unconfirmed() {
        sectors @ 0..=4 => (0..1_u64 << sectors).map(Keep::Subset).collect(),
        _ => keeps(world).collect(),
    }
}

/// A verb that changes the environment.
type Verb = fn(&UBoot, &mut World) -> Result<(), BootError>;

fn mark(env: &UBoot, world: &mut World, slot: &str, what: Mark) -> Result<(), BootError> {
    let layout = layout();
    let tries = Tries::new(2).unwrap();
    boot::mark(env, world, &layout, slot_id(&layout, slot), (what, tries))
}

/// Condemn, arm and confirm are changes of the same kinds; the whole installation is cut below.
const VERBS: [(&str, Verb); 8] = [
    ("A bad", |env, world| mark(env, world, "A", Mark::Bad)),
    ("B bad", |env, world| mark(env, world, "B", Mark::Bad)),
    ("A good", |env, world| mark(env, world, "A", Mark::Good)),
    ("B good", |env, world| mark(env, world, "B", Mark::Good)),
    ("A active", |env, world| mark(env, world, "A", Mark::Active)),
    ("B active", |env, world| mark(env, world, "B", Mark::Active)),
    ("confirm B", |env, world| {
        boot::confirm(env, world, support::booted(&layout(), "B"))
    }),
    ("confirm B alone", |env, world| {
        boot::confirm_alone(env, world, support::booted(&layout(), "B"))
    }),
];

/// What one verb may leave.
struct Allowed {
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Allowed {
    fn check(&self, found: &World, context: &dyn std::fmt::Debug) {
        let now = text(found).unwrap_or_else(|| panic!("{context:?}: no valid copy is left"));
        assert!(
            now == self.old || now == self.new,
            "{context:?}: neither the old nor the new variables"
        );
    }
}

/// Cuts `verb` at each operation, then each recovery at each operation.
fn cut_verb(keeping: Keeping, variables: &str, (name, verb): (&str, Verb), tried: &mut Tried) {
    let env = keeping.backend();
    let start = keeping.world(variables);
    let whole = start.power_on(Keep::None);
    verb(&env, &mut whole.clone()).unwrap();
    let allowed = Allowed {
        old: text(&start).unwrap(),
        new: text(&whole).unwrap(),
    };
    let context = (keeping, variables, name);
    cut(&start, (&env, verb), tried, &mut |found, tried| {
        allowed.check(found, &context);
        tried.recoveries += 1;
        cut(found, (&env, verb), tried, &mut |again, _| {
            allowed.check(again, &context);
        });
        let mut last = found.power_on(Keep::None);
        verb(&env, &mut last).unwrap();
        assert_eq!(
            text(&last).unwrap(),
            allowed.new,
            "{context:?}: the next run finishes"
        );
    });
}

/// All states after all cuts of one run of `verb`.
fn cut(
    start: &World,
    (env, verb): (&UBoot, Verb),
    tried: &mut Tried,
    look: &mut dyn FnMut(&World, &mut Tried),
) {
    for operation in 0.. {
        let mut world = start.power_on(Keep::None);
        world.cut_at(operation);
        if verb(env, &mut world).is_ok() {
            assert!(!world.is_off());
            return;
        }
        tried.cuts += 1;
        for keep in subsets(&world) {
            tried.states += 1;
            look(&world.power_on(keep), tried);
        }
    }
}

/// Flags bytes as a writer leaves them, many of them, and all around the step over the end.
fn flag_pairs() -> impl Iterator<Item = (u8, u8)> {
    let some = |flags: &u8| flags.is_multiple_of(2) || *flags > 250;
    (0..=255_u8).filter(some).flat_map(|flags| {
        let next = flags.wrapping_add(1);
        [(flags, next), (next, flags)]
    })
}

#[test]
fn every_verb_cut_everywhere_and_again_in_the_recovery() {
    let mut tried = Tried::default();
    let states = [FACTORY, BOTH_GOOD, TRIAL, SPENT, OF_RAUC];
    for (number, (first, second)) in flag_pairs().enumerate() {
        // Each pair with one list of variables, and each list with many pairs.
        let variables = states[number % states.len()];
        for verb in VERBS {
            cut_verb(Keeping::Two(first, second), variables, verb, &mut tried);
        }
    }
    for variables in states {
        for verb in VERBS {
            cut_verb(Keeping::Sector, variables, verb, &mut tried);
            for (first, second) in [(1, 0), (0, 1), (1, 1)] {
                cut_verb(Keeping::Nor(first, second), variables, verb, &mut tried);
            }
        }
    }
    tried.report("marks and confirmation in U-Boot's environment");
    assert!(tried.states > 1_000_000, "{} states", tried.states);
}

/// What U-Boot itself writes when it counts: one write, no flush, perhaps torn.
#[test]
fn a_cut_while_uboot_counts_a_try() {
    let mut tried = Tried::default();
    for keeping in [Keeping::Two(1, 2), Keeping::Two(255, 0), Keeping::Sector] {
        let armed = keeping.world(&TRIAL.replace("B_LEFT=1", "B_LEFT=2"));
        let world = armed.power_on(Keep::None);
        world.cut_at(0);
        assert_eq!(model::boot(&world), None);
        tried.cuts += 1;
        for keep in subsets(&world) {
            let found = world.power_on(keep);
            tried.states += 1;
            let next = model::boot(&found).unwrap();
            assert!(next.by_order && next.name == "B", "{next:?}");
            boot::confirm(
                &keeping.backend(),
                &mut found.clone(),
                support::booted(&layout(), "B"),
            )
            .unwrap();
            assert_eq!(standing(keeping, &found, "B"), Standing::Good);
        }
    }
    tried.report("U-Boot counts a try");
}

fn standing(keeping: Keeping, world: &World, name: &str) -> Standing {
    let state = keeping.backend().read(&mut world.clone()).unwrap();
    state.standing(slot_id(&layout(), name))
}

fn holds(world: &World, name: &str, seed: u8) -> bool {
    world.holds(Area::Slot(slot_id(&layout(), name)), &image(seed))
}

fn new_bundle() -> &'static VerifiedBundle<Arc<Vec<u8>>> {
    static BUNDLE: OnceLock<VerifiedBundle<Arc<Vec<u8>>>> = OnceLock::new();
    BUNDLE.get_or_init(|| support::bundle(&image(NEW), "3"))
}

fn install(keeping: Keeping, world: &mut World) -> bool {
    install_by(&keeping.backend(), world, "A", (new_bundle(), &policy())).is_ok()
}

/// After a cut in an installation from A into B: the old system in A, whole, or the new in B.
fn check_after_cut(keeping: Keeping, found: &World, tried: &mut Tried, seen: &mut HashSet<u64>) {
    let new = seen.insert(fingerprint(found));
    tried.recoveries += u64::from(new);
    let boot = model::boot(found).expect("the power stays on");
    assert!(boot.by_order, "left with the last resort: {boot:?}");
    match boot.name.as_str() {
        "A" => {
            assert!(holds(found, "A", OLD), "the running slot was touched");
            if !new {
                return;
            }
            let mut next = found.power_on(Keep::None);
            assert!(
                install(keeping, &mut next),
                "the next installation finishes"
            );
            assert_eq!(model::boot(&next).unwrap().name, "B");
            assert!(holds(&next, "B", NEW));
        }
        _ => {
            assert!(holds(found, "B", NEW), "B is started, and it is not whole");
            assert!(matches!(
                standing(keeping, found, "B"),
                Standing::Trial { .. }
            ));
        }
    }
}

fn cut_installation(keeping: Keeping, start: &World, tried: &mut Tried) {
    let whole = start.power_on(Keep::None);
    assert!(install(keeping, &mut whole.clone()));
    let mut seen = HashSet::new();
    for operation in 0..whole.operations() {
        let mut world = start.power_on(Keep::None);
        world.cut_at(operation);
        install(keeping, &mut world);
        assert!(world.is_off(), "operation {operation} was not reached");
        tried.cuts += 1;
        for keep in subsets(&world) {
            tried.states += 1;
            check_after_cut(keeping, &world.power_on(keep), tried, &mut seen);
        }
    }
}

#[test]
fn a_whole_installation_and_a_second_cut_in_its_recovery() {
    for keeping in [Keeping::Two(255, 0), Keeping::Sector] {
        let mut tried = Tried::default();
        for (variables, older) in [(FACTORY, &[][..]), (BOTH_GOOD, &image(OLDER))] {
            let start = keeping.machine(variables, &image(OLD), older);
            cut_installation(keeping, &start, &mut tried);
            let whole = start.power_on(Keep::None);
            assert!(install(keeping, &mut whole.clone()));
            for first in (0..whole.operations()).step_by(3) {
                let mut world = start.power_on(Keep::None);
                world.cut_at(first);
                install(keeping, &mut world);
                let found = world.power_on(Keep::Random(first));
                if model::boot(&found).unwrap().name == "A" {
                    cut_installation(keeping, &found, &mut tried);
                }
            }
        }
        tried.report(&format!("installation with U-Boot, {keeping:?}"));
    }
}

#[test]
fn a_system_that_never_confirms_gives_way_to_the_old_one() {
    for keeping in [Keeping::Two(1, 2), Keeping::Sector] {
        let mut world = keeping.machine(FACTORY, &image(OLD), &[]);
        assert!(install(keeping, &mut world));
        let started: Vec<String> = (0..5).map(|_| model::boot(&world).unwrap().name).collect();
        assert_eq!(started, ["B", "B", "A", "A", "A"]);
        assert_eq!(standing(keeping, &world, "B"), Standing::Trial { left: 0 });
    }
}

/// Writes that other tools do, or that would be easy to write: the machine must find each of them.
#[test]
fn careless_writers_are_found() {
    /// Writes new variables in a careless way.
    type Writer = fn(&mut World, &model::Variables);
    fn put(world: &mut World, copy: EnvCopy, image: &[u8]) {
        if let Ok(mut disk) = world.open(Area::BootEnv(copy)) {
            let _ = disk.write_at(image, 0);
        }
    }
    fn sync(world: &mut World) {
        for copy in [EnvCopy::First, EnvCopy::Second] {
            if let Ok(mut disk) = world.open(Area::BootEnv(copy)) {
                let _ = disk.sync();
            }
        }
    }
    let both_at_once: Writer = |world, new| {
        put(world, EnvCopy::First, &render(new, Some(3), COPY));
        put(world, EnvCopy::Second, &render(new, Some(4), COPY));
        sync(world);
    };
    let the_current_one: Writer = |world, new| {
        put(world, EnvCopy::Second, &render(new, Some(3), COPY));
        sync(world);
        put(world, EnvCopy::First, &render(new, Some(2), COPY));
        sync(world);
    };
    let without_counting: Writer = |world, new| {
        put(world, EnvCopy::First, &render(new, Some(1), COPY));
        sync(world);
    };
    let careful: Writer = |world, new| {
        put(world, EnvCopy::First, &render(new, Some(3), COPY));
        sync(world);
    };
    let harm = |writer: Writer| {
        let start = Keeping::Two(1, 2).world(TRIAL);
        let old = text(&start).unwrap();
        let mut wanted = model::variables(&old);
        wanted.insert("BOOT_ORDER".to_owned(), "A".to_owned());
        let whole = start.power_on(Keep::None);
        writer(&mut whole.clone(), &wanted);
        let new = text(&whole).unwrap();
        // Done, synced, and the readers find the old one: as harmful as a torn one.
        model::variables(&new) != wanted
            || (0..whole.operations()).any(|cut| {
                let mut world = start.power_on(Keep::None);
                world.cut_at(cut);
                writer(&mut world, &wanted);
                keeps(&world).any(|keep| {
                    text(&world.power_on(keep)).is_none_or(|now| now != old && now != new)
                })
            })
    };
    assert!(!harm(careful));
    for (number, writer) in [both_at_once, the_current_one, without_counting]
        .into_iter()
        .enumerate()
    {
        // The second keeps a valid first copy, but that one is a stale one.
        assert!(harm(writer), "careless writer {number} was not found");
    }
}

/// The order of the steps matters with U-Boot as with any bootloader.
#[test]
fn careless_orders_are_found() {
    type Step = fn(&mut World);
    const KEEPING: Keeping = Keeping::Two(1, 2);
    let condemn: Step = |world| drop(mark(&KEEPING.backend(), world, "B", Mark::Bad));
    let arm: Step = |world| drop(mark(&KEEPING.backend(), world, "B", Mark::Active));
    let write: Step = |world| {
        if let Ok(mut disk) = world.open(Area::Slot(slot_id(&layout(), "B"))) {
            let new = image(NEW);
            let mut pieces = (0..).zip(new.chunks(WRITE));
            let written = pieces.try_for_each(|(n, piece)| disk.write_at(piece, n * WRITE as u64));
            let _ = written.and_then(|()| disk.sync());
        }
    };
    let careless: [&[Step]; 2] = [&[arm, write], &[write, arm]];
    let harm = |steps: &[Step]| {
        let start = KEEPING.machine(&BOTH_GOOD.replace("A B", "B A"), &image(OLD), &image(OLDER));
        let whole = start.power_on(Keep::None);
        steps.iter().for_each(|step| step(&mut whole.clone()));
        (0..whole.operations()).any(|cut| {
            let mut world = start.power_on(Keep::None);
            world.cut_at(cut);
            steps.iter().for_each(|step| step(&mut world));
            keeps(&world).any(|keep| {
                let found = world.power_on(keep);
                let name = model::boot(&found).unwrap().name;
                ![OLD, OLDER, NEW]
                    .iter()
                    .any(|seed| holds(&found, &name, *seed))
            })
        })
    };
    assert!(!harm(&[condemn, write, arm]));
    for (number, steps) in careless.into_iter().enumerate() {
        assert!(harm(steps), "order {number} was not found");
    }
}

/// What each verb does to the disks: the copy that does not count is written, synced and read back,
/// and nothing else.
#[test]
fn the_order_of_writes_is_a_contract() {
    let mut lists = String::new();
    for keeping in [Keeping::Two(7, 6), Keeping::Sector] {
        let env = keeping.backend();
        let layout = layout();
        let world = keeping.machine(BOTH_GOOD, &image(OLD), &image(OLDER));
        let mut list = |what: &str, verb: &dyn Fn(&mut RecordingDisks<'_>)| {
            let mut world = world.clone();
            let mut disks = RecordingDisks::new(&mut world);
            let log = disks.log();
            verb(&mut disks);
            lists.push_str(&format!("{keeping:?}, {what}\n{}", log.render()));
        };
        list("install", &|disks| {
            let what = (new_bundle(), &policy());
            let _armed = install_by(&env, disks, "A", what).unwrap();
        });
        list("confirm", &|disks| {
            boot::confirm(&env, disks, support::booted(&layout, "B")).unwrap();
        });
        for what in [Mark::Bad, Mark::Bad, Mark::Active] {
            list(&format!("{what:?} B"), &|disks| {
                let with = (what, Tries::new(2).unwrap());
                boot::mark(&env, disks, &layout, slot_id(&layout, "B"), with).unwrap();
            });
        }
    }
    insta::assert_snapshot!(lists, @r"
    Two(7, 6), install
    write     record.0 @0 +799
    sync      record.0
    write     boot-env.1 @0 +2048
    sync      boot-env.1
    read-back boot-env.1
    write     slot#1 @0 +50000
    sync      slot#1
    read-back slot#1
    write     boot-env @0 +2048
    sync      boot-env
    read-back boot-env
    write     record.1 @0 +1016
    sync      record.1
    Two(7, 6), confirm
    write     boot-env.1 @0 +2048
    sync      boot-env.1
    read-back boot-env.1
    Two(7, 6), Bad B
    write     boot-env @0 +2048
    sync      boot-env
    read-back boot-env
    Two(7, 6), Bad B
    Two(7, 6), Active B
    write     boot-env.1 @0 +2048
    sync      boot-env.1
    read-back boot-env.1
    Sector, install
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
    Sector, confirm
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    Sector, Bad B
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    Sector, Bad B
    Sector, Active B
    write     boot-env @0 +512
    sync      boot-env
    read-back boot-env
    ");
}
