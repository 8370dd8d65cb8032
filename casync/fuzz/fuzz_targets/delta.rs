//! A delta's directory, and its pieces against a base of noise and zstd frames.
#![no_main]

use casync::delta::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (directory, data) = input;
    fuzzing::read(directory, data);
});
