//! A pack: all chunks of one image in one file, in image order, behind the image's index.
//!
//! Chunks that are missing together stand together in a pack, so that a device fetches a run of them
//! by one request. Like any store, a pack is not trusted: what comes out of it is compared with the
//! index that is signed. The bytes of the file are described in `docs/formats/pack.md`.

mod file;
mod runs;
mod store;

pub use file::{Pack, PackError, write_pack};
pub use runs::RunRule;
pub use store::PackStore;

#[cfg(test)]
mod tests;
