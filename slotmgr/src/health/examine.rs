//! Runs the checks as the [`Window`] says: a thread per run, one loop that waits for them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::check::{self, Report, Verdict};
use super::probe;
use super::window::{CheckId, CheckRules, Event, Millis, Reason, Rules, Step, Window};
use crate::config::{CheckConfig, TrialConfig};
use crate::program::{OVERTIME, Stop};

/// The loop looks at the clock at least so often.
const BEAT: Duration = Duration::from_millis(500);

/// How long runs that are told to stop are waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// What came of all checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examination {
    /// The last word of each check that ran.
    pub reports: Vec<Report>,
    /// Why the system is not kept; nothing if it is.
    pub failed: Option<Failure>,
}

/// Why a system is not kept, and what is left of its tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The bootloader's count goes on: this try is paid.
    TryAgain(String),
    /// A check asks that it not be started again.
    GiveUp(String),
}

impl Failure {
    /// For people.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Failure::TryAgain(reason) | Failure::GiveUp(reason) => reason,
        }
    }
}

/// What the loop needs from outside.
pub struct Surroundings<'s> {
    /// Milliseconds since the machine was started; never backwards.
    pub now: &'s dyn Fn() -> Millis,
    /// When the trial ends at the latest, by that clock.
    pub deadline: Millis,
    /// What probes compare with.
    pub probes: &'s probe::Around,
    /// Is called by the loop, several times a second, for as long as the trial goes on: here the
    /// watchdog is fed.
    pub alive: &'s mut dyn FnMut(),
    /// Is told of every first report of a check and of every change of its verdict.
    pub told: &'s mut dyn FnMut(&Report),
}

/// Milliseconds since the machine was started, its sleep included. Setting the time of day does
/// not touch this clock.
#[must_use]
pub fn since_start() -> Millis {
    use nix::time::{ClockId, clock_gettime};
    // The call cannot fail for this clock; a clock that stood at 0 would stand still.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    millis(time)
}

/// Runs the checks until all is proven, one has failed for good, or the window has passed.
#[must_use]
pub fn examine(
    trial: &TrialConfig,
    checks: &[CheckConfig],
    around: &mut Surroundings<'_>,
) -> Examination {
    let rules = checks.iter().map(rules_of).collect();
    let window = Window::resume((around.now)(), around.deadline, rules_of_all(trial), rules);
    let (sender, receiver) = channel();
    let stop = Stop::default();
    let mut runs = Runs {
        checks,
        probes: around.probes,
        stop: stop.clone(),
        sender,
        receiver,
        reports: vec![None; checks.len()],
        under_way: 0,
    };
    let end = runs.until_the_end(window, around);
    stop.now();
    runs.farewell();
    let failed = match end {
        Step::Fail(reason @ Reason::GaveUp(_)) => {
            Some(Failure::GiveUp(runs.explain(reason, trial)))
        }
        Step::Fail(reason) => Some(Failure::TryAgain(runs.explain(reason, trial))),
        Step::Confirm | Step::Go(_) => None,
    };
    let reports = runs.reports.into_iter().flatten().collect();
    Examination { reports, failed }
}

struct Runs<'c> {
    checks: &'c [CheckConfig],
    probes: &'c probe::Around,
    stop: Stop,
    sender: Sender<(CheckId, Report)>,
    receiver: Receiver<(CheckId, Report)>,
    reports: Vec<Option<Report>>,
    under_way: usize,
}

