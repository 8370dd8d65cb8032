//! GRUB with the paired files, as far as the choice of a slot goes: the rules of
//! `slotmgr/bootloader/grub-pair.cfg`, written from its text and not with our own codec.

use slotmgr::storage::sim::World;
use slotmgr::storage::{Area, Disks, EnvCopy};

use super::grub_model::{Variables, load_env};

/// A runs and is good, B holds an older release that is good too; nothing was ever counted.
pub fn both_good() -> Vec<(EnvCopy, Vec<u8>)> {
    let copy = |seq: u32| {
        format!(
            "ab_seq={seq}\nab_primary=A\nab_fallback=B\nab_trial=none\nab_tries=0\nab_end={seq}\n"
        )
    };
    let counter = "ab_counted=000000000\nab_used=0\n";
    vec![
        (EnvCopy::First, block(&copy(100_000_000))),
        (EnvCopy::Second, block(&copy(100_000_001))),
        (EnvCopy::Counter, block(counter)),
    ]
}

fn block(lines: &str) -> Vec<u8> {
    let mut bytes = format!("# GRUB Environment Block\n{lines}").into_bytes();
    bytes.resize(512, b'#');
    bytes
}

fn load(world: &World, copy: EnvCopy) -> Variables {
    load_env(&world.current(Area::BootEnv(copy))).unwrap_or_default()
}

fn get<'v>(variables: &'v Variables, name: &str) -> &'v str {
    variables.get(name).map_or("", String::as_str)
}

fn seq(variables: &Variables) -> Option<u32> {
    let seq = get(variables, "ab_seq");
    let whole = seq == get(variables, "ab_end") && !get(variables, "ab_primary").is_empty();
    let number = seq.parse().ok().filter(|_| whole)?;
    (100_000_000..=999_999_999)
        .contains(&number)
        .then_some(number)
}

/// Switches the machine on. `None` if the power fails while GRUB counts, or if neither copy
/// counts, so that only the last resort is left.
pub fn boot(world: &World) -> Option<String> {
    let copies = [EnvCopy::First, EnvCopy::Second].map(|copy| load(world, copy));
    // Of equal numbers the first: `-gt` is no `-ge`.
    let state = match (seq(&copies[0]), seq(&copies[1])) {
        (None, None) => return None,
        (None, Some(_)) => &copies[1],
        (Some(first), Some(second)) if second > first => &copies[1],
        _ => &copies[0],
    };
    let (primary, trial) = (get(state, "ab_primary"), get(state, "ab_trial"));
    let fallback = match get(state, "ab_fallback") {
        "none" => primary,
        name => name,
    };
    if trial == "none" {
        return Some(primary.to_owned());
    }
    let counter = load(world, EnvCopy::Counter);
    let used = match (get(&counter, "ab_counted"), get(&counter, "ab_used")) {
        ("", _) | (_, "") => return Some(fallback.to_owned()),
        (counted, used) if counted == trial => used.parse().unwrap_or(9),
        _ => 0_u8,
    };
    if used >= get(state, "ab_tries").parse().unwrap_or(0) {
        return Some(fallback.to_owned());
    }
    let new = block(&format!("ab_counted={trial}\nab_used={}\n", used + 1));
    let mut disk = world.clone().open(Area::BootEnv(EnvCopy::Counter)).ok()?;
    disk.write_at(&new, 0).ok()?;
    Some(primary.to_owned())
}
