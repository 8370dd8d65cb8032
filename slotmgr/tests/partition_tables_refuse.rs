//! Disks whose tables may not be changed: nothing is written to them, and nothing panics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use proptest::prelude::*;
use slotmgr::partition::gpt::{self, Copy, Gpt, GptError};
use slotmgr::partition::header::Flaw;
use slotmgr::partition::table::Unsound;
use slotmgr::partition::{Guid, SectorSize, mbr};
use slotmgr::storage::Disks;
use slotmgr::storage::sim::World;
use support::table_disk::{self as model, DISK, Part, Shape};

const S512: SectorSize = SectorSize::S512;

fn attempt(world: &World) -> Result<gpt::Changed, GptError> {
    let mut disk = world.clone().open(DISK).unwrap();
    gpt::change(disk.as_mut(), S512, |table| {
        table.set_attributes(1, 5).map_err(GptError::Unsound)
    })
}

/// Changes the disk, expects a refusal, and that nothing was written.
fn refused(bytes: &[u8]) -> GptError {
    let world = model::world(bytes);
    let error = attempt(&world).unwrap_err();
    assert_eq!(world.operations(), 0, "{error}");
    error
}

fn good() -> Vec<u8> {
    model::disk(&Shape::S512, &model::parts(&Shape::S512))
}

/// The disk with these bytes in both headers at `at`, checksums right again.
fn with_header_field(at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = good();
    for header in [512, 159 * 512] {
        bytes[header + at..header + at + value.len()].copy_from_slice(value);
        bytes[header + 16..header + 20].fill(0);
        let crc = crc32fast::hash(&bytes[header..header + 92]).to_le_bytes();
        bytes[header + 16..header + 20].copy_from_slice(&crc);
    }
    bytes
}

#[test]
fn hybrid_and_missing_protective_mbrs() {
    let mut hybrid = good();
    hybrid[462 + 4] = 0x0c;
    assert!(matches!(
        refused(&hybrid),
        GptError::Unprotected {
            found: mbr::Protection::Hybrid
        }
    ));
    let mut none = good();
    none[510] = 0;
    assert!(matches!(
        refused(&none),
        GptError::Unprotected {
            found: mbr::Protection::None
        }
    ));
    let mut ordinary = good();
    ordinary[446 + 4] = 0x83;
    assert!(matches!(
        refused(&ordinary),
        GptError::Unprotected {
            found: mbr::Protection::Mbr
        }
    ));
    let mut late = good();
    late[446 + 8] = 2;
    assert!(matches!(
        refused(&late),
        GptError::Unprotected {
            found: mbr::Protection::Hybrid
        }
    ));
}

#[test]
fn partitions_that_overlap_or_leave_their_space() {
    let shape = Shape::S512;
    let mut parts = model::parts(&shape);
    parts[1].first = parts[0].last;
    let error = refused(&model::disk(&shape, &parts));
    assert!(matches!(
        error,
        GptError::Unsound(Unsound::Overlap {
            first: 1,
            second: 3
        })
    ));
    for (first, last) in [(1, 40), (40, 158), (60, 59), (0, u64::MAX), (u64::MAX, 0)] {
        let part = Part {
            first,
            last,
            ..parts[0].clone()
        };
        let error = refused(&model::disk(&shape, &[part]));
        assert!(matches!(
            error,
            GptError::Unsound(Unsound::Outside { number: 1 })
        ));
    }
}