impl Runs<'_> {
    fn until_the_end(&mut self, mut window: Window, around: &mut Surroundings<'_>) -> Step {
        let mut event = Event::Tick;
        loop {
            let now = (around.now)();
            match window.step(now, event) {
                Step::Go(started) => {
                    (around.alive)();
                    started.into_iter().for_each(|id| self.start(id));
                }
                Step::Confirm => {
                    // The last time: the commit must not take longer than the watchdog waits.
                    (around.alive)();
                    return Step::Confirm;
                }
                end @ Step::Fail(_) => return end,
            }
            let wait = Duration::from_millis(window.next_tick().saturating_sub(now).max(1));
            event = match self.receiver.recv_timeout(wait.min(BEAT)) {
                Ok((id, report)) => self.ended(id, report, around),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Event::Tick,
            };
        }
    }

    fn start(&mut self, id: CheckId) {
        let (sender, stop) = (self.sender.clone(), self.stop.clone());
        let probes = self.probes.clone();
        let Some(check) = self.checks.get(id).cloned() else {
            return;
        };
        self.under_way += 1;
        // A thread that the kernel does not give sends nothing: the run counts as stuck.
        let work = move || {
            // Nobody listens any more once the trial has ended.
            let _ = sender.send((id, check::run_around(&check, &[], &probes, &stop)));
        };
        if let Err(error) = thread::Builder::new().spawn(work) {
            tracing::error!(%error, "a check cannot be started");
        }
    }

    fn ended(&mut self, id: CheckId, report: Report, around: &mut Surroundings<'_>) -> Event {
        self.under_way = self.under_way.saturating_sub(1);
        let event = match report.verdict {
            Verdict::Passed => Event::Passed(id),
            Verdict::GaveUp => Event::GaveUp(id),
            _ => Event::Failed(id),
        };
        if let Some(last) = self.reports.get_mut(id) {
            if last.as_ref().map(|last| &last.verdict) != Some(&report.verdict) {
                (around.told)(&report);
            }
            *last = Some(report);
        }
        event
    }

    /// Lets runs that were told to stop do so; what they say does not count any more.
    fn farewell(&mut self) {
        while self.under_way > 0 {
            let Ok((id, report)) = self.receiver.recv_timeout(FAREWELL) else {
                return;
            };
            self.under_way -= 1;
            if let Some(last @ None) = self.reports.get_mut(id) {
                *last = Some(report);
            }
        }
    }

    fn explain(&self, reason: Reason, trial: &TrialConfig) -> String {
        match reason {
            Reason::Check(id) | Reason::GaveUp(id) => match self.reports.get(id) {
                Some(Some(report)) => report.to_string(),
                _ => format!("check {id} failed"),
            },
            Reason::Stuck(id) => {
                let name = self.checks.get(id).map_or("", |check| check.name.as_str());
                format!("check `{name}` hangs and could not be ended")
            }
            Reason::Window => {
                let open = self.reports.iter().flatten();
                let open: Vec<String> = open
                    .filter(|report| report.verdict != Verdict::Passed)
                    .map(ToString::to_string)
                    .collect();
                let window = trial.window.as_secs();
                format!(
                    "the window of {window} s passed before it had proved itself{}{}",
                    if open.is_empty() { "" } else { ": " },
                    open.join("; ")
                )
            }
        }
    }
}

fn rules_of_all(trial: &TrialConfig) -> Rules {
    Rules {
        window: millis(trial.window),
        soak: millis(trial.soak),
        min_uptime: millis(trial.min_uptime),
        parallel: trial.parallel,
    }
}

fn rules_of(check: &CheckConfig) -> CheckRules {
    CheckRules {
        demand: check.demand,
        retries: check.retries,
        threshold: check.threshold,
        interval: millis(check.interval),
        longest: millis(check.timeout.saturating_add(OVERTIME)),
    }
}

