//! What a system left behind that did not come back by itself: looked for by the old system, once.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::probe::output_of;
use super::rack::Kernel;
use super::watchdog::Rack;
use crate::program::Stop;
use crate::state::Traces;

/// The kernel's own places, and where systemd moves what it finds there.
const PSTORE: [&str; 2] = ["/sys/fs/pstore", "/var/lib/systemd/pstore"];

/// Bytes that are read of one file; the record keeps less.
const MAX_READ: u64 = 64 * 1024;

/// Files of pstore that are read.
const MAX_FILES: usize = 4;

/// A journal that does not answer keeps nobody.
const LIMIT: Duration = Duration::from_secs(5);

/// Looks for everything.
#[must_use]
pub fn collect() -> Traces {
    Traces {
        watchdog_reset: watchdog_reset(),
        journal: journal().unwrap_or_default(),
        pstore: PSTORE
            .iter()
            .map(|folder| pstore(Path::new(folder)))
            .collect(),
    }
}

fn watchdog_reset() -> Option<bool> {
    let rack = Kernel;
    let devices = rack.devices().into_iter();
    let told: Vec<bool> = devices
        .filter_map(|device| rack.facts(&device).caused_last_restart)
        .collect();
    (!told.is_empty()).then(|| told.contains(&true))
}

/// The end of the boot before this one, where the journal is kept on disk. It is kept as text for
/// people; nothing is read out of it.
fn journal() -> Option<String> {
    let asked = [
        "journalctl",
        "--boot=-1",
        "--lines=30",
        "--no-pager",
        "--quiet",
        "--output=short",
    ];
    output_of(&asked, LIMIT, &Stop::default())
}

fn pstore(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return String::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut text = String::new();
    for path in paths.iter().filter(|path| path.is_file()).take(MAX_FILES) {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_READ).read_to_end(&mut bytes));
        if let Err(error) = read {
            tracing::warn!(path = %path.display(), %error, "cannot read what the kernel left");
        }
        text.push_str(&String::from_utf8_lossy(&bytes));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pstore_is_read_up_to_a_cap() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(pstore(&dir.path().join("none")), "");
        fs_err::write(dir.path().join("dmesg-1"), "Kernel panic").unwrap();
        fs_err::write(dir.path().join("dmesg-2"), vec![b'x'; 1 << 20]).unwrap();
        let text = pstore(dir.path());
        assert!(text.starts_with("Kernel panic\nxxx") && text.len() < 100_000);
    }
}
