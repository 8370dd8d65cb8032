//! `fw_env.config` and libubootenv's YAML.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(found) = uboot_env::config::parse("fuzz", data) {
        assert!(!found.is_empty());
        for env in &found {
            assert!(env.size <= uboot_env::limits::MAX_ENV_SIZE);
        }
        let _ = uboot_env::config::select("fuzz", found, Some("name"));
    }
});
