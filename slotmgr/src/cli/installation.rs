//! `slotmgr install` and `slotmgr cancel`: through the service where one answers, else done here,
//! under the same lock.

use std::process::ExitCode;

use anyhow::Result;
#[cfg(feature = "dbus")]
use anyhow::bail;

#[cfg(feature = "dbus")]
use super::args::Cancel;
use super::args::{Install, Options};
use super::render::{Bar, Output};
use super::session::Surroundings;
use super::{exit, signals};
#[cfg(feature = "dbus")]
use crate::dbus::{Bus, Remote};
use crate::program::Stop;
#[cfg(feature = "dbus")]
use crate::service::{InstallEnd, JobState, JobStatus};
use crate::service::{InstallRequest, InstallResult, Local, Origin, Service as _};

/// How it ended, for the exit code.
enum Ended {
    Well(Box<InstallResult>),
    /// The service says so. What ends here by itself is an error like others.
    #[cfg_attr(
        not(feature = "dbus"),
        expect(dead_code, reason = "only a service says so")
    )]
    Stopped(String),
}

pub(super) fn install(
    options: &Options,
    verb: &Install,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let stop = Stop::default();
    // Before there are other threads.
    signals::ask_to_stop(&stop)?;
    let request = request(verb, around);
    let mut progress = output.progress();
    let ended = somewhere(options, verb, &request, (around, &stop), &mut progress);
    progress.finish();
    match ended {
        Ok(Ended::Well(result)) => {
            output.installed(&result);
            Ok(ExitCode::SUCCESS)
        }
        Ok(Ended::Stopped(why)) => {
            output.failed(&why, exit::STOPPED);
            Ok(ExitCode::from(exit::STOPPED))
        }
        Err(error) => Err(error),
    }
}

fn request(verb: &Install, around: &Surroundings) -> InstallRequest {
    // A service runs in another directory.
    let bundle = &verb.source.bundle;
    let absolute = std::path::absolute(bundle).ok();
    let path = absolute.and_then(|path| path.to_str().map(ToOwned::to_owned));
    let source = match path {
        Some(path) if !bundle.contains("://") => path,
        _ => bundle.clone(),
    };
    InstallRequest {
        job: around.transaction.clone(),
        origin: Origin {
            source,
            ..verb.source.origin()
        },
        ignore_compatible: verb.ignore_compatible,
        ignore_version_limit: verb.ignore_version_limit,
        transaction: verb.transaction_id.clone(),
        manifest_hash: None,
        try_again: verb.try_again,
    }
}

fn somewhere(
    options: &Options,
    verb: &Install,
    request: &InstallRequest,
    (around, stop): (&Surroundings, &Stop),
    progress: &mut Bar,
) -> Result<Ended> {
    #[cfg(feature = "dbus")]
    if !verb.here
        && let Some(remote) = service(options, around)
    {
        return there(&remote, request, stop, progress);
    }
    #[cfg(not(feature = "dbus"))]
    let _ = verb;
    let local = Local::new(options.clone(), Box::new(Surroundings::of_this_machine));
    let _ = around;
    let installed = local.install(request, stop, progress)?;
    Ok(Ended::Well(Box::new(installed)))
}

/// Our own service. One that is told another configuration, keyring or slot than ours on the command
/// line is not asked: it would work on another machine.
#[cfg(feature = "dbus")]
fn service(options: &Options, around: &Surroundings) -> Option<Remote> {
    if options.says_its_own_machine() {
        return None;
    }
    let remote = Remote::find(Bus::from_starter(around.starter_bus.as_deref()))?;
    remote.has_jobs().then_some(remote)
}

#[cfg(feature = "dbus")]
fn there(
    remote: &Remote,
    request: &InstallRequest,
    stop: &Stop,
    progress: &mut Bar,
) -> Result<Ended> {
    let job = remote.run_job(request, stop, &mut |job| progress.job(job))?;
    let error = job.error.clone().unwrap_or_default();
    match job.state {
        JobState::Installed | JobState::Written => Ok(Ended::Well(Box::new(result(job)))),
        JobState::Stopped => Ok(Ended::Stopped(error)),
        _ if error.is_empty() => bail!(
            "the installation did not come to its end ({})",
            job.state.word()
        ),
        _ => bail!("{error}"),
    }
}

#[cfg(feature = "dbus")]
fn result(job: JobStatus) -> InstallResult {
    let end = match (job.state, &job.slot) {
        (JobState::Written, _) => InstallEnd::Waiting,
        (_, Some(_)) => InstallEnd::Armed,
        (_, None) => InstallEnd::ByHandler,
    };
    InstallResult {
        end,
        slot: job.slot,
        bootname: job.bootname,
        release: job.release.unwrap_or_default(),
        tries: job.tries,
    }
}

#[cfg(feature = "dbus")]
pub(super) fn cancel(
    options: &Options,
    verb: &Cancel,
    around: &Surroundings,
    output: &Output,
) -> Result<ExitCode> {
    let Some(remote) = service(options, around) else {
        bail!(
            "no slotmgr service answers: an installation that runs in a terminal is stopped \
             there, by Ctrl-C"
        );
    };
    let job = match &verb.job {
        Some(job) => job.clone(),
        None => {
            let jobs = remote.jobs()?;
            let Some(running) = jobs.into_iter().find(|job| !job.state.is_over()) else {
                bail!("the service installs nothing now");
            };
            running.id
        }
    };
    remote.cancel(&job)?;
    output.cancelled(&job);
    Ok(ExitCode::SUCCESS)
}
