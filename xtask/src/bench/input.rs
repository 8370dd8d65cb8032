//! The image that the programs work on: the same bytes on every machine.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;

/// Bytes between two changes of kind.
const PIECE: usize = 64 * 1024;

/// Writes an image of `megabytes` MiB: in turn a piece that does not compress (as packed files
/// do not), one that compresses to a third (programs, texts), and, every eighth, zeros.
///
/// Images of different `release`s have no piece in common.
///
/// # Errors
/// The file cannot be written.
pub fn write_image(path: &Path, megabytes: u64, release: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, fs_err::File::create(path)?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ release;
    let pieces = megabytes * 1024 * 1024 / PIECE as u64;
    let mut piece = vec![0_u8; PIECE];
    for number in 0..pieces {
        if number % 8 == release % 8 {
            piece.fill(0);
        } else {
            // A third of the words are new, the rest repeat: about what programs compress to.
            let fresh = if number % 2 == 0 { 1 } else { 3 };
            for (index, word) in piece.chunks_exact_mut(8).enumerate() {
                if index % fresh == 0 {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                }
                word.copy_from_slice(&state.to_le_bytes());
            }
        }
        file.write_all(&piece)?;
    }
    file.flush()?;
    Ok(())
}
