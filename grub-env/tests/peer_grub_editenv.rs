//! Against GRUB's own `grub-editenv` (Debian's grub-common): what it writes we read, what we write
//! it reads, and where we differ on purpose a test says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use grub_env::Block;
use grub_env::block::HEADER;
use proptest::prelude::*;

fn peer<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> Output {
    Command::new("grub-editenv")
        .args(args)
        .current_dir(dir)
        .output()
        .expect("grub-editenv is missing: install grub-common")
}

fn ours<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grub-env"))
        .arg0("/usr/bin/grub-editenv")
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn put(path: &Path, bytes: &[u8]) {
    File::create(path).unwrap().write_all(bytes).unwrap();
}

fn listed(block: &Block) -> Vec<u8> {
    block
        .iter()
        .flat_map(|(n, v)| [n, b"=", v, b"\n"].concat())
        .collect()
}

fn assignment(name: &[u8], value: &[u8]) -> OsString {
    OsString::from_vec([name, b"=", value].concat())
}

/// Names that both programs take.
fn name() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1..=255_u8, 1..10).prop_map(|mut name| {
        for b in &mut name {
            if matches!(*b, b'=' | b'\n') {
                *b = b'x';
            }
        }
        // A leading blank or '-' would be read as something else than a name by argp.
        if matches!(name[0], b'#' | b'-') {
            name[0] = b'y';
        }
        name
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\\'), Just(b'\n'), Just(b'#'), Just(b'='), 1..=255_u8];
    proptest::collection::vec(byte, 0..30)
}

type Variables = Vec<(Vec<u8>, Vec<u8>)>;

fn variables() -> impl Strategy<Value = Variables> {
    proptest::collection::vec((name(), value()), 1..8)
}

fn blockish() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => Just(b'#'), 3 => Just(b'\n'), 2 => Just(b'\\'), 2 => Just(b'='),
        3 => b'a'..=b'c', 1 => 1..=255_u8
    ];
    proptest::collection::vec(byte, 1..60).prop_map(|body| [HEADER.as_slice(), &body].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn it_reads_what_we_write(vars in variables(), spare in 0_usize..300) {
        let dir = tempfile::tempdir().unwrap();
        let mut block = Block::new();
        for (n, v) in &vars {
            block.set(n, v).unwrap();
        }
        put(&dir.path().join("env"), &block.to_bytes(block.needed_len() + spare).unwrap());
        let out = peer(dir.path(), &["env", "list"]);
        prop_assert!(out.status.success());
        prop_assert_eq!(out.stdout, listed(&block));
    }

    /// The same edits give the same bytes, or both say that there is no room.
    #[test]
    fn the_same_edits_give_the_same_bytes(
        vars in variables(),
        more in variables(),
        size in 60_usize..400,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        put(&path, &Block::new().to_bytes(size).unwrap());
        let mut block = Block::new();
        for batch in [vars, more] {
            let mut args = vec![OsString::from("env"), "set".into()];
            args.extend(batch.iter().map(|(n, v)| assignment(n, v)));
            let out = peer(dir.path(), &args);
            let before = block.clone();
            let fits = batch.iter().all(|(n, v)| {
                block.set(n, v).unwrap();
                block.needed_len() <= size
            });
            if !fits {
                block = before;
            }
            prop_assert_eq!(out.status.success(), fits);
            let theirs = fs::read(&path).unwrap();
            prop_assert_eq!(&theirs, &block.to_bytes(size).unwrap());
            prop_assert_eq!(Block::parse(&theirs).unwrap(), block.clone());
        }
        let Some((gone, _)) = block.iter().next().map(|(n, v)| (n.to_vec(), v.to_vec())) else {
            return Ok(());
        };
        let args = [OsString::from("env"), "unset".into(), OsString::from_vec(gone.clone())];
        prop_assert!(peer(dir.path(), &args).status.success());
        block.unset(&gone);
        prop_assert_eq!(fs::read(&path).unwrap(), block.to_bytes(size).unwrap());
    }

    /// Damaged and odd blocks mean the same to both.
    #[test]
    fn the_same_bytes_mean_the_same(bytes in blockish()) {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("env"), &bytes);
        let out = peer(dir.path(), &["env", "list"]);
        prop_assert!(out.status.success());
        match Block::parse(&bytes) {
            Ok(block) => prop_assert_eq!(out.stdout, listed(&block)),
            Err(_) if !bytes.ends_with(b"#") => {
                // What it calls "too small" although room is not what is missing.
                let set = peer(dir.path(), &["env", "set", "longer_than_all_of_it=1"]);
                prop_assert!(!set.status.success());
                let text = String::from_utf8_lossy(&set.stderr).into_owned();
                prop_assert!(text.contains("too small"), "{}", text);
            }
            // Padding that belongs to an unfinished line: it may find room in there.
            Err(_) => {}
        }
    }
}

