//! The program: what it prints, and its exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use bundle_tool::cli::Args;
use clap::{CommandFactory as _, Parser as _};
use support::{noise, text, write};

struct Shell {
    dir: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("rootfs.ext4"), &noise(50_000));
        Self { dir }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn try_run(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bundle-tool"))
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env("SOURCE_DATE_EPOCH", "1767225600")
            .output()
            .unwrap()
    }

    /// Standard output of a run that has to succeed.
    fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and standard error of a run that has to fail.
    fn fail(&self, line: &str) -> (i32, String) {
        let output = self.try_run(line);
        assert!(output.stdout.is_empty(), "{line} printed a result");
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

const SIGN: &str = "--cert pki/signer.cert.pem --key pki/signer.key.pem";
const SALT: &str = "--salt 0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn the_arguments_are_consistent() {
    Args::command().debug_assert();
}

#[test]
fn from_nothing_to_a_checked_bundle() {
    let shell = Shell::new();
    let keys = shell.run("keys demo pki");
    assert!(keys.contains("NOT FOR PRODUCTS"), "{keys}");
    let created = shell.run(&format!(
        "create {SIGN} {SALT} --compatible my-board --version 1.0 --image rootfs=rootfs.ext4 a.raucb"
    ));
    assert!(
        created.ends_with("The bundle is signed and passed its own check.\n"),
        "{created}"
    );

    let info = shell.run("info --keyring pki/keyring.pem a.raucb");
    let lines: Vec<_> = info.lines().collect();
    assert!((5..=12).contains(&lines.len()), "{info}");
    assert!(lines[0].starts_with("Bundle:        a.raucb ("), "{info}");
    assert_eq!(
        lines[1..4],
        [
            "Compatible:    my-board",
            "Version:       1.0",
            "Format:        verity"
        ]
    );
    assert_eq!(
        lines[4],
        "Image:         rootfs = rootfs.ext4 (ext4), 48.83 KiB"
    );
    assert!(lines[5].starts_with("Signed by:     O=slotmgr demo, OU=DEMO, NOT FOR PRODUCTS, CN="));
    assert!(
        lines
            .last()
            .unwrap()
            .starts_with("The signature is trusted.")
    );

    let unverified = shell.run("info --no-verify a.raucb");
    assert!(unverified.ends_with("NOT VERIFIED: anybody may have written this.\n"));
    let good = shell.run("verify --keyring pki/keyring.pem a.raucb");
    assert!(
        good.lines()
            .last()
            .unwrap()
            .starts_with("Good: the signature is trusted"),
        "{good}"
    );
    let payload = shell.run("verify --payload-only --keyring pki/keyring.pem a.raucb");
    assert!(
        payload.ends_with("The images were not unpacked.\n"),
        "{payload}"
    );
    let extracted = shell.run("extract --keyring pki/keyring.pem a.raucb out");
    assert_eq!(extracted, "Extracted 2 entries into out.\n");
    assert!(fs_err::read(shell.path("out/rootfs.ext4")).unwrap() == noise(50_000));
}

#[test]
fn json_has_a_schema_and_says_what_was_checked() {
    let shell = Shell::new();
    shell.run("keys demo pki");
    shell.run(&format!(
        "create {SIGN} --compatible b --image rootfs.v2=rootfs.ext4 a.raucb"
    ));
    let json =
        |line: &str| -> serde_json::Value { serde_json::from_str(&shell.run(line)).unwrap() };
    let checked = json("info --json --keyring pki/keyring.pem a.raucb");
    assert_eq!(
        (&checked["schema"], &checked["verified"]),
        (&1.into(), &true.into())
    );
    assert_eq!(checked["signing_time"], 1_767_225_600);
    assert_eq!(checked["images"][0]["class"], "rootfs");
    assert_eq!(checked["images"][0]["variant"], "v2");
    assert_eq!(checked["images"][0]["size"], 50_000);
    assert_eq!(checked["manifest_hash"].as_str().unwrap().len(), 64);
    let unchecked = json("info --json --no-verify a.raucb");
    assert_eq!(unchecked["verified"], false);
    assert_eq!(unchecked["manifest_hash"], serde_json::Value::Null);
    assert_eq!(unchecked["signers"], serde_json::json!([]));
}

#[test]
fn the_same_command_gives_the_same_bundle() {
    let shell = Shell::new();
    shell.run("keys demo pki");
    let create = |salt: &str, version: &str, name: &str| {
        shell.run(&format!(
            "create {SIGN} {salt} --compatible b --version {version} --image rootfs=rootfs.ext4 {name}"
        ));
        fs_err::read(shell.path(name)).unwrap()
    };
    // Without --salt, the time that is given asks for it.
    let first = [SALT, ""].map(|salt| create(salt, "1", &format!("a{}.raucb", salt.len())));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let again = [SALT, ""].map(|salt| create(salt, "1", &format!("b{}.raucb", salt.len())));
    assert!(first == again);
    assert!(first[0] != first[1]);
}

