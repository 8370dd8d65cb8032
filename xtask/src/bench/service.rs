//! Services on a bus of their own, and what they take.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::logged;

/// What it is called on the bus, RAUC's and ours.
const NAME: &str = "de.pengutronix.rauc";

/// Clock ticks of `/proc/PID/stat` in a second (proc(5), `sysconf(_SC_CLK_TCK)`): 100 on every Linux that
/// Debian knows.
const TICKS: f64 = 100.0;

/// A session bus; gone with the value.
#[derive(Debug)]
pub struct Bus {
    _daemon: Ended,
    address: String,
}

/// A service on it; gone with the value.
#[derive(Debug)]
pub struct Service(Ended);

/// A program that is ended when nobody needs it any more.
#[derive(Debug)]
struct Ended(Child);

/// What a process took since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processor time in seconds.
    pub cpu: f64,
    /// Peak resident memory.
    pub peak_kib: u64,
    /// Resident memory now.
    pub resident_kib: u64,
    /// What of it is its own: neither code nor files.
    pub own_kib: u64,
    /// Written to disks, as the kernel accounts it.
    pub written_kib: u64,
}

impl Bus {
    /// # Errors
    /// `dbus-daemon` does not start.
    pub fn start() -> Result<Self> {
        let daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut daemon = Ended(daemon.context("cannot start dbus-daemon")?);
        let mut address = String::new();
        let said = daemon.0.stdout.take();
        BufReader::new(said.context("dbus-daemon has no output")?).read_line(&mut address)?;
        let address = address.trim().to_owned();
        Ok(Self {
            _daemon: daemon,
            address,
        })
    }

    /// What clients and services need in their environment.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("DBUS_SESSION_BUS_ADDRESS", self.address.clone()),
            ("DBUS_STARTER_BUS_TYPE", "session".to_owned()),
        ]
    }

    /// Starts `command`, and waits until it has its name.
    ///
    /// # Errors
    /// It does not take the name.
    pub fn serve(&self, mut command: Command, log: &Path) -> Result<Service> {
        let file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)?;
        let service = command
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file.into_file())
            .spawn();
        let service = Service(Ended(service.context("cannot start a service")?));
        let mut wait = Command::new("gdbus");
        wait.args(["wait", "--session", "--timeout=30", NAME]);
        logged(wait.envs(self.environment()), log)?;
        Ok(service)
    }

    /// Asks the service for what every client asks for.
    ///
    /// # Errors
    /// It does not answer.
    pub fn ask(&self, log: &Path) -> Result<()> {
        let mut call = Command::new("gdbus");
        call.args(["call", "--session", "--dest", NAME, "--object-path", "/"]);
        call.args(["--method", "de.pengutronix.rauc.Installer.GetSlotStatus"]);
        logged(call.envs(self.environment()), log)?;
        // It may still put things away.
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }
}

impl Service {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.0.id()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Usage {
    /// What the process `id` took until now.
    ///
    /// # Errors
    /// There is none.
    pub fn of(id: u32) -> Result<Self> {
        let read = |name: &str| fs_err::read_to_string(format!("/proc/{id}/{name}"));
        let (status, io, stat) = (read("status")?, read("io")?, read("stat")?);
        Ok(Self {
            cpu: cpu(&stat)?,
            peak_kib: number(&status, "VmHWM:")?,
            resident_kib: number(&status, "VmRSS:")?,
            own_kib: number(&status, "RssAnon:")?,
            written_kib: number(&io, "write_bytes:")? / 1024,
        })
    }
}

/// User and system time: fields 14 and 15, of which the second is a name with anything in it.
fn cpu(stat: &str) -> Result<f64> {
    let after = stat.rsplit_once(')').map(|(_, fields)| fields);
    let mut fields = after.unwrap_or_default().split_whitespace().skip(11);
    let (Some(user), Some(system)) = (fields.next(), fields.next()) else {
        bail!("/proc/PID/stat reads {stat:?}");
    };
    Ok((user.parse::<f64>()? + system.parse::<f64>()?) / TICKS)
}

fn number(text: &str, field: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    let word = value.and_then(|value| value.split_whitespace().next());
    let word = word.with_context(|| format!("there is no {field} in {text:?}"))?;
    Ok(word.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_takes_is_read() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.own_kib > 0 && usage.own_kib <= usage.resident_kib);
        assert!(usage.resident_kib <= usage.peak_kib);
        assert!(Usage::of(u32::MAX).is_err());
    }

    #[test]
    fn names_of_programs_may_look_like_fields() {
        let stat = "7 (a) 1 2) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 9";
        assert!((cpu(stat).unwrap() - 3.0).abs() < 1e-9);
        assert!(cpu("7 (a) S 1").is_err());
        assert_eq!(number("A:\t12 kB\nB: 3\n", "A:").unwrap(), 12);
        assert!(number("AB: 3\n", "B:").is_err());
    }
}
