//! A pack whose header is right as far as its digest goes, read chunk by chunk.
#![no_main]

use casync::chunk::DigestKind;
use casync::pack::{Pack, PackStore, RunRule};
use casync::store::Fetcher;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, u16, &[u8])| {
    let (count, index_len, rest) = input;
    let index = &rest[..rest.len().min(index_len.into())];
    let mut file = b"SLOTPCK1".to_vec();
    // The digest is made to fit: no fuzzer finds a SHA-256.
    file.extend_from_slice(DigestKind::Sha256.id_of(index).as_bytes());
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&u32::from(index_len).to_le_bytes());
    file.extend_from_slice(rest);
    let Ok(pack) = Pack::open(&file) else { return };
    let ids: Vec<_> = pack.index().chunks().iter().map(|chunk| chunk.id).collect();
    let rule = RunRule::default();
    let store = PackStore::new("pack", (&pack, &file), ids.into_iter(), &rule);
    let mut fetcher = Fetcher::new(pack.index().digest());
    for chunk in pack.index().chunks().iter().take(64) {
        // A chunk may be 128 MiB long by an index that is not signed; the memory is not ours to test.
        if chunk.len < 1 << 20 {
            let _ = fetcher.fetch(&[&store], chunk, Vec::new());
        }
    }
});
