//! zstd frames taken apart and put together: any, and those that zstd makes of the input.
#![no_main]

use casync::delta::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (bytes, content) = input;
    fuzzing::parts(bytes, content);
});
