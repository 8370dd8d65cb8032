//! Finds environments of unknown size and offset: wherever the CRC of what follows fits.
//!
//! At every 512-byte boundary that could start an environment, one running CRC over what follows is
//! compared with the stored one at every possible size. Since the CRC covers the padding as well,
//! a match tells the exact size, the layout and the byte order. An environment without variables
//! is not found: nothing distinguishes its start from other data.

use crate::codec::{Endian, Layout};
use crate::limits::{MAX_SCAN_ENV_SIZE, MAX_SCAN_HITS, MAX_UNREADABLE_PIECES};
use std::io;

/// Environments start on such boundaries.
pub const OFFSET_STEP: usize = 512;

/// Environment sizes are multiples of this.
pub const SIZE_STEP: usize = 256;

/// Bytes looked at per round; as many again as the largest environment are read ahead.
const ROUND: usize = 1024 * 1024;

/// What is passed over where a device cannot be read, in bytes.
const UNREADABLE_PIECE: usize = 4096;

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
    /// Number of bytes.
    pub len: u64,
}

/// What a scan found, and what it did not look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// In the order of their offsets.
    pub hits: Vec<Hit>,
    /// The first byte that was not looked at: the end of the window or of the source, or where
    /// [`MAX_SCAN_HITS`] were reached.
    pub end: u64,
    /// Bytes that could not be read and were passed over.
    pub unreadable: u64,
}

/// Scans `source`, which fills a buffer from an offset and says how many bytes there were (0 at
/// the end). What it cannot read is passed over: a bad block must not hide the rest of a device. At
/// most [`MAX_SCAN_HITS`] environments are reported.
///
/// # Errors
/// What `source` says, if it cannot read anything, or too much is unreadable.
pub fn scan(
    source: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    window: Window,
) -> io::Result<Scan> {
    let mut source = Source::new(source);
    let mut end = window.from.saturating_add(window.len);
    let mut hits = Vec::new();
    let mut buffer = vec![0; ROUND + MAX_SCAN_ENV_SIZE];
    let mut at = window.from - window.from % OFFSET_STEP as u64;
    while at < end && hits.len() < MAX_SCAN_HITS {
        let have = source.fill(at, &mut buffer)?;
        let data = buffer.get(..have).unwrap_or_default();
        let round = ROUND
            .min(usize::try_from(end - at).unwrap_or(ROUND))
            .min(have);
        let next = scan_round(data, round, at, &mut hits);
        if have < buffer.len() && next >= have {
            end = at.saturating_add(have as u64).min(end);
            break;
        }
        at = at.saturating_add(next.max(OFFSET_STEP) as u64);
    }
    hits.truncate(MAX_SCAN_HITS);
    if let Some(last) = hits.last().filter(|_| hits.len() == MAX_SCAN_HITS) {
        end = last.offset.saturating_add(last.size).min(end);
    }
    source.judge()?;
    Ok(Scan {
        hits,
        end,
        unreadable: source.unreadable,
    })
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

/// A source of bytes, and what of it could not be read.
struct Source<F> {
    read: F,
    /// Anything was read at all.
    any: bool,
    failure: Option<io::Error>,
    unreadable: u64,
    /// Up to here pieces that cannot be read are counted: rounds overlap.
    counted_to: u64,
}

impl<F: FnMut(u64, &mut [u8]) -> io::Result<usize>> Source<F> {
    const fn new(read: F) -> Self {
        Self {
            read,
            any: false,
            failure: None,
            unreadable: 0,
            counted_to: 0,
        }
    }

    /// Bytes from `at` on, as many as there are; zeros in the place of those that cannot be read.
    fn fill(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut have = 0;
        while let Some(rest) = buffer.get_mut(have..).filter(|r| !r.is_empty()) {
            let from = at.saturating_add(have as u64);
            match (self.read)(from, rest) {
                Ok(0) => break,
                Ok(n) => {
                    self.any = true;
                    have += n.min(rest.len());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let piece = rest.len().min(UNREADABLE_PIECE);
                    rest.iter_mut().take(piece).for_each(|byte| *byte = 0);
                    have += piece;
                    self.pass_over(from, piece as u64, e)?;
                }
            }
        }
        Ok(have)
    }

    fn pass_over(&mut self, from: u64, len: u64, error: io::Error) -> io::Result<()> {
        let to = from.saturating_add(len);
        if from >= self.counted_to {
            self.unreadable += len;
            self.counted_to = to;
        }
        let limit = (MAX_UNREADABLE_PIECES * UNREADABLE_PIECE) as u64;
        // A number that leaves no room for a next byte is no place on any device.
        if self.unreadable > limit || to == u64::MAX {
            return Err(error);
        }
        self.failure = Some(error);
        Ok(())
    }

    /// A source of which nothing could be read has not been searched.
    fn judge(&mut self) -> io::Result<()> {
        match self.failure.take() {
            Some(error) if !self.any => Err(error),
            _ => Ok(()),
        }
    }
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
