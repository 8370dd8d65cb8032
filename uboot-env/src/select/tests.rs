//! All 65536 flag pairs and all validities, against tables written down by hand.

use super::*;

const V: [CopyState; 2] = [CopyState::Invalid, CopyState::Unreadable];

fn first(yes: bool) -> CopyId {
    if yes { CopyId::First } else { CopyId::Second }
}

/// The rules again, as sets of pairs in which the *second* copy wins.
fn second_wins(reader: Reader, scheme: FlagScheme, f0: u8, f1: u8) -> bool {
    let counter = if (f0, f1) == (0, 255) {
        false
    } else {
        (f0, f1) == (255, 0) || f0 < f1
    };
    match (reader, scheme) {
        (_, FlagScheme::Incremental) | (Reader::Uboot, _) => counter,
        (Reader::FwEnv, _) => (f0, f1) == (0, 1) || (f0 != 255 && f1 == 255),
        (Reader::Libubootenv, _) => f1 == 255 || (f0 != 255 && f0 < f1),
        (Reader::UbootParallelNor, _) => !((f0, f1) == (1, 0) || f0 == f1 || f0 == 255),
    }
}

#[test]
fn every_flag_pair_is_read_as_the_tables_say() {
    for scheme in [FlagScheme::Boolean, FlagScheme::Incremental] {
        for pair in 0..=u16::MAX {
            let [f0, f1] = pair.to_be_bytes();
            let (a, b) = (
                CopyState::Valid { flags: f0 },
                CopyState::Valid { flags: f1 },
            );
            for &reader in Reader::all(scheme) {
                let want = first(!second_wins(reader, scheme, f0, f1));
                assert_eq!(
                    reader.pick(scheme, a, b),
                    Pick::Copy(want),
                    "{reader:?} {f0} {f1}"
                );
            }
            // Ours is fw_env's choice, whatever the others say.
            let want = first(!second_wins(Reader::FwEnv, scheme, f0, f1));
            let standing = Standing::of(scheme, a, b);
            assert_eq!(standing.current(), Some(want));
            let agree = Reader::all(scheme)
                .iter()
                .all(|&r| first(!second_wins(r, scheme, f0, f1)) == want);
            assert_eq!(
                matches!(standing, Standing::Ambiguous { .. }),
                !agree,
                "{f0} {f1}"
            );
        }
    }
}

#[test]
fn one_valid_copy_is_used_whatever_its_flags_and_whatever_is_wrong_with_the_other() {
    for scheme in [FlagScheme::Boolean, FlagScheme::Incremental] {
        for flags in 0..=255 {
            for bad in V {
                let good = CopyState::Valid { flags };
                for (a, b, id) in [(good, bad, CopyId::First), (bad, good, CopyId::Second)] {
                    assert_eq!(
                        Standing::of(scheme, a, b),
                        Standing::OneCopy { current: id }
                    );
                    assert_eq!(Reader::Uboot.pick(scheme, a, b), Pick::Copy(id));
                    let linux = match bad {
                        CopyState::Unreadable => Pick::Fails,
                        _ => Pick::Copy(id),
                    };
                    assert_eq!(Reader::FwEnv.pick(scheme, a, b), linux);
                    assert_eq!(Reader::Libubootenv.pick(scheme, a, b), linux);
                }
            }
        }
    }
}

#[test]
fn no_valid_copy_is_nothing() {
    for scheme in [FlagScheme::Boolean, FlagScheme::Incremental] {
        for a in V {
            for b in V {
                assert_eq!(Standing::of(scheme, a, b), Standing::Nothing);
                assert_eq!(Reader::Uboot.pick(scheme, a, b), Pick::Default);
            }
        }
    }
}

#[test]
fn incremental_pairs_are_never_ambiguous() {
    for pair in 0..=u16::MAX {
        let [f0, f1] = pair.to_be_bytes();
        let (a, b) = (
            CopyState::Valid { flags: f0 },
            CopyState::Valid { flags: f1 },
        );
        let standing = Standing::of(FlagScheme::Incremental, a, b);
        assert!(!matches!(standing, Standing::Ambiguous { .. }), "{f0} {f1}");
    }
}

/// The measured number: of the 49 pairs of these seven values, 17 are read differently by
/// `fw_env`, libubootenv and the incremental rule that U-Boot uses on SPI NOR.
#[test]
fn boolean_pairs_that_divide_the_three_common_readers() {
    let values = [0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF];
    let readers = [Reader::FwEnv, Reader::Libubootenv, Reader::Uboot];
    let mut divided = 0;
    for f0 in values {
        for f1 in values {
            let picks = readers.map(|r| r.compare(FlagScheme::Boolean, f0, f1));
            divided += usize::from(picks.iter().any(|p| *p != picks[0]));
        }
    }
    assert_eq!(divided, 17);
}

#[test]
fn the_pairs_that_writers_leave_are_sound_for_all() {
    for (f0, f1, current) in [
        (1, 0, CopyId::First),
        (0, 1, CopyId::Second),
        (1, 1, CopyId::First),
    ] {
        let (a, b) = (
            CopyState::Valid { flags: f0 },
            CopyState::Valid { flags: f1 },
        );
        assert_eq!(
            Standing::of(FlagScheme::Boolean, a, b),
            Standing::Sound { current }
        );
    }
    for old in 0..=255u8 {
        let new = FlagScheme::Incremental.next(old);
        let (a, b) = (
            CopyState::Valid { flags: old },
            CopyState::Valid { flags: new },
        );
        let sound = |current| Standing::Sound { current };
        assert_eq!(
            Standing::of(FlagScheme::Incremental, a, b),
            sound(CopyId::Second)
        );
        assert_eq!(
            Standing::of(FlagScheme::Incremental, b, a),
            sound(CopyId::First)
        );
    }
}
