//! Converted bundles: the same bytes as Debian's `rauc` and `casync` make, and readable by them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use support::{KEYRING, OURS, SIGNER, THEIRS, Workshop, noise};

/// An input with an image, and a tar archive of a tree with links and permissions.
fn input(workshop: &Workshop) {
    fs_err::create_dir_all(workshop.path("tree/sub")).unwrap();
    workshop.write("tree/sub/data", &noise(200_000));
    workshop.write("tree/tool", b"#!/bin/sh\n");
    workshop.ok("chmod", "4711 tree/tool");
    workshop.ok("ln", "-s sub/data tree/link");
    workshop.ok("ln", "tree/tool tree/hard");
    workshop.ok(
        "tar",
        "-C tree --owner=12 --group=34 -cJf input/appfs.tar.xz .",
    );
    // So large that RAUC accepts what is left.
    for number in 0..3 {
        workshop.write(&format!("input/filler-{number}"), &noise(9000 + number));
    }
    let manifest = "[update]\ncompatible=Test Board\n\n[bundle]\nformat=verity\n\n\
                    [image.rootfs]\nfilename=rootfs.ext4\n\n[image.appfs]\nfilename=appfs.tar.xz\n";
    workshop.write("input/manifest.raucm", manifest.as_bytes());
    workshop.ok(THEIRS, &format!("bundle {SIGNER} input a.raucb"));
}

#[test]
fn the_same_indexes_as_rauc_and_casync_make() {
    let workshop = Workshop::new();
    input(&workshop);
    for (program, name) in [(THEIRS, "theirs"), (OURS, "ours")] {
        let said = workshop.ok(
            program,
            &format!("convert {KEYRING} {SIGNER} a.raucb {name}.raucb"),
        );
        let expected =
            format!("Creating bundle in 'verity' format\nBundle written to {name}.raucb\n");
        assert_eq!(said, expected);
        workshop.ok(OURS, &format!("extract {KEYRING} {name}.raucb {name}"));
    }
    workshop.ok("diff", "-r ours theirs");
    workshop.ok(
        "casync",
        "extract --store=ours.castr ours/rootfs.ext4.caibx image",
    );
    workshop.ok("cmp", "image input/rootfs.ext4");
    workshop.ok("casync", "list --store=ours.castr ours/appfs.tar.xz.caidx");
    let found = |store: &str| {
        let mut names: Vec<_> = workshop
            .ok("find", &format!("{store} -name *.cacnk -printf %f\\n"))
            .lines()
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    };
    assert_eq!(found("ours.castr"), found("theirs.castr"));
    workshop.same(&format!("info {KEYRING} ours.raucb"));
}

#[test]
fn images_can_be_left_as_they_are_and_cut_finer() {
    let workshop = Workshop::new();
    input(&workshop);
    let line = format!(
        "convert {KEYRING} {SIGNER} --ignore-image=appfs --casync-args=--chunk-size=16384 a.raucb b.raucb"
    );
    workshop.ok(OURS, &line);
    workshop.ok(OURS, &format!("extract {KEYRING} b.raucb out"));
    workshop.ok("cmp", "input/appfs.tar.xz out/appfs.tar.xz");
    workshop.ok(
        "casync",
        "extract --store=b.castr out/rootfs.ext4.caibx image",
    );
    workshop.ok("cmp", "image input/rootfs.ext4");
    let wrong = format!("convert {KEYRING} {SIGNER} --casync-args=--seed=x a.raucb c.raucb");
    assert_eq!(workshop.run(OURS, &wrong).status.code(), Some(1));
}
