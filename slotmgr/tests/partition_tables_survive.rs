//! The power fails at every operation of a change to a partition table, and each time every
//! reader that checks what it reads finds the old or the new table, whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use slotmgr::partition::gpt::{self, Changed, Copy, GptError};
use slotmgr::partition::table::{Table, Unsound};
use slotmgr::partition::{Guid, SectorSize, mbr};
use slotmgr::storage::record::RecordingDisks;
use slotmgr::storage::sim::{Keep, World};
use slotmgr::storage::{Disks, Storage};
use support::cuts::{Tried, cut_everywhere, cut_twice};
use support::table_disk::{self as model, DISK, Part, Shape};

type Edit = fn(&mut Table, u32) -> Result<(), Unsound>;

/// The changes that slotmgr makes, each to one entry.
const EDITS: [(&str, Edit); 3] = [
    ("move", |table, number| {
        let entry = table.entry(number).unwrap();
        let len = entry.last + 1 - entry.first;
        table.set_place(number, (entry.first + len, entry.last + len))
    }),
    ("type", |table, number| {
        table.set_kind(
            number,
            Guid::parse("0fc63daf-8483-4772-8e79-3d69d8477de4").unwrap(),
        )
    }),
    ("attributes", |table, number| {
        table.set_attributes(number, 0x0021_0000_0000_0001)
    }),
];

fn sector(shape: &Shape) -> SectorSize {
    SectorSize::new(u32::try_from(shape.sector).unwrap()).unwrap()
}

fn change(world: &World, shape: &Shape, edit: Edit, number: u32) -> Result<Changed, GptError> {
    let Ok(mut disk) = world.clone().open(DISK) else {
        return Err(GptError::ReadBack(Copy::Primary));
    };
    gpt::change(disk.as_mut(), sector(shape), |table| {
        edit(table, number).map_err(GptError::Unsound)
    })
}

/// Ways in which a disk may be found before a change.
fn damages(shape: &Shape) -> Vec<(&'static str, Vec<u8>)> {
    let parts = model::parts(shape);
    let good = model::disk(shape, &parts);
    let last = usize::try_from(shape.sectors - 1).unwrap() * shape.sector;
    let array = usize::try_from(shape.array).unwrap() * shape.sector;
    let spoil = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let mut renamed = parts.clone();
    renamed[1].kind = 0x66;
    let stale = [
        &good[..last - shape.sector * 4],
        &model::disk(shape, &renamed)[last - shape.sector * 4..],
    ];
    let mut stale = stale.concat();
    let backup = last - usize::try_from(shape.array_sectors()).unwrap() * shape.sector;
    stale[backup..].copy_from_slice(&model::disk(shape, &renamed)[backup..]);
    vec![
        ("whole", good.clone()),
        ("primary header bad", spoil(shape.sector + 57)),
        ("primary entries bad", spoil(array + 3)),
        ("backup header bad", spoil(last + 57)),
        ("backup entries bad", spoil(backup + 3)),
        ("backup stale", stale),
    ]
}

struct Expected {
    old: Vec<Part>,
    new: Vec<Part>,
    bytes: Vec<u8>,
}

/// What everybody finds who has a right to expect a table.
fn check(found: &World, shape: &Shape, expected: &Expected, primary_was_whole: bool) -> bool {
    let bytes = found.current(DISK);
    let either = |parts: &Option<Vec<Part>>| {
        parts.as_ref() == Some(&expected.old) || parts.as_ref() == Some(&expected.new)
    };
    let firmware = model::firmware(&bytes, shape.sector);
    assert!(either(&firmware), "firmware finds {firmware:?}");
    let linux = model::linux(&bytes, shape.sector);
    assert!(linux.is_none() || linux == firmware);
    if primary_was_whole {
        let grub = model::grub(&bytes, shape.sector);
        assert!(either(&grub), "GRUB finds {grub:?}");
    }
    linux.is_some()
}

#[test]
fn every_change_from_every_state_cut_everywhere() {
    let mut tried = Tried::default();
    let mut without_primary = 0_u64;
    for shape in [Shape::S512, Shape::S4096, Shape::MOVED] {
        for number in [1, 5, shape.count - 1] {
            for (what, edit) in EDITS {
                for (state, bytes) in damages(&shape) {
                    let start = || model::world(&bytes);
                    let whole = start();
                    let old = model::firmware(&bytes, shape.sector).unwrap();
                    change(&whole, &shape, edit, number)
                        .unwrap_or_else(|e| panic!("{what}, {state}: {e}"));
                    let expected = Expected {
                        old,
                        new: model::linux(&whole.current(DISK), shape.sector).unwrap(),
                        bytes: whole.current(DISK),
                    };
                    assert_ne!(expected.old, expected.new);
                    let sound = model::linux(&bytes, shape.sector).is_some();
                    let one_unit = shape.sector == 512 && shape.array == 2 && number < 16;
                    cut_everywhere(
                        &start,
                        &|world| drop(change(world, &shape, edit, number)),
                        &mut tried,
                        &mut |found, (_, keep)| {
                            let primary = check(found, &shape, &expected, sound);
                            without_primary += u64::from(sound && !primary);
                            if sound && one_unit && matches!(keep, Keep::None | Keep::All) {
                                assert!(
                                    primary,
                                    "{what}, {state}: a write of 4,096 bytes as a whole is enough"
                                );
                            }
                        },
                    );
                    recover(&start, (&shape, edit, number), &expected, &mut tried);
                }
            }
        }
    }
    tried.report("GPT, every change from every state");
    println!(
        "of these, {without_primary} states in which Linux without `gpt` on its command line finds \
         no partitions: the primary copy was torn"
    );
}

