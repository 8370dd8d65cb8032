//! Hooks: scripts that are told how a trial ended. They have a time together and decide nothing.

use std::time::{Duration, Instant};

use super::check::{self, Report};
use super::directory;
use crate::config::{CheckConfig, TrialConfig};
use crate::program::Stop;

/// When hooks run, and the folders that hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The new system is confirmed.
    Confirmed,
    /// The new system is given up; the machine restarts afterwards.
    Failed,
}

impl Occasion {
    /// greenboot's folder first, then our own.
    fn folders(self) -> &'static [&'static str] {
        match self {
            Occasion::Confirmed => &["green.d"],
            Occasion::Failed => &["red.d", "rolled-back.d"],
        }
    }
}

/// Runs the hooks one after the other until the time for all of them is over.
///
/// `variables` are added to their environment. Nobody feeds a watchdog meanwhile.
#[must_use]
pub fn run(trial: &TrialConfig, occasion: Occasion, variables: &[(&str, &str)]) -> Vec<Report> {
    let end = Instant::now() + trial.hooks;
    let folders = occasion.folders().iter();
    let mut reports = Vec::new();
    for path in folders.flat_map(|folder| directory::scripts(trial, folder)) {
        let left = end.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            tracing::warn!("the time for hooks is over; {} is not run", path.display());
            continue;
        }
        let name = path.display().to_string();
        let hook = CheckConfig::new(name, directory::command(&path), left);
        let report = check::run(&hook, variables, &Stop::default());
        if report.failed() {
            tracing::warn!("hook: {report}");
        }
        reports.push(report);
    }
    reports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Verdict;
    use crate::program::End;

    #[test]
    fn they_share_their_time_and_a_hanging_one_keeps_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let hook = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        hook("red.d/a.sh", "echo $SLOTMGR_REASON");
        hook("rolled-back.d/b.sh", "sleep 1000");
        hook("rolled-back.d/c.sh", "exit 0");
        let trial = TrialConfig {
            directories: vec![dir.path().to_owned()],
            hooks: Duration::from_secs(1),
            ..TrialConfig::default()
        };
        let reports = run(
            &trial,
            Occasion::Failed,
            &[("SLOTMGR_REASON", "no database")],
        );
        assert_eq!(reports[0].output, "no database\n");
        assert!(matches!(
            reports[1].verdict,
            Verdict::Failed(End::TimedOut(_))
        ));
        assert_eq!(reports.len(), 2, "the third has no time left");
        assert_eq!(run(&trial, Occasion::Confirmed, &[]), []);
    }
}
