//! What is wrong with a file in key-file syntax, and where.

use std::fmt;

/// A place in a file, for messages: `name:line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the file, or what stands for it ("manifest").
    pub file: String,
    /// Line, counted from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What is wrong with a file in key-file syntax.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// It is larger than any such file may be.
    #[error("{file}: {found} {unit}, more than the limit of {limit}")]
    TooLarge {
        /// Name of the file.
        file: String,
        /// How many there are.
        found: u64,
        /// Bytes or lines.
        unit: &'static str,
        /// How many may be.
        limit: u64,
    },
    /// It is not UTF-8 text.
    #[error("{place}: this is not UTF-8 text")]
    NotText {
        /// The line with the first wrong byte.
        place: Place,
    },
    /// A line that is neither section, key, comment nor empty.
    #[error("{place}: expected `[section]`, `key=value` or a comment")]
    Syntax {
        /// Where.
        place: Place,
    },
    /// A key before the first section.
    #[error("{place}: key '{key}' stands before the first [section]")]
    NoSection {
        /// Where.
        place: Place,
        /// Its name.
        key: String,
    },
    /// A key twice in one section.
    #[error("{place}: key '{key}' appears twice in [{section}] (first on line {first})")]
    DoubledKey {
        /// The second one.
        place: Place,
        /// Section.
        section: String,
        /// Key.
        key: String,
        /// Line of the first one.
        first: u64,
    },
    /// A key that nobody knows.
    #[error("{place}: unknown key '{key}' in [{section}]")]
    UnknownKey {
        /// Where.
        place: Place,
        /// Section.
        section: String,
        /// Key.
        key: String,
    },
    /// A section that nobody knows.
    #[error("{place}: unknown section [{section}]")]
    UnknownSection {
        /// Where.
        place: Place,
        /// Section.
        section: String,
    },
    /// A section that has to be there.
    #[error("{file}: section [{section}] is missing")]
    MissingSection {
        /// Name of the file.
        file: String,
        /// Section.
        section: String,
    },
    /// A key that has to be there.
    #[error("{place}: [{section}] needs the key '{key}'")]
    MissingKey {
        /// The section's header.
        place: Place,
        /// Section.
        section: String,
        /// Key.
        key: String,
    },
    /// A value that its key does not allow.
    #[error("{place}: value '{value}' of key '{key}' {problem}")]
    Value {
        /// Where.
        place: Place,
        /// Key.
        key: String,
        /// The value as it stands in the file.
        value: String,
        /// What is wrong, as the end of the sentence "value 'x' of key 'y' …".
        problem: String,
    },
}
