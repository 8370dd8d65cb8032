//! `image …`.

use anyhow::{Context as _, Result};

use super::args::MakeImageArgs;
use super::{Environment, UsageError, render};
use crate::image::{ImageRequest, make_image};
use crate::observer::Observer;

pub(super) fn make(
    args: &MakeImageArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    if !args.mksquashfs.is_empty() && !args.input.is_dir() {
        let text = "options for mksquashfs are of no use: INPUT is no directory";
        return Err(UsageError(text.to_owned()).into());
    }
    let request = ImageRequest {
        input: args.input.clone(),
        output: args.force.target(&args.output),
        level: args.level,
        newest: environment.source_date_epoch()?,
        threads: args.threads.workers(environment).threads,
        arguments: args.mksquashfs.clone(),
    };
    let made = make_image(&request, observer)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    Ok(render::image(&args.output, &made))
}
