//! Finds the zstd frames in an image: the blocks of a squashfs, whatever else is compressed so.
//!
//! It goes by the frames' own headers, not by the image's format. What looks like a frame and is none
//! costs nothing but time: every piece is tried before it is used.

use std::io;

use zstd::zstd_safe::find_frame_compressed_size;

use super::super::decode::content_len;
use super::super::directory::BaseRange;
use crate::blob::Blob;
use crate::limits::{DELTA_PIECE, packed_len};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes that are searched at once.
const WINDOW: usize = 8 * 1024 * 1024;
/// Smallest content that is worth a piece of its own.
const SMALLEST: u32 = 512;

/// A frame in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: u64,
    pub(super) len: u32,
    pub(super) content: u32,
}

impl Found {
    pub(super) fn end(&self) -> u64 {
        self.start + u64::from(self.len)
    }

    pub(super) fn range(&self) -> BaseRange {
        BaseRange {
            start: self.start,
            len: self.len,
        }
    }
}

/// The frames of `image` in order; they do not overlap.
pub(super) fn find(image: &dyn Blob) -> io::Result<Vec<Found>> {
    let longest = usize::try_from(packed_len(DELTA_PIECE.into())).unwrap_or(WINDOW);
    let (mut found, mut buffer, mut offset) = (Vec::new(), Vec::new(), 0);
    while offset < image.len() {
        let rest = usize::try_from(image.len() - offset).unwrap_or(usize::MAX);
        buffer.resize(rest.min(WINDOW + longest), 0);
        image.read_exact_at(offset, &mut buffer)?;
        // A frame that begins in the window's last part may not be in it whole: the next one has it.
        let searched = if rest > buffer.len() {
            WINDOW
        } else {
            buffer.len()
        };
        let mut at = 0;
        while at < searched {
            let Some(next) = next_magic(&buffer[at..]) else {
                at = searched;
                break;
            };
            at += next;
            if at >= searched {
                break;
            }
            at += match frame_at(&buffer[at..]) {
                Some((len, content)) => {
                    let start = offset + u64::try_from(at).unwrap_or(u64::MAX);
                    found.push(Found {
                        start,
                        len,
                        content,
                    });
                    usize::try_from(len).unwrap_or(usize::MAX)
                }
                None => MAGIC.len(),
            };
        }
        offset += u64::try_from(at).unwrap_or(u64::MAX);
    }
    Ok(found)
}

fn next_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MAGIC.len()).position(|four| four == MAGIC)
}

/// Length of the frame that begins here, and of its content.
fn frame_at(bytes: &[u8]) -> Option<(u32, u32)> {
    let content = content_len(bytes).filter(|content| *content >= SMALLEST)?;
    let len = find_frame_compressed_size(bytes).ok()?;
    let len = u32::try_from(len).ok().filter(|len| *len <= DELTA_PIECE)?;
    Some((len, content))
}
