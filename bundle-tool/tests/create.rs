//! Creating bundles: what comes out, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::io::Read as _;
use std::os::unix::fs::symlink;

use bundle_format::{Bundle, FileReader, Limits, Manifest, Trust};
use bundle_tool::create::Input;
use bundle_tool::output::Overwrite;
use support::{Workshop, chain, change, run, text, write};

#[test]
fn the_images_come_out_as_they_went_in() {
    let workshop = Workshop::new();
    let bundle = workshop.bundle("a.raucb");
    let trust = Trust::from_keyring_file(&workshop.pki.keyring).unwrap();
    let opened = Bundle::open(FileReader::open(&bundle).unwrap(), &Limits::default()).unwrap();
    let verified = opened.verify(&trust).unwrap();
    verified.verify_payload(&mut |_, _| {}).unwrap();
    assert_eq!(verified.manifest().signing_time(), Some(support::TIME));
    for (name, expected) in [
        ("rootfs.ext4", &workshop.rootfs),
        ("boot.vfat", &workshop.boot),
    ] {
        let mut found = Vec::new();
        verified
            .image(name)
            .unwrap()
            .read_to_end(&mut found)
            .unwrap();
        assert!(found == *expected, "{name}");
    }
}

#[test]
fn every_compressor_can_be_read() {
    let workshop = Workshop::new();
    for compressor in ["gzip", "xz", "zstd"] {
        let mut request = workshop.request(&format!("{compressor}.raucb"));
        request.pack.compressor = Some(compressor.to_owned());
        // Reads every image back.
        workshop.create(&request).unwrap();
    }
    let mut request = workshop.request("lz4.raucb");
    request.pack.compressor = Some("lz4".to_owned());
    let error = workshop.create(&request).unwrap_err();
    assert!(chain(&error).contains("compressed with lz4; gzip, xz and zstd can be read"));
    assert!(
        !request.output.path.exists(),
        "a bundle that we cannot read is not left behind"
    );
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let workshop = Workshop::new();
    let first = fs_err::read(workshop.bundle("a.raucb")).unwrap();
    let mut request = workshop.request("b.raucb");
    workshop.create(&request).unwrap();
    assert!(first == fs_err::read(&request.output.path).unwrap());
    change(&mut request, |_, time, _| *time += 1);
    request.output.overwrite = Overwrite::Replace;
    workshop.create(&request).unwrap();
    assert!(first != fs_err::read(&request.output.path).unwrap());
}

/// As rauc 1.15 does it: the tree in place of the archive, or beside it.
#[test]
fn archives_are_unpacked_where_the_manifest_asks_for_it() {
    let workshop = Workshop::new();
    let (input, tree) = (workshop.path("content"), workshop.path("tree"));
    fs_err::create_dir_all(tree.join("bin")).unwrap();
    fs_err::create_dir(&input).unwrap();
    write(&input.join("hook"), &[3; 9_000]);
    write(&tree.join("bin/app"), &[7; 9_000]);
    symlink("bin/app", tree.join("app")).unwrap();
    let archive = input.join("app one.tar.gz");
    let owned = ["--owner=12", "--group=34", "--mode=u=rwxs,go=rx"];
    let tar = std::process::Command::new("tar")
        .args(owned)
        .args(["-czf", text(&archive), "-C", text(&tree), "."])
        .status();
    assert!(tar.unwrap().success());
    let manifest = |convert: &str| {
        let text = "[update]\ncompatible=board\n[image.apps/one]\nfilename=app one.tar.gz\n";
        write(
            &input.join("manifest.raucm"),
            format!("{text}convert={convert}\n").as_bytes(),
        );
    };
    let create = |output: &str| {
        let mut request = workshop.request(output);
        request.input = Input::Directory(input.clone());
        workshop.create(&request)
    };
    let listed = |output: &str| {
        let listing = run("unsquashfs", &["-lln", text(&workshop.path(output))]);
        String::from_utf8(listing.stdout).unwrap()
    };

    manifest("tar-extract");
    let image = create("tree.raucb").unwrap().manifest.images.remove(0);
    assert_eq!(image.filename.as_deref(), Some("app one.tar.gz"));
    assert_eq!(image.converted, ["app one.tar.gz.extracted"]);
    let archive_digest = bundle_format::Digest::of(&fs_err::read(&archive).unwrap());
    assert_eq!(image.sha256, Some(archive_digest));
    let listing = listed("tree.raucb");
    let line = |end: &str| {
        let found = listing.lines().find(|line| line.ends_with(end));
        found.unwrap_or_else(|| panic!("{end} is not in\n{listing}"))
    };
    assert!(line("/app one.tar.gz.extracted/bin/app").starts_with("-rwsr-xr-x 12/34 "));
    assert!(line("extracted/app -> bin/app").starts_with("lrwxrwxrwx 12/34 "));
    assert!(line("/manifest.raucm").starts_with("-rw-r--r-- 0/0 "));
    assert!(line("/hook").contains(" 0/0 "));
    assert!(!listing.lines().any(|line| line.ends_with("app one.tar.gz")));

    manifest("tar-extract;keep");
    let image = create("both.raucb").unwrap().manifest.images.remove(0);
    assert_eq!(
        image.converted,
        ["app one.tar.gz.extracted", "app one.tar.gz"]
    );
    let listing = listed("both.raucb");
    assert!(listing.lines().any(|line| line.ends_with("app one.tar.gz")));

    for (convert, reason) in [
        (
            "composefs",
            "convert=composefs is not known; there are tar-extract and keep",
        ),
        ("tar-extract", "tar failed"),
    ] {
        manifest(convert);
        write(&archive, &[1; 5_000]);
        let error = create("none.raucb").unwrap_err();
        assert!(chain(&error).contains(reason), "{}", chain(&error));
        assert!(!workshop.path("none.raucb").exists());
    }
}

