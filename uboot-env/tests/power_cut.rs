//! Promise: wherever the power fails during a transaction, every reader gets the old or the new
//! environment as a whole, and the next transaction finishes the work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation fails the test"
)]

mod common;

use common::flash_sim::{Sim, TORN};
use common::{SIZE, env, image};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use uboot_env::codec::{Endian, Layout};
use uboot_env::env::Env;
use uboot_env::select::{CopyId, CopyState, FlagScheme, Pick, Reader, Standing};
use uboot_env::snapshot::{Shape, Snapshot, WriteStep};
use uboot_env::storage::flash::{FlashCopy, Range};
use uboot_env::storage::lock::Locks;
use uboot_env::storage::mtd::MtdKind;
use uboot_env::storage::ubi::{UbiCopy, UbiVolume};
use uboot_env::storage::{CopyError, EnvStorage, Media};
use uboot_env::txn::{Txn, read_all};

const SECTOR: usize = 512;

fn shape(scheme: FlagScheme) -> Shape {
    Shape {
        layout: Layout::Redundant,
        size: SIZE,
        endian: Endian::Little,
        scheme,
    }
}

fn old_vars() -> Vec<(&'static str, &'static str)> {
    vec![
        ("BOOT_ORDER", "A B"),
        ("BOOT_A_LEFT", "3"),
        ("filler", FILLER),
    ]
}

fn new_env() -> Env {
    env(&[
        ("BOOT_ORDER", "B A"),
        ("BOOT_A_LEFT", "3"),
        ("BOOT_B_LEFT", "3"),
        ("filler", FILLER),
    ])
}

// Fills several sectors, so that old and new bytes can be mixed in many ways.
const FILLER: &str = include_str!("common/flash_sim.rs").split_at(5000).0;

/// What every reader may see. `Fails` is a known defect of the Linux tools with an unreadable copy.
fn judge(now: &Snapshot, allowed: &[Env], context: &dyn std::fmt::Debug) {
    let scheme = now.shape().scheme;
    let states = [CopyId::First, CopyId::Second].map(|id| now.state(id));
    for &reader in Reader::all(scheme) {
        match reader.pick(scheme, states[0], states[1]) {
            Pick::Copy(id) => {
                let seen = &now.copy(id).unwrap().as_ref().unwrap().env;
                assert!(
                    allowed.contains(seen),
                    "{reader:?} reads a mixture: {context:?} {states:?}"
                );
            }
            Pick::Fails => {
                assert!(states.contains(&CopyState::Unreadable), "{context:?}");
                assert!(!matches!(reader, Reader::Uboot | Reader::UbootParallelNor));
            }
            Pick::Default => panic!("{reader:?} finds neither old nor new: {context:?} {states:?}"),
        }
    }
}

fn snapshot(scheme: FlagScheme, copies: &[Vec<u8>; 2]) -> Snapshot {
    Snapshot::new(
        shape(scheme),
        Ok(copies[0].clone()),
        Some(Ok(copies[1].clone())),
    )
}

/// All pairs worth starting from: each flags byte with each neighbour, odd pairs, one copy bad.
fn starts() -> Vec<[Vec<u8>; 2]> {
    let old = old_vars();
    let older = [("BOOT_ORDER", "older"), ("filler", FILLER)];
    let mut out = Vec::new();
    for (f0, f1) in [
        (2, 1),
        (1, 2),
        (255, 0),
        (0, 255),
        (254, 255),
        (255, 254),
        (1, 1),
        (0, 0),
    ] {
        out.push([image(&old, Some(f0)), image(&older, Some(f1))]);
    }
    for flags in [0, 1, 255] {
        out.push([image(&old, Some(flags)), vec![0xFF; 0x2000]]);
        out.push([vec![0; 0x2000], image(&old, Some(flags))]);
    }
    // Odd: after another tool's lost update, or a flipped bit.
    for (f0, f1) in [(5, 7), (7, 5), (10, 200), (128, 0)] {
        out.push([image(&old, Some(f0)), image(&older, Some(f1))]);
    }
    out
}

/// Every image that a cut can leave of `before` while `after` is being written: each prefix, each
/// single sector early or late, and subsets drawn from a fixed sequence.
fn torn_writes<'a>(before: &'a [u8], after: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
    let sectors = after.len() / SECTOR;
    assert!(sectors <= 16, "a subset is a u16 here");
    let prefixes = (0..=sectors).map(|n| (1u32 << n) - 1);
    let singles = (0..sectors).flat_map(|n| [1u32 << n, !(1u32 << n)]);
    let mut bits = 0x9E37_79B9_7F4A_7C15_u64;
    let random = (0..400).map(move |_| {
        bits = bits
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(bits >> 40).unwrap()
    });
    prefixes.chain(singles).chain(random).map(move |subset| {
        let mut image = before.to_vec();
        for at in (0..sectors)
            .filter(|i| subset >> i & 1 == 1)
            .map(|i| i * SECTOR)
        {
            image[at..at + SECTOR].copy_from_slice(&after[at..at + SECTOR]);
        }
        image
    })
}

