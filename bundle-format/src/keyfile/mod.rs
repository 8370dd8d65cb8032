//! The strict reader for files in key-file syntax: the manifest, and a device's `system.conf`.
//!
//! The syntax is that of GLib's key files: `[section]`, `key=value`, `#` comments; `\s \n \t \r \\`
//! as escapes in values; `;` between (and after) the items of a list. As RAUC does, a section that
//! appears twice is merged, and a key that appears twice in one section is refused. Errors carry
//! the file's name and the line.
mod error;
mod section;
mod value;

pub use error::{KeyFileError, Place};
pub use section::SectionReader;
pub use value::{escape, escape_list};

pub(crate) use value::parse_u64;

use crate::limits::{MAX_KEYFILE_LINES, MAX_KEYFILE_SIZE};

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
