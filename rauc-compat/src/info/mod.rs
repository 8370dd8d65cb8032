//! `info`: what a bundle says about itself, in RAUC's formats.

mod certificates;
pub(crate) mod json;
mod readable;
pub(crate) mod shell;

use anyhow::{Result, bail};
use bundle_format::cms::recipients;
use bundle_format::manifest::{Image, ImageHook, Manifest};
use bundle_tool::cli::Environment;
use bundle_tool::info::{Info, Proof, info};

use crate::arguments::InfoArguments;
use crate::config::Config;
use crate::report::{self, Output};
use crate::rewrite::check;

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Readable,
    Shell,
    Json(json::Layout),
    Json2,
}

impl Format {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "readable" => Self::Readable,
            "shell" => Self::Shell,
            "json" => Self::Json(json::Layout::Line),
            "json-pretty" => Self::Json(json::Layout::Pretty),
            "json-2" => Self::Json2,
            _ => return None,
        })
    }
}

/// Whether bold text is wanted. RAUC writes it to files as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Bold,
    Plain,
}

pub(crate) fn show(
    arguments: &InfoArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<()> {
    let Some(format) = Format::from_name(&arguments.output_format) else {
        bail!(
            "Unknown output format: '{}'. Use readable, shell, json, json-pretty or json-2.",
            arguments.output_format
        );
    };
    if !arguments.file.exists() {
        bail!("No such file: {}", arguments.file.display());
    }
    let config = Config::load(&arguments.global, environment)?;
    let trust = match (arguments.no_verify, arguments.no_check_time) {
        (true, _) => None,
        (false, true) => Some(config.trust_at_any_time()?),
        (false, false) => Some(config.trust()?),
    };
    config.manifest(&arguments.file)?;
    let source = config.source(&arguments.file);
    let shown = info(&source, &check(trust.as_ref()))?;
    if let Proof::Verified { signers, .. } = &shown.proof
        && let Some(signer) = signers.first()
    {
        output.message(&format!("the signature is by '{}'", signer.subject));
    }
    let style = if environment.no_color {
        Style::Plain
    } else {
        Style::Bold
    };
    let mut text = match format {
        Format::Readable => readable::manifest(&shown, style),
        Format::Shell => shell::manifest(&shown),
        Format::Json(layout) => json::flat(&shown, layout)?,
        Format::Json2 => json::nested(&shown)?,
    };
    text.push('\n');
    if arguments.dump_cert {
        text.push_str(&certificates::dump(source.open()?.signature())?);
    }
    if arguments.dump_recipients {
        let closed = source.open_closed()?;
        let who = recipients(closed.signature(), closed.payload_len())?;
        text.push_str(&readable::recipients(&who));
    }
    if format == Format::Readable {
        text.push_str(&chain(&shown)?);
    }
    report::print(&text);
    Ok(())
}

fn chain(shown: &Info) -> Result<String> {
    match &shown.proof {
        Proof::Verified { signers, .. } => certificates::chain(signers),
        Proof::Unverified => Ok("Signature unverified\n".to_owned()),
    }
}

/// The hooks of a whole bundle, by name.
fn bundle_hooks(manifest: &Manifest) -> Vec<&'static str> {
    let asked = manifest
        .hooks
        .as_ref()
        .is_some_and(|hooks| hooks.install_check);
    asked.then_some("install-check").into_iter().collect()
}

/// The hooks of an image by name, in RAUC's order.
fn image_hooks(image: &Image) -> Vec<&'static str> {
    [
        ImageHook::PreInstall,
        ImageHook::Install,
        ImageHook::PostInstall,
    ]
    .into_iter()
    .filter(|hook| image.hooks.contains(hook))
    .map(ImageHook::name)
    .collect()
}

/// RAUC's size of an image: -1 where there is none.
fn size(image: &Image) -> String {
    image.size.map_or("-1".to_owned(), |size| size.to_string())
}