#[test]
fn an_existing_bundle_is_kept() {
    let workshop = Workshop::new();
    write(&workshop.path("a.raucb"), b"precious");
    let error = workshop.create(&workshop.request("a.raucb")).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.ends_with("a.raucb exists already"), "{reason}");
    assert_eq!(fs_err::read(workshop.path("a.raucb")).unwrap(), b"precious");
}

#[test]
fn a_directory_with_a_manifest() {
    let workshop = Workshop::new();
    let input = workshop.path("input");
    fs_err::create_dir_all(input.join("tree/deep")).unwrap();
    let rootfs = &workshop.rootfs[..40 * 4096];
    write(&input.join("rootfs.img"), rootfs);
    write(&input.join("hook.sh"), b"#!/bin/sh\n");
    write(&input.join("tree/deep/file"), b"x");
    symlink("rootfs.img", input.join("alias.img")).unwrap();
    let manifest = "[update]\ncompatible=Board\nmin-rauc-version=1.14\n[hooks]\nfilename=hook.sh\n\
        hooks=install-check\n[image.rootfs]\nfilename=rootfs.img\nhooks=post-install\n\
        adaptive=block-hash-index\n[image.app.v2]\nfilename=alias.img\n[meta.a]\nkey=value\n\
        [rollout]\npercent=5\n";
    write(&input.join("manifest.raucm"), manifest.as_bytes());
    let mut request = workshop.request("a.raucb");
    request.input = Input::Directory(input.clone());
    let created = workshop.create(&request).unwrap();
    assert_eq!(
        created.manifest.update.min_rauc_version.as_deref(),
        Some("1.14")
    );
    assert_eq!(
        created.manifest.rollout,
        [("percent".to_owned(), "5".to_owned())]
    );
    assert_eq!(created.manifest.images[1].size, Some(rootfs.len() as u64));
    let again = Manifest::parse(&created.manifest.to_bytes()).unwrap();
    assert_eq!(again, created.manifest);
}

/// What is in the input directory, and what the error says.
#[test]
fn wrong_input_is_refused_with_a_reason() {
    let workshop = Workshop::new();
    let update = "[update]\ncompatible=Board\n";
    let image = "[image.rootfs]\nfilename=rootfs.img\n";
    let table: &[(&str, &str)] = &[
        ("", "manifest.raucm: section [update] is missing"),
        (
            "[update]\n",
            "manifest.raucm:1: [update] needs the key 'compatible'",
        ),
        (
            "[update]\ncompatible=a\nversoin=1\n",
            "manifest.raucm:3: unknown key 'versoin' in [update]",
        ),
        (
            "[update]\ncompatible=a\n[imge.x]\n",
            "manifest.raucm:3: unknown section [imge.x]",
        ),
        (
            "U[bundle]\nformat=plain\n",
            "says format=plain, but verity is to be created",
        ),
        (
            "U[image.rootfs]\nfilename=missing.img\n",
            "needs the file missing.img, which is missing",
        ),
        ("U[image.rootfs]\nfilename=../rootfs.img\n", "has a '/'"),
        (
            "UIadaptive=magic\n",
            "asks for the adaptive method magic; only block-hash-index",
        ),
        (
            "UIadaptive=block-hash-index\n",
            "has 4 bytes, which is not a multiple of 4096",
        ),
        (
            "U[image.r]\nfilename=r.img.caibx\n",
            "[image.r] is chunked: the manifest has to say",
        ),
        (
            "UI[handler]\nfilename=no.sh\n",
            "[handler] needs the file no.sh, which is missing",
        ),
        (
            "UIhooks=install;post-install;\n[hooks]\nfilename=rootfs.img\n",
            "install replaces the whole",
        ),
        (
            "UIhooks=post-install\n",
            "no [hooks] section names the hook program",
        ),
        (
            "UIsha256=00\n",
            "needs 64 hexadecimal digits, has 2 characters",
        ),
        (
            "U[bundle]\nformat=verity\ncrypt-key=zz\n",
            "needs 64 hexadecimal digits",
        ),
    ];
    for (index, (text, expected)) in table.iter().enumerate() {
        let input = workshop.path(&format!("input{index}"));
        fs_err::create_dir(&input).unwrap();
        write(&input.join("rootfs.img"), b"data");
        write(&input.join("r.img.caibx"), b"data");
        let text = text.replacen("UI", &format!("{update}{image}"), 1);
        let text = if text.starts_with('U') {
            text.replacen('U', update, 1)
        } else {
            text
        };
        write(&input.join("manifest.raucm"), text.as_bytes());
        let mut request = workshop.request("bad.raucb");
        request.input = Input::Directory(input);
        let error = chain(&workshop.create(&request).unwrap_err());
        assert!(
            error.contains(expected),
            "{text}\ngave: {error}\nnot:  {expected}"
        );
        assert!(!request.output.path.exists());
    }
}

