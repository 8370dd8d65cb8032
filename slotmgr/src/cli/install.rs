//! `slotmgr install`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bundle_format::manifest::Format;
use bundle_format::{Bundle, Limits, ReadAt, Trust, VerifiedBundle, VerifiedManifest};

use super::args::{Install, Options};
use super::preflight;
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::boot::Armed;
use crate::health::{self, probe, traces};
use crate::install::{self, CheckFirst, Policy, Progress};
use crate::source::{HttpReader, Location, Retry, open_file};
use crate::state::{Release, When};
use crate::storage::device::Mode;

/// A bundle with a trusted signature, wherever it is read from.
pub(crate) struct OpenBundle {
    bundle: VerifiedBundle<Box<dyn ReadAt>>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Local,
    Remote,
}

impl OpenBundle {
    /// Its manifest.
    pub fn manifest(&self) -> &VerifiedManifest {
        self.bundle.manifest()
    }
}

pub(super) fn run(
    options: &Options,
    verb: &Install,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let mut session = Session::open(options, around, Mode::ReadWrite)?;
    let opened = open(options, &session, &verb.bundle)?;
    output.bundle_accepted(opened.manifest());
    let mut progress = output.progress();
    let fallen = if verb.try_again {
        Fallen::TriedAgain
    } else {
        Fallen::Refused
    };
    let armed = perform(&mut session, around, (&opened, fallen), &mut progress);
    progress.finish();
    output.installed(&session.conf.layout, opened.manifest(), &armed?);
    Ok(ExitCode::SUCCESS)
}

/// Opens the bundle at `source`, a path or an address, and checks that it may be installed here.
pub(crate) fn open(options: &Options, session: &Session, source: &str) -> Result<OpenBundle> {
    let location = Location::parse(source)?;
    let trust = trust(options, session)?;
    let (reader, place): (Box<dyn ReadAt>, _) = match &location {
        Location::Path(path) => (Box::new(open_file(path)?), Place::Local),
        Location::Http(url) => {
            let reader = HttpReader::open(url, Retry::default())?;
            (Box::new(reader), Place::Remote)
        }
    };
    let bundle = verify(reader, session, &trust)
        .with_context(|| format!("the bundle {source} is refused; nothing was written"))?;
    refuse_format(session, bundle.manifest().manifest().bundle.format)?;
    Ok(OpenBundle { bundle, place })
}

/// Installs what was opened.
pub(crate) fn perform(
    session: &mut Session,
    around: &Surroundings,
    (opened, fallen): (&OpenBundle, Fallen),
    progress: &mut dyn Progress,
) -> Result<Armed> {
    let mut found = preflight::look(session).into_iter();
    if let Some(wrong) = found.find_map(|finding| finding.found.err()) {
        bail!("nothing was written: {wrong}");
    }
    note_fall(session, around)?;
    if fallen == Fallen::Refused {
        refuse_fallen(session, opened)?;
    }
    // By the old system's checks, before anything is changed: what does not work now is not the
    // new system's fault.
    let baseline = probe::baseline(&session.own.checks);
    session.record.set_baseline(baseline);
    let policy = policy(session, around, opened.place);
    let mut machine = session.machine();
    Ok(install::install(
        &mut machine,
        &opened.bundle,
        &policy,
        progress,
    )?)
}

/// A bundle that fell so often is not installed again by itself.
const MAX_FALLS: u32 = 3;

/// What is done with a bundle that fell so often.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallen {
    /// Nothing is written.
    Refused,
    /// Somebody asked for it.
    TriedAgain,
}

/// Where nothing runs `slotmgr trial` on the old system, its last fall is noted here.
fn note_fall(session: &mut Session, around: &Surroundings) -> Result<()> {
    let when = When {
        boot_id: &around.boot_id,
        now: around.now,
    };
    let state = session.machine_state()?;
    health::note_fall(&mut session.machine(), &state, when, &mut traces::collect);
    Ok(())
}

fn refuse_fallen(session: &Session, opened: &OpenBundle) -> Result<()> {
    let release = Release::of(opened.manifest());
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
    let bundle = Bundle::open(reader, &limits)?.verify(trust)?;
    bundle.check_manifest()?;
    Ok(bundle)
}

fn policy(session: &Session, around: &Surroundings, place: Place) -> Policy {
    // Reading a local file twice costs little; over the network it is done when it matters.
    let check_first = match session.own.check_first {
        CheckFirst::WhenItMatters if place == Place::Local || session.conf.system.pre_check => {
            CheckFirst::Always
        }
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
