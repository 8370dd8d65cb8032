//! Against `fw_printenv` and `fw_setenv` of libubootenv: what they write we read, what we write
//! they read; where we differ on purpose, a test says so and why.

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

use common::{Board, SIZE, image};
use std::process::{Command, Stdio};
use std::time::Duration;
use uboot_env::codec::{Endian, Image, Layout};
use uboot_env::env::{Env, VarName};
use uboot_env::snapshot::Shape;
use uboot_env::storage::file::{FileCopy, Replace};
use uboot_env::storage::lock::{LockPaths, Locks};
use uboot_env::storage::{EnvStorage, Media};
use uboot_env::txn::Txn;

const NOTHING: &[&str] = &[];

#[track_caller]
fn same_answers(board: &Board) {
    assert_eq!(
        board.ours("fw_printenv", NOTHING).ok(),
        board.theirs("fw_printenv", NOTHING).ok()
    );
}

/// A fixed sequence of edits, made by turns; both must always tell the same.
#[test]
fn turn_by_turn_on_one_environment() {
    for copies in [
        vec![image(&[("m", "0")], Some(250)), image(&[], Some(249))],
        vec![image(&[("m", "0")], None)],
    ] {
        let slices: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
        let board = Board::new(&slices);
        // Enough turns for the counter to wrap.
        for turn in 0..12u32 {
            let (name, value) = (
                format!("v{}", turn * 7 % 10),
                format!("value {turn} = \"x\" $y"),
            );
            let ours = turn % 2 == 0;
            let set = |args: &[&str]| {
                if ours {
                    board.ours("fw_setenv", args)
                } else {
                    board.theirs("fw_setenv", args)
                }
            };
            set(&[&name, &value]).ok();
            same_answers(&board);
            let want = format!("{value}\n");
            assert_eq!(board.ours("fw_printenv", &["-n", &name]).ok(), want);
            assert_eq!(board.theirs("fw_printenv", &["-n", &name]).ok(), want);
            if turn % 3 == 2 {
                set(&[&name]).ok();
                same_answers(&board);
            }
        }
    }
}

/// Both write in sorted order, so the bytes agree up to the padding.
#[test]
fn the_same_edit_gives_the_same_bytes() {
    let start = [
        image(&[("b", "2"), ("d", "4")], Some(6)),
        image(&[], Some(5)),
    ];
    let (one, two) = (
        Board::new(&[&start[0], &start[1]]),
        Board::new(&[&start[0], &start[1]]),
    );
    one.ours("fw_setenv", &["c", "3"]).ok();
    two.theirs("fw_setenv", &["c", "3"]).ok();
    let (ours, theirs) = (one.get(1), two.get(1));
    let end = 5 + "b=2 c=3 d=4 ".len() + 1;
    assert_eq!(ours[4..end], theirs[4..end]);
    // Theirs leaves whatever was in memory behind it; ours is zero.
    assert!(ours[end..].iter().all(|&b| b == 0));
}

#[test]
fn scripts_that_both_understand() {
    let script = "# comment\n\nBOOT_ORDER=B A\nBOOT_B_LEFT=3\nb=\nbootcmd=run a; run b=c\n";
    let run = |theirs: bool| {
        let board = Board::redundant();
        let path = board.path().join("script");
        std::fs::write(&path, script).unwrap();
        let args = ["-s", path.to_str().unwrap()];
        if theirs {
            board.theirs("fw_setenv", &args)
        } else {
            board.ours("fw_setenv", &args)
        }
        .ok();
        board.theirs("fw_printenv", NOTHING).ok()
    };
    assert_eq!(run(false), run(true));
    assert!(run(false).contains("bootcmd=run a; run b=c\n"));
}

