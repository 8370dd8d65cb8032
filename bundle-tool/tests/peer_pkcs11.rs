//! Keys on a token: SoftHSM stands for a smart card or an HSM. What is signed by it has to be what
//! the same key signs as a file, and real `rauc` has to accept it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../../token-key/tests/support/softhsm.rs"]
mod softhsm;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use softhsm::{MODULE, PIN, SoftHsm};
use support::{run, text, write};

/// Names and values in the environment.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// A token with keys and certificates on it, and the same as files beside it.
struct Bench {
    dir: tempfile::TempDir,
    hsm: SoftHsm,
}

impl Bench {
    /// One RSA, one P-256 and one Ed25519 key, each with a certificate of the same name.
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
            hsm: SoftHsm::new("Release keys"),
        };
        write(&bench.path("rootfs.ext4"), &support::noise(50_000));
        for (number, (name, kind)) in [("rsa", "rsa:2048"), ("ec", "ec"), ("ed", "ed25519")]
            .into_iter()
            .enumerate()
        {
            bench.certificate(name, kind);
            bench.import("Release keys", name, name, &format!("{number:02x}"));
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A self-signed certificate `NAME.crt` for a new key `NAME.key`.
    fn certificate(&self, name: &str, kind: &str) {
        let (key, cert) = (
            self.path(&format!("{name}.key")),
            self.path(&format!("{name}.crt")),
        );
        let mut args = vec!["req", "-x509", "-nodes", "-days", "3650", "-newkey", kind];
        if kind == "ec" {
            args.extend(["-pkeyopt", "ec_paramgen_curve:P-256"]);
        }
        let subject = format!("/CN={name}");
        args.extend([
            "-subj",
            &subject,
            "-keyout",
            text(&key),
            "-out",
            text(&cert),
        ]);
        run("openssl", &args);
    }

    /// Puts key and certificate `name` onto a token under a label.
    fn import(&self, token: &str, name: &str, label: &str, id: &str) {
        let (key, cert) = (
            self.path(&format!("{name}.key")),
            self.path(&format!("{name}.crt")),
        );
        self.hsm.import(token, (&key, &cert), label, id);
    }

    /// `bundle-tool` with module and PIN from the environment.
    fn bundle_tool(&self, args: &[&str]) -> Output {
        self.bundle_tool_with(
            &[("RAUC_PKCS11_MODULE", MODULE), ("RAUC_PKCS11_PIN", PIN)],
            args,
        )
    }

    fn bundle_tool_with(&self, environment: Variables<'_>, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bundle-tool"))
            .args(args)
            .current_dir(self.dir.path())
            .env("SOFTHSM2_CONF", self.hsm.conf())
            .env("SOURCE_DATE_EPOCH", "1767225600")
            .env_remove("RAUC_PKCS11_MODULE")
            .env_remove("RAUC_PKCS11_PIN")
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    /// Arguments of `create` up to the signer.
    fn create(&self, output: &str, cert: &str, key: &str) -> Vec<String> {
        let salt = "5a".repeat(32);
        let fixed = ["create", "--compatible", "Board", "--salt", &salt];
        let image = [
            "--image",
            "rootfs=rootfs.ext4",
            "--cert",
            cert,
            "--key",
            key,
            output,
        ];
        let words = fixed.iter().chain(&image);
        words.map(|word| (*word).to_owned()).collect()
    }

    /// The bundle that `create` makes.
    fn created(&self, output: &str, cert: &str, key: &str) -> Vec<u8> {
        let args = self.create(output, cert, key);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        succeeded(&self.bundle_tool(&args));
        std::fs::read(self.path(output)).unwrap()
    }

    /// What `create` says when it fails.
    fn refused(&self, environment: Variables<'_>, cert: &str, key: &str) -> String {
        let args = self.create("refused.raucb", cert, key);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = self.bundle_tool_with(environment, &args);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!self.path("refused.raucb").exists());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains(PIN), "the PIN is shown: {said}");
        said
    }

    fn rauc_accepts(&self, bundle: &str, keyring: &str) {
        let (bundle, keyring) = (self.path(bundle), self.path(keyring));
        run(
            "rauc",
            &["info", "--keyring", text(&keyring), text(&bundle)],
        );
    }
}

