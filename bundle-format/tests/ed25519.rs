//! Ed25519 signatures: `openssl cms` of OpenSSL 3.0 neither makes nor verifies them, so they are
//! put together here, field by field, and each field is got wrong once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

use bundle_format::cms::{CheckTime, Purpose, Revocation};
use bundle_format::{Bundle, Limits, Trust};
use openssl::asn1::Asn1Object;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::PKey;
use support::ed25519::{
    CONTENT_TYPE, DATA, ED25519, ENVELOPED, MESSAGE_DIGEST, Parts, SHA256, attribute, oid,
    sequence, short,
};
use support::{Identity, NOW, Spec, Unsigned, chain};

fn ed25519<'a>(name: &'a str, ca: &'a Identity) -> Spec<'a> {
    Spec {
        key: PKey::generate_ed25519().unwrap(),
        ..Spec::leaf(name, Some(ca))
    }
}

fn trust(ca: &Identity) -> Trust {
    let trust = Trust::from_pem(&ca.pem(), "ca.pem").unwrap();
    trust.with_time(CheckTime::At(NOW))
}

fn verify(bundle: Vec<u8>, trust: &Trust) -> Result<(), String> {
    let bundle = Bundle::open(bundle, &Limits::default()).unwrap();
    let verified = bundle.verify(trust).map_err(|error| chain(&error))?;
    assert_eq!(verified.manifest().signing_time(), Some(NOW));
    Ok(())
}

#[test]
fn every_field_counts() {
    let ca = Spec::ca("CA").make();
    let signer = ed25519("Signer", &ca).make();
    let unsigned = Unsigned::new();
    let good = Parts::good(&unsigned.manifest);
    let check = |parts: &Parts| verify(unsigned.with(&parts.sign(&signer)), &trust(&ca));
    assert_eq!(check(&good), Ok(()));

    let without = |id: &str| {
        let id = Asn1Object::from_str(id).unwrap();
        let mut parts = good.clone();
        let attributes = parts.attributes.as_mut().unwrap();
        attributes.retain(|attribute| !attribute[4..].starts_with(id.as_slice()));
        assert_eq!(attributes.len(), 2);
        parts
    };
    let with = |attribute: Vec<u8>| {
        let mut parts = good.clone();
        parts.attributes.as_mut().unwrap().push(attribute);
        parts
    };
    let data = short(0x06, Asn1Object::from_str(DATA).unwrap().as_slice());
    let enveloped = short(0x06, Asn1Object::from_str(ENVELOPED).unwrap().as_slice());
    let other_type = {
        let mut parts = without(CONTENT_TYPE);
        let attribute = attribute(CONTENT_TYPE, &[&enveloped]);
        parts.attributes.as_mut().unwrap().push(attribute);
        parts
    };
    let two_types = {
        let mut parts = without(CONTENT_TYPE);
        let attribute = attribute(CONTENT_TYPE, &[&data, &enveloped]);
        parts.attributes.as_mut().unwrap().push(attribute);
        parts
    };
    let other_content = Parts {
        content: Some([&unsigned.manifest[..], b"#"].concat()),
        ..good.clone()
    };
    let sha256 = hash(MessageDigest::sha256(), &unsigned.manifest).unwrap();
    let digest_of_another_kind = {
        let mut parts = without(MESSAGE_DIGEST);
        let attribute = attribute(MESSAGE_DIGEST, &[&short(0x04, &sha256)]);
        parts.attributes.as_mut().unwrap().push(attribute);
        parts
    };
    let does_not_fit = "the signature does not fit the signed manifest";
    let table: [(&str, Parts, &str); 14] = [
        (
            "value",
            Parts {
                spoil: |value| value[5] ^= 1,
                ..good.clone()
            },
            does_not_fit,
        ),
        (
            "short value",
            Parts {
                spoil: |value| value.truncate(63),
                ..good.clone()
            },
            does_not_fit,
        ),
        (
            "no value",
            Parts {
                spoil: Vec::clear,
                ..good.clone()
            },
            does_not_fit,
        ),
        ("content", other_content, does_not_fit),
        (
            "digest of another kind",
            digest_of_another_kind,
            does_not_fit,
        ),
        (
            "no attributes",
            Parts {
                attributes: None,
                ..good.clone()
            },
            "no signed attributes",
        ),
        (
            "no digest",
            without(MESSAGE_DIGEST),
            "no digest of what is signed",
        ),
        (
            "no content type",
            without(CONTENT_TYPE),
            "not say that it is over plain data",
        ),
        (
            "other content type",
            other_type,
            "not say that it is over plain data",
        ),
        (
            "two values",
            two_types,
            "appears twice, or with several values",
        ),
        (
            "two digests",
            with(attribute(MESSAGE_DIGEST, &[&short(0x04, &[7; 64])])),
            "appears twice, or with several values",
        ),
        (
            "SHA-256",
            Parts {
                digest: SHA256,
                ..good.clone()
            },
            "another than SHA-512",
        ),
        (
            "parameters",
            Parts {
                algorithm: sequence(&[&oid(ED25519), &[5, 0]]),
                ..good.clone()
            },
            "its algorithm has parameters",
        ),
        (
            "outer content type",
            Parts {
                content_type: ENVELOPED,
                ..good.clone()
            },
            "another content type than plain data",
        ),
    ];
    for (what, parts, expected) in table {
        let refused = check(&parts).expect_err(what);
        assert!(refused.contains(expected), "{what}: {refused}");
    }
}