/// After each cut the next run finishes: also when it is cut again.
fn recover(
    start: &dyn Fn() -> World,
    (shape, edit, number): (&Shape, Edit, u32),
    expected: &Expected,
    tried: &mut Tried,
) {
    let mut found = Vec::new();
    cut_everywhere(
        start,
        &|world| drop(change(world, shape, edit, number)),
        &mut Tried::default(),
        &mut |world, (_, keep)| {
            if matches!(keep, Keep::None | Keep::Random(1)) {
                found.push(world.current(DISK));
            }
        },
    );
    for bytes in found {
        // Moving is not idempotent: the second run is told where to, by what the first one wanted.
        let again = |world: &World| -> Result<(), GptError> {
            let mut disk = world
                .clone()
                .open(DISK)
                .map_err(|_| GptError::ReadBack(Copy::Primary))?;
            let target = expected
                .new
                .iter()
                .find(|p| p.number == number as usize)
                .unwrap();
            gpt::change(disk.as_mut(), sector(shape), |table| {
                let place = (target.first, target.last);
                table.set_place(number, place).map_err(GptError::Unsound)?;
                table
                    .set_attributes(number, target.attributes)
                    .map_err(GptError::Unsound)?;
                match target.kind {
                    0xaf => EDITS[1].1(table, number).map_err(GptError::Unsound),
                    _ => Ok(()),
                }
            })
            .map(drop)
        };
        let world = model::world(&bytes);
        again(&world).unwrap();
        tried.recoveries += 1;
        assert!(
            world.current(DISK) == expected.bytes,
            "the next run finishes, byte by byte"
        );
        let before = world.operations();
        again(&world).unwrap();
        assert_eq!(world.operations(), before, "equal content writes nothing");
        if before == 0 {
            continue;
        }
        let sound = model::linux(&bytes, shape.sector).is_some();
        let begin = || model::world(&bytes);
        cut_everywhere(
            &begin,
            &|world| drop(again(world)),
            tried,
            &mut |world, _| {
                check(world, shape, expected, sound);
            },
        );
    }
}

#[test]
fn nothing_but_what_was_asked_for_changes() {
    for shape in [Shape::S512, Shape::S4096, Shape::MOVED] {
        let before = model::disk(&shape, &model::parts(&shape));
        for number in [1, 3, shape.count - 1] {
            let world = model::world(&before);
            change(&world, &shape, EDITS[2].1, number).unwrap();
            let mut parts = model::parts(&shape);
            parts
                .iter_mut()
                .find(|p| p.number == number as usize)
                .unwrap()
                .attributes = 0x0021_0000_0000_0001;
            assert!(
                world.current(DISK) == model::disk(&shape, &parts),
                "{shape:?} {number}"
            );
        }
    }
}

/// The same change by a writer that does not care. The machine must be able to find each of these:
/// they are what partitioning tools do.
#[test]
fn careless_orders_are_found() {
    let shape = Shape::S512;
    let old = model::disk(&shape, &model::parts(&shape));
    let target = model::world(&old);
    change(&target, &shape, EDITS[0].1, 127).unwrap();
    let new = target.current(DISK);
    let last = usize::try_from(shape.sectors - 1).unwrap() * 512;
    let backup = last - 32 * 512;
    type Step = (usize, usize);
    let (primary, backup): (Step, Step) = ((512, 33 * 512), (backup, 33 * 512));
    let careful: &[(Step, bool)] = &[(backup, true), (primary, true)];
    let no_barrier: &[(Step, bool)] = &[(backup, false), (primary, true)];
    let split: &[(Step, bool)] = &[
        ((primary.0 + 512, 32 * 512), false),
        ((backup.0, 32 * 512), false),
        ((last, 512), false),
        ((512, 512), true),
    ];
    let harm = |steps: &[(Step, bool)]| {
        let mut harmed = false;
        let work = |world: &World| {
            let Ok(mut disk) = world.clone().open(DISK) else {
                return;
            };
            for ((at, len), barrier) in steps {
                let written = disk.write_at(&new[*at..at + len], *at as u64);
                if written.is_err() || (*barrier && disk.sync().is_err()) {
                    return;
                }
            }
        };
        cut_everywhere(
            &|| model::world(&old),
            &work,
            &mut Tried::default(),
            &mut |found, _| {
                harmed |= model::firmware(&found.current(DISK), 512).is_none();
            },
        );
        harmed
    };
    assert!(!harm(careful));
    assert!(harm(no_barrier), "no barrier between the copies");
    assert!(harm(split), "both copies at once, as the crate gpt does");
}

