//! The service on D-Bus: RAUC's interface, so that its clients find what they know, and our own.
//!
//! Only this module knows of messages, and only it is asynchronous. What is asked for is done by a
//! [`Service`] on threads of its own, so that questions are answered while an installation runs.

mod access;
mod client;
mod failure;
mod installer;
mod job;
mod offload;
mod wire;

use std::sync::Arc;

use zbus::Connection;
use zbus::connection::Builder;

use crate::service::{Identity, Service};
pub use client::{Remote, RemoteError};
use installer::Installer;
use job::Jobs;

/// RAUC's name on the bus.
pub const NAME: &str = "de.pengutronix.rauc";

/// The path of RAUC's one object.
pub const PATH: &str = "/";

/// Which bus is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// The machine's.
    System,
    /// A user's; for test rigs.
    Session,
}

impl Bus {
    /// As `DBUS_STARTER_BUS_TYPE` says; the system bus if it says nothing.
    #[must_use]
    pub fn from_starter(kind: Option<&str>) -> Self {
        match kind {
            Some("session") => Self::Session,
            _ => Self::System,
        }
    }
}

impl std::fmt::Display for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::System => "system bus",
            Self::Session => "session bus",
        })
    }
}

/// Answers on `bus` until the connection is lost. `ready` is called when the first question can
/// be asked.
///
/// # Errors
/// There is no such bus, or somebody else (RAUC itself, perhaps) has the name.
pub fn serve(
    bus: Bus,
    identity: Identity,
    service: Arc<dyn Service>,
    ready: impl FnOnce(),
) -> zbus::Result<()> {
    zbus::block_on(async {
        let builder = match bus {
            Bus::System => Builder::system(),
            Bus::Session => Builder::session(),
        };
        let jobs = Arc::new(Jobs::default());
        let installer = Installer::new(identity, service, jobs);
        let connection: Connection = builder.serve_at(PATH, installer).name(NAME).build().await?;
        ready();
        connection.closed().await;
        Ok(())
    })
}
