//! A key in memory that behaves like one that is not given away.

use bundle_format::cms::{HeldKind, HolderError, KeyHolder, OaepHash, RsaPadding, Secret};
use openssl::bn::BigNumContext;
use openssl::derive::Deriver;
use openssl::ec::{EcKey, EcPoint};
use openssl::encrypt::Decrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Padding;

pub struct Held(pub PKey<Private>);

impl KeyHolder for Held {
    fn kind(&self) -> HeldKind {
        match self.0.id() {
            Id::RSA => HeldKind::Rsa,
            _ => HeldKind::Ec,
        }
    }

    fn decrypt(
        &self,
        padding: &RsaPadding,
        encrypted: &[u8],
    ) -> Result<Option<Secret>, HolderError> {
        let mut decrypter = Decrypter::new(&self.0)?;
        match padding {
            RsaPadding::Pkcs1 => decrypter.set_rsa_padding(Padding::PKCS1)?,
            RsaPadding::Oaep { hash, mask, label } => {
                decrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
                decrypter.set_rsa_oaep_md(digest(*hash))?;
                decrypter.set_rsa_mgf1_md(digest(*mask))?;
                if !label.is_empty() {
                    decrypter.set_rsa_oaep_label(label)?;
                }
            }
        }
        let mut opened = vec![0; self.0.size()];
        let Ok(len) = decrypter.decrypt(encrypted, &mut opened) else {
            return Ok(None);
        };
        opened.truncate(len);
        Ok(Some(opened.into()))
    }

    fn agree(&self, point: &[u8]) -> Result<Option<Secret>, HolderError> {
        let own = self.0.ec_key()?;
        let group = own.group();
        let mut context = BigNumContext::new()?;
        let Ok(point) = EcPoint::from_bytes(group, point, &mut context) else {
            return Ok(None);
        };
        let peer = PKey::from_ec_key(EcKey::from_public_key(group, &point)?)?;
        let mut deriver = Deriver::new(&self.0)?;
        deriver.set_peer(&peer)?;
        Ok(Some(deriver.derive_to_vec()?.into()))
    }
}

fn digest(hash: OaepHash) -> MessageDigest {
    match hash {
        OaepHash::Sha1 => MessageDigest::sha1(),
        OaepHash::Sha256 => MessageDigest::sha256(),
        OaepHash::Sha384 => MessageDigest::sha384(),
        OaepHash::Sha512 => MessageDigest::sha512(),
    }
}
