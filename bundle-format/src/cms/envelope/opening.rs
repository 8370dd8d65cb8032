//! Opening an envelope with a key that its holder does not give away.
//!
//! OpenSSL's own way needs the key in memory. What it does with it is done here step by step, and
//! only the one step that needs the key is the holder's.

use openssl::cipher_ctx::CipherCtx;
use openssl::rand::rand_bytes;
use openssl::x509::X509;
use zeroize::Zeroizing;

use super::super::asn1::{Asn1Error, Element};
use super::super::recipients::algorithm_name;
use super::super::structure::{CmsKind, StructureError, kind};
use super::algorithm::{ContentCipher, content_cipher, rsa_padding, wrapping};
use super::holder::{HeldKind, KeyHolder, RsaPadding, Secret};
use super::structure::{Agreement, Enveloped, Sealed};
use super::{DecryptError, agreement};
use crate::limits::MAX_RECIPIENTS_TRIED;

/// Opens the envelope `der`, in OpenSSL's own DER. Without a certificate, everything that is sealed for
/// a key of the same kind is tried.
pub(super) fn open(
    der: &[u8],
    offset: u64,
    holder: &dyn KeyHolder,
    certificate: Option<&X509>,
) -> Result<Vec<u8>, DecryptError> {
    let enveloped = Enveloped::from_der(der).map_err(StructureError::from)?;
    let cipher = content_cipher(&enveloped.cipher).map_err(StructureError::from)?;
    let cipher = cipher.ok_or_else(|| DecryptError::Cipher(name(&enveloped.cipher)))?;
    let fitting = fitting(&enveloped, holder.kind(), certificate).map_err(StructureError::from)?;
    if fitting.len() > MAX_RECIPIENTS_TRIED {
        let found = fitting.len();
        return Err(DecryptError::ManyRecipients { found });
    }
    let mut not_known = None;
    for sealed in fitting {
        match content_key(sealed, holder, cipher.cipher.key_length())? {
            Attempt::Key(key) => {
                // Another key's, or damaged: noise.
                let opened = content(&cipher, &key, enveloped.content);
                let opened = opened.filter(|it| matches!(kind(it, offset), Ok(CmsKind::Signed)));
                if let Some(opened) = opened {
                    return Ok(opened);
                }
            }
            Attempt::NotMeant => {}
            Attempt::NotKnown => not_known = Some(name(&sealed.algorithm)),
        }
    }
    Err(not_known.map_or(DecryptError::WrongKey(None), DecryptError::Way))
}

/// What may have been sealed for this key.
fn fitting<'e, 'd>(
    enveloped: &'e Enveloped<'d>,
    kind: HeldKind,
    certificate: Option<&X509>,
) -> Result<Vec<&'e Sealed<'d>>, Asn1Error> {
    let mut fitting = Vec::new();
    for sealed in &enveloped.recipients {
        let of_kind = match sealed.agreement {
            None => HeldKind::Rsa,
            Some(_) => HeldKind::Ec,
        };
        let named = match certificate {
            Some(certificate) => sealed.certificate()?.matches(certificate),
            None => true,
        };
        if of_kind == kind && named {
            fitting.push(sealed);
        }
    }
    Ok(fitting)
}

/// What became of one sealed key.
enum Attempt {
    Key(Secret),
    NotMeant,
    /// Sealed in a way that is not known here.
    NotKnown,
}

fn content_key(
    sealed: &Sealed<'_>,
    holder: &dyn KeyHolder,
    len: usize,
) -> Result<Attempt, DecryptError> {
    match &sealed.agreement {
        None => transported(sealed, holder, len),
        Some(agreement) => agreed(sealed, agreement, holder, len),
    }
}

fn transported(
    sealed: &Sealed<'_>,
    holder: &dyn KeyHolder,
    len: usize,
) -> Result<Attempt, DecryptError> {
    let padding = rsa_padding(&sealed.algorithm).map_err(StructureError::from)?;
    let Some(padding) = padding else {
        return Ok(Attempt::NotKnown);
    };
    let key = holder
        .decrypt(&padding, sealed.key)
        .map_err(DecryptError::Holder)?
        .filter(|key| key.len() == len);
    match (key, padding) {
        (Some(key), _) => Ok(Attempt::Key(key)),
        (None, RsaPadding::Oaep { .. }) => Ok(Attempt::NotMeant),
        // Whoever learns whether the padding was right can have anything decrypted by asking often
        // enough (Bleichenbacher). So it goes on with a random key, and fails later.
        (None, RsaPadding::Pkcs1) => {
            let mut random = Zeroizing::new(vec![0; len]);
            rand_bytes(&mut random)?;
            Ok(Attempt::Key(random))
        }
    }
}

fn agreed(
    sealed: &Sealed<'_>,
    half: &Agreement<'_>,
    holder: &dyn KeyHolder,
    len: usize,
) -> Result<Attempt, DecryptError> {
    let wrapping = wrapping(&sealed.algorithm).map_err(StructureError::from)?;
    let point = agreement::point(&half.originator).map_err(StructureError::from)?;
    let (Some(wrapping), Some(point)) = (wrapping, point) else {
        return Ok(Attempt::NotKnown);
    };
    let secret = holder.agree(point).map_err(DecryptError::Holder)?;
    let key = secret
        .and_then(|secret| agreement::unwrap(&wrapping, half.material, &secret, sealed.key).ok());
    Ok(match key.filter(|key| key.len() == len) {
        Some(key) => Attempt::Key(key),
        None => Attempt::NotMeant,
    })
}

/// `None` for noise.
fn content(cipher: &ContentCipher<'_>, key: &[u8], encrypted: &[u8]) -> Option<Vec<u8>> {
    let mut opened = Vec::new();
    let mut context = CipherCtx::new().ok()?;
    let started = context.decrypt_init(Some(cipher.cipher), Some(key), Some(cipher.iv));
    started
        .and_then(|()| context.cipher_update_vec(encrypted, &mut opened))
        .and_then(|_| context.cipher_final_vec(&mut opened))
        .is_ok()
        .then_some(opened)
}

/// Of an AlgorithmIdentifier.
fn name(algorithm: &Element<'_>) -> String {
    algorithm_name(algorithm).unwrap_or_else(|_| "unknown".to_owned())
}