#[test]
fn failures_say_what_and_why_and_leave_nothing() {
    let shell = Shell::new();
    shell.run("keys demo pki");
    shell.run("keys demo other");
    shell.run(&format!(
        "create {SIGN} --compatible b --image rootfs=rootfs.ext4 a.raucb"
    ));
    let table: &[(&str, i32, &str)] = &[
        ("", 2, "Usage:"),
        ("frobnicate", 2, "unrecognized subcommand"),
        (
            "keys demo pki",
            1,
            "pki is not empty; --force replaces the keys in it",
        ),
        ("info a.raucb", 2, "--keyring"),
        (
            "info --keyring pki/keyring.pem missing.raucb",
            1,
            "cannot open missing.raucb",
        ),
        (
            "verify --keyring other/keyring.pem a.raucb",
            1,
            "the signer is not trusted by the keyring",
        ),
        (
            "verify --keyring missing.pem a.raucb",
            1,
            "cannot read the keyring missing.pem",
        ),
        (
            "verify --keyring pki/keyring.pem rootfs.ext4",
            1,
            "more than the limit of 65536",
        ),
        ("create SIGN --compatible b out.raucb", 2, "--image"),
        ("create SIGN out.raucb", 2, "give INPUT_DIR and OUTPUT"),
        (
            "create SIGN --compatible b --image rootfs=rootfs.ext4 x out.raucb",
            2,
            "give only OUTPUT",
        ),
        (
            "create --compatible b --image rootfs=rootfs.ext4 out.raucb",
            2,
            "--cert",
        ),
        (
            "create SIGN --compatible b --image rootfs out.raucb",
            2,
            "use CLASS=FILE",
        ),
        (
            "create SIGN --compatible b --image rootfs=none.ext4 out.raucb",
            1,
            "none.ext4",
        ),
        (
            "create SIGN --compatible b --image rootfs=rootfs.ext4 a.raucb",
            1,
            "exists already",
        ),
        (
            "create SIGN --salt 12 --compatible b --image rootfs=rootfs.ext4 out.raucb",
            2,
            "64 hex",
        ),
        ("create SIGN . out.raucb", 1, "has no manifest.raucm"),
        (
            "create SIGN --format zip . out.raucb",
            2,
            "use verity, crypt or plain",
        ),
        ("encrypt --no-verify a.raucb out.raucb", 2, "give --to PEM"),
        (
            "sign SIGN a.raucb out.raucb",
            1,
            "is not an unsigned bundle",
        ),
        (
            "extract --keyring pki/keyring.pem a.raucb pki",
            1,
            "pki exists already",
        ),
    ];
    for (line, code, expected) in table {
        let line = line.replace("SIGN", SIGN);
        let (found, said) = shell.fail(&line);
        assert_eq!(found, *code, "{line}: {said}");
        assert!(
            said.contains(expected),
            "{line}\nsaid: {said}\nnot:  {expected}"
        );
        assert!(!shell.path("out.raucb").exists(), "{line}");
    }
}

#[test]
fn a_flipped_bit_fails_with_its_place() {
    let shell = Shell::new();
    shell.run("keys demo pki");
    shell.run(&format!(
        "create {SIGN} --compatible b --image rootfs=rootfs.ext4 a.raucb"
    ));
    let mut bytes = fs_err::read(shell.path("a.raucb")).unwrap();
    bytes[8192] ^= 1;
    write(&shell.path("a.raucb"), &bytes);
    let (code, said) = shell.fail("verify --keyring pki/keyring.pem a.raucb");
    assert_eq!(code, 1);
    let expected = "error: a.raucb is not a good bundle\n  because: payload block 2 (byte offset 8192) \
                    does not match the signed hash tree: the bundle is damaged or was tampered with\n";
    assert!(said.ends_with(expected), "{said}");
}

#[test]
fn a_missing_mksquashfs_names_the_package() {
    let shell = Shell::new();
    shell.run("keys demo pki");
    let line = format!("create {SIGN} --compatible b --image rootfs=rootfs.ext4 a.raucb");
    let output = Command::new(env!("CARGO_BIN_EXE_bundle-tool"))
        .args(line.split_whitespace())
        .current_dir(shell.dir.path())
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("apt install squashfs-tools"), "{said}");
    assert!(!shell.path("a.raucb").exists());
}

