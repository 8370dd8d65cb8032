//! Installations as jobs: with a name, a state, and bytes.

use super::meter::Pace;
use crate::events::{Entry, What};
use crate::state::Release;

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JobState {
    /// It runs.
    #[default]
    Running,
    /// Somebody asked it to stop, and it has not ended yet.
    Stopping,
    /// Installed, and next to be started.
    Installed,
    /// Installed, and not to be started before somebody says so.
    Written,
    /// It went wrong.
    Failed,
    /// The bundle is not for this machine.
    Rejected,
    /// Somebody stopped it.
    Stopped,
    /// The program was killed, or power failed.
    Interrupted,
}

impl JobState {
    const WORDS: [(JobState, &'static str); 8] = [
        (JobState::Running, "running"),
        (JobState::Stopping, "stopping"),
        (JobState::Installed, "installed"),
        (JobState::Written, "written"),
        (JobState::Failed, "failed"),
        (JobState::Rejected, "rejected"),
        (JobState::Stopped, "stopped"),
        (JobState::Interrupted, "interrupted"),
    ];

    /// As in answers for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        let mut words = JobState::WORDS.iter();
        words
            .find(|(state, _)| *state == self)
            .map_or("", |(_, word)| word)
    }

    /// The inverse of [`JobState::word`].
    #[must_use]
    pub fn of_word(word: &str) -> Option<JobState> {
        let mut words = JobState::WORDS.iter();
        words
            .find(|(_, known)| *known == word)
            .map(|(state, _)| *state)
    }

    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, JobState::Running | JobState::Stopping)
    }

    /// What an event makes of a job; none for events within one.
    #[must_use]
    pub fn after(what: What) -> Option<JobState> {
        match what {
            What::InstallStarted => Some(JobState::Running),
            What::Installed => Some(JobState::Installed),
            What::Written => Some(JobState::Written),
            What::InstallFailed => Some(JobState::Failed),
            What::InstallRejected => Some(JobState::Rejected),
            What::InstallStopped => Some(JobState::Stopped),
            What::InstallInterrupted => Some(JobState::Interrupted),
            _ => None,
        }
    }
}

/// Everything that is known of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobStatus {
    /// Its name: no other job has it.
    pub id: String,
    /// How the caller calls the installation; the same as `id` if the caller said nothing.
    pub transaction: String,
    /// Where the bundle is, without secrets.
    pub source: String,
    /// How it stands.
    pub state: JobState,
    /// How far it is, while it runs.
    pub pace: Option<Pace>,
    /// What it brings, once the bundle was found to be good.
    pub release: Option<Release>,
    /// The slot that is started next.
    pub slot: Option<String>,
    /// What the bootloader calls that.
    pub bootname: Option<String>,
    /// Tries that it was given.
    pub tries: Option<u8>,
    /// Why it did not come to a good end.
    pub error: Option<String>,
    /// When it began, in seconds since 1970.
    pub started: i64,
    /// When it ended.
    pub ended: Option<i64>,
}

impl JobStatus {
    /// Takes in what happened.
    pub fn hear(&mut self, entry: &Entry) {
        let facts = &entry.facts;
        let take = |mine: &mut Option<String>, told: &Option<String>| {
            if told.is_some() {
                mine.clone_from(told);
            }
        };
        if entry.what == What::InstallStarted {
            self.started = entry.moment.at;
            self.source = facts.source.clone().unwrap_or_default();
            self.transaction = facts.transaction.clone().unwrap_or_default();
        }
        if facts.release.is_some() {
            self.release.clone_from(&facts.release);
        }
        if let Some(state) = JobState::after(entry.what) {
            // A running job that was asked to stop goes on stopping.
            if state.is_over() {
                self.state = state;
            }
        }
        if entry.what.ends_job() {
            self.ended = Some(entry.moment.at);
            self.pace = None;
            self.tries = facts.tries;
            take(&mut self.slot, &facts.slot);
            take(&mut self.bootname, &facts.bootname);
            take(&mut self.error, &facts.why);
        }
    }
}

/// The jobs that were written down, the oldest first.
#[must_use]
pub fn jobs_of<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Vec<JobStatus> {
    let mut jobs: Vec<JobStatus> = Vec::new();
    for entry in entries {
        let Some(id) = &entry.facts.job else { continue };
        let known = jobs.iter_mut().rfind(|job| job.id == *id);
        match known {
            Some(job) => job.hear(entry),
            None => {
                let mut job = JobStatus {
                    id: id.clone(),
                    ..JobStatus::default()
                };
                job.hear(entry);
                jobs.push(job);
            }
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Facts, Moment};

    fn entry(at: i64, job: &str, what: What, why: Option<&str>) -> Entry {
        Entry {
            moment: Moment {
                at,
                ..Moment::default()
            },
            what,
            facts: Facts {
                job: Some(job.to_owned()),
                source: Some("/b".to_owned()),
                why: why.map(ToOwned::to_owned),
                ..Facts::default()
            },
        }
    }

    #[test]
    fn states_and_words() {
        for (state, word) in JobState::WORDS {
            assert_eq!(JobState::of_word(word), Some(state));
            assert_eq!(state.word(), word);
        }
    }

    #[test]
    fn jobs_come_out_of_what_was_written_down() {
        let told = [
            entry(1, "a", What::InstallStarted, None),
            entry(2, "a", What::Writing, None),
            entry(3, "a", What::InstallFailed, Some("no space")),
            entry(4, "b", What::InstallStarted, None),
            entry(5, "b", What::SlotWriting, None),
        ];
        let jobs = jobs_of(&told);
        assert_eq!(jobs.len(), 2);
        assert_eq!((jobs[0].state, jobs[0].ended), (JobState::Failed, Some(3)));
        assert_eq!(jobs[0].error.as_deref(), Some("no space"));
        assert_eq!((jobs[0].started, &*jobs[0].source), (1, "/b"));
        assert_eq!((jobs[1].state, jobs[1].ended), (JobState::Running, None));
    }
}
