//! The strict reader for files in key-file syntax: the manifest, and a device's `system.conf`.
//!
//! The syntax is that of GLib's key files: `[section]`, `key=value`, `#` comments; `\s \n \t \r \\`
//! as escapes in values; `;` between (and after) the items of a list. As RAUC does, a section that
//! appears twice is merged, and a key that appears twice in one section is refused. Errors carry
//! the file's name and the line.

use std::fmt;

use crate::limits::{MAX_KEYFILE_LINES, MAX_KEYFILE_SIZE};

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

/// One `key=value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the key.
    pub key: String,
    /// The value as it stands in the file: escapes not undone.
    pub raw: String,
    /// Line, counted from 1.
    pub line: u64,
}

/// One section with its keys in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The text between the brackets.
    pub name: String,
    /// Line of its (first) header.
    pub line: u64,
    /// Its keys.
    pub entries: Vec<Entry>,
}

/// A parsed file: sections in order of their first appearance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    file: String,
    sections: Vec<Section>,
}

impl KeyFile {
    /// Parses `bytes`; `file` names them in errors.
    ///
    /// # Errors
    /// Anything that is no key file, doubled keys, and sizes beyond the limits.
    pub fn parse(bytes: &[u8], file: &str) -> Result<Self, KeyFileError> {
        let text = check_text(bytes, file)?;
        let mut parsed = Self {
            file: file.to_owned(),
            sections: Vec::new(),
        };
        let mut current = None;
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.strip_suffix('\r').unwrap_or(text).trim_start();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if text.starts_with('[') {
                current = Some(parsed.open_section(text, line)?);
            } else {
                parsed.add_entry(current, text, line)?;
            }
        }
        Ok(parsed)
    }

    /// The file's name as given to [`KeyFile::parse`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All sections.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section called `name`.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// A reader that hands out the keys of the section called `name`.
    pub fn reader(&self, name: &str) -> Option<SectionReader<'_>> {
        self.section(name).map(|section| self.read(section))
    }

    /// Like [`KeyFile::reader`], for a section that has to be there.
    ///
    /// # Errors
    /// [`KeyFileError::MissingSection`].
    pub fn required(&self, name: &str) -> Result<SectionReader<'_>, KeyFileError> {
        self.reader(name)
            .ok_or_else(|| KeyFileError::MissingSection {
                file: self.file.clone(),
                section: name.to_owned(),
            })
    }

    /// A reader that hands out the keys of `section`.
    pub fn read<'a>(&'a self, section: &'a Section) -> SectionReader<'a> {
        SectionReader {
            file: &self.file,
            section,
            taken: vec![false; section.entries.len()],
        }
    }

    /// The error for a section that the caller does not know.
    pub fn unknown(&self, section: &Section) -> KeyFileError {
        KeyFileError::UnknownSection {
            place: self.place(section.line),
            section: section.name.clone(),
        }
    }

    /// `line` of this file, for messages.
    pub fn place(&self, line: u64) -> Place {
        Place {
            file: self.file.clone(),
            line,
        }
    }

    fn open_section(&mut self, text: &str, line: u64) -> Result<usize, KeyFileError> {
        let name = text
            .trim_end()
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .filter(|name| !name.contains(|c: char| c == '[' || c == ']' || c.is_control()))
            .ok_or_else(|| KeyFileError::Syntax {
                place: self.place(line),
            })?;
        if let Some(index) = self
            .sections
            .iter()
            .position(|section| section.name == name)
        {
            return Ok(index);
        }
        self.sections.push(Section {
            name: name.to_owned(),
            line,
            entries: Vec::new(),
        });
        Ok(self.sections.len() - 1)
    }

    fn add_entry(
        &mut self,
        section: Option<usize>,
        text: &str,
        line: u64,
    ) -> Result<(), KeyFileError> {
        let place = self.place(line);
        let Some((key, value)) = text.split_once('=') else {
            return Err(KeyFileError::Syntax { place });
        };
        let key = key.trim_end();
        if key.is_empty() || key.contains(|c: char| c.is_control() || c == '[' || c == ']') {
            return Err(KeyFileError::Syntax { place });
        }
        let key = key.to_owned();
        let Some(section) = section.and_then(|index| self.sections.get_mut(index)) else {
            return Err(KeyFileError::NoSection { place, key });
        };
        if let Some(first) = section.entries.iter().find(|entry| entry.key == key) {
            let section = section.name.clone();
            return Err(KeyFileError::DoubledKey {
                place,
                section,
                key,
                first: first.line,
            });
        }
        section.entries.push(Entry {
            key,
            raw: value.trim_start().to_owned(),
            line,
        });
        Ok(())
    }
}

