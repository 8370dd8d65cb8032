//! Who may ask for what: root and the service's own user may do everything; others what polkit
//! allows them; without polkit, nothing that changes something.

use std::collections::HashMap;

use zbus::message::Header;
use zbus::{Connection, Variant};

use super::failure::Failure;

/// What is asked for, as polkit knows it (`slotmgr/dbus/org.slotmgr.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Install a bundle.
    Install,
    /// Mark a slot.
    Mark,
    /// Read a bundle that is named by the caller: with our rights, so not for everybody.
    Inspect,
}

impl Action {
    fn id(self) -> &'static str {
        match self {
            Self::Install => "org.slotmgr.install",
            Self::Mark => "org.slotmgr.mark",
            Self::Inspect => "org.slotmgr.inspect",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Install => "install a bundle",
            Self::Mark => "mark a slot",
            Self::Inspect => "have a bundle read",
        }
    }
}

/// Let polkit ask the user, if a user is there.
const ALLOW_INTERACTION: u32 = 1;

/// Refuses callers that may not do `action`.
pub(super) async fn authorize(
    connection: &Connection,
    call: &Header<'_>,
    action: Action,
) -> Result<(), Failure> {
    let denied = |why: String| {
        let what = action.text();
        Failure::Denied(format!(
            "you may not {what}: {why}. Ask as root, or allow {} in polkit",
            action.id()
        ))
    };
    let sender = call
        .sender()
        .ok_or_else(|| denied("the message names no sender".to_owned()))?;
    let user = user_of(connection, sender.as_str())
        .await
        .map_err(|error| denied(format!("the bus does not say who you are ({error})")))?;
    if user == 0 || user == nix::unistd::geteuid().as_raw() {
        return Ok(());
    }
    match polkit(connection, sender.as_str(), action).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(denied("polkit says no".to_owned())),
        Err(_) => Err(denied("there is no polkit to ask".to_owned())),
    }
}

async fn user_of(connection: &Connection, name: &str) -> zbus::Result<u32> {
    let answer = connection
        .call_method(
            Some("org.freedesktop.DBus"),
            "/org/freedesktop/DBus",
            Some("org.freedesktop.DBus"),
            "GetConnectionUnixUser",
            &name,
        )
        .await?;
    answer.body().deserialize()
}

/// Asks polkit's `CheckAuthorization`: `((sa{sv}) subject, s action, a{ss} details, u flags,
/// s cancellation)` gives `((bba{ss}) result)`, whose first word is the answer.
async fn polkit(connection: &Connection, name: &str, action: Action) -> zbus::Result<bool> {
    let subject = (
        "system-bus-name",
        HashMap::from([("name", Variant::from(name))]),
    );
    let details: HashMap<&str, &str> = HashMap::new();
    let answer = connection
        .call_method(
            Some("org.freedesktop.PolicyKit1"),
            "/org/freedesktop/PolicyKit1/Authority",
            Some("org.freedesktop.PolicyKit1.Authority"),
            "CheckAuthorization",
            &(subject, action.id(), details, ALLOW_INTERACTION, ""),
        )
        .await?;
    let (result,): ((bool, bool, HashMap<String, String>),) = answer.body().deserialize()?;
    let (yes, _challenge, _details) = result;
    Ok(yes)
}
