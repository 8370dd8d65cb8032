//! Named defects of `fw_setenv` and libubootenv that lost environments in the field, each as a
//! promise of ours.

#![allow(
    clippy::disallowed_methods,
    reason = "test files need no power-cut safety"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation fails the test"
)]

mod common;

use common::{Board, SIZE, env, image};
use uboot_env::codec::{Endian, Image, Layout};
use uboot_env::env::VarName;
use uboot_env::select::{CopyId, FlagScheme};
use uboot_env::snapshot::{PlanError, Shape};
use uboot_env::storage::file::{FileCopy, Replace};
use uboot_env::storage::lock::Locks;
use uboot_env::storage::{CopyError, EnvStorage, Media};
use uboot_env::txn::{Aftermath, Outcome, Txn, TxnError, WriteError};

const SHAPE: Shape = Shape {
    layout: Layout::Redundant,
    size: SIZE,
    endian: Endian::Little,
    scheme: FlagScheme::Incremental,
};

fn media(board: &Board) -> Media {
    let copy = |i| FileCopy::new(board.copy(i), 0, SIZE, Replace::InPlace);
    Media::files(copy(0), Some(copy(1)))
}

fn name(text: &str) -> VarName {
    VarName::new(text).unwrap()
}

/// libubootenv: the second store in one open wrote a *lower* counter; reopening showed the first.
#[test]
fn two_commits_in_one_transaction_are_both_kept() {
    let board = Board::redundant();
    let mut storage = media(&board);
    let mut txn = Txn::load(&mut storage, SHAPE, Locks::not_needed());
    for value in ["first", "second", "third"] {
        txn.set(&name("x"), Some(value.as_bytes())).unwrap();
        assert!(matches!(
            txn.commit().unwrap(),
            Outcome::Written {
                not_repaired: None,
                ..
            }
        ));
        assert_eq!(
            board.ours("fw_printenv", &["-n", "x"]).ok(),
            format!("{value}\n")
        );
        assert_eq!(
            board.theirs("fw_printenv", &["-n", "x"]).ok(),
            format!("{value}\n")
        );
    }
}

/// Both tools skip a spoilt second line, read the first copy as a single one, find a bad CRC, and
/// overwrite it with the default environment; `fw_setenv` returns 0.
#[test]
fn a_spoilt_configuration_line_stops_everything() {
    let board = Board::redundant();
    let before = [board.get(0), board.get(1)];
    let spoilt = format!(
        "{} 0 {SIZE:#x}\n{} 0\n",
        board.copy(0).display(),
        board.copy(1).display()
    );
    std::fs::write(&board.config, spoilt).unwrap();
    for (program, args) in [("fw_printenv", vec![]), ("fw_setenv", vec!["a", "9"])] {
        let ran = board.ours(program, &args);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains("fw_env.config:2"), "{}", ran.err);
    }
    assert_eq!([board.get(0), board.get(1)], before);
}

/// Any mismatch of size, offset or layout ends in the same way there.
#[test]
fn without_a_valid_copy_nothing_is_written() {
    let good = image(&[("a", "1")], Some(1));
    let single = image(&[("a", "1")], None);
    let cases: [(&str, Vec<u8>, Vec<u8>); 4] = [
        ("erased", vec![0xFF; 0x2000], vec![0xFF; 0x2000]),
        ("the other layout", single.clone(), single),
        (
            "another size",
            [good.clone(), good.clone()].concat(),
            good[..0x1000].to_vec(),
        ),
        ("empty files", Vec::new(), Vec::new()),
    ];
    for (what, first, second) in cases {
        let board = Board::new(&[&first, &second]);
        let spoil = |b: &Board| {
            if what == "another size" {
                let text = std::fs::read_to_string(&b.config)
                    .unwrap()
                    .replace("0x2000", "0x1000");
                std::fs::write(&b.config, text).unwrap();
            }
        };
        spoil(&board);
        let initial = board.path().join("initial");
        std::fs::write(&initial, "default=1\n").unwrap();
        let args = ["-f", initial.to_str().unwrap(), "a", "9"];
        assert_eq!(board.ours("fw_setenv", &args).code, 1, "{what}");
        assert_eq!((board.get(0), board.get(1)), (first, second), "{what}");
        // Reads never answer with a default either (rauc and others would act on fiction).
        let read = board.ours("fw_printenv", &["-f", initial.to_str().unwrap()]);
        assert_eq!((read.code, read.out.as_str()), (1, ""), "{what}");
        assert!(
            read.err.contains("there is no valid environment"),
            "{}",
            read.err
        );
    }
}