#[test]
fn what_must_not_be_in_a_bundle() {
    let workshop = Workshop::new();
    type Make = fn(&std::path::Path);
    let table: [(Make, &str); 4] = [
        (
            |dir| symlink("/etc/passwd", dir.join("link")).unwrap(),
            "a link may only name a neighbour",
        ),
        (
            |dir| symlink("..", dir.join("link")).unwrap(),
            "a link may only name a neighbour",
        ),
        (
            |dir| fs_err::create_dir(dir.join(".hidden")).unwrap(),
            "start with a dot are reserved",
        ),
        (
            |dir| drop(std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap()),
            "only files, directories and links may be",
        ),
    ];
    for (index, (make, expected)) in table.iter().enumerate() {
        let input = workshop.path(&format!("input{index}"));
        fs_err::create_dir(&input).unwrap();
        write(&input.join("manifest.raucm"), b"[update]\ncompatible=a\n");
        make(&input);
        let mut request = workshop.request("bad.raucb");
        request.input = Input::Directory(input);
        let error = chain(&workshop.create(&request).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_key_that_does_not_fit_is_refused_before_any_work() {
    let workshop = Workshop::new();
    let mut request = workshop.request("a.raucb");
    change(&mut request, |source, _, _| {
        source.key = workshop.pki.ca_key.clone();
    });
    let error = workshop.create(&request).unwrap_err().to_string();
    assert!(
        error.starts_with("the key does not belong to the certificate"),
        "{error}"
    );
    change(&mut request, |source, _, _| {
        source.key = workshop.path("boot.vfat");
    });
    assert!(
        workshop
            .create(&request)
            .unwrap_err()
            .to_string()
            .contains("no private key in PEM")
    );
    change(&mut request, |source, _, _| {
        source.key = workshop.path("nothing");
    });
    assert!(chain(&workshop.create(&request).unwrap_err()).contains("nothing"));
}

#[test]
fn a_bundle_that_its_own_keyring_refuses_is_not_left_behind() {
    let workshop = Workshop::new();
    let stranger = Workshop::new();
    let mut request = workshop.request("a.raucb");
    change(&mut request, |_, _, keyring| {
        *keyring = Some(stranger.trust());
    });
    let error = chain(&workshop.create(&request).unwrap_err());
    assert!(
        error.contains("nothing was written") && error.contains("not trusted"),
        "{error}"
    );
    assert!(!request.output.path.exists());
    let left: Vec<_> = fs_err::read_dir(workshop.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

struct Warnings(Vec<String>);

impl bundle_tool::observer::Observer for Warnings {
    fn step(&mut self, _: &str) {}
    fn progress(&mut self, _: u64, _: u64) {}
    fn warn(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }
}

#[test]
fn doubtful_input_gives_a_warning() {
    let workshop = Workshop::new();
    let input = workshop.path("input");
    fs_err::create_dir(&input).unwrap();
    write(&input.join("what.bin"), b"data");
    let manifest = "[update]\ncompatible=a\n[image.rootfs]\nfilename=what.bin\nsize=1\n";
    write(&input.join("manifest.raucm"), manifest.as_bytes());
    let mut request = workshop.request("a.raucb");
    request.input = Input::Directory(input);
    let mut warnings = Warnings(Vec::new());
    let created = bundle_tool::create::create(&request, &mut warnings).unwrap();
    assert_eq!(created.manifest.images[0].size, Some(4));
    let [kind, old] = warnings.0.as_slice() else {
        panic!("two warnings: {:?}", warnings.0)
    };
    assert!(
        kind.contains("nothing tells what kind of data what.bin is"),
        "{kind}"
    );
    assert!(old.contains("is old and was replaced"), "{old}");
}
