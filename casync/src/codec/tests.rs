use super::*;
use crate::limits::packed_len;
use proptest::prelude::*;

fn packings() -> Vec<Packing> {
    vec![
        Packing::default(),
        Packing::Zstd { level: 19 },
        Packing::Zstd { level: -5 },
        #[cfg(feature = "xz")]
        Packing::Xz,
        #[cfg(feature = "gzip")]
        Packing::Gzip,
    ]
}

fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(packing)
        .unwrap()
        .encode(bytes, &mut out)
        .unwrap();
    out
}

fn unpack(stored: &[u8], len: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = vec![0; len];
    Decoder::new()
        .decode(StoredForm::Packed, stored, &mut out)
        .map(|()| out)
}

fn text(len: usize) -> Vec<u8> {
    b"slot a, slot b, "
        .iter()
        .copied()
        .cycle()
        .take(len)
        .collect()
}

/// A zstd frame as a streaming compressor makes it: no content size.
fn streamed(bytes: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder
        .set_parameter(zstd::zstd_safe::CParameter::WindowLog(window_log))
        .unwrap();
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_packing_comes_back_and_is_known_by_its_first_bytes() {
    for packing in packings() {
        for len in [1, 100, 70_000] {
            let packed = pack(packing, &text(len));
            assert!(Format::of(&packed).is_some(), "{packing:?}");
            assert_eq!(
                unpack(&packed, len).unwrap(),
                text(len),
                "{packing:?} {len}"
            );
        }
    }
}

#[test]
fn incompressible_chunks_stay_below_the_cap_for_stored_bytes() {
    let mut noise = vec![0; 262_144];
    let mut state = 1_u32;
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = state.to_le_bytes()[3];
    }
    for packing in packings() {
        for len in [1, 262_144] {
            let packed = u64::try_from(pack(packing, &noise[..len]).len()).unwrap();
            assert!(
                packed <= packed_len(u64::try_from(len).unwrap()),
                "{packing:?}: {packed}"
            );
        }
    }
}

#[test]
fn frames_without_content_size_are_read() {
    let frame = streamed(&text(70_000), 21);
    assert_eq!(
        zstd::zstd_safe::get_frame_content_size(&frame).unwrap(),
        None
    );
    assert_eq!(unpack(&frame, 70_000).unwrap(), text(70_000));
}

#[test]
fn bombs_stop_at_the_length_of_the_index() {
    let zeros = vec![0; 8 << 20];
    for packed in packings()
        .into_iter()
        .map(|p| pack(p, &zeros))
        .chain([streamed(&zeros, 21)])
    {
        assert!(packed.len() < 20_000);
        let error = unpack(&packed, 65_536).unwrap_err();
        assert!(
            matches!(error, DecodeError::TooLong { expected: 65_536 }),
            "{error}"
        );
    }
}

#[test]
fn short_truncated_damaged_and_trailing_data_is_refused() {
    for packed in packings()
        .into_iter()
        .map(|p| pack(p, &text(500)))
        .chain([streamed(&text(500), 21)])
    {
        assert!(matches!(
            unpack(&packed, 501),
            Err(DecodeError::TooShort { found: 500, .. })
        ));
        assert!(matches!(
            unpack(&packed, 499),
            Err(DecodeError::TooLong { expected: 499 })
        ));
        for len in 0..packed.len() {
            assert!(
                unpack(&packed[..len], 500).is_err(),
                "{len} of {}",
                packed.len()
            );
        }
        let longer = [&packed[..], b"x"].concat();
        assert!(matches!(
            unpack(&longer, 500),
            Err(DecodeError::Trailing { bytes: 1, .. })
        ));
        let twice = [&packed[..], &packed[..]].concat();
        assert!(unpack(&twice, 1000).is_err(), "two in one");
    }
    assert!(matches!(
        unpack(b"plain text", 10),
        Err(DecodeError::UnknownFormat)
    ));
    assert!(matches!(unpack(b"", 10), Err(DecodeError::UnknownFormat)));
}

#[test]
fn windows_above_the_limit_are_refused() {
    let bytes = text(1000);
    assert_eq!(unpack(&streamed(&bytes, 23), 1000).unwrap(), bytes);
    assert!(matches!(
        unpack(&streamed(&bytes, 24), 1000),
        Err(DecodeError::Window(0x100_0000))
    ));
}

#[cfg(feature = "xz")]
#[test]
fn xz_that_asks_for_too_much_memory_is_refused() {
    use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
    let packed = |dict: u32| {
        let mut options = LzmaOptions::new_preset(0).unwrap();
        options.dict_size(dict);
        let stream =
            Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc32).unwrap();
        let mut out = Vec::new();
        let input = text(1000);
        let mut encoder = liblzma::bufread::XzEncoder::new_stream(&input[..], stream);
        std::io::Read::read_to_end(&mut encoder, &mut out).unwrap();
        out
    };
    assert_eq!(unpack(&packed(64 << 20), 1000).unwrap(), text(1000));
    let error = unpack(&packed(128 << 20), 1000).unwrap_err();
    assert!(
        matches!(
            error,
            DecodeError::Damaged {
                format: Format::Xz,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn raw_chunks_have_exactly_their_length() {
    let mut out = [0; 3];
    let mut decoder = Decoder::new();
    assert!(decoder.decode(StoredForm::Raw, b"abc", &mut out).is_ok());
    assert_eq!(&out, b"abc");
    let short = decoder.decode(StoredForm::Raw, b"ab", &mut out);
    assert!(matches!(
        short,
        Err(DecodeError::TooShort {
            expected: 3,
            found: 2
        })
    ));
    let long = decoder.decode(StoredForm::Raw, b"abcd", &mut out);
    assert!(matches!(long, Err(DecodeError::TooLong { expected: 3 })));
}

#[test]
fn a_decoder_works_on_after_an_error() {
    let mut decoder = Decoder::new();
    let (good, mut out) = (pack(Packing::default(), &text(500)), vec![0; 500]);
    assert!(
        decoder
            .decode(StoredForm::Packed, &good[..good.len() - 1], &mut out)
            .is_err()
    );
    assert!(decoder.decode(StoredForm::Packed, &good, &mut out).is_ok());
    assert_eq!(out, text(500));
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(
        kind in 0..5_usize, rest in prop::collection::vec(any::<u8>(), 0..200), len in 0..1000_usize,
    ) {
        let magics: [&[u8]; 5] =
            [&[], &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], &[0x1f, 0x8b], &[0x1f, 0x8b, 8, 0]];
        let _ = unpack(&[magics[kind], &rest[..]].concat(), len);
    }

    #[test]
    fn no_change_of_a_stored_chunk_makes_a_decoder_panic(
        kind in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let packings = packings();
        let mut packed = pack(packings[kind.index(packings.len())], &text(300));
        let at = at.index(packed.len());
        packed[at] = byte;
        let _ = unpack(&packed, 300);
    }
}