pub(crate) fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::window::Demand;
    use crate::program::End;

    fn check(name: &str, script: &str) -> CheckConfig {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        CheckConfig::new(name.to_owned(), command, Duration::from_secs(60))
    }

    fn examined(trial: &TrialConfig, checks: &[CheckConfig]) -> Examination {
        let mut around = Surroundings {
            now: &since_start,
            deadline: since_start() + millis(trial.window),
            probes: &probe::Around::default(),
            alive: &mut || {},
            told: &mut |_| {},
        };
        examine(trial, checks, &mut around)
    }

    #[test]
    fn checks_run_at_the_same_time() {
        let dir = tempfile::tempdir().unwrap();
        let there = |own: &str, other: &str| {
            let path = dir.path().display();
            format!("touch {path}/{own}; until [ -e {path}/{other} ]; do sleep 0.05; done")
        };
        let checks = [check("a", &there("a", "b")), check("b", &there("b", "a"))];
        let end = examined(&TrialConfig::default(), &checks);
        assert_eq!((end.failed, end.reports.len()), (None, 2));
    }

    #[test]
    fn one_that_decides_ends_the_others_and_one_that_does_not_is_told() {
        let checks = [check("app", "echo no; exit 3"), check("slow", "sleep 1000")];
        let end = examined(&TrialConfig::default(), &checks);
        let said = "check `app` failed with exit code 3: no";
        assert_eq!(end.failed, Some(Failure::TryAgain(said.to_owned())));
        assert_eq!(end.reports[1].verdict, Verdict::Failed(End::Stopped));
        let mut wanted = check("app", "exit 3");
        wanted.demand = Demand::Wanted;
        let end = examined(&TrialConfig::default(), &[wanted]);
        assert_eq!((end.failed, end.reports[0].failed()), (None, true));
    }

    #[test]
    fn the_window_ends_what_goes_on_for_ever() {
        let trial = TrialConfig {
            window: Duration::from_secs(1),
            ..TrialConfig::default()
        };
        let end = examined(&trial, &[check("app", "sleep 1000")]);
        let failed = end.failed.unwrap();
        let said = failed.reason();
        assert!(said.starts_with("the window of 1 s passed"), "{said}");
    }

    #[test]
    fn the_loop_is_alive_until_the_deadline_and_never_after_it() {
        // A clock of our own: each look takes ten seconds.
        let clock = std::cell::Cell::new(0);
        let now = || {
            clock.set(clock.get() + 10_000);
            clock.get()
        };
        let mut fed = Vec::new();
        let mut around = Surroundings {
            now: &now,
            deadline: 100_000,
            probes: &probe::Around::default(),
            alive: &mut || fed.push(clock.get()),
            told: &mut |_| {},
        };
        let slow = CheckConfig {
            timeout: Duration::from_secs(3_600),
            ..check("slow", "sleep 1000")
        };
        let end = examine(&TrialConfig::default(), &[slow], &mut around);
        assert!(matches!(end.failed, Some(Failure::TryAgain(_))));
        assert!(
            !fed.is_empty() && fed.iter().all(|at| *at < 100_000),
            "{fed:?}"
        );
    }

    /// A run that says nothing, long after it had to: its heartbeat is missing, whatever holds it.
    #[test]
    fn a_run_that_stalls_is_not_fed_for() {
        // Each look takes ten seconds of a clock that the run does not know.
        let clock = std::cell::Cell::new(0);
        let now = || {
            clock.set(clock.get() + 10_000);
            clock.get()
        };
        let stalled = check("app", "sleep 1000");
        let longest = millis(stalled.timeout.saturating_add(OVERTIME));
        let mut fed = Vec::new();
        let mut around = Surroundings {
            now: &now,
            deadline: 100_000_000,
            probes: &probe::Around::default(),
            alive: &mut || fed.push(clock.get()),
            told: &mut |_| {},
        };
        let trial = TrialConfig {
            window: Duration::from_secs(86_400),
            ..TrialConfig::default()
        };
        let end = examine(&trial, &[stalled], &mut around);
        let failed = end.failed.unwrap();
        assert_eq!(failed.reason(), "check `app` hangs and could not be ended");
        let last = fed.last().copied().unwrap();
        assert!(fed.len() > 1 && last < 20_000 + longest + 10_000, "{fed:?}");
    }

    #[test]
    fn a_check_that_gives_up_ends_it_at_once() {
        let patient = CheckConfig {
            retries: 1_000,
            ..check("app", "exit 100")
        };
        let end = examined(&TrialConfig::default(), &[patient]);
        assert!(matches!(end.failed, Some(Failure::GiveUp(_))), "{end:?}");
    }
}
