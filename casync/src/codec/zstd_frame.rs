//! One zstd frame into a buffer of known length.

use std::io;

use zstd::zstd_safe::{DCtx, find_frame_compressed_size, get_error_name, get_frame_content_size};

use super::{DecodeError, Format};
use crate::limits::ZSTD_WINDOW_LOG;

/// zstd's code for "destination too small" (its public list of error codes), as it is returned.
const DESTINATION_TOO_SMALL: usize = 0_usize.wrapping_sub(70);

/// Decodes straight into the output: no window buffer, since the output is the window.
#[derive(Default)]
pub(super) struct FrameDecoder {
    context: Option<DCtx<'static>>,
}

impl FrameDecoder {
    pub(super) fn decode(&mut self, frame: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
        let expected = out.len();
        check_frame(frame, expected)?;
        let context = self.context.get_or_insert_with(DCtx::create);
        let found = context.decompress(out, frame).map_err(|code| match code {
            DESTINATION_TOO_SMALL => DecodeError::TooLong { expected },
            code => damaged(code),
        })?;
        if found < expected {
            return Err(DecodeError::TooShort { expected, found });
        }
        Ok(())
    }
}

/// Refuses what is not just one frame, with a content of `expected` bytes if it states any length.
pub(crate) fn check_frame(frame: &[u8], expected: usize) -> Result<(), DecodeError> {
    check_window(frame)?;
    check_content_size(frame, expected)?;
    let frame_len = find_frame_compressed_size(frame).map_err(damaged)?;
    match frame.len().saturating_sub(frame_len) {
        0 => Ok(()),
        trailing => Err(DecodeError::Trailing {
            format: Format::Zstd,
            bytes: trailing,
        }),
    }
}

/// Refuses a frame that needs a larger window than any store has reason to use.
///
/// Decoding into the output takes no memory for the window; the limit is there all the same, so that
/// what one reader of a store accepts does not depend on how it decodes.
fn check_window(frame: &[u8]) -> Result<(), DecodeError> {
    let [_, _, _, _, descriptor, window, ..] = *frame else {
        return Err(DecodeError::Damaged {
            format: Format::Zstd,
            source: io::ErrorKind::UnexpectedEof.into(),
        });
    };
    let single_segment = descriptor >> 5 & 1 == 1;
    if single_segment {
        return Ok(()); // The window is the content, whose size is checked next.
    }
    let base = 1_u64 << (10 + (window >> 3));
    let size = base + base / 8 * u64::from(window & 7);
    if size > 1 << ZSTD_WINDOW_LOG {
        return Err(DecodeError::Window(size));
    }
    Ok(())
}

/// A frame may state its content's size (casync's do not); a false one is refused at once.
fn check_content_size(frame: &[u8], expected: usize) -> Result<(), DecodeError> {
    let stated = get_frame_content_size(frame).map_err(|_| DecodeError::Damaged {
        format: Format::Zstd,
        source: io::Error::other("unreadable frame header"),
    })?;
    let Some(stated) = stated else { return Ok(()) };
    match usize::try_from(stated) {
        Ok(found) if found == expected => Ok(()),
        Ok(found) if found < expected => Err(DecodeError::TooShort { expected, found }),
        _ => Err(DecodeError::TooLong { expected }),
    }
}

fn damaged(code: usize) -> DecodeError {
    DecodeError::Damaged {
        format: Format::Zstd,
        source: io::Error::other(get_error_name(code)),
    }
}
