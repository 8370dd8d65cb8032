//! An entry of systemd-boot: what its file's name counts, and where it stands among the others.
//!
//! The name is `SLOT.conf`, `SLOT+LEFT.conf` or `SLOT+LEFT-DONE.conf`. systemd-boot sorts entries
//! with no try left behind all others, and those with the same `sort-key` by `version`, the newest
//! first. Our versions are ten digits, so that a change keeps the file's size.
//!
//! Source: The Boot Loader Specification (UAPI group), "Sorting" and "Boot counting".

use std::fmt;
use std::ops::Range;

use crate::storage::SECTOR;

/// The `sort-key` of the slots' entries.
pub const SORT_KEY: &str = "slotmgr";

/// Digits of a version.
const VERSION_DIGITS: usize = 10;

/// What stands in the name of an entry's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Nothing: the entry is good, and not counted.
    Off,
    /// Tries that are left, and those that were used.
    On {
        /// Zero: the entry is bad.
        left: u32,
        /// Missing: none.
        done: Option<u32>,
    },
}

impl Count {
    /// Never tried, and not to be.
    pub const BAD: Count = Count::On {
        left: 0,
        done: None,
    };

    /// Whether systemd-boot starts it where there is anything else.
    #[must_use]
    pub fn can_start(self) -> bool {
        !matches!(self, Count::On { left: 0, .. })
    }
}

/// The name of an entry's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The boot name of its slot, if it is one.
    pub slot: String,
    /// What it counts.
    pub count: Count,
}

impl FileName {
    /// `None` for what is no entry.
    #[must_use]
    pub fn parse(text: &str) -> Option<FileName> {
        let stem = text.strip_suffix(".conf")?;
        let off = || FileName {
            slot: stem.to_owned(),
            count: Count::Off,
        };
        let Some((slot, counters)) = stem.rsplit_once('+') else {
            return Some(off());
        };
        let (left, done) = match counters.split_once('-') {
            Some((left, done)) => (left, Some(done)),
            None => (counters, None),
        };
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u32>().ok()).flatten()
        };
        // What is not two numbers is a part of the name, as for systemd-boot.
        let (Some(left), Some(done)) = (number(left), done.map(number).unwrap_or(Some(0))) else {
            return Some(off());
        };
        let done = counters.contains('-').then_some(done);
        let count = Count::On { left, done };
        let slot = slot.to_owned();
        Some(FileName { slot, count })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.slot)?;
        if let Count::On { left, done } = self.count {
            write!(f, "+{left}")?;
            if let Some(done) = done {
                write!(f, "-{done}")?;
            }
        }
        f.write_str(".conf")
    }
}

/// Why an entry of a slot cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// It would take more than one write.
    #[error("is longer than {SECTOR} bytes, which is what storage writes as a whole")]
    Long,
    /// Among entries with another key it would not be sorted as ours are.
    #[error("needs the line `sort-key {SORT_KEY}`, once")]
    SortKey,
    /// Nothing to put a new version into.
    #[error("needs a line `version` with ten digits, such as 0000000001, once")]
    Version,
    /// No version is newer.
    #[error("has the last version that there is")]
    LastVersion,
}

/// The content of an entry of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    bytes: Vec<u8>,
    digits: Range<usize>,
    /// The one with the highest is started first.
    pub version: u64,
}

impl Entry {
    /// # Errors
    /// When it cannot be sorted, or not be changed in one write.
    pub fn parse(bytes: Vec<u8>) -> Result<Entry, BadEntry> {
        if bytes.len() > SECTOR {
            return Err(BadEntry::Long);
        }
        let (mut sort_keys, mut versions, mut at) = (Vec::new(), Vec::new(), 0);
        for line in bytes.split(|byte| *byte == b'\n') {
            let (key, value) = key_and_value(line);
            match key {
                b"sort-key" => sort_keys.push(value),
                b"version" => versions.push((at + line.len() - value.len(), value)),
                _ => {}
            }
            at += line.len() + 1;
        }
        if sort_keys != [SORT_KEY.as_bytes()] {
            return Err(BadEntry::SortKey);
        }
        let [(place, digits)] = versions.as_slice() else {
            return Err(BadEntry::Version);
        };
        let plain = digits.len() == VERSION_DIGITS && digits.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(digits).ok();
        let number = number.filter(|_| plain).and_then(|text| text.parse().ok());
        Ok(Entry {
            digits: *place..place + VERSION_DIGITS,
            version: number.ok_or(BadEntry::Version)?,
            bytes,
        })
    }

