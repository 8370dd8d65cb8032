//! An index: what is read, written and read again has to be the same.
#![no_main]

use casync::index::Index;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(index) = Index::read_from(data) else { return };
    let mut bytes = Vec::new();
    index.write_to(&mut bytes).expect("what was read can be written");
    assert_eq!(bytes, data);
});
