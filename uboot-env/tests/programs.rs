//! The programs as a user meets them: output, exit codes, doctor.

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
use uboot_env::codec::{Endian, Image};

#[test]
fn print_shows_all_some_or_values_only() {
    let board = Board::redundant();
    assert_eq!(board.ours("uboot-env", &["print"]).ok(), "a=1\nb=2\n");
    assert_eq!(
        board.ours("uboot-env", &["print", "b", "a"]).ok(),
        "b=2\na=1\n"
    );
    assert_eq!(board.ours("uboot-env", &["print", "-n", "b"]).ok(), "2\n");
    assert_eq!(board.ours("fw_printenv", &["-n", "b"]).ok(), "2\n");
    assert_eq!(board.ours("fw_printenv", &["--noheader", "b"]).ok(), "2\n");
    assert_eq!(board.ours("fw_printenv", &["-n"]).code, 1);
    let json: serde_json::Value =
        serde_json::from_str(&board.ours("uboot-env", &["print", "--json", "a"]).ok()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"schema": 1, "variables": [{"name": "a", "value": "1"}]})
    );
}

#[test]
fn set_says_what_changed_and_that_it_was_checked() {
    let board = Board::redundant();
    let out = board.ours("uboot-env", &["set", "a=1", "b", "c=x=y"]).ok();
    let want = "a stays as it is\nb is deleted\nc is new\n\
                written, read back and found right: copy 1 is in use now\n";
    assert_eq!(out, want);
    assert_eq!(board.ours("uboot-env", &["print"]).ok(), "a=1\nc=x=y\n");
    let out = board.ours("uboot-env", &["set", "a=1"]).ok();
    assert!(
        out.ends_with("nothing to write: the environment already says so\n"),
        "{out}"
    );
    let before = [board.get(0), board.get(1)];
    let out = board.ours("uboot-env", &["set", "--dry-run", "a=7"]).ok();
    assert!(out.contains("would write copy 0, 8192 bytes"), "{out}");
    assert_eq!([board.get(0), board.get(1)], before);
}

#[test]
fn wrong_usage_has_its_own_code_except_under_the_old_names() {
    let board = Board::redundant();
    for (program, args, code) in [
        ("uboot-env", vec!["set"], 2),
        ("uboot-env", vec!["frobnicate"], 2),
        ("fw_printenv", vec!["--frobnicate"], 1),
        ("fw_setenv", vec![], 1),
        ("fw_setenv", vec!["-s", "x", "a"], 1),
        ("fw_printenv", vec!["--help"], 0),
        ("fw_setenv", vec!["-V"], 0),
    ] {
        let ran = board.ours(program, &args);
        assert_eq!(ran.code, code, "{program} {args:?}: {ran:?}");
    }
}

#[test]
fn a_missing_configuration_is_explained() {
    let board = Board::redundant();
    std::fs::remove_file(&board.config).unwrap();
    let ran = board.ours("fw_printenv", &["a"]);
    assert!(
        ran.code == 1 && ran.err.contains("cannot read the configuration"),
        "{ran:?}"
    );
}

#[test]
fn a_script_is_carried_out_as_a_whole_or_not_at_all() {
    let board = Board::redundant();
    let before = [board.get(0), board.get(1)];
    let path = board.path().join("script");
    let path_text = path.to_str().unwrap().to_owned();
    std::fs::write(&path, "a=5\nb = 6\n").unwrap();
    let ran = board.ours("fw_setenv", &["-s", &path_text]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("line 2 of the script"), "{}", ran.err);
    assert_eq!([board.get(0), board.get(1)], before);
    std::fs::write(&path, "a=5\nb 6\nc\n").unwrap();
    board
        .ours("uboot-env", &["set", "-s", &path_text, "d=7"])
        .ok();
    assert_eq!(board.ours("fw_printenv", &[""; 0]).ok(), "a=5\nb=6\nd=7\n");
}

#[test]
fn backslashes_are_warned_of_and_the_uboot_view_doubles_them() {
    let board = Board::redundant();
    let ran = board.ours("fw_setenv", &["p", r"x\y"]);
    assert!(ran.code == 0 && ran.err.contains("backslashes"), "{ran:?}");
    assert_eq!(
        board
            .ours("uboot-env", &["print", "--view", "uboot", "p"])
            .ok(),
        "p=xy\n"
    );
    let ran = board.ours("uboot-env", &["set", "--view", "uboot", r"p=x\y"]);
    assert!(ran.code == 0 && ran.err.is_empty(), "{ran:?}");
    assert_eq!(board.ours("fw_printenv", &["p"]).ok(), "p=x\\\\y\n");
    assert_eq!(
        board
            .ours("uboot-env", &["print", "--view", "uboot", "p"])
            .ok(),
        "p=x\\y\n"
    );
}

