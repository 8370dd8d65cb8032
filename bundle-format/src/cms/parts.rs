//! A signature taken apart, for those who write one anew. Nothing here decides about trust.

use super::asn1::{CONTEXT_0, CONTEXT_1, Element, Elements, INTEGER, SEQUENCE, SET};
use super::structure::{CmsKind, StructureError, kind_of, parse};

/// The parts of a SignedData, each element whole and in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedParts {
    /// INTEGER: the version of the structure.
    pub version: Vec<u8>,
    /// The algorithms that the content is hashed with.
    pub digests: Vec<Vec<u8>>,
    /// What is signed, attached or not.
    pub content: Vec<u8>,
    /// Certificates of signers and of those who vouch for them.
    pub certificates: Vec<Vec<u8>>,
    /// Revocation lists.
    pub revocations: Vec<Vec<u8>>,
    /// One SignerInfo for each signer.
    pub signers: Vec<Vec<u8>>,
}

impl SignedParts {
    /// Takes a signature apart; BER is understood as well.
    ///
    /// # Errors
    /// It is no signature, or an encrypted one.
    pub fn parse(cms: &[u8]) -> Result<Self, StructureError> {
        let (_, der) = parse(cms, 0)?;
        if kind_of(&der)? != CmsKind::Signed {
            return Err(StructureError::Kind);
        }
        let mut outer = Elements::new(&der).expect(SEQUENCE)?.inside();
        outer.next()?;
        let mut signed = outer.expect(CONTEXT_0)?.inside().expect(SEQUENCE)?.inside();
        Ok(Self {
            version: signed.expect(INTEGER)?.whole.to_vec(),
            digests: elements(Some(signed.expect(SET)?))?,
            content: signed.expect(SEQUENCE)?.whole.to_vec(),
            certificates: elements(signed.optional(CONTEXT_0)?)?,
            revocations: elements(signed.optional(CONTEXT_1)?)?,
            signers: elements(Some(signed.expect(SET)?))?,
        })
    }

    /// How each signer names its certificate, in the order of the signers.
    ///
    /// # Errors
    /// A signer is damaged.
    pub fn signer_ids(&self) -> Result<Vec<Vec<u8>>, StructureError> {
        let id = |signer: &Vec<u8>| {
            let mut inside = Elements::new(signer).expect(SEQUENCE)?.inside();
            inside.expect(INTEGER)?;
            Ok(inside.next()?.whole.to_vec())
        };
        self.signers.iter().map(id).collect()
    }
}

fn elements(set: Option<Element<'_>>) -> Result<Vec<Vec<u8>>, StructureError> {
    let Some(set) = set else {
        return Ok(Vec::new());
    };
    let all = set.inside().all()?;
    Ok(all.iter().map(|element| element.whole.to_vec()).collect())
}
