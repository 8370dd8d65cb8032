//! The command line: arguments to requests, results to text.

pub mod args;
mod chunks;
mod create;
mod delta;
mod environment;
mod image;
mod progress;
mod remote;
mod render;
mod transform;

pub use args::{Args, Command, CreateArgs, InfoArgs, KeysCommand, VerifyArgs};
pub use environment::{Environment, random_bytes};

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bundle_format::{Limits, Trust};
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::info::info;
use crate::keys::demo_pki_in;
use crate::observer::Observer;
use crate::open::{OpenError, Source};
use crate::output::Overwrite;
use crate::verify::{Depth, verify};
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
            let overwrite = if *force {
                Overwrite::Replace
            } else {
                Overwrite::Refuse
            };
            let pki = demo_pki_in(directory, overwrite)?;
            Ok(render::demo_keys(directory, &pki))
        }
        Command::Create(arguments) => {
            let request = create::request(arguments, environment)?;
            let path = &request.output.path;
            let created = crate::create::create(&request, observer)
                .with_context(|| format!("cannot create {}", path.display()))?;
            Ok(render::created(&request, &created))
        }
        Command::Sign(arguments) => transform::sign(arguments, environment, observer),
        Command::Resign(arguments) => transform::resign(arguments, environment, observer),
        Command::Encrypt(arguments) => transform::encrypt(arguments),
        Command::Info(arguments) => {
            let shown = show(arguments, environment)
                .with_context(|| format!("cannot show {}", arguments.bundle.display()))?;
            if arguments.json {
                render::info_json(&shown)
            } else {
                Ok(render::info(&shown))
            }
        }
        Command::Verify(arguments) => check(arguments, environment, observer),
        Command::Convert(arguments) => transform::convert(arguments, environment, observer),
        Command::Extract(arguments) => transform::extract(arguments, environment, observer),
        Command::ExtractSignature(arguments) => {
            transform::extract_signature(arguments, environment)
        }
        Command::ReplaceSignature(arguments) => {
            transform::replace_signature(arguments, environment)
        }
        Command::Index(arguments) => chunks::index(arguments, environment, observer),
        Command::Chop(arguments) => chunks::chop(arguments, environment, observer),
        Command::Assemble(arguments) => chunks::assemble(arguments, environment, observer),
        Command::VerifyIndex(arguments) => chunks::verify_index(arguments, environment, observer),
        Command::Pack(arguments) => chunks::pack(arguments),
        Command::Stats(arguments) => chunks::stats(arguments),
        Command::Image(arguments) => image::make(arguments, environment, observer),
        Command::Delta(command) => delta::run(command, environment, observer),
        Command::Completions { shell } => completions(*shell),
    }
}

/// The script that makes a shell complete the verbs and options.
fn completions(shell: Shell) -> Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "bundle-tool", &mut script);
    Ok(String::from_utf8(script)?)
}

fn show(arguments: &InfoArgs, environment: &Environment) -> Result<crate::info::Info> {
    let check = arguments.check.load()?;
    let key = arguments.check.decrypt.load(environment)?;
    let path = &arguments.bundle;
    let source = Source {
        path,
        limits: &Limits::default(),
        decryption: key.as_ref(),
    };
    Ok(info(&source, &check.as_check())?)
}

fn check(
    arguments: &VerifyArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let trust = arguments
        .rules
        .apply(Trust::from_keyring_file(&arguments.keyring)?);
    if trust.ignores_crl() {
        observer.warn("the keyring holds revocation lists, but --check-crl is not given");
    }
    let key = arguments.decrypt.load(environment)?;
    let path = &arguments.bundle;
    let source = Source {
        path,
        limits: &Limits::default(),
        decryption: key.as_ref(),
    };
    let depth = if arguments.payload_only {
        Depth::Payload
    } else {
        Depth::Images
    };
    // A keyring that cannot be read says nothing about the bundle.
    let verified = verify(&source, &trust, depth, observer).map_err(|error| {
        let path = path.display();
        let verdict = match error {
            OpenError::Open { .. } => format!("{path} was not checked"),
            OpenError::Bundle(_) => format!("{path} is not a good bundle"),
        };
        anyhow::Error::from(error).context(verdict)
    })?;
    Ok(render::verified(path, &verified))
}
