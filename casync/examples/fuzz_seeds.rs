//! Writes what the fuzz target `catar` starts from: an archive with every kind of node.
//!
//! ```text
//! cargo run -p casync --example fuzz_seeds -- DIR     writes DIR/TARGET/…
//! ```

use std::error::Error;
use std::path::PathBuf;

use casync::catar::{Directory, Kind, Metadata, Node, NodeKind, encode, feature_flags};
use casync::chunk::DigestKind;

fn main() -> Result<(), Box<dyn Error>> {
    let Some(out) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err("give the directory to write to".into());
    };
    let out = out.join("catar");
    fs_err::create_dir_all(&out)?;
    let root = tree()?;
    let digests = [
        ("sha256", DigestKind::Sha256),
        ("sha512-256", DigestKind::Sha512_256),
    ];
    for (name, digest) in digests {
        // The target's input: the size of the buffer, then the archive.
        let mut seed = vec![7];
        let content = &mut |bytes: &&[u8], output: &mut dyn std::io::Write| output.write_all(bytes);
        encode(&root, feature_flags(&root, digest), content, &mut seed)?;
        fs_err::write(out.join(name), seed)?;
    }
    Ok(())
}

fn tree() -> Result<Node<&'static [u8]>, Box<dyn Error>> {
    let file = |content: &'static [u8]| Kind::File {
        len: content.len() as u64,
        content,
    };
    let children = [
        ("empty", file(b"")),
        ("file", file(b"some content")),
        ("link", Kind::Symlink(b"../elsewhere".to_vec())),
        ("null", Kind::Device(NodeKind::Character, 1, 3)),
        ("disk", Kind::Device(NodeKind::Block, 8, 1)),
        ("pipe", Kind::Fifo),
        ("socket", Kind::Socket),
    ];
    let mut inner = Directory::default();
    inner.insert(b"file", node(file(b"deeper")))?;
    let mut all = Directory::default();
    all.insert(b"directory", node(Kind::Directory(inner)))?;
    for (name, kind) in children {
        all.insert(name.as_bytes(), node(kind))?;
    }
    Ok(node(Kind::Directory(all)))
}

fn node(kind: Kind<&'static [u8]>) -> Node<&'static [u8]> {
    Node {
        metadata: Metadata {
            permissions: 0o755,
            uid: 12,
            gid: 34,
            modified: 1_700_000_000,
        },
        kind,
    }
}
