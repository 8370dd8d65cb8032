//! `slotmgr install`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bundle_format::cms::DecryptionKey;
use bundle_format::manifest::Format;
use bundle_format::{Bundle, Limits, ReadAt, Trust, VerifiedBundle};

use super::args::{Install, Options};
use super::machine_facts::MachineFacts;
use super::render::Output;
use super::session::{Session, Surroundings};
use super::{exit, signals};
use crate::health::check::Stop;
use crate::install::{self, CheckFirst, Compatibility, Policy};
use crate::source::{HttpReader, Location, Retry, open_file};
use crate::storage::device::Mode;

pub(super) fn run(
    options: &Options,
    verb: &Install,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let location = Location::parse(&verb.bundle)?;
    let stop = Stop::default();
    signals::ask_to_stop(&stop)?;
    let mut session = Session::open(options, around, Mode::ReadWrite)?;
    let trust = trust(options, &session)?;
    let (reader, local): (Box<dyn ReadAt>, bool) = match &location {
        Location::Path(path) => (Box::new(open_file(path)?), true),
        Location::Http(url) => (Box::new(HttpReader::open(url, Retry::default())?), false),
    };
    let bundle = verify(reader, &session, &trust)
        .with_context(|| format!("the bundle {} is refused; nothing was written", verb.bundle))?;
    refuse_format(&session, bundle.manifest().manifest().bundle.format)?;
    output.bundle_accepted(bundle.manifest());
    let policy = policy(&session, verb, around, (local, stop))?;
    let mut progress = output.progress();
    let installed = install::install(&mut session.machine(), &bundle, &policy, &mut progress);
    progress.finish();
    match installed {
        Ok(installed) => {
            output.installed(&session.conf.layout, bundle.manifest(), &installed);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.was_stopped() => {
            eprintln!("slotmgr: {error}");
            Ok(ExitCode::from(exit::STOPPED))
        }
        Err(error) => Err(error.into()),
    }
}

fn refuse_format(session: &Session, format: Format) -> Result<()> {
    if session.conf.system.formats.contains(&format) {
        return Ok(());
    }
    bail!(
        "the bundle has the format {}, which `bundle-formats` in system.conf does not allow; \
         nothing was written",
        format.name()
    );
}

fn trust(options: &Options, session: &Session) -> Result<Trust> {
    let keyring = match &options.keyring {
        Some(path) => session.conf.keyring.with_file(path),
        None => session.conf.keyring.clone(),
    };
    keyring.trust(session.own.trust.clone())?.context(
        "no keyring: say which certificates are trusted, by `[keyring] path=` in system.conf or \
         by --keyring",
    )
}

fn verify(
    reader: Box<dyn ReadAt>,
    session: &Session,
    trust: &Trust,
) -> Result<VerifiedBundle<Box<dyn ReadAt>>> {
    let mut limits = Limits::default();
    if let Some(size) = session.conf.system.max_signature_size {
        limits.max_signature_size = size;
    }
    let bundle = Bundle::open(reader, &limits)?;
    let encryption = &session.conf.encryption;
    let bundle = match &encryption.key {
        Some(key) if bundle.is_encrypted()? => bundle.decrypt(&DecryptionKey::from_files(
            key,
            None,
            encryption.cert.as_deref(),
        )?)?,
        _ => bundle,
    };
    Ok(bundle.verify(trust)?)
}

fn policy(
    session: &Session,
    verb: &Install,
    around: &Surroundings,
    (local, stop): (bool, Stop),
) -> Result<Policy> {
    let system = &session.conf.system;
    // Reading a local file twice costs little; over the network it is done when it matters.
    let check_first = match session.own.check_first {
        CheckFirst::WhenItMatters if local || system.pre_check => CheckFirst::Always,
        configured => configured,
    };
    let facts = MachineFacts::gather(&session.conf, &session.path, &stop)?;
    Ok(Policy {
        compatibility: match verb.ignore_compatible {
            true => Compatibility::Ignored,
            false => Compatibility::Demanded,
        },
        variant: facts.variant,
        min_version: system
            .min_version
            .clone()
            .filter(|_| !verb.ignore_version_limit),
        activation: system.activation,
        tries: session.own.tries,
        check_first,
        transaction: verb
            .transaction_id
            .clone()
            .unwrap_or_else(|| around.transaction.clone()),
        now: around.now,
        boot_id: around.boot_id.clone(),
        work_directory: system.mount_prefix.clone(),
        handlers: session.conf.handlers.clone(),
        facts: facts.told,
        status_file: session.status_file(),
        stop,
        ..Policy::new(&system.compatible)
    })
}
