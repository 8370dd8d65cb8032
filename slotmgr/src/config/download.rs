//! `[download]` of `slotmgr.toml`.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// How much is fetched from web servers, and how fast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadConfig {
    /// Bytes per second at most.
    pub rate: Option<NonZeroU64>,
    /// Processor time, of all cores together, that a delta may take to compress blocks again.
    pub delta_cpu: Duration,
    /// Directories of chunks, asked before the store that the bundle has; they need not be there.
    pub stores: Vec<PathBuf>,
}

impl Default for DownloadConfig {
    fn default() -> Self {
        DownloadConfig {
            rate: None,
            delta_cpu: DELTA_CPU,
            stores: Vec::new(),
        }
    }
}

/// What a delta may take when nothing is said: a security update of a squashfs needs a tenth of it on a
/// server, and less than all of it on one slow core.
pub(crate) const DELTA_CPU: Duration = Duration::from_secs(300);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct RawDownload {
    max_kib_per_second: u64,
    delta_cpu_seconds: Option<u64>,
    stores: Vec<PathBuf>,
}

/// A day: whoever has that much time needs no delta.
const LONGEST_CPU: u64 = 24 * 60 * 60;

/// Largest limit that is understood: nobody limits to more.
const FASTEST_KIB: u64 = 100 << 20;

pub(super) fn settings(raw: RawDownload) -> Result<DownloadConfig, String> {
    let kib = raw.max_kib_per_second;
    if kib > FASTEST_KIB {
        return Err(format!(
            "[download] max-kib-per-second = {kib} is not 0 to {FASTEST_KIB}"
        ));
    }
    let cpu = raw.delta_cpu_seconds.unwrap_or(DELTA_CPU.as_secs());
    if cpu > LONGEST_CPU {
        return Err(format!(
            "[download] delta-cpu-seconds = {cpu} is not 0 to {LONGEST_CPU}"
        ));
    }
    if let Some(path) = raw.stores.iter().find(|path| !path.is_absolute()) {
        return Err(format!(
            "[download] stores: {} is not an absolute path",
            path.display()
        ));
    }
    Ok(DownloadConfig {
        rate: NonZeroU64::new(kib * 1024),
        delta_cpu: Duration::from_secs(cpu),
        stores: raw.stores,
    })
}
