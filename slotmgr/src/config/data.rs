//! `[data]` of `slotmgr.toml`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::trial::within;

/// Longest time that one hook, or the copy, may be given, in seconds.
const MAX_HOOK: u64 = 3_600;

/// Most snapshots that are kept.
const MAX_SNAPSHOTS: u8 = 99;

/// What belongs to the applications and outlives an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataConfig {
    /// Holds a folder for each slot.
    pub directory: Option<PathBuf>,
    /// Snapshots that are kept.
    pub snapshots: u8,
    /// How long one hook, or the copy, may take.
    pub hook_limit: Duration,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            directory: None,
            snapshots: 2,
            hook_limit: Duration::from_secs(300),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct RawData {
    directory: Option<PathBuf>,
    snapshots: Option<u8>,
    hook_seconds: Option<u64>,
}

pub(super) fn settings(raw: RawData) -> Result<DataConfig, String> {
    let default = DataConfig::default();
    let snapshots = raw.snapshots.unwrap_or(default.snapshots);
    if !(1..=MAX_SNAPSHOTS).contains(&snapshots) {
        return Err(format!(
            "snapshots = {snapshots} is not 1 to {MAX_SNAPSHOTS}"
        ));
    }
    Ok(DataConfig {
        directory: raw.directory,
        snapshots,
        hook_limit: match raw.hook_seconds {
            None => default.hook_limit,
            Some(seconds) => within("hook-seconds", seconds, MAX_HOOK)?,
        },
    })
}
