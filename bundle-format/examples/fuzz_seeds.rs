//! Writes what the fuzz targets of this room start from: the golden bundles, and the parts of them
//! that single targets read.
//!
//! ```text
//! cargo run -p bundle-format --example fuzz_seeds -- DIR     writes DIR/TARGET/…
//! ```

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bundle_format::block_hash_index::BlockHashIndex;
use bundle_format::{Bundle, Limits};

fn main() -> io::Result<()> {
    let Some(out) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("give the directory to write to"));
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for entry in golden.read_dir()? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "raucb")
        {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let bytes = std::fs::read(&path)?;
            for (target, part) in parts(&bytes) {
                write(&out.join(target), &name, &part)?;
            }
        }
    }
    Ok(())
}

/// Which target reads what of a bundle. Damaged bundles have fewer parts, or none.
fn parts(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut parts = vec![("bundle", bytes.to_vec())];
    let Ok(bundle) = Bundle::open(bytes, &Limits::default()) else {
        return parts;
    };
    parts.push(("signature", bundle.signature().to_vec()));
    if bundle.is_encrypted().unwrap_or(false) {
        parts.push(("envelope", bundle.signature().to_vec()));
    }
    let payload = usize::try_from(bundle.payload_len()).unwrap_or(bytes.len());
    parts.push(("squashfs", bytes[..payload].to_vec()));
    if let Ok(manifest) = bundle.manifest_bytes_unverified() {
        parts.push(("manifest", manifest));
    }
    let blocks = &bytes[..payload - payload % 4096];
    if let Ok(index) = BlockHashIndex::build(&blocks) {
        // The target's input: how many bytes the image has, then the index.
        let size = (blocks.len() as u64).to_be_bytes();
        parts.push(("block_hash_index", [&size[..], &index.to_bytes()].concat()));
    }
    parts
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::File::create(dir.join(name))?.write_all(bytes)
}
