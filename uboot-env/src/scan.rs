//! Finds environments of unknown size and offset: wherever the CRC of what follows fits.
//!
//! At every 512-byte boundary that could start an environment, one running CRC over what follows is
//! compared with the stored one at every possible size. Since the CRC covers the padding as well,
//! a match tells the exact size, the layout and the byte order. An environment without variables
//! is not found: nothing distinguishes its start from other data.

use crate::codec::{Endian, Layout};
use crate::limits::{MAX_SCAN_BYTES, MAX_SCAN_ENV_SIZE, MAX_SCAN_HITS};
use std::io;

/// Environments start on such boundaries.
pub const OFFSET_STEP: usize = 512;

/// Environment sizes are multiples of this.
pub const SIZE_STEP: usize = 256;

/// Bytes looked at per round; as many again as the largest environment are read ahead.
const ROUND: usize = 1024 * 1024;

/// Within so many bytes the first variable's `=` must come.
const LONGEST_NAME: usize = 128;

/// An environment found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Bytes from the start of what was scanned.
    pub offset: u64,
    /// Size in bytes, as `CONFIG_ENV_SIZE`.
    pub size: u64,
    /// With or without a flags byte.
    pub layout: Layout,
    /// Of the CRC.
    pub endian: Endian,
    /// The flags byte, if there is one.
    pub flags: Option<u8>,
}

/// What to scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First byte.
    pub from: u64,
    /// Number of bytes; at most [`MAX_SCAN_BYTES`] are looked at.
    pub len: u64,
}

/// Scans `source`, which fills a buffer from an offset and says how many bytes there were (0 at
/// the end). At most [`MAX_SCAN_HITS`] environments are reported.
///
/// # Errors
/// What `source` says.
pub fn scan(
    mut source: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    window: Window,
) -> io::Result<Vec<Hit>> {
    let end = window.from.saturating_add(window.len.min(MAX_SCAN_BYTES));
    let mut hits = Vec::new();
    let mut buffer = vec![0; ROUND + MAX_SCAN_ENV_SIZE];
    let mut at = window.from - window.from % OFFSET_STEP as u64;
    while at < end && hits.len() < MAX_SCAN_HITS {
        let have = fill(&mut source, at, &mut buffer)?;
        let data = buffer.get(..have).unwrap_or_default();
        let round = ROUND
            .min(usize::try_from(end - at).unwrap_or(ROUND))
            .min(have);
        let next = scan_round(data, round, at, &mut hits);
        if have < buffer.len() && next >= have {
            break;
        }
        at += next.max(OFFSET_STEP) as u64;
    }
    hits.truncate(MAX_SCAN_HITS);
    Ok(hits)
}

/// Looks at every boundary below `round`; returns where to go on.
fn scan_round(data: &[u8], round: usize, base: u64, hits: &mut Vec<Hit>) -> usize {
    let mut at = 0;
    while at < round {
        let found = data.get(at..).and_then(start_of_environment);
        at += match found {
            Some(hit) => {
                let size = usize::try_from(hit.size).unwrap_or(OFFSET_STEP);
                hits.push(Hit {
                    offset: base + at as u64,
                    ..hit
                });
                size.next_multiple_of(OFFSET_STEP)
            }
            None => OFFSET_STEP,
        };
    }
    at
}

fn fill(
    source: &mut impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    at: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = buffer.get_mut(have..).filter(|r| !r.is_empty()) {
        match source(at + have as u64, rest) {
            Ok(0) => break,
            Ok(n) => have += n.min(rest.len()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

/// The environment that starts at the first byte, if one does.
fn start_of_environment(bytes: &[u8]) -> Option<Hit> {
    [Layout::Single, Layout::Redundant]
        .into_iter()
        .find_map(|layout| fits(bytes, layout))
}

fn fits(bytes: &[u8], layout: Layout) -> Option<Hit> {
    let start = layout.data_offset();
    let head = *bytes.first_chunk::<4>()?;
    let (little, big) = (Endian::Little.decode(head), Endian::Big.decode(head));
    let data = bytes.get(start..bytes.len().min(MAX_SCAN_ENV_SIZE))?;
    if !starts_with_a_variable(data) {
        return None;
    }
    let mut crc = crc32fast::Hasher::new();
    let (first, mut rest) = data.split_at_checked(SIZE_STEP - start)?;
    let mut size = SIZE_STEP;
    let mut piece = first;
    loop {
        crc.update(piece);
        let sum = crc.clone().finalize();
        if sum == little || sum == big {
            let endian = if sum == little {
                Endian::Little
            } else {
                Endian::Big
            };
            let flags = match layout {
                Layout::Single => None,
                Layout::Redundant => bytes.get(4).copied(),
            };
            return Some(Hit {
                offset: 0,
                size: size as u64,
                layout,
                endian,
                flags,
            });
        }
        (piece, rest) = rest.split_at_checked(SIZE_STEP)?;
        size += SIZE_STEP;
    }
}

/// `name=` in printable characters. Rules out almost every boundary at once.
fn starts_with_a_variable(data: &[u8]) -> bool {
    let name = data.iter().take(LONGEST_NAME).take_while(|&&b| b != b'=');
    let mut len = 0;
    for &byte in name {
        if !byte.is_ascii_graphic() {
            return false;
        }
        len += 1;
    }
    len > 0 && data.get(len) == Some(&b'=')
}

#[cfg(test)]
mod tests;
