//! The same words to Debian's `rauc` 1.8 and to ours: the same output, the same exit code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

#[path = "../../token-key/tests/support/softhsm.rs"]
mod softhsm;
mod support;

use softhsm::{MODULE, PIN, SoftHsm};
use support::{KEYRING, OURS, SIGNER, THEIRS, Workshop};

#[test]
fn info_in_every_format_of_every_kind_of_bundle() {
    let workshop = Workshop::new();
    for format in ["verity", "plain", "crypt"] {
        workshop.manifest(format);
        for (maker, name) in [(THEIRS, "theirs"), (OURS, "ours")] {
            let bundle = format!("{name}-{format}.raucb");
            workshop.ok(maker, &format!("bundle {SIGNER} input {bundle}"));
            for output in ["readable", "nonsense"] {
                workshop.same(&format!("info {KEYRING} --output-format={output} {bundle}"));
            }
            for output in ["shell", "json-pretty", "json"] {
                same_but_newer(&workshop, output, &bundle, format);
            }
            workshop.same(&format!("info --no-verify {bundle}"));
            workshop.same(&format!("info {KEYRING} --dump-cert {bundle}"));
            workshop.same(&format!("{KEYRING} info {bundle} --dump-recipients"));
        }
    }
}

/// Every line of RAUC 1.8 with its value, and beside them exactly what RAUC 1.15 added.
fn same_but_newer(workshop: &Workshop, output: &str, bundle: &str, format: &str) {
    let line = format!("info {KEYRING} --output-format={output} {bundle}");
    let (theirs, ours) = (workshop.ok(THEIRS, &line), workshop.ok(OURS, &line));
    let sections = workshop.ok(
        OURS,
        &format!("info {KEYRING} --output-format=json-2 {bundle}"),
    );
    let sections: serde_json::Value = serde_json::from_str(&sections).unwrap();
    let hash = sections["manifest-hash"].as_str().unwrap();
    let newer = match output {
        "shell" => vec![
            format!("RAUC_MF_HASH='{hash}'"),
            format!("RAUC_MF_FORMAT='{format}'"),
            "RAUC_IMAGE_ARTIFACT_0=''".to_owned(),
            "RAUC_IMAGE_ARTIFACT_1=''".to_owned(),
        ],
        // On one line: the words of the form on several lines.
        _ => vec![
            format!("\"format\" : \"{format}\","),
            format!("\"hash\" : \"{hash}\","),
            "\"artifact\" : null,".to_owned(),
            "\"type\" : \"ext4\",".to_owned(),
            "\"artifact\" : null,".to_owned(),
            "\"type\" : \"vfat\",".to_owned(),
        ],
    };
    if output == "json" {
        let removed = newer.iter().fold(ours, |text, field| {
            let field = field.replace(" : ", ":");
            assert!(text.contains(&field), "{field} in {text}");
            text.replacen(&field, "", 1)
        });
        assert_eq!(removed, theirs);
        return;
    }
    let mut newer = newer.into_iter().peekable();
    let rest: Vec<&str> = ours
        .lines()
        .filter(|line| newer.next_if(|known| known == line.trim()).is_none())
        .collect();
    assert_eq!(newer.next(), None, "in this order, in {ours}");
    assert_eq!(
        rest,
        theirs.lines().collect::<Vec<_>>(),
        "{output} of {bundle}"
    );
}

