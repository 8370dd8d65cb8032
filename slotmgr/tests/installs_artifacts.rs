//! Artifact repositories: files and trees, with a system and alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use support::rig::{Rig, stderr, stdout};
use support::{bundle_file, bundle_with, image};

const HEAD: &str = "[update]\ncompatible=board\nversion=2\n[bundle]\nformat=verity\n";
const APP: &str = "[image.files/app]\nfilename=app.bin\n";
const TREE: &str = "[image.trees/web]\nfilename=web.tar\n";
const ROOT: &str = "[image.rootfs]\nfilename=rootfs.img\n";

/// A machine with a repository of each kind.
struct Board {
    rig: Rig,
    dir: tempfile::TempDir,
}

impl Board {
    fn new() -> Board {
        let dir = tempfile::tempdir().unwrap();
        let (_, keyring) = bundle_file(dir.path(), &image(2), "9");
        let rig = Rig::new(&image(1), &keyring);
        let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
        let more = "[artifacts.files]\npath=files\ntype=files\n\
                    [artifacts.trees]\npath=trees\ntype=trees\ndescription=Web pages\n";
        fs_err::write(rig.path("system.conf"), conf + more).unwrap();
        for name in ["files", "trees"] {
            fs_err::create_dir(rig.path(name)).unwrap();
        }
        Board { rig, dir }
    }

    fn install(&self, manifest: &str, files: &[(&str, &[u8])]) -> Output {
        let manifest = format!("{HEAD}{manifest}");
        let (bundle, _) = bundle_with(self.dir.path(), &manifest, files);
        self.rig.run(&["install", bundle.to_str().unwrap()])
    }

    fn ok(&self, manifest: &str, files: &[(&str, &[u8])]) -> String {
        let output = self.install(manifest, files);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    }