/// A flipped bit anywhere in the signature: refused, or without effect (a few lengths and the
/// numbers of versions do not matter to anybody).
#[test]
fn no_flipped_bit_changes_what_was_signed() {
    let ca = Spec::ca("CA").make();
    let signer = ed25519("Signer", &ca).make();
    let unsigned = Unsigned::new();
    let signature = Parts::good(&unsigned.manifest).sign(&signer);
    let trust = trust(&ca);
    for position in 0..signature.len() {
        let mut flipped = signature.clone();
        flipped[position] ^= 1;
        let bundle = Bundle::open(unsigned.with(&flipped), &Limits::default()).unwrap();
        if let Ok(verified) = bundle.verify(&trust) {
            let manifest = verified.manifest();
            assert_eq!(manifest.bytes(), unsigned.manifest, "byte {position}");
            assert_eq!(manifest.signing_time(), Some(NOW), "byte {position}");
            assert_eq!(manifest.signers()[0].subject, "O=Test, CN=Signer");
        }
    }
}

#[test]
fn the_chain_is_checked_like_any_other() {
    let ca = Spec::ca("CA").make();
    let unsigned = Unsigned::new();
    let parts = Parts::good(&unsigned.manifest);
    let verify =
        |spec: Spec<'_>, trust: &Trust| verify(unsigned.with(&parts.sign(&spec.make())), trust);
    let signer = || ed25519("Signer", &ca);
    let stranger = Spec::ca("Stranger").make();
    let refused = verify(ed25519("Signer", &stranger), &trust(&ca)).unwrap_err();
    assert!(refused.contains("the signer is not trusted"), "{refused}");
    let expired = Spec {
        not_after: NOW - 86_400,
        ..signer()
    };
    let refused = verify(expired, &trust(&ca)).unwrap_err();
    assert!(refused.contains("certificate has expired"), "{refused}");
    let by_signing_time = trust(&ca).with_time(CheckTime::Signing);
    assert_eq!(verify(signer(), &by_signing_time), Ok(()));
    let crl = trust(&ca).with_revocation(Revocation::CheckAll);
    let refused = verify(signer(), &crl).unwrap_err();
    assert!(
        refused.contains("unable to get certificate CRL"),
        "{refused}"
    );
    let other = trust(&ca).with_allowed_signers(vec!["Release".to_owned()]);
    let refused = verify(signer(), &other).unwrap_err();
    assert!(
        refused.contains("'Signer' is not in allowed-signer-cns"),
        "{refused}"
    );

    // The acceptance table of the purposes, as for every other kind of key.
    let table: [(&[&str], [bool; 3]); 4] = [
        (&[], [true, false, true]),
        (&["emailProtection"], [true, false, true]),
        (&["codeSigning"], [false, true, true]),
        (&["timeStamping"], [false, false, true]),
    ];
    for (eku, expected) in table {
        let purposes = [Purpose::SmimeSign, Purpose::CodeSign, Purpose::Any];
        for (purpose, accepted) in purposes.into_iter().zip(expected) {
            let found = verify(Spec { eku, ..signer() }, &trust(&ca).with_purpose(purpose));
            assert_eq!(
                found.is_ok(),
                accepted,
                "{eku:?} for {purpose:?}: {found:?}"
            );
        }
    }
}

/// The signature says Ed25519, the certificate is for RSA.
#[test]
fn the_key_has_to_be_of_the_kind_that_the_signature_names() {
    let ca = Spec::ca("CA").make();
    let unsigned = Unsigned::new();
    let ed = ed25519("Signer", &ca).make();
    let rsa = Spec::leaf("Signer", Some(&ca)).make();
    let mixed = Identity {
        certificate: rsa.certificate,
        key: ed.key,
    };
    let bundle = unsigned.with(&Parts::good(&unsigned.manifest).sign(&mixed));
    let refused = verify(bundle, &trust(&ca)).unwrap_err();
    assert!(refused.contains("is for another kind of key"), "{refused}");
}
