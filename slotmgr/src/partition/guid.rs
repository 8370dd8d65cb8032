//! GUIDs as a partition table keeps them: the first three groups little-endian.

use std::fmt;

/// A GUID, in the order of bytes that a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub(super) [u8; 16]);

/// Not a GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no GUID, such as 0fc63daf-8483-4772-8e79-3d69d8477de4")]
pub struct BadGuid(String);

/// Where the bytes of the text stand on the disk.
const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl Guid {
    /// All zero: an entry of this type is not used.
    pub const ZERO: Guid = Guid([0; 16]);

    /// The bytes as they stand in the table.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Parses 8-4-4-4-12 hexadecimal digits.
    ///
    /// # Errors
    /// For every other shape.
    pub fn parse(text: &str) -> Result<Self, BadGuid> {
        let bad = || BadGuid(text.to_owned());
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        if groups != [8, 4, 4, 4, 12] {
            return Err(bad());
        }
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| *c != '-')
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        let mut bytes = [0; 16];
        for (pair, place) in digits.chunks_exact(2).zip(ORDER) {
            bytes[place] = pair[0] << 4 | pair[1];
        }
        Ok(Guid(bytes))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, place) in ORDER.into_iter().enumerate() {
            if matches!(number, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[place])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes() {
        let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
        let guid = Guid::parse(text).unwrap();
        assert_eq!(
            guid.to_bytes()[..8],
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]
        );
        assert_eq!(guid.to_string(), text);
        assert_eq!(Guid::parse(&text.to_uppercase()), Ok(guid));
        for bad in [
            "",
            "c12a7328",
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93g",
            "c12a7328f81f11d2ba4b00a0c93ec93b",
        ] {
            assert!(Guid::parse(bad).is_err(), "{bad}");
        }
    }
}
