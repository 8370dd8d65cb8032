//! What an installation needs of this machine: the bundle that may be trusted, and the policy.

use std::fs::File;

use anyhow::{Context, Result, bail};
use bundle_format::manifest::Format;
use bundle_format::{Bundle, Limits, ReadAt, Trust, VerifiedBundle, VerifiedManifest};
use token_key::TokenAccess;

use super::args::Options;
use super::machine_facts::MachineFacts;
use super::preflight;
use super::remote::{self, Remote};
use super::session::{Session, Surroundings};
use crate::config::VersionFloor;
use crate::data::snapshot::Snapshots;
use crate::health::preflight::Finding;
use crate::health::{self, probe, traces};
use crate::install::{
    self, CHUNK, CheckFirst, Compatibility, Distance, InstallError, Installed, Policy, Progress,
    Supply, Version,
};
use crate::program::Stop;
use crate::service::Origin;
use crate::source::{HttpReader, Location, Stoppable, open_file, portion, protect};
use crate::state::{Release, When};

/// A bundle with a trusted signature, wherever it is read from.
pub(crate) struct OpenBundle {
    pub(super) bundle: VerifiedBundle<Box<dyn ReadAt>>,
    pub(super) place: Place,
    pub(super) supply: Supply,
    /// Through which it comes.
    pub(super) remote: Option<Remote>,
}

/// What a caller may ask for besides, by the names of the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub ignore_compatible: bool,
    pub ignore_version_limit: bool,
    /// What is done with a bundle that fell three times.
    pub fallen: Fallen,
    /// What a bundle's own handler gets behind the bundle's arguments.
    pub handler_arguments: Option<String>,
    /// Ends the installation early.
    pub stop: Stop,
}

/// Where a bundle is read from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Local,
    Remote { len: u64 },
}

impl OpenBundle {
    /// Its manifest.
    pub fn manifest(&self) -> &VerifiedManifest {
        self.bundle.manifest()
    }

    /// How it is installed here.
    pub(super) fn policy(
        &self,
        session: &Session,
        around: &Surroundings,
        wishes: &Wishes,
    ) -> Result<Policy> {
        Ok(Policy {
            supply: self.supply.clone(),
            ..policy(session, around, self.place, wishes)?
        })
    }
}

/// What it takes to open a bundle.
pub(crate) struct Opening<'o> {
    pub options: &'o Options,
    pub around: &'o Surroundings,
    pub stop: &'o Stop,
}

impl Opening<'_> {
    /// Opens the bundle at `origin`, and checks that it may be installed here.
    pub fn open(&self, session: &Session, origin: &Origin) -> Result<OpenBundle> {
        let opened = self.try_open(session, origin);
        match self.stop.is_wanted() {
            true => Err(InstallError::Stopped("nothing was written").into()),
            false => opened,
        }
    }

    fn try_open(&self, session: &Session, origin: &Origin) -> Result<OpenBundle> {
        let location = Location::parse(&origin.source)?;
        let trust = trust(self.options, session)?;
        let mut remote = None;
        let (reader, local): (Box<dyn ReadAt>, _) = match &location {
            Location::Path(path) => {
                let reader = open_file(path)?;
                let file = reader.file().try_clone()?;
                (Box::new(reader), Some(file))
            }
            Location::Web(address) => {
                let told = remote::told(session, self.around, self.stop)?;
                let file = remote
                    .insert(Remote::new(
                        session,
                        (origin, &self.around.token),
                        self.stop,
                    )?)
                    .bundle(address, &told)?;
                (Box::new(HttpReader::new(file, self.stop.clone())), None)
            }
        };
        let place = match local {
            Some(_) => Place::Local,
            None => Place::Remote { len: reader.len() },
        };
        let reader: Box<dyn ReadAt> = Box::new(Stoppable::new(reader, self.stop));
        let bundle = verify(reader, local.as_ref(), session, &trust, &self.around.token)
            .with_context(|| format!("the bundle {location} is refused; nothing was written"))?;
        refuse_format(session, bundle.manifest().manifest().bundle.format)?;
        let supply = self.supply(session, origin, (&location, remote.as_ref()))?;
        Ok(OpenBundle {
            bundle,
            place,
            supply,
            remote,
        })
    }

    /// The stores of the bundle's chunks: the machine's own, then what `[casync] storepath` says, else
    /// what is beside the bundle.
    fn supply(
        &self,
        session: &Session,
        origin: &Origin,
        (bundle, remote): (&Location, Option<&Remote>),
    ) -> Result<Supply> {
        let store = match &session.conf.casync.store {
            Some(text) => Location::parse(text).context("[casync] storepath")?,
            None => bundle.store_beside(),
        };
        let own = session.own.download.stores.iter().cloned();
        let supply = own.fold(Supply::default(), Supply::and_directory);
        let address = match store {
            Location::Path(path) => return Ok(supply.and_directory(path)),
            Location::Web(address) => address,
        };
        let client = match (bundle, remote) {
            (Location::Web(of), Some(remote)) if of.same_server(&address) => {
                remote.client().clone()
            }
            // Headers that were given for the bundle's server are secret to others.
            (Location::Web(_), Some(remote)) => remote.client().without_headers(),
            _ => {
                let asked = (origin, &self.around.token);
                Remote::new(session, asked, self.stop)?.client().clone()
            }
        };
        Ok(supply.and_web(client, address))
    }
}

