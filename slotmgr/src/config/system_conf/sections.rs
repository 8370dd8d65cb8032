//! The smaller sections: `[handlers]`, `[streaming]`, `[encryption]`, `[log.NAME]`, `[artifacts.NAME]`…

use std::path::{Path, PathBuf};

use bundle_format::keyfile::{KeyFileError, SectionReader};

/// `[handlers]`: programs of this machine that are asked or told at certain points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handlers {
    /// `system-info=`: prints `RAUC_…=value` lines.
    pub system_info: Option<PathBuf>,
    /// `pre-install=`: before the target is touched; its failure stops the installation.
    pub pre_install: Option<PathBuf>,
    /// `post-install=`: after everything went well.
    pub post_install: Option<PathBuf>,
    /// `install-failed=`, which RAUC does not have: after anything went wrong.
    pub install_failed: Option<PathBuf>,
    /// `bootloader-custom-backend=`
    pub bootloader: Option<PathBuf>,
}

/// `[encryption]`: what opens crypt bundles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encryption {
    /// `key=`: private key, a file in PEM form or a PKCS#11 URI.
    pub key: Option<PathBuf>,
    /// `cert=`: the certificate that belongs to it, in one of these forms, too.
    pub cert: Option<PathBuf>,
}

/// `[streaming]`: how bundles are fetched from web servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streaming {
    /// `tls-cert=`: certificate of this machine, a file or a PKCS#11 URI.
    pub tls_cert: Option<String>,
    /// `tls-key=`: its key, a file or a PKCS#11 URI.
    pub tls_key: Option<String>,
    /// `tls-ca=`: whose servers are trusted.
    pub tls_ca: Option<String>,
    /// `send-headers=`: what the first request tells of this machine.
    pub send_headers: Vec<InfoHeader>,
}

/// `[casync]`: images that are indices of chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Casync {
    /// `storepath=`: a directory or an address; beside the bundle if it is not said.
    pub store: Option<String>,
}

/// One of `send-headers=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoHeader {
    /// The kernel's id of this boot.
    BootId,
    /// `/etc/machine-id`
    MachineId,
    /// From the system-info handler.
    SystemVersion,
    /// From the system-info handler.
    Serial,
    /// The variant of this machine.
    Variant,
    /// The id of this installation.
    TransactionId,
    /// Seconds since the start.
    Uptime,
}

impl InfoHeader {
    const NAMES: [(InfoHeader, &'static str); 7] = [
        (InfoHeader::BootId, "boot-id"),
        (InfoHeader::MachineId, "machine-id"),
        (InfoHeader::SystemVersion, "system-version"),
        (InfoHeader::Serial, "serial"),
        (InfoHeader::Variant, "variant"),
        (InfoHeader::TransactionId, "transaction-id"),
        (InfoHeader::Uptime, "uptime"),
    ];

    /// Its name in `send-headers=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        InfoHeader::NAMES
            .iter()
            .find(|(header, _)| *header == self)
            .map_or("", |(_, name)| name)
    }
}

/// `[log.NAME]`: a file that events are appended to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    /// The part after `log.`.
    pub name: String,
    /// `filename=`
    pub path: PathBuf,
    /// `format=`
    pub format: LogFormat,
    /// `events=`
    pub events: Vec<EventKind>,
    /// `max-size=`: then a new file is begun. No limit without it.
    pub max_size: Option<u64>,
    /// `max-files=`: how many there are at most, 1 to 1000.
    pub max_files: u64,
}

/// How events are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Several lines each.
    Readable,
    /// One line each.
    Short,
    /// One JSON object a line.
    Json,
    /// JSON over several lines.
    JsonPretty,
}

/// What is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Everything.
    All,
    /// What was started.
    Boot,
    /// Marks.
    Mark,
    /// Installations.
    Install,
    /// Start and end of the service.
    Service,
    /// `write-slot`, and slots that an installation writes.
    WriteSlot,
}

impl EventKind {
    const NAMES: [(EventKind, &'static str); 6] = [
        (EventKind::All, "all"),
        (EventKind::Boot, "boot"),
        (EventKind::Mark, "mark"),
        (EventKind::Install, "install"),
        (EventKind::Service, "service"),
        (EventKind::WriteSlot, "writeslot"),
    ];

    /// Its name in `events=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        EventKind::NAMES
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }
}

/// `[artifacts.NAME]`: a repository of things that are not slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The part after `artifacts.`.
    pub name: String,
    /// `path=`: its directory.
    pub path: PathBuf,
    /// `type=`
    pub kind: RepositoryKind,
    /// `description=`
    pub description: Option<String>,
}

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepositoryKind {
    /// Single files.
    Files,
    /// Directories, from tar archives.
    Trees,
    /// Trees for composefs.
    Composefs,
}

impl RepositoryKind {
    const NAMES: [(RepositoryKind, &'static str); 3] = [
        (RepositoryKind::Files, "files"),
        (RepositoryKind::Trees, "trees"),
        (RepositoryKind::Composefs, "composefs"),
    ];

    /// Its name in `type=`.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(kind, _)| *kind == self);
        found.map_or("", |(_, name)| name)
    }
}

type Read<T> = Result<T, KeyFileError>;

/// Log files kept when nothing is said.
const LOG_FILES: u64 = 10;

/// Largest number of log files.
const MAX_LOG_FILES: u64 = 1000;

pub(super) fn handlers(mut section: SectionReader<'_>, base: &Path) -> Read<Handlers> {
    let mut path = |key| Ok(section.string(key)?.map(|path| base.join(path)));
    let handlers = Handlers {
        system_info: path("system-info")?,
        pre_install: path("pre-install")?,
        post_install: path("post-install")?,
        install_failed: path("install-failed")?,
        bootloader: path("bootloader-custom-backend")?,
    };
    section.finish()?;
    Ok(handlers)
}

