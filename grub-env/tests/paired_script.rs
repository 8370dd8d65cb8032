//! The generated grub.cfg text: GRUB's own parser accepts it, and it decides as the Rust model
//! does. The language is close enough to the shell's to be run by one, with `load_env` and
//! `save_env` played by GRUB's own editor.
//!
//! Needs grub-common and a POSIX shell.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs::{self, File};
use std::io::Write;
use std::num::NonZeroU8;
use std::path::Path;
use std::process::Command;

use grub_env::paired::{
    Boot, FILES, GrubCfg, LEN, Name, Pair, TrialChange, Which, decide, initial,
};

type Files = [Vec<u8>; 3];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn pair(files: &Files) -> Pair {
    Pair::parse(&files[0], &files[1])
}

fn changed(files: &Files, primary: &str, fallback: Option<&str>, trial: TrialChange) -> Files {
    let update = pair(files)
        .change(name(primary), fallback.map(name), trial)
        .unwrap();
    let mut files = files.clone();
    if let Some(update) = update {
        files[usize::from(update.which == Which::Second)] = update.bytes;
    }
    files
}

const SHIM: &str = r#"
load_env() {
    [ "$1" = --skip-sig ] && [ "$2" = --file ] || exit 99
    file=$3; shift 3
    [ -s "$file" ] || return 1
    listed=$(grub-editenv "$file" list 2>/dev/null) || return 1
    while IFS= read -r line; do
        for wanted in "$@"; do
            case $line in "$wanted="*) eval "$wanted=\${line#*=}";; esac
        done
    done <<EOF
$listed
EOF
}
save_env() {
    [ "$1" = --file ] || exit 99
    file=$2; shift 2
    [ -s "$file" ] || return 1
    for each in "$@"; do
        eval "grub-editenv \"\$file\" set \"$each=\$$each\"" 2>/dev/null || return 1
    done
}
"#;

/// Runs the script over the files, as one start of the machine; gives `ab_slot` and `ab_why`, and
/// leaves in the directory what GRUB would have written.
fn run(dir: &Path, files: &Files) -> (String, String) {
    for (name, bytes) in FILES.iter().zip(files) {
        File::create(dir.join(name))
            .unwrap()
            .write_all(bytes)
            .unwrap();
    }
    let cfg = GrubCfg::new(dir.to_str().unwrap(), name("D"))
        .unwrap()
        .to_string();
    let as_shell = cfg.replace("set ab_", "ab_");
    let script = format!("{SHIM}\n{as_shell}\necho \"$ab_slot $ab_why\"\n");
    let out = Command::new("sh")
        .arg("-c")
        .arg(script)
        .output()
        .expect("a shell");
    let text = String::from_utf8(out.stdout).unwrap();
    let (slot, why) = text
        .trim_end()
        .split_once(' ')
        .unwrap_or_else(|| panic!("{text:?}"));
    (slot.to_owned(), why.to_owned())
}

fn check(files: &Files, what: &str) {
    let dir = tempfile::Builder::new().prefix("ab").tempdir().unwrap();
    let (slot, why) = run(dir.path(), files);
    let Boot {
        slot: want,
        why: reason,
        counted,
    } = decide(&pair(files), &files[2], &name("D"));
    assert_eq!(
        (slot.as_str(), why.as_str()),
        (want.as_str(), reason.as_str()),
        "{what}"
    );
    let after: Vec<Vec<u8>> = FILES
        .iter()
        .map(|n| fs::read(dir.path().join(n)).unwrap())
        .collect();
    assert_eq!(
        after[..2],
        files[..2],
        "GRUB never writes what Linux writes: {what}"
    );
    assert_eq!(
        after[2],
        counted.unwrap_or_else(|| files[2].clone()),
        "{what}"
    );
}

#[test]
fn grubs_parser_accepts_the_script() {
    for directory in ["($root)/slots", "$prefix", "${ab_root}/EFI/x-1.2"] {
        let cfg = GrubCfg::new(directory, name("system-A"))
            .unwrap()
            .to_string();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ab.cfg");
        File::create(&path)
            .unwrap()
            .write_all(cfg.as_bytes())
            .unwrap();
        let out = Command::new("grub-script-check").arg(&path).output();
        let out = out.expect("grub-script-check is missing: install grub-common");
        assert!(
            out.status.success(),
            "{}\n{cfg}",
            String::from_utf8_lossy(&out.stderr)
        );
        assert!(cfg.lines().all(|l| l.len() <= 120), "{cfg}");
    }
}

#[test]
fn the_script_decides_as_the_model_does() {
    let factory: Files = initial(name("A"), Some(name("B"))).unwrap();
    check(&factory, "factory");
    for (fallback, tries) in [(Some("A"), 1), (Some("A"), 3), (None, 2), (Some("A"), 9)] {
        let begin = TrialChange::Begin(NonZeroU8::new(tries).unwrap());
        let mut files = changed(&factory, "B", fallback, begin);
        for start in 0..=tries {
            check(&files, &format!("start {start} of {tries}"));
            if let Some(counted) = decide(&pair(&files), &files[2], &name("D")).counted {
                files[2] = counted;
            }
        }
        files = changed(&files, "B", fallback, begin);
        check(&files, "a second trial");
        files = changed(&files, "B", Some("A"), TrialChange::None);
        check(&files, "confirmed");
    }
}

#[test]
fn the_script_survives_damage_as_the_model_does() {
    let factory: Files = initial(name("A"), Some(name("B"))).unwrap();
    let armed = changed(&factory, "B", Some("A"), TrialChange::Begin(NonZeroU8::MIN));
    let written = usize::from(factory[0] == armed[0]);
    for at in (0..LEN).step_by(16).chain([25, 26, 39, 40, 43]) {
        let mut torn = factory.clone();
        torn[written] = [&armed[written][..at], &factory[written][at..]].concat();
        check(&torn, &format!("new up to {at}"));
        torn[written] = [&factory[written][..at], &armed[written][at..]].concat();
        check(&torn, &format!("new from {at}"));
    }
    for broken in [Vec::new(), vec![0; LEN], vec![0xFF; LEN], vec![b'#'; LEN]] {
        for which in 0..3 {
            let mut files = armed.clone();
            files[which] = broken.clone();
            check(&files, &format!("file {which} broken"));
        }
        check(
            &[broken.clone(), broken.clone(), armed[2].clone()],
            "both broken",
        );
    }
}