#[test]
fn certificates_that_expire_are_warned_of_and_signed_with_as_in_rauc() {
    let workshop = Workshop::new();
    let root =
        "req -x509 -nodes -newkey rsa:2048 -keyout ca.key -out ca.pem -subj /CN=Root -days 3650";
    workshop.ok("openssl", root);
    workshop.ok(
        "openssl",
        "req -nodes -newkey rsa:2048 -keyout s.key -out s.csr -subj /CN=Signer",
    );
    let conf = "[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\n\
                default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n";
    workshop.write("ca.conf", conf.as_bytes());
    workshop.write("index.txt", b"");
    workshop.write("serial", b"01\n");
    for (name, life) in [
        (
            "expired",
            "-startdate 20200101000000Z -enddate 20210101000000Z",
        ),
        ("soon", "-days 10"),
        ("long", "-days 400"),
    ] {
        let line = format!(
            "ca -config ca.conf -batch -notext -in s.csr -cert ca.pem -keyfile ca.key -out {name}.pem {life}"
        );
        workshop.ok("openssl", &line);
    }
    workshop.ok(OURS, "bundle --cert=long.pem --key=s.key input a.raucb");
    for (name, expected) in [
        (
            "expired",
            Some("CN=Signer is not valid now (from Jan  1 00:00:00 2020 GMT"),
        ),
        ("soon", Some("CN=Signer expires on ")),
        ("long", None),
    ] {
        for line in [
            format!("bundle --cert={name}.pem --key=s.key input b.raucb"),
            format!("bundle --cert={name}.pem --key=s.key --keyring=ca.pem input b.raucb"),
            format!("resign --cert={name}.pem --key=s.key --keyring=ca.pem a.raucb b.raucb"),
        ] {
            let mut codes = Vec::new();
            for program in [THEIRS, OURS] {
                let done = workshop.run(program, &line);
                codes.push(done.status.code());
                let _ = fs_err::remove_file(workshop.path("b.raucb"));
                if program == THEIRS {
                    continue;
                }
                let said = String::from_utf8(done.stderr).unwrap();
                match expected {
                    Some(text) => assert!(said.contains(text), "{line}: {said}"),
                    None => assert!(!said.contains("warning"), "{line}: {said}"),
                }
            }
            assert_eq!(codes[0], codes[1], "{line}");
        }
    }
}

/// RAUC 1.8 has no --append; what newer ones write is a CMS structure that OpenSSL knows.
#[test]
fn a_second_signer_is_appended_and_devices_are_not_promised_to_take_it() {
    let workshop = Workshop::new();
    for name in ["one", "two"] {
        let line = format!(
            "req -x509 -nodes -newkey rsa:2048 -keyout {name}.key -out {name}.pem -subj /CN={name}"
        );
        workshop.ok("openssl", &line);
    }
    let read = |name: &str| fs_err::read(workshop.path(name)).unwrap();
    let pem = [read("one.pem"), read("two.pem")].concat();
    workshop.write("both.pem", &pem);
    let by = |name: &str| format!("--cert={name}.pem --key={name}.key");
    for format in ["verity", "plain"] {
        workshop.manifest(format);
        let file = |what: &str| format!("{what}-{format}");
        let (one, both) = (file("one.raucb"), file("both.raucb"));
        workshop.ok(OURS, &format!("bundle {} input {one}", by("one")));
        let append = format!("resign --append {} --keyring=both.pem", by("two"));
        let done = workshop.run(OURS, &format!("{append} {one} {both}"));
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{said}");
        assert!(
            said.contains("slotmgr and RAUC up to 1.15.2 refuse it"),
            "{said}"
        );
        let refused = workshop.run(OURS, &format!("{append} {both} three.raucb"));
        assert_eq!(refused.status.code(), Some(1));
        for reader in [THEIRS, OURS] {
            let info = workshop.run(reader, &format!("info --keyring=both.pem {both}"));
            assert_eq!(info.status.code(), Some(1), "{reader}");
            let said = String::from_utf8(info.stderr).unwrap();
            assert!(
                said.contains("signers: 2") || said.contains("2 signers"),
                "{said}"
            );
        }
        // The payload is the same, and every signer is judged by OpenSSL: both have to be trusted.
        let bytes = read(&both);
        let size = bytes.len() - 8;
        let len = u64::from_be_bytes(bytes[size..].try_into().unwrap());
        let start = size - usize::try_from(len).unwrap();
        assert!(bytes[..start] == read(&one)[..start], "the payload");
        workshop.write("cms", &bytes[start..size]);
        workshop.write("payload", &bytes[..start]);
        let content = if format == "plain" {
            "-content payload -binary"
        } else {
            "-binary"
        };
        let verify = |ring: &str| {
            let line = format!(
                "cms -verify -inform DER -in cms {content} -CAfile {ring} -out out -signer signers.pem"
            );
            workshop.run("openssl", &line).status.success()
        };
        assert!(verify("both.pem"));
        assert!(!verify("one.pem") && !verify("two.pem"));
    }
    // Once is enough.
    workshop.manifest("verity");
    let again = format!(
        "resign --append {} --keyring=one.pem one.raucb-verity x.raucb",
        by("one")
    );
    let done = workshop.run(OURS, &again);
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("has signed the bundle already"), "{said}");
    assert!(!workshop.path("x.raucb").exists());
}

