//! The command line: arguments to requests, results to text.

mod args;
mod create;
mod environment;
mod progress;
mod render;

pub use args::{Args, Command, CreateArgs, InfoArgs, KeysCommand, TrustArgs, VerifyArgs};
pub use environment::Environment;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bundle_format::{Limits, Trust};

use crate::info::{Check, info};
use crate::keys::demo_pki_in;
use crate::observer::Observer;
use crate::output::Overwrite;
use crate::verify::verify;
use progress::Terminal;

/// Runs the program. Exit codes: 0 done, 1 failed, 2 wrong usage.
pub fn main(args: &Args, environment: &Environment) -> ExitCode {
    let mut observer = Terminal::new(environment);
    match run(args, environment, &mut observer) {
        Ok(text) => {
            observer.finish();
            render::print(&text)
        }
        Err(error) => {
            observer.finish();
            render::print_error(&error);
            match error.downcast_ref::<UsageError>() {
                Some(_) => ExitCode::from(2),
                None => ExitCode::FAILURE,
            }
        }
    }
}

/// Arguments that do not go together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Does what the arguments say; gives what is to be printed.
///
/// # Errors
/// Whatever failed, or [`UsageError`].
pub fn run(args: &Args, environment: &Environment, observer: &mut dyn Observer) -> Result<String> {
    match &args.command {
        Command::Keys(KeysCommand::Demo { directory, force }) => {
            let pki = demo_pki_in(directory, overwrite(*force))?;
            Ok(render::demo_keys(directory, &pki))
        }
        Command::Create(arguments) => {
            let request = create::request(arguments, environment)?;
            let created = crate::create::create(&request, observer)
                .with_context(|| format!("cannot create {}", request.output.display()))?;
            Ok(render::created(&request.output, &created))
        }
        Command::Info(arguments) => {
            let shown = show(arguments)
                .with_context(|| format!("cannot show {}", arguments.bundle.display()))?;
            if arguments.json {
                render::info_json(&shown)
            } else {
                Ok(render::info(&shown))
            }
        }
        Command::Verify(arguments) => {
            let path = &arguments.bundle;
            let trust = arguments.trust.load()?;
            warn_about(&trust, observer);
            let verified = verify(path, &trust, &Limits::default(), observer)
                .with_context(|| format!("{} is not a good bundle", path.display()))?;
            Ok(render::verified(path, &verified))
        }
    }
}

fn show(arguments: &InfoArgs) -> Result<crate::info::Info> {
    let limits = Limits::default();
    if arguments.no_verify {
        return Ok(info(&arguments.bundle, &Check::None, &limits)?);
    }
    let trust = arguments.trust()?;
    Ok(info(&arguments.bundle, &Check::Trust(&trust), &limits)?)
}

fn warn_about(trust: &Trust, observer: &mut dyn Observer) {
    if trust.ignores_crl() {
        observer.warn("the keyring holds revocation lists, but --check-crl is not given");
    }
}

fn overwrite(force: bool) -> Overwrite {
    if force {
        Overwrite::Replace
    } else {
        Overwrite::Refuse
    }
}
