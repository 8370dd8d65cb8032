//! One machine from power-on to power-off, driven as a person at its console would.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Stage;
use super::transcript::Transcript;
use crate::console::Outcome;
use crate::http::Server;
use crate::machine::{BOOT_LIMIT, COMMAND_LIMIT, Machine, Setup};

/// An installation; 12 s when nothing else runs on the host.
const INSTALL_LIMIT: Duration = Duration::from_secs(240);

/// Who a machine says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The slot that it started from.
    pub slot: String,
    /// The version of its system.
    pub version: String,
}

impl Identity {
    /// An identity to compare with.
    pub fn new(slot: &str, version: u32) -> Self {
        Self {
            slot: slot.to_owned(),
            version: version.to_string(),
        }
    }

    /// Reads `… slot=X version=N …`, as the guest's init prints it.
    fn parse(line: &str) -> Result<Self> {
        let value = |name: &str| {
            let found = line
                .split_whitespace()
                .find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
            found
                .map(str::to_owned)
                .with_context(|| format!("no {name} in {line:?}"))
        };
        Ok(Self {
            slot: value("slot")?,
            version: value("version")?,
        })
    }
}

/// A running machine, its web server, and what people see of it.
pub struct Session<'a> {
    stage: &'a Stage<'a>,
    machine: Machine<'a>,
    // Ends with the session.
    _server: Server,
    slot: String,
}

impl<'a> Session<'a> {
    /// Turns on a machine with the files of `www` on its network, and waits for its shell.
    ///
    /// # Errors
    /// It does not come up as `expected`.
    pub fn start(
        stage: &'a Stage<'a>,
        www: &Path,
        setup: &Setup<'_>,
        expected: &Identity,
    ) -> Result<Self> {
        let server = Server::start(www)?;
        let netdev = server.netdev(&stage.relay);
        let setup = Setup {
            network: Some(&netdev),
            ..*setup
        };
        let mut transcript = Transcript::new();
        let machine = Machine::start(
            &setup,
            Box::new(move |line| {
                if let Some(text) = transcript.shows(line).filter(|_| stage.show_console) {
                    stage.progress.say(&format!("    {text}"));
                }
            }),
        )?;
        let mut session = Self {
            stage,
            machine,
            _server: server,
            slot: String::new(),
        };
        session.wait_ready(BOOT_LIMIT, expected)?;
        Ok(session)
    }

    /// Runs a command that must succeed; shows it and its output.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&mut self, command: &str) -> Result<String> {
        self.run_within(command, COMMAND_LIMIT)?.success()
    }

    /// Has slotmgr install a bundle from the web server.
    ///
    /// # Errors
    /// It refuses, or fails.
    pub fn install(&mut self, bundle: &str) -> Result<()> {
        let command = format!("slotmgr install {}/{bundle}", crate::http::GUEST_URL);
        self.run_within(&command, INSTALL_LIMIT)?.success()?;
        Ok(())
    }

    /// Restarts the machine and waits for its shell; it may take `boots` starts until then.
    /// Returns the lines of its console in the meantime.
    ///
    /// # Errors
    /// It does not come up as `expected`.
    pub fn restart(&mut self, boots: u32, expected: &Identity) -> Result<Vec<String>> {
        let before = self.machine.console.history().len();
        self.prompt("reboot -f");
        self.machine.console.send("reboot -f")?;
        self.wait_ready(BOOT_LIMIT * boots, expected)?;
        Ok(self.machine.console.history()[before..].to_vec())
    }

    /// Turns the machine off, as a person would.
    ///
    /// # Errors
    /// It does not turn itself off.
    pub fn power_off(self) -> Result<()> {
        self.prompt("poweroff -f");
        self.machine.power_off()
    }

    fn run_within(&mut self, command: &str, limit: Duration) -> Result<Outcome> {
        self.prompt(command);
        self.machine.console.run(command, limit)
    }

    fn prompt(&self, command: &str) {
        if self.stage.show_console {
            self.stage
                .progress
                .say(&format!("\n    demo-{}# {command}", self.slot));
        }
    }

    fn wait_ready(&mut self, limit: Duration, expected: &Identity) -> Result<()> {
        let line = self
            .machine
            .console
            .wait_for(&["slotmgr-demo: ready"], limit)?;
        let found = Identity::parse(&line)?;
        if found != *expected {
            bail!(
                "the machine started version {} from slot {}, but it should have started version \
                 {} from slot {}",
                found.version,
                found.slot,
                expected.version,
                expected.slot
            );
        }
        self.slot = found.slot;
        if !line.ends_with("trial=0") {
            bail!("`slotmgr trial` failed when the machine started: {line}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_of_a_machine() {
        let line = "slotmgr-demo: ready slot=B version=2 trial=0";
        assert_eq!(Identity::parse(line).unwrap(), Identity::new("B", 2));
        let error = Identity::parse("slotmgr-demo: ready slot=B").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no version in \"slotmgr-demo: ready slot=B\""
        );
    }
}
