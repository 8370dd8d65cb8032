//! The block hash index: eight bytes that say how long the image is, then the index file.
#![no_main]

use bundle_format::block_hash_index::BlockHashIndex;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((size, index)) = data.split_first_chunk() else { return };
    let (size, len) = (u64::from_be_bytes(*size), index.len() as u64);
    if let Ok(read) = BlockHashIndex::read(index, len, size) {
        assert_eq!(read.to_bytes(), index);
        assert_eq!(read.digests().len() as u64 * 4096, size);
    }
    // A length that promises more than there is.
    let promised = size / 4096 * 32;
    let _ = BlockHashIndex::read(index, promised, size);
});
