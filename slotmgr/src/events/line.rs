//! One line of the journal: JSON whose last member is a checksum of what stands before it.
//!
//! ```text
//! {"seq":7,"prev":"9ae0daaf","at":1700000000,…,"what":"installed",…,"crc":"1c291ca3"}
//! ```
//!
//! `crc` is the CRC-32 of all bytes of the line before `,"crc"`; `prev` is the `crc` of the line
//! before, so that a missing line is noticed.

use serde::{Deserialize, Serialize};

use super::Entry;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub seq: u64,
    pub prev: String,
    #[serde(flatten)]
    pub entry: Entry,
}

const MEMBER: &str = ",\"crc\":\"";

/// What a line came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A whole line, and its checksum.
    Whole(Box<Line>, String),
    /// Whole, but written by a later version.
    Unknown,
    /// Damaged.
    Broken,
}

/// The line with its line feed.
pub(super) fn encode(line: &Line) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(line)?;
    // The closing brace comes back behind the checksum.
    text.pop();
    let crc = crc32fast::hash(text.as_bytes());
    Ok(format!("{text}{MEMBER}{crc:08x}\"}}\n"))
}

pub(super) fn decode(text: &str) -> Decoded {
    let parts = text.rsplit_once(MEMBER);
    let Some((body, crc)) = parts.and_then(|(body, rest)| Some((body, rest.strip_suffix("\"}")?)))
    else {
        return Decoded::Broken;
    };
    if format!("{:08x}", crc32fast::hash(body.as_bytes())) != crc {
        return Decoded::Broken;
    }
    match serde_json::from_str(&format!("{body}}}")) {
        Ok(line) => Decoded::Whole(Box::new(line), crc.to_owned()),
        Err(_) => Decoded::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Facts, Moment, What};
    use super::*;

    #[test]
    fn round_trip_and_every_flipped_bit() {
        let line = Line {
            seq: 7,
            prev: "00000000".to_owned(),
            entry: Entry {
                moment: Moment::default(),
                what: What::MarkedBad,
                facts: Facts {
                    why: Some("it said \",\"crc\":\"".to_owned()),
                    tries: Some(3),
                    ..Facts::default()
                },
            },
        };
        let text = encode(&line).unwrap();
        let text = text.strip_suffix('\n').unwrap();
        assert!(matches!(decode(text), Decoded::Whole(found, _) if *found == line));
        for bit in 0..text.len() * 8 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let damaged = String::from_utf8_lossy(&bytes);
            assert_eq!(decode(&damaged), Decoded::Broken, "bit {bit}");
        }
        for length in 0..text.len() {
            assert_eq!(decode(&text[..length]), Decoded::Broken, "cut at {length}");
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        let body = "{\"seq\":1,\"what\":\"flew\"";
        let crc = crc32fast::hash(body.as_bytes());
        let text = format!("{body}{MEMBER}{crc:08x}\"}}");
        assert_eq!(decode(&text), Decoded::Unknown);
    }
}
