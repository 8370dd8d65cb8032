//! `pack`: the chunks of an image in one file.

use std::io::{BufWriter, Write as _};
use std::path::Path;

use casync::pack::write_pack;
use casync::store::{DirStore, Durability};

use super::{ChunksError, read_index};
use crate::output::Output;
use crate::rewrite::Target;

/// Makes a pack of an index and a store that has all of its chunks. Gives its bytes.
///
/// # Errors
/// The store lacks a chunk, or the pack cannot be written.
pub fn make_pack(index: &Path, store: &Path, target: &Target) -> Result<u64, ChunksError> {
    let mut output = Output::create(&target.path, target.overwrite)?.is_none_of(&[index])?;
    let index = read_index(index)?;
    let chunks = DirStore::new(store, 0, Durability::AtSync);
    let mut writer = BufWriter::new(output.file());
    let len = write_pack(&index, &chunks, &mut writer).map_err(|source| ChunksError::MakePack {
        store: store.to_owned(),
        source,
    })?;
    let flushed = writer.flush();
    drop(writer);
    flushed.map_err(|source| output.failed(source))?;
    output.finish()?;
    Ok(len)
}
