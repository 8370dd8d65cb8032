//! Bundles over HTTP: a server on the host's loopback, which the guest reaches as 10.0.2.100.
//!
//! The guest's network is closed (`restrict=on`): nothing but this one address answers. QEMU
//! starts a relay for each connection to it, which is the demo program itself under another
//! command (see [`relay`]).

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::initramfs::BUSYBOX;
use crate::machine::{escaped, tied};

/// Where the guest finds the server.
pub const GUEST_URL: &str = "http://10.0.2.100";
/// The command of the demo program that is the relay.
pub const RELAY_COMMAND: &str = "relay";

/// How long the server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Serves the files of `dir` on a free port of the loopback address.
    ///
    /// # Errors
    /// The server does not come up.
    pub fn start(dir: &Path) -> Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = free.local_addr()?.port();
        drop(free);
        let child = tied(BUSYBOX)
            .args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"])
            .arg(dir)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start the HTTP server")?;
        let mut server = Self { child, port };
        server.wait_until_up()?;
        Ok(server)
    }

    /// The argument of QEMU's `-netdev`; `relay` is a program that calls [`relay`] when its
    /// first argument is [`RELAY_COMMAND`].
    #[must_use]
    pub fn netdev(&self, relay: &Path) -> String {
        // QEMU splits the command like a shell does.
        let program = relay.to_string_lossy().replace('\'', "'\\''");
        let command = format!("'{program}' {RELAY_COMMAND} {}", self.port);
        format!(
            "user,id=n0,restrict=on,guestfwd=tcp:10.0.2.100:80-cmd:{}",
            escaped(&command)
        )
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the HTTP server ended at once ({status})");
            }
            if Instant::now() > deadline {
                bail!("the HTTP server does not answer on port {}", self.port);
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects standard input and output with a port of the loopback address, until the server has
/// sent everything.
///
/// # Errors
/// The server cannot be reached, or a side breaks off.
pub fn relay(port: u16) -> Result<()> {
    let mut from_server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let mut to_server = from_server.try_clone()?;
    spawn(move || {
        // Either side may go first; what ends the relay is the other direction.
        let _ = io::copy(&mut io::stdin().lock(), &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let mut out = io::stdout().lock();
    io::copy(&mut from_server, &mut out).context("relaying to the guest")?;
    Ok(out.flush()?)
}
