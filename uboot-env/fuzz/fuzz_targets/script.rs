//! Scripts of `fw_setenv -s`, in both dialects.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uboot_env::script::{Dialect, parse};

fuzz_target!(|data: &[u8]| {
    for dialect in [Dialect::Both, Dialect::Libubootenv] {
        let _ = parse(data, dialect);
    }
});
