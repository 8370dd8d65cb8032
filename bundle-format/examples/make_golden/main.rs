//! Writes the corpus of good and bad bundles in `tests/golden`: `cargo run --example make_golden`.
//!
//! The files are kept in the repository, so that what was refused once stays refused; making them
//! anew gives new keys and is needed only to add some. `table.tsv` says what each one is for: file,
//! keyring, and `ok` or the beginning of the error.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool for the tests of this room"
)]

mod content;
mod damaged;
mod good;
mod parts;
mod signers;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use parts::Parts;
use support::{Identity, Spec, cms, write};

/// The bundles, and the table of what each is for.
struct Corpus {
    dir: PathBuf,
    table: String,
    ca: Identity,
    signer: Identity,
}

fn main() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let ca = Spec::ca("Golden CA").make();
    let signer = Spec::leaf("Golden signer", Some(&ca)).make();
    let mut corpus = Corpus {
        dir,
        table: String::new(),
        ca,
        signer,
    };
    corpus.write("ca.pem", &corpus.ca.pem());
    corpus.good();
    corpus.trailers_and_truncations();
    corpus.flipped();
    corpus.geometry();
    corpus.signers();
    corpus.revoked();
    corpus.contradictions();
    corpus.names();
    corpus.encrypted();
    corpus.write("table.tsv", corpus.table.as_bytes());
}

impl Corpus {
    fn write(&self, name: &str, bytes: &[u8]) {
        write(&self.dir.join(name), bytes);
    }

    fn add(&mut self, name: &str, bytes: &[u8], verdict: &str) {
        self.add_for("ca.pem", name, bytes, verdict);
    }

    fn add_for(&mut self, keyring: &str, name: &str, bytes: &[u8], verdict: &str) {
        let name = format!("{name}.raucb");
        self.write(&name, bytes);
        self.table
            .push_str(&format!("{name}\t{keyring}\t{verdict}\n"));
    }

    fn sign(&self, parts: &Parts) -> Vec<u8> {
        parts.signed(&cms(parts.manifest.as_bytes(), &self.signer, &[]))
    }
}
