//! What a CMS structure contains. Nothing here decides about trust.
//!
//! OpenSSL parses the bytes and writes them anew as DER; this module reads what it wrote. So both
//! always speak about the same structure, and BER from other tools is understood as well.

use openssl::cms::CmsContentInfo;
use openssl::x509::X509;

use super::asn1::{
    Asn1Error, CONTEXT_0, CONTEXT_0_PRIMITIVE, CONTEXT_1, Element, Elements, GENERALIZED_TIME,
    INTEGER, OCTET_STRING, OID, SEQUENCE, SET, UTC_TIME,
};
use crate::limits::MAX_CERTIFICATES;

/// 1.2.840.113549.1.7.1
const ID_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
/// 1.2.840.113549.1.7.2
const ID_SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
/// 1.2.840.113549.1.7.3
const ID_ENVELOPED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03";
/// 1.2.840.113549.1.9.3
const ID_CONTENT_TYPE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
/// 1.2.840.113549.1.9.4
const ID_MESSAGE_DIGEST: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
/// 1.2.840.113549.1.9.5
const ID_SIGNING_TIME: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05";

/// What a CMS structure is, from the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CmsKind {
    /// A signature.
    Signed,
    /// A signature that was encrypted.
    Enveloped,
}

/// Why a signature cannot even be looked into.
#[derive(Debug, thiserror::Error)]
pub enum StructureError {
    /// Not CMS.
    #[error("the signature (byte offset {offset}) is not a CMS structure: the bundle is damaged")]
    NotCms {
        /// Where the signature starts in the bundle.
        offset: u64,
        /// What OpenSSL said.
        source: openssl::error::ErrorStack,
    },
    /// A manifest where a signature should be.
    #[error("the bundle is not signed yet: its manifest stands where the signature should be")]
    Unsigned,
    /// CMS, but neither signed nor enveloped data.
    #[error("the signature is a CMS structure of another kind than signed or enveloped data")]
    Kind,
    /// Not what the standard says.
    #[error(transparent)]
    Asn1(#[from] Asn1Error),
    /// Zero, or more than one. A second signature would be checked by nobody.
    #[error("the signature has {found} signers; a bundle needs exactly one")]
    Signers {
        /// How many.
        found: usize,
    },
    /// More certificates than allowed.
    #[error(
        "the signature carries {found} certificates, more than the limit of {MAX_CERTIFICATES}"
    )]
    Certificates {
        /// How many.
        found: usize,
    },
    /// A certificate that cannot be read.
    #[error("certificate {index} in the signature cannot be read")]
    Certificate {
        /// Counted from 1.
        index: usize,
        /// What OpenSSL said.
        source: openssl::error::ErrorStack,
    },
    /// Two certificates to choose from: what is checked of the one would be believed of the other.
    #[error("the signature carries several certificates that its signer could mean")]
    AmbiguousSigner,
    /// The same attribute twice.
    #[error("a signed attribute appears twice, or with several values")]
    DoubledAttribute,
    /// What is signed is something else than plain data.
    #[error("the signature is over another content type than plain data")]
    ContentType,
}

/// The parts of a SignedData that matter here.
pub(crate) struct SignedData {
    /// The attached content.
    pub(crate) content: Option<Vec<u8>>,
    /// The certificates it carries.
    pub(crate) certificates: Vec<X509>,
    /// Its one signer.
    pub(super) signer: SignerInfo,
}

/// The parts of a SignerInfo that matter here.
pub(super) struct SignerInfo {
    pub(super) id: CertificateId,
    /// OID of the digest, as DER content.
    pub(super) digest: Vec<u8>,
    /// OID of the signature algorithm, as DER content.
    pub(super) algorithm: Vec<u8>,
    /// Whether the signature algorithm has parameters.
    pub(super) has_parameters: bool,
    /// What is signed if there are signed attributes: these, in DER as a SET OF.
    pub(super) signed_attributes: Option<Vec<u8>>,
    /// The signed attribute contentType says that the content is plain data.
    pub(super) is_data: bool,
    /// Content of the signed attribute messageDigest; `None` without signed attributes.
    pub(super) message_digest: Option<Vec<u8>>,
    /// Signed attribute signingTime: tag and text.
    pub(super) signing_time: Option<SigningTime>,
    /// The value of the signature.
    pub(super) value: Vec<u8>,
}

/// How the certificate of a signer or of a recipient is named.
pub(super) enum CertificateId {
    IssuerAndSerial { issuer: Vec<u8>, serial: Vec<u8> },
    KeyId(Vec<u8>),
}

