//! A stored chunk of any format, and a length of the index that does not fit it.
#![no_main]

use casync::codec::{Decoder, StoredForm};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (len, stored) = input;
    let mut out = vec![0; usize::from(len)];
    let _ = Decoder::new().decode(StoredForm::Packed, stored, &mut out);
});
