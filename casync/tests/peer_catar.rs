//! Directory trees, both ways against Debian's casync.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test may stop where it stands.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use casync::catar::{Decoder, Directory, Event, Kind, Metadata, Node, encode, feature_flags};
use casync::chunk::DigestKind;

fn run(program: &str, args: &[&str]) -> Vec<u8> {
    let done = Command::new(program).args(args).output();
    let done = done.unwrap_or_else(|error| panic!("{program} is not installed: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {said}");
    done.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A tree with everything that an ordinary user can make, and many children.
fn tree(dir: &Path) -> PathBuf {
    let root = dir.join("tree");
    fs::create_dir_all(root.join("sub/deeper")).unwrap();
    fs::create_dir(root.join("hollow")).unwrap();
    for number in 0..100 {
        fs_err::write(root.join(format!("sub/file-{number}")), vec![b'x'; number]).unwrap();
    }
    fs_err::write(root.join("sub/deeper/größe"), b"not ASCII").unwrap();
    fs_err::write(root.join("empty"), b"").unwrap();
    fs_err::write(root.join("tool"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("tool"), fs::Permissions::from_mode(0o4711)).unwrap();
    symlink("../outside/of it", root.join("link")).unwrap();
    run("mkfifo", &[text(&root.join("pipe"))]);
    root
}

/// What is at `path`; the content of files stays there.
fn node(path: &Path) -> Node<PathBuf> {
    let found = fs::symlink_metadata(path).unwrap();
    let kind = if found.is_dir() {
        let mut children = Directory::default();
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            children
                .insert(name.as_bytes(), node(&entry.path()))
                .unwrap();
        }
        Kind::Directory(children)
    } else if found.is_symlink() {
        Kind::Symlink(fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec())
    } else if found.file_type().is_fifo() {
        Kind::Fifo
    } else {
        Kind::File {
            len: found.len(),
            content: path.to_owned(),
        }
    };
    Node {
        metadata: Metadata {
            permissions: u16::try_from(found.mode() & 0o7777).unwrap(),
            uid: found.uid(),
            gid: found.gid(),
            modified: found.mtime().try_into().unwrap(),
        },
        kind,
    }
}

fn archive(root: &Path) -> Vec<u8> {
    let root = node(root);
    let flags = feature_flags(&root, DigestKind::Sha512_256);
    let copy = &mut |path: &PathBuf, output: &mut dyn Write| {
        std::io::copy(&mut fs::File::open(path)?, output).map(drop)
    };
    let mut bytes = Vec::new();
    encode(&root, flags, copy, &mut bytes).unwrap();
    bytes
}

#[test]
fn our_archive_is_casyncs_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let root = tree(dir.path());
    let theirs = dir.path().join("theirs.catar");
    run(
        "casync",
        &["make", "--with=unix", text(&theirs), text(&root)],
    );
    assert!(fs::read(theirs).unwrap() == archive(&root));
}

#[test]
fn casync_unpacks_our_archive() {
    let dir = tempfile::tempdir().unwrap();
    let root = tree(dir.path());
    let ours = dir.path().join("ours.catar");
    fs_err::write(&ours, archive(&root)).unwrap();
    let out = dir.path().join("out");
    run(
        "casync",
        &["extract", "--with=unix", text(&ours), text(&out)],
    );
    assert!(node(&out) == relocated(node(&root), &root, &out));
    run(
        "diff",
        &[
            "-r",
            "--no-dereference",
            "-x",
            "pipe",
            text(&root),
            text(&out),
        ],
    );
}

/// The same tree, with its contents in another place.
fn relocated(mut node: Node<PathBuf>, from: &Path, to: &Path) -> Node<PathBuf> {
    match &mut node.kind {
        Kind::File { content, .. } => *content = to.join(content.strip_prefix(from).unwrap()),
        Kind::Directory(children) => {
            let moved = children
                .iter()
                .map(|(name, child)| (name.to_vec(), relocated(child.clone(), from, to)));
            let moved: Vec<_> = moved.collect();
            for (name, child) in moved {
                children.insert(&name, child).unwrap();
            }
        }
        _ => {}
    }
    node
}

#[test]
fn we_read_casyncs_archive() {
    let dir = tempfile::tempdir().unwrap();
    let root = tree(dir.path());
    let theirs = dir.path().join("theirs.catar");
    run(
        "casync",
        &["make", "--with=unix", text(&theirs), text(&root)],
    );
    let mut decoder = Decoder::new(fs::File::open(theirs).unwrap());
    let mut at = PathBuf::new();
    let mut seen = 0;
    while let Some(event) = decoder.next_event().unwrap() {
        let Event::Node { name, node: told } = event else {
            at.pop();
            continue;
        };
        at.push(std::str::from_utf8(&name).unwrap());
        let real = node(&root.join(&at));
        assert_eq!(told.metadata, real.metadata, "{}", at.display());
        match told.kind {
            Kind::Directory(_) => continue,
            Kind::File { len, .. } => {
                let mut content = vec![0; usize::try_from(len).unwrap()];
                let mut done = 0;
                while done < content.len() {
                    done += decoder.read(&mut content[done..]).unwrap();
                }
                assert!(
                    content == fs::read(root.join(&at)).unwrap(),
                    "{}",
                    at.display()
                );
            }
            Kind::Symlink(target) => assert_eq!(real.kind, Kind::Symlink(target)),
            other => assert_eq!(other, Kind::Fifo),
        }
        seen += 1;
        at.pop();
    }
    assert_eq!(seen, 105);
}

#[test]
fn an_archive_that_records_more_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let root = tree(dir.path());
    let theirs = dir.path().join("theirs.catar");
    run("casync", &["make", text(&theirs), text(&root)]);
    let error = Decoder::new(fs::File::open(theirs).unwrap()).next_event();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("--with=unix"), "{error}");
}
