use super::*;
use proptest::prelude::*;

fn block(body: &[u8]) -> Vec<u8> {
    [HEADER.as_slice(), body].concat()
}

fn pairs(b: &Block) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    b.iter().map(|(n, v)| (text(n), text(v))).collect()
}

#[test]
fn reads_as_measured() {
    type Listed = &'static [(&'static str, &'static str)];
    // (body, variables) as GRUB 2.06's editor lists them.
    let cases: &[(&[u8], Listed)] = &[
        (b"junk\nname=value\n####", &[("junk\nname", "value")]),
        (b"a=1\n\n\n####", &[("a", "1")]),
        (b"a=1\nb\n####", &[("a", "1")]),
        (b"\n##=\n####", &[("\n##", "")]),
        (
            b"name=value\n\n\nb=1\n####",
            &[("name", "value"), ("\n\nb", "1")],
        ),
        (b"name=val\\\\ue\\\nx=1\n###", &[("name", "val\\ue\nx=1")]),
        (b"a=1\na=2\n###", &[("a", "1"), ("a", "2")]),
        (b"a=1\n=novalue\n###", &[("a", "1"), ("", "novalue")]),
        (b"a=1\nb=x=y\n###", &[("a", "1"), ("b", "x=y")]),
        (b"#comment=5\n#c2\na=1\n###", &[("a", "1")]),
        (b"#c\\\nb=1\n###", &[]),
        (b"a\\\nb=1\n###", &[("a\\\nb", "1")]),
        (b"a\\=1\n###", &[("a\\", "1")]),
        (b"a=1\r\n###", &[("a", "1\r")]),
        (b"a=x\\n\\y\n###", &[("a", "xny")]),
        (b"a=1\n", &[("a", "1")]),
        (b"#", &[]),
        (b"#\n#", &[]),
    ];
    for (body, want) in cases {
        let bytes = block(body);
        let parsed = Block::parse(&bytes).unwrap();
        let got = pairs(&parsed);
        let got: Vec<_> = got.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(&got, want, "{}", body.escape_ascii());
        assert_eq!(
            parsed.to_bytes(bytes.len()).unwrap(),
            bytes,
            "untouched bytes stay"
        );
    }
}

#[test]
fn says_what_is_broken_and_where() {
    assert_eq!(Block::parse(b""), Err(BlockError::TooShort { len: 0 }));
    assert_eq!(Block::parse(HEADER), Err(BlockError::TooShort { len: 25 }));
    assert_eq!(
        Block::parse(b"# GRUB Environment Slot\n#######"),
        Err(BlockError::NoHeader { offset: 19 })
    );
    assert_eq!(
        Block::parse(&[0; 1024]),
        Err(BlockError::NoHeader { offset: 0 })
    );
    let cut = |body: &[u8]| Block::parse(&block(body));
    let at = |offset| Err(BlockError::Unfinished { offset });
    assert_eq!(cut(b"a=1\nb=2222"), at(29));
    assert_eq!(cut(b"a=1\nb=22#####"), at(29));
    assert_eq!(cut(b"a=1\\\n######"), at(25));
    assert_eq!(cut(b"a=1\n\xff\xff\xff"), at(29));
    assert_eq!(cut(b"a=1\n\0\0\0"), at(29));
    assert_eq!(cut(b"a=1\n#abc###"), at(29));
    assert_eq!(cut(b"a=1\n####abc"), at(29));
}

#[test]
fn too_small_is_not_broken() {
    let mut b = Block::parse(&block(b"a=1\n####")).unwrap();
    b.set("b", "12").unwrap();
    assert_eq!(b.to_bytes(33), Err(TooSmall { need: 34, have: 33 }));
    assert_eq!(b.to_bytes(34).unwrap(), block(b"a=1\nb=12\n"));
}

#[test]
fn a_newline_behind_the_padding_is_repaired() {
    let mut b = Block::parse(&block(b"a=1\n########\n")).unwrap();
    b.set("b", "2").unwrap();
    assert_eq!(b.to_bytes(38).unwrap(), block(b"a=1\nb=2\n#####"));
}

#[test]
fn order_comments_and_odd_escapes_stay() {
    let mut b = Block::parse(&block(b"# mine\nz=1\nodd=\\x\n#b\na=2\n#################")).unwrap();
    assert_eq!(b.set("z", "1").unwrap(), Change::None);
    assert_eq!(b.set("odd", "x").unwrap(), Change::None);
    assert_eq!(b.set("z", "long\nvalue").unwrap(), Change::Made);
    assert_eq!(b.unset("nope"), Change::None);
    assert_eq!(b.unset("a"), Change::Made);
    b.set("new", "").unwrap();
    let bytes = b.to_bytes(80).unwrap();
    let want = block(b"# mine\nz=long\\\nvalue\nodd=\\x\n#b\nnew=\n#################");
    assert!(
        bytes.starts_with(&want[..want.len() - 17]),
        "{}",
        bytes.escape_ascii()
    );
}

#[test]
fn what_would_swallow_a_new_variable_goes() {
    for stray in ["junk\n", "\n\n", "x\ny\n#z\n"] {
        let bytes = block(format!("a=1\n{stray}###########").as_bytes());
        let mut b = Block::parse(&bytes).unwrap();
        assert_eq!(b.stray_text(), Some(stray.as_bytes()));
        assert_eq!(b.set("a", "2").unwrap(), Change::Made);
        assert_eq!(b.stray_text(), Some(stray.as_bytes()), "in nobody's way");
        b.set("b", "1").unwrap();
        let back = Block::parse(&b.to_bytes(bytes.len()).unwrap()).unwrap();
        assert_eq!(
            (back.get_text("a"), back.get_text("b")),
            (Some("2"), Some("1"))
        );
    }
}