    fn names(&self, repository: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.rig.path(repository)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn app(&self) -> Vec<u8> {
        fs_err::read(self.rig.path("files/app")).unwrap()
    }

    /// A tree with a page and a link.
    fn tar(&self, page: &str) -> Vec<u8> {
        let tree = self.dir.path().join(page);
        fs_err::create_dir_all(tree.join("deep")).unwrap();
        fs_err::write(tree.join("deep/index.html"), page).unwrap();
        std::os::unix::fs::symlink("deep/index.html", tree.join("start")).unwrap();
        let output = Command::new("tar")
            .args(["--create", "--gzip", "-C"])
            .args([tree, PathBuf::from(".")])
            .output()
            .unwrap();
        assert!(output.status.success());
        output.stdout
    }
}

#[test]
fn with_a_system_they_are_used_when_it_is_armed() {
    let board = Board::new();
    let (one, two) = (board.tar("one"), board.tar("two"));
    let manifest = format!("{ROOT}{APP}{TREE}");
    let root = image(3);
    board.ok(
        &manifest,
        &[
            ("rootfs.img", &root),
            ("app.bin", b"app 1"),
            ("web.tar", &one),
        ],
    );
    assert!(board.rig.snapshot().b.starts_with(&root));
    assert_eq!(board.app(), b"app 1");
    assert_eq!(
        fs_err::read(board.rig.path("trees/web/start")).unwrap(),
        b"one"
    );

    fs_err::write(board.rig.path("files/mine"), "not an artifact").unwrap();
    board.ok(
        &manifest,
        &[
            ("rootfs.img", &root),
            ("app.bin", b"app 2"),
            ("web.tar", &two),
        ],
    );
    assert_eq!(board.app(), b"app 2");
    assert_eq!(
        fs_err::read(board.rig.path("trees/web/start")).unwrap(),
        b"two"
    );
    // The instance, its link, and what is somebody else's.
    assert_eq!(board.names("files")[1..], ["app", "mine"]);
    assert_eq!(board.names("trees").len(), 2);
    let status: Value =
        serde_json::from_slice(&board.rig.run(&["status", "--json"]).stdout).unwrap();
    let files = &status["repositories"][0];
    assert_eq!(files["name"], "files");
    let instances = files["artifacts"]["app"].as_object().unwrap();
    assert_eq!(instances.values().collect::<Vec<_>>(), [&Value::Bool(true)]);
    assert!(stdout(&board.rig.run(&["status"])).contains("  web"));
}

#[test]
fn alone_they_leave_the_bootloader_and_the_slots_alone() {
    let board = Board::new();
    let before = board.rig.snapshot();
    let text = board.ok(APP, &[("app.bin", b"app 1")]);
    assert!(text.contains("used from now on"), "{text}");
    assert_eq!(board.app(), b"app 1");
    assert!(board.rig.snapshot() == before);
    let history = stdout(&board.rig.run(&["history"]));
    let last = history.lines().last().unwrap();
    assert!(
        last.ends_with("was installed, and no slot was switched"),
        "{history}"
    );
    // Once more: it is there, and nothing is written.
    let time = || {
        fs_err::symlink_metadata(board.rig.path("files/app"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let first = time();
    board.ok(APP, &[("app.bin", b"app 1")]);
    assert_eq!(time(), first);
    // What is not in a bundle stays, as with RAUC.
    board.ok(TREE, &[("web.tar", &board.tar("one"))]);
    assert_eq!(board.app(), b"app 1");
}

#[test]
fn an_instance_that_is_open_stays_until_it_is_not() {
    let board = Board::new();
    board.ok(APP, &[("app.bin", b"app 1")]);
    let open = fs_err::File::open(board.rig.path("files/app")).unwrap();
    board.ok(APP, &[("app.bin", b"app 2")]);
    assert_eq!(board.names("files").len(), 3);
    drop(open);
    board.ok(APP, &[("app.bin", b"app 3")]);
    assert_eq!(board.names("files").len(), 2);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let board = Board::new();
    board.ok(APP, &[("app.bin", b"app 1")]);
    let before = (
        board.rig.snapshot(),
        board.names("files"),
        board.names("trees"),
    );
    let root = image(3);
    type Files<'f> = &'f [(&'f str, &'f [u8])];
    let cases: [(&str, Files<'_>, &str); 4] = [
        (
            "[image.maps/x]\nfilename=x.bin\n",
            &[("x.bin", b"x")],
            "no [artifacts.maps]",
        ),
        (
            "[image.trees/x]\nfilename=x.img\n",
            &[("x.img", b"x")],
            "no tar archive",
        ),
        (
            "[image.trees/x]\nfilename=x.tar\n",
            &[(
                "x.tar",
                b"this is no archive at all, whatever its name says",
            )],
            "artifact trees/x",
        ),
        (
            "[image.app]\nfilename=rootfs.img\n[image.files/app]\nfilename=app.bin\n",
            &[("rootfs.img", &root), ("app.bin", b"app 2")],
            "no slot of that class",
        ),
    ];
    for (manifest, files, text) in cases {
        let output = board.install(manifest, files);
        assert_eq!(output.status.code(), Some(1), "{manifest}");
        assert!(
            stderr(&output).contains(text),
            "{manifest}: {}",
            stderr(&output)
        );
        assert_eq!(board.app(), b"app 1");
        assert!(board.rig.snapshot() == before.0, "{manifest}");
    }
    // What the broken archive left is taken away by the next installation.
    board.ok(APP, &[("app.bin", b"app 1")]);
    assert_eq!(
        (board.names("files"), board.names("trees")),
        (before.1, before.2)
    );
    fs_err::remove_dir_all(board.rig.path("trees")).unwrap();
    let output = board.install(TREE, &[("web.tar", &board.tar("one"))]);
    assert!(
        stderr(&output).contains("cannot use the repository"),
        "{}",
        stderr(&output)
    );
}

/// The slot is proven first: an image that cannot be written leaves the old artifacts in use.
#[test]
fn when_the_system_cannot_be_written_the_old_artifacts_are_used() {
    let board = Board::new();
    board.ok(APP, &[("app.bin", b"app 1")]);
    let hooks = "[hooks]\nfilename=hook\n[image.rootfs]\nfilename=rootfs.img\nhooks=post-install\n";
    let root = image(3);
    let files: [(&str, &[u8]); 3] = [
        ("hook", b"#!/bin/sh\nexit 1\n"),
        ("rootfs.img", &root),
        ("app.bin", b"app 2"),
    ];
    let output = board.install(&format!("{hooks}{APP}"), &files);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(board.app(), b"app 1");
}

/// `convert=tar-extract`: the bundle holds the tree instead of the archive, as RAUC 1.13 and later want it.
#[test]
fn a_tree_comes_out_of_the_bundle_as_it_was_packed() {
    let board = Board::new();
    let tree = board.dir.path().join("rich");
    let script = "mkdir -p rich/deep/er rich/closed && cd rich && head -c 300000 /dev/urandom > deep/program \
                  && ln deep/program deep/er/again && ln -s ../deep/program closed/link && echo hello > note \
                  && mknod null c 1 3 && mknod disk b 300 70000 && mkfifo pipe && : > empty \
                  && chown 12:34 deep/program && chown -h 56:78 closed/link && chmod 4711 deep/program \
                  && chmod 0700 closed && find . -exec touch -h -d @1700000000 {} +";
    let done = Command::new("sh")
        .args(["-c", script])
        .current_dir(board.dir.path())
        .status();
    assert!(done.unwrap().success());
    let long = [b'v'; 3_000];
    for (path, name, value) in [
        ("deep/program", "user.origin", b"here".as_slice()),
        ("deep/program", "trusted.long", &long),
        ("note", "trusted.long", &long),
    ] {
        xattr::set(tree.join(path), name, value).unwrap();
    }
    let packed = |directory: &std::path::Path| {
        let output = Command::new("tar")
            .args([
                "--create",
                "--sort=name",
                "--numeric-owner",
                "--format=posix",
            ])
            .args([
                "--xattrs",
                "--xattrs-include=*",
                "--pax-option=delete=atime,delete=ctime",
            ])
            .args(["-C".as_ref(), directory, ".".as_ref()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        output.stdout
    };
    let archive = packed(&tree);
    let manifest = |convert: &str| format!("{TREE}convert={convert}\n");
    board.ok(&manifest("tar-extract"), &[("web.tar", &archive)]);
    let link = board.rig.path("trees/web");
    assert!(packed(&fs_err::canonicalize(&link).unwrap()) == archive);

    // The archive is the same one: what there is stays.
    let digest = bundle_format::Digest::of(&archive);
    let name = format!(".artifact-web-{digest}");
    assert_eq!(fs_err::read_link(&link).unwrap(), PathBuf::from(&name));
    board.ok(&manifest("tar-extract;keep"), &[("web.tar", &archive)]);
    assert_eq!(board.names("trees"), [name, "web".to_owned()]);

    // Nothing else can do anything with it.
    for section in [
        "[image.files/app]\nfilename=web.tar\n",
        "[image.rootfs]\nfilename=web.tar\n",
    ] {
        let output = board.install(
            &format!("{section}convert=tar-extract\n"),
            &[("web.tar", &archive)],
        );
        assert!(
            stderr(&output).contains("in its converted form"),
            "{}",
            stderr(&output)
        );
    }
}
