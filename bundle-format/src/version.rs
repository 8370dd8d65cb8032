//! Versions that can be compared: semantic versions, of which all but the first number may be left out.

use std::cmp::Ordering;
use std::fmt;

/// The RAUC that we stand for: bundles that ask for a newer one (`min-rauc-version`) are refused,
/// since they rely on something that may be missing here.
pub const RAUC_VERSION: &str = "1.15.2";

/// A semantic version.
#[derive(Debug, Clone)]
pub struct Version {
    numbers: [u64; 3],
    /// After `-`, dot by dot; empty for a release.
    before: Vec<Part>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Version {
    /// `1`, `1.2`, `1.2.3`, `1.2.3-rc.1+anything`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (plain, build) = text
            .split_once('+')
            .map_or((text, None), |(plain, build)| (plain, Some(build)));
        let (release, before) = plain
            .split_once('-')
            .map_or((plain, None), |(release, rest)| (release, Some(rest)));
        let mut numbers = [0; 3];
        for (place, number) in release.split('.').enumerate() {
            *numbers.get_mut(place)? = digits(number)?;
        }
        let before = match before {
            None => Vec::new(),
            Some(parts) => parts.split('.').map(part).collect::<Option<_>>()?,
        };
        if build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return None;
        }
        Some(Version {
            numbers,
            before,
            text: text.to_owned(),
        })
    }
}

fn digits(text: &str) -> Option<u64> {
    let only_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| text.parse().ok()).flatten()
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn part(text: &str) -> Option<Part> {
    match digits(text) {
        Some(number) => Some(Part::Number(number)),
        None => is_identifier(text).then(|| Part::Word(text.to_owned())),
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let release = |version: &Version| version.before.is_empty();
        self.numbers
            .cmp(&other.numbers)
            // A release comes after everything that led to it.
            .then_with(|| release(self).cmp(&release(other)))
            .then_with(|| self.before.cmp(&other.before))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_semantic_versions() {
        let rising = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1",
            "1.0.1",
            "1.9",
            "1.10",
            "2.0.0-0",
            "2",
        ];
        let versions: Vec<_> = rising
            .iter()
            .map(|text| Version::parse(text).unwrap())
            .collect();
        for pair in versions.windows(2) {
            assert!(pair[0] < pair[1], "{} {}", pair[0], pair[1]);
        }
        let same = |a, b| Version::parse(a).unwrap().cmp(&Version::parse(b).unwrap());
        assert_eq!(same("1", "1.0.0+build.7"), Ordering::Equal);
    }

    #[test]
    fn what_is_no_version() {
        for wrong in [
            "",
            "1.",
            "v1",
            "1.2.3.4",
            "1.-2",
            "1.2.3-",
            "1.2.3-a..b",
            "1+",
            "99999999999999999999",
            "2026-ä",
        ] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }
}
