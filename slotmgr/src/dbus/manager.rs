//! `org.slotmgr.Manager1`: what RAUC's interface has no words for. Everybody who may talk to the
//! service may look; who may install may start and cancel.

use std::collections::HashMap;
use std::sync::Arc;

use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::access::{Action, authorize};
use super::failure::Failure;
use super::job::{self, Jobs};
use super::offload::ask;
use super::wire::{self, Dict};
use super::wire_job;
use crate::service::{JobStatus, Service};

/// The object at [`super::MANAGER_PATH`].
pub(super) struct Manager {
    service: Arc<dyn Service>,
    jobs: Arc<Jobs>,
}

impl Manager {
    pub fn new(service: Arc<dyn Service>, jobs: Arc<Jobs>) -> Self {
        Self { service, jobs }
    }

    /// The written ones, and those of this service, which knows more of its own.
    async fn all(&self) -> Result<Vec<JobStatus>, Failure> {
        let mut all = ask(&self.service, |service| service.jobs()).await?;
        for job in self.jobs.known() {
            match all.iter_mut().find(|written| written.id == job.id) {
                Some(written) => *written = job,
                None => all.push(job),
            }
        }
        Ok(all)
    }
}

#[interface(name = "org.slotmgr.Manager1")]
impl Manager {
    /// Starts an installation; `args` as of RAUC's `InstallBundle`, and `try-again` (`b`).
    #[zbus(out_args("job"))]
    async fn start_install(
        &self,
        source: String,
        args: Dict,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Failure> {
        authorize(connection, &call, Action::Install).await?;
        let mut request = wire::install_request(source, args)?;
        request.job = ask(&self.service, |service| service.new_job()).await?;
        let id = request.job.clone();
        job::start(&self.jobs, &self.service, request, connection)?;
        Ok(id)
    }

    /// Asks a job to stop. It has stopped when `JobChanged` says so; one that is past its commit
    /// point ends as installed.
    async fn cancel(
        &self,
        job: String,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> Result<(), Failure> {
        authorize(connection, &call, Action::Install).await?;
        let job = self.jobs.cancel(&job)?;
        Self::job_changed(&emitter, &job.id, wire_job::job(&job)?).await?;
        Ok(())
    }

    /// All jobs that are known, the oldest first.
    #[zbus(out_args("jobs"))]
    async fn get_jobs(&self) -> Result<Vec<(String, Dict)>, Failure> {
        let jobs = self.all().await?;
        let one = |job: &JobStatus| Ok((job.id.clone(), wire_job::job(job)?));
        jobs.iter().map(one).collect()
    }

    /// One job.
    #[zbus(out_args("status"))]
    async fn get_job(&self, job: String) -> Result<Dict, Failure> {
        let jobs = self.all().await?;
        match jobs.iter().find(|known| known.id == job) {
            Some(found) => wire_job::job(found),
            None => Err(Failure::Failed(format!("no job is called {job}"))),
        }
    }

    /// What became of the last update: `state`, `slot`, `release`, and where they are known
    /// `reason`, and `deadline` in seconds since the machine was started.
    #[zbus(out_args("trial"))]
    async fn get_trial(&self) -> Result<Dict, Failure> {
        wire::trial(ask(&self.service, |service| service.trial()).await?)
    }

    /// What happened, by a number that only says what came first.
    #[zbus(out_args("events"))]
    async fn get_history(&self) -> Result<HashMap<String, Dict>, Failure> {
        wire::history(ask(&self.service, |service| service.history()).await?)
    }

    /// How a job stands: at most four times a second while it runs, and at its end.
    #[zbus(signal)]
    pub(super) async fn job_changed(
        emitter: &SignalEmitter<'_>,
        job: &str,
        status: Dict,
    ) -> zbus::Result<()>;

    /// Something happened that the history keeps.
    #[zbus(signal)]
    pub(super) async fn happened(emitter: &SignalEmitter<'_>, event: Dict) -> zbus::Result<()>;
}
