//! Entries of firmware and of systemd-boot: what is read, written and read again is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slotmgr::boot::efi::option::LoadOption;
use slotmgr::boot::systemd_boot::entry::{Entry, FileName};

fuzz_target!(|data: &[u8]| {
    if let Some(option) = LoadOption::parse(data) {
        assert!(option.description.encode_utf16().count() * 2 + 8 <= data.len());
    }
    if let Ok(entry) = Entry::parse(data.to_vec()) {
        let same = entry.with_version(entry.version);
        assert_eq!(same.as_deref(), Ok(data), "the same version is the same entry");
        let Ok(next) = entry.with_version(entry.version + 1) else { return };
        assert_eq!(next.len(), data.len());
        assert_eq!(Entry::parse(next).map(|next| next.version), Ok(entry.version + 1));
    }
    if let Some(name) = std::str::from_utf8(data).ok().and_then(FileName::parse) {
        assert_eq!(FileName::parse(&name.to_string()), Some(name));
    }
});