#[test]
fn encrypted_bundles_and_their_recipients() {
    let workshop = Workshop::new();
    workshop.manifest("crypt");
    for (name, kind) in [
        ("rsa", "rsa:2048"),
        ("ec", "ec -pkeyopt ec_paramgen_curve:P-256"),
    ] {
        let line = format!(
            "req -x509 -nodes -newkey {kind} -keyout {name}.key -out {name}.pem -subj /O=a+b,c/CN={name}"
        );
        workshop.ok("openssl", &line);
    }
    let conf = "[system]\ncompatible=Test Board\nbootloader=noop\n[keyring]\npath=pki/keyring.pem\n\
                [encryption]\nkey=rsa.key\ncert=rsa.pem\n";
    workshop.write("system.conf", conf.as_bytes());
    for (number, maker) in [THEIRS, OURS].into_iter().enumerate() {
        workshop.ok(maker, &format!("bundle {SIGNER} input c{number}.raucb"));
        let line =
            format!("encrypt {KEYRING} --to rsa.pem --to=ec.pem c{number}.raucb e{number}.raucb");
        let said = workshop.ok(maker, &line);
        assert_eq!(
            said,
            format!("Encrypted bundle written to e{number}.raucb\n")
        );
        workshop.same(&format!(
            "-c system.conf info --dump-recipients e{number}.raucb"
        ));
        workshop.same(&format!("info {KEYRING} --key rsa.key e{number}.raucb"));
        workshop.same(&format!("info {KEYRING} e{number}.raucb"));
        for taker in [THEIRS, OURS] {
            let name = format!(
                "x{number}-{}",
                if taker == OURS { "ours" } else { "theirs" }
            );
            workshop.ok(
                taker,
                &format!("-c system.conf extract e{number}.raucb {name}"),
            );
            workshop.ok("cmp", &format!("input/rootfs.ext4 {name}/rootfs.ext4"));
            // The signature without its envelope.
            let line = format!("-c system.conf extract-signature e{number}.raucb {name}.sig");
            workshop.ok(taker, &line);
        }
        workshop.ok("cmp", &format!("x{number}-ours.sig x{number}-theirs.sig"));
    }
    // With the key on a token; here, RAUC wants an engine for OpenSSL, which we do not.
    let hsm = SoftHsm::new("Device");
    let access = format!(
        "SOFTHSM2_CONF={} RAUC_PKCS11_MODULE={MODULE} RAUC_PKCS11_PIN={PIN}",
        hsm.conf().display()
    );
    for (name, id) in [("rsa", "01"), ("ec", "02")] {
        let file = |end: &str| workshop.path(&format!("{name}.{end}"));
        hsm.import("Device", (&file("key"), &file("pem")), name, id);
        for number in [0, 1] {
            let (bundle, out) = (format!("e{number}.raucb"), format!("t{number}-{name}"));
            let key = format!("--key pkcs11:token=Device;object={name}");
            let line = format!("{access} {OURS} extract {KEYRING} {key} {bundle} {out}");
            workshop.ok("env", &line);
            workshop.ok("cmp", &format!("input/rootfs.ext4 {out}/rootfs.ext4"));
        }
    }
}

