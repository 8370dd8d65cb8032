//! `slotmgr check-config` finds what would go wrong later.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use support::rig::{Rig, stderr, stdout};
use support::{bundle_file, image};

fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let (_, keyring) = bundle_file(dir.path(), &image(3), "3");
    let rig = Rig::new(&image(1), &keyring);
    fs_err::write(
        rig.path("slotmgr.toml"),
        "[[check]]\nname = \"a\"\ncommand = [\"true\"]\n",
    )
    .unwrap();
    rig
}

fn check(rig: &Rig) -> (i32, String) {
    let output = rig.run(&["check-config"]);
    (
        output.status.code().unwrap(),
        stdout(&output) + &stderr(&output),
    )
}

#[test]
fn a_good_one() {
    let (code, text) = check(&rig());
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("nothing to do") && text.contains("rootfs.1") && text.contains("booted as B"),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&rig().run(&["check-config", "--json"]).stdout).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["slots"][1]["bootname"], "B");
    assert_eq!(json["findings"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_wrong_or_risky() {
    type Row<'r> = (&'r str, &'r dyn Fn(&Rig), i32);
    let table: [Row<'_>; 10] = [
        (
            "wrong      rootfs.1: ",
            &|rig| {
                fs_err::remove_file(rig.path("slot-b")).unwrap();
                let fifo = rig.path("slot-b");
                support::loops::run("mkfifo", &[fifo.to_str().unwrap()]);
            },
            1,
        ),
        (
            "has no bytes",
            &|rig| fs_err::write(rig.path("slot-b"), []).unwrap(),
            1,
        ),
        (
            "it is no block device",
            &|rig| {
                fs_err::remove_file(rig.path("slot-b")).unwrap();
                std::os::unix::fs::symlink("/dev/zero", rig.path("slot-b")).unwrap();
            },
            1,
        ),
        (
            "wrong      rootfs.1: ",
            &|rig| fs_err::remove_file(rig.path("slot-b")).unwrap(),
            1,
        ),
        (
            "risky      rootfs.1: has 4096 bytes",
            &|rig| fs_err::write(rig.path("slot-b"), [0; 4096]).unwrap(),
            0,
        ),
        (
            "the bootloader does not know `B`",
            &|rig| {
                fs_err::write(
                    rig.path("grubenv"),
                    support::environment("ORDER=A,A_OK=1,A_TRY=0"),
                )
                .unwrap();
            },
            0,
        ),
        (
            "wrong      bootloader=grub: ",
            &|rig| fs_err::write(rig.path("grubenv"), b"x").unwrap(),
            1,
        ),
        (
            "risky      slotmgr.toml: no [[check]]",
            &|rig| fs_err::write(rig.path("slotmgr.toml"), "").unwrap(),
            0,
        ),
        (
            "wrong      [keyring]: ",
            &|rig| fs_err::remove_file(rig.path("keyring.pem")).unwrap(),
            1,
        ),
        (
            "Did you mean `device`?",
            &|rig| {
                let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
                fs_err::write(
                    rig.path("system.conf"),
                    conf.replace("device=slot-b", "devise=slot-b"),
                )
                .unwrap();
            },
            1,
        ),
    ];
    for (expected, spoil, code) in table {
        let rig = rig();
        spoil(&rig);
        let (found, text) = check(&rig);
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(found, code, "{text}");
    }
}

#[test]
fn keys_on_tokens_are_told_and_their_pin_is_not() {
    let rig = rig();
    fs_err::write(rig.path("pin"), "1234\n").unwrap();
    let here = rig.dir.path().display();
    rig.add(&format!(
        "[encryption]\nkey=pkcs11:token=Board;object=e?module-path=/nowhere/m.so&pin-value=geheim\n\
         cert=pkcs11:object=e\n[streaming]\ntls-cert=client.pem\n\
         tls-key=pkcs11:object=t?pin-source=file:{here}/pin"
    ));
    let (code, text) = check(&rig);
    assert_eq!(code, 1, "{text}");
    for expected in [
        "note       [encryption] key: on a token: pkcs11:token=Board;object=e, by the module \
         /nowhere/m.so, with the PIN in this file; the token was not asked",
        "wrong      [encryption] key: /nowhere/m.so is not there",
        "[encryption] cert: on a token: pkcs11:object=e, by the module p11-kit-proxy.so, with no PIN",
        &format!(
            "[streaming] tls-key: on a token: pkcs11:object=t, by the module p11-kit-proxy.so, \
                  with the PIN in {here}/pin;"
        ),
        &format!("wrong      [streaming] tls-cert: {here}/client.pem is not there"),
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("geheim") && !text.contains("1234"), "{text}");
    rig.configure("[[check]]\nname = \"a\"\ncommand = [\"true\"]\n");
    let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
    let conf = conf
        .replace("tls-cert=client.pem\n", "")
        .replace("token=Board;", "colour=red;");
    fs_err::write(rig.path("system.conf"), conf).unwrap();
    let (_, text) = check(&rig);
    for expected in [
        "the attribute 'colour' is not supported",
        "one of them is missing",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("geheim"), "{text}");
}
