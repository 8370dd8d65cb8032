//! `delta create`.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use casync::delta::{BuildOptions, Built, IndexDigest, Side, Totals, build};

use super::{Cut, DeltaToolError, ImageAndIndex, Opened};
use crate::chunks::Workers;
use crate::observer::Observer;
use crate::output::{Output, Overwrite};

/// Between which images, and how.
#[derive(Debug, Clone)]
pub struct DeltaRequest {
    /// What the device has.
    pub from: ImageAndIndex,
    /// What it is to have.
    pub to: ImageAndIndex,
    /// How images without an index are cut.
    pub cut: Cut,
    /// zstd's level for what the delta holds.
    pub level: i32,
    /// How the work is done.
    pub workers: Workers,
}

/// What was made.
#[derive(Debug)]
pub struct CreatedDelta {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub len: u64,
    /// Bytes of the new image.
    pub image: u64,
    /// What it is made of.
    pub totals: Totals,
}

/// Makes a delta. If `output` is a directory, the file in it gets its name from the digests of the
/// two indices, base first.
///
/// # Errors
/// An image cannot be read, or the delta not be written.
pub fn create(
    request: &DeltaRequest,
    output: &Path,
    overwrite: Overwrite,
    observer: &mut dyn Observer,
) -> Result<CreatedDelta, DeltaToolError> {
    let from = request.from.open(request.cut, request.workers, observer)?;
    let to = request.to.open(request.cut, request.workers, observer)?;
    let path = if output.is_dir() {
        let digest =
            |side: &Opened| IndexDigest::of(&side.index).map_err(crate::chunks::ChunksError::from);
        output.join(format!("{}-{}.delta", digest(&from)?, digest(&to)?))
    } else {
        output.to_owned()
    };
    let sides = [&request.from, &request.to];
    let indices = sides.iter().filter_map(|side| side.index.as_deref());
    let inputs: Vec<&Path> = sides
        .iter()
        .map(|side| &*side.image)
        .chain(indices)
        .collect();
    let mut output = Output::create(&path, overwrite)?.is_none_of(&inputs)?;
    let built = between(request, (&from, &to), observer)?;
    let mut writer = BufWriter::new(output.file());
    let written = built.write_to(&mut writer, &from.index, &to.index);
    let len = written.and_then(|len| writer.flush().map(|()| len));
    drop(writer);
    let len = len.map_err(|source| output.failed(source))?;
    output.finish()?;
    Ok(CreatedDelta {
        path,
        len,
        image: to.index.image_len(),
        totals: *built.totals(),
    })
}

pub(super) fn between(
    request: &DeltaRequest,
    (from, to): (&Opened, &Opened),
    observer: &mut dyn Observer,
) -> Result<Built, DeltaToolError> {
    observer.step("looking for what is alike");
    let options = BuildOptions {
        level: request.level,
        threads: request.workers.threads,
    };
    let side = |opened| side_of(opened);
    Ok(build(side(from), side(to), &options)?)
}

fn side_of(opened: &Opened) -> Side<'_> {
    Side {
        index: &opened.index,
        image: &opened.blob,
    }
}