#[test]
fn init_starts_a_new_environment_only_when_none_is_valid() {
    let board = Board::new(&[&[0xFF; 0x2000], &[0; 0x2000]]);
    let initial = board.path().join("initial");
    std::fs::write(&initial, "# c\ndefault=1\na=0\n").unwrap();
    let args = ["--init", "-f", initial.to_str().unwrap(), "a", "9"];
    board.ours("fw_setenv", &args).ok();
    assert_eq!(board.ours("fw_printenv", &[""; 0]).ok(), "a=9\ndefault=1\n");
    assert_eq!(
        board.theirs("fw_printenv", &[""; 0]).ok(),
        "a=9\ndefault=1\n"
    );
    // Both copies hold it.
    for index in 0..2 {
        Image::parse(&board.get(index), Layout::Redundant, Endian::Little).unwrap();
    }
    board
        .ours(
            "fw_setenv",
            &["--init", "-f", initial.to_str().unwrap(), "b", "1"],
        )
        .ok();
    assert_eq!(
        board.ours("fw_printenv", &[""; 0]).ok(),
        "a=9\nb=1\ndefault=1\n"
    );
}

/// Both tools give up when either copy cannot be read, although U-Boot goes on with the other.
#[test]
fn one_unreadable_copy_is_survived_and_healed_by_the_next_change() {
    let good = image(&[("a", "1")], Some(7));
    let short = &good[..100];
    for (first, second) in [
        (short, good.as_slice()),
        (good.as_slice(), short),
        (&[], &good),
    ] {
        let board = Board::new(&[first, second]);
        let read = board.ours("fw_printenv", &["a"]);
        assert_eq!(read.out, "a=1\n");
        assert!(read.err.contains("the other one is used"), "{}", read.err);
        assert_ne!(
            board.theirs("fw_printenv", &["a"]).code,
            0,
            "the peer cannot do this"
        );
        board.ours("fw_setenv", &["a", "2"]).ok();
        assert_eq!(board.theirs("fw_printenv", &["a"]).ok(), "a=2\n");
    }
}

