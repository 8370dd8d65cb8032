//! Errors as RAUC's clients expect them.

use zbus::message::Header;
use zbus::names::ErrorName;
use zbus::{DBusError, Message};

/// What GLib makes of the error that RAUC answers with; its clients show the text only.
const FAILED: &str = "org.gtk.GDBus.UnmappedGError.Quark._g_2dio_2derror_2dquark.Code30";

const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";

/// Why a call fails.
#[derive(Debug)]
pub enum Failure {
    /// It could not be done.
    Failed(String),
    /// The caller may not do that.
    Denied(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Failure {
    fn text(&self) -> &str {
        match self {
            Self::Failed(text) | Self::Denied(text) => text,
        }
    }
}

impl DBusError for Failure {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&self.text())
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(match self {
            Self::Failed(_) => FAILED,
            Self::Denied(_) => DENIED,
        })
    }

    fn description(&self) -> Option<&str> {
        Some(self.text())
    }
}