#[test]
fn yaml_configurations_of_theirs_say_the_same_here() {
    // Debian's version reads fw_env.config only; the same place is described in both forms.
    let board = Board::redundant();
    let yaml = format!(
        "uboot:\n  size: {SIZE:#x}\n  lockfile: {lock}\n  devices:\n    - path: {first}\n      offset: 0\n    - path: {second}\n",
        lock = board.path().join("other.lock").display(),
        first = board.copy(0).display(),
        second = board.copy(1).display(),
    );
    let theirs = board.theirs("fw_printenv", NOTHING).ok();
    std::fs::write(&board.config, yaml).unwrap();
    assert_eq!(board.ours("fw_printenv", NOTHING).ok(), theirs);
    assert_eq!(board.ours("fw_printenv", &["-m", "uboot"]).ok(), theirs);
    let wrong = board.ours("fw_printenv", &["-m", "app"]);
    assert!(
        wrong.code == 1 && wrong.err.contains("known: uboot"),
        "{wrong:?}"
    );
}

/// While we hold the locks, theirs waits: neither change is lost.
#[test]
fn our_locks_keep_theirs_out() {
    // Where the directory of the lock file is missing (a bare container), theirs goes on without.
    std::fs::create_dir_all("/run/lock").unwrap();
    let board = Board::redundant();
    let copy = |i| FileCopy::new(board.copy(i), 0, SIZE, Replace::InPlace);
    let mut media = Media::files(copy(0), Some(copy(1)));
    let paths = LockPaths {
        files: LockPaths::files(None, None),
        nodes: vec![board.copy(0), board.copy(1)],
    };
    let locks = Locks::acquire(&paths, Duration::from_secs(60)).unwrap();
    let scheme = media.scheme();
    let shape = Shape {
        layout: Layout::Redundant,
        size: SIZE,
        endian: Endian::Little,
        scheme,
    };
    let mut txn = Txn::load(&mut media, shape, locks);
    let mut child = Command::new("/usr/bin/fw_setenv")
        .arg("-c")
        .arg(&board.config)
        .args(["theirs", "1"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none(), "it waits for the lock");
    txn.set(&VarName::new("ours").unwrap(), Some(b"1")).unwrap();
    txn.commit().unwrap();
    drop(txn);
    assert!(child.wait().unwrap().success());
    let all = board.ours("fw_printenv", NOTHING).ok();
    assert!(
        all.contains("ours=1\n") && all.contains("theirs=1\n"),
        "{all}"
    );
}

// --- Where we differ, and why ---------------------------------------------------------------------

/// Theirs prints `name=` and succeeds; a script cannot tell "empty" from "missing". Here it is an
/// error, as in U-Boot's own tool, on which RAUC's backend was written.
#[test]
fn differs_a_missing_variable_is_an_error() {
    let board = Board::redundant();
    let theirs = board.theirs("fw_printenv", &["nope"]);
    assert_eq!((theirs.code, theirs.out.as_str()), (0, "nope=\n"));
    let ours = board.ours("fw_printenv", &["a", "nope"]);
    assert_eq!((ours.code, ours.out.as_str()), (1, "a=1\n"));
}

/// Theirs stores `name=`, which U-Boot drops when it loads. Here, as in U-Boot's tool, it deletes.
#[test]
fn differs_an_empty_value_deletes() {
    let (one, two) = (Board::redundant(), Board::redundant());
    one.ours("fw_setenv", &["b", ""]).ok();
    two.theirs("fw_setenv", &["b", ""]).ok();
    assert_eq!(one.theirs("fw_printenv", NOTHING).ok(), "a=1\n");
    assert_eq!(two.theirs("fw_printenv", NOTHING).ok(), "a=1\nb=\n");
}

/// `fw_setenv bootargs a b` means `bootargs="a b"` to U-Boot's tool; theirs takes `b` as the name
/// of a variable to delete. The old meaning is the default; theirs can be asked for.
#[test]
fn differs_words_after_the_value_belong_to_it() {
    let (one, two, three) = (Board::redundant(), Board::redundant(), Board::redundant());
    one.ours("fw_setenv", &["x", "1", "b"]).ok();
    assert_eq!(one.theirs("fw_printenv", NOTHING).ok(), "a=1\nb=2\nx=1 b\n");
    two.theirs("fw_setenv", &["x", "1", "b"]).ok();
    three
        .ours("fw_setenv", &["--dialect", "libubootenv", "x", "1", "b"])
        .ok();
    assert_eq!(two.theirs("fw_printenv", NOTHING).ok(), "a=1\nx=1\n");
    assert_eq!(three.theirs("fw_printenv", NOTHING).ok(), "a=1\nx=1\n");
}

/// Theirs cuts script lines (at 1023 bytes in 0.3.2, at 2047 in 0.3.7) and takes the rest as a line
/// of its own.
#[test]
fn differs_long_script_lines_stay_whole() {
    let value = format!("{}evil=1", "x".repeat(1023 - "long=".len()));
    let script = format!("long={value}\n");
    let run = |theirs: bool| {
        let board = Board::redundant();
        let path = board.path().join("script");
        std::fs::write(&path, &script).unwrap();
        let args = ["-s", path.to_str().unwrap()];
        if theirs {
            board.theirs("fw_setenv", &args)
        } else {
            board.ours("fw_setenv", &args)
        }
        .ok();
        board.theirs("fw_printenv", NOTHING).ok()
    };
    assert!(
        run(true).contains("\nevil=1\n") || run(true).starts_with("evil=1\n"),
        "the peer's defect"
    );
    let ours = run(false);
    assert!(ours.contains(&script), "{ours}");
    assert!(!ours.lines().any(|l| l.starts_with("evil")));
}

/// Theirs ignores a script line without `=`; U-Boot's tool deletes that variable or sets it.
#[test]
fn differs_script_lines_without_equals_sign_have_a_meaning() {
    let board = Board::redundant();
    let path = board.path().join("script");
    std::fs::write(&path, "b\nnew some words\n").unwrap();
    let args = ["-s", path.to_str().unwrap()];
    board.theirs("fw_setenv", &args).ok();
    assert_eq!(board.theirs("fw_printenv", NOTHING).ok(), "a=1\nb=2\n");
    board.ours("fw_setenv", &args).ok();
    assert_eq!(
        board.theirs("fw_printenv", NOTHING).ok(),
        "a=1\nnew=some words\n"
    );
}

/// Theirs rewrites `.flags` and drops what it does not know; here it stays as it is.
#[test]
fn differs_flags_stay_verbatim() {
    let vars = [(".flags", "foo:bw"), ("foo", "1")];
    let (one, two) = (
        Board::new(&[&image(&vars, None)]),
        Board::new(&[&image(&vars, None)]),
    );
    one.ours("fw_setenv", &["x", "1"]).ok();
    two.theirs("fw_setenv", &["x", "1"]).ok();
    let flags = |b: &Board| {
        let image = Image::parse(&b.get(0), Layout::Single, Endian::Little).unwrap();
        image
            .env
            .get(b".flags")
            .map(|v| String::from_utf8_lossy(v).into_owned())
    };
    assert_eq!(flags(&one).as_deref(), Some("foo:bw"));
    assert_ne!(flags(&two).as_deref(), Some("foo:bw"), "the peer's defect");
    // And the declared type holds: theirs takes anything for a truth value.
    assert_eq!(one.ours("fw_setenv", &["foo", "maybe"]).code, 1);
    assert_eq!(one.ours("fw_setenv", &["foo", "0"]).code, 0);
}

/// With a spoilt configuration theirs would overwrite the first copy with its default. (Here the
/// default file is given by hand; on a device it is /etc/u-boot-initial-env.)
#[test]
fn differs_no_silent_default() {
    let spoil = |board: &Board| {
        let text = format!(
            "{} 0 {SIZE:#x}\n{} 0\n",
            board.copy(0).display(),
            board.copy(1).display()
        );
        std::fs::write(&board.config, text).unwrap();
        let initial = board.path().join("initial");
        std::fs::write(&initial, "default=1\n").unwrap();
        initial.to_str().unwrap().to_owned()
    };
    let board = Board::redundant();
    let (before, initial) = (board.get(0), spoil(&board));
    let theirs = board.theirs("fw_setenv", &["-f", &initial, "x", "1"]);
    assert_eq!(theirs.code, 0, "the peer's defect: {theirs:?}");
    assert_ne!(board.get(0), before, "the peer's defect");
    let board = Board::redundant();
    let (before, initial) = (board.get(0), spoil(&board));
    assert_eq!(board.ours("fw_setenv", &["-f", &initial, "x", "1"]).code, 1);
    assert_eq!(board.get(0), before);
}

/// What a row of the table below expects of the two programs.
enum Row {
    /// The same exit code (as far as 0 goes), output and environment.
    Same,
    /// Not the same, on purpose: why.
    Differs(&'static str),
}

const UBOOTS: &str = "as in U-Boot's own tool";
const NAME: &str = "no reader would take the name back as written; U-Boot may reject everything";
const WRONG_USE: &str = "a mistake in a script must not look like success";

/// Flags and entries of both copies; what theirs leaves behind the closing NUL does not matter.
fn contents(board: &Board) -> [(Option<u8>, Env); 2] {
    [0, 1].map(|index| {
        let image = Image::parse(&board.get(index), Layout::Redundant, Endian::Little).unwrap();
        (image.flags, image.env)
    })
}

/// Every option, and words of every kind; each on a fresh environment. A difference that is not
/// written down here fails, and so does one that has gone.
#[test]
fn usage_word_by_word() {
    use Row::{Differs, Same};
    let print: &[(&[&str], Row)] = &[
        (&[], Same),
        (&["a"], Same),
        (&["b", "a"], Same),
        (&["-n", "b", "a"], Same),
        (&["a", "-n"], Same),
        (&["--no-header", "b"], Same),
        (&["-f", "/does/not/exist", "a"], Same),
        (&["--defenv", "/does/not/exist", "a"], Same),
        (&["-n"], Differs(UBOOTS)),
        (&["zz"], Differs(UBOOTS)),
        (&["-n", "zz"], Differs(UBOOTS)),
        (&["a=1"], Differs(UBOOTS)),
        (&[""], Differs(UBOOTS)),
        (&["--noheader", "a"], Differs(UBOOTS)),
        (&["--frobnicate"], Differs(WRONG_USE)),
        (&["-q", "a"], Differs(WRONG_USE)),
        (&["-s", "x"], Differs(WRONG_USE)),
    ];
    let set: &[(&[&str], Row)] = &[
        (&["c", "3"], Same),
        (&["a", "1"], Same),
        (&["a"], Same),
        (&["zz"], Same),
        (&["x y", "1"], Same),
        (&["x", "two words"], Same),
        (&["x", "1\n2"], Same),
        (&["x", r"1\2"], Same),
        (&["x", "=1="], Same),
        (&["--", "x", "-1"], Same),
        (&["a=b", "1"], Same),
        (&["a=b"], Same),
        (&["a", ""], Differs(UBOOTS)),
        (&["c", "1", "b"], Differs(UBOOTS)),
        (&[], Differs(WRONG_USE)),
        (&["x", "-1"], Differs(WRONG_USE)),
        (&["", "1"], Differs(NAME)),
        (&["#x", "1"], Differs(NAME)),
        (&[" x", "1"], Differs(NAME)),
        (&["x\n", "1"], Differs(NAME)),
        (&["-s", "/does/not/exist"], Differs(WRONG_USE)),
        (&["-s", "/dev/null", "c", "3"], Differs(WRONG_USE)),
    ];
    let rows =
        |program, rows: &'static [(&[&str], Row)]| rows.iter().map(move |row| (program, row));
    let all = rows("fw_printenv", print).chain(rows("fw_setenv", set));
    for (program, (args, row)) in all {
        let run = |theirs: bool| {
            let board = Board::redundant();
            let ran = match theirs {
                true => board.theirs(program, args),
                false => board.ours(program, args),
            };
            (ran.code == 0, ran.out, contents(&board))
        };
        match row {
            Same => assert_eq!(run(false), run(true), "{program} {args:?}"),
            Differs(why) => assert_ne!(run(false), run(true), "{program} {args:?}: {why}"),
        }
    }
}

/// The same for scripts, line by line.
#[test]
fn scripts_line_by_line() {
    use Row::{Differs, Same};
    const STRICT: &str = "every line is understood, or none is carried out";
    let rows: &[(&[u8], Row)] = &[
        (b"c=3", Same),
        (b"c=3\r\nd=4\r\n", Same),
        (b"# note\n\n   \n\t\nc=3\n", Same),
        (b"c= 3\nd=3  \ne=#1\n", Same),
        (b"c=a b  c=d\n", Same),
        (b"a=\n", Same),
        (b"c=1\nc=2\n", Same),
        (b"c=\xff\xfe\n", Same),
        (b"c=\"quoted\"\n", Same),
        (
            b"  c=3\n",
            Differs("blanks before a name are no part of it, as U-Boot has it"),
        ),
        (b"c 3\n", Differs(UBOOTS)),
        (b"c\t3\n", Differs(UBOOTS)),
        (b"a\n", Differs(UBOOTS)),
        (b"c = 3\n", Differs(STRICT)),
        (b"c =3\n", Differs(STRICT)),
        (b"  # note\nc=3\n", Differs(STRICT)),
        (b"=3\n", Differs(STRICT)),
        (b"c=1\0x\n", Differs(STRICT)),
        (b"", Differs("equal content writes nothing")),
    ];
    for (script, row) in rows {
        let run = |theirs: bool| {
            let board = Board::redundant();
            let path = board.path().join("script");
            std::fs::write(&path, script).unwrap();
            let args = ["-s", path.to_str().unwrap()];
            let ran = match theirs {
                true => board.theirs("fw_setenv", &args),
                false => board.ours("fw_setenv", &args),
            };
            (ran.code == 0, contents(&board))
        };
        let name = String::from_utf8_lossy(script);
        match row {
            Same => assert_eq!(run(false), run(true), "{name:?}"),
            Differs(why) => assert_ne!(run(false), run(true), "{name:?}: {why}"),
        }
    }
}

/// One byte more than there is room for: theirs writes it without the closing NUL, which U-Boot's
/// tool refuses to read. Here it is refused, and nothing is written.
#[test]
fn differs_the_last_byte_is_the_closing_nul() {
    let size = usize::try_from(SIZE).unwrap();
    let room = size - 5 - "a=1 b=2 long= ".len() - 1;
    for (len, fits) in [(room - 1, true), (room, true), (room + 1, false)] {
        let value = "x".repeat(len);
        let (one, two) = (Board::redundant(), Board::redundant());
        let before = [one.get(0), one.get(1)];
        assert_eq!(
            one.ours("fw_setenv", &["long", &value]).code == 0,
            fits,
            "{len}"
        );
        two.theirs("fw_setenv", &["long", &value]).ok();
        let ends = |board: &Board| board.get(1).ends_with(&[b'x', 0, 0]);
        if fits {
            assert_eq!(one.get(1)[4..size - 2], two.get(1)[4..size - 2]);
            assert_eq!(
                one.theirs("fw_printenv", &["-n", "long"]).ok(),
                format!("{value}\n")
            );
            assert_eq!(ends(&one), len == room);
        } else {
            assert_eq!([one.get(0), one.get(1)], before);
            assert!(
                two.get(1).ends_with(&[b'x', 0]) && !ends(&two),
                "the peer's defect"
            );
        }
    }
}
