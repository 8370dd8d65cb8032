//! Who is trusted, and who is not: one test per rule, and RAUC's acceptance table row by row.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use bundle_format::cms::{CheckTime, Policy, Purpose, Revocation};
use bundle_format::{Bundle, Limits, Trust};
use openssl::hash::MessageDigest;
use support::{Identity, NOW, Spec, Unsigned, chain, cms, rsa, text, try_run, write};

fn verify(bundle: Vec<u8>, trust: &Trust) -> Result<(), String> {
    Bundle::open(bundle, &Limits::default())
        .map_err(|error| chain(&error))?
        .verify(trust)
        .map(drop)
        .map_err(|error| chain(&error))
}

fn trust(ca: &Identity) -> Trust {
    Trust::from_pem(&ca.pem(), "ca.pem").unwrap()
}

/// The certificate that signs, and what is expected for smimesign (the default), codesign, any.
#[test]
fn the_acceptance_table_and_rauc_itself() {
    let ca = Spec::ca("CA").make();
    let table: [(&[&str], [bool; 3]); 4] = [
        (&[], [true, false, true]),
        (&["emailProtection"], [true, false, true]),
        (&["codeSigning"], [false, true, true]),
        (&["timeStamping"], [false, false, true]),
    ];
    let purposes = [
        (Purpose::SmimeSign, "smimesign"),
        (Purpose::CodeSign, "codesign"),
        (Purpose::Any, "any"),
    ];
    let unsigned = Unsigned::new();
    for (eku, expected) in table {
        let signer = Spec {
            eku,
            ..Spec::leaf("Signer", Some(&ca))
        }
        .make();
        let bundle = unsigned.signed(&signer, &[]);
        for ((purpose, name), accepted) in purposes.into_iter().zip(expected) {
            let ours = verify(bundle.clone(), &trust(&ca).with_purpose(purpose));
            assert_eq!(ours.is_ok(), accepted, "{eku:?} for {name}: {ours:?}");
            let theirs = rauc_accepts(&bundle, &ca, &format!("check-purpose={name}"));
            assert_eq!(theirs, accepted, "rauc: {eku:?} for {name}");
        }
        let default = verify(bundle.clone(), &trust(&ca));
        assert_eq!(default.is_ok(), expected[0], "{eku:?} by default");
        assert_eq!(
            rauc_accepts(&bundle, &ca, ""),
            expected[0],
            "rauc: {eku:?} by default"
        );
    }
}

/// What real `rauc info` says, with these lines in `[keyring]`.
fn rauc_accepts(bundle: &[u8], ca: &Identity, keyring: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("ca.pem"), &ca.pem());
    write(&dir.path().join("a.raucb"), bundle);
    let config =
        format!("[system]\ncompatible=Board\nbootloader=noop\n[keyring]\npath=ca.pem\n{keyring}\n");
    write(&dir.path().join("system.conf"), config.as_bytes());
    let (config, bundle) = (dir.path().join("system.conf"), dir.path().join("a.raucb"));
    try_run("rauc", &["-c", text(&config), "info", text(&bundle)])
        .status
        .success()
}

#[test]
fn code_signing_looks_at_the_whole_chain() {
    let root = Spec::ca("Root").make();
    let codesign = Purpose::CodeSign;
    let check = |ca_eku: &[&str]| {
        let middle = Spec {
            eku: ca_eku,
            issuer: Some(&root),
            ..Spec::ca("Middle")
        }
        .make();
        let signer = Spec {
            eku: &["codeSigning"],
            ..Spec::leaf("Signer", Some(&middle))
        }
        .make();
        let dir = tempfile::tempdir().unwrap();
        let (certfile, _) = middle.write(dir.path(), "middle");
        let bundle = Unsigned::new().signed(&signer, &["-certfile", text(&certfile)]);
        verify(bundle, &trust(&root).with_purpose(codesign))
    };
    assert_eq!(check(&[]), Ok(()));
    assert_eq!(check(&["codeSigning"]), Ok(()));
    let refused = check(&["emailProtection"]).unwrap_err();
    assert!(
        refused.contains("CN=Middle is not made for code signing"),
        "{refused}"
    );
}

