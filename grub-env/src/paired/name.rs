//! Names of slots.

use std::fmt;

use super::NONE;

/// The name of a slot as GRUB's script passes it on: letters, digits, `.`, `_`, `-`; at most 32.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// The text cannot be the name of a slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} cannot be a slot's name for GRUB: 1 to 32 of A-Z a-z 0-9 . _ - are, but not \"none\""
)]
pub struct BadName {
    text: String,
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn new(text: &str) -> Result<Self, BadName> {
        let fits = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && text != NONE;
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName {
                text: text.to_owned(),
            })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
