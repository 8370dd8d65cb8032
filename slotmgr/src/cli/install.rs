//! `slotmgr install`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bundle_format::manifest::Format;
use bundle_format::{Bundle, Limits, ReadAt, Trust, VerifiedBundle};

use super::args::{Install, Options};
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::install::{self, CheckFirst, Policy};
use crate::source::{HttpReader, Location, Retry, open_file};
use crate::storage::device::Mode;

pub(super) fn run(
    options: &Options,
    verb: &Install,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let location = Location::parse(&verb.bundle)?;
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
    let policy = policy(&session, around, local);
    let mut progress = output.progress();
    let armed = install::install(&mut session.machine(), &bundle, &policy, &mut progress);
    progress.finish();
    output.installed(&session.conf.layout, bundle.manifest(), &armed?);
    Ok(ExitCode::SUCCESS)
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
    Ok(Bundle::open(reader, &limits)?.verify(trust)?)
}

fn policy(session: &Session, around: &Surroundings, local: bool) -> Policy {
    // Reading a local file twice costs little; over the network it is done when it matters.
    let check_first = match session.own.check_first {
        CheckFirst::WhenItMatters if local || session.conf.system.pre_check => CheckFirst::Always,
        configured => configured,
    };
    Policy {
        compatible: session.conf.system.compatible.clone(),
        tries: session.own.tries,
        check_first,
        chunk: install::CHUNK,
        transaction: around.transaction.clone(),
        now: around.now,
        boot_id: around.boot_id.clone(),
    }
}
