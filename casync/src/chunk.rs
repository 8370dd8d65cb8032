//! Chunk ids, and the two things that may be known about a chunk's bytes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256, Sha512_256};
use thiserror::Error;

/// Which hash names the chunks of an index. One index has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DigestKind {
    /// SHA-512/256 (FIPS 180-4: its own initial values, not SHA-512 cut short). casync's default.
    #[default]
    Sha512_256,
    /// SHA-256.
    Sha256,
}

impl DigestKind {
    /// The id of a chunk with these (uncompressed) bytes.
    #[must_use]
    pub fn id_of(self, bytes: &[u8]) -> ChunkId {
        match self {
            Self::Sha512_256 => ChunkId(sha512_256(bytes)),
            Self::Sha256 => ChunkId(Sha256::digest(bytes).into()),
        }
    }

    /// A hasher for bytes that come in pieces.
    #[must_use]
    pub fn hasher(self) -> ChunkHasher {
        match self {
            Self::Sha512_256 => ChunkHasher(State::Sha512_256(Sha512_256::new())),
            Self::Sha256 => ChunkHasher(State::Sha256(Sha256::new())),
        }
    }
}

fn sha512_256(bytes: &[u8]) -> [u8; ChunkId::LEN] {
    #[cfg(feature = "openssl")]
    if let Some(digest) = by_openssl(bytes) {
        return digest;
    }
    Sha512_256::digest(bytes).into()
}

/// `None` when this OpenSSL does not have the digest, or no memory for it: then `sha2` does the work.
///
/// SHA-256 is left to `sha2`: with the processor's instructions for it both are equally fast.
#[cfg(feature = "openssl")]
fn by_openssl(bytes: &[u8]) -> Option<[u8; ChunkId::LEN]> {
    let kind = openssl::hash::MessageDigest::from_name("SHA512-256")?;
    let digest = openssl::hash::hash(kind, bytes).ok()?;
    digest.as_ref().try_into().ok()
}

/// Hashes one chunk after another, each in pieces.
#[derive(Clone, Debug)]
pub struct ChunkHasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha512_256(Sha512_256),
    Sha256(Sha256),
}

impl ChunkHasher {
    /// Adds bytes to the chunk.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha512_256(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
        }
    }

    /// The id of what was added; begins anew.
    pub fn finish(&mut self) -> ChunkId {
        match &mut self.0 {
            State::Sha512_256(state) => ChunkId(state.finalize_reset().into()),
            State::Sha256(state) => ChunkId(state.finalize_reset().into()),
        }
    }
}

/// The digest of a chunk's uncompressed bytes. Shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId([u8; ChunkId::LEN]);

impl ChunkId {
    /// Bytes of an id.
    pub const LEN: usize = 32;

    /// An id read from an index.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The digest itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

/// A text that is no chunk id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a chunk id has 64 lower-case hex digits")]
pub struct ChunkIdError;

impl FromStr for ChunkId {
    type Err = ChunkIdError;

    fn from_str(text: &str) -> Result<Self, ChunkIdError> {
        let (pairs, odd) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != Self::LEN || !odd.is_empty() {
            return Err(ChunkIdError);
        }
        let mut id = [0; Self::LEN];
        for (byte, [high, low]) in id.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Ok(Self(id))
    }
}

fn nibble(digit: u8) -> Result<u8, ChunkIdError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(ChunkIdError),
    }
}

/// Bytes and the id that they have: all that a seed can tell.
///
/// Nobody has said yet that these are the bytes that were wanted. `B` is how the bytes are held: a
/// borrowed slice, or a vector that goes to another thread.
#[derive(Clone, Copy, Debug)]
pub struct HashedChunk<B> {
    id: ChunkId,
    bytes: B,
}

impl<B: AsRef<[u8]>> HashedChunk<B> {
    /// Hashes `bytes`.
    #[must_use]
    pub fn new(digest: DigestKind, bytes: B) -> Self {
        Self {
            id: digest.id_of(bytes.as_ref()),
            bytes,
        }
    }

    /// The id that the bytes have.
    #[must_use]
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Compares with the id that an index asks for.
    pub fn check(self, expected: &ChunkId) -> Result<CheckedChunk<B>, WrongChunk> {
        if self.id != *expected {
            return Err(WrongChunk {
                expected: *expected,
                found: self.id,
            });
        }
        Ok(CheckedChunk {
            id: self.id,
            bytes: self.bytes,
        })
    }
}

/// Bytes that have the id an index asked for. Made by [`HashedChunk::check`] and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct CheckedChunk<B> {
    id: ChunkId,
    bytes: B,
}

impl<B: AsRef<[u8]>> CheckedChunk<B> {
    /// The id that was expected and found.
    #[must_use]
    pub fn id(&self) -> ChunkId {
        self.id
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Gives the bytes back, so that a buffer can be used again; what was known of them is lost.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.bytes
    }
}

/// What was checked is still hashed; that somebody asked for it is forgotten.
impl<B> From<CheckedChunk<B>> for HashedChunk<B> {
    fn from(CheckedChunk { id, bytes }: CheckedChunk<B>) -> Self {
        Self { id, bytes }
    }
}

/// The bytes are not those of the chunk that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected chunk {expected}, the bytes are those of {found}")]
pub struct WrongChunk {
    /// What the index asks for.
    pub expected: ChunkId,
    /// What the bytes hash to.
    pub found: ChunkId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_standards() {
        // FIPS 180-4, "abc".
        let sha512_256 = "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23";
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(DigestKind::Sha512_256.id_of(b"abc").to_string(), sha512_256);
        assert_eq!(DigestKind::Sha256.id_of(b"abc").to_string(), sha256);
        assert_eq!(sha256.parse(), Ok(DigestKind::Sha256.id_of(b"abc")));
    }

    #[test]
    fn a_hasher_begins_anew_after_each_chunk() {
        for kind in [DigestKind::Sha512_256, DigestKind::Sha256] {
            let mut hasher = kind.hasher();
            for _ in 0..2 {
                hasher.update(b"a");
                hasher.update(b"bc");
                assert_eq!(hasher.finish(), kind.id_of(b"abc"));
            }
        }
    }

    #[cfg(feature = "openssl")]
    #[test]
    fn openssl_and_sha2_give_the_same_ids() {
        for len in [0, 1, 111, 112, 127, 128, 129, 70_000] {
            let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
            let slow: [u8; 32] = Sha512_256::digest(&bytes).into();
            assert_eq!(by_openssl(&bytes), Some(slow), "{len}");
        }
    }

    #[test]
    fn ids_are_read_strictly() {
        let id = DigestKind::Sha256.id_of(b"").to_string();
        assert!(id.parse::<ChunkId>().is_ok());
        for bad in [
            id.to_uppercase(),
            format!("{id}0"),
            id[1..].to_owned(),
            "é".repeat(32),
        ] {
            assert_eq!(bad.parse::<ChunkId>(), Err(ChunkIdError), "{bad}");
        }
    }

    #[test]
    fn only_the_expected_bytes_become_a_checked_chunk() {
        let hashed = HashedChunk::new(DigestKind::Sha256, b"abc");
        assert_eq!(hashed.check(&hashed.id()).unwrap().bytes(), b"abc");
        let expected = DigestKind::Sha512_256.id_of(b"abc");
        let wrong = hashed.check(&expected).unwrap_err();
        assert_eq!(
            wrong,
            WrongChunk {
                expected,
                found: hashed.id()
            }
        );
    }
}
