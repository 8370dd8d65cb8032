//! systemd's journal, by its native protocol: one datagram with fields.
//!
//! A field is `NAME=value` and a line feed; a value with line feeds is `NAME`, a line feed, its
//! length as a little-endian `u64`, the value, and a line feed.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::{Entry, Listener};
use crate::config::EventKind;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// Bytes of one value: a message stays far below what a datagram can carry.
const MAX_VALUE: usize = 4_000;

/// The domain that RAUC's events have in the journal, and in its log files.
const DOMAIN: &str = "rauc-event";

/// Name and value.
pub(super) type Field = (&'static str, String);

/// The fields of an event, by the names that RAUC gives them.
pub(super) fn fields(entry: &Entry) -> Vec<Field> {
    let facts = &entry.facts;
    let mut fields = vec![("MESSAGE", entry.message())];
    let mut add = |name, value: Option<&str>| {
        fields.extend(value.map(|value| (name, value.to_owned())));
    };
    add("MESSAGE_ID", entry.what.message_id());
    add("GLIB_DOMAIN", Some(DOMAIN));
    add("RAUC_EVENT_TYPE", entry.what.kind().map(EventKind::name));
    add("SLOT_NAME", facts.slot.as_deref());
    add("SLOT_BOOTNAME", facts.bootname.as_deref());
    add("BOOT_ID", Some(&entry.moment.boot_id));
    let release = facts.release.as_ref();
    add(
        "BUNDLE_HASH",
        release.map(|release| &*release.manifest_sha256),
    );
    add(
        "BUNDLE_VERSION",
        release.and_then(|release| release.version.as_deref()),
    );
    add("BUNDLE_NAME", facts.source.as_deref());
    add("TRANSACTION_ID", facts.transaction.as_deref());
    add("SLOTMGR_EVENT", Some(entry.what.word()));
    add("SLOTMGR_JOB", facts.job.as_deref());
    fields
}

/// The journal of this machine.
pub struct Journald {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Journald {
    /// The socket at `path`; none if nobody has made it, as on a machine without systemd.
    #[must_use]
    pub fn at(path: &Path) -> Option<Journald> {
        if !path.exists() {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        // A journald that hangs holds up nobody.
        socket.set_nonblocking(true).ok()?;
        Some(Journald {
            path: path.to_owned(),
            socket,
        })
    }
}

impl Listener for Journald {
    fn name(&self) -> String {
        "systemd's journal".to_owned()
    }

    fn tell(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.what.kind().is_none() {
            return Ok(());
        }
        let mut fields = fields(entry);
        fields.push(("PRIORITY", entry.what.priority().to_string()));
        fields.push(("SYSLOG_IDENTIFIER", "rauc".to_owned()));
        self.socket
            .send_to(&datagram(&fields), &self.path)
            .map(drop)
    }
}

fn datagram(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        let value = &value.as_bytes()[..value.len().min(MAX_VALUE)];
        bytes.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            bytes.push(b'\n');
            bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            bytes.push(b'=');
        }
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::{Facts, Moment, What};
    use super::*;

    fn rejected(why: &str) -> Entry {
        Entry {
            moment: Moment {
                boot_id: "b".to_owned(),
                ..Moment::default()
            },
            what: What::InstallRejected,
            facts: Facts {
                transaction: Some("t".to_owned()),
                why: Some(why.to_owned()),
                ..Facts::default()
            },
        }
    }

    #[test]
    fn what_journald_hears() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert!(Journald::at(&path).is_none());
        let listening = UnixDatagram::bind(&path).unwrap();
        let mut journald = Journald::at(&path).unwrap();
        journald.tell(&rejected("not for this board")).unwrap();
        // A stage is for our own journal only.
        let stage = Entry {
            what: What::Writing,
            ..rejected("")
        };
        journald.tell(&stage).unwrap();
        let mut buffer = [0; 8_000];
        let count = listening.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..count]).unwrap();
        for line in [
            "MESSAGE=the bundle was rejected: not for this board\n",
            "MESSAGE_ID=60bea7e4fea549ccad68af457308b13a\n",
            "RAUC_EVENT_TYPE=install\n",
            "TRANSACTION_ID=t\n",
            "PRIORITY=5\n",
            "SYSLOG_IDENTIFIER=rauc\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        listening.set_nonblocking(true).unwrap();
        assert!(listening.recv(&mut buffer).is_err(), "only one datagram");
    }

    #[test]
    fn lines_and_floods_break_nothing() {
        let bytes = datagram(&[("A", "x\ny=1".to_owned()), ("B", "z".repeat(10_000))]);
        assert!(bytes.starts_with(b"A\n\x05\0\0\0\0\0\0\0x\ny=1\nB=zzz"));
        assert_eq!(bytes.len(), 2 + 8 + 6 + 2 + MAX_VALUE + 1);
    }

    #[test]
    fn one_that_hangs_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _listening = UnixDatagram::bind(&path).unwrap();
        let mut journald = Journald::at(&path).unwrap();
        // Nobody reads: the queue is full some time, and that is an error, not a wait.
        let full = (0..100_000).find_map(|_| journald.tell(&rejected("")).err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