#[test]
fn a_missing_copy_is_survived() {
    let board = Board::redundant();
    std::fs::remove_file(board.copy(1)).unwrap();
    assert_eq!(board.ours("fw_printenv", &["a"]).out, "a=1\n");
    board.ours("fw_setenv", &["a", "2"]).ok();
    assert_eq!(board.theirs("fw_printenv", &["a"]).ok(), "a=2\n");
    // A missing device is read around, too, but no plain file appears under /dev.
    let text = format!(
        "{} 0 {SIZE:#x}\n/dev/no-such-env 0 {SIZE:#x}\n",
        board.copy(1).display()
    );
    std::fs::write(&board.config, text).unwrap();
    assert_eq!(board.ours("fw_printenv", &["a"]).out, "a=2\n");
    let before = board.get(1);
    let refused = board.ours("fw_setenv", &["a", "3"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .contains("the environment from before is still in use"),
        "{}",
        refused.err
    );
    assert_eq!(
        board.get(1),
        before,
        "the only valid copy is never written over"
    );
    assert!(!std::path::Path::new("/dev/no-such-env").exists());
}

/// Fails to read one copy like a UBI volume with an update marker (EBADF) or NAND (EBADMSG), or
/// writes wrongly as broken drivers have done.
struct Faulty {
    inner: Media,
    read_error: Option<(CopyId, i32)>,
    /// Only so many bytes of a write arrive.
    written: Option<usize>,
}

impl EnvStorage for Faulty {
    fn scheme(&self) -> FlagScheme {
        self.inner.scheme()
    }
    fn read(&mut self, copy: CopyId) -> Result<Vec<u8>, CopyError> {
        match self.read_error {
            Some((bad, code)) if bad == copy => Err(CopyError::Io {
                op: uboot_env::storage::Op::Read,
                path: "copy".into(),
                offset: 0,
                source: std::io::Error::from_raw_os_error(code),
            }),
            _ => self.inner.read(copy),
        }
    }
    fn write(&mut self, copy: CopyId, image: &[u8]) -> Result<(), CopyError> {
        if self.read_error.is_some_and(|(bad, _)| bad == copy) {
            self.read_error = None;
        }
        let mut image = image.to_vec();
        if let Some(n) = self.written {
            image[n..].fill(0);
        }
        self.inner.write(copy, &image)
    }
    fn obsolete(&mut self, copy: CopyId) -> Result<(), CopyError> {
        self.inner.obsolete(copy)
    }
}

#[test]
fn read_errors_of_ubi_and_nand_are_survived() {
    const EBADF: i32 = 9;
    const EBADMSG: i32 = 74;
    for code in [EBADF, EBADMSG, 5] {
        let board = Board::redundant();
        let read_error = Some((CopyId::Second, code));
        let mut storage = Faulty {
            inner: media(&board),
            read_error,
            written: None,
        };
        let mut txn = Txn::load(&mut storage, SHAPE, Locks::not_needed());
        assert_eq!(txn.env().get(b"a"), Some(b"1".as_slice()));
        txn.set(&name("a"), Some(b"2")).unwrap();
        let outcome = txn.commit().unwrap();
        assert!(
            matches!(
                outcome,
                Outcome::Written {
                    current: CopyId::Second,
                    ..
                }
            ),
            "{outcome:?}"
        );
        assert_eq!(board.theirs("fw_printenv", &["a"]).ok(), "a=2\n");
    }
}

/// In the field: the last 32 KiB of a 128 KiB environment missing; an MTD driver that wrote one
/// byte. The call had succeeded.
#[test]
fn a_write_that_did_not_arrive_is_noticed_and_the_old_environment_stays() {
    for arrived in [0, 1, 512, 0x1800] {
        let board = Board::redundant();
        let mut storage = Faulty {
            inner: media(&board),
            read_error: None,
            written: Some(arrived),
        };
        let mut txn = Txn::load(&mut storage, SHAPE, Locks::not_needed());
        txn.set(&name("z"), Some(&[b'z'; 0x1F00])).unwrap();
        let error = txn.commit().unwrap_err();
        let TxnError::Write {
            copy,
            aftermath,
            source,
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((copy, aftermath), (CopyId::Second, Aftermath::OldInUse));
        assert!(matches!(source, WriteError::ReadBack { .. }), "{source}");
        assert_eq!(board.theirs("fw_printenv", &["a"]).ok(), "a=1\n");
    }
}

#[test]
fn equal_content_writes_nothing_and_many_edits_are_one_write() {
    let board = Board::redundant();
    let before = [board.get(0), board.get(1)];
    board.ours("fw_setenv", &["a", "1"]).ok();
    board.ours("fw_setenv", &["gone"]).ok();
    board.ours("uboot-env", &["set", "a=2", "a=1"]).ok();
    assert_eq!([board.get(0), board.get(1)], before);
    // The first copy, current until now, is not touched by three changes at once.
    board.ours("uboot-env", &["set", "a=2", "b=", "c=3"]).ok();
    assert_eq!(board.get(0), before[0]);
    let now = Image::parse(&board.get(1), Layout::Redundant, Endian::Little).unwrap();
    assert_eq!(
        (now.flags, now.env),
        (Some(3), env(&[("a", "2"), ("c", "3")]))
    );
}

#[test]
fn an_environment_that_does_not_fit_changes_nothing() {
    let board = Board::redundant();
    let before = [board.get(0), board.get(1)];
    let ran = board.ours("fw_setenv", &["big", &"x".repeat(0x2000)]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("the environment has room for"),
        "{}",
        ran.err
    );
    assert_eq!([board.get(0), board.get(1)], before);
    for bad in ["a=b", "", "#a", " a", "a\nb"] {
        assert_eq!(board.ours("fw_setenv", &[bad, "1"]).code, 1, "{bad:?}");
    }
    assert_eq!([board.get(0), board.get(1)], before);
}

/// U-Boot's tool replaces the whole file by the environment and makes it 0600.
#[test]
fn a_single_copy_inside_a_larger_file_leaves_the_rest_alone() {
    use std::os::unix::fs::PermissionsExt;
    let board = Board::bare();
    let disk = [
        vec![0x11; 0x1000],
        image(&[("a", "1")], None),
        vec![0x22; 0x800],
    ]
    .concat();
    board.put(0, &disk);
    std::fs::set_permissions(board.copy(0), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::write(
        &board.config,
        format!("{} 0x1000 {SIZE:#x}\n", board.copy(0).display()),
    )
    .unwrap();
    board.ours("fw_setenv", &["a", "2"]).ok();
    let now = board.get(0);
    assert_eq!(now.len(), disk.len());
    assert_eq!(now[..0x1000], disk[..0x1000]);
    assert_eq!(now[0x3000..], disk[0x3000..]);
    let mode = std::fs::metadata(board.copy(0))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(board.theirs("fw_printenv", &["a"]).ok(), "a=2\n");
    let files = std::fs::read_dir(board.path()).unwrap().count();
    assert_eq!(
        files, 4,
        "copy, configuration, lock, program: nothing is left over"
    );
}

/// Environments of every length below and just above the configured one, read from files.
#[test]
fn files_of_every_length_are_survived() {
    let good = image(&[("a", "1")], Some(3));
    let other = image(&[("a", "0")], Some(2));
    for len in (0..0x2000).step_by(97).chain([0x1FFF, 0x2000]) {
        let board = Board::new(&[&good[..len], &other]);
        let mut storage = media(&board);
        let txn = Txn::load(&mut storage, SHAPE, Locks::not_needed());
        let want: &[u8] = if len == 0x2000 { b"1" } else { b"0" };
        assert_eq!(txn.env().get(b"a"), Some(want), "{len}");
    }
    let board = Board::new(&[&[good.clone(), vec![1]].concat(), &other]);
    let mut storage = media(&board);
    assert_eq!(
        Txn::load(&mut storage, SHAPE, Locks::not_needed())
            .env()
            .get(b"a"),
        Some(b"1".as_slice())
    );
}

#[test]
fn both_copies_bad_never_lead_to_a_write() {
    for seed in 0..64u8 {
        let mut first = image(&[("a", "1")], Some(1));
        let mut second = image(&[("a", "0")], Some(0));
        first[5 + usize::from(seed) * 31] ^= 1 << (seed % 8);
        second[5 + usize::from(seed) * 17] ^= 0x80;
        let board = Board::new(&[&first, &second]);
        let mut storage = media(&board);
        let mut txn = Txn::load(&mut storage, SHAPE, Locks::not_needed());
        txn.set(&name("a"), Some(b"5")).unwrap();
        assert!(matches!(
            txn.commit(),
            Err(TxnError::Plan(PlanError::NoValidCopy))
        ));
        assert!(matches!(
            txn.repair(),
            Err(TxnError::Plan(PlanError::NoValidCopy))
        ));
        assert_eq!((board.get(0), board.get(1)), (first, second));
    }
}

/// Two writers at once: every change survives.
#[test]
fn concurrent_writers_lose_nothing() {
    let board = Board::redundant();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let board = &board;
            scope.spawn(move || {
                for i in 0..5 {
                    board
                        .ours("fw_setenv", &[format!("w{writer}_{i}"), "1".into()])
                        .ok();
                }
            });
        }
    });
    let all = board.ours("fw_printenv", &[""; 0]).ok();
    assert_eq!(
        all.lines().filter(|l| l.starts_with('w')).count(),
        20,
        "{all}"
    );
}

