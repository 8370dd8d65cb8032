//! `slotmgr install`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bundle_format::manifest::Format;
use bundle_format::{Bundle, Limits, ReadAt, Trust, VerifiedBundle};

use super::args::{Install, Options};
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::health::{self, probe, traces};
use crate::install::{self, CheckFirst, Policy};
use crate::source::{HttpReader, Location, Retry, open_file};
use crate::state::{Release, When};
use crate::storage::device::Mode;

pub(super) fn run(
    options: &Options,
    verb: &Install,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let location = Location::parse(&verb.bundle)?;
    let mut session = Session::open(options, around, Mode::ReadWrite)?;
    refuse_not_yet(&session)?;
    let trust = trust(options, &session)?;
    let (reader, local): (Box<dyn ReadAt>, bool) = match &location {
        Location::Path(path) => (Box::new(open_file(path)?), true),
        Location::Http(url) => (Box::new(HttpReader::open(url, Retry::default())?), false),
    };
    let bundle = verify(reader, &session, &trust)
        .with_context(|| format!("the bundle {} is refused; nothing was written", verb.bundle))?;
    if !verb.try_again {
        refuse_fallen(&mut session, &bundle, around)?;
    }
    refuse_format(&session, bundle.manifest().manifest().bundle.format)?;
    output.bundle_accepted(bundle.manifest());
    let policy = policy(&session, around, local);
    // The old system's checks, before anything is changed: what does not work now is not the new
    // system's fault.
    session
        .record
        .set_baseline(probe::baseline(&session.own.checks));
    let mut progress = output.progress();
    let armed = install::install(&mut session.machine(), &bundle, &policy, &mut progress);
    progress.finish();
    output.installed(&session.conf.layout, bundle.manifest(), &armed?);
    Ok(ExitCode::SUCCESS)
}

fn refuse_not_yet(session: &Session) -> Result<()> {
    let Some(first) = session.conf.not_yet.first() else {
        return Ok(());
    };
    bail!(
        "{}: `{}` is not supported by this version of slotmgr, and leaving it out would change \
         what an installation does. Nothing was written",
        first.place,
        first.what
    );
}

/// A bundle that fell so often is not installed again by itself.
const MAX_FALLS: u32 = 3;

fn refuse_fallen(
    session: &mut Session,
    bundle: &VerifiedBundle<Box<dyn ReadAt>>,
    around: &Surroundings,
) -> Result<()> {
    let when = When {
        boot_id: &around.boot_id,
        now: around.now,
    };
    // Where nothing runs `slotmgr trial` on the old system, its fall is noted here.
    let state = session.machine_state()?;
    health::note_fall(&mut session.machine(), &state, when, &mut traces::collect);
    let release = Release::of(bundle.manifest());
    if session.record.falls(&release) < MAX_FALLS {
        return Ok(());
    }
    bail!(
        "{} was installed {MAX_FALLS} times, and each time this system came back (`slotmgr \
         history`). Nothing was written; install another one, or say --try-again",
        release.label()
    );
}

fn refuse_format(session: &Session, format: Format) -> Result<()> {
    if session.conf.formats.contains(&format) {
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
    if let Some(size) = session.conf.max_signature_size {
        limits.max_signature_size = size;
    }
    Ok(Bundle::open(reader, &limits)?.verify(trust)?)
}

fn policy(session: &Session, around: &Surroundings, local: bool) -> Policy {
    // Reading a local file twice costs little; over the network it is done when it matters.
    let check_first = match session.own.check_first {
        CheckFirst::WhenItMatters if local || session.conf.pre_check => CheckFirst::Always,
        configured => configured,
    };
    Policy {
        compatible: session.conf.compatible.clone(),
        tries: session.own.tries,
        check_first,
        chunk: install::CHUNK,
        transaction: around.transaction.clone(),
        now: around.now,
        boot_id: around.boot_id.clone(),
    }
}
