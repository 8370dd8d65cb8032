//! A message bus of its own for each test, and programs on it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::rig::Rig;

/// As permissive as a bus can be: what is refused is refused by the service.
const POLICY: &str = r#"<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"#;

/// A running bus; ends with the value.
pub struct Bus {
    daemon: Child,
    address: String,
}

/// A program on a bus; ends with the value.
pub struct OnBus(pub Child);

impl Bus {
    /// Starts a bus whose files are in `dir`.
    pub fn start(dir: &Path) -> Bus {
        let (socket, config) = (dir.join("bus"), dir.join("bus.conf"));
        fs_err::write(&config, POLICY.replace("SOCKET", socket.to_str().unwrap())).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .arg("--nofork")
            .arg("--print-address")
            .arg(format!("--config-file={}", config.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon (Debian's package `dbus`) runs");
        let mut address = String::new();
        let mut output = BufReader::new(daemon.stdout.take().unwrap());
        output.read_line(&mut address).unwrap();
        Bus {
            daemon,
            address: address.trim().to_owned(),
        }
    }

    /// A command that finds this bus as its session bus and its system bus, and RAUC's programs too.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.address)
            .env("DBUS_STARTER_BUS_TYPE", "session");
        command
    }

    /// Starts `slotmgr daemon` on A, and waits until it has its name.
    pub fn serve(&self, rig: &Rig) -> OnBus {
        self.serve_on(rig, "A")
    }

    /// The same on another slot.
    pub fn serve_on(&self, rig: &Rig, slot: &str) -> OnBus {
        let daemon = self
            .command(env!("CARGO_BIN_EXE_slotmgr"))
            .arg("--conf")
            .arg(rig.path("system.conf"))
            .args(["--override-boot-slot", slot, "--run-directory"])
            .arg(rig.path("run"))
            .arg("--journal-socket")
            .arg(rig.path("journal"))
            .arg("daemon")
            .spawn()
            .unwrap();
        let daemon = OnBus(daemon);
        let wait = ["wait", "--session", "--timeout=30", "de.pengutronix.rauc"];
        let waited = self.command("gdbus").args(wait).status();
        assert!(
            waited
                .expect("gdbus (Debian's package `libglib2.0-bin`) runs")
                .success(),
            "slotmgr daemon has not taken its name"
        );
        daemon
    }

    /// Calls a method of RAUC's interface by `gdbus`.
    pub fn call(&self, method: &str, arguments: &[&str]) -> Output {
        self.command("gdbus")
            .args(["call", "--session", "-d", "de.pengutronix.rauc", "-o", "/"])
            .args(["-m", &format!("de.pengutronix.rauc.Installer.{method}")])
            .args(arguments)
            .output()
            .unwrap()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        end(&mut self.daemon);
    }
}

impl Drop for OnBus {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
