use std::io::Write;

use super::*;

fn meta(permissions: u16) -> Metadata {
    Metadata {
        permissions,
        uid: 12,
        gid: 34,
        modified: 1_700_000_000,
    }
}

fn node(kind: Kind<Vec<u8>>) -> Node<Vec<u8>> {
    Node {
        metadata: meta(0o755),
        kind,
    }
}

fn file(content: &[u8]) -> Node<Vec<u8>> {
    node(Kind::File {
        len: content.len() as u64,
        content: content.to_vec(),
    })
}

fn directory(children: Vec<(&str, Node<Vec<u8>>)>) -> Node<Vec<u8>> {
    let mut all = Directory::default();
    for (name, child) in children {
        all.insert(name.as_bytes(), child).unwrap();
    }
    node(Kind::Directory(all))
}

fn sample() -> Node<Vec<u8>> {
    directory(vec![
        ("z", file(b"last")),
        ("empty", file(b"")),
        (
            "deep",
            directory(vec![("er", directory(vec![("x", file(b"x"))]))]),
        ),
        ("link", node(Kind::Symlink(b"../elsewhere".to_vec()))),
        ("null", node(Kind::Device(NodeKind::Character, 1, 3))),
        ("disk", node(Kind::Device(NodeKind::Block, 8, 1))),
        ("pipe", node(Kind::Fifo)),
        ("socket", node(Kind::Socket)),
    ])
}

fn archive(root: &Node<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let flags = feature_flags(root, DigestKind::Sha512_256);
    let content = &mut |content: &Vec<u8>, output: &mut dyn Write| output.write_all(content);
    let len = encode(root, flags, content, &mut bytes).unwrap();
    assert_eq!(len, bytes.len() as u64);
    bytes
}

/// Everything that a decoder tells, as one line per event.
fn told(bytes: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let mut lines = Vec::new();
    while let Some(event) = decoder.next_event()? {
        let Event::Node { name, node } = event else {
            lines.push("leave".to_owned());
            continue;
        };
        assert_eq!(node.metadata, meta(0o755));
        let mut content = Vec::new();
        let mut buffer = [0; 3];
        loop {
            let len = decoder.read(&mut buffer)?;
            if len == 0 {
                break;
            }
            content.extend_from_slice(&buffer[..len]);
        }
        let name = String::from_utf8(name).unwrap();
        let content = String::from_utf8(content).unwrap();
        lines.push(match node.kind {
            Kind::Directory(_) => format!("enter {name}"),
            Kind::File { len, .. } => format!("file {name} {len} {content}"),
            other => format!("{name} {other:?}"),
        });
    }
    Ok(lines)
}

#[test]
fn what_goes_in_comes_out_in_order() {
    let lines = told(&archive(&sample())).unwrap();
    let target = format!("link Symlink({:?})", b"../elsewhere");
    let expected = [
        "enter ",
        "enter deep",
        "enter er",
        "file x 1 x",
        "leave",
        "leave",
        "disk Device(Block, 8, 1)",
        "file empty 0 ",
        &target,
        "null Device(Character, 1, 3)",
        "pipe Fifo",
        "socket Socket",
        "file z 4 last",
        "leave",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_hash_of_a_name_is_casyncs() {
    // From an archive that casync 2 made.
    assert_eq!(siphash::hash(b"b"), 0x9007_6953_95e7_df8f);
}

#[test]
fn an_archive_that_is_cut_off_or_changed_is_refused() {
    let whole = archive(&sample());
    for len in 0..whole.len() {
        assert!(told(&whole[..len]).is_err(), "cut at {len}");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(told(&longer).is_err());
}

/// The place of the first `name` with its NUL, as a FILENAME or target.
fn find(bytes: &[u8], name: &[u8]) -> usize {
    bytes.windows(name.len()).position(|at| at == name).unwrap()
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let whole = archive(&directory(vec![("ab", file(b"x"))]));
    let at = find(&whole, b"ab\0");
    for bad in [*b"..", *b"a/", *b"/b", *b"\0b", *b".\0"] {
        let mut changed = whole.clone();
        changed[at..at + 2].copy_from_slice(&bad);
        let error = told(&changed).unwrap_err();
        assert!(matches!(error, DecodeError::Tree { .. }), "{error:?}");
    }
    let mut tree = Directory::<()>::default();
    for bad in ["", ".", "..", "a/b", "a\0", &"x".repeat(256)] {
        let node = Node {
            metadata: meta(0),
            kind: Kind::Fifo,
        };
        assert!(tree.insert(bad.as_bytes(), node).is_err(), "{bad}");
    }
}

#[test]
fn children_out_of_order_or_twice_are_refused() {
    let whole = archive(&directory(vec![("a", file(b"")), ("b", file(b""))]));
    let at = find(&whole, b"b\0");
    for name in [b'a', b'A'] {
        let mut changed = whole.clone();
        changed[at] = name;
        let error = told(&changed).unwrap_err().to_string();
        assert!(error.ends_with("names are not in order"), "{error}");
    }
}

#[test]
fn sizes_that_overflow_are_refused() {
    let whole = archive(&directory(vec![("a", file(b"abc"))]));
    for at in 0..whole.len() - 8 {
        for size in [u64::MAX, u64::MAX - 15, 1 << 63, 0] {
            let mut changed = whole.clone();
            changed[at..at + 8].copy_from_slice(&size.to_le_bytes());
            // Whatever it is, it neither panics nor takes memory for it.
            let _ = Decoder::new(changed.as_slice());
            let mut decoder = Decoder::new(changed.as_slice());
            while let Ok(Some(_)) = decoder.next_event() {}
        }
    }
}

#[test]
fn nesting_has_a_limit() {
    let mut tree = directory(vec![]);
    for _ in 0..=crate::limits::MAX_TREE_DEPTH {
        tree = directory(vec![("d", tree)]);
    }
    let flags = feature_flags(&directory(vec![]), DigestKind::Sha256);
    let error = encode(&tree, flags, &mut |_, _| Ok(()), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, EncodeError::Tree(TreeError::TooDeep)));
}

#[test]
fn large_owners_get_wide_numbers() {
    let mut root = directory(vec![("a", file(b""))]);
    assert_eq!(
        feature_flags(&root, DigestKind::Sha512_256).bits(),
        0xb000_0000_0000_1f09
    );
    root.metadata.uid = 70_000;
    assert_eq!(
        feature_flags(&root, DigestKind::Sha256).bits(),
        0x9000_0000_0000_1f0a
    );
}