/// A block device for a file, gone when dropped.
struct Loop(String);

impl Loop {
    fn on(path: &std::path::Path) -> Loop {
        let mut losetup = std::process::Command::new("losetup");
        let output = losetup.args(["-f", "--show"]).arg(path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Loop(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let mut losetup = std::process::Command::new("losetup");
        drop(losetup.args(["-d", &self.0]).status());
    }
}

/// The configured environment is larger than what is left of the device: the part that there is room
/// for is not written either, since something else lies there.
#[test]
fn a_device_that_ends_inside_the_environment_is_not_written() {
    let board = Board::bare();
    let disk = vec![0x5a; 64 * 1024];
    board.put(0, &disk);
    let device = Loop::on(&board.copy(0));
    let line = |offset: u32| format!("{} {offset:#x} 0x2000\n", device.0);
    for lines in [line(0xf000), line(0xf000) + &line(0xc000), line(0x10000)] {
        std::fs::write(&board.config, lines).unwrap();
        let ran = board.ours("uboot-env", &["set", "--init", "a=1"]);
        assert!(ran.code == 1 && ran.err.contains("ends after"), "{ran:?}");
        assert!(board.get(0) == disk);
    }
    std::fs::write(&board.config, line(0xe000)).unwrap();
    board.ours("uboot-env", &["set", "--init", "a=1"]).ok();
    assert_eq!(board.ours("fw_printenv", &["a"]).ok(), "a=1\n");
}
