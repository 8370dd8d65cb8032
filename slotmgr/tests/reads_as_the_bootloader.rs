//! Variables as nobody should have written them, but somebody may have: what slotmgr says will be
//! started is what the bootloader starts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::collections::BTreeMap;

use slotmgr::boot::{BootEnv, Tries, grub::Grub, uboot::UBoot};
use slotmgr::storage::sim::World;
use slotmgr::storage::{Area, EnvCopy};
use support::{grub_model, layout, slot_id, uboot_model};

type Variables = BTreeMap<String, String>;

/// Orders with names that no slot has, with a name twice, with none at all. `None`: not there.
const ORDERS: [Option<&str>; 11] = [
    None,
    Some(""),
    Some("A B"),
    Some("B A"),
    Some("B"),
    Some("A A B"),
    Some("rescue B A"),
    Some("  B  A "),
    Some("C"),
    Some("a b"),
    Some("A,B"),
];

fn put(variables: &mut Variables, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        variables.insert(name.to_owned(), value.to_owned());
    }
}

/// The boot name of what our backend says is started next.
fn ours(env: &dyn BootEnv, world: &World) -> Option<String> {
    let primary = env.read(&mut world.clone()).unwrap().primary()?;
    let is_it = |name: &&str| slot_id(&layout(), name) == primary;
    ["A", "B"].into_iter().find(is_it).map(str::to_owned)
}

#[test]
fn u_boot() {
    const LEFT: [Option<&str>; 17] = [
        None,
        Some(""),
        Some("0"),
        Some("1"),
        Some("3"),
        Some("9"),
        Some("a"),
        Some("f"),
        Some("A"),
        Some("10"),
        Some("007"),
        Some("300"),
        Some("0x3"),
        Some(" 3"),
        Some("-1"),
        Some("x"),
        Some("4294967296"),
    ];
    const GOOD: [Option<&str>; 4] = [None, Some("1"), Some("0"), Some("yes")];
    let lines = "/dev/x 0x0 0x200\n";
    let config = uboot_env::config::parse("test", lines.as_bytes())
        .unwrap()
        .remove(0);
    let env = UBoot::new(&layout(), &config, Tries::DEFAULT);
    let slots: Vec<_> = LEFT
        .into_iter()
        .flat_map(|left| GOOD.map(|good| (left, good)))
        .collect();
    let mut tried = 0;
    for order in ORDERS {
        for (a, b) in slots.iter().flat_map(|a| slots.iter().map(move |b| (a, b))) {
            let mut variables = Variables::new();
            put(&mut variables, "BOOT_ORDER", order);
            for (name, (left, good)) in [("A", a), ("B", b)] {
                put(&mut variables, &format!("BOOT_{name}_LEFT"), *left);
                put(&mut variables, &format!("BOOT_{name}_GOOD"), *good);
            }
            let world = World::new();
            let image = uboot_model::render(&variables, None, 512);
            world.add(Area::BootEnv(EnvCopy::First), image);
            let theirs = uboot_model::choose(&mut variables.clone());
            assert_eq!(ours(&env, &world), theirs, "{variables:?}");
            tried += 1;
        }
    }
    println!("{tried} environments of U-Boot");
}

/// One byte that is no text, in a word of the order: the other words count as before.
#[test]
fn an_order_that_is_no_text() {
    let config = uboot_env::config::parse("test", b"/dev/x 0x0 0x200\n")
        .unwrap()
        .remove(0);
    let env = UBoot::new(&layout(), &config, Tries::DEFAULT);
    let world = World::new();
    let mut vars = uboot_env::env::Env::new();
    for (name, value) in [
        ("BOOT_ORDER", &b"\xff B A"[..]),
        ("BOOT_A_LEFT", b"3"),
        ("BOOT_B_LEFT", b"3"),
    ] {
        let name = uboot_env::env::VarName::new(name).unwrap();
        vars.set(&name, value).unwrap();
    }
    let native = uboot_env::codec::Endian::native();
    let image = uboot_env::codec::Image::render(&vars, None, 512, native).unwrap();
    world.add(Area::BootEnv(EnvCopy::First), image);
    assert_eq!(ours(&env, &world).as_deref(), Some("B"));
}

#[test]
fn grub() {
    const OK: [Option<&str>; 5] = [None, Some("1"), Some("0"), Some(""), Some("01")];
    const TRY: [Option<&str>; 5] = [None, Some("0"), Some("1"), Some(""), Some("x")];
    const LEFT: [Option<&str>; 9] = [
        None,
        Some("good"),
        Some("0"),
        Some("1"),
        Some("3"),
        Some("9"),
        Some("10"),
        Some("x"),
        Some(""),
    ];
    let slots: Vec<_> = OK
        .into_iter()
        .flat_map(|ok| TRY.map(|tried| (ok, tried)))
        .flat_map(|(ok, tried)| LEFT.map(|left| (ok, tried, left)))
        .collect();
    let others = [
        (Some("1"), Some("0"), Some("good")),
        (Some("1"), None, None),
        (Some("1"), Some("1"), Some("2")),
        (Some("0"), Some("0"), None),
        (None, None, None),
    ];
    let env = Grub::new(&layout());
    let mut tried = 0;
    for order in ORDERS {
        for (a, b) in slots
            .iter()
            .flat_map(|a| others.iter().map(move |b| (a, b)))
        {
            let mut variables = Variables::new();
            put(&mut variables, "ORDER", order);
            for (name, (ok, tried, left)) in [("A", a), ("B", b)] {
                put(&mut variables, &format!("{name}_OK"), *ok);
                put(&mut variables, &format!("{name}_TRY"), *tried);
                put(&mut variables, &format!("{name}_LEFT"), *left);
            }
            let world = World::new();
            let block = grub_model::render(&variables);
            world.add(Area::BootEnv(EnvCopy::First), block);
            let theirs = grub_model::choose(&mut variables.clone());
            assert_eq!(ours(&env, &world), theirs, "{variables:?}");
            tried += 1;
        }
    }
    println!("{tried} environments of GRUB");
}