fn apply(copies: &mut [Vec<u8>; 2], step: &WriteStep) {
    copies[step.copy.index()].clone_from(&step.image);
    if let Some(old) = step.then_obsolete {
        copies[old.index()][4] = 0;
    }
}

#[test]
fn block_device_cut_at_every_sector_and_again_during_the_recovery() {
    let scheme = FlagScheme::Incremental;
    let mut tried = 0u64;
    for start in starts() {
        let before = snapshot(scheme, &start);
        let allowed = [before.env().unwrap().clone(), new_env()];
        let plan = before.plan(&new_env()).unwrap();
        assert!(!plan.steps.is_empty());
        let mut copies = start.clone();
        for step in &plan.steps {
            let target = step.copy.index();
            for torn in torn_writes(&copies[target], &step.image) {
                let mut cut = copies.clone();
                cut[target] = torn;
                let now = snapshot(scheme, &cut);
                judge(&now, &allowed, &(step.copy, &plan.steps.len()));
                tried += 1;
                // The next run, and a second cut inside it.
                let Some(again) = now.plan(&new_env()).unwrap().steps.first().cloned() else {
                    continue;
                };
                for torn in torn_writes(&cut[again.copy.index()], &again.image).step_by(9) {
                    let mut twice = cut.clone();
                    twice[again.copy.index()] = torn;
                    judge(&snapshot(scheme, &twice), &allowed, &"second cut");
                    tried += 1;
                }
                apply(&mut cut, &again);
                assert_eq!(snapshot(scheme, &cut).env(), Some(&new_env()));
            }
            apply(&mut copies, step);
            judge(&snapshot(scheme, &copies), &allowed, &"between the steps");
        }
        let end = snapshot(scheme, &copies);
        assert_eq!(end.env(), Some(&new_env()));
        assert!(
            matches!(end.standing(), Standing::Sound { .. }),
            "{:?}",
            end.standing()
        );
    }
    println!("{tried} states");
    assert!(tried > 50_000, "{tried}");
}

/// A small environment: all 256 subsets of its eight sectors.
#[test]
fn every_subset_of_the_sectors_of_a_small_environment() {
    let size = 8 * SECTOR as u64;
    let shape = Shape {
        size,
        ..shape(FlagScheme::Incremental)
    };
    let value = "v".repeat(3000);
    let render = |order: &str, flags| {
        let e = env(&[("BOOT_ORDER", order), ("z", &value)]);
        uboot_env::codec::Image::render(&e, Some(flags), size, Endian::Little).unwrap()
    };
    // The older copy holds what is going to be written again: A, B, and A once more.
    for stale in ["B A", "none"] {
        let (current, older) = (render("A B", 2), render(stale, 1));
        let start = Snapshot::new(shape, Ok(current.clone()), Some(Ok(older.clone())));
        let wanted = env(&[("BOOT_ORDER", "B A"), ("z", &value)]);
        let step = start.plan(&wanted).unwrap().steps.remove(0);
        assert_eq!(step.copy, CopyId::Second, "the copy that does not count");
        let allowed = [start.env().unwrap().clone(), wanted];
        for subset in 0u32..256 {
            let mut torn = older.clone();
            for i in (0..8).filter(|i| subset >> i & 1 == 1) {
                torn[i * SECTOR..(i + 1) * SECTOR]
                    .copy_from_slice(&step.image[i * SECTOR..(i + 1) * SECTOR]);
            }
            let now = Snapshot::new(shape, Ok(current.clone()), Some(Ok(torn)));
            judge(&now, &allowed, &subset);
        }
    }
}

/// Two copies on simulated flash, each with its own range.
fn flash(sim: &Sim, scheme: FlagScheme) -> Media {
    let erase = sim.0.borrow().geometry.erase_size;
    let half = sim.0.borrow().geometry.size / 2 / erase * erase;
    let copy = |start| {
        FlashCopy::new(
            sim.boxed(),
            "/dev/mtd0",
            Range {
                start,
                end: start + half,
            },
            SIZE,
        )
    };
    Media::flash(scheme, copy(0), Some(copy(half)))
}