#[test]
fn keys_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let shell = Shell::new();
    shell.run("keys demo pki");
    // Replacing a key that was opened to everybody closes it again.
    let key = shell.path("pki/ca.key.pem");
    fs_err::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let old = fs_err::read(&key).unwrap();
    shell.run("keys demo pki --force");
    assert!(fs_err::read(&key).unwrap() != old);
    for name in ["ca.key.pem", "signer.key.pem"] {
        let mode = fs_err::metadata(shell.path("pki").join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let readme = fs_err::read_to_string(shell.path("pki/README.txt")).unwrap();
    assert!(readme.starts_with("DEMO KEYS. NOT FOR PRODUCTS."));
}

#[test]
fn a_key_with_a_pass_phrase() {
    let shell = Shell::new();
    shell.run("keys demo pki");
    let (plain, locked) = (
        shell.path("pki/signer.key.pem"),
        shell.path("pki/locked.pem"),
    );
    let args = [
        "pkey",
        "-in",
        text(&plain),
        "-aes256",
        "-passout",
        "pass:secret",
        "-out",
    ];
    support::run("openssl", &[&args[..], &[text(&locked)]].concat());
    let create = |passphrase: Option<&str>| {
        let line = "create --cert pki/signer.cert.pem --key pki/locked.pem --force --compatible b \
                    --image rootfs=rootfs.ext4 a.raucb";
        let mut command = Command::new(env!("CARGO_BIN_EXE_bundle-tool"));
        command
            .args(line.split_whitespace())
            .current_dir(shell.dir.path());
        command
            .stdin(std::process::Stdio::null())
            .env_remove("RAUC_KEY_PASSPHRASE");
        command.envs(passphrase.map(|passphrase| ("RAUC_KEY_PASSPHRASE", passphrase)));
        let output = command.output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert!(create(Some("secret")).0);
    for wrong in [None, Some("guess")] {
        let (success, said) = create(wrong);
        assert!(
            !success && said.contains("needs RAUC_KEY_PASSPHRASE"),
            "{said}"
        );
    }
}

#[test]
fn arguments_become_a_structure() {
    use bundle_tool::cli::Command as Verb;
    let args = Args::try_parse_from(
        "bundle-tool verify --keyring k --check-purpose codesign b".split(' '),
    );
    let Verb::Verify(verify) = args.unwrap().command else {
        panic!("another verb")
    };
    assert_eq!(verify.keyring, Path::new("k"));
    assert_eq!(
        verify.rules.check_purpose,
        Some(bundle_format::cms::Purpose::CodeSign)
    );
    assert!(!verify.rules.check_crl);
}

/// Half of CVE-2026-34155 once more, with a file on the disk: sparse, so that it needs no room.
#[test]
fn a_plain_bundle_beyond_two_gigabytes_is_refused() {
    use std::os::unix::fs::FileExt as _;
    let shell = Shell::new();
    shell.run("keys demo pki");
    shell.run(&format!(
        "create {SIGN} --format plain --compatible a --image rootfs=rootfs.ext4 a.raucb"
    ));
    let bytes = fs_err::read(shell.path("a.raucb")).unwrap();
    let (rest, size) = bytes.split_last_chunk().unwrap();
    let signature = &rest[rest.len() - usize::try_from(u64::from_be_bytes(*size)).unwrap()..];
    let huge = fs_err::File::create(shell.path("huge.raucb"))
        .unwrap()
        .into_file();
    huge.write_all_at(&bytes[..4096], 0).unwrap();
    huge.write_all_at(&[signature, size].concat(), 1 << 31)
        .unwrap();
    let (code, said) = shell.fail("verify --keyring pki/keyring.pem huge.raucb");
    assert_eq!(code, 1);
    assert!(
        said.contains("a plain bundle may have 2147483647 bytes at most"),
        "{said}"
    );
}

#[test]
fn an_old_mksquashfs_is_refused_before_any_work() {
    use std::os::unix::fs::PermissionsExt as _;
    let shell = Shell::new();
    shell.run("keys demo pki");
    let program = shell.path("mksquashfs");
    write(
        &program,
        b"#!/bin/sh\necho 'mksquashfs version 4.4 (2019/08/29)'\n",
    );
    fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let line = format!("create {SIGN} --compatible a --image rootfs=rootfs.ext4 a.raucb");
    let output = Command::new(env!("CARGO_BIN_EXE_bundle-tool"))
        .args(line.split_whitespace())
        .current_dir(shell.dir.path())
        .env("PATH", shell.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("mksquashfs is version 4.4, but at least version 4.5 is needed"),
        "{said}"
    );
    assert!(!shell.path("a.raucb").exists());
}

#[test]
fn shells_are_taught_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let done = support::run(env!("CARGO_BIN_EXE_bundle-tool"), &["completions", shell]);
        let script = support::stdout(&done);
        assert!(
            script.contains("extract-signature") && script.contains("signing-keyring"),
            "{shell}"
        );
    }
}

#[test]
fn what_was_not_read_is_not_called_bad() {
    let workshop = support::Workshop::new();
    let bundle = workshop.bundle("a.raucb");
    let keyring = workshop.path("rootfs.ext4");
    let line = [
        "verify",
        "--keyring",
        support::text(&keyring),
        support::text(&bundle),
    ];
    let done = support::try_run(env!("CARGO_BIN_EXE_bundle-tool"), &line);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("holds no certificate"), "{said}");
    assert!(!said.contains("not a good bundle"), "{said}");

    let shell = Shell::new();
    shell.run("keys demo pki");
    let (code, said) = shell.fail("verify --keyring pki/keyring.pem missing.raucb");
    assert_eq!(code, 1);
    assert!(said.contains("missing.raucb was not checked"), "{said}");
}
