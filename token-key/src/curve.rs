//! Points of others: on the curve of our key, or not at all.

use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcPoint, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::nid::Nid;

/// DER of the object identifiers of P-256, P-384 and P-521, as they stand in `CKA_EC_PARAMS`.
const CURVES: [(&[u8], Nid); 3] = [
    (
        b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
        Nid::X9_62_PRIME256V1,
    ),
    (b"\x06\x05\x2b\x81\x04\x00\x22", Nid::SECP384R1),
    (b"\x06\x05\x2b\x81\x04\x00\x23", Nid::SECP521R1),
];

/// First byte of a point that is not compressed.
const UNCOMPRESSED: u8 = 4;

/// `point` with both coordinates; `None` if it is none of the key's curve: the answer to such a question
/// can give the key away. Of curves that are not known here, the token has to make sure.
pub(crate) fn checked(parameters: &[u8], point: &[u8]) -> Result<Option<Vec<u8>>, ErrorStack> {
    let known = CURVES.iter().find(|(der, _)| *der == parameters);
    let Some((_, nid)) = known else {
        let whole = matches!(point, [UNCOMPRESSED, xy @ ..] if !xy.is_empty() && xy.len().is_multiple_of(2));
        return Ok(whole.then(|| point.to_vec()));
    };
    let group = EcGroup::from_curve_name(*nid)?;
    let mut context = BigNumContext::new()?;
    let Ok(parsed) = EcPoint::from_bytes(&group, point, &mut context) else {
        return Ok(None);
    };
    // OpenSSL reads the single byte 0 as the point at infinity.
    if parsed.is_infinity(&group) || !parsed.is_on_curve(&group, &mut context)? {
        return Ok(None);
    }
    parsed
        .to_bytes(&group, PointConversionForm::UNCOMPRESSED, &mut context)
        .map(Some)
}

#[cfg(test)]
mod tests {
    use openssl::ec::EcKey;

    use super::*;

    #[test]
    fn points_are_on_the_curve_and_whole() {
        for (parameters, nid) in CURVES {
            let group = EcGroup::from_curve_name(nid).unwrap();
            let key = EcKey::generate(&group).unwrap();
            let mut context = BigNumContext::new().unwrap();
            let mut bytes = |form| {
                key.public_key()
                    .to_bytes(&group, form, &mut context)
                    .unwrap()
            };
            let whole = bytes(PointConversionForm::UNCOMPRESSED);
            let short = bytes(PointConversionForm::COMPRESSED);
            let checked = |point: &[u8]| checked(parameters, point).unwrap();
            assert_eq!(checked(&whole).as_ref(), Some(&whole));
            assert_eq!(checked(&short).as_ref(), Some(&whole));
            let mut beside = whole.clone();
            *beside.last_mut().unwrap() ^= 1;
            for wrong in [
                &beside[..],
                &whole[1..],
                &whole[..whole.len() - 1],
                &[0],
                &[],
            ] {
                assert_eq!(checked(wrong), None, "{wrong:x?}");
            }
        }
        let unknown = |point: &[u8]| checked(b"\x06\x01\x00", point).unwrap();
        assert_eq!(unknown(&[4, 1, 2]), Some(vec![4, 1, 2]));
        for wrong in [&[4][..], &[4, 1], &[2, 1, 2], &[]] {
            assert_eq!(unknown(wrong), None, "{wrong:x?}");
        }
    }
}