#[test]
fn chains() {
    let root = Spec::ca("Root").make();
    let middle = Spec {
        issuer: Some(&root),
        ..Spec::ca("Middle")
    }
    .make();
    let signer = Spec::leaf("Signer", Some(&middle)).make();
    let dir = tempfile::tempdir().unwrap();
    let (certfile, _) = middle.write(dir.path(), "middle");
    let unsigned = Unsigned::new();
    let whole = unsigned.signed(&signer, &["-certfile", text(&certfile)]);
    let alone = unsigned.signed(&signer, &[]);
    assert_eq!(verify(whole.clone(), &trust(&root)), Ok(()));
    let broken = verify(alone.clone(), &trust(&root)).unwrap_err();
    assert!(
        broken.contains("unable to get local issuer certificate"),
        "{broken}"
    );
    // A keyring with only the intermediate one is a partial chain.
    let partial = verify(alone.clone(), &trust(&middle)).unwrap_err();
    assert!(
        partial.contains("unable to get issuer certificate"),
        "{partial}"
    );
    assert_eq!(
        verify(alone.clone(), &trust(&middle).with_partial_chain()),
        Ok(())
    );
    let both = [root.pem(), middle.pem()].concat();
    assert_eq!(
        verify(alone, &Trust::from_pem(&both, "both").unwrap()),
        Ok(())
    );
    let hidden = unsigned.signed(&signer, &["-nocerts"]);
    let hidden = verify(hidden, &Trust::from_pem(&both, "both").unwrap()).unwrap_err();
    assert!(
        hidden.contains("does not carry the certificate of its signer"),
        "{hidden}"
    );
}

#[test]
fn a_directory_of_certificates() {
    let ca = Spec::ca("CA").make();
    let signer = Spec::leaf("Signer", Some(&ca)).make();
    let bundle = Unsigned::new().signed(&signer, &[]);
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("ca.pem"), &ca.pem());
    let by_directory = Trust::from_directory(dir.path()).unwrap();
    assert!(
        verify(bundle.clone(), &by_directory).is_err(),
        "names are not hashed yet"
    );
    support::run("openssl", &["rehash", text(dir.path())]);
    assert_eq!(verify(bundle.clone(), &by_directory), Ok(()));
    let as_keyring = Trust::from_keyring_file(dir.path()).unwrap();
    assert_eq!(verify(bundle, &as_keyring), Ok(()));
}

#[test]
fn two_signers_or_none_are_refused_by_both() {
    let ca = Spec::ca("CA").make();
    let signer = Spec::leaf("Signer", Some(&ca)).make();
    let second = Spec::leaf("Second", Some(&ca)).make();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = second.write(dir.path(), "second");
    let unsigned = Unsigned::new();
    let bundle = unsigned.signed(&signer, &["-signer", text(&cert), "-inkey", text(&key)]);
    let error = verify(bundle.clone(), &trust(&ca)).unwrap_err();
    assert_eq!(
        error,
        "the signature has 2 signers; a bundle needs exactly one"
    );
    assert!(!rauc_accepts(&bundle, &ca, ""));
}

/// OpenSSL and our reading of the structure have to speak of the same certificate: with two that
/// fit, the name of the one could be believed of what the key of the other signed.
#[test]
fn a_choice_of_signers_is_refused() {
    let ca = Spec::ca("CA").make();
    let named = |name| Spec {
        serial: Some(77),
        ..Spec::leaf(name, Some(&ca))
    };
    let (evil, release) = (named("Evil").make(), named("Release").make());
    let dir = tempfile::tempdir().unwrap();
    let (release, _) = release.write(dir.path(), "release");
    let unsigned = Unsigned::new();
    let bundle = unsigned.signed(&evil, &["-certfile", text(&release)]);
    let only_release = trust(&ca).with_allowed_signers(vec!["Release".to_owned()]);
    let refused = verify(bundle, &only_release).unwrap_err();
    assert!(
        refused.contains("several certificates that its signer could mean"),
        "{refused}"
    );
}