#[test]
fn doctor_on_a_sound_environment() {
    let board = Board::redundant();
    let out = board.ours("uboot-env", &["doctor"]).ok();
    for part in [
        "environment  redundant, 0x2000 bytes per copy, counting flags, little-endian",
        "flags 0x02, 2 variables, 9 of 8187 bytes (0 %)",
        "read by      U-Boot: copy 0",
        "read by      fw_printenv (libubootenv): copy 0",
        "state        sound: copy 0 is in use",
        "next         nothing",
    ] {
        assert!(out.contains(part), "{part:?} is not in\n{out}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&board.ours("uboot-env", &["doctor", "--json"]).ok()).unwrap();
    assert_eq!(json["healthy"], true);
    assert_eq!(json["current"], 0);
    assert_eq!(json["copies"][1]["flags"], 1);
}

#[test]
fn doctor_shows_a_bad_copy_and_repairs_it() {
    let good = image(&[("a", "1")], Some(4));
    let board = Board::new(&[&good, &[0xFF; 0x2000]]);
    let ran = board.ours("uboot-env", &["doctor"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("bad CRC: stored ffffffff"), "{}", ran.out);
    assert!(ran.out.contains("only copy 0 is valid"), "{}", ran.out);
    let out = board.ours("uboot-env", &["doctor", "--repair"]).ok();
    assert!(out.contains("repaired"), "{out}");
    assert_eq!(board.get(0), good);
    assert_eq!(board.ours("uboot-env", &["print"]).ok(), "a=1\n");
    let out = board.ours("uboot-env", &["doctor", "--repair"]).ok();
    assert!(out.contains("there was nothing to repair"), "{out}");
}

/// The most frequent trouble: layout, byte order, size or offset in the configuration are wrong.
#[test]
fn doctor_finds_the_right_size_offset_layout_and_byte_order() {
    let vars = [("BOOT_ORDER", "A B"), ("x", "y")];
    let e = common::env(&vars);
    let doctor = |board: &Board| {
        let ran = board.ours("uboot-env", &["doctor"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.out
    };
    let single = image(&vars, None);
    let out = doctor(&Board::new(&[&single, &single]));
    assert!(
        out.contains("these bytes are a valid single, little-endian environment"),
        "{out}"
    );
    let big = Image::render(&e, Some(1), SIZE, Endian::Big).unwrap();
    let out = doctor(&Board::new(&[&big, &big]));
    assert!(
        out.contains("these bytes are a valid redundant, big-endian environment"),
        "{out}"
    );
    let small = Image::render(&e, Some(1), 0x1000, Endian::Little).unwrap();
    let disk = [vec![0; 0x4000], small].concat();
    let out = doctor(&Board::new(&[&disk, &disk]));
    assert!(
        out.contains("at 0x4000: a redundant environment of 0x1000 bytes"),
        "{out}"
    );
    let board = Board::bare();
    board.put(0, &disk);
    let scan = std::process::Command::new(env!("CARGO_BIN_EXE_uboot-env"))
        .args(["doctor", "--scan"])
        .arg(board.copy(0))
        .output()
        .unwrap();
    let text = String::from_utf8(scan.stdout).unwrap();
    assert!(scan.status.success(), "{text}");
    assert!(text.ends_with("copy0 0x4000 0x1000\n"), "{text}");
}

#[test]
fn doctor_names_an_odd_pair_and_the_next_change_puts_it_in_order() {
    let board = Board::new(&[
        &image(&[("a", "1")], Some(9)),
        &image(&[("a", "0")], Some(40)),
    ]);
    let ran = board.ours("uboot-env", &["doctor"]);
    assert!(
        ran.code == 1 && ran.out.contains("no writer leaves such flags"),
        "{ran:?}"
    );
    board.ours("fw_setenv", &["b", "1"]).ok();
    let out = board.ours("uboot-env", &["doctor"]).ok();
    assert!(out.contains("sound"), "{out}");
    // Both copies hold the change.
    for index in 0..2 {
        let bytes = board.get(index);
        assert!(bytes[5..].starts_with(b"a=0\0b=1\0\0"), "copy {index}");
    }
}

/// Made by libubootenv itself. U-Boot would start with its default environment, whatever else is stored.
#[test]
fn an_entry_without_a_name_is_told_and_taken_out() {
    let spoilt = || {
        let board = Board::redundant();
        board.theirs("fw_setenv", &["", "x"]).ok();
        board
    };
    let board = spoilt();
    let ran = board.ours("fw_printenv", &["a"]);
    assert!(ran.code == 0 && ran.err.contains("no name"), "{ran:?}");
    let ran = board.ours("uboot-env", &["doctor"]);
    assert!(
        ran.code == 1 && ran.out.contains("rejects all of it"),
        "{ran:?}"
    );
    board.ours("uboot-env", &["doctor", "--repair"]).ok();
    let ran = board.ours("fw_printenv", &[""; 0]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("a=1\nb=2\n", ""));
    // So does any change, also one that changes nothing else.
    let board = spoilt();
    board.ours("fw_setenv", &["a", "1"]).ok();
    assert!(board.ours("uboot-env", &["doctor"]).ok().contains("sound"));
}

#[test]
fn two_names_of_one_file_are_no_two_copies() {
    let board = Board::redundant();
    let before = board.get(0);
    std::fs::remove_file(board.copy(1)).unwrap();
    std::fs::hard_link(board.copy(0), board.copy(1)).unwrap();
    for (program, args) in [
        ("fw_setenv", ["x", "1"]),
        ("uboot-env", ["doctor", "--repair"]),
    ] {
        let ran = board.ours(program, &args);
        assert!(
            ran.code == 1 && ran.err.contains("both copies lie in the same bytes"),
            "{ran:?}"
        );
    }
    assert_eq!(board.get(0), before);
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_once() {
    let board = Board::redundant();
    let said = |text: &str, more: &[&str]| {
        std::fs::write(&board.config, text).unwrap();
        let ran = board.ours("fw_printenv", more);
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.err.replace(board.path().to_str().unwrap(), "DIR")
    };
    let err = said("/dev/x 0 0x1000\n/dev/y zz 0x1000\n", &[]);
    assert_eq!(err.matches("\"zz\" is no number").count(), 1, "{err}");
    assert!(err.contains("DIR/fw_env.config:2: offset"), "{err}");
    let err = said("", &[]);
    assert_eq!(
        err,
        "error: DIR/fw_env.config: no environment is described here\n"
    );
    let err = said("/dev/x 0 0xffffffff\n", &[]);
    assert_eq!(err.matches("cannot be right").count(), 1, "{err}");
}

/// What `--scan` is given may be anything.
#[test]
fn a_scan_of_odd_things_ends_and_says_how_far_it_came() {
    let board = Board::bare();
    let scan = |path: &std::path::Path, more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_uboot-env"));
        command.args(["doctor", "--scan"]).arg(path).args(more);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let fifo = board.path().join("fifo");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    // Opening a pipe that nobody writes to never ends.
    let (code, _, err) = scan(&fifo, &[]);
    assert!(
        code == Some(1) && err.contains("neither a file nor a device"),
        "{err}"
    );
    let (code, _, err) = scan(board.path(), &[]);
    assert!(code == Some(1) && err.contains("directory"), "{err}");
    board.put(0, &[]);
    let (code, out, _) = scan(&board.copy(0), &[]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("nothing found from 0x0 to 0x0") && out.contains("the end of it"),
        "{out}"
    );
    let (_, out, _) = scan("/dev/zero".as_ref(), &["--length", "0x100000"]);
    assert!(
        out.contains("to 0x100000") && out.contains("--from 0x100000"),
        "{out}"
    );

    // Four gigabytes, nearly all of them a hole, and the environment at the end, where a negative
    // offset would have it.
    let disk = std::fs::File::create(board.copy(1)).unwrap();
    disk.set_len(4 << 30).unwrap();
    let image = image(&[("BOOT_ORDER", "A B")], Some(1));
    std::os::unix::fs::FileExt::write_all_at(&disk, &image, (4 << 30) - 0x2000).unwrap();
    let (code, out, _) = scan(&board.copy(1), &[]);
    assert!(code == Some(1) && out.contains("--from 0x4000000"), "{out}");
    let whole = ["--length", "0x100000000"];
    let (code, out, _) = scan(&board.copy(1), &whole);
    assert_eq!(code, Some(0));
    assert!(out.ends_with("copy1 0xffffe000 0x2000\n"), "{out}");
}

#[test]
fn doctor_says_that_one_sector_is_safe() {
    let vars = common::env(&[("a", "1")]);
    let board = Board::bare();
    board.put(0, &Image::render(&vars, None, 512, Endian::Little).unwrap());
    let line = |offset: &str| format!("{} {offset} 0x200\n", board.copy(0).display());
    std::fs::write(&board.config, line("0")).unwrap();
    let out = board.ours("uboot-env", &["doctor"]).ok();
    assert!(
        out.contains("one sector, which is written as a whole"),
        "{out}"
    );
    let shifted = [&[0; 8][..], &board.get(0)].concat();
    board.put(0, &shifted);
    std::fs::write(&board.config, line("8")).unwrap();
    let out = board.ours("uboot-env", &["doctor"]).ok();
    assert!(
        out.contains("a power cut during a write can destroy it"),
        "{out}"
    );
}