pub(super) fn encryption(mut section: SectionReader<'_>, base: &Path) -> Read<Encryption> {
    let encryption = Encryption {
        key: section.string("key")?.map(|text| place(base, &text)),
        cert: section.string("cert")?.map(|text| place(base, &text)),
    };
    section.finish()?;
    Ok(encryption)
}

/// A file, relative ones from where the configuration is, or a `pkcs11:` URI as it stands.
fn place(base: &Path, text: &str) -> PathBuf {
    match text.starts_with(token_key::SCHEME) {
        true => PathBuf::from(text),
        false => base.join(text),
    }
}

pub(super) fn streaming(mut section: SectionReader<'_>, base: &Path) -> Read<Streaming> {
    let place = |text: String| place(base, &text).display().to_string();
    let header = |name: &str| named(name, &InfoHeader::NAMES);
    let streaming = Streaming {
        tls_cert: section.string("tls-cert")?.map(place),
        tls_key: section.string("tls-key")?.map(place),
        tls_ca: section.string("tls-ca")?.map(place),
        send_headers: section
            .parse("send-headers", |text| each(text, header))?
            .unwrap_or_default(),
    };
    // RAUC's helper process changes to this user; we have no helper process.
    section.string("sandbox-user")?;
    section.finish()?;
    Ok(streaming)
}

/// A relative file lies in the data directory, and nowhere else.
pub(super) fn log(mut section: SectionReader<'_>, data: Option<&Path>) -> Read<EventLog> {
    let formats = [
        (LogFormat::Readable, "readable"),
        (LogFormat::Short, "short"),
        (LogFormat::Json, "json"),
        (LogFormat::JsonPretty, "json-pretty"),
    ];
    let files = |text: &str| match text.parse() {
        Ok(count @ 1..=MAX_LOG_FILES) => Ok(count),
        _ => Err(format!("is not 1 to {MAX_LOG_FILES}")),
    };
    let log = EventLog {
        name: label(&section),
        path: log_path(&mut section, data)?,
        format: section
            .parse("format", |name| named(name, &formats))?
            .unwrap_or(LogFormat::Readable),
        events: section
            .parse("events", event_kinds)?
            .unwrap_or_else(|| vec![EventKind::All]),
        max_size: section.size("max-size")?,
        max_files: section.parse("max-files", files)?.unwrap_or(LOG_FILES),
    };
    section.finish()?;
    Ok(log)
}

fn log_path(section: &mut SectionReader<'_>, data: Option<&Path>) -> Read<PathBuf> {
    let entry = section.take("filename");
    let path = PathBuf::from(section.required("filename")?);
    match (data, entry) {
        (Some(data), _) => Ok(data.join(path)),
        (None, Some(entry)) if path.is_relative() => Err(section.wrong(
            entry,
            "is relative, which needs data-directory= in [system]",
        )),
        (None, _) => Ok(path),
    }
}

fn event_kinds(text: &str) -> Result<Vec<EventKind>, String> {
    let kinds = each(text, |name| named(name, &EventKind::NAMES))?;
    match kinds.contains(&EventKind::All) && kinds.len() > 1 {
        true => Err("names `all` and others".to_owned()),
        false => Ok(kinds),
    }
}

pub(super) fn artifacts(mut section: SectionReader<'_>, base: &Path) -> Read<Repository> {
    if let Some(entry) = section.take("parent-class") {
        return Err(section.wrong(entry, "is not supported, by RAUC neither"));
    }
    let repository = Repository {
        name: label(&section),
        path: base.join(section.required("path")?),
        kind: section
            .parse("type", |name| named(name, &RepositoryKind::NAMES))?
            .ok_or_else(|| section.missing("type"))?,
        description: section.string("description")?,
    };
    section.finish()?;
    Ok(repository)
}

/// `[casync]`; the other keys are for programs that we do not run.
pub(super) fn casync(mut section: SectionReader<'_>, base: &Path) -> Read<Casync> {
    let place = |text: String| match text.contains("://") {
        true => text,
        false => base.join(text).display().to_string(),
    };
    let casync = Casync {
        store: section.string("storepath")?.map(place),
    };
    section.bool("use-desync")?;
    for key in ["tmppath", "install-args"] {
        section.string(key)?;
    }
    section.finish()?;
    Ok(casync)
}

/// `[polling]` and `[autoinstall]`: values are checked, nothing is done with them.
pub(super) fn without_effect(mut section: SectionReader<'_>) -> Read<()> {
    let name = section.section().name.as_str();
    if name == "polling" {
        section.required("url")?;
        for key in ["interval-sec", "max-interval-sec"] {
            section.u64(key)?;
        }
    }
    let keys: Vec<&str> = section
        .section()
        .entries
        .iter()
        .map(|entry| entry.key.as_str())
        .collect();
    for key in keys {
        section.take(key);
    }
    section.finish()
}

fn label(section: &SectionReader<'_>) -> String {
    let name = &section.section().name;
    name.split_once('.')
        .map_or(String::new(), |(_, label)| label.to_owned())
}

fn named<T: Copy>(name: &str, table: &[(T, &str)]) -> Result<T, String> {
    let found = table.iter().find(|(_, known)| *known == name);
    found.map(|(value, _)| *value).ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(|(_, name)| *name).collect();
        format!("is none of {}", names.join(", "))
    })
}

/// The items of a `;` list.
fn each<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(';')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(item)
        .collect()
}
