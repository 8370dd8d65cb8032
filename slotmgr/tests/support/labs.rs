//! Machines with bootloaders that live in the power-cut machine: how each is set up, driven by us,
//! and read by itself.

use slotmgr::boot::efi::vars::EfiVars;
use slotmgr::boot::efi::{Activate, Efi};
use slotmgr::boot::gpt_priority::GptPriority;
use slotmgr::boot::grub::Grub;
use slotmgr::boot::grub_pair::GrubPair;
use slotmgr::boot::systemd_boot::SystemdBoot;
use slotmgr::boot::uboot::UBoot;
use slotmgr::boot::{self, BootEnv, Mark, Standing, Tries};
use slotmgr::partition::SectorSize;
use slotmgr::storage::sim::World;
use slotmgr::storage::{Area, Disks, EnvCopy};

use super::nvram::{self, Nvram};
use super::table_disk::{self as model, Part, Shape};
use super::{BOTH_GOOD, grub_model, grub_pair_model, layout, sdboot_model, slot_id, uboot_model};

/// One kind of bootloader.
pub struct Lab {
    pub name: &'static str,
    /// Its memory when A runs and is good, and B holds an older release that is good too.
    pub memory: fn() -> Vec<(EnvCopy, Vec<u8>)>,
    /// Our backend.
    pub env: fn(&World) -> Box<dyn BootEnv>,
    /// Switches the machine on; `None` if the power fails, or nothing can be started.
    pub boot: fn(&World) -> Option<String>,
    /// How often an armed slot is started before the old one comes back, if two tries are asked
    /// for; `None`: there is no trial.
    pub tries: Option<usize>,
    /// A power cut in a change of a slot may lose that slot's own entry; the other one starts then.
    pub may_lose_entry: bool,
}

impl Lab {
    /// A machine with it: `a` runs, and `b` is in slot B.
    pub fn machine(&self, a: &[u8], b: &[u8]) -> World {
        let world = super::world(a, b, BOTH_GOOD);
        for (copy, bytes) in (self.memory)() {
            world.add(Area::BootEnv(copy), bytes);
        }
        world
    }

    /// Marks a slot; whether that ended well.
    pub fn mark(&self, world: &World, name: &str, mark: Mark) -> bool {
        let (env, layout) = ((self.env)(world), layout());
        let what = (mark, Tries::new(2).unwrap());
        let slot = slot_id(&layout, name);
        boot::mark(env.as_ref(), &mut world.clone(), &layout, slot, what).is_ok()
    }

    /// What our backend says of a slot.
    pub fn standing(&self, world: &World, name: &str) -> Standing {
        let state = (self.env)(world).read(&mut world.clone()).unwrap();
        state.standing(slot_id(&layout(), name))
    }
}

/// U-Boot with two copies of four sectors, whose flags are about to step over the end. Not among
/// [`all`]: its verbs have a test of their own, which tries every subset of the sectors.
pub fn uboot() -> Lab {
    Lab {
        name: "uboot",
        memory: || {
            let copy = |flags, more: &str| {
                let text = format!(
                    "BOOT_ORDER=A B\0BOOT_A_LEFT=3\0BOOT_A_GOOD=1\0BOOT_B_LEFT=3\0\
                     BOOT_B_GOOD=1\0filler={}{more}",
                    "x".repeat(1500)
                );
                let variables = uboot_model::variables(text.as_bytes());
                uboot_model::render(&variables, Some(flags), 2048)
            };
            vec![
                (EnvCopy::First, copy(255, "")),
                (EnvCopy::Second, copy(254, "\0stale=1")),
            ]
        },
        env: |_| {
            let lines = b"/dev/x 0x0 0x800\n/dev/x 0x800 0x800\n";
            let config = uboot_env::config::parse("test", lines).unwrap().remove(0);
            Box::new(UBoot::new(&layout(), &config, Tries::DEFAULT))
        },
        boot: |world| {
            uboot_model::boot(world)
                .filter(|boot| boot.by_order)
                .map(|boot| boot.name)
        },
        tries: Some(2),
        may_lose_entry: false,
    }
}

