//! The verbs about indices and chunk stores.

use anyhow::{Context as _, Result};
use casync::Blob;
use casync::store::ChunkStore;

use super::args::{AssembleArgs, ChopArgs, IndexArgs, PackArgs, StatsArgs, VerifyIndexArgs};
use super::remote::{Remote, shown};
use super::{Environment, render};
use crate::chunks::{self, AssembleRequest, ChopRequest, IndexRequest, Place, StatsRequest};
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
        store: (args.store.clone()).map(|directory| args.storing.target(directory)),
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
    let target = args.storing.target(args.store.clone());
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
    let remote = Remote::new(args.headers.as_deref())?;
    let stores: Vec<_> = args
        .store
        .iter()
        .map(|place| remote.store(place, workers.nonce))
        .collect::<Result<_>>()?;
    let stores: Vec<&dyn ChunkStore> = stores.iter().map(|store| &**store).collect();
    let packs: Vec<_> = args
        .pack
        .iter()
        .map(|place| remote.file(place))
        .collect::<Result<_>>()?;
    let packs: Vec<(String, &dyn Blob)> = args
        .pack
        .iter()
        .zip(&packs)
        .map(|(name, file)| (shown(name), &**file))
        .collect();
    let request = AssembleRequest {
        index: args.index.clone(),
        packs: &packs,
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

pub(super) fn pack(args: &PackArgs) -> Result<String> {
    let target = args.force.target(&args.output);
    let len = chunks::make_pack(&args.index, &args.store, &target)
        .with_context(|| format!("cannot pack {}", args.index.display()))?;
    Ok(render::packed(&args.output, len))
}

pub(super) fn stats(args: &StatsArgs) -> Result<String> {
    let request = StatsRequest {
        index: args.index.clone(),
        from: args.from.clone(),
        store: args.store.clone(),
        pack: args.pack.clone(),
    };
    let stats =
        chunks::stats(&request).with_context(|| format!("cannot show {}", args.index.display()))?;
    if args.json {
        render::stats_json(&stats)
    } else {
        Ok(render::stats(&args.index, &stats))
    }
}