/// Hands out the keys of one section; those that nobody asked for are reported at the end.
#[derive(Debug)]
pub struct SectionReader<'a> {
    file: &'a str,
    section: &'a Section,
    taken: Vec<bool>,
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

fn check_text<'a>(bytes: &'a [u8], file: &str) -> Result<&'a str, KeyFileError> {
    let too_large = |found, unit, limit| KeyFileError::TooLarge {
        file: file.to_owned(),
        found,
        unit,
        limit,
    };
    if bytes.len() > MAX_KEYFILE_SIZE {
        return Err(too_large(
            bytes.len() as u64,
            "bytes",
            MAX_KEYFILE_SIZE as u64,
        ));
    }
    let newlines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    if newlines(bytes) > MAX_KEYFILE_LINES {
        return Err(too_large(newlines(bytes), "lines", MAX_KEYFILE_LINES));
    }
    let not_text = |line| KeyFileError::NotText {
        place: Place {
            file: file.to_owned(),
            line,
        },
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| not_text(1 + newlines(&bytes[..error.valid_up_to()])))?;
    match text.find('\0') {
        Some(position) => Err(not_text(1 + newlines(&bytes[..position]))),
        None => Ok(text),
    }
}

/// A decimal number; the error ends "value 'x' of key 'y' …".
pub(crate) fn parse_u64(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".to_owned());
    }
    text.parse().map_err(|_| "is too large a number".to_owned())
}

fn parse_size(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number = parse_u64(number)
        .map_err(|_| "is not a size (a whole number, then K, M, G, T or nothing)".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "is too large a size".to_owned())
}

fn unescape(raw: &str) -> Result<String, String> {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' {
            unescape_one(chars.next())?
        } else {
            c
        });
    }
    Ok(text)
}

fn unescape_one(escaped: Option<char>) -> Result<char, String> {
    match escaped {
        Some('s') => Ok(' '),
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some('\\') => Ok('\\'),
        Some(c) => Err(format!("has the unknown escape '\\{c}'")),
        None => Err("ends in the middle of an escape".to_owned()),
    }
}

fn split_list(raw: &str) -> Result<Vec<String>, String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            ';' => items.push(std::mem::take(&mut item)),
            '\\' => match chars.next() {
                Some(';') => item.push(';'),
                other => item.push(unescape_one(other)?),
            },
            c => item.push(c),
        }
    }
    if !item.is_empty() {
        items.push(item);
    }
    Ok(items)
}

/// Writes a value so that [`SectionReader::string`] gives it back.
pub fn escape(text: &str) -> String {
    let blanks = text.len() - text.trim_start_matches([' ', '\t']).len();
    let mut raw = String::with_capacity(text.len());
    for (position, c) in text.char_indices() {
        match c {
            ' ' if position < blanks => raw.push_str("\\s"),
            '\t' if position < blanks => raw.push_str("\\t"),
            '\n' => raw.push_str("\\n"),
            '\r' => raw.push_str("\\r"),
            '\\' => raw.push_str("\\\\"),
            c => raw.push(c),
        }
    }
    raw
}

