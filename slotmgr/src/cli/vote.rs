//! `slotmgr vote`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::args::{Options, Voice, Vote};
use super::render::Output;
use super::session::Surroundings;
use crate::health::vote::{self, Vote as Cast};

/// Needs no configuration and no disks: an application must be able to vote whatever is broken.
pub(super) fn run(
    options: &Options,
    verb: &Vote,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let name = &verb.name;
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\n']) {
        bail!("`{name}` cannot be the name of a check");
    }
    let cast = match verb.voice {
        Voice::Ok => Cast::Ok,
        Voice::Bad => Cast::Bad(
            verb.reason
                .clone()
                .unwrap_or_else(|| "no reason given".into()),
        ),
    };
    vote::cast(&options.run_directory, name, &around.boot_id, &cast).with_context(|| {
        format!(
            "the vote cannot be noted below {}; may this program write there?",
            options.run_directory.display()
        )
    })?;
    output.voted(name, verb.voice);
    Ok(ExitCode::SUCCESS)
}
