//! The whole way of a bundle: trailer, signature, manifest, and (plain format) payload.
#![no_main]

use std::sync::LazyLock;

use bundle_format::{Bundle, Limits, Trust};
use libfuzzer_sys::fuzz_target;

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let pem = include_bytes!("../../tests/golden/ca.pem");
    Trust::from_pem(pem, "ca.pem").expect("a good keyring")
});

fuzz_target!(|data: &[u8]| {
    let Ok(bundle) = Bundle::open(data, &Limits::default()) else { return };
    let _ = bundle.manifest_unverified();
    if let Ok(verified) = bundle.verify(&TRUST) {
        let _ = verified.verify_payload(&mut |_, _| {});
    }
});
