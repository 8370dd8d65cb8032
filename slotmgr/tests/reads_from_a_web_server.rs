//! A bundle on a web server is installed as it arrives: what is asked for, who is told what, and what
//! is not put up with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::path::PathBuf;
use std::process::Output;

use support::nginx::{Nginx, authority};
use support::rig::{Rig, stderr, stdout};
use support::server::{Fault, Request, Server};
use support::{bundle_file, crypt_bundle, noise};

/// Bytes of the image: many requests, and small enough for a test.
const IMAGE: usize = 6 << 20;

struct Lab {
    dir: tempfile::TempDir,
    rig: Rig,
    image: Vec<u8>,
    bundle: PathBuf,
}

fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let image = noise(1, IMAGE);
    let (bundle, keyring) = bundle_file(dir.path(), &image, "1");
    let rig = Rig::with_slots(IMAGE, &noise(2, IMAGE), &keyring);
    Lab {
        dir,
        rig,
        image,
        bundle,
    }
}

impl Lab {
    fn serve(&self, plan: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> Server {
        Server::of(self.dir.path(), plan)
    }

    fn url(&self, server: &Server) -> String {
        let name = self.bundle.file_name().unwrap().to_str().unwrap();
        format!("{}/{name}", server.url)
    }

    fn install(&self, url: &str, more: &[&str]) -> Output {
        self.rig.run(&[&["install", url], more].concat())
    }

    fn len(&self) -> u64 {
        fs_err::metadata(&self.bundle).unwrap().len()
    }

    /// Nothing twice, and ahead: in requests of 64 KiB for a bundle as small as this, and some for its
    /// signature, its directory and its hash tree.
    fn was_fetched_well(&self, server: &Server) {
        let twice = server.sent().saturating_sub(self.len());
        assert!(twice < self.len() / 100, "{twice} bytes too many");
        let (requests, parts) = (server.requests() as u64, self.len().div_ceil(64 << 10));
        assert!(
            requests <= parts + 12,
            "{requests} requests for {parts} parts"
        );
    }

    fn is_installed(&self, output: &Output) {
        assert!(
            output.status.success(),
            "{}{}",
            stdout(output),
            stderr(output)
        );
        assert!(self.rig.snapshot().b == self.image);
        assert_eq!(self.rig.start(), "B");
    }
}

#[test]
fn verity_and_crypt_bundles_are_fetched_once() {
    let mut lab = lab();
    let server = lab.serve(|_| Fault::None);
    lab.is_installed(&lab.install(&lab.url(&server), &[]));
    lab.was_fetched_well(&server);

    let mut lab = Lab {
        bundle: crypt_bundle(lab.dir.path(), &lab.image).0,
        rig: Rig::with_slots(IMAGE, &[], &lab.rig.path("keyring.pem")),
        image: std::mem::take(&mut lab.image),
        dir: lab.dir,
    };
    lab.rig.add(&format!(
        "[encryption]\nkey={0}/signer.key.pem\ncert={0}/signer.cert.pem",
        lab.dir.path().join("pki").display()
    ));
    let server = lab.serve(|_| Fault::None);
    lab.is_installed(&lab.install(&lab.url(&server), &[]));
    lab.was_fetched_well(&server);
    lab.image.clear();
}

#[test]
fn by_tls_with_a_certificate_from_nginx() {
    let lab = lab();
    let tls = tempfile::tempdir().unwrap();
    authority(tls.path());
    let nginx = Nginx::https(lab.dir.path(), tls.path());
    let url = nginx.url(lab.bundle.file_name().unwrap().to_str().unwrap());
    let file = |name: &str| tls.path().join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let before = lab.rig.snapshot();
    for (arguments, expected) in [
        (vec![], "no secure connection"),
        (vec!["--tls-ca", &ca], "answers 400"),
        (vec!["--tls-no-verify"], "answers 400"),
        (
            vec!["--tls-ca", &ca, "--tls-cert", &cert],
            "tls-key is missing",
        ),
    ] {
        let output = lab.install(&url, &arguments);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    assert!(lab.rig.snapshot() == before, "nothing was written");
    lab.rig.add(&format!(
        "[streaming]\ntls-ca={ca}\ntls-cert={cert}\ntls-key={key}"
    ));
    lab.is_installed(&lab.install(&url, &[]));
    assert!(nginx.log().contains("\" 206 "), "{}", nginx.log());
}

#[test]
fn headers_go_to_the_server_that_was_named_and_raucs_with_the_first_request() {
    let lab = lab();
    let target = lab.serve(|_| Fault::None);
    let first = lab.serve(|_| Fault::None);
    lab.rig
        .add("[streaming]\nsend-headers=boot-id;transaction-id;uptime");
    let url = lab.url(&first).replace("http://", "http://me:geheim@");
    let more = ["-H", "X-Token: geheim", "--transaction-id", "t-1"];
    let output = lab.install(&url, &more);
    lab.is_installed(&output);
    let shown = format!("{}{}", stdout(&output), stderr(&output));
    assert!(!shown.contains("geheim"), "{shown}");
    for (number, request) in first.log().iter().enumerate() {
        let sent = &request.headers;
        assert!(sent.contains("x-token: geheim"), "{sent}");
        assert!(sent.contains("authorization: basic "), "{sent}");
        assert_eq!(
            sent.contains("rauc-transaction-id: t-1"),
            number == 0,
            "{sent}"
        );
        assert_eq!(sent.contains("rauc-boot-id: "), number == 0, "{sent}");
        assert_eq!(sent.contains("rauc-uptime: "), number == 0, "{sent}");
    }
    assert_eq!(target.requests(), 0);
}

#[test]
fn a_passing_fault_is_no_reason_to_stop_nor_to_fetch_again() {
    for fault in [
        Fault::Status(503),
        Fault::Status(429),
        Fault::Short,
        Fault::Close,
    ] {
        let lab = lab();
        let server = lab.serve(move |request| match request.number % 5 {
            3 => fault,
            _ => Fault::None,
        });
        lab.is_installed(&lab.install(&lab.url(&server), &[]));
        let twice = server.sent().saturating_sub(lab.len());
        assert!(twice < lab.len() / 50, "{fault:?}: {twice} bytes too many");
    }
}

#[test]
fn what_is_wrong_from_the_beginning_leaves_everything_as_it_is() {
    let lab = lab();
    let before = lab.rig.snapshot();
    for (fault, expected) in [
        (Fault::Status(404), "is not there"),
        (Fault::Status(403), "answers 403"),
        (Fault::NoRanges, "ignores ranges"),
        (Fault::OtherRange, "another range"),
        (Fault::Endless, "ignores ranges"),
    ] {
        let server = lab.serve(move |_| fault);
        let output = lab.install(&lab.url(&server), &[]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{fault:?}: {message}");
        assert!(message.contains(expected), "{fault:?}: {message}");
        assert!(message.contains(&server.url), "{fault:?}: {message}");
        // What is in the buffers of the two sockets counts as sent.
        assert!(server.sent() < 32 << 20, "{fault:?}: all of it was taken");
    }
    assert!(lab.rig.snapshot() == before, "nothing was written");
}

#[test]
fn what_goes_wrong_in_the_middle_leaves_the_old_system_and_the_next_run_goes_on() {
    for (fault, expected) in [
        (Fault::OtherFile, "has changed while it was read"),
        (Fault::NoRanges, "ignores ranges"),
        (Fault::Lie, "does not match"),
        (Fault::Status(404), "is not there"),
    ] {
        let lab = lab();
        let late = move |request: &Request| match request.number {
            ..50 => Fault::None,
            _ => fault,
        };
        let server = lab.serve(late);
        let output = lab.install(&lab.url(&server), &[]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{fault:?}: {message}");
        assert!(message.contains(expected), "{fault:?}: {message}");
        assert_eq!(lab.rig.start(), "A", "{fault:?}");
        let first = server.sent();

        let server = lab.serve(|_| Fault::None);
        lab.is_installed(&lab.install(&lab.url(&server), &[]));
        if fault == Fault::Status(404) {
            let twice = (first + server.sent()).saturating_sub(lab.len());
            assert!(
                twice < lab.len() / 20,
                "{twice} bytes twice of {}",
                lab.len()
            );
        }
    }
}
