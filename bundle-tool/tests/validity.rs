//! Certificates that are not valid when they sign, or not for long.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use bundle_tool::cli::{Args, Environment, run};
use bundle_tool::observer::Observer;
use clap::Parser as _;
use support::{Workshop, chain, text};

/// The demo certificates end with the year 2049.
const END: i64 = 2_524_607_999;
const DAY: i64 = 86_400;

#[derive(Default)]
struct Warnings(Vec<String>);

impl Observer for Warnings {
    fn step(&mut self, _what: &str) {}

    fn progress(&mut self, _done: u64, _total: u64) {}

    fn warn(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }
}

/// Runs a command line at a time; gives what it warned of.
fn at(now: i64, line: &[&str]) -> Result<Vec<String>, String> {
    let environment = Environment {
        now,
        ..Environment::default()
    };
    let words = std::iter::once("bundle-tool").chain(line.iter().copied());
    let mut warnings = Warnings::default();
    match run(&Args::parse_from(words), &environment, &mut warnings) {
        Ok(_) => Ok(warnings.0),
        Err(error) => Err(chain(error.as_ref())),
    }
}

#[test]
fn every_verb_that_signs_looks_at_the_certificate() {
    let workshop = Workshop::new();
    let path = |name: &str| text(&workshop.path(name)).to_owned();
    let bundle = workshop.bundle("a.raucb");
    let pki = &workshop.pki;
    let by = [
        "--cert",
        text(&pki.signer_cert),
        "--key",
        text(&pki.signer_key),
        "--force",
    ];
    let image = format!("rootfs={}", path("rootfs.ext4"));
    let new = ["--compatible", "Board", "--image", &image];
    let (unsigned, output) = (path("a.unsigned"), path("b.raucb"));
    at(
        END,
        &[&["create", "--unsigned"][..], &new, &[&unsigned]].concat(),
    )
    .unwrap();
    let create = [&["create"][..], &by, &new, &[&output]].concat();
    let sign = [&["sign"][..], &by, &[&unsigned, &output]].concat();
    let keyring = ["--keyring", text(&pki.keyring)];
    let resign = [&["resign"][..], &by, &keyring, &[text(&bundle), &output]].concat();
    for line in [&create, &sign, &resign] {
        let verb = line[0];
        assert_eq!(at(END - 32 * DAY, line).unwrap(), [""; 0], "{verb}");
        let [warning] = &at(END - 30 * DAY, line).unwrap()[..] else {
            panic!("{verb}: one warning");
        };
        assert!(warning.contains("CN=Demo bundle signer expires on Dec 31 23:59:59 2049 GMT"));
        let written = fs_err::read(&output).unwrap();
        for now in [END + 1, 0] {
            let refused = at(now, line).unwrap_err();
            let expected = "CN=Demo bundle signer is not valid now (from Jan  1 00:00:00 2020 GMT \
                            until Dec 31 23:59:59 2049 GMT)";
            assert!(refused.contains(expected), "{verb}: {refused}");
            assert!(refused.contains("--no-check-time"), "{verb}: {refused}");
        }
        assert!(
            fs_err::read(&output).unwrap() == written,
            "{verb}: nothing was written"
        );
        let all_the_same = [&line[..1], &["--no-check-time"], &line[1..]].concat();
        assert_eq!(at(END + 1, &all_the_same).unwrap(), [""; 0], "{verb}");
    }
}

#[test]
fn ed25519_warns_and_pss_says_what_to_do() {
    let workshop = Workshop::new();
    let image = format!("rootfs={}", text(&workshop.path("rootfs.ext4")));
    let signed_by = |kind: &str| {
        let (cert, key) = (workshop.path("new.crt"), workshop.path("new.key"));
        let (cert, key) = (text(&cert), text(&key));
        let new = [
            "req", "-x509", "-nodes", "-days", "3650", "-subj", "/CN=x", "-newkey", kind,
        ];
        support::run(
            "openssl",
            &[&new[..], &["-keyout", key, "-out", cert]].concat(),
        );
        let output = workshop.path("x.raucb");
        let by = ["--cert", cert, "--key", key, "--keyring", cert];
        let new = [
            "--compatible",
            "Board",
            "--image",
            &image,
            "--force",
            text(&output),
        ];
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        at(
            now.try_into().unwrap(),
            &[&["create"][..], &by, &new].concat(),
        )
    };
    let warnings = signed_by("ed25519").unwrap();
    assert_eq!(
        warnings,
        ["the signature is Ed25519: slotmgr verifies it, RAUC devices refuse it"]
    );
    let (keyring, bundle) = (workshop.path("new.crt"), workshop.path("x.raucb"));
    let rauc = support::try_run(
        "rauc",
        &["info", "--keyring", text(&keyring), text(&bundle)],
    );
    assert!(!rauc.status.success(), "the warning is true");
    assert_eq!(signed_by("rsa:2048").unwrap(), [""; 0]);
    let refused = signed_by("rsa-pss").unwrap_err();
    assert!(
        refused.contains("the certificate limits its key to RSA-PSS"),
        "{refused}"
    );
    assert!(
        refused.contains("use a certificate for an ordinary RSA key"),
        "{refused}"
    );
}
