//! `delta …`.

use anyhow::{Context as _, Result};
use casync::store::{ChunkStore, DirStore, Durability};

use super::args::{DeltaApplyArgs, DeltaCommand, DeltaCreateArgs, DeltaStatsArgs};
use super::{Environment, render};
use crate::delta::{self, ApplyRequest};
use crate::observer::Observer;

pub(super) fn run(
    command: &DeltaCommand,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    match command {
        DeltaCommand::Create(args) => create(args, environment, observer),
        DeltaCommand::Apply(args) => apply(args, environment, observer),
        DeltaCommand::Stats(args) => stats(args, environment, observer),
    }
}

fn create(
    args: &DeltaCreateArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let request = args.between.request(environment);
    let created = delta::create(&request, &args.output, args.force.overwrite(), observer)
        .with_context(|| format!("cannot create {}", args.output.display()))?;
    Ok(render::delta_created(&created))
}

fn apply(
    args: &DeltaApplyArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let workers = args.threads.workers(environment);
    let open = |path| DirStore::new(path, workers.nonce, Durability::AtSync);
    let stores: Vec<DirStore> = args.store.iter().map(open).collect();
    let stores: Vec<&dyn ChunkStore> = stores.iter().map(|s| s as &dyn ChunkStore).collect();
    let request = ApplyRequest {
        from: args.from.image(),
        cut: args.from.cut(),
        delta: args.delta.clone(),
        stores: &stores,
        output: args.output.clone(),
        overwrite: args.force.overwrite(),
        workers,
    };
    let applied = delta::apply(&request, observer)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    Ok(render::delta_applied(&args.output, &applied))
}

fn stats(
    args: &DeltaStatsArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let comparison = delta::compare(&args.between.request(environment), observer)
        .with_context(|| format!("cannot compare ways to {}", args.between.to.display()))?;
    if args.json {
        render::delta_stats_json(&comparison)
    } else {
        Ok(render::delta_stats(&comparison))
    }
}
