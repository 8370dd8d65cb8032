//! One section, read key by key: nothing that nobody asked for goes by unnoticed.

use super::value::{parse_size, parse_u64, split_list, unescape};
use super::{Entry, KeyFileError, Place, Section};

/// Hands out the keys of one section; those that nobody asked for are reported at the end.
#[derive(Debug)]
pub struct SectionReader<'a> {
    pub(super) file: &'a str,
    pub(super) section: &'a Section,
    pub(super) taken: Vec<bool>,
}

impl<'a> SectionReader<'a> {
    /// The section.
    pub fn section(&self) -> &'a Section {
        self.section
    }

    /// Takes the entry for `key`, if it is there.
    pub fn take(&mut self, key: &str) -> Option<&'a Entry> {
        let index = self
            .section
            .entries
            .iter()
            .position(|entry| entry.key == key)?;
        self.taken[index] = true;
        self.section.entries.get(index)
    }

    /// A text; an empty one counts as absent, as in RAUC.
    ///
    /// # Errors
    /// An escape that does not exist.
    pub fn string(&mut self, key: &str) -> Result<Option<String>, KeyFileError> {
        let Some(entry) = self.take(key) else {
            return Ok(None);
        };
        let text = unescape(&entry.raw).map_err(|problem| self.wrong(entry, problem))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Refuses a key that is there without a value, where RAUC does.
    ///
    /// # Errors
    /// It is.
    pub fn not_empty(&self, key: &str) -> Result<(), KeyFileError> {
        let mut entries = self.section.entries.iter();
        match entries.find(|entry| entry.key == key && entry.raw.trim().is_empty()) {
            Some(entry) => Err(self.wrong(entry, "must not be empty")),
            None => Ok(()),
        }
    }

    /// A text that has to be there and must not be empty.
    ///
    /// # Errors
    /// [`KeyFileError::MissingKey`], or an escape that does not exist.
    pub fn required(&mut self, key: &str) -> Result<String, KeyFileError> {
        self.string(key)?.ok_or_else(|| self.missing(key))
    }

    /// The items of a `;` list; absent or empty gives none.
    ///
    /// # Errors
    /// An escape that does not exist.
    pub fn list(&mut self, key: &str) -> Result<Vec<String>, KeyFileError> {
        let Some(entry) = self.take(key) else {
            return Ok(Vec::new());
        };
        split_list(&entry.raw).map_err(|problem| self.wrong(entry, problem))
    }

    /// `true` or `false` (also `1` or `0`).
    ///
    /// # Errors
    /// Any other value.
    pub fn bool(&mut self, key: &str) -> Result<Option<bool>, KeyFileError> {
        self.parse(key, |text| match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("is neither true nor false".to_owned()),
        })
    }

    /// A decimal number that is not negative.
    ///
    /// # Errors
    /// Anything else, or a number beyond `u64`.
    pub fn u64(&mut self, key: &str) -> Result<Option<u64>, KeyFileError> {
        self.parse(key, parse_u64)
    }

    /// A number of bytes with an optional suffix K, M, G or T (powers of 1024).
    ///
    /// # Errors
    /// Anything else, or a size beyond `u64`.
    pub fn size(&mut self, key: &str) -> Result<Option<u64>, KeyFileError> {
        self.parse(key, parse_size)
    }

    /// A value that `convert` understands; it gets the text with trailing blanks removed. An empty
    /// value counts as absent.
    ///
    /// # Errors
    /// What `convert` says, as the end of "value 'x' of key 'y' …".
    pub fn parse<T>(
        &mut self,
        key: &str,
        convert: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, KeyFileError> {
        let Some(entry) = self.take(key) else {
            return Ok(None);
        };
        let text = unescape(&entry.raw).map_err(|problem| self.wrong(entry, problem))?;
        let text = text.trim_end();
        if text.is_empty() {
            return Ok(None);
        }
        convert(text)
            .map(Some)
            .map_err(|problem| self.wrong(entry, problem))
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`KeyFileError::UnknownKey`] for the first key that nobody took.
    pub fn finish(self) -> Result<(), KeyFileError> {
        let left = self
            .taken
            .iter()
            .zip(&self.section.entries)
            .find(|(taken, _)| !**taken);
        match left {
            None => Ok(()),
            Some((_, entry)) => Err(KeyFileError::UnknownKey {
                place: self.place(entry.line),
                section: self.section.name.clone(),
                key: entry.key.clone(),
            }),
        }
    }

    /// The error for a value that does not fit; `problem` ends "value 'x' of key 'y' …".
    pub fn wrong(&self, entry: &Entry, problem: impl Into<String>) -> KeyFileError {
        KeyFileError::Value {
            place: self.place(entry.line),
            key: entry.key.clone(),
            value: entry.raw.clone(),
            problem: problem.into(),
        }
    }

    /// The error for a key that has to be there.
    pub fn missing(&self, key: &str) -> KeyFileError {
        KeyFileError::MissingKey {
            place: self.place(self.section.line),
            section: self.section.name.clone(),
            key: key.to_owned(),
        }
    }

    /// Where the section starts, for messages.
    pub fn place_of_header(&self) -> Place {
        self.place(self.section.line)
    }

    fn place(&self, line: u64) -> Place {
        Place {
            file: self.file.to_owned(),
            line,
        }
    }
}
