//! The payload of a plain bundle: one signature over all of it, so it is read in whole first.
//!
//! What was read then is pinned: digests of its pieces stay in memory, and every later read is
//! compared with them. So a file that changes between check and use (CVE-2020-25860) is found out
//! without any assumption about who may write to it.

use std::io;
use std::sync::mpsc;

use openssl::hash::{Hasher, MessageDigest};

use crate::digest::Digest;
use crate::payload_error::PayloadError;
use crate::read_at::{ReadAt, check_range};

/// Bytes of one piece; 32 bytes are kept for each, so 1 MiB for the largest plain bundle.
const PIECE: usize = 64 * 1024;

/// Pieces that are read ahead of the hashing.
const PIECES_AHEAD: usize = 16;

/// Digests of all pieces of a payload.
pub(crate) struct Pins(Vec<Digest>);

/// A payload of which every piece is compared with its pin on each read.
pub(crate) struct PinnedReader<R> {
    source: R,
    len: u64,
    pins: Pins,
}

impl Pins {
    /// Reads the first `len` bytes of `source` once; returns their digest by `algorithm`.
    ///
    /// One thread reads and pins, this one hashes: with two cores, the pins cost no time.
    pub(crate) fn take(
        source: &impl ReadAt,
        len: u64,
        algorithm: MessageDigest,
    ) -> io::Result<(Self, Vec<u8>)> {
        let mut hasher = Hasher::new(algorithm)?;
        let mut pins = Vec::new();
        let (sender, pieces) = mpsc::sync_channel::<io::Result<(Vec<u8>, Digest)>>(PIECES_AHEAD);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut offset = 0;
                while offset < len {
                    let mut piece = vec![0; piece_len(offset, len)];
                    let read = source.read_exact_at(&mut piece, offset);
                    offset += piece.len() as u64;
                    let pinned = read.map(|()| {
                        let pin = Digest::of(&piece);
                        (piece, pin)
                    });
                    let last = pinned.is_err();
                    // The receiver goes away only after an error.
                    if sender.send(pinned).is_err() || last {
                        break;
                    }
                }
            });
            for piece in pieces {
                let (piece, pin) = piece?;
                hasher.update(&piece)?;
                pins.push(pin);
            }
            Ok((Self(pins), hasher.finish()?.to_vec()))
        })
    }
}

impl<R: ReadAt> PinnedReader<R> {
    pub(crate) fn new(source: R, len: u64, pins: Pins) -> Self {
        Self { source, len, pins }
    }

    /// One whole piece.
    fn read_piece(&self, piece: &mut [u8], offset: u64) -> Result<(), PayloadError> {
        self.source
            .read_exact_at(piece, offset)
            .map_err(|error| PayloadError::from_io(offset, error))?;
        let pin = usize::try_from(offset / PIECE as u64)
            .ok()
            .and_then(|index| self.pins.0.get(index));
        (pin == Some(&Digest::of(piece)))
            .then_some(())
            .ok_or(PayloadError::Changed { offset })
    }
}

impl<R: ReadAt> ReadAt for PinnedReader<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(offset, buf.len(), self.len)?;
        let mut buffer = vec![0; PIECE];
        let mut filled = 0;
        while filled < buf.len() {
            let position = offset + filled as u64;
            let inside = usize::try_from(position % PIECE as u64).unwrap_or(0);
            let piece = piece_at(&mut buffer, position - inside as u64, self.len);
            self.read_piece(piece, position - inside as u64)?;
            let len = (piece.len() - inside).min(buf.len() - filled);
            buf[filled..filled + len].copy_from_slice(&piece[inside..inside + len]);
            filled += len;
        }
        Ok(())
    }
}

/// As much of `buffer` as the piece at `offset` has bytes.
fn piece_at(buffer: &mut [u8], offset: u64, len: u64) -> &mut [u8] {
    &mut buffer[..piece_len(offset, len)]
}

/// Bytes of the piece at `offset`: the last one may be shorter.
fn piece_len(offset: u64, len: u64) -> usize {
    usize::try_from(len - offset).unwrap_or(PIECE).min(PIECE)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A source whose content can be swapped, as a file on a stick can be.
    struct Swapped(Mutex<Vec<u8>>);

    impl ReadAt for Swapped {
        fn len(&self) -> u64 {
            self.0.lock().unwrap().len() as u64
        }

        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.lock().unwrap().read_exact_at(buf, offset)
        }
    }

    #[test]
    fn what_changes_after_the_check_is_found_out() {
        let bytes: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let len = bytes.len() as u64;
        let source = Swapped(Mutex::new(bytes.clone()));
        let (pins, digest) = Pins::take(&source, len, MessageDigest::sha256()).unwrap();
        assert_eq!(digest, Digest::of(&bytes).as_bytes());
        let reader = PinnedReader::new(source, len, pins);
        for (offset, count) in [
            (0, 10),
            (65_530, 20),
            (65_536, 65_536),
            (799_999, 1),
            (0, 800_000),
        ] {
            let mut buf = vec![0; count];
            reader.read_exact_at(&mut buf, offset as u64).unwrap();
            assert_eq!(buf, bytes[offset..offset + count]);
        }

        reader.source.0.lock().unwrap()[70_000] ^= 1;
        let mut buf = [0; 10];
        reader.read_exact_at(&mut buf, 0).unwrap();
        let error = reader.read_exact_at(&mut buf, 65_536).unwrap_err();
        assert!(error.to_string().contains("byte offset 65536"), "{error}");
        assert!(
            reader.read_exact_at(&mut buf, 799_995).is_err(),
            "beyond the end"
        );
    }
}
