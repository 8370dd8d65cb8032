//! Keys and certificates that `system.conf` names: where they are, and how they would be reached.

use std::path::Path;

use token_key::{PinFrom, Plan, TokenAccess, Uri};

use super::check_config::{Review, Weight};
use crate::config::SystemConf;

/// Tokens are not asked: they lock themselves after a few wrong PINs.
pub(super) fn review(review: &mut Review, conf: &SystemConf, token: &TokenAccess) {
    let (encryption, streaming) = (&conf.encryption, &conf.streaming);
    let all = [
        ("[encryption] key", encryption.key.as_deref()),
        ("[encryption] cert", encryption.cert.as_deref()),
        (
            "[streaming] tls-key",
            streaming.tls_key.as_deref().map(Path::new),
        ),
        (
            "[streaming] tls-cert",
            streaming.tls_cert.as_deref().map(Path::new),
        ),
        (
            "[streaming] tls-ca",
            streaming.tls_ca.as_deref().map(Path::new),
        ),
    ];
    for (about, place) in all {
        let Some(place) = place else { continue };
        match Uri::of(place) {
            Err(error) => review.add(
                Weight::Wrong,
                about,
                format!("{:#}", anyhow::Error::from(error)),
            ),
            Ok(Some(uri)) => on_token(review, about, (&uri, &token.plan(&uri))),
            Ok(None) if !place.exists() => {
                let what = format!("{} is not there", place.display());
                review.add(Weight::Wrong, about, what);
            }
            Ok(None) => {}
        }
    }
    let (cert, key) = (&streaming.tls_cert, &streaming.tls_key);
    if cert.is_some() != key.is_some() {
        let what = "tls-cert= and tls-key= need each other: one of them is missing";
        review.add(Weight::Wrong, "[streaming]", what);
    }
}

fn on_token(review: &mut Review, about: &str, (uri, plan): (&Uri, &Plan)) {
    let module = plan.module.display();
    let pin = match &plan.pin {
        PinFrom::Uri => "the PIN in this file".to_owned(),
        PinFrom::File(path) => format!("the PIN in {}", path.display()),
        PinFrom::Environment => "the PIN in RAUC_PKCS11_PIN".to_owned(),
        PinFrom::Nowhere => "no PIN".to_owned(),
    };
    let what =
        format!("on a token: {uri}, by the module {module}, with {pin}; the token was not asked");
    review.add(Weight::Note, about, what);
    if plan.module.is_absolute() && !plan.module.exists() {
        review.add(Weight::Wrong, about, format!("{module} is not there"));
    }
    match &plan.pin {
        PinFrom::File(path) if !path.exists() => {
            let what = format!("{} is not there", path.display());
            review.add(Weight::Wrong, about, what);
        }
        // Certificates can be read by everybody.
        PinFrom::Nowhere if about.ends_with("key") => {
            let what = "no PIN is known: name a file with it by pin-source= in the URI, or set RAUC_PKCS11_PIN \
                        for the service";
            review.add(Weight::Risky, about, what);
        }
        _ => {}
    }
}