pub fn all() -> Vec<Lab> {
    vec![
        Lab {
            name: "grub",
            memory: || one(super::environment(BOTH_GOOD)),
            env: |_| Box::new(Grub::new(&layout())),
            boot: |world| {
                grub_model::boot(world)
                    .filter(|boot| boot.by_order)
                    .map(|boot| boot.name)
            },
            tries: Some(2),
            may_lose_entry: false,
        },
        Lab {
            name: "efi",
            memory: efi_memory,
            env: |world| Box::new(Efi::new(&layout(), nvram::firmware(world), Activate::Once)),
            boot: nvram::boot,
            tries: Some(1),
            may_lose_entry: false,
        },
        Lab {
            name: "efi, efi-use-bootnext=false",
            memory: efi_memory,
            env: |world| {
                Box::new(Efi::new(
                    &layout(),
                    nvram::firmware(world),
                    Activate::ForGood,
                ))
            },
            boot: nvram::boot,
            tries: None,
            may_lose_entry: false,
        },
        Lab {
            name: "gpt-priority, Bottlerocket's GRUB",
            memory: gpt_memory,
            env: |_| Box::new(GptPriority::new(&layout(), SectorSize::S512)),
            boot: |world| boot_gpt(world, Counter::Bottlerocket),
            tries: Some(2),
            may_lose_entry: false,
        },
        Lab {
            name: "gpt-priority, ChromeOS's firmware",
            memory: gpt_memory,
            env: |_| Box::new(GptPriority::new(&layout(), SectorSize::S512)),
            boot: |world| boot_gpt(world, Counter::ChromeOs),
            tries: Some(2),
            may_lose_entry: false,
        },
        Lab {
            name: "grub, paired files",
            memory: grub_pair_model::both_good,
            env: |_| Box::new(GrubPair::new(&layout()).unwrap()),
            boot: grub_pair_model::boot,
            tries: Some(2),
            may_lose_entry: false,
        },
        Lab {
            name: "efi, which has lost an entry",
            memory: efi_memory_without_b,
            env: |world| {
                let layout = nvram::layout_with_entries();
                Box::new(Efi::new(&layout, nvram::firmware(world), Activate::Once))
            },
            boot: nvram::boot,
            tries: Some(1),
            may_lose_entry: false,
        },
        Lab {
            name: "systemd-boot",
            memory: sdboot_model::both_good,
            env: |world| {
                let files = Box::new(sdboot_model::Folder(world.clone()));
                Box::new(SystemdBoot::new(&layout(), files))
            },
            boot: sdboot_model::boot,
            tries: Some(2),
            may_lose_entry: true,
        },
    ]
}

fn one(bytes: Vec<u8>) -> Vec<(EnvCopy, Vec<u8>)> {
    vec![(EnvCopy::First, bytes)]
}

fn efi_memory() -> Vec<(EnvCopy, Vec<u8>)> {
    let world = World::new();
    let area = Area::BootEnv(EnvCopy::First);
    world.add(area, nvram::empty());
    let vars = Nvram(world.clone());
    vars.write("Boot0000", &nvram::option("UEFI Shell"))
        .unwrap();
    vars.write("Boot0003", &nvram::option("A")).unwrap();
    vars.write("Boot000B", &nvram::option("B")).unwrap();
    vars.write("BootOrder", &[3, 0, 0xB, 0, 0, 0]).unwrap();
    vars.write("BootCurrent", &[3, 0]).unwrap();
    one(world.current(area))
}

/// `BootOrder` goes on naming the entry that is gone, as it may.
fn efi_memory_without_b() -> Vec<(EnvCopy, Vec<u8>)> {
    let world = World::new();
    let area = Area::BootEnv(EnvCopy::First);
    world.add(area, efi_memory().remove(0).1);
    Nvram(world.clone()).remove("Boot000B").unwrap();
    one(world.current(area))
}

fn gpt_memory() -> Vec<(EnvCopy, Vec<u8>)> {
    let shape = Shape::S512;
    let mut parts = model::parts(&shape);
    parts[0].attributes |= bits(2, 0, true);
    parts[1].attributes |= bits(1, 0, true);
    one(model::disk(&shape, &parts))
}

/// As ChromiumOS writes them down: priority, tries, success.
fn bits(priority: u64, tries: u64, success: bool) -> u64 {
    priority << 48 | tries << 52 | u64::from(success) << 56
}

#[derive(Clone, Copy, PartialEq)]
enum Counter {
    Bottlerocket,
    ChromeOs,
}

fn boot_gpt(world: &World, counter: Counter) -> Option<String> {
    let shape = Shape::S512;
    let mut parts = model::firmware(&world.current(model::DISK), shape.sector)?;
    let value = |part: &Part, at: u32, mask: u64| part.attributes >> at & mask;
    let startable = |part: &&mut Part| {
        let (tries, success) = (value(part, 52, 15), value(part, 56, 1));
        value(part, 48, 15) > 0 && (tries > 0 || success == 1)
    };
    let chosen = parts
        .iter_mut()
        .filter(startable)
        .max_by_key(|part| (value(part, 48, 15), std::cmp::Reverse(part.number)))?;
    let name = model::name(chosen.number);
    let (tries, success) = (value(chosen, 52, 15), value(chosen, 56, 1));
    let counts = match counter {
        Counter::Bottlerocket => tries > 0,
        Counter::ChromeOs => success == 0,
    };
    if counts {
        chosen.attributes -= 1 << 52;
        if counter == Counter::ChromeOs && tries == 1 {
            chosen.attributes &= !(15 << 48);
        }
        save_gpt(world, &model::disk(&shape, &parts))?;
    }
    Some(name)
}

/// The backup first, as both do.
fn save_gpt(world: &World, new: &[u8]) -> Option<()> {
    let mut disk = world.clone().open(model::DISK).ok()?;
    let backup = new.len() - 33 * 512;
    for (at, len) in [(backup, 33 * 512), (512, 33 * 512)] {
        disk.write_at(&new[at..at + len], at as u64).ok()?;
        disk.sync().ok()?;
    }
    Some(())
}
