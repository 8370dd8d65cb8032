//! What happens on this machine, told to whom it concerns: our own journal, systemd's, the log
//! files of `[log.*]`, and who listens on the bus.
//!
//! Telling never fails what is told of. A full disk, a broken file, a journald that hangs: a
//! warning, and on it goes.

mod chronicle;
mod entry;
mod journal;
mod journald;
mod line;
mod log_file;

pub use chronicle::chronicle;
pub use entry::{Entry, Facts, Moment, What};
pub use journal::{Journal, Reading};
pub use journald::{Journald, SOCKET};
pub use log_file::LogFile;

use std::io;

/// Somebody who is told.
pub trait Listener: Send {
    /// For warnings: "the journal".
    fn name(&self) -> String;

    /// Something happened. Must not wait for anybody.
    ///
    /// # Errors
    /// It could not be told; nobody but the log hears of that.
    fn tell(&mut self, entry: &Entry) -> io::Result<()>;
}

/// Everybody who is told.
pub struct Events {
    listeners: Vec<Box<dyn Listener>>,
    clock: Box<dyn Fn() -> Moment + Send>,
}

impl Events {
    /// Nobody yet.
    #[must_use]
    pub fn new(clock: Box<dyn Fn() -> Moment + Send>) -> Events {
        Events {
            listeners: Vec::new(),
            clock,
        }
    }

    /// From now on this one too.
    pub fn add(&mut self, listener: Box<dyn Listener>) {
        self.listeners.push(listener);
    }

    /// Tells everybody what happens now.
    pub fn tell(&mut self, what: What, facts: Facts) {
        let moment = (self.clock)();
        self.pass_on(&Entry {
            moment,
            what,
            facts,
        });
    }

    /// The same, of something that was noted at another time of this boot.
    pub fn tell_of(&mut self, at: i64, what: What, facts: Facts) {
        let mut moment = (self.clock)();
        moment.at = at;
        self.pass_on(&Entry {
            moment,
            what,
            facts,
        });
    }

    fn pass_on(&mut self, entry: &Entry) {
        for listener in &mut self.listeners {
            if let Err(error) = listener.tell(entry) {
                tracing::warn!("{} was not told: {error}", listener.name());
            }
        }
    }
}

/// An address as it may be written down: without name, password and query, which may be secrets.
#[must_use]
pub fn without_secrets(source: &str) -> String {
    let Some((scheme, rest)) = source.split_once("://") else {
        return source.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = match rest.split_once('/') {
        Some((host, path)) => (host, format!("/{path}")),
        None => (rest, String::new()),
    };
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    impl Listener for Deaf {
        fn name(&self) -> String {
            "nobody".to_owned()
        }

        fn tell(&mut self, _: &Entry) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn one_that_does_not_listen_hinders_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::new(Box::new(Moment::default));
        events.add(Box::new(Deaf));
        events.add(Box::new(Journal::in_directory(dir.path())));
        events.tell(What::MarkedBad, Facts::default());
        events.tell(What::ServiceStarted, Facts::default());
        assert_eq!(Journal::in_directory(dir.path()).read().entries.len(), 1);
    }

    #[test]
    fn secrets_are_not_written_down() {
        for (source, told) in [
            ("/media/b.raucb", "/media/b.raucb"),
            (
                "https://me:pw@h:8443/a@b/c?token=x#y",
                "https://h:8443/a@b/c",
            ),
            ("http://h", "http://h"),
            ("http://h?token=x", "http://h"),
        ] {
            assert_eq!(without_secrets(source), told);
        }
    }
}
