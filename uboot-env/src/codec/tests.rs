use super::*;
use crate::env::VarName;
use proptest::prelude::*;

fn env(vars: &[(&str, &str)]) -> Env {
    let mut env = Env::new();
    for (name, value) in vars {
        env.set(&VarName::new(name).unwrap(), value.as_bytes())
            .unwrap();
    }
    env
}

#[test]
fn the_bytes_of_a_single_image() {
    let image = Image::render(&env(&[("a", "1")]), None, 12, Endian::Little).unwrap();
    // CRC32 of `a=1\0\0\0\0\0`.
    let crc = crc32fast::hash(b"a=1\0\0\0\0\0").to_le_bytes();
    assert_eq!(image, [&crc[..], b"a=1\0\0\0\0\0"].concat());
}

#[test]
fn the_bytes_of_a_redundant_image_in_both_byte_orders() {
    let e = env(&[("a", "1")]);
    let little = Image::render(&e, Some(7), 12, Endian::Little).unwrap();
    let big = Image::render(&e, Some(7), 12, Endian::Big).unwrap();
    assert_eq!(little[4], 7);
    assert_eq!(&little[5..], b"a=1\0\0\0\0");
    assert_eq!(little[4..], big[4..]);
    assert_eq!(
        little[..4].iter().rev().copied().collect::<Vec<_>>(),
        big[..4]
    );
    assert!(Image::parse(&little, Layout::Redundant, Endian::Big).is_err());
    assert_eq!(
        Image::parse(&big, Layout::Redundant, Endian::Big)
            .unwrap()
            .flags,
        Some(7)
    );
}

#[test]
fn padding_is_zero_whatever_it_was_before() {
    let mut bytes = Image::render(&env(&[("a", "1")]), None, 64, Endian::Little).unwrap();
    bytes[9..].fill(0xFF);
    let crc = crc32fast::hash(&bytes[4..]).to_le_bytes();
    bytes[..4].copy_from_slice(&crc);
    let image = Image::parse(&bytes, Layout::Single, Endian::Little).unwrap();
    let again = Image::render(&image.env, image.flags, 64, Endian::Little).unwrap();
    assert_eq!(&again[4..9], b"a=1\0\0");
    assert!(again[9..].iter().all(|&b| b == 0));
}

#[test]
fn the_other_layout_and_other_lengths_are_bad_crcs() {
    let bytes = Image::render(&env(&[("abc", "def")]), Some(1), 256, Endian::Little).unwrap();
    let crc = |r: Result<Image, _>| matches!(r, Err(ImageError::Crc { .. }));
    assert!(crc(Image::parse(&bytes, Layout::Single, Endian::Little)));
    for len in 6..256 {
        assert!(
            crc(Image::parse(
                &bytes[..len],
                Layout::Redundant,
                Endian::Little
            )),
            "{len}"
        );
    }
    for len in 0..6 {
        let r = Image::parse(&bytes[..len], Layout::Redundant, Endian::Little);
        assert_eq!(r, Err(ImageError::Size { size: len as u64 }));
    }
}

#[test]
fn every_flipped_bit_is_noticed_except_those_of_the_flags_byte() {
    let good = Image::render(
        &env(&[("a", "1"), ("b", "2")]),
        Some(1),
        128,
        Endian::Little,
    )
    .unwrap();
    for byte in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[byte] ^= 1 << bit;
            let parsed = Image::parse(&bad, Layout::Redundant, Endian::Little);
            assert_eq!(
                parsed.is_ok(),
                byte == FLAGS_OFFSET,
                "byte {byte} bit {bit}"
            );
        }
    }
}

#[test]
fn erased_and_zeroed_areas_are_no_environments() {
    for fill in [0u8, 0xFF] {
        for len in [6usize, 64, 4096, 16384] {
            for layout in [Layout::Single, Layout::Redundant] {
                let r = Image::parse(&vec![fill; len], layout, Endian::Little);
                assert!(
                    matches!(r, Err(ImageError::Crc { .. })),
                    "{fill:02x} {len} {layout:?}"
                );
            }
        }
    }
}