fn succeeded(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_token_signs_what_the_same_key_signs_as_a_file() {
    let bench = Bench::new();
    for name in ["rsa", "ed"] {
        let (cert, key) = (format!("{name}.crt"), format!("{name}.key"));
        let by_file = bench.created(&format!("{name}-file.raucb"), &cert, &key);
        let uri = format!("pkcs11:token=Release%20keys;object={name}");
        let by_token = bench.created(&format!("{name}-token.raucb"), &uri, &uri);
        assert!(by_file == by_token, "{name}: not the same bundle");
        let mixed = bench.created(&format!("{name}-mixed.raucb"), &cert, &uri);
        assert!(by_file == mixed, "{name}: certificate from a file");
    }
    bench.rauc_accepts("rsa-token.raucb", "rsa.crt");
}

#[test]
fn ecdsa_by_a_token_is_accepted_by_both() {
    let bench = Bench::new();
    let uri = "pkcs11:object=ec";
    // Signature values have leading zeros now and then: several of them.
    for number in 0..8 {
        let bundle = format!("ec-{number}.raucb");
        bench.created(&bundle, uri, uri);
        bench.rauc_accepts(&bundle, "ec.crt");
        succeeded(&bench.bundle_tool(&["verify", "--keyring", "ec.crt", &bundle]));
    }
}

#[test]
fn everything_that_signs_takes_tokens() {
    let bench = Bench::new();
    let image = ["--compatible", "Board", "--image", "rootfs=rootfs.ext4"];
    let create = [&["create", "--unsigned"][..], &image, &["a.unsigned"]].concat();
    succeeded(&bench.bundle_tool(&create));
    // By id instead of by label, and each with its kind.
    let by = [
        "--cert",
        "pkcs11:id=%00;type=cert",
        "--key",
        "pkcs11:id=%00;type=private",
    ];
    let sign = [&["sign"][..], &by, &["a.unsigned", "a.raucb"]].concat();
    succeeded(&bench.bundle_tool(&sign));
    bench.rauc_accepts("a.raucb", "rsa.crt");
    let by = [
        "--cert",
        "pkcs11:id=%01",
        "--key",
        "pkcs11:id=%01",
        "--intermediate",
        "pkcs11:id=%00",
    ];
    let resign = [
        &["resign", "--keyring", "rsa.crt"][..],
        &by,
        &["a.raucb", "b.raucb"],
    ]
    .concat();
    succeeded(&bench.bundle_tool(&resign));
    bench.rauc_accepts("b.raucb", "ec.crt");
}

#[test]
fn module_and_pin_may_stand_in_the_uri() {
    let bench = Bench::new();
    write(&bench.path("pin"), format!("{PIN}\n").as_bytes());
    for pin in [
        format!("pin-value={PIN}"),
        format!("pin-source=file:{}", text(&bench.path("pin"))),
    ] {
        let uri = format!("pkcs11:object=rsa?module-path={MODULE}&{pin}");
        let args = bench.create("a.raucb", "rsa.crt", &uri);
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.insert(1, "--force");
        succeeded(&bench.bundle_tool_with(&[], &args));
    }
}

#[test]
fn what_is_wrong_is_said_and_the_pin_is_not() {
    let bench = Bench::new();
    let module = ("RAUC_PKCS11_MODULE", MODULE);
    let pin = ("RAUC_PKCS11_PIN", PIN);
    let good = &[module, pin][..];
    let key = "pkcs11:object=rsa";
    let with_pin = format!("pkcs11:token=none;object=rsa?pin-value={PIN}");
    let doubled = format!("pkcs11:object=rsa;object=ec?pin-value={PIN}");
    bench.import("Release keys", "rsa", "twice", "10");
    bench.import("Release keys", "rsa", "twice", "11");
    let missing = [("RAUC_PKCS11_MODULE", "/nowhere/module.so"), pin];
    let not_a_module = [("RAUC_PKCS11_MODULE", "/usr/bin/openssl"), pin];
    let wrong_pin = [module, ("RAUC_PKCS11_PIN", "11111111")];
    let table: [(Variables<'_>, &str, &str); 11] = [
        (
            &missing,
            key,
            "cannot load the PKCS#11 module /nowhere/module.so; name the one",
        ),
        (
            &not_a_module,
            key,
            "cannot load the PKCS#11 module /usr/bin/openssl",
        ),
        (
            good,
            "pkcs11:token=none",
            "no token fits pkcs11:token=none; the module",
        ),
        (good, "pkcs11:token=none", "has: 'Release keys'"),
        (
            good,
            &with_pin,
            "no token fits pkcs11:token=none;object=rsa;",
        ),
        (good, &doubled, "'object' is given twice"),
        (
            good,
            "pkcs11:object=none",
            "has no private key that fits pkcs11:object=none",
        ),
        (
            good,
            "pkcs11:object=rsa;type=cert",
            "does not name a private key",
        ),
        (
            good,
            "pkcs11:object=twice",
            "2 objects of the kind private key fit",
        ),
        (
            &[module],
            key,
            "the token 'Release keys' wants a PIN: set RAUC_PKCS11_PIN",
        ),
        (
            &wrong_pin,
            key,
            "the PIN of the token 'Release keys' is wrong",
        ),
    ];
    for (environment, key, expected) in table {
        let said = bench.refused(environment, "rsa.crt", key);
        assert!(said.contains(expected), "{key}: {said}");
    }
    let stranger = bench.refused(good, "rsa.crt", "pkcs11:object=ec");
    assert!(
        stranger.contains("the key does not belong to the certificate rsa.crt"),
        "{stranger}"
    );
    bench.hsm.add_token("Release keys");
    let several = bench.refused(good, "rsa.crt", key);
    assert!(several.contains("several tokens fit pkcs11:object=rsa: 'Release keys', 'Rel"));
    assert!(
        several.contains("say which one by token= or serial="),
        "{several}"
    );
    let no_certificate = bench.refused(good, "pkcs11:object=none;token=x", key);
    assert!(no_certificate.contains("no token fits"), "{no_certificate}");
    assert!(Path::new(MODULE).exists());
}

/// `--to` for each of these.
fn recipients<'a>(certs: &[&'a str]) -> Vec<&'a str> {
    certs.iter().flat_map(|cert| ["--to", cert]).collect()
}

