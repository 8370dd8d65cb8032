//! The verbs about indices and chunk stores.

use anyhow::{Context as _, Result};
use casync::store::{ChunkStore, DirStore, Durability};

use super::args::{AssembleArgs, ChopArgs, IndexArgs, StatsArgs, VerifyIndexArgs};
use super::{Environment, render};
use crate::chunks::{
    self, AssembleRequest, ChopRequest, IndexRequest, Place, StatsRequest, StoreTarget,
};
use crate::observer::Observer;

pub(super) fn index(
    args: &IndexArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let request = IndexRequest {
        input: args.image.load(environment)?,
        rule: args.chunk_size,
        digest: args.digest,
        store: args.store.clone().map(|directory| StoreTarget {
            directory,
            packing: args.packing.compression,
        }),
        output: args.force.target(&args.output),
        workers: args.threads.workers(environment),
    };
    let indexed = chunks::make_index(&request, observer)
        .with_context(|| format!("cannot index {}", args.image.input.display()))?;
    Ok(render::indexed(&request, &indexed))
}

pub(super) fn chop(
    args: &ChopArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let target = StoreTarget {
        directory: args.store.clone(),
        packing: args.packing.compression,
    };
    let request = ChopRequest {
        index: args.index.clone(),
        input: args.image.load(environment)?,
        workers: args.threads.workers(environment),
    };
    let chop = chunks::chop(&request, &target, observer)
        .with_context(|| format!("cannot store all of {}", args.image.input.display()))?;
    Ok(render::chopped(&target.directory, &chop))
}

pub(super) fn verify_index(
    args: &VerifyIndexArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let request = ChopRequest {
        index: args.index.clone(),
        input: args.image.load(environment)?,
        workers: args.threads.workers(environment),
    };
    let (image, index) = (&args.image.input, &args.index);
    let found = chunks::verify_index(&request, observer)
        .with_context(|| format!("{} does not fit {}", image.display(), index.display()))?;
    Ok(render::index_fits(image, &found))
}

pub(super) fn assemble(
    args: &AssembleArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let workers = args.threads.workers(environment);
    let open = |path| DirStore::new(path, workers.nonce, Durability::AtSync);
    let stores: Vec<DirStore> = args.store.iter().map(open).collect();
    let stores: Vec<&dyn ChunkStore> = stores.iter().map(|s| s as &dyn ChunkStore).collect();
    let request = AssembleRequest {
        index: args.index.clone(),
        stores: &stores,
        seeds: args.seed.clone(),
        output: args.output.clone(),
        place: if args.in_place {
            Place::InPlace
        } else {
            Place::New(args.force.overwrite())
        },
        workers,
    };
    let image = chunks::assemble(&request, observer)
        .with_context(|| format!("cannot put {} together", args.output.display()))?;
    Ok(render::assembled(&args.output, &image))
}

pub(super) fn stats(args: &StatsArgs) -> Result<String> {
    let request = StatsRequest {
        index: args.index.clone(),
        from: args.from.clone(),
        store: args.store.clone(),
    };
    let stats =
        chunks::stats(&request).with_context(|| format!("cannot show {}", args.index.display()))?;
    if args.json {
        render::stats_json(&stats)
    } else {
        Ok(render::stats(&args.index, &stats))
    }
}
