//! Names of slots, checked once.

use std::fmt;

/// Longest name that is accepted. RAUC has no limit; status files and environments do.
pub const MAX_NAME: usize = 64;

/// A slot's name, `CLASS.INDEX`, as `[slot.CLASS.INDEX]` in `system.conf`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotName {
    class: String,
    index: String,
}

/// The name by which the bootloader knows a slot, such as `A`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootName(String);

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not two parts.
    #[error("`{0}` is not CLASS.INDEX, such as rootfs.0")]
    Shape(String),
    /// A character that does not belong.
    #[error("`{name}` has {character:?}, which cannot stand in such a name")]
    Character {
        /// The whole name.
        name: String,
        /// The first bad character.
        character: char,
    },
    /// Nothing, or too much.
    #[error("`{0}` must have 1 to {MAX_NAME} characters")]
    Length(String),
}

fn check(part: &str, whole: &str) -> Result<String, NameError> {
    if part.is_empty() || part.len() > MAX_NAME {
        return Err(NameError::Length(whole.to_owned()));
    }
    match part
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
    {
        Some(character) => Err(NameError::Character {
            name: whole.to_owned(),
            character,
        }),
        None => Ok(part.to_owned()),
    }
}

impl SlotName {
    /// Parses `CLASS.INDEX`.
    ///
    /// # Errors
    /// When it has not exactly two parts, or a part has a character that does not belong.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.split_once('.') {
            Some((class, index)) if !index.contains('.') => Ok(SlotName {
                class: check(class, text)?,
                index: check(index, text)?,
            }),
            _ => Err(NameError::Shape(text.to_owned())),
        }
    }

    /// The class: images are meant for a class, not for one slot.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.class
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.class, self.index)
    }
}

impl BootName {
    /// Checks a boot name: it becomes part of variable names in the boot environment.
    ///
    /// # Errors
    /// When it is empty, too long, or has a space, a control character, `=` or a character outside
    /// ASCII.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > MAX_NAME {
            return Err(NameError::Length(text.to_owned()));
        }
        match text.chars().find(|c| !c.is_ascii_graphic() || *c == '=') {
            Some(character) => Err(NameError::Character {
                name: text.to_owned(),
                character,
            }),
            None => Ok(BootName(text.to_owned())),
        }
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_names() {
        let name = SlotName::parse("rootfs.0").unwrap();
        assert_eq!(
            (name.class(), name.to_string().as_str()),
            ("rootfs", "rootfs.0")
        );
        for bad in [
            "rootfs",
            "rootfs.0.1",
            ".0",
            "rootfs.",
            "root fs.0",
            "a/b.0",
            "",
        ] {
            assert!(SlotName::parse(bad).is_err(), "{bad}");
        }
        assert!(SlotName::parse(&format!("{}.0", "x".repeat(65))).is_err());
    }

    #[test]
    fn boot_names_become_variable_names() {
        assert_eq!(BootName::parse("A").unwrap().as_str(), "A");
        for bad in ["", "A B", "A=1", "system\n0", "ä"] {
            assert!(BootName::parse(bad).is_err(), "{bad}");
        }
    }
}
