//! Asking a service on the bus, ours or RAUC's own, as `rauc` does.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, DynamicType, MatchRule, Message, MessageStream, OwnedVariant, Variant};

use super::answers::{repository, slot, text};
use super::job::{BUSY, INTERFACE};
use super::wire::Dict;
use super::{Bus, NAME, PATH};
use crate::boot::Mark;
use crate::service::{Identity, InstallRequest, Marked, RepositoryStatus, SlotStatus, Step};

const DBUS: &str = "org.freedesktop.DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Why a service did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It answered with an error.
    #[error("{0}")]
    Refused(String),
    /// It installs already.
    #[error(
        "another installation is running in the service; wait for it, or stop it (`slotmgr cancel`)"
    )]
    Busy,
    /// The bus, or the service, is gone.
    #[error("the service cannot be reached: {0}")]
    Bus(zbus::Error),
    /// The service went away in the middle.
    #[error("the service went away during the installation; `rauc status` tells what is there now")]
    Lost,
}

impl From<zbus::Error> for RemoteError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(_, Some(text), _) if text == BUSY => Self::Busy,
            zbus::Error::MethodError(_, Some(text), _) => Self::Refused(text),
            other => Self::Bus(other),
        }
    }
}

/// A service on the bus.
pub struct Remote {
    pub(super) connection: Connection,
}

impl Remote {
    /// The service on `bus`, if one has the name or the bus can start one.
    #[must_use]
    pub fn find(bus: Bus) -> Option<Remote> {
        Remote::among(bus, &["ListNames", "ListActivatableNames"])
    }

    /// The service on `bus`, if one runs.
    #[must_use]
    pub fn running(bus: Bus) -> Option<Remote> {
        Remote::among(bus, &["ListNames"])
    }

    fn among(bus: Bus, lists: &[&'static str]) -> Option<Remote> {
        zbus::block_on(async {
            let builder = match bus {
                Bus::System => Builder::system(),
                Bus::Session => Builder::session(),
            };
            // No bus is no service either.
            let connection = builder.build().await.ok()?;
            let asked = |method: &'static str| {
                connection.call_method(Some(DBUS), "/org/freedesktop/DBus", Some(DBUS), method, &())
            };
            for method in lists.iter().copied() {
                let names: Vec<String> = asked(method).await.ok()?.body().deserialize().ok()?;
                if names.iter().any(|name| name == NAME) {
                    return Some(Remote { connection });
                }
            }
            None
        })
    }

    fn call<T: DeserializeOwned + zbus::Type>(
        &self,
        method: &str,
        body: &(impl Serialize + DynamicType),
    ) -> Result<T, RemoteError> {
        let call = self
            .connection
            .call_method(Some(NAME), PATH, Some(INTERFACE), method, body);
        let answer = zbus::block_on(call)?;
        Ok(answer.body().deserialize()?)
    }

    /// The unique name of the service; starts it if it does not run.
    pub(super) async fn owner(&self) -> zbus::Result<String> {
        let ping = "org.freedesktop.DBus.Peer";
        self.connection
            .call_method(Some(NAME), PATH, Some(ping), "Ping", &())
            .await?;
        let answer = self
            .connection
            .call_method(
                Some(DBUS),
                "/org/freedesktop/DBus",
                Some(DBUS),
                "GetNameOwner",
                &NAME,
            )
            .await?;
        answer.body().deserialize()
    }

    /// Says when the service goes away.
    pub(super) async fn owners(&self) -> zbus::Result<MessageStream> {
        let gone = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(DBUS)
            .member("NameOwnerChanged")
            .arg(0, NAME)
            .build()?;
        MessageStream::for_match_rule(gone, &self.connection, None).await
    }

    /// Who the machine is.
    ///
    /// # Errors
    /// The service does not answer.
    pub fn identity(&self) -> Result<Identity, RemoteError> {
        let call =
            self.connection
                .call_method(Some(NAME), PATH, Some(PROPERTIES), "GetAll", &INTERFACE);
        let answer = zbus::block_on(call)?;
        let mut found: Dict = answer.body().deserialize()?;
        let mut text = |name: &str| text(&mut found, name).unwrap_or_default();
        Ok(Identity {
            compatible: text("Compatible"),
            variant: text("Variant"),
            system_version: text("SystemVersion"),
            boot_slot: text("BootSlot"),
        })
    }

    /// All slots.
    ///
    /// # Errors
    /// The service does not answer, or cannot read them.
    pub fn slots(&self) -> Result<Vec<SlotStatus>, RemoteError> {
        let slots: Vec<(String, HashMap<String, OwnedVariant>)> =
            self.call("GetSlotStatus", &())?;
        Ok(slots
            .into_iter()
            .map(|(name, dict)| slot(name, dict))
            .collect())
    }

