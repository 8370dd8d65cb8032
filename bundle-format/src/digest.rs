//! The one kind of digest that bundles use: SHA-256, always whole.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
///
/// Written as 64 lower-case hexadecimal digits; upper-case digits are read as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A text is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// It has another length.
    #[error("needs {expected} hexadecimal digits, has {found} characters")]
    Length {
        /// Digits wanted.
        expected: usize,
        /// Characters found.
        found: usize,
    },
    /// One of its characters is no hexadecimal digit.
    #[error("has something other than a hexadecimal digit at position {position}")]
    Digit {
        /// Counted from 1.
        position: usize,
    },
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps 32 bytes that are a digest already.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Upper-case digits with a colon between two bytes, as the digests of keys are written.
    pub fn in_pairs(&self) -> String {
        let bytes = self.0.iter().map(|byte| format!("{byte:02X}"));
        bytes.collect::<Vec<_>>().join(":")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        decode_hex(text).map(Self)
    }
}

/// Reads exactly `N` bytes written as `2 * N` hexadecimal digits.
///
/// # Errors
/// Another length, or a character that is no hexadecimal digit.
pub fn decode_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return Err(HexError::Length {
            expected: 2 * N,
            found: text.chars().count(),
        });
    }
    let mut bytes = [0; N];
    for (index, pair) in digits.chunks_exact(2).enumerate() {
        let high = nibble(pair[0]).ok_or(HexError::Digit {
            position: 2 * index + 1,
        })?;
        let low = nibble(pair[1]).ok_or(HexError::Digit {
            position: 2 * index + 2,
        })?;
        bytes[index] = high << 4 | low;
    }
    Ok(bytes)
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn encode_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of(b""));
        assert_eq!(
            empty.to_uppercase().parse::<Digest>().unwrap(),
            Digest::of(b"")
        );
    }

    #[test]
    fn nothing_shorter_or_stranger_is_a_digest() {
        let good = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            good[..62].parse::<Digest>(),
            Err(HexError::Length {
                expected: 64,
                found: 62
            })
        );
        assert!(format!("{good}00").parse::<Digest>().is_err());
        let odd = good.replacen('3', "g", 1);
        assert_eq!(odd.parse::<Digest>(), Err(HexError::Digit { position: 2 }));
        // 64 bytes that are not 64 characters must not split a character.
        assert!("ä".repeat(32).parse::<Digest>().is_err());
    }
}