/// The two kinds of time that the standard allows.
pub(super) enum SigningTime {
    Utc(String),
    Generalized(String),
}

/// Parses CMS; `offset` is where it starts in the bundle.
pub(crate) fn parse(cms: &[u8], offset: u64) -> Result<(CmsContentInfo, Vec<u8>), StructureError> {
    if cms.starts_with(b"[") {
        return Err(StructureError::Unsigned);
    }
    let not_cms = |source| StructureError::NotCms { offset, source };
    let parsed = CmsContentInfo::from_der(cms).map_err(not_cms)?;
    let der = parsed.to_der().map_err(not_cms)?;
    Ok((parsed, der))
}

/// Whether `cms` is signed, or enveloped (and signed inside).
///
/// # Errors
/// It is neither, or no CMS at all.
pub fn kind(cms: &[u8], offset: u64) -> Result<CmsKind, StructureError> {
    let (_, der) = parse(cms, offset)?;
    kind_of(&der)
}

/// The same of OpenSSL's own DER.
pub(super) fn kind_of(der: &[u8]) -> Result<CmsKind, StructureError> {
    let content_type = Elements::new(der).expect(SEQUENCE)?.inside().expect(OID)?;
    match content_type.content {
        ID_SIGNED_DATA => Ok(CmsKind::Signed),
        ID_ENVELOPED_DATA => Ok(CmsKind::Enveloped),
        _ => Err(StructureError::Kind),
    }
}

impl SignedData {
    /// Reads OpenSSL's own DER.
    ///
    /// ```text
    /// ContentInfo { OID, [0] SignedData { INTEGER version, SET digests,
    ///   { OID type, [0] OCTET STRING content }, [0] certificates, [1] crls, SET signers } }
    /// ```
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, StructureError> {
        let mut outer = Elements::new(der).expect(SEQUENCE)?.inside();
        if outer.expect(OID)?.content != ID_SIGNED_DATA {
            return Err(StructureError::Kind);
        }
        let mut signed = outer.expect(CONTEXT_0)?.inside().expect(SEQUENCE)?.inside();
        signed.expect(INTEGER)?;
        signed.expect(SET)?;
        let content = content(signed.expect(SEQUENCE)?)?;
        let certificates = match signed.optional(CONTEXT_0)? {
            Some(set) => certificates(set)?,
            None => Vec::new(),
        };
        signed.optional(CONTEXT_1)?;
        let signers = signed.expect(SET)?.inside().all()?;
        let [signer] = signers.as_slice() else {
            return Err(StructureError::Signers {
                found: signers.len(),
            });
        };
        Ok(Self {
            content,
            certificates,
            signer: SignerInfo::from_element(signer)?,
        })
    }

    /// The certificate that the signer names, if the signature carries it.
    ///
    /// Only one may fit: OpenSSL looks for it as well, in an order of its own, and has to find the
    /// same. (Whoever asks a CA for a certificate may choose its key id.)
    pub(super) fn signer_certificate(&self) -> Result<Option<&X509>, StructureError> {
        let mut fitting = self
            .certificates
            .iter()
            .filter(|certificate| self.signer.id.matches(certificate));
        let Some(first) = fitting.next() else {
            return Ok(None);
        };
        let der = |certificate: &X509| certificate.to_der().ok();
        if fitting.any(|other| der(other) != der(first)) {
            return Err(StructureError::AmbiguousSigner);
        }
        Ok(Some(first))
    }
}

fn content(element: Element<'_>) -> Result<Option<Vec<u8>>, StructureError> {
    let mut inside = element.inside();
    if inside.expect(OID)?.content != ID_DATA {
        return Err(StructureError::ContentType);
    }
    let Some(explicit) = inside.optional(CONTEXT_0)? else {
        return Ok(None);
    };
    Ok(Some(
        explicit.inside().expect(OCTET_STRING)?.content.to_vec(),
    ))
}

fn certificates(set: Element<'_>) -> Result<Vec<X509>, StructureError> {
    let elements = set.inside().all()?;
    if elements.len() > MAX_CERTIFICATES {
        return Err(StructureError::Certificates {
            found: elements.len(),
        });
    }
    // Other tags are obsolete kinds of certificates, which nothing uses.
    let x509 = (1..)
        .zip(&elements)
        .filter(|(_, element)| element.tag == SEQUENCE);
    x509.map(|(index, element)| {
        X509::from_der(element.whole)
            .map_err(|source| StructureError::Certificate { index, source })
    })
    .collect()
}

