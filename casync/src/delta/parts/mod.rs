//! A zstd frame taken apart: everything that its content does not tell, and no more.
//!
//! Versions of zstd differ in how they cut a content into literals and matches, hardly ever in how they write
//! down what they have cut. So two versions' frames of one content are alike in their parts, while their
//! bytes have nothing in common behind the first difference. A frame that this zstd does not make is
//! therefore mended in its parts: those of the frame that this zstd makes are the prefix of the others.
//!
//! The entropy coding is ours, by RFC 8878, with the tables that the frame itself describes: it does not
//! depend on any version. What cannot be put together to the same bytes is found out by the builder, which
//! tries. The bytes of the parts are described in `docs/formats/delta.md`.

mod bits;
mod block;
mod cursor;
mod fse;
mod huffman;
mod literals;
mod sequences;
mod tables;

use block::{Head, Kind, Memory};
use cursor::Cursor;

use crate::chunker::widen;

/// Frame's magic number, and the descriptor behind it.
const HEAD: usize = 5;
/// Bits of the descriptor that stand for what is not taken apart: reserved ones, a checksum, a dictionary.
const UNUSUAL: u8 = 0b1_1111;

/// Takes a whole frame apart, if it is one of those that can be.
pub(super) fn take_apart(frame: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Cursor::new(frame);
    let mut parts = Vec::new();
    let header = frame.take(header_len(frame.rest())?)?;
    parts.push(u8::try_from(header.len()).ok()?);
    parts.extend_from_slice(header);
    let mut memory = Memory::default();
    loop {
        let head = Head::read(&mut frame)?;
        parts.push(head.bits());
        let stored = frame.take(head.stored())?;
        match head.kind {
            Kind::Raw | Kind::Same => parts.extend_from_slice(&head.size.to_le_bytes()),
            Kind::Compressed => block::take_apart(stored, &mut memory, &mut parts)?,
        }
        if head.last {
            return frame.is_done().then_some(parts);
        }
    }
}

/// Makes the frame of its content and its parts.
pub(super) fn put_together(parts: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    let (mut parts, mut content) = (Cursor::new(parts), Cursor::new(content));
    let len = parts.byte()?;
    let mut frame = parts.take(len.into())?.to_vec();
    let mut memory = Memory::default();
    loop {
        let mut head = Head::of_bits(parts.byte()?)?;
        let stored = match head.kind {
            Kind::Raw | Kind::Same => {
                head.size = parts.word()?;
                let plain = content.take(widen(head.size))?;
                plain.get(..head.stored())?.to_vec()
            }
            Kind::Compressed => {
                let block = block::put_together(&mut parts, &mut content, &mut memory)?;
                head.size = u32::try_from(block.len()).ok()?;
                block
            }
        };
        head.write(&mut frame);
        frame.extend_from_slice(&stored);
        if head.last {
            return (parts.is_done() && content.is_done()).then_some(frame);
        }
    }
}

fn header_len(frame: &[u8]) -> Option<usize> {
    let descriptor = *frame.get(HEAD - 1)?;
    if descriptor & UNUSUAL != 0 {
        return None;
    }
    let single_segment = descriptor >> 5 & 1;
    let size = match descriptor >> 6 {
        0 => single_segment,
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let window = 1 - single_segment;
    Some(HEAD + usize::from(window) + usize::from(size))
}

#[cfg(test)]
mod tests;
