//! A load option, as far as it says which slot it starts.
//!
//! `u32` attributes, `u16` length of the device path, description (UTF-16, ends with a zero), device
//! path, and whatever is passed to the program. Source: UEFI Specification 2.10, section 3.1.3.

/// The firmware passes entries over that do not have it.
const ACTIVE: u32 = 1;

/// The beginning of a load option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOption {
    attributes: u32,
    /// For people, and for us: the boot name.
    pub description: String,
}

impl LoadOption {
    /// Out of the variable's content; `None` if it is not whole.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<LoadOption> {
        let (attributes, rest) = bytes.split_first_chunk::<4>()?;
        let (path, rest) = rest.split_first_chunk::<2>()?;
        let units: Vec<u16> = rest
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let end = units.iter().position(|unit| *unit == 0)?;
        let path_at = (end + 1) * 2;
        rest.get(path_at..path_at + usize::from(u16::from_le_bytes(*path)))?;
        Some(LoadOption {
            attributes: u32::from_le_bytes(*attributes),
            description: String::from_utf16(units.get(..end)?).ok()?,
        })
    }

    /// Whether the firmware looks at it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.attributes & ACTIVE != 0
    }
}
