//! U-Boot, as far as the choice of a slot goes: how each reader picks a copy of the environment, and
//! `slotmgr/bootloader/uboot-boot.cmd` in Rust.
//!
//! Written from the readers' rules, not with our own codec: bytes, a CRC of its own, the three rules
//! for two valid copies as three functions.

use std::collections::BTreeMap;

use slotmgr::storage::sim::World;
use slotmgr::storage::{Area, Disks, EnvCopy};

/// What came of switching the machine on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// `A` or `B`.
    pub name: String,
    /// By a rule of the order, not by a last resort.
    pub by_order: bool,
}

/// What stands in the environment.
pub type Variables = BTreeMap<String, String>;

const COPIES: [EnvCopy; 2] = [EnvCopy::First, EnvCopy::Second];

/// CRC-32 as in zlib, by a table.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0_u32; 256];
        let (mut n, mut value) = (0, 0_u32);
        while n < 256 {
            let mut c = value;
            let mut bit = 0;
            while bit < 8 {
                c = if c & 1 == 1 {
                    0xedb8_8320 ^ (c >> 1)
                } else {
                    c >> 1
                };
                bit += 1;
            }
            table[n] = c;
            n += 1;
            value += 1;
        }
        table
    };
    !bytes.iter().fold(!0_u32, |crc, byte| {
        TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8)
    })
}

/// Whether the CRC at the beginning fits what begins at `data`.
fn valid(image: &[u8], data: usize) -> bool {
    image.len() > data && image[..4] == crc32(&image[data..]).to_ne_bytes()
}

/// Two valid copies in U-Boot itself, for media whose flags count up (`env_import_redund`).
pub fn uboot_picks(first: u8, second: u8) -> usize {
    if first == 255 && second == 0 {
        return 1;
    }
    if second == 255 && first == 0 {
        return 0;
    }
    usize::from(first < second)
}

/// The same in `fw_env`, with its special cases written as it has them.
pub fn fw_env_picks(first: u8, second: u8) -> usize {
    match (first, second) {
        (255, 0) => 1,
        (0, 255) => 0,
        (a, b) if a > b => 0,
        (a, b) if b > a => 1,
        _ => 0,
    }
}

/// The same in libubootenv: the larger one, and a step over the end.
pub fn libubootenv_picks(first: u8, second: u8) -> usize {
    let wrapped = |a: u8, b: u8| a == 0 && b == 255;
    if wrapped(second, first) || (second > first && !wrapped(first, second)) {
        1
    } else {
        0
    }
}

/// The copy that each reader picks; `None`: its built-in default environment.
fn picks(copies: &[Vec<u8>], rule: fn(u8, u8) -> usize) -> Option<usize> {
    match copies {
        [only] => valid(only, 4).then_some(0),
        [first, second] => match (valid(first, 5), valid(second, 5)) {
            (true, true) => Some(rule(first[4], second[4])),
            (true, false) => Some(0),
            (false, true) => Some(1),
            (false, false) => None,
        },
        _ => None,
    }
}

/// All copies that this world has.
fn copies(world: &World) -> Vec<Vec<u8>> {
    COPIES
        .map(|copy| world.current(Area::BootEnv(copy)))
        .into_iter()
        .filter(|bytes| !bytes.is_empty())
        .collect()
}

/// The text of the environment that U-Boot, `fw_env` and libubootenv all read; `None` if they find no
/// valid copy.
///
/// # Panics
/// When they disagree.
pub fn text(world: &World) -> Option<Vec<u8>> {
    let copies = copies(world);
    let by = [uboot_picks, fw_env_picks, libubootenv_picks].map(|rule| picks(&copies, rule));
    assert!(
        by[0] == by[1] && by[1] == by[2],
        "the readers disagree: {by:?}"
    );
    let data = if copies.len() == 2 { 5 } else { 4 };
    let body = &copies[by[0]?][data..];
    let end = body.windows(2).position(|two| two == [0, 0]);
    Some(body[..end.unwrap_or(body.len())].to_vec())
}

/// The variables in it.
pub fn variables(text: &[u8]) -> Variables {
    let text = String::from_utf8_lossy(text);
    let pairs = text.split('\0').filter_map(|entry| entry.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// An image of `size` bytes as U-Boot writes it.
pub fn render(variables: &Variables, flags: Option<u8>, size: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for (name, value) in variables {
        data.extend_from_slice(format!("{name}={value}\0").as_bytes());
    }
    let head = 4 + usize::from(flags.is_some());
    data.resize(size - head, 0);
    let mut image = crc32(&data).to_ne_bytes().to_vec();
    image.extend(flags);
    image.extend(data);
    image
}

/// Switches the machine on: picks a slot and saves the try, as `uboot-boot.cmd` does.
///
/// `None` if the power fails (again) while U-Boot writes.
pub fn boot(world: &World) -> Option<Boot> {
    let mut found = text(world).map(|text| variables(&text)).unwrap_or_default();
    let before = found.clone();
    let by_order = choose(&mut found);
    if found != before {
        saveenv(world, &found)?;
    }
    let name = by_order.clone().unwrap_or_else(|| last_resort(&found));
    Some(Boot {
        name,
        by_order: by_order.is_some(),
    })
}

fn get<'v>(variables: &'v Variables, name: &str, suffix: &str) -> &'v str {
    let value = variables.get(&format!("BOOT_{name}_{suffix}"));
    value.map_or("", String::as_str)
}

/// The loop of the script; the count changes as it is saved.
pub fn choose(variables: &mut Variables) -> Option<String> {
    let order = match variables.get("BOOT_ORDER") {
        Some(order) if !order.is_empty() => order.clone(),
        _ => "A B".to_owned(),
    };
    for name in order.split(' ').filter(|name| ["A", "B"].contains(name)) {
        let next = match get(variables, name, "LEFT") {
            digit @ ("1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9") => {
                digit.parse::<u8>().ok()? - 1
            }
            "a" | "b" | "c" | "d" | "e" | "f" => 9,
            // `test -gt`, in decimal.
            digits if digits.parse::<u64>().is_ok_and(|count| count > 9) => 9,
            _ => continue,
        };
        if get(variables, name, "GOOD") != "1" {
            variables.insert(format!("BOOT_{name}_LEFT"), next.to_string());
        }
        return Some(name.to_owned());
    }
    None
}

fn last_resort(variables: &Variables) -> String {
    let confirmed = ["A", "B"]
        .into_iter()
        .find(|name| get(variables, name, "GOOD") == "1");
    confirmed.unwrap_or("A").to_owned()
}

/// `saveenv`: the copy that does not count, in one write, and no flush.
fn saveenv(world: &World, variables: &Variables) -> Option<()> {
    let old = copies(world);
    let current = picks(&old, uboot_picks).unwrap_or(1);
    let (target, flags) = match old.len() {
        1 => (0, None),
        _ => (1 - current, Some(old[current][4].wrapping_add(1))),
    };
    let image = render(variables, flags, old[0].len());
    let area = Area::BootEnv(COPIES[target]);
    world.clone().open(area).ok()?.write_at(&image, 0).ok()
}
