//! One bundle made of another: encrypting, signing apart, signing anew, taking apart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use std::path::{Path, PathBuf};

use bundle_format::cms::DecryptionKey;
use bundle_format::manifest::Format;
use bundle_format::{Bundle, BundleError, Envelope, FileReader, Limits};
use bundle_tool::create::Signature;
use bundle_tool::encrypt::{Recipients, encrypt};
use bundle_tool::extract::extract;
use bundle_tool::observer::Silent;
use bundle_tool::open::{Check, Source};
use bundle_tool::output::Overwrite;
use bundle_tool::signature::OldSignature;
use bundle_tool::unsigned::Signing;
use bundle_tool::{signature, unsigned, verify};
use support::{Workshop, chain, run, text, write};

fn limits() -> Limits {
    Limits::default()
}

fn source<'a>(path: &'a Path, limits: &'a Limits, key: Option<&'a DecryptionKey>) -> Source<'a> {
    Source {
        path,
        limits,
        decryption: key,
    }
}

/// A recipient: key and self-signed certificate.
fn recipient(workshop: &Workshop, name: &str, key: &[&str]) -> (PathBuf, DecryptionKey) {
    let (cert, key_file) = (workshop.path(&format!("{name}.crt")), workshop.path(name));
    let mut args = vec![
        "req",
        "-x509",
        "-nodes",
        "-subj",
        "/CN=device",
        "-keyout",
        text(&key_file),
    ];
    args.extend(["-out", text(&cert), "-newkey"]);
    args.extend(key);
    run("openssl", &args);
    let decryption = DecryptionKey::from_files(&key_file, None, None).unwrap();
    (cert, decryption)
}

const RSA: &[&str] = &["rsa:2048"];
const EC: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[test]
fn an_encrypted_bundle_opens_for_its_recipients_only() {
    let workshop = Workshop::new();
    let (rsa_cert, rsa_key) = recipient(&workshop, "rsa", RSA);
    let (ec_cert, ec_key) = recipient(&workshop, "ec", EC);
    let (_, stranger) = recipient(&workshop, "stranger", RSA);
    let mut request = workshop.request("a.raucb");
    request.format = Format::Crypt;
    if let Signature::By { recipients, .. } = &mut request.signature {
        *recipients = vec![rsa_cert.clone(), ec_cert];
    }
    workshop.create(&request).unwrap();
    let path = &request.output.path;
    let limits = limits();
    for key in [&rsa_key, &ec_key] {
        let source = source(path, &limits, Some(key));
        verify::verify(
            &source,
            &workshop.trust(),
            verify::Depth::Images,
            &mut Silent,
        )
        .unwrap();
        // What a device does: nothing is allowed beyond the defaults.
        let bundle = Bundle::open(FileReader::open(path).unwrap(), &limits).unwrap();
        assert!(bundle.is_encrypted().unwrap());
        let opened = bundle.decrypt(key).unwrap();
        opened.verify(&workshop.trust()).unwrap();
    }
    let with_certificate =
        DecryptionKey::from_files(&workshop.path("rsa"), None, Some(&rsa_cert)).unwrap();
    source(path, &limits, Some(&with_certificate))
        .verified(&workshop.trust())
        .unwrap();

    let wrong = source(path, &limits, Some(&stranger))
        .verified(&workshop.trust())
        .err()
        .unwrap();
    assert_eq!(
        wrong.to_string(),
        "the bundle is not encrypted for this key"
    );
    let closed = source(path, &limits, None)
        .verified(&workshop.trust())
        .err()
        .unwrap();
    assert_eq!(
        closed.to_string(),
        "the bundle is encrypted; a key is needed to open it"
    );
    let bytes = fs_err::read(path).unwrap();
    let needle = &workshop.rootfs[..64];
    assert!(
        !bytes.windows(64).any(|window| window == needle),
        "the payload is readable"
    );
    let key = "3c".repeat(32);
    assert!(
        !bytes.windows(64).any(|window| window == key.as_bytes()),
        "the key is readable"
    );
}

