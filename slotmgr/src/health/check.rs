//! One health check: a program with a time limit, or a probe of our own.

use std::fmt;

use super::probe;
use super::window::Demand;
use crate::config::{Action, CheckConfig};
use crate::program::{self, End, Stop, Streams, Terms};

/// Output that is kept of one check, in bytes.
pub const MAX_OUTPUT: usize = 16 * 1024;

/// The exit code by which a required check says that this system will not get better: no retry,
/// no further try, the old system at once.
pub const GIVE_UP: i32 = 100;

/// What one check said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Whether it decides.
    pub demand: Demand,
    /// What came of it.
    pub verdict: Verdict,
    /// The first [`MAX_OUTPUT`] bytes of what it wrote.
    pub output: String,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Exit code 0, or slotmgr looked itself and found nothing wrong.
    Passed,
    /// Exit code [`GIVE_UP`].
    GaveUp,
    /// slotmgr looked itself; the output says what it found.
    Found,
    /// Its program ended otherwise.
    Failed(End),
}

impl From<End> for Verdict {
    fn from(end: End) -> Verdict {
        match end {
            End::ExitCode(0) => Verdict::Passed,
            End::ExitCode(GIVE_UP) => Verdict::GaveUp,
            end => Verdict::Failed(end),
        }
    }
}

impl Report {
    /// Everything but [`Verdict::Passed`].
    #[must_use]
    pub fn failed(&self) -> bool {
        self.verdict != Verdict::Passed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check `{}` {}", self.name, self.verdict)?;
        match program::last_line(&self.output) {
            last if self.failed() && !last.is_empty() => write!(f, ": {last}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Passed => f.write_str("passed"),
            Verdict::GaveUp => f.write_str("failed and asks to give this system up at once"),
            Verdict::Found => f.write_str("failed"),
            Verdict::Failed(end) => end.fmt(f),
        }
    }
}

/// Runs a check once, to its end or its limit, or until `stop`. `variables` are added to its
/// environment.
#[must_use]
pub fn run(check: &CheckConfig, variables: &[(&str, &str)], stop: &Stop) -> Report {
    run_around(check, variables, &probe::Around::default(), stop)
}

/// The same, for checks that compare with the time before the update, or wait for votes.
#[must_use]
pub fn run_around(
    check: &CheckConfig,
    variables: &[(&str, &str)],
    around: &probe::Around,
    stop: &Stop,
) -> Report {
    let words = match &check.action {
        Action::Command(words) => words,
        Action::Probe(asked) => return probe::run((check, asked), around, stop),
    };
    let terms = Terms {
        limit: check.timeout,
        keep: MAX_OUTPUT,
        streams: Streams::Together,
    };
    let mut command = program::command(words);
    let ran = program::run(command.envs(variables.iter().copied()), &terms, stop);
    Report {
        name: check.name.clone(),
        demand: check.demand,
        verdict: ran.end.into(),
        output: ran.output,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(script: &str, timeout: Duration) -> Report {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let check = CheckConfig::new("app".into(), command, timeout);
        run(&check, &[("GREETING", "hello")], &Stop::default())
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);

    #[test]
    fn one_that_hangs_fails() {
        let report = check("sleep 1000", SHORT);
        assert_eq!(report.verdict, Verdict::Failed(End::TimedOut(SHORT)));
    }

    #[test]
    fn passes_and_failures() {
        assert_eq!(check("echo fine", LONG).verdict, Verdict::Passed);
        let report = check("echo starting; echo no database >&2; exit 3", LONG);
        assert_eq!(report.verdict, Verdict::Failed(End::ExitCode(3)));
        assert_eq!(
            report.to_string(),
            "check `app` failed with exit code 3: no database"
        );
        assert_eq!(
            check("kill -9 $$", LONG).verdict,
            Verdict::Failed(End::Signal(9))
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failed_check() {
        let command = vec!["/no/such/program".to_owned()];
        let check = CheckConfig::new("x".into(), command, LONG);
        let report = run(&check, &[], &Stop::default());
        assert!(
            matches!(report.verdict, Verdict::Failed(End::NotRun(_))),
            "{report}"
        );
        assert!(report.failed());
    }

    #[test]
    fn one_exit_code_gives_up() {
        let report = check("echo wrong hardware; exit 100", LONG);
        assert_eq!(report.verdict, Verdict::GaveUp);
        let said = "check `app` failed and asks to give this system up at once: wrong hardware";
        assert_eq!(report.to_string(), said);
    }

    #[test]
    fn a_stop_ends_a_run_and_variables_arrive() {
        assert_eq!(check("echo $GREETING", LONG).output, "hello\n");
        let command = ["sleep", "1000"].map(str::to_owned).to_vec();
        let check = CheckConfig::new("x".into(), command, LONG);
        let stop = Stop::default();
        stop.now();
        assert_eq!(
            run(&check, &[], &stop).verdict,
            Verdict::Failed(End::Stopped)
        );
    }

    #[test]
    fn a_flood_is_cut() {
        let report = check("yes | head -c 10000000", LONG);
        // And the words that something is left out.
        assert!(report.output.len() < MAX_OUTPUT + 50);
        assert_eq!(report.verdict, Verdict::Passed);
    }
}