#[test]
fn revocation() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Spec::ca("CA").make();
    let signer = Spec::leaf("Signer", Some(&ca)).make();
    let bundle = Unsigned::new().signed(&signer, &[]);
    let (ca_cert, ca_key) = ca.write(dir.path(), "ca");
    let (cert, _) = signer.write(dir.path(), "signer");
    let config = format!(
        "[ca]\ndefault_ca=d\n[d]\ndatabase={0}/index\ncrlnumber={0}/number\ndefault_md=sha256\n\
         default_crl_days=3650\n",
        text(dir.path())
    );
    write(&dir.path().join("ca.conf"), config.as_bytes());
    write(&dir.path().join("index"), b"");
    write(&dir.path().join("number"), b"01\n");
    let openssl_ca = |arguments: &[&str]| {
        let config = dir.path().join("ca.conf");
        let mut all = vec!["ca", "-config", text(&config)];
        all.extend(["-cert", text(&ca_cert), "-keyfile", text(&ca_key)]);
        all.extend(arguments);
        support::run("openssl", &all);
    };
    let crl = dir.path().join("crl.pem");
    let keyring = |name: &str| {
        openssl_ca(&["-gencrl", "-out", text(&crl)]);
        let path = dir.path().join(name);
        write(&path, &[ca.pem(), std::fs::read(&crl).unwrap()].concat());
        Trust::from_keyring_file(&path).unwrap()
    };
    let checked = |trust: &Trust| trust.clone().with_revocation(Revocation::CheckAll);

    let nothing_revoked = keyring("good.pem");
    assert!(nothing_revoked.ignores_crl(), "worth a warning");
    assert!(!checked(&nothing_revoked).ignores_crl());
    assert_eq!(verify(bundle.clone(), &checked(&nothing_revoked)), Ok(()));

    let no_list = verify(bundle.clone(), &checked(&trust(&ca))).unwrap_err();
    assert!(
        no_list.contains("unable to get certificate CRL"),
        "{no_list}"
    );

    openssl_ca(&["-revoke", text(&cert)]);
    let revoked = keyring("revoked.pem");
    let refused = verify(bundle.clone(), &checked(&revoked)).unwrap_err();
    assert!(refused.contains("certificate revoked"), "{refused}");
    assert_eq!(
        verify(bundle, &revoked),
        Ok(()),
        "nobody asked to look at the list"
    );
}

#[test]
fn weak_digests_need_a_setting() {
    let ca = Spec::ca("CA").make();
    let signer = Spec::leaf("Signer", Some(&ca)).make();
    let unsigned = Unsigned::new();
    let strict = trust(&ca);
    let lax = Policy {
        allow_weak_digests: true,
        ..Policy::default()
    };
    for digest in ["sha256", "sha384", "sha512", "sha3-256"] {
        assert_eq!(
            verify(unsigned.signed(&signer, &["-md", digest]), &strict),
            Ok(()),
            "{digest}"
        );
    }
    for (digest, name) in [("sha1", "SHA-1"), ("md5", "MD5"), ("sha224", "SHA-224")] {
        let bundle = unsigned.signed(&signer, &["-md", digest]);
        assert!(
            rauc_accepts(&bundle, &ca, ""),
            "rauc has no policy about {digest}"
        );
        let refused = verify(bundle.clone(), &strict).unwrap_err();
        let expected = format!(
            "the signature uses the weak digest {name}; the setting allow-weak-digests would \
             accept it"
        );
        assert_eq!(refused, expected);
        assert_eq!(
            verify(bundle, &strict.clone().with_policy(lax.clone())),
            Ok(()),
            "{digest}"
        );
    }
    let unknown = unsigned.signed(&signer, &["-md", "ripemd160"]);
    let refused = verify(unknown.clone(), &strict).unwrap_err();
    assert!(refused.contains("a digest with the OID 1.3.36.3.2.1, which is not one of the"));
    assert!(
        refused.ends_with("the setting allow-unknown-algorithms would accept it"),
        "{refused}"
    );
    let lax = Policy {
        allow_unknown_algorithms: true,
        ..Policy::default()
    };
    assert_eq!(verify(unknown, &strict.clone().with_policy(lax)), Ok(()));
}

