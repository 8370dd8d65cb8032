//! The one verification path. Every signature of every format goes through [`verify`], and nothing
//! else in this repository decides whether one is good.

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::stack::Stack;
use openssl::x509::store::X509Store;
use openssl::x509::{
    X509, X509ExtendedKeyUsage, X509KeyUsage, X509Ref, X509StoreContext, X509VerifyResult,
};

use super::ed25519;
use super::policy::{ED25519, Issued, PolicyError};
use super::signer::{Signer, name};
use super::structure::{SignedData, SigningTime, StructureError, parse};
use super::trust::{CheckTime, Purpose, Trust, TrustError};

/// Why a signature is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be looked into.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// The keyring cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The signer's certificate is not in the signature.
    #[error("the signature does not carry the certificate of its signer")]
    NoSignerCertificate,
    /// The signer's certificate leads to nothing that is trusted.
    #[error(
        "the signer is not trusted by the keyring {keyring}: {reason} (certificate: {subject})"
    )]
    Chain {
        /// The keyring.
        keyring: String,
        /// The certificate at which it failed.
        subject: String,
        /// What OpenSSL said.
        reason: String,
    },
    /// The signature is not over this content, or not by this key.
    #[error(
        "the signature does not fit the signed {content}: the bundle is damaged or was tampered with"
    )]
    BadSignature {
        /// Manifest or payload.
        content: &'static str,
        /// What OpenSSL said, if it was asked.
        source: Option<ErrorStack>,
    },
    /// The payload is not the one that was signed (plain format).
    #[error(
        "the payload has the digest {found}, but {signed} was signed: the bundle is damaged or was tampered with"
    )]
    PayloadDigest {
        /// What was signed.
        signed: String,
        /// What is there.
        found: String,
    },
    /// The algorithms are not good enough.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The signature has no signing time although it is asked for.
    #[error("the signature does not say when it was made, but use-bundle-signing-time asks for it")]
    NoSigningTime,
    /// The signer is somebody else than those that are allowed.
    #[error("the signer's common name '{name}' is not in allowed-signer-cns")]
    SignerName {
        /// Its common name.
        name: String,
    },
    /// The certificate is not made for signing code.
    #[error("the certificate {subject} is not made for code signing: {problem}")]
    CodeSigning {
        /// Which.
        subject: String,
        /// What is missing.
        problem: &'static str,
    },
    /// Something in an Ed25519 signature that RFC 8419 does not allow for, or that nothing needs.
    #[error("the Ed25519 signature is not of the form that is accepted: {problem}")]
    Ed25519 {
        /// What is wrong.
        problem: &'static str,
    },
    /// Signed attributes are missing in a signature over a payload.
    #[error(
        "the signature over the payload has no signed attributes, or a digest that cannot be checked"
    )]
    NoSignedAttributes,
    /// The payload cannot be read.
    #[error("cannot read the payload to verify it")]
    Read(#[source] std::io::Error),
    /// OpenSSL itself failed.
    #[error("OpenSSL failed")]
    OpenSsl(#[from] ErrorStack),
}

/// What a signature is over.
pub(crate) enum Content<'a> {
    /// The content that it carries: a manifest.
    Attached,
    /// Data of which only the digest is known: `digest` gets the name of the algorithm.
    Detached(&'a mut dyn FnMut(MessageDigest) -> std::io::Result<Vec<u8>>),
}

/// A good signature.
pub(crate) struct Signed {
    /// The attached content; empty for a detached signature.
    pub(crate) content: Vec<u8>,
    /// The chain, signer first.
    pub(crate) chain: Vec<Signer>,
    /// When the signer says it signed, in seconds since 1970.
    pub(crate) signing_time: Option<i64>,
}

/// Decides whether the signature `cms` (which starts at `offset` in the bundle) is trusted.
pub(crate) fn verify(
    cms: &[u8],
    offset: u64,
    content: Content<'_>,
    trust: &Trust,
) -> Result<Signed, VerifyError> {
    let (parsed, der) = parse(cms, offset)?;
    let data = SignedData::from_der(&der)?;
    trust.policy.check_digest(&data.signer.digest)?;
    trust.policy.check_algorithm(&data.signer.algorithm)?;
    let signing_time = signing_time(&data)?;
    let store = trust.store(check_time(trust, signing_time)?)?;
    let signer = data
        .signer_certificate()?
        .ok_or(VerifyError::NoSignerCertificate)?;
    let chain = chain(signer, &data.certificates, &store, trust)?;
    let by_openssl = data.signer.algorithm != ED25519;
    let content = match content {
        Content::Attached if by_openssl => attached(parsed, &store)?,
        Content::Attached => ed25519::attached(&data, signer)?,
        Content::Detached(digest) => {
            if by_openssl {
                detached(parsed, &store, &data)?;
            } else {
                ed25519::detached(&data, signer)?;
            }
            check_payload(&data, digest)?;
            Vec::new()
        }
    };
    check_chain(&chain, trust)?;
    let chain = chain.iter().map(Signer::of).collect::<Result<_, _>>()?;
    Ok(Signed {
        content,
        chain,
        signing_time,
    })
}

/// The whole check by OpenSSL: chain, purpose, digest and signature.
fn attached(mut cms: CmsContentInfo, store: &X509Store) -> Result<Vec<u8>, VerifyError> {
    let mut content = Vec::new();
    cms.verify(
        None,
        Some(store),
        None,
        Some(&mut content),
        CMSOptions::BINARY,
    )
    .map_err(|source| VerifyError::BadSignature {
        content: "manifest",
        source: Some(source),
    })?;
    Ok(content)
}

/// The same for a payload that is too large for memory: OpenSSL checks the chain and that the
/// signature is over the signed attributes; [`check_payload`] does the rest.
fn detached(
    mut cms: CmsContentInfo,
    store: &X509Store,
    data: &SignedData,
) -> Result<(), VerifyError> {
    // Without attributes, the signature would be over the payload itself, which is not here.
    if data.signer.message_digest.is_none() {
        return Err(VerifyError::NoSignedAttributes);
    }
    let flags = CMSOptions::BINARY | CMSOptions::NO_CONTENT_VERIFY;
    cms.verify(None, Some(store), Some(&[]), None, flags)
        .map_err(|source| VerifyError::BadSignature {
            content: "payload",
            source: Some(source),
        })
}

/// Compares the payload with the digest in the signed attributes, of which the signature is good.
fn check_payload(
    data: &SignedData,
    digest: &mut dyn FnMut(MessageDigest) -> std::io::Result<Vec<u8>>,
) -> Result<(), VerifyError> {
    let signed = data
        .signer
        .message_digest
        .as_ref()
        .ok_or(VerifyError::NoSignedAttributes)?;
    if data.content.is_some() {
        // A signature over something else than the payload.
        return Err(VerifyError::NoSignedAttributes);
    }
    let algorithm = super::policy::message_digest(&data.signer.digest)
        .ok_or(VerifyError::NoSignedAttributes)?;
    let found = digest(algorithm).map_err(VerifyError::Read)?;
    if found != *signed {
        let hex = crate::digest::encode_hex;
        return Err(VerifyError::PayloadDigest {
            signed: hex(signed),
            found: hex(&found),
        });
    }
    Ok(())
}

/// Builds the chain of `signer`, with a precise error if there is none.
fn chain(
    signer: &X509,
    others: &[X509],
    store: &X509Store,
    trust: &Trust,
) -> Result<Vec<X509>, VerifyError> {
    let mut untrusted = Stack::new()?;
    for certificate in others {
        untrusted.push(certificate.clone())?;
    }
    let mut context = X509StoreContext::new()?;
    let outcome = context.init(store, signer, &untrusted, |context| {
        if context.verify_cert()? {
            let chain = context
                .chain()
                .map(|chain| chain.iter().map(X509Ref::to_owned).collect());
            return Ok(Ok(chain.unwrap_or_default()));
        }
        let subject = context
            .current_cert()
            .map_or_else(|| name(signer.subject_name()), |c| name(c.subject_name()));
        Ok(Err((context.error(), subject)))
    })?;
    outcome.map_err(
        |(result, subject): (X509VerifyResult, String)| VerifyError::Chain {
            keyring: trust.name().to_owned(),
            subject,
            reason: result.error_string().to_owned(),
        },
    )
}

/// Everything beyond what OpenSSL checks.
fn check_chain(chain: &[X509], trust: &Trust) -> Result<(), VerifyError> {
    let [signer, ..] = chain else {
        return Err(VerifyError::NoSignerCertificate);
    };
    for (index, certificate) in chain.iter().enumerate() {
        let last = index + 1 == chain.len();
        let issued = if last || trust.is_anchor(certificate) {
            Issued::Anchor
        } else {
            Issued::ByChain
        };
        trust
            .policy
            .check_certificate(certificate, &name(certificate.subject_name()), issued)?;
    }
    if trust.purpose == Purpose::CodeSign {
        check_code_signing(signer, &chain[1..])?;
    }
    check_signer_name(signer, &trust.allowed_signers)
}

/// RAUC's rules: the signer must be allowed to sign code, must not be forbidden to sign, and no CA
/// above it may be restricted to other uses.
fn check_code_signing(signer: &X509, issuers: &[X509]) -> Result<(), VerifyError> {
    let wrong = |certificate: &X509, problem| {
        Err(VerifyError::CodeSigning {
            subject: name(certificate.subject_name()),
            problem,
        })
    };
    let signs_code = |certificate: &X509| {
        certificate
            .extended_key_usage()
            .map(|usage| usage.contains(X509ExtendedKeyUsage::CODE_SIGN))
    };
    if signs_code(signer) != Some(true) {
        return wrong(
            signer,
            "its extended key usage does not include codeSigning",
        );
    }
    if signer
        .key_usage()
        .is_some_and(|usage| !usage.contains(X509KeyUsage::DIGITAL_SIGNATURE))
    {
        return wrong(signer, "its key usage does not include digitalSignature");
    }
    match issuers
        .iter()
        .find(|issuer| signs_code(issuer) == Some(false))
    {
        Some(issuer) => wrong(
            issuer,
            "its extended key usage does not include codeSigning",
        ),
        None => Ok(()),
    }
}

/// The whole name counts, byte for byte: "good\0evil" is not "good".
fn check_signer_name(signer: &X509, allowed: &[String]) -> Result<(), VerifyError> {
    if allowed.is_empty() {
        return Ok(());
    }
    let mut names = signer.subject_name().entries_by_nid(Nid::COMMONNAME);
    let found = names.next().and_then(|entry| entry.data().to_string().ok());
    match found {
        Some(name) if allowed.contains(&name) => Ok(()),
        Some(name) => Err(VerifyError::SignerName {
            name: name.escape_default().to_string(),
        }),
        None => Err(VerifyError::SignerName {
            name: String::new(),
        }),
    }
}

fn check_time(trust: &Trust, signing_time: Option<i64>) -> Result<Option<i64>, VerifyError> {
    match trust.time {
        CheckTime::Now | CheckTime::Ignore => Ok(None),
        CheckTime::At(time) => Ok(Some(time)),
        CheckTime::Signing => signing_time.map(Some).ok_or(VerifyError::NoSigningTime),
    }
}

fn signing_time(data: &SignedData) -> Result<Option<i64>, VerifyError> {
    let text = match &data.signer.signing_time {
        None => return Ok(None),
        // Two digits of the year: 50 to 99 are of the last century.
        Some(SigningTime::Utc(text)) if text.as_bytes().first() >= Some(&b'5') => {
            format!("19{text}")
        }
        Some(SigningTime::Utc(text)) => format!("20{text}"),
        Some(SigningTime::Generalized(text)) => text.clone(),
    };
    // OpenSSL knows about NUL-terminated text only.
    if text.contains('\0') {
        return Err(VerifyError::NoSigningTime);
    }
    let time = Asn1Time::from_str(&text)?;
    seconds(&time).map(Some)
}

/// Seconds since 1970.
fn seconds(time: &Asn1TimeRef) -> Result<i64, VerifyError> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * 86400 + i64::from(since.secs))
}