#[test]
fn a_device_refuses_a_crypt_bundle_that_was_never_encrypted() {
    let workshop = Workshop::new();
    let mut request = workshop.request("a.raucb");
    request.format = Format::Crypt;
    workshop.create(&request).unwrap();
    let bundle = Bundle::open(FileReader::open(&request.output.path).unwrap(), &limits()).unwrap();
    let error = bundle.verify(&workshop.trust()).err().unwrap();
    assert!(matches!(error, BundleError::ReadableKey), "{error}");

    let (cert, key) = recipient(&workshop, "device", RSA);
    let recipients = Recipients::load(&[cert]).unwrap();
    let trust = workshop.trust();
    let target = workshop.target("b.raucb");
    encrypt(
        &request.output.path,
        &Check::Trust(&trust),
        &recipients,
        &target,
    )
    .unwrap();
    let bundle = Bundle::open(FileReader::open(&target.path).unwrap(), &limits()).unwrap();
    bundle.decrypt(&key).unwrap().verify(&trust).unwrap();

    let again = encrypt(
        &target.path,
        &Check::None,
        &recipients,
        &workshop.target("c.raucb"),
    );
    assert!(again.unwrap_err().to_string().contains("is encrypted"));
    let verity = workshop.bundle("v.raucb");
    let wrong = encrypt(
        &verity,
        &Check::None,
        &recipients,
        &workshop.target("c.raucb"),
    );
    assert!(
        wrong
            .unwrap_err()
            .to_string()
            .ends_with("this one is verity")
    );
    assert!(!workshop.path("c.raucb").exists());
}

#[test]
fn recipients_without_the_crypt_format_are_a_mistake() {
    let workshop = Workshop::new();
    let (cert, _) = recipient(&workshop, "device", RSA);
    let mut request = workshop.request("a.raucb");
    if let Signature::By { recipients, .. } = &mut request.signature {
        *recipients = vec![cert];
    }
    let error = workshop.create(&request).unwrap_err().to_string();
    assert!(
        error.contains("a bundle of the format verity is not encrypted"),
        "{error}"
    );
}

#[test]
fn built_here_and_signed_there() {
    let workshop = Workshop::new();
    for format in [Format::Verity, Format::Plain, Format::Crypt] {
        let name = format.name();
        let mut request = workshop.request(&format!("{name}.direct"));
        request.format = format;
        workshop.create(&request).unwrap();
        let direct = fs_err::read(&request.output.path).unwrap();

        request.output = workshop.target(&format!("{name}.unsigned"));
        request.signature = Signature::Later;
        let created = workshop.create(&request).unwrap();
        let limits = limits();
        let refused = source(&request.output.path, &limits, None).verified(&workshop.trust());
        assert!(
            refused
                .err()
                .unwrap()
                .to_string()
                .contains("is not signed yet")
        );

        let trust = workshop.trust();
        let signer = workshop.identity();
        let signing = Signing {
            signer: &signer,
            time: support::TIME,
            keyring: Some(&trust),
            recipients: None,
        };
        let target = workshop.target(&format!("{name}.signed"));
        let signed = unsigned::sign(&request.output.path, &signing, &target, &mut Silent).unwrap();
        assert!(
            fs_err::read(&target.path).unwrap() == direct,
            "{name}: not the same bundle"
        );
        assert_eq!(signed.manifest_hash, created.manifest_hash, "{name}");
        let twice = unsigned::sign(&target.path, &signing, &workshop.target("x"), &mut Silent);
        assert!(
            twice
                .unwrap_err()
                .to_string()
                .contains("is not an unsigned bundle")
        );
    }
}