#[test]
fn encrypted_bundles_are_opened_by_a_token() {
    let bench = Bench::new();
    let salt = "5a".repeat(32);
    let by = ["--cert", "rsa.crt", "--key", "rsa.key", "signed.raucb"];
    let image = [
        "--compatible",
        "Board",
        "--image",
        "rootfs=rootfs.ext4",
        "--salt",
        &salt,
    ];
    let create = [&["create", "--format", "crypt"][..], &image, &by].concat();
    succeeded(&bench.bundle_tool(&create));
    bench.certificate("other", "rsa:2048");
    for (number, to) in [
        &["rsa.crt"][..],
        &["ec.crt"],
        &["other.crt", "ec.crt", "rsa.crt"],
    ]
    .iter()
    .enumerate()
    {
        let (ours, raucs) = (
            format!("ours-{number}.raucb"),
            format!("raucs-{number}.raucb"),
        );
        let to = recipients(to);
        let encrypt = [
            &["encrypt", "--no-verify"][..],
            &to,
            &["signed.raucb", &ours],
        ]
        .concat();
        succeeded(&bench.bundle_tool(&encrypt));
        let mut words = vec!["encrypt".to_owned(), "--keyring".to_owned()];
        words.push(text(&bench.path("rsa.crt")).to_owned());
        words.extend(to.iter().map(|word| match word.strip_prefix("--") {
            Some(_) => (*word).to_owned(),
            None => text(&bench.path(word)).to_owned(),
        }));
        words.extend(["signed.raucb", &raucs].map(|name| text(&bench.path(name)).to_owned()));
        run("rauc", &words);
        for (name, cert) in [("rsa", "rsa.crt"), ("ec", "pkcs11:object=ec")] {
            let meant = to.contains(&format!("{name}.crt").as_str());
            let key = format!("pkcs11:token=Release%20keys;object={name}");
            for (bundle, named) in [
                (&ours, false),
                (&ours, true),
                (&raucs, false),
                (&raucs, true),
            ] {
                let mut verify = vec!["verify", "--keyring", "rsa.crt", "--decrypt-key", &key];
                verify.extend(
                    [["--decrypt-cert", cert]]
                        .iter()
                        .flatten()
                        .filter(|_| named),
                );
                verify.push(bundle);
                let output = bench.bundle_tool(&verify);
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.success(), meant, "{verify:?}: {said}");
                if !meant {
                    assert!(
                        said.contains("not encrypted for this key"),
                        "{verify:?}: {said}"
                    );
                }
            }
        }
    }
    let extract = [
        "extract",
        "--keyring",
        "rsa.crt",
        "--decrypt-key",
        "pkcs11:object=ec",
    ];
    succeeded(&bench.bundle_tool(&[&extract[..], &["raucs-2.raucb", "out"]].concat()));
    let unpacked = std::fs::read(bench.path("out/rootfs.ext4")).unwrap();
    assert!(unpacked == std::fs::read(bench.path("rootfs.ext4")).unwrap());
}