#[test]
fn what_one_refuses_the_other_refuses() {
    let workshop = Workshop::new();
    workshop.ok(OURS, &format!("bundle {SIGNER} input a.raucb"));
    workshop.write("zero.raucb", &[0; 100]);
    workshop.write("short.raucb", b"hi\n");
    workshop.write("bad.conf", b"[system]\nfoo=1\n");
    let expired =
        "req -x509 -nodes -newkey rsa:2048 -keyout other.key -out other.pem -subj /CN=other";
    workshop.ok("openssl", expired);
    for line in [
        "info",
        "info a.raucb",
        "info missing.raucb",
        "info --keyring",
        "info --keyring=missing.pem a.raucb",
        "info --keyring=other.pem a.raucb",
        "info --keyring=pki/keyring.pem a.raucb excess",
        "info --keyring=pki/keyring.pem zero.raucb",
        "info --keyring=pki/keyring.pem short.raucb",
        "info -c bad.conf a.raucb",
        "info -c missing.conf a.raucb",
        "bundle",
        "bundle input",
        "bundle input b.raucb",
        "bundle --cert=pki/signer.cert.pem --key=pki/signer.key.pem missing b.raucb",
        "bundle --cert=pki/signer.cert.pem --key=pki/signer.key.pem input a.raucb",
        "resign a.raucb b.raucb",
        "resign --cert=pki/signer.cert.pem --key=pki/signer.key.pem a.raucb b.raucb",
        "resign --no-verify --cert=pki/signer.cert.pem --key=pki/signer.key.pem a.raucb b.raucb",
        "encrypt --keyring=pki/keyring.pem a.raucb b.raucb",
        "encrypt --keyring=pki/keyring.pem --to=other.pem a.raucb b.raucb",
        "extract a.raucb out",
        "extract-signature a.raucb sig",
        "replace-signature a.raucb other.pem b.raucb",
        "convert --cert=pki/signer.cert.pem --key=pki/signer.key.pem a.raucb b.raucb",
    ] {
        workshop.same(line);
        assert!(!workshop.path("b.raucb").exists(), "{line}");
    }
    // Here RAUC prints its own help as well: only the exit code is the same.
    for line in ["", "frob", "info --frob a.raucb"] {
        let code = |program| workshop.run(program, line).status.code();
        assert_eq!(code(OURS), code(THEIRS), "{line}");
    }
    for program in [OURS, THEIRS] {
        let wrong = format!("bundle {SIGNER} --signing-keyring=other.pem input b.raucb");
        assert_eq!(workshop.run(program, &wrong).status.code(), Some(1));
        assert!(!workshop.path("b.raucb").exists());
    }
}

#[test]
fn signatures_are_moved_and_replaced() {
    let workshop = Workshop::new();
    for (number, maker) in [THEIRS, OURS].into_iter().enumerate() {
        let name = |what: &str| format!("{what}{number}");
        let (a, sig, b, c) = (name("a"), name("sig"), name("b"), name("c"));
        workshop.ok(maker, &format!("bundle {SIGNER} {KEYRING} input {a}"));
        workshop.ok(maker, &format!("extract-signature {KEYRING} {a} {sig}"));
        let said = workshop.ok(maker, &format!("replace-signature {KEYRING} {a} {sig} {b}"));
        assert_eq!(said, "Reading bundle in 'verity' format\n");
        workshop.ok("cmp", &format!("{a} {b}"));
        let said = workshop.ok(maker, &format!("resign {KEYRING} {SIGNER} {a} {c}"));
        assert_eq!(
            said,
            "Reading bundle in 'verity' format\nCreating bundle in 'verity' format\n"
        );
        for reader in [THEIRS, OURS] {
            workshop.ok(reader, &format!("info {KEYRING} {c}"));
        }
        // The signature is an ordinary CMS over the manifest.
        let line =
            format!("cms -verify -inform DER -in {sig} -CAfile pki/keyring.pem -out {a}.manifest");
        workshop.ok("openssl", &line);
    }
}

#[test]
fn extracting_twice_puts_the_files_back() {
    let workshop = Workshop::new();
    workshop.ok(OURS, &format!("bundle {SIGNER} input a.raucb"));
    for program in [THEIRS, OURS] {
        workshop.ok(program, &format!("extract {KEYRING} a.raucb out"));
        workshop.ok("cmp", "input/boot.vfat out/boot.vfat");
        workshop.write("out/boot.vfat", b"changed");
    }
}

#[test]
fn settings_can_be_changed_by_options() {
    let workshop = Workshop::new();
    workshop.manifest("plain");
    workshop.ok(OURS, &format!("bundle {SIGNER} input a.raucb"));
    workshop.ok(OURS, "info -C keyring:path=pki/keyring.pem a.raucb");
    let line = format!("info {KEYRING} -C system:bundle-formats=verity a.raucb");
    assert_eq!(workshop.run(OURS, &line).status.code(), Some(1));
    assert_eq!(
        workshop
            .run(OURS, "info -C system:bundle-formats")
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn a_command_that_neither_has_is_refused_by_both() {
    let workshop = Workshop::new();
    for maker in [THEIRS, OURS] {
        let done = workshop.run(maker, "instal a");
        assert_eq!(done.status.code(), Some(1));
        let said = [done.stdout, done.stderr].concat();
        assert!(String::from_utf8(said).unwrap().contains("'instal'"));
    }
}
