//! Crypt bundles that Debian's `rauc` has made and encrypted, opened by `[encryption] key=`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

#[path = "../../token-key/tests/support/softhsm.rs"]
mod softhsm;
mod support;

use bundle_tool::keys::demo_pki;
use softhsm::{MODULE, PIN, SoftHsm};
use support::image;
use support::loops::run;
use support::rig::{Rig, stderr, stdout};

/// A directory with keys, a bundle that is signed and one that is encrypted to two recipients, too.
fn workshop() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let pki = demo_pki(&dir.path().join("pki")).unwrap();
    for (name, algorithm) in [
        ("rsa", &["-newkey", "rsa:2048"][..]),
        (
            "ec",
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ),
        ("stranger", &["-newkey", "rsa:2048"]),
    ] {
        let (key, cert) = (path(&format!("{name}.key")), path(&format!("{name}.pem")));
        let subject = format!("/CN={name}");
        let mut words = vec!["req", "-x509", "-nodes", "-days", "30", "-subj", &subject];
        words.extend(["-keyout", &key, "-out", &cert]);
        words.extend(algorithm);
        run("openssl", &words);
    }
    fs_err::create_dir(dir.path().join("input")).unwrap();
    fs_err::write(dir.path().join("input/rootfs.img"), image(7)).unwrap();
    let manifest = "[update]\ncompatible=board\nversion=7\n[bundle]\nformat=crypt\n\
                    [image.rootfs]\nfilename=rootfs.img\n";
    fs_err::write(dir.path().join("input/manifest.raucm"), manifest).unwrap();
    let signer = [("--cert", &pki.signer_cert), ("--key", &pki.signer_key)]
        .map(|(option, file)| format!("{option}={}", file.display()));
    let [cert, key] = signer.each_ref().map(String::as_str);
    let keyring = format!("--keyring={}", pki.keyring.display());
    let (input, signed, sealed) = (path("input"), path("signed.raucb"), path("sealed.raucb"));
    run("rauc", &["bundle", cert, key, &input, &signed]);
    let to = ["rsa", "ec"].map(|name| format!("--to={}", path(&format!("{name}.pem"))));
    run(
        "rauc",
        &["encrypt", &keyring, &to[0], &to[1], &signed, &sealed],
    );
    dir
}

#[test]
fn by_whom_they_are_meant_for_and_nobody_else() {
    let workshop = workshop();
    let path = |name: &str| workshop.path().join(name);
    let sealed = path("sealed.raucb");
    let install = |encryption: &str, bundle: &str| {
        let rig = Rig::new(&image(1), &path("pki/keyring.pem"));
        let conf = fs_err::read_to_string(rig.path("system.conf")).unwrap();
        fs_err::write(rig.path("system.conf"), format!("{conf}{encryption}")).unwrap();
        let before = rig.snapshot();
        let output = rig.run(&["install", bundle]);
        (output, rig.snapshot().b, before)
    };
    let section = |name: &str| {
        let (key, cert) = (path(&format!("{name}.key")), path(&format!("{name}.pem")));
        let key = format!("[encryption]\nkey={}\n", key.display());
        [key.clone(), format!("{key}cert={}\n", cert.display())]
    };
    for encryption in [section("rsa"), section("ec")].concat() {
        let (output, b, _) = install(&encryption, sealed.to_str().unwrap());
        assert!(output.status.success(), "{encryption}: {}", stderr(&output));
        assert!(b.starts_with(&image(7)), "{encryption}");
    }
    let strangers = section("stranger");
    for (encryption, bundle) in [
        ("", "sealed.raucb"),
        (strangers[0].as_str(), "sealed.raucb"),
        (strangers[1].as_str(), "sealed.raucb"),
        // Signed and never encrypted: its key can be read by everybody.
        (section("rsa")[0].as_str(), "signed.raucb"),
    ] {
        let (output, b, before) = install(encryption, path(bundle).to_str().unwrap());
        assert_eq!(output.status.code(), Some(1), "{encryption}{bundle}");
        assert!(stderr(&output).contains("refused"), "{}", stderr(&output));
        assert!(b == before.b, "{encryption}{bundle}");
    }
}

#[test]
fn with_the_key_on_a_token() {
    let workshop = workshop();
    let path = |name: &str| workshop.path().join(name);
    let hsm = SoftHsm::new("Board");
    for (name, id) in [("rsa", "01"), ("ec", "02"), ("stranger", "03")] {
        let (key, cert) = (path(&format!("{name}.key")), path(&format!("{name}.pem")));
        hsm.import("Board", (&key, &cert), name, id);
    }
    fs_err::write(path("pin"), format!("{PIN}\n")).unwrap();
    let install = |encryption: &str, variables: &[(&str, &str)]| {
        let rig = Rig::new(&image(1), &path("pki/keyring.pem"));
        rig.add(&format!("[encryption]\n{encryption}"));
        let sealed = path("sealed.raucb");
        let mut command = rig.command("A", &["install", sealed.to_str().unwrap()]);
        command.env_remove("RAUC_PKCS11_MODULE");
        command.env_remove("RAUC_PKCS11_PIN");
        command.env("SOFTHSM2_CONF", hsm.conf());
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        let said = stderr(&output) + &stdout(&output);
        assert!(!said.contains(PIN), "{said}");
        (output.status.code().unwrap(), said, rig.snapshot().b)
    };
    let pin_file = path("pin").display().to_string();
    let by_uri = format!("module-path={MODULE}&pin-source=file:{pin_file}");
    let (module, pin) = (("RAUC_PKCS11_MODULE", MODULE), ("RAUC_PKCS11_PIN", PIN));
    for (encryption, variables) in [
        (
            format!("key=pkcs11:token=Board;object=rsa?{by_uri}"),
            &[][..],
        ),
        (
            format!("key=pkcs11:object=ec?{by_uri}\ncert=pkcs11:object=ec?{by_uri}"),
            &[],
        ),
        (
            format!("key=pkcs11:object=rsa\ncert={}", path("rsa.pem").display()),
            &[module, pin],
        ),
        ("key=pkcs11:object=ec".to_owned(), &[module, pin]),
    ] {
        let (code, said, b) = install(&encryption, variables);
        assert_eq!(code, 0, "{encryption}: {said}");
        assert!(b.starts_with(&image(7)), "{encryption}");
    }
    let untouched = Rig::new(&image(1), &path("pki/keyring.pem")).snapshot().b;
    for (encryption, variables, expected) in [
        (
            "key=pkcs11:object=stranger",
            &[module, pin][..],
            "not encrypted for this key",
        ),
        (
            "key=pkcs11:object=none",
            &[module, pin],
            "has no private key that fits",
        ),
        (
            "key=pkcs11:token=none;object=rsa",
            &[module, pin],
            "no token fits",
        ),
        (
            "key=pkcs11:object=rsa",
            &[module, ("RAUC_PKCS11_PIN", "1")],
            "is wrong",
        ),
        ("key=pkcs11:object=rsa", &[module], "wants a PIN"),
        (
            "key=pkcs11:object=rsa;type=cert",
            &[module, pin],
            "does not name a private key",
        ),
    ] {
        let (code, said, b) = install(encryption, variables);
        assert_eq!(code, 1, "{encryption}: {said}");
        assert!(
            said.contains(expected) && said.contains("refused; nothing was written"),
            "{said}"
        );
        assert!(b == untouched, "{encryption}");
    }
}
