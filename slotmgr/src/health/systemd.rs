//! What systemd tells of its units, by its properties (`systemctl show`), not by texts for people.

use std::time::Duration;

use super::probe::{Answer, output_of};
use crate::program::Stop;

/// systemd answers at once, or it hangs.
const LIMIT: Duration = Duration::from_secs(10);

/// Our own units: their jobs run for as long as the trial does.
const OURS: &str = "slotmgr";

const SILENT: &str = "systemctl gives no answer";

/// Active, and not in a loop of restarts.
pub(super) fn unit(name: &str, max_restarts: u64, stop: &Stop) -> Answer {
    let asked = [
        "systemctl",
        "show",
        "--property=ActiveState",
        "--property=SubState",
        "--property=NRestarts",
        "--property=LoadState",
        "--",
        name,
    ];
    match output_of(&asked, LIMIT, stop) {
        None => Answer::NotYet(SILENT.to_owned()),
        Some(text) => judge_unit(name, &text, max_restarts),
    }
}

fn judge_unit(name: &str, text: &str, max_restarts: u64) -> Answer {
    let value = |key: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    let said = |key| value(key).unwrap_or("unknown");
    let (active, sub, load) = (said("ActiveState"), said("SubState"), said("LoadState"));
    // Units that are no services have no such number.
    let restarts: u64 = value("NRestarts").and_then(|n| n.parse().ok()).unwrap_or(0);
    let told = format!("{name} is {active} ({sub})");
    if restarts > max_restarts {
        return Answer::No(format!("{told} and was restarted {restarts} times"));
    }
    match active {
        "active" | "reloading" => Answer::Yes(told),
        "failed" => Answer::No(told),
        _ if load == "not-found" => Answer::No(format!("there is no unit {name}")),
        _ => Answer::NotYet(told),
    }
}

/// None has failed, once nothing is being started any more.
pub(super) fn no_failed_units(except: &[String], stop: &Stop) -> Answer {
    let list = |what: &[&str]| {
        let plain = ["--plain", "--no-legend", "--full", "--no-pager"];
        output_of(&[&["systemctl"], what, &plain].concat(), LIMIT, stop)
    };
    let (Some(failed), Some(jobs)) = (list(&["list-units", "--failed"]), list(&["list-jobs"]))
    else {
        return Answer::NotYet(SILENT.to_owned());
    };
    judge_failed(&failed, &jobs, except)
}

fn judge_failed(failed: &str, jobs: &str, except: &[String]) -> Answer {
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let failed: Vec<String> = failed
        .lines()
        .filter_map(first)
        .filter(|unit| !except.contains(unit))
        .collect();
    if !failed.is_empty() {
        return Answer::No(format!("failed: {}", failed.join(", ")));
    }
    // ID UNIT TYPE STATE. What waits, waits for something that runs; in the end for us.
    let running = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let unit = words.get(1)?;
        (words.last() == Some(&"running") && !unit.starts_with(OURS)).then(|| (*unit).to_owned())
    };
    let running: Vec<String> = jobs.lines().filter_map(running).collect();
    if running.is_empty() {
        return Answer::Yes("no unit has failed".to_owned());
    }
    Answer::NotYet(format!("still being started: {}", running.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let show = |active: &str, restarts: &str| {
            format!("LoadState=loaded\nActiveState={active}\nSubState=x\nNRestarts={restarts}\n")
        };
        let judge = |text: &str| judge_unit("app.service", text, 1);
        assert!(matches!(judge(&show("active", "1")), Answer::Yes(_)));
        assert!(matches!(judge(&show("activating", "0")), Answer::NotYet(_)));
        assert!(matches!(judge(&show("inactive", "0")), Answer::NotYet(_)));
        assert!(matches!(judge(&show("failed", "0")), Answer::No(_)));
        let often = "app.service is active (x) and was restarted 2 times";
        assert_eq!(judge(&show("active", "2")), Answer::No(often.into()));
        let none = "LoadState=not-found\nActiveState=inactive\nSubState=dead\n";
        assert_eq!(
            judge(none),
            Answer::No("there is no unit app.service".into())
        );
        assert!(matches!(judge(""), Answer::NotYet(_)));
    }

    #[test]
    fn failed_units_count_at_once_and_success_only_when_all_is_started() {
        let ours = "8 slotmgr-trial.service start running\n9 boot-complete.target start waiting\n";
        let judge = |failed: &str, jobs: &str| judge_failed(failed, jobs, &["x.service".into()]);
        assert!(matches!(judge("", ours), Answer::Yes(_)));
        assert!(matches!(
            judge("x.service loaded failed failed X\n", ours),
            Answer::Yes(_)
        ));
        let failed = "app.service loaded failed failed The app\n";
        assert_eq!(
            judge(failed, ours),
            Answer::No("failed: app.service".into())
        );
        let busy = "7 app.service start running\n";
        let still = "still being started: app.service";
        assert_eq!(judge("", busy), Answer::NotYet(still.into()));
    }
}