    /// The artifact repositories; none where the service is RAUC's of before 1.13.
    ///
    /// # Errors
    /// The service does not answer, or cannot read them.
    pub fn repositories(&self) -> Result<Vec<RepositoryStatus>, RemoteError> {
        let method = "GetArtifactStatus";
        let call = self
            .connection
            .call_method(Some(NAME), PATH, Some(INTERFACE), method, &());
        let answer = match zbus::block_on(call) {
            Err(zbus::Error::FDO(error))
                if matches!(*error, zbus::fdo::Error::UnknownMethod(_)) =>
            {
                return Ok(vec![]);
            }
            answer => answer?,
        };
        let found: Vec<Dict> = answer.body().deserialize()?;
        Ok(found.into_iter().map(repository).collect())
    }

    /// The slot that is started next.
    ///
    /// # Errors
    /// The service does not answer, or there is none.
    pub fn primary(&self) -> Result<String, RemoteError> {
        self.call("GetPrimary", &())
    }

    /// Tells the bootloader what to think of a slot.
    ///
    /// # Errors
    /// The service refuses.
    pub fn mark(&self, mark: Mark, slot: &str) -> Result<Marked, RemoteError> {
        let state = match mark {
            Mark::Good => "good",
            Mark::Bad => "bad",
            Mark::Active => "active",
        };
        let (slot, message) = self.call("Mark", &(state, slot))?;
        Ok(Marked { slot, message })
    }

    /// Has a bundle installed; `tell` gets each step. `Ok(Err)` is what the service says went wrong.
    ///
    /// # Errors
    /// The service refuses to begin, or goes away.
    pub fn install(
        &self,
        request: &InstallRequest,
        tell: &mut dyn FnMut(Step),
    ) -> Result<Result<(), String>, RemoteError> {
        zbus::block_on(async {
            // Listening has to begin before the installation does, and rules go by unique names.
            let owner = self.owner().await?;
            let rule = MatchRule::builder()
                .msg_type(Type::Signal)
                .sender(owner)
                .build()?;
            let mut signals = MessageStream::for_match_rule(rule, &self.connection, None).await?;
            let mut owners = self.owners().await?;
            self.connection
                .call_method(
                    Some(NAME),
                    PATH,
                    Some(INTERFACE),
                    "InstallBundle",
                    &(&request.origin.source, arguments(request)),
                )
                .await?;
            let mut error = String::new();
            loop {
                let Some(message) = next(&mut signals, &mut owners).await? else {
                    return Err(RemoteError::Lost);
                };
                match heard(&message) {
                    Heard::Step(step) => tell(step),
                    Heard::Error(text) => error = text,
                    Heard::Completed(0) => return Ok(Ok(())),
                    Heard::Completed(_) => return Ok(Err(error)),
                    Heard::Else => {}
                }
            }
        })
    }
}

/// The next signal of the service; nothing when the name changes its owner.
pub(super) async fn next(
    signals: &mut MessageStream,
    owners: &mut MessageStream,
) -> zbus::Result<Option<Message>> {
    poll_fn(|context| {
        // What was said before the end comes first.
        if let std::task::Poll::Ready(found) = Pin::new(&mut *signals).poll_next(context) {
            return std::task::Poll::Ready(found.transpose());
        }
        Pin::new(&mut *owners).poll_next(context).map(|_| Ok(None))
    })
    .await
}

enum Heard {
    Step(Step),
    Error(String),
    Completed(i32),
    Else,
}

fn heard(message: &Message) -> Heard {
    let header = message.header();
    match header.member().map(zbus::names::MemberName::as_str) {
        Some("Completed") => match message.body().deserialize() {
            Ok(code) => Heard::Completed(code),
            Err(_) => Heard::Else,
        },
        Some("PropertiesChanged") => {
            let body = message.body();
            let found: zbus::Result<(String, HashMap<String, OwnedVariant>, Vec<String>)> =
                body.deserialize();
            let Ok((_, mut changed, _)) = found else {
                return Heard::Else;
            };
            if let Some(step) = changed.remove("Progress") {
                return Step::try_from(step).map_or(Heard::Else, Heard::Step);
            }
            match changed.remove("LastError").map(String::try_from) {
                Some(Ok(text)) => Heard::Error(text),
                _ => Heard::Else,
            }
        }
        _ => Heard::Else,
    }
}

/// `InstallBundle`'s `a{sv}`: only what differs from the default, so that older services take it.
pub(super) fn arguments(request: &InstallRequest) -> HashMap<&'static str, Variant<'_>> {
    let mut arguments = HashMap::new();
    let flags = [
        ("ignore-compatible", request.ignore_compatible),
        ("ignore-version-limit", request.ignore_version_limit),
        ("tls-no-verify", request.origin.tls_no_verify),
        // Only our own service knows it, and only it is told.
        ("try-again", request.try_again),
    ];
    for (key, _) in flags.into_iter().filter(|(_, set)| *set) {
        arguments.insert(key, Variant::from(true));
    }
    let origin = &request.origin;
    let texts = [
        ("transaction-id", &request.transaction),
        ("require-manifest-hash", &request.manifest_hash),
        ("tls-cert", &origin.tls_cert),
        ("tls-key", &origin.tls_key),
        ("tls-ca", &origin.tls_ca),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            arguments.insert(key, Variant::from(text.as_str()));
        }
    }
    if !origin.headers.is_empty() {
        arguments.insert("http-headers", Variant::from(origin.headers.clone()));
    }
    arguments
}
