//! `de.pengutronix.rauc.Installer`: the interface of RAUC 1.15, wire-compatible with its clients.

use std::sync::Arc;

use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::access::{Action, authorize};
use super::failure::Failure;
use super::job::{self, BUSY, Jobs};
use super::offload::ask;
use super::wire::{self, Dict};
use crate::boot::Mark;
use crate::service::{Identity, Service, Step};

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
}

#[interface(name = "de.pengutronix.rauc.Installer")]
impl Installer {
    async fn install(
        &self,
        source: String,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Failure> {
        self.install_bundle(source, Dict::new(), call, connection)
            .await
    }

    async fn install_bundle(
        &self,
        source: String,
        args: Dict,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Failure> {
        authorize(connection, &call, Action::Install).await?;
        let mut request = wire::install_request(source, args)?;
        request.job = self.ask(|service| service.new_job()).await?;
        job::start(&self.jobs, &self.service, request, connection)
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
        if self.jobs.state().is_busy() {
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
        let repositories = self.ask(|service| service.repositories()).await?;
        repositories.into_iter().map(wire::repository).collect()
    }

    #[zbus(out_args("primary"))]
    async fn get_primary(&self) -> Result<String, Failure> {
        self.ask(|service| service.primary()).await
    }

    #[zbus(property)]
    async fn operation(&self) -> &str {
        if self.jobs.state().is_busy() {
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