#[test]
fn the_last_of_two_counts_and_set_takes_effect() {
    // GRUB's editor changes the first line, and GRUB goes on reading the second.
    let mut b = Block::parse(&block(b"a=1\nb=0\na=2\n#####")).unwrap();
    assert_eq!(b.get("a"), Some(b"2".as_slice()));
    assert_eq!(b.repeated_names(), [b"a"]);
    assert_eq!(b.set("a", "2").unwrap(), Change::None);
    assert_eq!(b.set("a", "1").unwrap(), Change::Made);
    assert_eq!(b.get("a"), Some(b"1".as_slice()));
    assert_eq!(
        pairs(&b),
        [("a".into(), "1".into()), ("b".into(), "0".into())]
    );
}

#[test]
fn names_that_would_not_come_back_are_refused() {
    let mut b = Block::new();
    for bad in ["", "a=b", "a\nb", "#a", "a\0b"] {
        assert!(b.set(bad, "1").is_err(), "{bad:?}");
    }
    assert!(b.set("a", "x\0y").is_err());
    assert_eq!(b, Block::new());
}

#[test]
fn first_sector() {
    let mut b = Block::new();
    assert!(b.fits_first_sector());
    b.set("a", "x".repeat(512 - 25 - 3)).unwrap();
    assert_eq!(b.live_len(), 512);
    assert!(b.fits_first_sector());
    b.set("a", "x".repeat(512 - 25 - 2)).unwrap();
    assert!(!b.fits_first_sector());
}

#[test]
fn sectors_that_changed() {
    let old = vec![0_u8; 1024];
    let mut new = old.clone();
    assert!(changed_sectors(&old, &new).is_empty());
    new[511] = 1;
    assert_eq!(changed_sectors(&old, &new), [0]);
    new[512] = 1;
    assert_eq!(changed_sectors(&old, &new), [0, 1]);
    assert_eq!(changed_sectors(&old, &old[..600]), [1]);
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 1..12).prop_map(|mut name| {
        for b in &mut name {
            if matches!(*b, b'=' | b'\n' | 0) {
                *b = b'x';
            }
        }
        if name[0] == b'#' {
            name[0] = b'y';
        }
        name
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\\'), Just(b'\n'), Just(b'#'), Just(b'='), 1..=255_u8];
    proptest::collection::vec(byte, 0..40)
}

/// Bytes that look like a block more often than chance would have it.
fn blockish() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => Just(b'#'), 3 => Just(b'\n'), 2 => Just(b'\\'), 2 => Just(b'='),
        3 => b'a'..=b'c', 1 => any::<u8>()
    ];
    proptest::collection::vec(byte, 1..80).prop_map(|body| block(&body))
}

proptest! {
    #[test]
    fn what_is_set_is_read(vars in proptest::collection::vec((name(), value()), 0..12)) {
        let mut b = Block::new();
        for (n, v) in &vars {
            b.set(n, v).unwrap();
        }
        let bytes = b.to_bytes(b.needed_len() + 7).unwrap();
        let back = Block::parse(&bytes).unwrap();
        prop_assert_eq!(&back, &b);
        for (n, _) in &vars {
            let want = vars.iter().rev().find(|(m, _)| m == n).map(|(_, v)| v.as_slice());
            prop_assert_eq!(back.get(n), want);
        }
    }

    #[test]
    fn untouched_blocks_keep_their_bytes(bytes in blockish()) {
        if let Ok(b) = Block::parse(&bytes) {
            let again = b.to_bytes(bytes.len()).unwrap();
            // The one repair: a newline that an editor put behind the padding.
            let repaired = bytes.ends_with(b"#\n");
            prop_assert!(again == bytes || repaired);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Block::parse(&bytes);
    }

    #[test]
    fn every_torn_write_of_a_one_sector_block_is_old_or_new(
        old in proptest::collection::vec((name(), value()), 0..6),
        new in proptest::collection::vec((name(), value()), 0..6),
        size in prop_oneof![Just(512_usize), Just(1024), Just(4096)],
    ) {
        let build = |vars: &[(Vec<u8>, Vec<u8>)]| {
            let mut b = Block::new();
            for (n, v) in vars {
                b.set(n, v).unwrap();
            }
            b
        };
        let (old, new) = (build(&old), build(&new));
        prop_assume!(old.fits_first_sector() && new.fits_first_sector());
        let (from, to) = (old.to_bytes(size).unwrap(), new.to_bytes(size).unwrap());
        prop_assert!(changed_sectors(&from, &to).len() <= 1);
        // Sectors may land in any order: every subset of them.
        let sectors = size / SECTOR;
        for subset in 0..1_u32 << sectors {
            let mut torn = from.clone();
            for i in (0..sectors).filter(|i| subset & (1 << i) != 0) {
                torn[i * SECTOR..(i + 1) * SECTOR]
                    .copy_from_slice(&to[i * SECTOR..(i + 1) * SECTOR]);
            }
            let seen = Block::parse(&torn).unwrap();
            prop_assert!(seen == old || seen == new);
        }
    }
}