/// Other tools may sign what we would not create: it is shown, but not accepted.
#[test]
fn a_bundle_for_a_newer_rauc_is_refused() {
    let workshop = Workshop::new();
    let input = workshop.path("input");
    fs_err::create_dir(&input).unwrap();
    write(&input.join("rootfs.img"), &support::noise(9000));
    let manifest = |version: &str| {
        format!(
            "[update]\ncompatible=Board\nmin-rauc-version={version}\n\
             [image.rootfs]\nfilename=rootfs.img\n"
        )
    };
    write(&input.join("manifest.raucm"), manifest("1.15.2").as_bytes());
    let mut request = workshop.request("a.unsigned");
    request.input = bundle_tool::create::Input::Directory(input.clone());
    request.signature = Signature::Later;
    workshop.create(&request).unwrap();
    let sign = |output: &str| {
        let signer = workshop.identity();
        let signing = Signing {
            signer: &signer,
            time: support::TIME,
            keyring: None,
            recipients: None,
        };
        let target = workshop.target(output);
        unsigned::sign(&request.output.path, &signing, &target, &mut Silent).unwrap();
        let limits = limits();
        let source = source(&target.path, &limits, None);
        let info = bundle_tool::info::info(&source, &Check::Trust(&workshop.trust())).unwrap();
        let text = String::from_utf8(info.manifest.to_bytes()).unwrap();
        assert!(text.contains("min-rauc-version="), "{text}");
        verify::verify(
            &source,
            &workshop.trust(),
            verify::Depth::Images,
            &mut Silent,
        )
        .map(drop)
    };
    sign("good.raucb").unwrap();

    let unsigned = fs_err::read(&request.output.path).unwrap();
    let needle = b"min-rauc-version=1.15.2";
    let at = (0..unsigned.len() - needle.len())
        .rfind(|at| unsigned[*at..].starts_with(needle))
        .unwrap();
    let mut newer = unsigned.clone();
    newer[at + needle.len() - 1] = b'3';
    write(&request.output.path, &newer);
    let refused = chain(&sign("newer.raucb").unwrap_err());
    assert!(
        refused.contains("min-rauc-version=1.15.3: the bundle needs a newer RAUC than 1.15.2"),
        "{refused}"
    );

    write(&input.join("manifest.raucm"), manifest("1.15.3").as_bytes());
    request.output = workshop.target("b.unsigned");
    let refused = chain(&workshop.create(&request).unwrap_err());
    assert!(
        refused.contains("needs a newer RAUC than 1.15.2"),
        "{refused}"
    );
}

/// Well signed, but the manifest in the payload is another one.
#[test]
fn a_bundle_that_contradicts_itself_is_refused() {
    let workshop = Workshop::new();
    let mut request = workshop.request("a.unsigned");
    request.signature = Signature::Later;
    workshop.create(&request).unwrap();
    let mut bytes = fs_err::read(&request.output.path).unwrap();
    let needle = b"version=2026.01-1";
    let at = (0..bytes.len() - needle.len())
        .rfind(|at| bytes[*at..].starts_with(needle))
        .unwrap();
    bytes[at + needle.len() - 1] = b'2';
    write(&request.output.path, &bytes);
    let signer = workshop.identity();
    let signing = Signing {
        signer: &signer,
        time: support::TIME,
        keyring: None,
        recipients: None,
    };
    let target = workshop.target("a.raucb");
    unsigned::sign(&request.output.path, &signing, &target, &mut Silent).unwrap();
    let limits = limits();
    let source = source(&target.path, &limits, None);
    for depth in [verify::Depth::Payload, verify::Depth::Images] {
        let refused = verify::verify(&source, &workshop.trust(), depth, &mut Silent);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the manifest.raucm in the payload contradicts the signed manifest (version): the \
             bundle was put together of different parts"
        );
    }
}

#[test]
fn a_damaged_unsigned_bundle_is_not_signed() {
    let workshop = Workshop::new();
    let mut request = workshop.request("a.unsigned");
    request.signature = Signature::Later;
    workshop.create(&request).unwrap();
    let mut bytes = fs_err::read(&request.output.path).unwrap();
    bytes[700_000] ^= 1;
    write(&request.output.path, &bytes);
    let signer = workshop.identity();
    let signing = Signing {
        signer: &signer,
        time: support::TIME,
        keyring: None,
        recipients: None,
    };
    let target = workshop.target("a.raucb");
    let error = unsigned::sign(&request.output.path, &signing, &target, &mut Silent).unwrap_err();
    let error = chain(&error);
    assert!(error.contains("payload block 170 "), "{error}");
    assert!(!target.path.exists());
}

#[test]
fn signed_by_openssl_from_the_extracted_manifest() {
    let workshop = Workshop::new();
    let mut request = workshop.request("a.unsigned");
    request.signature = Signature::Later;
    workshop.create(&request).unwrap();
    let limits = limits();
    let manifest = workshop.target("manifest.txt");
    let unsigned = source(&request.output.path, &limits, None);
    signature::extract(&unsigned, &Check::None, Envelope::None, &manifest).unwrap();
    let cms = workshop.path("cms");
    let (cert, key) = (
        text(&workshop.pki.signer_cert),
        text(&workshop.pki.signer_key),
    );
    let mut args = vec![
        "cms",
        "-sign",
        "-binary",
        "-nodetach",
        "-nosmimecap",
        "-outform",
        "DER",
    ];
    args.extend([
        "-signer",
        cert,
        "-inkey",
        key,
        "-in",
        text(&manifest.path),
        "-out",
        text(&cms),
    ]);
    run("openssl", &args);
    let trust = workshop.trust();
    let target = workshop.target("a.raucb");
    signature::replace(
        &source(&request.output.path, &limits, None),
        &cms,
        &Check::Trust(&trust),
        &target,
    )
    .unwrap();
    verify::verify(
        &source(&target.path, &limits, None),
        &trust,
        verify::Depth::Images,
        &mut Silent,
    )
    .unwrap();
}

