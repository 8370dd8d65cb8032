//! zstd frames against a prefix, and zstd frames made again.

use std::io;

use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, get_error_name};

use crate::codec::{DecodeError, Format, check_frame};

/// Window of the frames that we make: 2 MiB.
const WINDOW_LOG: u32 = 21;

/// Fills `out` from a frame whose prefix is `prefix`.
pub(super) fn unpack(prefix: &[u8], frame: &[u8], out: &mut [u8]) -> Result<(), DecodeError> {
    let expected = out.len();
    check_frame(frame, expected)?;
    let mut context = DCtx::create();
    context.ref_prefix(prefix).map_err(damaged)?;
    let found = context.decompress(out, frame).map_err(damaged)?;
    if found < expected {
        return Err(DecodeError::TooShort { expected, found });
    }
    Ok(())
}

/// Compresses `bytes` against `prefix`.
pub(super) fn pack(prefix: &[u8], bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut context = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(WINDOW_LOG),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    context.ref_prefix(prefix).map_err(failed)?;
    let mut out = Vec::with_capacity(compress_bound(bytes.len()));
    context.compress2(&mut out, bytes).map_err(failed)?;
    Ok(out)
}

/// Makes a frame as squashfs's tools do: one call, nothing but a level.
///
/// What comes out depends on zstd's version. Builder and device are of one version, since both are
/// built with the one that `Cargo.lock` names, and the delta says with which it was made.
///
/// # Errors
/// zstd has no memory.
pub fn frame_of(content: &[u8], level: u8) -> io::Result<Vec<u8>> {
    frame_with(&mut CCtx::create(), content, level)
}

/// The same with a context that was used before, which makes no difference to what comes out.
pub(super) fn frame_with(context: &mut CCtx<'_>, content: &[u8], level: u8) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(compress_bound(content.len()));
    context
        .compress(&mut out, content, level.into())
        .map_err(failed)?;
    // Some are kept for their neighbours: without the room for what does not compress.
    out.shrink_to_fit();
    Ok(out)
}

fn failed(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}

fn damaged(code: usize) -> DecodeError {
    DecodeError::Damaged {
        format: Format::Zstd,
        source: failed(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something like text, with much that repeats.
    fn text(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut bytes = Vec::with_capacity(len + 20);
        while bytes.len() < len {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let word = format!("word {} ", state >> 52);
            bytes.extend_from_slice(word.as_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn a_context_that_is_used_again_makes_the_same_frames() {
        let mut context = CCtx::create();
        for seed in 0..2 {
            for level in 1..=22 {
                let len = 3_000 + usize::from(level) * 5_000;
                let content = text(len, seed);
                let made = frame_with(&mut context, &content, level).unwrap();
                assert!(made == frame_of(&content, level).unwrap(), "{level}");
            }
        }
    }
}
