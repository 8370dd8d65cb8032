//! GRUB, as far as the choice of a slot goes: `slotmgr/bootloader/grub.cfg` in Rust.
//!
//! Written from GRUB's rules, not with our own codec: the machine boots by GRUB's reading. GRUB
//! reads the block line by line until the first `#` after the header, knows no checksum, replays
//! no journal, and writes the block back sector by sector.

use std::collections::BTreeMap;

use slotmgr::slot::SlotId;
use slotmgr::storage::sim::World;
use slotmgr::storage::{Area, Disks, EnvCopy};

use super::{layout, slot_id};

/// What came of switching the machine on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// `A` or `B`.
    pub name: String,
    pub slot: SlotId,
    /// By a rule of the order, not by a last resort.
    pub by_order: bool,
}

/// What stands in the block.
pub type Variables = BTreeMap<String, String>;

/// Variables of the block; `None` if GRUB would refuse it.
pub fn load_env(bytes: &[u8]) -> Option<Variables> {
    let body = bytes.strip_prefix(b"# GRUB Environment Block\n")?;
    let text = String::from_utf8_lossy(body);
    let mut variables = BTreeMap::new();
    for line in text.split('\n').filter(|line| !line.starts_with('#')) {
        if let Some((name, value)) = line.split_once('=') {
            variables.insert(name.to_owned(), value.to_owned());
        }
    }
    Some(variables)
}

/// Switches the machine on: picks a slot and counts the try, as `grub.cfg` does.
///
/// `None` if the power fails (again) while GRUB writes.
pub fn boot(world: &World) -> Option<Boot> {
    let before = load_env(&world.current(Area::BootEnv(EnvCopy::First))).unwrap_or_default();
    let mut variables = before.clone();
    let by_order = choose(&mut variables);
    if variables != before {
        save_env(world, &variables)?;
    }
    let name = by_order.clone().unwrap_or_else(|| last_resort(&variables));
    let slot = slot_id(&layout(), &name);
    Some(Boot {
        name,
        slot,
        by_order: by_order.is_some(),
    })
}

fn get(variables: &Variables, name: &str, suffix: &str) -> String {
    variables
        .get(&format!("{name}_{suffix}"))
        .cloned()
        .unwrap_or_default()
}

fn order(variables: &Variables) -> Vec<String> {
    let order = variables
        .get("ORDER")
        .cloned()
        .unwrap_or_else(|| "A B".to_owned());
    order
        .split(' ')
        .filter(|name| ["A", "B"].contains(name))
        .map(str::to_owned)
        .collect()
}

/// The first pass of `grub.cfg`; `variables` change as GRUB would save them.
pub fn choose(variables: &mut Variables) -> Option<String> {
    for name in order(variables) {
        // Not there is `0`; there and empty is not.
        let tried = variables
            .get(&format!("{name}_TRY"))
            .is_some_and(|tried| tried != "0");
        if get(variables, &name, "OK") != "1" || tried {
            continue;
        }
        let left = get(variables, &name, "LEFT");
        if left != "good" {
            let (left, used_up) = match left.parse::<u8>() {
                Ok(count @ 2..=9) => (Some(count - 1), false),
                Ok(1) => (Some(0), true),
                _ => (None, true),
            };
            if let Some(left) = left {
                variables.insert(format!("{name}_LEFT"), left.to_string());
            }
            if used_up {
                variables.insert(format!("{name}_TRY"), "1".to_owned());
            }
        }
        return Some(name);
    }
    None
}

/// The passes after the first.
fn last_resort(variables: &Variables) -> String {
    let order = order(variables);
    let ok = |name: &&String| get(variables, name, "OK") == "1";
    let confirmed = order
        .iter()
        .filter(ok)
        .find(|name| get(variables, name, "LEFT") == "good");
    confirmed
        .or_else(|| order.iter().find(ok))
        .cloned()
        .unwrap_or_else(|| "A".to_owned())
}

/// The block as GRUB writes it.
pub fn render(variables: &Variables) -> Vec<u8> {
    let mut bytes = b"# GRUB Environment Block\n".to_vec();
    for (name, value) in variables {
        bytes.extend_from_slice(format!("{name}={value}\n").as_bytes());
    }
    bytes.resize(1024, b'#');
    bytes
}

fn save_env(world: &World, variables: &Variables) -> Option<()> {
    let bytes = render(variables);
    let mut disk = world.clone().open(Area::BootEnv(EnvCopy::First)).ok()?;
    // Two separate writes, and no flush: the firmware's disk driver has none to offer.
    disk.write_at(&bytes[..512], 0).ok()?;
    disk.write_at(&bytes[512..], 512).ok()
}
