//! All printing. Human answers end with the state and the next step; JSON answers carry
//! `"schema": 1` and are one line.

mod config;
mod forecast_json;
mod json;
mod progress;
mod status;
mod status_json;

pub(super) use progress::Bar;
pub(super) use status::StatusView;

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use bundle_format::VerifiedManifest;
use serde::Serialize;

use super::args::{Format, Voice};
use super::check_config;
use crate::boot::{BootState, Mark};
use crate::config::SystemConf;
use crate::events::Entry;
use crate::health::preflight::Finding;
use crate::health::{Report, TrialEnd};
use crate::install::{Estimate, LocalImage, Simulated};
use crate::service::{InstallEnd, InstallResult, JobStatus};
use crate::slot::{Booted, Layout, SlotId};
use crate::state::FellBack;

/// Version of every JSON answer.
const SCHEMA: u32 = 1;

/// Where answers go.
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub fn new(format: Format) -> Self {
        Output { format }
    }

    /// A closed pipe is the reader's choice, not an error of ours.
    fn line(&self, text: &str) {
        let _ = writeln!(io::stdout().lock(), "{text}");
    }

    fn human(&self, text: impl FnOnce() -> String) {
        if self.format == Format::Human {
            self.line(&text());
        }
    }

    fn json(&self, answer: &impl Serialize) {
        if self.format == Format::Json {
            match serde_json::to_string(answer) {
                Ok(text) => self.line(&text),
                Err(error) => tracing::error!(%error, "the answer cannot be written as JSON"),
            }
        }
    }

    /// People read it on stderr; who reads JSON gets an answer all the same.
    pub fn failed(&self, error: &str, exit_code: u8) {
        eprintln!("slotmgr: {error}");
        self.json(&json::Failed::new(error, exit_code));
    }

    /// A bar on a terminal, lines otherwise; on stderr, so that an answer can be piped.
    pub fn progress(&self) -> Bar<'_> {
        let style = match (self.format, io::stderr().is_terminal()) {
            (Format::Json, _) => progress::Style::Nothing,
            (Format::Human, true) => progress::Style::Terminal,
            (Format::Human, false) => progress::Style::Lines,
        };
        Bar::new(self, style)
    }

    pub fn bundle_accepted(&self, manifest: &VerifiedManifest) {
        self.human(|| {
            let update = &manifest.manifest().update;
            let version = update.version.as_deref().unwrap_or("without a version");
            // The chain of certificates; its first is who signed.
            let signer = manifest.signers().first();
            let signer = signer.map_or("nobody", |signer| signer.subject.as_str());
            format!(
                "bundle     {} {version}, signed by {signer}",
                update.compatible
            )
        });
    }

    pub fn installed(&self, result: &InstallResult) {
        let label = result.release.label();
        let slot = result.slot.clone().unwrap_or_default();
        let title = match &result.bootname {
            Some(name) => format!("{slot} ({name})"),
            None => slot.clone(),
        };
        self.human(|| match result.end {
            InstallEnd::Armed => format!(
                "installed  {label} is in {title}: written, synced, read back\n\
                 next       restart the machine: {slot} is tried {} times at most, then this \
                 system comes back",
                result.tries.unwrap_or_default()
            ),
            InstallEnd::Waiting => format!(
                "installed  {label} is in {title}: written, synced, read back\n\
                 next       it is not started by itself (activate-installed=false): \
                 slotmgr mark active {slot}"
            ),
            InstallEnd::Artifacts => format!(
                "installed  the artifacts of {label}: written, synced, read back, and used from now \
                 on\nnext       restart the programs that use them"
            ),
            InstallEnd::ByHandler => format!(
                "installed  {label}, by the bundle's own handler; slotmgr has neither written nor \
                 checked a slot\nnext       slotmgr status"
            ),
        });
        self.json(&json::Installed::new(result));
    }

    #[cfg(feature = "dbus")]
    pub fn cancelled(&self, job: &str) {
        self.human(|| {
            format!("job {job} is asked to stop\nnext       slotmgr monitor tells when it has")
        });
        self.json(&json::Cancelled::new(job));
    }

    /// All jobs, a line each.
    pub fn jobs(&self, jobs: &[JobStatus]) {
        if jobs.is_empty() {
            self.human(|| "nothing was installed yet".to_owned());
        }
        for job in jobs {
            self.job(job);
        }
    }

    /// A job, in one line.
    pub fn job(&self, job: &JobStatus) {
        self.human(|| status::job(job));
        self.json(&json::JobLine::new(job));
    }

    /// Something that happened, in one line.
    pub fn event(&self, entry: &Entry) {
        self.human(|| status::event(entry));
        self.json(&json::EventLine::new(entry));
    }

    pub fn slot_written(&self, layout: &Layout, slot: SlotId, image: &LocalImage) {
        let root = layout.root_of(slot);
        self.human(|| {
            let name = &layout.slot(slot).name;
            let next = match layout.slot(root).boot_name {
                Some(_) => format!(
                    "{} is not started by itself: slotmgr mark active {}",
                    layout.slot(root).name,
                    layout.slot(root).name
                ),
                None => "slotmgr status".to_owned(),
            };
            format!(
                "written    {} bytes are in {name}: synced, read back\nnext       {next}",
                image.size()
            )
        });
        self.json(&json::SlotWritten::new(layout, slot, image));
    }

    pub fn marked(&self, layout: &Layout, slot: SlotId, mark: Mark, state: Option<&BootState>) {
        self.human(|| {
            let next = match state.map(BootState::primary) {
                None => "but bootloader=noop remembers nothing: what is started next is decided \
                         elsewhere"
                    .to_owned(),
                Some(Some(id)) => format!("{} is started next", layout.slot(id).name),
                Some(None) => {
                    "no slot is confirmed or has a try left; the bootloader's last resort \
                         decides"
                        .to_owned()
                }
            };
            format!(
                "{} is marked {}; {next}",
                layout.slot(slot).name,
                json::mark_name(mark)
            )
        });
        self.json(&json::Marked::new(layout, slot, mark, state));
    }

    pub fn check_ended(&self, report: &Report) {
        self.human(|| format!("{} {report}", if report.failed() { '✗' } else { '✓' }));
    }

    /// A system that lies in no slot is never on trial.
    pub fn nothing_to_try(&self) {
        self.human(|| "this system lies in no slot: there is nothing to confirm".to_owned());
        self.json(&json::Trial::outside());
    }

    pub fn trial_ended(&self, layout: &Layout, booted: Booted, end: &TrialEnd) {
        let slot = &layout.slot(booted.id()).name;
        self.human(|| match end {
            TrialEnd::NotOnTrial { standing } => {
                format!(
                    "{slot} is not on trial (the bootloader has it as {standing}): nothing to do"
                )
            }
            TrialEnd::Confirmed { reports } if reports.is_empty() => format!(
                "{slot} is confirmed: it has started, and no check is configured in slotmgr.toml"
            ),
            TrialEnd::Confirmed { reports } => {
                format!(
                    "{slot} is confirmed: {} of {} checks passed",
                    reports.iter().filter(|report| !report.failed()).count(),
                    reports.len()
                )
            }
            TrialEnd::Failed {
                left: 0, reason, ..
            } => format!(
                "{slot} did not prove itself, and this was its last try: the machine restarts \
                 into the other system ({reason})"
            ),
            TrialEnd::Failed { left, reason, .. } => format!(
                "{slot} did not prove itself: the machine restarts; {left} more {} before the \
                 other system comes back ({reason})",
                if *left == 1 { "try" } else { "tries" }
            ),
        });
        self.json(&json::Trial::new(layout, booted, end));
    }

    pub fn config_checked(
        &self,
        path: &Path,
        conf: &SystemConf,
        findings: &[check_config::Finding],
    ) {
        self.human(|| config::human(path, conf, findings));
        self.json(&config::Checked::new(path, conf, findings));
    }

    /// What watches over a trial, or what became of it.
    pub fn watchdog(&self, told: &str) {
        self.human(|| format!("watchdog   {told}"));
    }

    pub fn voted(&self, name: &str, voice: Voice) {
        let said = match voice {
            Voice::Ok => "ok",
            Voice::Bad => "bad",
        };
        self.human(|| format!("{name} voted {said}; `slotmgr trial` counts it in this boot"));
        self.json(&json::Voted::new(name, said));
    }

    pub fn would_roll_back(&self, layout: &Layout, to: SlotId) {
        let name = layout.slot(to).name.to_string();
        self.human(|| format!("{name} can be gone back to; nothing was changed"));
        self.json(&json::RolledBack::new("possible", &name));
    }

    pub fn rolled_back(&self, layout: &Layout, to: SlotId) {
        let name = layout.slot(to).name.to_string();
        self.human(|| format!("{name} is started next\nnext       restart the machine"));
        self.json(&json::RolledBack::new("rolled-back", &name));
    }

    pub fn preflight(&self, findings: &[Finding]) {
        self.findings(findings);
        self.json(&forecast_json::Preflight::new(findings));
    }

    fn findings(&self, findings: &[Finding]) {
        for finding in findings {
            let (mark, text) = match &finding.found {
                Ok(text) => ('✓', text),
                Err(text) => ('✗', text),
            };
            self.human(|| format!("{mark} {:9} {text}", finding.what));
        }
    }

    pub fn simulated(&self, layout: &Layout, findings: &[Finding], simulated: &Simulated) {
        self.findings(findings);
        for step in &simulated.steps {
            let device = layout.slot(step.target.id()).device.display();
            self.human(|| {
                let (what, size) = (step.label(), step.size);
                format!(
                    "would write {what}, {size} bytes, to {}, {device}",
                    step.slot
                )
            });
        }
        let next = &layout.slot(simulated.boot_target.id()).name;
        self.human(|| format!("{next} would be started next, on trial. Nothing was written"));
        for text in &simulated.unknown {
            self.human(|| format!("not known: {text}"));
        }
        self.json(&forecast_json::Simulation::new(layout, findings, simulated));
    }

    pub fn estimated(&self, estimate: &Estimate, seconds: Option<u64>) {
        for (step, cost) in &estimate.images {
            self.human(|| {
                format!(
                    "{} for {}: {} bytes to fetch, {} to write, of {}",
                    step.label(),
                    step.slot,
                    cost.fetch,
                    cost.write,
                    step.size
                )
            });
        }
        self.human(|| match seconds {
            Some(seconds) => format!("fetching takes about {seconds} s. Nothing was written"),
            None => "Nothing was written".to_owned(),
        });
        self.json(&forecast_json::Estimated::new(estimate, seconds));
    }

    pub fn snapshots(&self, numbers: &[u64]) {
        self.human(|| match numbers {
            [] => "there is no snapshot".to_owned(),
            numbers => {
                let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                format!("snapshots, the oldest first: {}", words.join(", "))
            }
        });
        self.json(&json::Snapshots::new(numbers));
    }

    pub fn restored(&self, number: u64) {
        self.human(|| format!("snapshot {number} is restored"));
        self.json(&json::Restored::new(number));
    }

    pub fn history(&self, entries: &[Entry], fell_back: Option<&FellBack>) {
        self.human(|| status::history(entries));
        self.json(&json::History::new(entries, fell_back));
    }

    pub fn status(&self, view: &StatusView<'_>) {
        self.human(|| status::human(view));
        self.json(&status_json::Status::new(view));
    }
}
