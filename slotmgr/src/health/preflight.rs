//! Whether an installation has a chance: looked at before anything is written.

use std::path::Path;

use super::probe::{Answer, Probe, free_bytes};
use super::systemd;
use crate::boot;
use crate::config::{Action, CheckConfig};
use crate::install::Machine;
use crate::program::Stop;
use crate::slot::SlotId;
use crate::state::{RaucStatus, error_chain, status_files};
use crate::storage::Area;

/// Room that the record needs, in bytes.
const ROOM: u64 = 64 * 1024;

/// Below this, in percent, a battery alone is not trusted with an installation.
const LEAST_CHARGE: u32 = 20;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// What was found; `Err` if an installation had better not begin.
    pub found: Result<String, String>,
}

/// The finding about room for the record.
const SPACE: &str = "space";

impl Finding {
    /// Why no installation may begin. The bootloader is the truth: for want of room for our own record
    /// a device does not go without its update.
    #[must_use]
    pub fn refusal(self) -> Option<String> {
        let why = self.found.err()?;
        if self.what == SPACE {
            tracing::warn!("{why}: what happens now may not be recorded");
            return None;
        }
        Some(why)
    }
}

/// What is looked at beside the machine itself.
#[derive(Debug, Clone, Copy)]
pub struct Look<'l> {
    /// What RAUC left behind about the slots.
    pub status: &'l RaucStatus,
    /// Where the record is kept.
    pub data_directory: Option<&'l Path>,
    /// The units among these must run now.
    pub checks: &'l [CheckConfig],
    /// `/sys/class/power_supply`
    pub power_supplies: &'l Path,
}

/// Looks at everything. Nothing is written.
pub fn preflight(m: &mut Machine<'_>, look: &Look<'_>) -> Vec<Finding> {
    let mut findings = vec![
        Finding {
            what: "fallback",
            found: boot::check_fallback(m.env, m.disks, m.layout, m.booted)
                .map(|_| match m.booted.id() {
                    Some(id) => format!("{} is good", m.layout.slot(id).name),
                    None => "this system lies in no slot and needs none".to_owned(),
                })
                .map_err(|error| error_chain(&error)),
        },
        Finding {
            what: "slot",
            found: writable(m, look.status),
        },
        Finding {
            what: "power",
            found: power(look.power_supplies),
        },
    ];
    if let Some(directory) = look.data_directory {
        let found = space(directory);
        findings.push(Finding { what: SPACE, found });
    }
    findings.extend(look.checks.iter().filter_map(service));
    findings
}

/// The slots that would be written can be opened, and nobody else has them.
fn writable(m: &mut Machine<'_>, status: &RaucStatus) -> Result<String, String> {
    let history = |id| status_files::history(m.record, status, m.layout, id);
    let group = m
        .layout
        .targets(m.booted, &history)
        .map_err(|error| error_chain(&error))?;
    let target: SlotId = group.boot().id();
    m.disks
        .open(Area::Slot(target))
        .map(|_| format!("{} can be written", m.layout.slot(target).name))
        .map_err(|error| error_chain(&error))
}

fn space(directory: &Path) -> Result<String, String> {
    // It is made by the first installation.
    let there = directory.ancestors().find(|path| path.exists());
    let there = there.unwrap_or(Path::new("/"));
    match free_bytes(there) {
        Err(error) => Err(format!("{}: {error}", there.display())),
        Ok(free) if free < ROOM => Err(format!("{} is full", there.display())),
        Ok(_) => Ok(format!("{} has room for the record", there.display())),
    }
}

/// On mains, or with a battery that is full enough; a machine that tells nothing is on mains.
fn power(supplies: &Path) -> Result<String, String> {
    let entries = std::fs::read_dir(supplies).into_iter().flatten().flatten();
    let mut charge = None;
    for entry in entries {
        let value = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
        if value("online").is_some_and(|text| text.trim() == "1") {
            return Ok("on mains".to_owned());
        }
        let percent = value("capacity").and_then(|text| text.trim().parse::<u32>().ok());
        charge = charge.max(percent);
    }
    match charge {
        None => Ok("no battery".to_owned()),
        Some(percent) if percent < LEAST_CHARGE => Err(format!(
            "the battery has {percent} %, and nothing charges it"
        )),
        Some(percent) => Ok(format!("battery, {percent} %")),
    }
}

/// A unit that does not run now cannot tell anything about the new system.
fn service(check: &CheckConfig) -> Option<Finding> {
    let Action::Probe(Probe::Unit { unit, max_restarts }) = &check.action else {
        return None;
    };
    let found = match systemd::unit(unit, *max_restarts, &Stop::default()) {
        Answer::Yes(text) => Ok(text),
        Answer::NotYet(text) | Answer::No(text) => Err(text),
    };
    Some(Finding {
        what: "service",
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batteries() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(power(dir.path()), Ok("no battery".into()));
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        write("BAT0/capacity", "19\n");
        assert!(power(dir.path()).is_err());
        write("BAT1/capacity", "20\n");
        assert_eq!(power(dir.path()), Ok("battery, 20 %".into()));
        write("BAT1/capacity", "5\n");
        write("AC/online", "1\n");
        assert_eq!(power(dir.path()), Ok("on mains".into()));
    }
}