/// Puts raw copies on the chip.
fn lay_down(sim: &Sim, copies: &[Vec<u8>; 2]) {
    let mut media = flash(sim, FlagScheme::Incremental);
    media.write(CopyId::First, &copies[0]).unwrap();
    media.write(CopyId::Second, &copies[1]).unwrap();
}

fn commit(sim: &Sim, scheme: FlagScheme) -> bool {
    let mut media = flash(sim, scheme);
    let mut txn = Txn::load(&mut media, shape(scheme), Locks::not_needed());
    if txn.snapshot().env().is_none() {
        return false;
    }
    txn.replace(new_env());
    txn.commit().is_ok()
}

/// Cuts a transaction on flash after every step, in every way, and each recovery after every step.
fn cut_flash_everywhere(kind: MtdKind, scheme: FlagScheme, starts: &[[Vec<u8>; 2]]) -> u64 {
    let mut tried = 0;
    for start in starts {
        let chip = Sim::new(kind, 16);
        lay_down(&chip, start);
        let before = read_all(&mut flash(&chip, scheme), shape(scheme));
        // Where the readers disagree already, each may go on seeing what it saw.
        let mut allowed = vec![new_env()];
        for id in [CopyId::First, CopyId::Second] {
            if let Some(Ok(image)) = before.copy(id)
                && (before.standing().current() == Some(id)
                    || matches!(before.standing(), Standing::Ambiguous { .. }))
            {
                allowed.push(image.env.clone());
            }
        }
        let whole = chip.snapshot();
        assert!(commit(&whole, scheme));
        let steps = whole.0.borrow().steps;
        for after in 1..=steps {
            for torn in TORN {
                let cut = chip.snapshot();
                cut.cut_after(after, torn);
                // The last step may be complete, and then it all is.
                commit(&cut, scheme);
                let powered = cut.snapshot();
                let now = read_all(&mut flash(&powered, scheme), shape(scheme));
                judge(&now, &allowed, &(kind, after, torn));
                tried += 1;
                for again in 1.. {
                    let second = powered.snapshot();
                    second.cut_after(again, torn);
                    let whole = commit(&second, scheme);
                    let now = read_all(&mut flash(&second.snapshot(), scheme), shape(scheme));
                    judge(&now, &allowed, &(kind, after, torn, again));
                    tried += 1;
                    if whole {
                        break;
                    }
                }
                assert!(commit(&powered, scheme), "the next run finishes");
                let end = read_all(&mut flash(&powered, scheme), shape(scheme));
                assert_eq!(end.env(), Some(&new_env()));
            }
        }
    }
    tried
}

#[test]
fn nor_flash_cut_at_every_erase_and_program_step() {
    let (old, older) = (old_vars(), [("BOOT_ORDER", "older"), ("filler", FILLER)]);
    let mut starts = Vec::new();
    for (f0, f1) in [
        (1, 0),
        (1, 1),
        (0xFF, 0xFF),
        (0xFF, 0),
        (0, 0),
        (0x7F, 2),
        (2, 1),
    ] {
        starts.push([image(&old, Some(f0)), image(&older, Some(f1))]);
    }
    for (f0, f1) in [(0, 1), (0, 0xFF), (2, 0xFF)] {
        starts.push([image(&older, Some(f0)), image(&old, Some(f1))]);
    }
    starts.push([image(&old, Some(1)), vec![0xFF; 0x2000]]);
    starts.push([vec![0x55; 0x2000], image(&old, Some(0))]);
    let tried = cut_flash_everywhere(MtdKind::Nor, FlagScheme::Boolean, &starts);
    println!("{tried} states");
    assert!(tried > 30_000, "{tried}");
}

#[test]
fn nand_flash_cut_at_every_erase_and_program_step() {
    let tried = cut_flash_everywhere(MtdKind::Nand, FlagScheme::Incremental, &starts());
    println!("{tried} states");
    assert!(tried > 30_000, "{tried}");
}

/// A UBI volume: from the start of an update to its end it cannot be read.
#[derive(Clone)]
struct Volume(Rc<RefCell<Option<Vec<u8>>>>, Rc<RefCell<Option<u32>>>);

impl UbiVolume for Volume {
    fn read(&mut self, len: u64) -> io::Result<Vec<u8>> {
        let content = self
            .0
            .borrow()
            .clone()
            .ok_or(io::Error::from_raw_os_error(9))?;
        Ok(content[..content.len().min(usize::try_from(len).unwrap())].to_vec())
    }