#[test]
fn a_token_that_opens_nothing_says_why_and_not_its_pin() {
    let bench = Bench::new();
    let by = ["--cert", "rsa.crt", "--key", "rsa.key", "signed.raucb"];
    let image = ["--compatible", "Board", "--image", "rootfs=rootfs.ext4"];
    let create = [&["create", "--format", "crypt"][..], &image, &by].concat();
    succeeded(&bench.bundle_tool(&create));
    let to = [
        "encrypt",
        "--no-verify",
        "--to",
        "rsa.crt",
        "signed.raucb",
        "sealed.raucb",
    ];
    succeeded(&bench.bundle_tool(&to));
    let (module, pin) = (("RAUC_PKCS11_MODULE", MODULE), ("RAUC_PKCS11_PIN", PIN));
    let wrong = ("RAUC_PKCS11_PIN", "11111111");
    let with_pin = format!("pkcs11:token=none;object=rsa?pin-value={PIN}");
    let table: [(Variables<'_>, &str, &str); 7] = [
        (
            &[module, wrong],
            "pkcs11:object=rsa",
            "the PIN of the token 'Release keys' is wrong",
        ),
        (
            &[module],
            "pkcs11:object=rsa",
            "the token 'Release keys' wants a PIN",
        ),
        (
            &[module, pin],
            &with_pin,
            "no token fits pkcs11:token=none;object=rsa;",
        ),
        (
            &[module, pin],
            "pkcs11:object=none",
            "has no private key that fits pkcs11:object=none",
        ),
        (
            &[module, pin],
            "pkcs11:object=ed",
            "nothing can be encrypted to the key pkcs11:object=ed",
        ),
        (
            &[module, pin],
            "pkcs11:colour=red",
            "the attribute 'colour' is not supported",
        ),
        (
            &[module, pin],
            "pkcs11:object=ec",
            "not encrypted for this key",
        ),
    ];
    for (environment, key, expected) in table {
        let verify = [
            "verify",
            "--keyring",
            "rsa.crt",
            "--decrypt-key",
            key,
            "sealed.raucb",
        ];
        let output = bench.bundle_tool_with(environment, &verify);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{key}: {said}");
        assert!(said.contains(expected), "{key}: {said}");
        assert!(!said.contains(PIN) && !said.contains("11111111"), "{said}");
    }
}

/// `rauc` does not write such envelopes; whoever encrypts with `openssl cms` may.
#[test]
fn oaep_as_far_as_the_token_knows_it() {
    let bench = Bench::new();
    let by = ["--cert", "rsa.crt", "--key", "rsa.key", "signed.raucb"];
    let image = ["--compatible", "Board", "--image", "rootfs=rootfs.ext4"];
    let create = [&["create", "--format", "crypt"][..], &image, &by].concat();
    succeeded(&bench.bundle_tool(&create));
    let bundle = std::fs::read(bench.path("signed.raucb")).unwrap();
    let (rest, len) = bundle.split_last_chunk().unwrap();
    let len = usize::try_from(u64::from_be_bytes(*len)).unwrap();
    let (payload, signature) = rest.split_at(rest.len() - len);
    write(&bench.path("signature"), signature);
    for (digest, expected) in [("sha1", None), ("sha256", Some("the token cannot decrypt"))] {
        let (input, output, cert) = (
            bench.path("signature"),
            bench.path("out"),
            bench.path("rsa.crt"),
        );
        let digest = format!("rsa_oaep_md:{digest}");
        let fixed = [
            "cms",
            "-encrypt",
            "-binary",
            "-outform",
            "DER",
            "-aes-256-cbc",
        ];
        let files = [
            "-in",
            text(&input),
            "-out",
            text(&output),
            "-recip",
            text(&cert),
        ];
        let way = ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", &digest];
        run("openssl", &[&fixed[..], &files, &way].concat());
        let envelope = std::fs::read(&output).unwrap();
        let len = (envelope.len() as u64).to_be_bytes();
        write(
            &bench.path("oaep.raucb"),
            &[payload, &envelope, &len].concat(),
        );
        let key = ["--decrypt-key", "pkcs11:object=rsa", "oaep.raucb"];
        let verify = bench.bundle_tool(&[&["verify", "--keyring", "rsa.crt"][..], &key].concat());
        let said = String::from_utf8_lossy(&verify.stderr);
        assert_eq!(verify.status.success(), expected.is_none(), "{said}");
        assert!(said.contains(expected.unwrap_or_default()), "{said}");
    }
}