#[test]
fn an_area_without_the_closing_nul_is_read_and_said_to_be_so() {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(b"a=1\0b=22");
    let crc = crc32fast::hash(&bytes[4..]).to_le_bytes();
    bytes[..4].copy_from_slice(&crc);
    let image = Image::parse(&bytes, Layout::Single, Endian::Little).unwrap();
    assert_eq!(image.ending, Ending::Unterminated);
    assert_eq!(image.env.get(b"b"), Some(b"22".as_slice()));
    // Writing the same again would need the closing NULs.
    let r = Image::render(&image.env, None, 12, Endian::Little);
    assert_eq!(r, Err(ImageError::TooBig { need: 10, room: 8 }));
}

#[test]
fn the_area_can_be_filled_to_the_last_byte_and_no_further() {
    // 5 bytes of header, `a=` 2 + value + NUL + NUL.
    let size = 64;
    let fits = "x".repeat(64 - 5 - 4);
    let image = Image::render(&env(&[("a", &fits)]), Some(1), size, Endian::Little).unwrap();
    let back = Image::parse(&image, Layout::Redundant, Endian::Little).unwrap();
    assert_eq!(back.ending, Ending::Terminated);
    let over = format!("{fits}x");
    let r = Image::render(&env(&[("a", &over)]), Some(1), size, Endian::Little);
    assert_eq!(r, Err(ImageError::TooBig { need: 60, room: 59 }));
}

#[test]
fn sizes_beyond_the_cap_are_refused_before_memory_is_taken() {
    let r = Image::render(&Env::new(), None, u64::MAX, Endian::Little);
    assert_eq!(r, Err(ImageError::Size { size: u64::MAX }));
}

proptest! {
    #[test]
    fn parse_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for layout in [Layout::Single, Layout::Redundant] {
            for endian in [Endian::Little, Endian::Big] {
                drop(Image::parse(&bytes, layout, endian));
            }
        }
    }

    /// Any data area under a right CRC: parse, render, parse gives the same entries.
    #[test]
    fn parse_after_render_is_identity(
        data in proptest::collection::vec(prop_oneof![Just(0u8), Just(b'='), any::<u8>()], 2..300),
        flags in any::<u8>(),
    ) {
        let mut bytes = crc32fast::hash(&data).to_le_bytes().to_vec();
        bytes.push(flags);
        bytes.extend_from_slice(&data);
        let image = Image::parse(&bytes, Layout::Redundant, Endian::Little).unwrap();
        prop_assert_eq!(image.flags, Some(flags));
        let size = bytes.len() as u64;
        match Image::render(&image.env, image.flags, size, Endian::Little) {
            Ok(again) => {
                let back = Image::parse(&again, Layout::Redundant, Endian::Little).unwrap();
                prop_assert_eq!(&back.env, &image.env);
                prop_assert_eq!(back.ending, Ending::Terminated);
            }
            Err(e) => {
                prop_assert_eq!(image.ending, Ending::Unterminated, "{}", e);
            }
        }
    }

    #[test]
    fn edits_survive_a_round_trip(
        vars in proptest::collection::vec(("[a-z][a-zA-Z0-9_.]{0,8}", "[^\0]{0,20}"), 0..20),
        drop_at in 0usize..20,
    ) {
        let mut e = Env::new();
        for (name, value) in &vars {
            e.set(&VarName::new(name).unwrap(), value.as_bytes()).unwrap();
        }
        if let Some((name, _)) = vars.get(drop_at) {
            e.remove(&VarName::new(name).unwrap());
            prop_assert_eq!(e.get(name.as_bytes()), None);
        }
        let bytes = Image::render(&e, Some(3), 4096, Endian::Big).unwrap();
        let back = Image::parse(&bytes, Layout::Redundant, Endian::Big).unwrap();
        prop_assert_eq!(back.env, e);
    }
}
