//! The service manager's notification socket (`sd_notify(3)`): one datagram per message.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Tells the service manager how the trial goes; without one nobody is told.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<UnixDatagram>,
}

impl Notify {
    /// `socket` is the value of `$NOTIFY_SOCKET`.
    #[must_use]
    pub fn new(socket: Option<&OsString>) -> Notify {
        let connected = socket.map(|name| connect(name));
        let socket = match connected {
            None => None,
            Some(Ok(socket)) => Some(socket),
            Some(Err(error)) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                None
            }
        };
        Notify { socket }
    }

    /// The trial is over and the system stays.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=done");
    }

    /// For people who look at the service.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// The loop lives: the service manager should wait so much longer, and take us for hung then.
    pub fn alive(&self, next: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}", next.as_micros()));
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket {
            // A full queue is the manager's trouble: the trial does not wait for it.
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// A path, or a name in the abstract namespace, written with a leading `@`.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_and_a_missing_manager_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify::new(Some(&path.into_os_string()));
        notify.alive(Duration::from_secs(2));
        notify.ready();
        let mut buffer = [0; 100];
        let count = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"EXTEND_TIMEOUT_USEC=2000000");
        let count = manager.recv(&mut buffer).unwrap();
        assert!(buffer[..count].starts_with(b"READY=1\n"));
        Notify::new(Some(&dir.path().join("nobody").into_os_string())).ready();
        Notify::new(None).ready();
    }

    #[test]
    fn abstract_names() {
        let name = format!("slotmgr-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        Notify::new(Some(&format!("@{name}").into())).status("a\nb");
        let mut buffer = [0; 100];
        let count = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"STATUS=a b");
    }
}
