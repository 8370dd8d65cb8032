//! `de.pengutronix.rauc.Installer`: the interface of RAUC 1.15, wire-compatible with its clients.

use std::sync::Arc;

use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::access::{Action, authorize};
use super::failure::Failure;
use super::job::{Jobs, Teller};
use super::offload::ask;
use super::wire::{self, Dict};
use crate::boot::Mark;
use crate::service::{Identity, InstallRequest, Service, Step, Steps};

/// The text that RAUC's own service answers with; scripts look for it.
const BUSY: &str = "already processing a different method";

/// The object at [`super::PATH`].
pub(super) struct Installer {
    identity: Identity,
    service: Arc<dyn Service>,
    jobs: Arc<Jobs>,
}

impl Installer {
    pub fn new(identity: Identity, service: Arc<dyn Service>, jobs: Arc<Jobs>) -> Self {
        Self {
            identity,
            service,
            jobs,
        }
    }

    /// Asks the service on a thread of its own.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Service) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        ask(&self.service, question).await
    }

    /// Starts an installation and comes back at once.
    fn start(&self, request: InstallRequest, emitter: &SignalEmitter<'_>) -> Result<(), Failure> {
        let transaction = request.transaction.as_deref().unwrap_or_default();
        if !self.jobs.begin(&request.origin.source, transaction) {
            return Err(Failure::Failed(BUSY.to_owned()));
        }
        let (service, jobs) = (Arc::clone(&self.service), Arc::clone(&self.jobs));
        let emitter = emitter.to_owned();
        let started = std::thread::Builder::new()
            .name("install".into())
            .spawn(move || {
                let teller = Teller::new(&jobs, emitter);
                teller.started();
                let mut steps = Steps::new(|step| teller.step(step));
                steps.begin();
                let result = service.install(&request, &mut steps);
                steps.end(result.is_ok());
                teller.ended(&result.map_err(|error| format!("{error:#}")));
            });
        if let Err(error) = started {
            self.jobs.state().busy = false;
            return Err(Failure::Failed(format!("cannot start a thread: {error}")));
        }
        Ok(())
    }
}

#[interface(name = "de.pengutronix.rauc.Installer")]
impl Installer {
    async fn install(
        &self,
        source: String,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<(), Failure> {
        self.install_bundle(source, Dict::new(), call, connection, emitter)
            .await
    }

    async fn install_bundle(
        &self,
        source: String,
        args: Dict,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<(), Failure> {
        authorize(connection, &call, Action::Install).await?;
        self.start(wire::install_request(source, args)?, &emitter)
    }

    #[zbus(out_args("compatible", "version"))]
    async fn info(
        &self,
        bundle: String,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(String, String), Failure> {
        authorize(connection, &call, Action::Inspect).await?;
        let origin = wire::origin(bundle, Dict::new())?;
        let verified = self.ask(move |service| service.inspect(&origin)).await?;
        let update = &verified.manifest().update;
        let version = update.version.clone().unwrap_or_default();
        Ok((update.compatible.clone(), version))
    }

    #[zbus(out_args("info"))]
    async fn inspect_bundle(
        &self,
        source: String,
        args: Dict,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Dict, Failure> {
        authorize(connection, &call, Action::Inspect).await?;
        let origin = wire::origin(source, args)?;
        let verified = self.ask(move |service| service.inspect(&origin)).await?;
        wire::inspected(&verified)
    }

    #[zbus(out_args("slot_name", "message"))]
    async fn mark(
        &self,
        state: String,
        slot_identifier: String,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(String, String), Failure> {
        authorize(connection, &call, Action::Mark).await?;
        let mark = match state.as_str() {
            "good" => Mark::Good,
            "bad" => Mark::Bad,
            "active" => Mark::Active,
            other => return Err(Failure::Failed(format!("unknown subcommand {other}"))),
        };
        // The installation has the bootloader's environment in its hands.
        if self.jobs.state().busy {
            return Err(Failure::Failed(BUSY.to_owned()));
        }
        let marked = self
            .ask(move |service| service.mark(mark, &slot_identifier))
            .await?;
        Ok((marked.slot, marked.message))
    }

    #[zbus(out_args("slot_status_array"))]
    async fn get_slot_status(&self) -> Result<Vec<(String, Dict)>, Failure> {
        let slots = self.ask(|service| service.slots()).await?;
        slots.into_iter().map(wire::slot).collect()
    }

    #[zbus(out_args("artifacts"))]
    async fn get_artifact_status(&self) -> Result<Vec<Dict>, Failure> {
        let repositories = self.ask(|service| service.artifacts()).await?;
        repositories.into_iter().map(wire::repository).collect()
    }

    #[zbus(out_args("primary"))]
    async fn get_primary(&self) -> Result<String, Failure> {
        self.ask(|service| service.primary()).await
    }

    #[zbus(property)]
    async fn operation(&self) -> &str {
        if self.jobs.state().busy {
            "installing"
        } else {
            "idle"
        }
    }

    #[zbus(property)]
    async fn last_error(&self) -> String {
        self.jobs.state().last_error.clone()
    }

    #[zbus(property)]
    async fn last_bundle(&self) -> String {
        self.jobs.state().last_bundle.clone()
    }

    #[zbus(property)]
    async fn last_transaction(&self) -> String {
        self.jobs.state().last_transaction.clone()
    }

    #[zbus(property)]
    async fn progress(&self) -> Step {
        self.jobs.state().progress.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn compatible(&self) -> String {
        self.identity.compatible.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn variant(&self) -> String {
        self.identity.variant.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn system_version(&self) -> String {
        self.identity.system_version.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn boot_slot(&self) -> String {
        self.identity.boot_slot.clone()
    }

    #[zbus(signal)]
    pub(super) async fn completed(emitter: &SignalEmitter<'_>, result: i32) -> zbus::Result<()>;
}
