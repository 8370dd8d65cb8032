//! The CMS glue: the input is a signature behind a payload that stays the same.
#![no_main]

use std::sync::LazyLock;

use bundle_format::{Bundle, Limits, Trust};
use libfuzzer_sys::fuzz_target;

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let pem = include_bytes!("../../tests/golden/ca.pem");
    Trust::from_pem(pem, "ca.pem").expect("a good keyring")
});

fuzz_target!(|data: &[u8]| {
    let bytes = [&[0; 4096], data, &(data.len() as u64).to_be_bytes()].concat();
    let Ok(bundle) = Bundle::open(bytes, &Limits::default()) else { return };
    let _ = bundle.is_encrypted();
    let _ = bundle.manifest_unverified();
    let _ = bundle.verify(&TRUST);
});
