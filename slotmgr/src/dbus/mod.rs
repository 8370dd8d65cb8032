//! The service on D-Bus: RAUC's interface, so that its clients find what they know, and our own.
//!
//! Only this module knows of messages, and only it is asynchronous. What is asked for is done by a
//! [`Service`] on threads of its own, so that questions are answered while an installation runs.

mod access;
mod answers;
mod client;
mod client_job;
mod failure;
mod installer;
mod job;
mod manager;
mod offload;
mod wire;
mod wire_job;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use zbus::Connection;
use zbus::connection::Builder;
use zbus::object_server::SignalEmitter;

use crate::service::{Identity, Service};
pub use client::{Remote, RemoteError};
pub use client_job::Told;
use installer::Installer;
use job::Jobs;
use manager::Manager;
use offload::offload;

/// RAUC's name on the bus.
pub const NAME: &str = "de.pengutronix.rauc";

/// The path of RAUC's one object.
pub const PATH: &str = "/";

/// The path of our own object, which has the interface `org.slotmgr.Manager1`.
pub const MANAGER_PATH: &str = "/org/slotmgr";

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

/// Answers on `bus` until the connection is lost, or `until` comes back: then an installation that
/// runs is stopped, and ends in an orderly way. `ready` is called when the first question can be
/// asked.
///
/// # Errors
/// There is no such bus, or somebody else (RAUC itself, perhaps) has the name.
pub fn serve(
    bus: Bus,
    identity: Identity,
    service: Arc<dyn Service>,
    until: impl FnOnce() + Send + 'static,
    ready: impl FnOnce(),
) -> zbus::Result<()> {
    let jobs = Arc::new(Jobs::default());
    let connection = zbus::block_on(connect(bus, identity, &service, &jobs))?;
    let emitter = SignalEmitter::new(&connection, MANAGER_PATH)?.into_owned();
    let hearing = Arc::clone(&jobs);
    service.listen(Arc::new(move |entry| job::heard(&hearing, &emitter, entry)));
    // Outside of the executor: who hears of it waits for the bus.
    service.begin();
    ready();
    rest();
    let asked = offload(move || {
        until();
        jobs.stop_and_wait();
    });
    zbus::block_on(either(connection.closed(), asked));
    service.end();
    Ok(())
}

/// After each piece of work, since the next one may be days away.
fn rest() {
    if let Err(error) = devio::memory::let_go_of_code() {
        tracing::debug!("the service keeps its code in memory: {error}");
    }
}

async fn connect(
    bus: Bus,
    identity: Identity,
    service: &Arc<dyn Service>,
    jobs: &Arc<Jobs>,
) -> zbus::Result<Connection> {
    let builder = match bus {
        Bus::System => Builder::system(),
        Bus::Session => Builder::session(),
    };
    let manager = Manager::new(Arc::clone(service), Arc::clone(jobs));
    let installer = Installer::new(identity, Arc::clone(service), Arc::clone(jobs));
    builder
        .serve_at(PATH, installer)
        .serve_at(MANAGER_PATH, manager)
        .name(NAME)
        .build()
        .await
}

/// Ready when one of the two is.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = Option<()>>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| {
        let ready =
            one.as_mut().poll(context).is_ready() || other.as_mut().poll(context).is_ready();
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
