//! `slotmgr install`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bundle_format::manifest::Format;
use bundle_format::{Bundle, Limits, ReadAt, Trust, VerifiedBundle, VerifiedManifest};

use super::args::{Install, Options};
use super::render::Output;
use super::session::{Session, Surroundings};
use crate::boot::Armed;
use crate::install::{self, CheckFirst, Policy, Progress};
use crate::source::{HttpReader, Location, Retry, open_file};
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
    let armed = perform(&mut session, around, &opened, &mut progress);
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
    opened: &OpenBundle,
    progress: &mut dyn Progress,
) -> Result<Armed> {
    let policy = policy(session, around, opened.place);
    let mut machine = session.machine();
    Ok(install::install(
        &mut machine,
        &opened.bundle,
        &policy,
        progress,
    )?)
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