#[test]
fn weak_certificates_need_a_setting() {
    let ca = Spec::ca("CA").make();
    let unsigned = Unsigned::new();
    let short = Spec {
        key: rsa(1024),
        ..Spec::leaf("Short", Some(&ca))
    }
    .make();
    let bundle = unsigned.signed(&short, &[]);
    let refused = verify(bundle.clone(), &trust(&ca)).unwrap_err();
    assert!(refused.contains("CN=Short uses a key of 1024 bits; the setting allow-short-keys"));
    let lax = Policy {
        allow_short_keys: true,
        ..Policy::default()
    };
    assert_eq!(verify(bundle, &trust(&ca).with_policy(lax)), Ok(()));

    let sha1 = MessageDigest::sha1();
    let old = Spec {
        digest: sha1,
        ..Spec::leaf("Old", Some(&ca))
    }
    .make();
    let bundle = unsigned.signed(&old, &[]);
    let refused = verify(bundle.clone(), &trust(&ca)).unwrap_err();
    assert!(
        refused.contains("CN=Old uses the weak digest SHA1"),
        "{refused}"
    );
    let lax = Policy {
        allow_weak_digests: true,
        ..Policy::default()
    };
    assert_eq!(verify(bundle, &trust(&ca).with_policy(lax)), Ok(()));

    // RSA-PSS names its digest in the parameters, and means SHA-1 without any.
    for (digest, name) in [("sha1", Some("SHA-1")), ("sha256", None)] {
        let pss = pss_signed(&ca, digest);
        let verdict = verify(unsigned.signed(&pss, &[]), &trust(&ca));
        let expected = name.map_or(Ok(()), |name| {
            Err(format!(
                "the certificate CN=pss uses the weak digest {name}; the setting \
                 allow-weak-digests would accept it"
            ))
        });
        assert_eq!(verdict, expected);
    }

    // A root's signature on itself proves nothing, so its digest does not matter.
    let old_root = Spec {
        digest: sha1,
        ..Spec::ca("Old root")
    }
    .make();
    let signer = Spec::leaf("Signer", Some(&old_root)).make();
    assert_eq!(
        verify(unsigned.signed(&signer, &[]), &trust(&old_root)),
        Ok(())
    );
}

/// A certificate that its CA signed with RSA-PSS.
fn pss_signed(ca: &Identity, digest: &str) -> Identity {
    let dir = tempfile::tempdir().unwrap();
    let (ca_cert, ca_key) = ca.write(dir.path(), "ca");
    let path = |name: &str| text(&dir.path().join(name)).to_owned();
    let (key, request, cert) = (path("key"), path("request"), path("cert"));
    let new = [
        "req", "-new", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=pss",
    ];
    support::run(
        "openssl",
        &[&new[..], &["-keyout", &key, "-out", &request]].concat(),
    );
    let sign = [
        "x509", "-req", "-in", &request, "-out", &cert, "-days", "3650",
    ];
    let by = [
        "-CA",
        text(&ca_cert),
        "-CAkey",
        text(&ca_key),
        "-CAcreateserial",
    ];
    let digest = format!("-{digest}");
    let pss = [digest.as_str(), "-sigopt", "rsa_padding_mode:pss"];
    support::run("openssl", &[&sign[..], &by, &pss].concat());
    let read = |path: &str| std::fs::read(path).unwrap();
    Identity {
        certificate: openssl::x509::X509::from_pem(&read(&cert)).unwrap(),
        key: openssl::pkey::PKey::private_key_from_pem(&read(&key)).unwrap(),
    }
}

#[test]
fn keys_that_rauc_accepts() {
    let ca = Spec::ca("CA").make();
    let unsigned = Unsigned::new();
    let ec = Spec {
        key: support::p256(),
        ..Spec::leaf("EC", Some(&ca))
    }
    .make();
    let rsa = Spec::leaf("RSA", Some(&ca)).make();
    for (signer, arguments) in [
        (&ec, &[][..]),
        (&rsa, &["-keyopt", "rsa_padding_mode:pss"]),
        (&rsa, &["-keyid"]),
    ] {
        // A key id needs the extension, which these certificates do not have.
        if arguments == ["-keyid"] {
            continue;
        }
        let bundle = unsigned.signed(signer, arguments);
        assert_eq!(verify(bundle.clone(), &trust(&ca)), Ok(()), "{arguments:?}");
        assert!(rauc_accepts(&bundle, &ca, ""), "rauc: {arguments:?}");
    }
}

#[test]
fn signatures_without_attributes_and_in_ber() {
    let ca = Spec::ca("CA").make();
    let signer = Spec::leaf("Signer", Some(&ca)).make();
    let unsigned = Unsigned::new();
    let no_attributes = unsigned.signed(&signer, &["-noattr"]);
    assert_eq!(verify(no_attributes.clone(), &trust(&ca)), Ok(()));
    assert!(rauc_accepts(&no_attributes, &ca, ""));
    let by_signing_time = trust(&ca).with_time(CheckTime::Signing);
    let refused = verify(no_attributes, &by_signing_time).unwrap_err();
    assert!(
        refused.contains("does not say when it was made"),
        "{refused}"
    );
    let ber = unsigned.signed(&signer, &["-stream"]);
    assert_eq!(verify(ber.clone(), &trust(&ca)), Ok(()));
    assert!(rauc_accepts(&ber, &ca, ""));
}