impl SignerInfo {
    /// ```text
    /// { INTEGER version, sid, { OID digest }, [0] signed attributes, { OID algorithm },
    ///   OCTET STRING value, … }
    /// ```
    fn from_element(element: &Element<'_>) -> Result<Self, StructureError> {
        if element.tag != SEQUENCE {
            return Err(Asn1Error.into());
        }
        let mut inside = element.inside();
        inside.expect(INTEGER)?;
        let id = CertificateId::from_element(inside.next()?)?;
        let digest = inside
            .expect(SEQUENCE)?
            .inside()
            .expect(OID)?
            .content
            .to_vec();
        let attributes = inside.optional(CONTEXT_0)?;
        let mut algorithm = inside.expect(SEQUENCE)?.inside();
        let mut signer = Self {
            id,
            digest,
            algorithm: algorithm.expect(OID)?.content.to_vec(),
            has_parameters: !algorithm.is_empty(),
            signed_attributes: None,
            is_data: false,
            message_digest: None,
            signing_time: None,
            value: inside.expect(OCTET_STRING)?.content.to_vec(),
        };
        if let Some(attributes) = attributes {
            signer.read_attributes(attributes)?;
        }
        Ok(signer)
    }

    /// Each attribute is `{ OID, SET of values }`. OpenSSL refuses those that matter when there
    /// are two of them; so it cannot be that it looks at the one, and we at the other.
    fn read_attributes(&mut self, attributes: Element<'_>) -> Result<(), StructureError> {
        let mut seen = Vec::new();
        for attribute in attributes.inside().all()? {
            let mut inside = attribute.inside();
            let oid = inside.expect(OID)?.content;
            let mut values = inside.expect(SET)?.inside();
            match oid {
                ID_CONTENT_TYPE => self.is_data = values.expect(OID)?.content == ID_DATA,
                ID_MESSAGE_DIGEST => {
                    self.message_digest = Some(values.expect(OCTET_STRING)?.content.to_vec());
                }
                ID_SIGNING_TIME => self.signing_time = Some(signing_time(values.next()?)?),
                _ => continue,
            }
            if seen.contains(&oid) || !values.is_empty() {
                return Err(StructureError::DoubledAttribute);
            }
            seen.push(oid);
        }
        // They stand as [0], and are signed as what they are: a SET. The rest is the same.
        let mut signed = attributes.whole.to_vec();
        if let Some(tag) = signed.first_mut() {
            *tag = SET;
        }
        self.signed_attributes = Some(signed);
        Ok(())
    }
}

fn signing_time(value: Element<'_>) -> Result<SigningTime, StructureError> {
    let text = std::str::from_utf8(value.content)
        .map_err(|_| Asn1Error)?
        .to_owned();
    match value.tag {
        UTC_TIME => Ok(SigningTime::Utc(text)),
        GENERALIZED_TIME => Ok(SigningTime::Generalized(text)),
        _ => Err(Asn1Error.into()),
    }
}

impl CertificateId {
    pub(super) fn from_element(element: Element<'_>) -> Result<Self, Asn1Error> {
        match element.tag {
            SEQUENCE => {
                let mut inside = element.inside();
                let issuer = inside.expect(SEQUENCE)?.whole.to_vec();
                let serial = inside.expect(INTEGER)?.content.to_vec();
                Ok(Self::IssuerAndSerial { issuer, serial })
            }
            CONTEXT_0_PRIMITIVE => Ok(Self::KeyId(element.content.to_vec())),
            _ => Err(Asn1Error),
        }
    }

    pub(super) fn matches(&self, certificate: &X509) -> bool {
        match self {
            Self::IssuerAndSerial { issuer, serial } => issuer_and_serial(certificate)
                .is_some_and(|(of, number)| of == *issuer && number == *serial),
            Self::KeyId(id) => certificate
                .subject_key_id()
                .is_some_and(|found| found.as_slice() == id),
        }
    }
}

/// Issuer (whole) and serial number (content) as they stand in a certificate.
///
/// ```text
/// { { [0] version, INTEGER serial, { algorithm }, { issuer }, … }, … }
/// ```
fn issuer_and_serial(certificate: &X509) -> Option<(Vec<u8>, Vec<u8>)> {
    let der = certificate.to_der().ok()?;
    let read = || -> Result<_, Asn1Error> {
        let mut inside = Elements::new(&der)
            .expect(SEQUENCE)?
            .inside()
            .expect(SEQUENCE)?
            .inside();
        inside.optional(CONTEXT_0)?;
        let serial = inside.expect(INTEGER)?.content.to_vec();
        inside.expect(SEQUENCE)?;
        let issuer = inside.expect(SEQUENCE)?.whole.to_vec();
        Ok((issuer, serial))
    };
    read().ok()
}