fn recorded(bytes: &[u8], work: impl FnOnce(&mut dyn Storage)) -> String {
    let mut world = model::world(bytes);
    let mut disks = RecordingDisks::new(&mut world);
    let log = disks.log();
    work(disks.open(DISK).unwrap().as_mut());
    log.render().replace("boot-env", "disk")
}

#[test]
fn the_order_of_writes_is_a_contract() {
    let shape = Shape::S512;
    let list = |number: u32, state: usize| {
        recorded(&damages(&shape)[state].1, |disk| {
            gpt::change(disk, SectorSize::S512, |table| {
                EDITS[2].1(table, number).map_err(GptError::Unsound)
            })
            .map(drop)
            .unwrap();
        })
    };
    insta::assert_snapshot!(list(1, 0), @r"
    write     disk @65024 +512
    write     disk @81408 +512
    sync      disk
    read-back disk
    write     disk @512 +1024
    sync      disk
    read-back disk
    ");
    insta::assert_snapshot!(list(127, 0), @r"
    write     disk @80896 +1024
    sync      disk
    read-back disk
    write     disk @16896 +512
    write     disk @512 +512
    sync      disk
    read-back disk
    ");
    insta::assert_snapshot!(list(1, 2), @r"
    write     disk @1024 +16384
    write     disk @512 +512
    sync      disk
    read-back disk
    write     disk @65024 +512
    write     disk @81408 +512
    sync      disk
    read-back disk
    write     disk @512 +1024
    sync      disk
    read-back disk
    ");
    insta::assert_snapshot!(list(1, 5), @r"
    write     disk @65024 +16896
    sync      disk
    read-back disk
    write     disk @65024 +512
    write     disk @81408 +512
    sync      disk
    read-back disk
    write     disk @512 +1024
    sync      disk
    read-back disk
    ");
}

/// An MBR with two partitions, boot code and a disk signature.
fn mbr_disk() -> Vec<u8> {
    let mut bytes = vec![0x90; 64 * 512];
    bytes[446..510].fill(0);
    for (at, first) in [(446, 8_u32), (462, 40)] {
        bytes[at + 4] = 0x0c;
        bytes[at + 8..at + 12].copy_from_slice(&first.to_le_bytes());
        bytes[at + 12..at + 16].copy_from_slice(&16_u32.to_le_bytes());
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

#[test]
fn an_mbr_is_old_or_new() {
    let mut tried = Tried::default();
    let start = mbr_disk();
    let work = |world: &World| {
        if let Ok(mut disk) = world.clone().open(DISK) {
            let _ = mbr::set_place(disk.as_mut(), SectorSize::S512, 1, (24, 16));
        }
    };
    let whole = model::world(&start);
    work(&whole);
    let new = whole.current(DISK);
    assert_ne!(new, start);
    assert_eq!(
        new[..447],
        start[..447],
        "boot code, disk signature and flag stay"
    );
    assert_eq!(new[462..], start[462..], "and so does everything else");
    let begin = || model::world(&start);
    cut_twice(&begin, &work, &work, &mut tried, &mut |found| {
        let now = found.current(DISK);
        assert!(now == new || now == start);
        work(found);
        assert!(found.current(DISK) == new);
    });
    tried.report("MBR switch");
    let list = recorded(&start, |disk| {
        mbr::set_place(disk, SectorSize::S512, 1, (24, 16)).unwrap();
    });
    insta::assert_snapshot!(list, @r"
    write     disk @0 +512
    sync      disk
    read-back disk
    ");
}

#[test]
fn an_mbr_that_is_none_or_a_place_that_is_none_is_not_written() {
    let refused = |bytes: &[u8], number, place| {
        let world = model::world(bytes);
        let mut disk = world.clone().open(DISK).unwrap();
        let result = mbr::set_place(disk.as_mut(), SectorSize::S512, number, place);
        assert_eq!(world.operations(), 0);
        result.unwrap_err().to_string()
    };
    let good = mbr_disk();
    assert!(refused(&good, 3, (24, 16)).contains("no partition 3"));
    assert!(refused(&good, 1, (30, 16)).contains("another partition"));
    assert!(refused(&good, 1, (60, 16)).contains("not on the disk"));
    assert!(refused(&good, 1, (0, 8)).contains("not on the disk"));
    assert!(refused(&good, 1, (u64::MAX, 8)).contains("count that far"));
    assert!(refused(&vec![0; 64 * 512], 1, (24, 16)).contains("no MBR"));
    let gpt = model::disk(&Shape::S512, &[]);
    assert!(refused(&gpt, 1, (24, 16)).contains("not an MBR with partitions"));
}
