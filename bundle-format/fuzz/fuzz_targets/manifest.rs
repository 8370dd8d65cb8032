//! The manifest: what is read, written and read again has to be the same.
#![no_main]

use bundle_format::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::parse(data) else { return };
    let mut again = Manifest::parse(&manifest.to_bytes()).expect("what was written can be read");
    // Writing says what was only assumed.
    again.bundle.format_assumed = manifest.bundle.format_assumed;
    assert_eq!(again, manifest);
});