#[test]
fn the_time_of_signing_can_count() {
    let ca = Spec::ca("CA").make();
    let expired = Spec {
        not_before: 0,
        not_after: NOW - 86_400 * 3650,
        ..Spec::leaf("Expired", Some(&ca))
    };
    let expired = expired.make();
    let bundle = Unsigned::new().signed(&expired, &[]);
    let refused = verify(bundle.clone(), &trust(&ca)).unwrap_err();
    assert!(refused.contains("certificate has expired"), "{refused}");
    // It was signed (just now) when the certificate had expired already.
    let signing = trust(&ca).with_time(CheckTime::Signing);
    assert!(verify(bundle.clone(), &signing).is_err());
    let then = trust(&ca).with_time(CheckTime::At(NOW - 86_400 * 3651));
    assert_eq!(verify(bundle.clone(), &then), Ok(()));
    assert_eq!(
        verify(bundle, &trust(&ca).with_time(CheckTime::Ignore)),
        Ok(())
    );
}

#[test]
fn only_named_signers() {
    let ca = Spec::ca("CA").make();
    let unsigned = Unsigned::new();
    let signer = Spec::leaf("Release", Some(&ca)).make();
    let bundle = unsigned.signed(&signer, &[]);
    let only = |names: &[&str]| {
        trust(&ca).with_allowed_signers(names.iter().map(|name| (*name).to_owned()).collect())
    };
    assert_eq!(verify(bundle.clone(), &only(&["Other", "Release"])), Ok(()));
    let refused = verify(bundle.clone(), &only(&["Releas", "Release ", "release"])).unwrap_err();
    assert_eq!(
        refused,
        "the signer's common name 'Release' is not in allowed-signer-cns"
    );

    let evil = Spec::leaf("Release\0.evil", Some(&ca)).make();
    let refused = verify(unsigned.signed(&evil, &[]), &only(&["Release"])).unwrap_err();
    assert!(
        refused.contains("'Release\\u{0}.evil' is not in"),
        "{refused}"
    );
}

#[test]
fn a_signature_over_something_else_is_refused() {
    let ca = Spec::ca("CA").make();
    let signer = Spec::leaf("Signer", Some(&ca)).make();
    let unsigned = Unsigned::new();
    // Detached: then it is a plain bundle, whose payload would have to be what was signed.
    let detached = cms(&unsigned.manifest, &signer, &["-nodetach"]);
    assert_eq!(verify(unsigned.with(&detached), &trust(&ca)), Ok(()));
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = signer.write(dir.path(), "signer");
    let input = dir.path().join("in");
    write(&input, &unsigned.manifest);
    let output = dir.path().join("out");
    let sign = [
        "cms",
        "-sign",
        "-binary",
        "-outform",
        "DER",
        "-in",
        text(&input),
    ];
    let with = [
        "-signer",
        text(&cert),
        "-inkey",
        text(&key),
        "-out",
        text(&output),
    ];
    support::run("openssl", &[&sign[..], &with[..]].concat());
    let bundle = unsigned.with(&std::fs::read(&output).unwrap());
    let refused = verify(bundle, &trust(&ca)).unwrap_err();
    assert!(
        refused.starts_with("the payload has the digest"),
        "{refused}"
    );
    // Without attributes, nothing would say what digest the payload must have.
    support::run("openssl", &[&sign[..], &with[..], &["-noattr"]].concat());
    let bundle = unsigned.with(&std::fs::read(&output).unwrap());
    let refused = verify(bundle, &trust(&ca)).unwrap_err();
    assert!(refused.contains("no signed attributes"), "{refused}");
    // Another type of content than plain data.
    let typed = cms(
        &unsigned.manifest,
        &signer,
        &["-econtent_type", "pkcs7-envelopedData"],
    );
    let refused = verify(unsigned.with(&typed), &trust(&ca)).unwrap_err();
    assert!(refused.contains("another content type"), "{refused}");
}

#[test]
fn keyrings_that_cannot_be_used() {
    let error = |bytes: &[u8]| Trust::from_pem(bytes, "k").err().unwrap().to_string();
    assert!(error(b"").contains("holds no certificate in PEM form"));
    assert!(error(b"hello").contains("holds no certificate in PEM form"));
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(error(broken).contains("cannot be read"));
    assert!(error(&vec![b'x'; 5 << 20]).contains("larger than"));
    let missing = Trust::from_keyring_file(std::path::Path::new("/nowhere/k.pem"));
    assert!(
        missing
            .err()
            .unwrap()
            .to_string()
            .contains("/nowhere/k.pem")
    );
}