/// Writes a list so that [`SectionReader::list`] gives it back; every item ends with `;`.
pub fn escape_list(items: &[String]) -> String {
    items
        .iter()
        .map(|item| escape(item).replace(';', "\\;") + ";")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KeyFile, KeyFileError> {
        KeyFile::parse(text.as_bytes(), "test.conf")
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn sections_keys_and_lines_are_kept_in_order() {
        let file = parse("# c\n[b]\r\nx = 1 \n\n[a]\n y=a=b\n[b]\nz=\n").unwrap();
        let names: Vec<_> = file
            .sections()
            .iter()
            .map(|s| (s.name.as_str(), s.line))
            .collect();
        assert_eq!(names, [("b", 2), ("a", 5)]);
        let keys: Vec<_> = file.sections()[0]
            .entries
            .iter()
            .map(|e| (e.key.as_str(), e.raw.as_str(), e.line))
            .collect();
        assert_eq!(keys, [("x", "1 ", 3), ("z", "", 8)]);
        assert_eq!(file.sections()[1].entries[0].raw, "a=b");
    }

    #[test]
    fn errors_name_file_and_line() {
        assert_eq!(
            error("x=1"),
            "test.conf:1: key 'x' stands before the first [section]"
        );
        assert_eq!(
            error("[a]\nx=1\n[a]\nx=2"),
            "test.conf:4: key 'x' appears twice in [a] (first on line 2)"
        );
        for (text, line) in [
            ("[a]\nfoo", 2),
            ("[a", 1),
            ("[a]\n=x", 2),
            ("[a]b", 1),
            ("[a[]", 1),
        ] {
            assert!(
                error(text).starts_with(&format!("test.conf:{line}: expected")),
                "{text}"
            );
        }
        let binary = KeyFile::parse(b"[a]\nx=\xff", "t").unwrap_err();
        assert_eq!(binary.to_string(), "t:2: this is not UTF-8 text");
        assert_eq!(error("[a]\nx=a\0b"), "test.conf:2: this is not UTF-8 text");
    }

    #[test]
    fn the_caps_hold() {
        let long = vec![b'#'; MAX_KEYFILE_SIZE + 1];
        assert!(
            KeyFile::parse(&long, "t")
                .unwrap_err()
                .to_string()
                .contains("bytes")
        );
        let many = vec![b'\n'; 16 * 1024 + 1];
        assert!(
            KeyFile::parse(&many, "t")
                .unwrap_err()
                .to_string()
                .contains("lines")
        );
    }

    #[test]
    fn what_nobody_took_is_unknown() {
        let file = parse("[a]\nx=1\ny=2\n").unwrap();
        let mut section = file.required("a").unwrap();
        assert_eq!(section.u64("x").unwrap(), Some(1));
        assert_eq!(
            section.finish().unwrap_err().to_string(),
            "test.conf:3: unknown key 'y' in [a]"
        );
        assert_eq!(
            file.required("b").unwrap_err().to_string(),
            "test.conf: section [b] is missing"
        );
    }

    #[test]
    fn typed_values() {
        let file = parse(
            "[a]\nb=true\nc=0\nn=12\ns=64K\nt=2T\nl=a;b\\;c;\ne=\nq=\\sx\\n\nbad=yes\nneg=-1\n\
             huge=99999999999999999999\nover=99999999T\nesc=a\\q\n",
        )
        .unwrap();
        let mut a = file.required("a").unwrap();
        assert_eq!(a.bool("b").unwrap(), Some(true));
        assert_eq!(a.bool("c").unwrap(), Some(false));
        assert_eq!(a.u64("n").unwrap(), Some(12));
        assert_eq!(a.size("s").unwrap(), Some(65536));
        assert_eq!(a.size("t").unwrap(), Some(2 << 40));
        assert_eq!(a.list("l").unwrap(), ["a", "b;c"]);
        assert_eq!(a.string("e").unwrap(), None);
        assert_eq!(a.string("q").unwrap().as_deref(), Some(" x\n"));
        assert_eq!(a.string("absent").unwrap(), None);
        let wrong = a.bool("bad").unwrap_err().to_string();
        assert_eq!(
            wrong,
            "test.conf:10: value 'yes' of key 'bad' is neither true nor false"
        );
        assert!(a.u64("neg").is_err());
        assert!(
            a.u64("huge")
                .unwrap_err()
                .to_string()
                .ends_with("is too large a number")
        );
        assert!(
            a.size("over")
                .unwrap_err()
                .to_string()
                .ends_with("is too large a size")
        );
        assert!(
            a.string("esc")
                .unwrap_err()
                .to_string()
                .contains("unknown escape '\\q'")
        );
        assert!(
            a.required("e")
                .unwrap_err()
                .to_string()
                .contains("[a] needs the key 'e'")
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "[ \\t\\n\\r\\\\;a-zä]{0,12}") {
            let file = parse(&format!("[a]\nx={}\nl={}", escape(&text),
                escape_list(&[text.clone(), "z".to_owned()]))).unwrap();
            let mut a = file.required("a").unwrap();
            proptest::prop_assert_eq!(a.string("x").unwrap().unwrap_or_default(), text.clone());
            proptest::prop_assert_eq!(a.list("l").unwrap(), [text, "z".to_owned()]);
        }

        #[test]
        fn no_input_panics(bytes: Vec<u8>) {
            let _ = KeyFile::parse(&bytes, "t");
        }
    }
}