#[test]
fn a_disk_that_grew_is_left_to_a_partitioning_tool() {
    let mut bytes = good();
    bytes.extend([0; 4096]);
    let error = refused(&bytes);
    assert!(
        matches!(
            error,
            GptError::BackupNotAtEnd {
                found: 159,
                expected: 167
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("sgdisk -e"));
}

#[test]
fn absurd_sizes() {
    for (at, value, what) in [
        (80, &u32::MAX.to_le_bytes()[..], Flaw::Entries),
        (80, &[0; 4], Flaw::Entries),
        (84, &[0; 4], Flaw::Entries),
        (84, &[127, 0, 0, 0], Flaw::Entries),
        (84, &[0, 0, 0, 0x80], Flaw::Entries),
        (12, &[91, 0, 0, 0], Flaw::Shape),
        (12, &[0, 0, 1, 0], Flaw::Shape),
        (8, &[0; 4], Flaw::Shape),
        (72, &u64::MAX.to_le_bytes(), Flaw::Array),
        (72, &[1, 0, 0, 0, 0, 0, 0, 0], Flaw::Array),
        (72, &[150, 0, 0, 0, 0, 0, 0, 0], Flaw::Array),
        (24, &[9, 0, 0, 0, 0, 0, 0, 0], Flaw::Place),
    ] {
        match refused(&with_header_field(at, value)) {
            GptError::NoTable { primary, .. } => assert_eq!(primary, what, "{at}"),
            other => panic!("{at}: {other}"),
        }
    }
    for (at, value) in [(40, 33_u64), (40, 150), (48, 127), (48, u64::MAX)] {
        let error = refused(&with_header_field(at, &value.to_le_bytes()));
        assert!(
            matches!(error, GptError::NoRoom { .. }),
            "{at} {value}: {error}"
        );
    }
    for len in [0, 1, 511, 512, 1024, 1535, 1536, 4096] {
        refused(&good()[..len]);
    }
}

/// The backup knows the entries, but not where the primary ones were.
#[test]
fn a_moved_table_without_its_header_is_found_or_left_alone() {
    let shape = Shape::MOVED;
    let mut bytes = model::disk(&shape, &model::parts(&shape));
    bytes[512] = 0;
    let world = model::world(&bytes);
    assert_eq!(attempt(&world).unwrap().repaired, Some(Copy::Primary));
    let after = world.current(DISK);
    assert!(model::linux(&after, 512).is_some());
    assert!(
        after[1024..9 * 512] == bytes[1024..9 * 512],
        "what the ROM starts is untouched"
    );
    bytes[9 * 512 + 5] ^= 1;
    let error = refused(&bytes);
    assert!(matches!(
        error,
        GptError::CannotRebuild {
            copy: Copy::Primary,
            flaw: Flaw::NoHeader
        }
    ));
}

#[test]
fn changes_that_would_break_the_table() {
    let attempt = |edit: &dyn Fn(&mut slotmgr::partition::table::Table) -> Result<(), Unsound>| {
        let world = model::world(&good());
        let mut disk = world.clone().open(DISK).unwrap();
        let result = gpt::change(disk.as_mut(), S512, |table| {
            edit(table).map_err(GptError::Unsound)
        });
        assert_eq!(world.operations(), 0);
        result.unwrap_err()
    };
    attempt(&|table| table.set_place(1, (34, 127)));
    attempt(&|table| table.set_place(1, (33, 34)));
    attempt(&|table| table.set_place(2, (34, 35)));
    attempt(&|table| table.set_attributes(0, 1));
    attempt(&|table| table.set_attributes(u32::MAX, 1));
    attempt(&|table| table.set_kind(1, Guid::ZERO));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes are changed anywhere in the two copies: what is written afterwards is a table that
    /// every checking reader takes, with the partitions that one of the copies had; or nothing is.
    #[test]
    fn damage_is_repaired_or_nothing_is_written(
        hits in prop::collection::vec((0_usize..70 * 512, any::<u8>()), 1..6),
        fix_crc in any::<bool>(),
    ) {
        let mut bytes = good();
        let start = bytes.len() - 36 * 512;
        for (at, value) in hits {
            let at = if at < 34 * 512 { at } else { start + at - 34 * 512 };
            bytes[at] = value;
        }
        if fix_crc {
            // An attacker, or a broken tool, makes the checksums right.
            for header in [512, 159 * 512] {
                let array = if header == 512 { 1024 } else { 127 * 512 };
                let crc = crc32fast::hash(&bytes[array..array + 16384]).to_le_bytes();
                bytes[header + 88..header + 92].copy_from_slice(&crc);
                bytes[header + 16..header + 20].fill(0);
                let crc = crc32fast::hash(&bytes[header..header + 92]).to_le_bytes();
                bytes[header + 16..header + 20].copy_from_slice(&crc);
            }
        }
        let world = model::world(&bytes);
        let before = model::firmware(&bytes, 512);
        match attempt(&world) {
            Err(_) => prop_assert_eq!(world.operations(), 0),
            Ok(_) => {
                let mut expected = before.expect("only a table that firmware reads is changed");
                expected[0].attributes = 5;
                let after = world.current(DISK);
                prop_assert_eq!(model::linux(&after, 512), Some(expected.clone()));
                prop_assert_eq!(model::checked_copy(&after, 512, 159), Some(expected));
            }
        }
    }

    /// Anything at all.
    #[test]
    fn noise_is_refused(seed in prop::collection::vec(any::<u8>(), 0..4096), sector in 0_usize..4) {
        let world = model::world(&seed);
        let mut disk = world.clone().open(DISK).unwrap();
        let sector = SectorSize::new([512, 1024, 2048, 4096][sector]).unwrap();
        prop_assert!(Gpt::load(disk.as_mut(), sector).is_err());
        // An MBR is known by two bytes only, which noise has now and then.
        let signature = seed.get(510..512) == Some(&[0x55, 0xaa]);
        prop_assert!(signature || mbr::load(disk.as_mut(), sector).is_err());
    }
}
