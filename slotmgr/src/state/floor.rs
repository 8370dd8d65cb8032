//! The version floor: the newest version that ever proved itself on this machine.

use bundle_format::Version;
use serde::{Deserialize, Serialize};

use super::Release;

/// It rises with a confirmation and at no other time, so that an update that does not stay shuts
/// nobody out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Floor(Option<String>);

impl Floor {
    pub fn is_unknown(&self) -> bool {
        self.0.is_none()
    }

    pub fn version(&self) -> Option<Version> {
        self.0.as_deref().and_then(Version::parse)
    }

    /// This release has proved itself. One whose version cannot be compared says nothing about
    /// older and newer.
    pub fn raise(&mut self, release: &Release) {
        let text = release.version.as_deref();
        let version = text.and_then(Version::parse);
        if version.is_some() && version > self.version() {
            self.0 = text.map(str::to_owned);
        }
    }
}