#[test]
fn a_signature_can_be_taken_out_and_put_back() {
    let workshop = Workshop::new();
    let other = Workshop::new();
    let bundle = workshop.bundle("a.raucb");
    let (limits, trust) = (limits(), workshop.trust());
    let cms = workshop.target("a.cms");
    let opened = source(&bundle, &limits, None);
    signature::extract(&opened, &Check::Trust(&trust), Envelope::None, &cms).unwrap();
    let same = workshop.target("same.raucb");
    signature::replace(&opened, &cms.path, &Check::Trust(&trust), &same).unwrap();
    assert!(fs_err::read(&same.path).unwrap() == fs_err::read(&bundle).unwrap());

    let strangers = other.trust();
    let refused = signature::extract(
        &opened,
        &Check::Trust(&strangers),
        Envelope::None,
        &workshop.target("x"),
    );
    assert!(refused.unwrap_err().to_string().contains("is not trusted"));
    let refused = signature::replace(
        &opened,
        &cms.path,
        &Check::Trust(&strangers),
        &workshop.target("x"),
    );
    assert!(refused.unwrap_err().to_string().contains("is not trusted"));
    let noise = workshop.path("boot.vfat");
    let refused = signature::replace(&opened, &noise, &Check::None, &workshop.target("x"));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("is not a CMS structure")
    );

    // A good signature, but over another payload.
    let mut second = workshop.request("second.raucb");
    second.salt = bundle_tool::create::Salt::Is([1; 32]);
    workshop.create(&second).unwrap();
    let wrong = source(&second.output.path, &limits, None);
    let refused = signature::replace(
        &wrong,
        &cms.path,
        &Check::Trust(&trust),
        &workshop.target("x"),
    );
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("top block of the hash tree")
    );
    assert!(!workshop.path("x").exists());
}

#[test]
fn a_damaged_bundle_is_not_signed_anew() {
    let workshop = Workshop::new();
    let bundle = workshop.bundle("a.raucb");
    let mut bytes = fs_err::read(&bundle).unwrap();
    bytes[5000] ^= 1;
    write(&bundle, &bytes);
    let (limits, signer) = (limits(), workshop.identity());
    let signing = Signing {
        signer: &signer,
        time: support::TIME,
        keyring: None,
        recipients: None,
    };
    let damaged = source(&bundle, &limits, None);
    let refused = signature::resign(
        &damaged,
        &Check::None,
        &signing,
        OldSignature::Replaced,
        &workshop.target("b.raucb"),
    );
    assert!(chain(&refused.unwrap_err()).contains("payload block 1 "));
    assert!(!workshop.path("b.raucb").exists());
}

#[test]
fn signed_anew_by_somebody_else() {
    let workshop = Workshop::new();
    let other = Workshop::new();
    let (limits, trust, others_trust) = (limits(), workshop.trust(), other.trust());
    let signer = other.identity();
    let signing = Signing {
        signer: &signer,
        time: support::TIME,
        keyring: Some(&others_trust),
        recipients: None,
    };
    for format in [Format::Verity, Format::Plain, Format::Crypt] {
        let mut request = workshop.request(format.name());
        request.format = format;
        let created = workshop.create(&request).unwrap();
        let source = source(&request.output.path, &limits, None);
        for (check, name) in [
            (Check::Trust(&trust), "checked"),
            (Check::None, "unchecked"),
        ] {
            let target = workshop.target(&format!("{}.{name}", format.name()));
            signature::resign(&source, &check, &signing, OldSignature::Replaced, &target).unwrap();
            let resigned = Source {
                path: &target.path,
                ..source
            };
            let verified =
                verify::verify(&resigned, &others_trust, verify::Depth::Images, &mut Silent)
                    .unwrap();
            assert_eq!(
                verified.manifest.hash(),
                created.manifest_hash,
                "{}",
                format.name()
            );
            assert!(resigned.verified(&trust).is_err(), "the old signer is gone");
        }
        let target = workshop.target(&format!("{}.no", format.name()));
        let refused = signature::resign(
            &source,
            &Check::Trust(&others_trust),
            &signing,
            OldSignature::Replaced,
            &target,
        );
        assert!(refused.unwrap_err().to_string().contains("is not trusted"));
        assert!(!target.path.exists());
    }
}