    fn update(&mut self, content: &[u8]) -> io::Result<()> {
        for part in 0..3 {
            let mut fuel = self.1.borrow_mut();
            match fuel.as_mut() {
                Some(0) => return Err(io::Error::from_raw_os_error(5)),
                Some(left) => *left -= 1,
                None => {}
            }
            // Marker set, data written, marker cleared.
            *self.0.borrow_mut() = (part == 2).then(|| content.to_vec());
        }
        Ok(())
    }
}

/// Two volumes on one supply of power.
struct Volumes([Volume; 2]);

impl Volumes {
    fn new(contents: [Option<Vec<u8>>; 2]) -> Volumes {
        let power = Rc::new(RefCell::new(None));
        Volumes(contents.map(|content| Volume(Rc::new(RefCell::new(content)), power.clone())))
    }

    /// What is there when the power has come back.
    fn power_on(&self) -> Volumes {
        Volumes::new(self.0.each_ref().map(|volume| volume.0.borrow().clone()))
    }

    fn media(&self) -> Media {
        let [first, second] = self
            .0
            .each_ref()
            .map(|volume| UbiCopy::new(Box::new(volume.clone()), "/dev/ubi0_0", SIZE));
        Media::ubi(first, Some(second))
    }

    fn look(&self) -> Snapshot {
        read_all(&mut self.media(), shape(FlagScheme::Incremental))
    }

    /// Writes the new variables, with power for so many steps.
    fn commit(&self, steps: Option<u32>) -> bool {
        *self.0[0].1.borrow_mut() = steps;
        let mut media = self.media();
        let mut txn = Txn::load(
            &mut media,
            shape(FlagScheme::Incremental),
            Locks::not_needed(),
        );
        txn.replace(new_env());
        txn.commit().is_ok()
    }
}

/// At most two copies are written, in three steps each; then all of it again in the next run.
#[test]
fn ubi_volumes_cut_inside_the_update_and_again_in_the_recovery() {
    let mut tried = 0u64;
    for start in starts() {
        let start = Volumes::new(start.map(Some));
        let allowed = [start.look().env().unwrap().clone(), new_env()];
        for first in 0..7 {
            let cut = start.power_on();
            cut.commit(Some(first));
            judge(&cut.power_on().look(), &allowed, &first);
            for second in 0..7 {
                let again = cut.power_on();
                again.commit(Some(second));
                let found = again.power_on();
                judge(&found.look(), &allowed, &(first, second));
                tried += 1;
                assert!(found.commit(None), "the run after both finishes");
                assert_eq!(found.look().env(), Some(&new_env()));
            }
            let found = cut.power_on();
            assert!(found.commit(None), "the next run finishes");
            assert_eq!(found.look().env(), Some(&new_env()));
            tried += 1;
        }
        assert!(start.power_on().commit(Some(6)), "six steps are all");
    }
    println!("{tried} states");
    assert!(tried > 1_000, "{tried}");
}

/// The transaction itself, on a storage that counts: never the current copy first, never both
/// before one was read back.
#[test]
fn the_order_of_operations() {
    struct Recorder {
        copies: [Vec<u8>; 2],
        log: Vec<String>,
    }
    impl EnvStorage for Recorder {
        fn scheme(&self) -> FlagScheme {
            FlagScheme::Boolean
        }
        fn read(&mut self, copy: CopyId) -> Result<Vec<u8>, CopyError> {
            self.log.push(format!("read {}", copy.index()));
            Ok(self.copies[copy.index()].clone())
        }
        fn write(&mut self, copy: CopyId, image: &[u8]) -> Result<(), CopyError> {
            self.log.push(format!("write {}", copy.index()));
            self.copies[copy.index()] = image.to_vec();
            Ok(())
        }
        fn obsolete(&mut self, copy: CopyId) -> Result<(), CopyError> {
            self.log.push(format!("obsolete {}", copy.index()));
            self.copies[copy.index()][4] = 0;
            Ok(())
        }
    }
    let run = |f0, f1| {
        let old = old_vars();
        let copies = [image(&old, Some(f0)), image(&old, Some(f1))];
        let mut r = Recorder {
            copies,
            log: Vec::new(),
        };
        let mut txn = Txn::load(&mut r, shape(FlagScheme::Boolean), Locks::not_needed());
        txn.replace(new_env());
        txn.commit().unwrap();
        r.log.join(", ")
    };
    let load = "read 0, read 1, ";
    let end = ", read 0, read 1";
    let one = "write 1, read 1, obsolete 0, read 0";
    assert_eq!(run(1, 0), format!("{load}{one}{end}"));
    // Flags that readers could take differently: both copies are written, one after the other.
    let both = format!("{one}, write 0, read 0, obsolete 1, read 1");
    assert_eq!(run(0xFF, 0xFF), format!("{load}{both}{end}"));
}