/// Installs what was opened.
pub(crate) fn perform(
    session: &mut Session,
    around: &Surroundings,
    opened: &OpenBundle,
    wishes: &Wishes,
    progress: &mut dyn Progress,
) -> Result<Installed> {
    let mut found = preflight::look(session).into_iter();
    if let Some(wrong) = found.find_map(Finding::refusal) {
        bail!("nothing was written: {wrong}");
    }
    note_fall(session, around)?;
    if wishes.fallen == Fallen::Refused {
        refuse_fallen(session, around, opened)?;
    }
    // By the old system's checks, before anything is changed: what does not work now is not the
    // new system's fault.
    let baseline = probe::baseline(&session.own.checks);
    session.record.set_baseline(baseline);
    let policy = opened.policy(session, around, wishes)?;
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fallen {
    /// Nothing is written.
    #[default]
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
    // Who chooses the slot in the bootloader's place knows what fell back.
    let Some(state) = session.known_state()? else {
        return Ok(());
    };
    health::note_fall(&mut session.machine(), &state, when, &mut traces::collect);
    Ok(())
}

pub(super) fn refuse_fallen(
    session: &mut Session,
    around: &Surroundings,
    opened: &OpenBundle,
) -> Result<()> {
    let release = Release::of(opened.manifest());
    let falls = match session.known_state()? {
        Some(state) => health::falls(&session.machine(), &state, &around.boot_id, &release),
        None => session.record.falls(&release),
    };
    if falls < MAX_FALLS {
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
    local: Option<&File>,
    session: &Session,
    trust: &Trust,
    token: &TokenAccess,
) -> Result<VerifiedBundle<Box<dyn ReadAt>>> {
    let mut limits = Limits::default();
    if let Some(size) = session.conf.system.max_signature_size {
        limits.max_signature_size = size;
    }
    let bundle = Bundle::open(reader, &limits)?;
    let encryption = &session.conf.encryption;
    let bundle = match &encryption.key {
        Some(key) if bundle.is_encrypted()? => bundle.decrypt(&token_key::decryption_key(
            key,
            None,
            encryption.cert.as_deref(),
            token,
        )?)?,
        _ => bundle,
    };
    // Bundles of the other formats have a tree of digests, and each block is checked when it is read.
    if let Some(file) = local.filter(|_| bundle.is_plain().unwrap_or(false)) {
        protect(file).context("its file may be changed while it is read")?;
    }
    let bundle = bundle.verify(trust)?;
    bundle.check_manifest()?;
    Ok(bundle)
}

/// The newer one of what the configuration demands and what was confirmed here.
fn oldest_allowed(session: &Session) -> Option<Version> {
    let floor = match session.own.version_floor {
        VersionFloor::Kept => session.record.version_floor(),
        VersionFloor::Ignored => None,
    };
    let configured = session.conf.system.min_version.clone();
    // None is less than any version.
    floor.max(configured)
}

/// The data of a system from outside is its own affair.
fn snapshots(session: &Session, wishes: &Wishes) -> Option<Snapshots> {
    let running = &session.conf.layout.slot(session.booted.id()?).name;
    let home = session.conf.system.data_directory.as_deref();
    Some(Snapshots::new(&session.own, home, running, &wishes.stop))
}

pub(super) fn policy(
    session: &Session,
    around: &Surroundings,
    place: Place,
    wishes: &Wishes,
) -> Result<Policy> {
    let system = &session.conf.system;
    // Reading a local file twice costs little. What comes over a network is not fetched twice unless
    // somebody wants that: each block is checked before it is written, and a link that fails is less
    // rare than a bundle that is damaged on its server.
    let check_first = match (session.own.check_first, place) {
        (CheckFirst::WhenItMatters, _) if system.pre_check => CheckFirst::Always,
        (CheckFirst::WhenItMatters, Place::Local) => CheckFirst::Always,
        (CheckFirst::WhenItMatters, Place::Remote { .. }) => CheckFirst::Never,
        (configured, _) => configured,
    };
    let facts = MachineFacts::gather(&session.conf, &session.path, &wishes.stop)?;
    Ok(Policy {
        compatibility: match wishes.ignore_compatible {
            true => Compatibility::Ignored,
            false => Compatibility::Demanded,
        },
        variant: facts.variant,
        min_version: oldest_allowed(session).filter(|_| !wishes.ignore_version_limit),
        activation: system.activation,
        tries: session.own.tries,
        check_first,
        transaction: around.transaction.clone(),
        now: around.now,
        boot_id: around.boot_id.clone(),
        work_directory: system.mount_prefix.clone(),
        handlers: session.conf.handlers.clone(),
        handler_arguments: wishes.handler_arguments.clone(),
        repositories: session.conf.repositories.clone(),
        facts: facts.told,
        status: Some(session.conf.system.status.clone()),
        home: system.data_directory.clone(),
        distance: match place {
            Place::Local => Distance::Near,
            Place::Remote { .. } => Distance::Far,
        },
        chunk: match place {
            Place::Local => CHUNK,
            Place::Remote { len } => portion(len),
        },
        delta_cpu: session.own.download.delta_cpu,
        snapshots: snapshots(session, wishes),
        stop: wishes.stop.clone(),
        ..Policy::new(&system.compatible)
    })
}
