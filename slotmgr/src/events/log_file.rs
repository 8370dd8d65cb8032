//! The files of `[log.*]`, in the formats of RAUC.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::journald::fields;
use super::{Entry, Listener};
use crate::config::{EventKind, EventLog, LogFormat};

/// Labels of the format `readable`, by field.
const LABELS: [(&str, &str); 6] = [
    ("TRANSACTION_ID", "transaction ID"),
    ("BOOT_ID", "boot ID"),
    ("BUNDLE_HASH", "bundle hash"),
    ("BUNDLE_VERSION", "bundle version"),
    ("SLOT_NAME", "slot"),
    ("SLOT_BOOTNAME", "bootname"),
];

/// Behind the time and its colon: as wide as these.
const INDENT: &str = "                      ";

/// A file that events are appended to.
pub struct LogFile(EventLog);

impl LogFile {
    /// As configured.
    #[must_use]
    pub fn new(log: EventLog) -> LogFile {
        LogFile(log)
    }

    fn wants(&self, kind: EventKind) -> bool {
        let events = &self.0.events;
        events.contains(&EventKind::All) || events.contains(&kind)
    }

    /// `NAME.1` is the youngest of the older files.
    fn numbered(&self, number: u64) -> PathBuf {
        let mut name = self.0.path.clone().into_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name.into()
    }

    /// Makes room for `length` more bytes. The oldest file goes where there are enough of them.
    fn rotate(&self, length: u64) -> io::Result<()> {
        let Some(max) = self.0.max_size else {
            return Ok(());
        };
        let size = match std::fs::metadata(&self.0.path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if size == 0 || size.saturating_add(length) <= max {
            return Ok(());
        }
        if self.0.max_files <= 1 {
            return fs_err::remove_file(&self.0.path);
        }
        for number in (1..self.0.max_files).rev() {
            match std::fs::rename(self.numbered(number - 1), self.numbered(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Listener for LogFile {
    fn name(&self) -> String {
        self.0.path.display().to_string()
    }

    fn tell(&mut self, entry: &Entry) -> io::Result<()> {
        if !entry.what.kind().is_some_and(|kind| self.wants(kind)) {
            return Ok(());
        }
        let text = match self.0.format {
            LogFormat::Readable => readable(entry),
            LogFormat::Short => short(entry),
            LogFormat::Json => json(entry, serde_json::to_string)?,
            LogFormat::JsonPretty => json(entry, serde_json::to_string_pretty)?,
        } + "\n";
        self.rotate(text.len() as u64)?;
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(&self.0.path)?;
        file.write_all(text.as_bytes())
    }
}

fn short(entry: &Entry) -> String {
    let time = crate::state::utc_timestamp(entry.moment.at);
    format!("{time}: {}", entry.message())
}

fn readable(entry: &Entry) -> String {
    let mut text = short(entry);
    for (name, value) in fields(entry) {
        if let Some((_, label)) = LABELS.iter().find(|(field, _)| *field == name) {
            text.push_str(&format!("\n{INDENT}{label}: {value}"));
        }
    }
    text
}

type ToText = fn(&serde_json::Map<String, serde_json::Value>) -> serde_json::Result<String>;

fn json(entry: &Entry, to_text: ToText) -> io::Result<String> {
    let time = crate::state::utc_timestamp(entry.moment.at);
    let mut object = serde_json::Map::new();
    object.insert("TS".to_owned(), time.into());
    for (name, value) in fields(entry) {
        object.insert(name.to_owned(), value.into());
    }
    to_text(&object).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::super::{Facts, Moment, What};
    use super::*;
    use crate::state::Release;

    fn entry(what: What) -> Entry {
        Entry {
            moment: Moment {
                at: 1_686_777_341,
                boot_id: "16655d2c".to_owned(),
                uptime_ms: 1,
            },
            what,
            facts: Facts {
                slot: Some("rootfs.0".to_owned()),
                bootname: Some("A".to_owned()),
                release: Some(Release {
                    compatible: "board".to_owned(),
                    version: Some("7".to_owned()),
                    manifest_sha256: "abc".to_owned(),
                }),
                ..Facts::default()
            },
        }
    }

    fn log(dir: &std::path::Path, format: LogFormat) -> EventLog {
        EventLog {
            name: "x".to_owned(),
            path: dir.join("log"),
            format,
            events: vec![EventKind::All],
            max_size: None,
            max_files: 10,
        }
    }

    fn written(format: LogFormat) -> String {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::new(log(dir.path(), format));
        file.tell(&entry(What::MarkedGood)).unwrap();
        fs_err::read_to_string(dir.path().join("log")).unwrap()
    }

    #[test]
    fn four_formats() {
        let said = "2023-06-14T21:15:41Z: slot rootfs.0 (A) was marked good\n";
        assert_eq!(written(LogFormat::Short), said);
        let more = "                      slot: rootfs.0\n                      bootname: A\n\
                    \x20                     boot ID: 16655d2c\n\
                    \x20                     bundle hash: abc\n\
                    \x20                     bundle version: 7\n";
        assert_eq!(written(LogFormat::Readable), format!("{said}{more}"));
        let line = written(LogFormat::Json);
        assert_eq!(line.lines().count(), 1);
        let pretty = written(LogFormat::JsonPretty);
        assert!(pretty.lines().count() > 5);
        for text in [line, pretty] {
            let object: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(object["TS"], "2023-06-14T21:15:41Z");
            assert_eq!(object["RAUC_EVENT_TYPE"], "mark");
            assert_eq!(object["MESSAGE_ID"], "3304e15a7a9a447885eb208ba7ae3a05");
            assert_eq!(object["SLOT_NAME"], "rootfs.0");
        }
    }

    #[test]
    fn only_what_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut asked = log(dir.path(), LogFormat::Short);
        asked.events = vec![EventKind::Install, EventKind::Boot];
        let mut file = LogFile::new(asked);
        for what in [
            What::MarkedGood,
            What::Booted,
            What::ServiceStarted,
            What::Installed,
        ] {
            file.tell(&entry(what)).unwrap();
        }
        let text = fs_err::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn full_files_are_numbered_and_the_oldest_goes() {
        for max_files in [1, 3] {
            let dir = tempfile::tempdir().unwrap();
            let mut asked = log(dir.path(), LogFormat::Short);
            asked.max_files = max_files;
            asked.max_size = Some(100);
            let mut file = LogFile::new(asked);
            for _ in 0..9 {
                file.tell(&entry(What::MarkedGood)).unwrap();
            }
            let mut names: Vec<String> = std::fs::read_dir(dir.path())
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            assert_eq!(names[..], ["log", "log.1", "log.2"][..names.len()]);
            assert_eq!(names.len() as u64, max_files);
            for name in names {
                assert!(fs_err::metadata(dir.path().join(name)).unwrap().len() <= 100);
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::new(log(&dir.path().join("missing"), LogFormat::Short));
        assert!(file.tell(&entry(What::MarkedGood)).is_err());
    }
}
