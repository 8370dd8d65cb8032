//! An archive of a directory tree, with and without reading the files in it.
#![no_main]

use casync::catar::Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, archive) = input;
    let mut decoder = Decoder::new(archive);
    let mut buffer = vec![0; usize::from(piece)];
    let mut taken = 0;
    while let Ok(Some(_)) = decoder.next_event() {
        // A buffer of no bytes leaves the content to be skipped.
        while let Ok(count @ 1..) = decoder.read(&mut buffer) {
            taken += count;
        }
    }
    assert!(taken <= archive.len(), "more content than there are bytes");
});
