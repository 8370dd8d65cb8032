//! How fast a payload is checked, next to what one core hashes: `cargo bench -p bundle-format`.
//!
//! Prints ratios; nothing is asserted, since machines differ and are shared.

use std::time::Instant;

use bundle_format::verity::{VerityReader, build_tree};
use bundle_format::{Digest, ReadAt};

/// Bytes of the payload.
const LEN: usize = 256 * 1024 * 1024;

/// Bytes that a sequential reader asks for at once.
const RUN: usize = 1024 * 1024;

fn main() {
    let salt = [7; 32];
    let mut bytes: Vec<u8> = (0..LEN as u64 / 8)
        .flat_map(|n| (n * 0x9e37_79b9).to_le_bytes())
        .collect();
    let one_core = rate("sha256 over all of it, one core", 1.0, || {
        std::hint::black_box(Digest::of(&bytes));
    });
    let mut tree = None;
    rate("building the tree, all cores", one_core, || {
        tree = build_tree(&bytes, LEN as u64, &salt, &mut |_, _| {}).ok();
    });
    let Some(tree) = tree else { return };
    bytes.extend_from_slice(&tree.bytes);
    let reader = VerityReader::new(bytes, LEN as u64, tree.root, &salt);
    rate("checking all of it, all cores", one_core, || {
        let checked = reader.verify_all(&mut |_, _| {});
        assert!(checked.is_ok());
    });
    let mut run = vec![0; RUN];
    rate("reading it in order, one core", one_core, || {
        for offset in (0..LEN).step_by(RUN) {
            let read = reader.read_exact_at(&mut run, offset as u64);
            assert!(read.is_ok());
        }
    });
}

/// Best of three, in MiB per second; printed with its ratio to `unit`.
fn rate(what: &str, unit: f64, mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    #[allow(clippy::cast_precision_loss, reason = "a size that is printed")]
    let rate = LEN as f64 / best / 1024.0 / 1024.0;
    let ratio = if unit > 1.0 { rate / unit } else { 1.0 };
    println!("{what:36} {rate:8.0} MiB/s  x{ratio:.2}");
    rate
}
