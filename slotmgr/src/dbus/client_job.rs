//! Asking our own service for jobs.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::message::Type;
use zbus::{DynamicType, MatchRule, Message, MessageStream};

use super::client::{Remote, RemoteError, arguments, next};
use super::wire::Dict;
use super::wire_job;
use super::{MANAGER_PATH, NAME};
use crate::events::Entry;
use crate::program::Stop;
use crate::service::{InstallRequest, JobStatus};

const MANAGER: &str = "org.slotmgr.Manager1";

/// How often a waiting client looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What the service tells by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// How a job stands.
    Job(Box<JobStatus>),
    /// What happened.
    Event(Box<Entry>),
}

impl Remote {
    fn manager<T: DeserializeOwned + zbus::Type>(
        &self,
        method: &str,
        body: &(impl Serialize + DynamicType),
    ) -> Result<T, RemoteError> {
        let call =
            self.connection
                .call_method(Some(NAME), MANAGER_PATH, Some(MANAGER), method, body);
        Ok(zbus::block_on(call)?.body().deserialize()?)
    }

    /// Whether the service is slotmgr's: RAUC's own has no jobs. Starts it if it does not run.
    #[must_use]
    pub fn has_jobs(&self) -> bool {
        self.manager::<Dict>("GetTrial", &()).is_ok()
    }

    /// All jobs that are known.
    ///
    /// # Errors
    /// The service does not answer.
    pub fn jobs(&self) -> Result<Vec<JobStatus>, RemoteError> {
        let jobs: Vec<(String, Dict)> = self.manager("GetJobs", &())?;
        let jobs = jobs.into_iter();
        Ok(jobs
            .filter_map(|(_, dict)| wire_job::job_of(dict))
            .collect())
    }

    /// Asks a job to stop.
    ///
    /// # Errors
    /// The service does not answer, the job does not run, or we may not.
    pub fn cancel(&self, job: &str) -> Result<(), RemoteError> {
        self.manager("Cancel", &job)
    }

    /// Has a bundle installed; `tell` gets each change. When `stop` is wanted, the job is asked to
    /// stop, and waited for all the same.
    ///
    /// # Errors
    /// The service refuses to begin, or goes away.
    pub fn run_job(
        &self,
        request: &InstallRequest,
        stop: &Stop,
        tell: &mut dyn FnMut(&JobStatus),
    ) -> Result<JobStatus, RemoteError> {
        // Listening has to begin before the installation does.
        let mut listening = zbus::block_on(self.listen())?;
        let source = &request.origin.source;
        let job: String = self.manager("StartInstall", &(source, arguments(request)))?;
        thread::scope(|scope| {
            let (over, waiting) = channel::<()>();
            let id = &job;
            scope.spawn(move || {
                while waiting.recv_timeout(LOOK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    if stop.is_wanted() {
                        if let Err(error) = self.cancel(id) {
                            tracing::warn!("the installation was not stopped: {error}");
                        }
                        return;
                    }
                }
            });
            let ended = loop {
                match listening.next() {
                    Ok(Told::Job(found)) if found.id == job => {
                        tell(&found);
                        if found.state.is_over() {
                            break Ok(*found);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            };
            drop(over);
            ended
        })
    }

    /// What the service tells from now on, until it goes.
    ///
    /// # Errors
    /// The service goes away; or what `tell` says.
    pub fn follow<E: From<RemoteError>>(
        &self,
        tell: &mut dyn FnMut(Told) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut listening = zbus::block_on(self.listen()).map_err(RemoteError::from)?;
        loop {
            tell(listening.next()?)?;
        }
    }

    async fn listen(&self) -> zbus::Result<Listening> {
        // Rules go by unique names.
        let owner = self.owner().await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(owner)
            .path(MANAGER_PATH)
            .build()?;
        Ok(Listening {
            signals: MessageStream::for_match_rule(rule, &self.connection, None).await?,
            owners: self.owners().await?,
        })
    }
}

struct Listening {
    signals: MessageStream,
    owners: MessageStream,
}

impl Listening {
    fn next(&mut self) -> Result<Told, RemoteError> {
        loop {
            let found = zbus::block_on(next(&mut self.signals, &mut self.owners))?;
            let message = found.ok_or(RemoteError::Lost)?;
            if let Some(told) = told(&message) {
                return Ok(told);
            }
        }
    }
}

fn told(message: &Message) -> Option<Told> {
    let header = message.header();
    let body = message.body();
    match header.member()?.as_str() {
        "JobChanged" => {
            let (_, dict): (String, Dict) = body.deserialize().ok()?;
            Some(Told::Job(Box::new(wire_job::job_of(dict)?)))
        }
        "Happened" => {
            let dict: Dict = body.deserialize().ok()?;
            Some(Told::Event(Box::new(wire_job::event_of(dict)?)))
        }
        _ => None,
    }
}
