//! The encrypted payload of crypt bundles: AES-256-CBC in sectors of 4096 bytes.
//!
//! Each sector is encrypted on its own. Its initialisation vector is what Linux calls plain64: the
//! number of the sector, counted in units of 512 bytes (so 0, 8, 16, …), as a little-endian `u64`,
//! and eight zero bytes. There is no padding. The hash tree lies over the encrypted bytes, so
//! nothing is decrypted that was not checked.

use std::io;
use std::ops::Range;

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use openssl::error::ErrorStack;

use crate::limits::BLOCK_SIZE;
use crate::manifest::CryptKey;
use crate::payload_error::PayloadError;
use crate::read_at::{ReadAt, check_range, widened};

/// Bytes of one sector.
const SECTOR: usize = 4096;

/// Units in which the initialisation vector counts, in bytes.
const IV_UNIT: u64 = 512;

/// Block size of AES, in bytes: OpenSSL wants that much more room.
const AES_BLOCK: usize = 16;

/// Bytes that are read and decrypted at once.
const RUN: usize = 512 * 1024;

/// Whether sectors are encrypted or decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Encrypt,
    Decrypt,
}

/// Encrypts whole sectors in place; `offset` is where `data` starts in the payload.
///
/// # Errors
/// Lengths that are no multiple of the sector size; OpenSSL fails.
pub fn encrypt(key: &CryptKey, data: &mut [u8], offset: u64) -> io::Result<()> {
    convert(key, data, offset, Direction::Encrypt)
}

fn convert(key: &CryptKey, data: &mut [u8], offset: u64, direction: Direction) -> io::Result<()> {
    if !data.len().is_multiple_of(SECTOR) || !offset.is_multiple_of(BLOCK_SIZE) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not on a sector boundary",
        ));
    }
    let mut context = CipherCtx::new()?;
    let cipher = Some(Cipher::aes_256_cbc());
    match direction {
        Direction::Encrypt => context.encrypt_init(cipher, Some(&key.0), None)?,
        Direction::Decrypt => context.decrypt_init(cipher, Some(&key.0), None)?,
    }
    context.set_padding(false);
    let mut scratch = [0; SECTOR + AES_BLOCK];
    for (number, sector) in (offset / IV_UNIT..)
        .step_by(SECTOR / 512)
        .zip(data.chunks_mut(SECTOR))
    {
        convert_sector(&mut context, direction, number, sector, &mut scratch)?;
    }
    Ok(())
}

/// Without padding, whole sectors come out at once and nothing is left for a final call.
fn convert_sector(
    context: &mut CipherCtx,
    direction: Direction,
    number: u64,
    sector: &mut [u8],
    scratch: &mut [u8; SECTOR + AES_BLOCK],
) -> Result<(), ErrorStack> {
    let mut iv = [0; 16];
    iv[..8].copy_from_slice(&number.to_le_bytes());
    match direction {
        Direction::Encrypt => context.encrypt_init(None, None, Some(&iv))?,
        Direction::Decrypt => context.decrypt_init(None, None, Some(&iv))?,
    }
    let len = context.cipher_update(sector, Some(scratch))?;
    sector.copy_from_slice(&scratch[..len.min(SECTOR)]);
    Ok(())
}

/// Decrypts what `source` yields.
pub(crate) struct CryptReader<R> {
    source: R,
    key: CryptKey,
}

impl<R: ReadAt> CryptReader<R> {
    /// `source` has to be checked already, and of a length that is a multiple of the sector size.
    pub(crate) fn new(source: R, key: CryptKey) -> Self {
        Self { source, key }
    }

    pub(crate) fn source(&self) -> &R {
        &self.source
    }
}

impl<R: ReadAt> ReadAt for CryptReader<R> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(offset, buf.len(), self.len())?;
        let mut run = Vec::new();
        let mut filled = 0;
        while filled < buf.len() {
            let position = offset + filled as u64;
            // Below SECTOR.
            let inside = usize::try_from(position % BLOCK_SIZE).unwrap_or(0);
            let wanted = (inside + buf.len() - filled)
                .min(RUN)
                .next_multiple_of(SECTOR);
            run.resize(wanted, 0);
            let start = position - inside as u64;
            self.source.read_exact_at(&mut run, start)?;
            convert(&self.key, &mut run, start, Direction::Decrypt)
                .map_err(|error| PayloadError::from_io(start, error))?;
            let len = (wanted - inside).min(buf.len() - filled);
            buf[filled..filled + len].copy_from_slice(&run[inside..inside + len]);
            filled += len;
        }
        Ok(())
    }

    fn expect(&self, ranges: &[Range<u64>]) {
        self.source.expect(&widened(ranges, BLOCK_SIZE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_is_read_back_at_any_offset() {
        let plain: Vec<u8> = (0..300 * 1024u32).flat_map(u32::to_le_bytes).collect();
        let key = CryptKey([3; 32]);
        let mut bytes = plain.clone();
        encrypt(&key, &mut bytes, 0).unwrap();
        assert_ne!(bytes[..4096], plain[..4096]);
        let reader = CryptReader::new(bytes.clone(), key.clone());
        for (offset, len) in [
            (0, 1),
            (4095, 2),
            (5000, 4096),
            (524_287, 3),
            (1, plain.len() - 1),
            (0, plain.len()),
        ] {
            let mut buf = vec![0; len];
            reader.read_exact_at(&mut buf, offset as u64).unwrap();
            assert!(buf == plain[offset..offset + len], "{offset} {len}");
        }
        assert!(
            reader
                .read_exact_at(&mut [0; 2], plain.len() as u64 - 1)
                .is_err()
        );
        // In two pieces it is the same.
        let mut pieces = plain;
        let (first, second) = pieces.split_at_mut(8192);
        encrypt(&key, first, 0).unwrap();
        encrypt(&key, second, 8192).unwrap();
        assert!(pieces == bytes);
        assert!(encrypt(&key, &mut [0; 100], 0).is_err());
        assert!(encrypt(&key, &mut [0; 4096], 1).is_err());
    }

    /// Computed with `openssl enc -aes-256-cbc -nopad -K 00… -iv 0800000000000000 0…` over zeros.
    #[test]
    fn the_second_sector_counts_from_eight() {
        let key = CryptKey([0; 32]);
        let mut two = vec![0; 8192];
        encrypt(&key, &mut two, 0).unwrap();
        assert_eq!(two[..4], [0xdc, 0x95, 0xc0, 0x78]);
        assert_eq!(two[4096..4100], VECTOR);
    }

    const VECTOR: [u8; 4] = [0x2f, 0x44, 0x3b, 0x52];
}