#[test]
fn an_encrypted_bundle_is_signed_anew_and_encrypted_again() {
    let workshop = Workshop::new();
    let other = Workshop::new();
    let (cert, key) = recipient(&workshop, "device", EC);
    let mut request = workshop.request("a.raucb");
    request.format = Format::Crypt;
    if let Signature::By { recipients, .. } = &mut request.signature {
        *recipients = vec![cert.clone()];
    }
    workshop.create(&request).unwrap();
    let (limits, trust, others_trust) = (limits(), workshop.trust(), other.trust());
    let recipients = Recipients::load(&[cert]).unwrap();
    let signer = other.identity();
    let signing = Signing {
        signer: &signer,
        time: support::TIME,
        keyring: Some(&others_trust),
        recipients: Some(&recipients),
    };
    let target = workshop.target("b.raucb");
    let opened = source(&request.output.path, &limits, Some(&key));
    signature::resign(
        &opened,
        &Check::Trust(&trust),
        &signing,
        OldSignature::Replaced,
        &target,
    )
    .unwrap();
    let bundle = Bundle::open(FileReader::open(&target.path).unwrap(), &limits).unwrap();
    assert!(bundle.is_encrypted().unwrap());
    bundle.decrypt(&key).unwrap().verify(&others_trust).unwrap();
}

#[test]
fn everything_comes_out() {
    let workshop = Workshop::new();
    let input = workshop.path("input");
    fs_err::create_dir_all(input.join("tree/deep")).unwrap();
    write(&input.join("rootfs.img"), &workshop.rootfs);
    write(&input.join("tree/deep/file"), b"inside");
    write(&input.join("empty"), b"");
    std::os::unix::fs::symlink("rootfs.img", input.join("alias.img")).unwrap();
    let manifest = b"[update]\ncompatible=Board\n[image.rootfs]\nfilename=alias.img\n";
    write(&input.join("manifest.raucm"), manifest);
    let mut request = workshop.request("a.raucb");
    request.input = bundle_tool::create::Input::Directory(input);
    workshop.create(&request).unwrap();

    let limits = limits();
    let verified = source(&request.output.path, &limits, None)
        .verified(&workshop.trust())
        .unwrap();
    let out = workshop.path("out");
    let files = verified.files().unwrap();
    let take = |overwrite| extract(&files, &out, overwrite, &mut Silent);
    assert_eq!(take(Overwrite::Refuse).unwrap(), 7);
    assert!(fs_err::read(out.join("rootfs.img")).unwrap() == workshop.rootfs);
    assert_eq!(fs_err::read(out.join("tree/deep/file")).unwrap(), b"inside");
    assert_eq!(fs_err::read(out.join("empty")).unwrap(), b"");
    assert_eq!(
        fs_err::read_link(out.join("alias.img")).unwrap(),
        Path::new("rootfs.img")
    );
    let exists = take(Overwrite::Refuse).unwrap_err().to_string();
    assert!(exists.ends_with("extract into a new directory"), "{exists}");

    // Into a directory that exists, files are replaced and links never followed.
    let precious = workshop.path("precious");
    write(&precious, b"mine");
    fs_err::remove_file(out.join("empty")).unwrap();
    std::os::unix::fs::symlink(&precious, out.join("empty")).unwrap();
    write(&out.join("tree/deep/file"), b"changed");
    assert_eq!(take(Overwrite::Replace).unwrap(), 7);
    assert_eq!(fs_err::read(&precious).unwrap(), b"mine");
    assert_eq!(fs_err::read(out.join("empty")).unwrap(), b"");
    assert_eq!(fs_err::read(out.join("tree/deep/file")).unwrap(), b"inside");
    fs_err::remove_dir_all(out.join("tree")).unwrap();
    std::os::unix::fs::symlink(workshop.path("pki"), out.join("tree")).unwrap();
    assert!(take(Overwrite::Replace).is_err());
}