    /// The same entry with another version: as many bytes.
    ///
    /// # Errors
    /// When the version has too many digits.
    pub fn with_version(&self, version: u64) -> Result<Vec<u8>, BadEntry> {
        let digits = format!("{version:0VERSION_DIGITS$}");
        let mut bytes = self.bytes.clone();
        match bytes.get_mut(self.digits.clone()) {
            Some(place) if digits.len() == VERSION_DIGITS => {
                place.copy_from_slice(digits.as_bytes());
                Ok(bytes)
            }
            _ => Err(BadEntry::LastVersion),
        }
    }
}

/// Without the blanks around; the value goes to the end of the line.
fn key_and_value(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_start();
    let end = line.iter().position(u8::is_ascii_whitespace);
    let (key, value) = line.split_at(end.unwrap_or(line.len()));
    (key, value.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counters() {
        let on = |left, done| Count::On { left, done };
        for (text, slot, count) in [
            ("A.conf", "A", Count::Off),
            ("A+3.conf", "A", on(3, None)),
            ("A+0-3.conf", "A", on(0, Some(3))),
            ("a+b+12-0.conf", "a+b", on(12, Some(0))),
            ("A+.conf", "A+", Count::Off),
            ("A+3-.conf", "A+3-", Count::Off),
            ("A+-3.conf", "A+-3", Count::Off),
            ("A+1-2-3.conf", "A+1-2-3", Count::Off),
            ("A+99999999999.conf", "A+99999999999", Count::Off),
            (".conf", "", Count::Off),
        ] {
            let name = FileName::parse(text).unwrap();
            assert_eq!((name.slot.as_str(), name.count), (slot, count), "{text}");
            assert_eq!(name.to_string(), text);
        }
        assert_eq!(FileName::parse("A.conf.new"), None);
        assert_eq!(FileName::parse("A~1.CON"), None);
    }

    #[test]
    fn a_version_is_exchanged_in_place() {
        let text = b"title x\nsort-key slotmgr\nversion\t0000000009\nlinux /v".to_vec();
        let entry = Entry::parse(text.clone()).unwrap();
        assert_eq!(entry.version, 9);
        let new = entry.with_version(10).unwrap();
        assert_eq!(new.len(), text.len());
        assert_eq!(Entry::parse(new).unwrap().version, 10);
        let refused = entry.with_version(10_000_000_000);
        assert_eq!(refused, Err(BadEntry::LastVersion));
    }

    #[test]
    fn what_could_not_be_sorted_or_changed_is_refused() {
        let key = "sort-key slotmgr\n";
        for (text, problem) in [
            (String::new(), BadEntry::SortKey),
            ("sort-key debian\n".to_owned(), BadEntry::SortKey),
            (key.repeat(2), BadEntry::SortKey),
            (key.to_owned(), BadEntry::Version),
            (format!("{key}version 1\n"), BadEntry::Version),
            (format!("{key}version 000000000x\n"), BadEntry::Version),
            (format!("{key}version 0000000001 \n"), BadEntry::Version),
            (
                format!("{key}{}", "version 0000000001\n".repeat(2)),
                BadEntry::Version,
            ),
            ("#".repeat(SECTOR + 1), BadEntry::Long),
        ] {
            let refused = Entry::parse(text.clone().into_bytes());
            assert_eq!(refused, Err(problem), "{text}");
        }
    }
}
