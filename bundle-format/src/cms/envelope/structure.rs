//! What an envelope consists of (RFC 5652, section 6), as OpenSSL has written it anew.

use super::super::asn1::{
    Asn1Error, CONTEXT_0, CONTEXT_0_PRIMITIVE, CONTEXT_1, Element, Elements, INTEGER, OCTET_STRING,
    OID, SEQUENCE, SET,
};
use super::super::structure::CertificateId;

/// The parts of an EnvelopedData that matter here.
pub(in crate::cms) struct Enveloped<'d> {
    pub(in crate::cms) recipients: Vec<Sealed<'d>>,
    /// AlgorithmIdentifier of the cipher.
    pub(super) cipher: Element<'d>,
    pub(super) content: &'d [u8],
}

/// The key of the content, sealed for one recipient.
pub(in crate::cms) struct Sealed<'d> {
    /// RecipientIdentifier, or KeyAgreeRecipientIdentifier.
    pub(in crate::cms) who: Element<'d>,
    /// AlgorithmIdentifier of the way it is sealed.
    pub(in crate::cms) algorithm: Element<'d>,
    /// How the two sides agree on a key; `None` for RSA, where nobody has to agree.
    pub(super) agreement: Option<Agreement<'d>>,
    pub(super) key: &'d [u8],
}

/// The sender's half of an agreement.
#[derive(Clone, Copy)]
pub(super) struct Agreement<'d> {
    /// OriginatorIdentifierOrKey.
    pub(super) originator: Element<'d>,
    pub(super) material: Option<&'d [u8]>,
}

impl<'d> Enveloped<'d> {
    /// ```text
    /// ContentInfo { OID, [0] EnvelopedData { INTEGER version, [0] originator, SET recipients,
    ///   { OID type, { cipher }, [0] content }, … } }
    /// ```
    pub(in crate::cms) fn from_der(der: &'d [u8]) -> Result<Self, Asn1Error> {
        let mut content_info = Elements::new(der).expect(SEQUENCE)?.inside();
        content_info.expect(OID)?;
        let mut data = content_info
            .expect(CONTEXT_0)?
            .inside()
            .expect(SEQUENCE)?
            .inside();
        data.expect(INTEGER)?;
        data.optional(CONTEXT_0)?;
        let mut recipients = Vec::new();
        for info in data.expect(SET)?.inside().all()? {
            match info.tag {
                SEQUENCE => recipients.push(transported(&info)?),
                CONTEXT_1 => recipients.extend(agreed(&info)?),
                // Pass phrases and shared keys: nobody with a certificate.
                _ => {}
            }
        }
        let mut encrypted = data.expect(SEQUENCE)?.inside();
        encrypted.expect(OID)?;
        Ok(Self {
            recipients,
            cipher: encrypted.expect(SEQUENCE)?,
            content: encrypted.expect(CONTEXT_0_PRIMITIVE)?.content,
        })
    }
}

/// RSA: version, recipient, algorithm, key.
fn transported<'d>(info: &Element<'d>) -> Result<Sealed<'d>, Asn1Error> {
    let mut parts = info.inside();
    parts.expect(INTEGER)?;
    Ok(Sealed {
        who: parts.next()?,
        algorithm: parts.expect(SEQUENCE)?,
        agreement: None,
        key: parts.expect(OCTET_STRING)?.content,
    })
}

/// Elliptic curves: version, originator, key material, algorithm, and a list of recipients.
fn agreed<'d>(info: &Element<'d>) -> Result<Vec<Sealed<'d>>, Asn1Error> {
    let mut parts = info.inside();
    parts.expect(INTEGER)?;
    let originator = parts.expect(CONTEXT_0)?.inside().next()?;
    let material = match parts.optional(CONTEXT_1)? {
        Some(explicit) => Some(explicit.inside().expect(OCTET_STRING)?.content),
        None => None,
    };
    let agreement = Agreement {
        originator,
        material,
    };
    let algorithm = parts.expect(SEQUENCE)?;
    let keys = parts.expect(SEQUENCE)?.inside().all()?;
    let sealed = keys.iter().map(|key| {
        let mut parts = key.inside();
        Ok(Sealed {
            who: parts.next()?,
            algorithm,
            agreement: Some(agreement),
            key: parts.expect(OCTET_STRING)?.content,
        })
    });
    sealed.collect()
}

impl Sealed<'_> {
    /// The certificate that is named.
    pub(super) fn certificate(&self) -> Result<CertificateId, Asn1Error> {
        match (self.who.tag, &self.agreement) {
            // `[0] { OCTET STRING key id, … }`
            (CONTEXT_0, Some(_)) => {
                let id = self.who.inside().expect(OCTET_STRING)?;
                Ok(CertificateId::KeyId(id.content.to_vec()))
            }
            (CONTEXT_0, None) => Err(Asn1Error),
            _ => CertificateId::from_element(self.who),
        }
    }
}