/// The stand-in has the same exit codes, the same list and the same file afterwards.
#[test]
fn called_by_its_name_we_behave_like_it() {
    let lines: &[&[&str]] = &[
        &["env", "create"],
        &["env", "list"],
        &["env", "set", "a=1", "b=x y", "c="],
        &["env", "-v", "set", "b=z\\\n#"],
        &["env", "list", "ignored"],
        &["env", "set"],
        &["env", "unset", "a", "nope"],
        &["env", "unset"],
        &["env", "list"],
        &["env", "set", "d=1", "noassignment"],
        &["env", "foo"],
        &["env"],
        &[],
        &["--bogus"],
        &["fresh", "set", "a=1"],
        &["fresh2", "unset", "a"],
        &["broken", "list"],
        &["broken", "set", "a=1"],
        &["empty", "list"],
        &["no/such/dir", "create"],
        &["env", "create"],
        &["env", "list"],
        &["--help"],
        &["--usage"],
        &["--version"],
    ];
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [a.path(), b.path()] {
        put(&dir.join("broken"), b"# GRUB Environment Brick\n########");
        put(&dir.join("empty"), b"");
    }
    for line in lines {
        let (theirs, mine) = (peer(a.path(), line), ours(b.path(), line));
        assert_eq!(
            theirs.status.code(),
            mine.status.code(),
            "{line:?}\n{mine:?}"
        );
        if line.get(1) == Some(&"list") {
            assert_eq!(theirs.stdout, mine.stdout, "{line:?}");
        }
        assert_eq!(theirs.stderr.is_empty(), quiet(&mine), "{line:?}\n{mine:?}");
        for file in ["env", "fresh", "fresh2", "broken", "empty"] {
            let read = |dir: &Path| fs::read(dir.join(file)).ok();
            assert_eq!(read(a.path()), read(b.path()), "{file} after {line:?}");
        }
    }
}

/// Whether nothing was said but the warning about the place, which depends on the machine.
fn quiet(out: &Output) -> bool {
    let text = String::from_utf8_lossy(&out.stderr);
    text.lines()
        .all(|l| l.starts_with("grub-editenv: warning:"))
}

/// On purpose: names that would vanish are refused, a second line of the same name counts, and
/// looking does not create.
#[test]
fn where_we_differ_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for bad in ["#x=1", "=1"] {
        put(&at("env"), &Block::new().to_bytes(512).unwrap());
        assert!(peer(dir.path(), &["env", "set", bad]).status.success());
        put(&at("env"), &Block::new().to_bytes(512).unwrap());
        assert!(!ours(dir.path(), &["env", "set", bad]).status.success());
    }

    let twice = [HEADER.as_slice(), b"a=1\na=2\n################"].concat();
    put(&at("env"), &twice);
    assert!(peer(dir.path(), &["env", "set", "a=3"]).status.success());
    assert_eq!(
        Block::parse(&fs::read(at("env")).unwrap())
            .unwrap()
            .get_text("a"),
        Some("2")
    );
    put(&at("env"), &twice);
    assert!(ours(dir.path(), &["env", "set", "a=3"]).status.success());
    assert_eq!(
        Block::parse(&fs::read(at("env")).unwrap())
            .unwrap()
            .get_text("a"),
        Some("3")
    );

    assert!(ours(dir.path(), &["gone", "list"]).status.success());
    assert!(!at("gone").exists());
    assert!(peer(dir.path(), &["gone", "list"]).status.success());
    assert!(at("gone").exists());

    // A blank line: it puts the new variable where GRUB takes the line for part of the name.
    let blank = [HEADER.as_slice(), b"a=1\n\n################"].concat();
    let b_after = |out: Output| {
        assert!(out.status.success());
        let block = Block::parse(&fs::read(at("env")).unwrap()).unwrap();
        block.get_text("b").map(str::to_owned)
    };
    put(&at("env"), &blank);
    assert_eq!(b_after(peer(dir.path(), &["env", "set", "b=1"])), None);
    put(&at("env"), &blank);
    assert_eq!(
        b_after(ours(dir.path(), &["env", "set", "b=1"])).as_deref(),
        Some("1")
    );

    // A newline that an editor put behind the padding: it finds no room, we repair.
    put(
        &at("env"),
        &[HEADER.as_slice(), b"a=1\n################\n"].concat(),
    );
    assert!(!peer(dir.path(), &["env", "set", "b=1"]).status.success());
    assert!(ours(dir.path(), &["env", "set", "b=1"]).status.success());
    assert!(peer(dir.path(), &["env", "set", "c=1"]).status.success());
}
