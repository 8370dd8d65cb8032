use super::*;
use crate::slot::{Access, Slot, SlotKind, SlotName, SlotOptions};
use crate::storage::sim::{Keep, World};
use uboot_env::codec::Image;

const SIZE: u64 = 0x1000;
const FACTORY: &str = "BOOT_ORDER=A B,BOOT_A_LEFT=3,BOOT_A_GOOD=1,BOOT_B_LEFT=0";

fn backend(config: &str) -> UBoot {
    let slot = |index: usize, boot: &str| Slot {
        name: SlotName::parse(&format!("rootfs.{index}")).unwrap(),
        device: format!("/dev/{boot}").into(),
        kind: SlotKind::Raw,
        boot_name: Some(BootName::parse(boot).unwrap()),
        parent: None,
        access: Access::Writable,
        options: SlotOptions::default(),
    };
    let layout = Layout::new(vec![slot(0, "A"), slot(1, "B")]).unwrap();
    let mut found = uboot_env::config::parse("test", config.as_bytes()).unwrap();
    UBoot::new(&layout, &found.remove(0), Tries::DEFAULT)
}

fn redundant() -> UBoot {
    backend("/dev/x 0x0 0x1000\n/dev/x 0x1000 0x1000\n")
}

fn image(variables: &str, flags: Option<u8>, size: u64) -> Vec<u8> {
    let mut env = Env::new();
    for (name, value) in variables.split(',').filter_map(|v| v.split_once('=')) {
        set(&mut env, name, Some(value)).unwrap();
    }
    Image::render(&env, flags, size, Endian::native()).unwrap()
}

fn world(variables: &str) -> World {
    let world = World::new();
    world.add(
        Area::BootEnv(EnvCopy::First),
        image(variables, Some(7), SIZE),
    );
    world.add(Area::BootEnv(EnvCopy::Second), vec![0xff; 0x1000]);
    world
}

fn variables(world: &World) -> String {
    let backend = redundant();
    let mut copies = backend.open(&mut world.clone());
    let snapshot = backend.load(&mut copies).unwrap();
    let entries = snapshot.env().unwrap().entries();
    let text: Vec<_> = entries
        .map(|e| String::from_utf8_lossy(e).into_owned())
        .collect();
    text.join(",")
}

fn change(slot: usize, kind: ChangeKind) -> BootChange {
    let slot = SlotId::for_test(slot);
    BootChange { slot, kind }
}

fn apply(world: &World, slot: usize, kind: ChangeKind) -> Result<(), BootError> {
    redundant().apply(&mut world.clone(), change(slot, kind))
}

#[test]
fn the_life_of_an_update_in_variables() {
    let world = world(FACTORY);
    apply(&world, 1, ChangeKind::Bad).unwrap();
    assert_eq!(
        variables(&world),
        "BOOT_A_GOOD=1,BOOT_A_LEFT=3,BOOT_B_LEFT=0,BOOT_ORDER=A"
    );
    assert_eq!(world.operations(), 2, "one write, one sync");
    apply(&world, 1, ChangeKind::Bad).unwrap();
    assert_eq!(world.operations(), 2, "equal content writes nothing");
    apply(&world, 1, ChangeKind::Next(Tries::new(2).unwrap())).unwrap();
    assert_eq!(
        variables(&world),
        "BOOT_A_GOOD=1,BOOT_A_LEFT=3,BOOT_B_LEFT=2,BOOT_ORDER=B A"
    );
    apply(&world, 1, ChangeKind::Good).unwrap();
    let good = "BOOT_A_GOOD=1,BOOT_A_LEFT=3,BOOT_B_GOOD=1,BOOT_B_LEFT=3,BOOT_ORDER=B A";
    assert_eq!(variables(&world), good);
    assert_eq!(world.operations(), 6);
    apply(&world, 0, ChangeKind::Bad).unwrap();
    apply(&world, 1, ChangeKind::Bad).unwrap();
    assert_eq!(
        variables(&world),
        "BOOT_A_LEFT=0,BOOT_B_LEFT=0,BOOT_ORDER=B"
    );
}

