use proptest::prelude::*;
use zstd::zstd_safe::{CCtx, CParameter, compress_bound};

use super::super::frame::frame_of;
use super::*;

/// Words of a small language, so that there are matches of all lengths and offsets that come again.
fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::new();
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        match state >> 60 {
            0..12 => bytes.extend_from_slice(format!("word{} ", state >> 50).as_bytes()),
            12 => bytes.extend_from_within(bytes.len() / 2..bytes.len().min(bytes.len() / 2 + 90)),
            13 => bytes.extend([0; 40]),
            _ => bytes.extend_from_slice(&state.to_le_bytes()),
        }
    }
    bytes.truncate(len);
    bytes
}

fn made_with(content: &[u8], parameters: &[CParameter]) -> Vec<u8> {
    let mut context = CCtx::create();
    for parameter in parameters {
        context.set_parameter(*parameter).unwrap();
    }
    let mut frame = Vec::with_capacity(compress_bound(content.len()));
    context.compress2(&mut frame, content).unwrap();
    frame
}

fn comes_together(frame: &[u8], content: &[u8]) {
    let parts = take_apart(frame).expect("a frame of zstd's");
    let again = put_together(&parts, content).expect("its parts");
    assert!(again == frame, "other bytes");
}

#[test]
fn frames_of_every_level_come_together_again() {
    for level in 1..=22 {
        for len in [
            0, 1, 10, 63, 64, 255, 256, 1_000, 5_000, 16_384, 20_000, 131_072,
        ] {
            let content = text(len, u64::from(level));
            comes_together(&frame_of(&content, level).unwrap(), &content);
        }
    }
}

#[test]
fn so_do_several_blocks_that_use_each_other_s_tables() {
    for level in [1, 3, 6, 9, 13, 15, 19] {
        let mut content = text(500_000, 7);
        content.extend(vec![b'a'; 300_000]);
        content.extend((0..1_u32 << 16).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()));
        comes_together(&frame_of(&content, level).unwrap(), &content);
    }
}

#[test]
fn so_do_frames_with_a_window_and_without_their_content_s_size() {
    let content = text(400_000, 3);
    for sized in [true, false] {
        let parameters = [
            CParameter::WindowLog(15),
            CParameter::ContentSizeFlag(sized),
            CParameter::CompressionLevel(12),
        ];
        comes_together(&made_with(&content, &parameters), &content);
    }
}

#[test]
fn blocks_that_do_not_compress_and_blocks_of_one_byte_have_no_parts_but_their_length() {
    let noise: Vec<u8> = (0..1000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    for content in [noise, vec![b'x'; 100_000]] {
        let frame = frame_of(&content, 9).unwrap();
        comes_together(&frame, &content);
        assert!(take_apart(&frame).unwrap().len() < 40);
    }
}

#[test]
fn a_frame_with_a_checksum_is_left_whole() {
    let frame = made_with(&text(10_000, 1), &[CParameter::ChecksumFlag(true)]);
    assert_eq!(take_apart(&frame), None);
}

#[test]
fn two_ways_to_cut_one_content_have_most_of_their_parts_in_common() {
    let content = text(131_072, 5);
    let one = made_with(&content, &[CParameter::CompressionLevel(15)]);
    let other = [CParameter::CompressionLevel(15), CParameter::SearchLog(4)];
    let other = made_with(&content, &other);
    assert_ne!(one, other);
    let packed = |known: &[u8], bytes: &[u8]| super::super::frame::pack(known, bytes, 19).unwrap();
    let parts = |frame: &[u8]| take_apart(frame).unwrap();
    let (bytes, in_parts) = (
        packed(&one, &other).len(),
        packed(&parts(&one), &parts(&other)).len(),
    );
    assert!(
        in_parts * 2 < bytes,
        "{in_parts} in parts, {bytes} of bytes"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        content in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let _ = put_together(&bytes, &content);
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, 0xff];
        frame.extend(bytes);
        let _ = take_apart(&frame);
    }

    #[test]
    fn no_change_of_a_frame_or_of_its_parts_makes_it_panic(at: prop::sample::Index, byte: u8, level in 1_u8..20) {
        let content = text(3_000, 9);
        let mut frame = frame_of(&content, level).unwrap();
        let mut parts = take_apart(&frame).unwrap();
        let place = at.index(frame.len());
        frame[place] = byte;
        if let Some(parts) = take_apart(&frame) {
            let _ = put_together(&parts, &content);
        }
        let place = at.index(parts.len());
        parts[place] = byte;
        let _ = put_together(&parts, &content);
    }
}
