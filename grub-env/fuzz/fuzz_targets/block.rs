//! An environment block: what is read, written and read again has to be the same.
#![no_main]

use grub_env::Block;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut block) = Block::parse(data) else { return };
    let _ = (block.stray_text(), block.repeated_names(), block.fits_first_sector());
    let _ = block.set("fuzz", "a\\b\nc");
    let Ok(bytes) = block.to_bytes(block.needed_len().max(data.len())) else { return };
    let again = Block::parse(&bytes).expect("what we write is a block");
    assert!(again.iter().eq(block.iter()));
});