#[test]
fn what_the_bootloader_makes_of_it() {
    let table = [
        ("BOOT_ORDER=A B,BOOT_A_LEFT=3,BOOT_A_GOOD=1", "good"),
        (
            "BOOT_ORDER=A B,BOOT_A_LEFT=2,BOOT_A_GOOD=1",
            "on trial, 2 further tries",
        ),
        ("BOOT_ORDER=A B,BOOT_A_LEFT=3", "on trial, 3 further tries"),
        ("BOOT_ORDER=A B,BOOT_A_LEFT=a", "on trial, 10 further tries"),
        ("BOOT_ORDER=A B,BOOT_A_LEFT=0", "on trial, no further try"),
        (
            "BOOT_ORDER=A B,BOOT_A_LEFT=0x3,BOOT_A_GOOD=1",
            "on trial, no further try",
        ),
        ("BOOT_ORDER=A B", "on trial, no further try"),
        ("BOOT_ORDER=B,BOOT_A_LEFT=3,BOOT_A_GOOD=1", "bad"),
        ("BOOT_A_LEFT=3,BOOT_A_GOOD=1", "good"),
    ];
    for (text, expected) in table {
        let state = redundant().read(&mut world(text)).unwrap();
        assert_eq!(
            state.standing(SlotId::for_test(0)).to_string(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn every_cut_leaves_the_old_or_the_new_environment() {
    for kind in [
        ChangeKind::Bad,
        ChangeKind::Next(Tries::DEFAULT),
        ChangeKind::Good,
    ] {
        let whole = world(FACTORY);
        apply(&whole, 1, kind).unwrap();
        for cut in 0..whole.operations() {
            let world = world(FACTORY);
            world.cut_at(cut);
            apply(&world, 1, kind).unwrap_err();
            let sectors = (0..=world.unconfirmed()).map(Keep::Prefix);
            for keep in sectors.chain((0..64).map(Keep::Random)).chain([Keep::All]) {
                let found = world.power_on(keep);
                let now = variables(&found);
                let old = variables(&self::world(FACTORY));
                assert!(now == old || now == variables(&whole), "{keep:?}: {now}");
                apply(&found, 1, kind).unwrap();
                assert_eq!(variables(&found), variables(&whole));
            }
        }
    }
}

#[test]
fn without_a_valid_copy_nothing_is_written() {
    let world = World::new();
    world.add(Area::BootEnv(EnvCopy::First), vec![0; 0x1000]);
    world.add(Area::BootEnv(EnvCopy::Second), vec![0xff; 0x1000]);
    let error = apply(&world, 1, ChangeKind::Bad).unwrap_err();
    assert!(matches!(error, BootError::NoPlan(_)), "{error}");
    assert_eq!(world.operations(), 0);
}

#[test]
fn a_single_copy_is_written_only_if_it_is_one_sector() {
    for (size, offset, safe) in [
        (0x200, 0x200, true),
        (0x200, 0x100, false),
        (0x400, 0, false),
    ] {
        let world = World::new();
        world.add(Area::BootEnv(EnvCopy::First), image(FACTORY, None, size));
        let backend = backend(&format!("/dev/x {offset:#x} {size:#x}\n"));
        let done = backend.apply(&mut world.clone(), change(1, ChangeKind::Good));
        assert_eq!(done.is_ok(), safe, "{size:#x} at {offset:#x}");
        assert_eq!(world.operations(), if safe { 2 } else { 0 });
    }
}

#[test]
fn a_copy_that_is_missing_is_not_written_over_the_other() {
    let world = World::new();
    world.add(Area::BootEnv(EnvCopy::First), image(FACTORY, Some(1), SIZE));
    redundant().read(&mut world.clone()).unwrap();
    let error = apply(&world, 1, ChangeKind::Bad).unwrap_err();
    assert!(matches!(error, BootError::Open(_)), "{error}");
    assert_eq!(world.operations(), 0);
}
