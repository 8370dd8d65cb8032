//! The payload of a plain bundle: one signature over all of it, so it is read in whole first.
//!
//! What was read then is pinned: the state of the hash at the end of each piece stays in memory, and
//! every later read of a piece has to lead from one state to the next. So a file that changes
//! between check and use (CVE-2020-25860) is found out without any assumption about who may write
//! to it, and the pins cost no second hash of the payload.

use std::io;
use std::ops::Range;
use std::slice;
use std::sync::mpsc;

use openssl::hash::{Hasher, MessageDigest};

use crate::payload_error::PayloadError;
use crate::read_at::{ReadAt, check_range, widened};

/// Bytes of one piece. OpenSSL's state of a hash takes some 400 bytes, so 13 MiB are kept for the
/// largest plain bundle.
const PIECE: usize = 64 * 1024;

/// Bytes that are read at a time while the pins are taken.
const READ: usize = 16 * PIECE;

/// Buffers of that size: one is read into while the other is hashed.
const BUFFERS: usize = 2;

/// The state of the payload's hash before its first piece and after each.
pub(crate) struct Pins(Vec<Hasher>);

/// A payload of which every piece is compared with its pins on each read.
pub(crate) struct PinnedReader<R> {
    source: R,
    len: u64,
    pins: Pins,
}

impl Pins {
    /// Reads the first `len` bytes of `source` once; returns their digest by `algorithm`.
    ///
    /// One thread reads, this one hashes.
    pub(crate) fn take(
        source: &impl ReadAt,
        len: u64,
        algorithm: MessageDigest,
    ) -> io::Result<(Self, Vec<u8>)> {
        source.expect(slice::from_ref(&(0..len)));
        let mut hasher = Hasher::new(algorithm)?;
        let mut pins = vec![hasher.clone()];
        let (give_back, empty) = mpsc::channel::<Vec<u8>>();
        let (sender, filled) = mpsc::channel::<io::Result<Vec<u8>>>();
        for _ in 0..BUFFERS {
            // The receiver lives as long as this function.
            let _ = give_back.send(vec![0; read_len(0, len)]);
        }
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut offset = 0;
                while offset < len {
                    // The other side is gone after an error only.
                    let Ok(mut buffer) = empty.recv() else { break };
                    buffer.truncate(read_len(offset, len));
                    let read = source.read_exact_at(&mut buffer, offset);
                    offset += buffer.len() as u64;
                    let failed = read.is_err();
                    if sender.send(read.map(|()| buffer)).is_err() || failed {
                        break;
                    }
                }
            });
            // Gone with this closure, so that the thread does not wait for ever after an error.
            let give_back = give_back;
            for buffer in filled {
                let buffer = buffer?;
                for piece in buffer.chunks(PIECE) {
                    hasher.update(piece)?;
                    pins.push(hasher.clone());
                }
                // After the last one, nobody waits for it.
                let _ = give_back.send(buffer);
            }
            Ok((Self(pins), hasher.finish()?.to_vec()))
        })
    }

    /// Whether `bytes` are what the piece with this number was.
    fn holds(&self, piece: u64, bytes: &[u8]) -> io::Result<bool> {
        let pins = usize::try_from(piece)
            .ok()
            .and_then(|piece| self.0.get(piece..=piece.saturating_add(1)));
        let Some([before, after]) = pins else {
            return Ok(false);
        };
        let (mut found, mut wanted) = (before.clone(), after.clone());
        found.update(bytes)?;
        Ok(*found.finish()? == *wanted.finish()?)
    }
}

impl<R: ReadAt> PinnedReader<R> {
    pub(crate) fn new(source: R, len: u64, pins: Pins) -> Self {
        Self { source, len, pins }
    }

    /// One whole piece.
    fn read_piece(&self, piece: &mut [u8], offset: u64) -> Result<(), PayloadError> {
        let failed = |error| PayloadError::from_io(offset, error);
        self.source.read_exact_at(piece, offset).map_err(failed)?;
        self.pins
            .holds(offset / PIECE as u64, piece)
            .map_err(failed)?
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

    fn expect(&self, ranges: &[Range<u64>]) {
        let pieces = widened(ranges, PIECE as u64);
        let inside = |range: &Range<u64>| range.start..range.end.min(self.len);
        let pieces: Vec<_> = pieces.iter().map(inside).collect();
        self.source.expect(&pieces);
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

/// Bytes to read at `offset` while the pins are taken.
fn read_len(offset: u64, len: u64) -> usize {
    usize::try_from(len - offset).unwrap_or(READ).min(READ)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A source whose content can be swapped, as a file on a stick can be.
    struct Swapped(Mutex<Vec<u8>>);

    impl ReadAt for Swapped {
        fn expect(&self, _: &[std::ops::Range<u64>]) {}

        fn len(&self) -> u64 {
            self.0.lock().unwrap().len() as u64
        }

        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.lock().unwrap().read_exact_at(buf, offset)
        }
    }

    /// A source that is far away: it wants to know what will be read.
    struct Far(Vec<u8>, Mutex<Vec<Range<u64>>>);

    impl ReadAt for Far {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.0.read_exact_at(buf, offset)
        }

        fn expect(&self, ranges: &[Range<u64>]) {
            self.1.lock().unwrap().extend_from_slice(ranges);
        }
    }

    #[test]
    fn a_source_is_told_what_will_be_read() {
        let source = Far(vec![7; 200_000], Mutex::default());
        let (pins, _) = Pins::take(&source, 200_000, MessageDigest::sha256()).unwrap();
        let reader = PinnedReader::new(source, 200_000, pins);
        reader.expect(&[10..20, 140_000..199_999]);
        let told = reader.source.1.lock().unwrap().clone();
        assert_eq!(told, [0..200_000, 0..65_536, 131_072..200_000]);
    }

    #[test]
    fn a_source_that_cannot_be_read_ends_the_taking() {
        let source = Swapped(Mutex::new(vec![7; 3 * READ]));
        let len = source.len() + 1;
        assert!(Pins::take(&source, len, MessageDigest::sha256()).is_err());
    }

    #[test]
    fn what_changes_after_the_check_is_found_out() {
        for algorithm in [MessageDigest::sha256(), MessageDigest::sha512()] {
            changes_are_found_out(algorithm);
        }
    }

    fn changes_are_found_out(algorithm: MessageDigest) {
        let bytes: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let len = bytes.len() as u64;
        let source = Swapped(Mutex::new(bytes.clone()));
        let (pins, digest) = Pins::take(&source, len, algorithm).unwrap();
        let wanted = openssl::hash::hash(algorithm, &bytes).unwrap();
        assert_eq!(digest, wanted.to_vec());
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
        reader.read_exact_at(&mut buf, 131_072).unwrap();
        // The last piece is shorter than the others.
        reader.source.0.lock().unwrap()[799_999] ^= 1;
        let error = reader.read_exact_at(&mut buf, 799_990).unwrap_err();
        assert!(error.to_string().contains("byte offset 786432"), "{error}");
        assert!(
            reader.read_exact_at(&mut buf, 799_995).is_err(),
            "beyond the end"
        );
    }
}
