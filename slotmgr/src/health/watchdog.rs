//! The hardware's watchdog during a trial: it is ours, so that a hang of anything, slotmgr
//! included, restarts the machine.
//!
//! It is fed by the loop that also decides about the trial, and by nothing else: a loop that hangs
//! does not feed. After the deadline the loop has ended, and nobody feeds any more.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use devio::watchdog::{Facts, Watchdog, WatchdogError};

use crate::config::{Afterwards, WatchdogConfig, WatchdogDemand};

/// The shortest timeout that is asked for; the loop feeds several times a second.
const SHORTEST: Duration = Duration::from_secs(2);

/// How often somebody who cannot be asked is asked again: early in a boot there is no bus yet.
const ATTEMPTS: u32 = 30;

/// A running timer. Dropped, it goes on running, unfed.
pub trait Timer: Send {
    /// Sets the timeout; the answer is what the device took.
    ///
    /// # Errors
    /// The old timeout stays.
    fn set_timeout(&self, timeout: Duration) -> Result<Duration, WatchdogError>;
    /// The timeout in force, if the device tells.
    ///
    /// # Errors
    /// What the kernel says.
    fn timeout(&self) -> Result<Option<Duration>, WatchdogError>;
    /// Starts it anew.
    ///
    /// # Errors
    /// It goes on running.
    fn feed(&self) -> Result<(), WatchdogError>;
    /// Feeds it once more and closes it, running.
    ///
    /// # Errors
    /// It could not be fed; it is closed all the same.
    fn hand_over(self: Box<Self>) -> Result<(), WatchdogError>;
    /// Stops it.
    ///
    /// # Errors
    /// It cannot be stopped and goes on running.
    fn stop(self: Box<Self>) -> Result<(), WatchdogError>;
}

impl Timer for Watchdog {
    fn set_timeout(&self, timeout: Duration) -> Result<Duration, WatchdogError> {
        Watchdog::set_timeout(self, timeout)
    }
    fn timeout(&self) -> Result<Option<Duration>, WatchdogError> {
        Watchdog::timeout(self)
    }
    fn feed(&self) -> Result<(), WatchdogError> {
        self.keep_alive()
    }
    fn hand_over(self: Box<Self>) -> Result<(), WatchdogError> {
        Watchdog::hand_over(*self)
    }
    fn stop(self: Box<Self>) -> Result<(), WatchdogError> {
        Watchdog::stop(*self)
    }
}

/// The watchdogs of a machine, and who may take them over.
pub trait Rack {
    /// All devices, those that notice most first.
    fn devices(&self) -> Vec<PathBuf>;
    /// What is known of one without opening it.
    fn facts(&self, device: &Path) -> Facts;
    /// Opens one, which starts it.
    ///
    /// # Errors
    /// It is not there, or in use.
    fn open(&mut self, device: &Path) -> Result<Box<dyn Timer>, WatchdogError>;
    /// Whether there is somebody who can take over, and feeds no other one already.
    fn has_successor(&self) -> bool;
    /// Asks that somebody to feed it from now on.
    ///
    /// # Errors
    /// It cannot be asked: why, for people.
    fn succeed(&mut self, timeout: Duration) -> Result<(), String>;
    /// Lets some time pass, less than any watchdog's timeout.
    fn pause(&mut self);
}

/// Our hold on a watchdog, if there is one.
pub struct Guard {
    held: Option<Held>,
    /// For people: which one, or why there is none.
    told: String,
    feeding: Feeding,
}

struct Held {
    device: PathBuf,
    timer: Box<dyn Timer>,
    timeout: Option<Duration>,
}

#[derive(PartialEq, Eq)]
enum Feeding {
    Works,
    /// Told once; it is tried again all the same.
    Fails,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

impl Guard {
    /// Takes the first watchdog that can be had, and sets its timeout.
    ///
    /// # Errors
    /// Only with `use = "always"` and none to be had: why, for people.
    pub fn take(config: &WatchdogConfig, rack: &mut dyn Rack) -> Result<Guard, String> {
        if config.demand == WatchdogDemand::Never {
            return Ok(Guard::none(
                "no watchdog is used, by slotmgr.toml".to_owned(),
            ));
        }
        let devices = if config.devices.is_empty() {
            rack.devices()
        } else {
            config.devices.clone()
        };
        let mut refusals: Vec<String> = Vec::new();
        for device in devices {
            match take_one(config, rack, &device) {
                Ok(mut guard) => {
                    for refused in refusals {
                        guard.told.push_str("; ");
                        guard.told.push_str(&refused);
                    }
                    return Ok(guard);
                }
                Err(why) => refusals.push(why),
            }
        }
        let why = if refusals.is_empty() {
            "this machine has none".to_owned()
        } else {
            refusals.join("; ")
        };
        let told = format!("no watchdog ({why}): if slotmgr or the kernel hangs, nobody notices");
        match config.demand {
            WatchdogDemand::Always => Err(told),
            _ => Ok(Guard::none(told)),
        }
    }

    fn none(told: String) -> Guard {
        Guard {
            held: None,
            told,
            feeding: Feeding::Works,
        }
    }

    /// Whether the machine restarts if it is not fed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.held.is_some()
    }

    /// Starts the timer anew. Only the loop of the trial calls this, and only while it goes on.
    pub fn feed(&mut self) {
        let Some(held) = &self.held else { return };
        match held.timer.feed() {
            Ok(()) => self.feeding = Feeding::Works,
            Err(error) if self.feeding == Feeding::Works => {
                tracing::warn!(%error, "the watchdog does not take its food; it may restart the machine");
                self.feeding = Feeding::Fails;
            }
            Err(_) => {}
        }
    }

    /// After the commit: somebody else feeds it, without a moment in which it stands still, or it
    /// is stopped. Says what became of it.
    pub fn release(self, afterwards: Afterwards, rack: &mut dyn Rack) -> String {
        match self.held {
            None => self.told,
            Some(held) if afterwards == Afterwards::Systemd && rack.has_successor() => {
                held.pass_on(rack)
            }
            Some(held) => stopped(&held.device.display().to_string(), held.timer.stop()),
        }
    }
}

impl Held {
    /// Somebody else feeds it, or nobody can be found and it is stopped.
    fn pass_on(self, rack: &mut dyn Rack) -> String {
        let Held {
            device,
            mut timer,
            timeout,
        } = self;
        let name = device.display().to_string();
        let mut attempt = 1;
        loop {
            if let Err(error) = timer.hand_over() {
                tracing::warn!(%error, "the watchdog could not be fed before it was handed over");
            }
            let asked = rack.succeed(timeout.unwrap_or(SHORTEST));
            // Whoever feeds it has it open: that is the proof. Else we have it again, and it was fed.
            match (rack.open(&device), asked) {
                (Err(WatchdogError::InUse { .. }), _) => {
                    return format!("{name} is fed by systemd now");
                }
                (Err(error), _) => return format!("{name} was left running: {error}"),
                (Ok(again), Err(_)) if attempt < ATTEMPTS => timer = again,
                (Ok(again), asked) => {
                    let why = asked.err();
                    let why = why.as_deref().unwrap_or("it did not open it");
                    let end = stopped(&name, again.stop());
                    return format!("systemd did not take over ({why}); {end}");
                }
            }
            attempt += 1;
            rack.pause();
        }
    }
}

fn stopped(name: &str, end: Result<(), WatchdogError>) -> String {
    match end {
        Ok(()) => format!("{name} is stopped"),
        Err(error) => format!("{error}; {name} restarts the machine unless somebody feeds it"),
    }
}

fn take_one(config: &WatchdogConfig, rack: &mut dyn Rack, device: &Path) -> Result<Guard, String> {
    let facts = rack.facts(device);
    let leaves_it = config.afterwards == Afterwards::Systemd && rack.has_successor();
    if facts.no_way_out == Some(true) && !leaves_it {
        return Err(format!(
            "{} can never be stopped, and nobody would feed it after the trial",
            device.display()
        ));
    }
    let timer = rack.open(device).map_err(|error| error.to_string())?;
    let wanted = facts
        .max_timeout
        .map_or(config.timeout, |most| config.timeout.min(most));
    let timeout = set_timeout(timer.as_ref(), wanted);
    let identity = facts.identity.unwrap_or_else(|| "a watchdog".to_owned());
    let seconds = timeout.map_or("an unknown time".to_owned(), |t| {
        format!("{} s", t.as_secs())
    });
    let told = format!(
        "{} ({identity}) restarts the machine after {seconds} unfed",
        device.display()
    );
    let mut guard = Guard {
        held: Some(Held {
            device: device.to_owned(),
            timer,
            timeout,
        }),
        told,
        feeding: Feeding::Works,
    };
    guard.feed();
    Ok(guard)
}

/// The timeout, or the longest below it that the device takes, or else the one that it has: what
/// counts is what is read back.
fn set_timeout(timer: &dyn Timer, wanted: Duration) -> Option<Duration> {
    let mut asked = wanted;
    loop {
        match timer.set_timeout(asked) {
            Ok(taken) => return timer.timeout().ok().flatten().or(Some(taken)),
            Err(WatchdogError::Timeout { .. }) if asked > SHORTEST => {
                asked = (asked / 2).max(SHORTEST);
            }
            Err(error) => {
                tracing::warn!(%error, "the watchdog keeps the timeout that it has");
                return timer.timeout().ok().flatten();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A machine with watchdogs that have faults.
    #[derive(Default)]
    struct Bench {
        dogs: Vec<(&'static str, Dog)>,
        log: Arc<Mutex<Vec<String>>>,
        systemd: Option<Takes>,
        taken: Rc<Cell<bool>>,
        pauses: u32,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Takes {
        Yes,
        No,
        /// There is no bus before it was paused so often.
        Later(u32),
    }

    #[derive(Clone, Default)]
    struct Dog {
        busy: bool,
        no_way_out: bool,
        max: Option<u64>,
        /// Refuses timeouts above this; none at all with 0.
        accepts: Option<u64>,
        deaf: bool,
    }

    struct Running {
        dog: Dog,
        timeout: Mutex<u64>,
        log: Arc<Mutex<Vec<String>>>,
    }

    impl Running {
        fn note(&self, what: &str) {
            self.log.lock().unwrap().push(what.to_owned());
        }
    }

    fn refused() -> WatchdogError {
        WatchdogError::Timeout {
            path: "/dev/dog".into(),
            seconds: 0,
        }
    }

    impl Timer for Running {
        fn set_timeout(&self, timeout: Duration) -> Result<Duration, WatchdogError> {
            if self
                .dog
                .accepts
                .is_some_and(|most| timeout.as_secs() > most)
            {
                return Err(refused());
            }
            *self.timeout.lock().unwrap() = timeout.as_secs();
            Ok(timeout)
        }
        fn timeout(&self) -> Result<Option<Duration>, WatchdogError> {
            Ok(Some(Duration::from_secs(*self.timeout.lock().unwrap())))
        }
        fn feed(&self) -> Result<(), WatchdogError> {
            self.note("feed");
            if self.dog.deaf {
                Err(refused())
            } else {
                Ok(())
            }
        }
        fn hand_over(self: Box<Self>) -> Result<(), WatchdogError> {
            self.note("hand over");
            Ok(())
        }
        fn stop(self: Box<Self>) -> Result<(), WatchdogError> {
            self.note("stop");
            Ok(())
        }
    }

    impl Rack for Bench {
        fn devices(&self) -> Vec<PathBuf> {
            self.dogs
                .iter()
                .map(|(name, _)| PathBuf::from(name))
                .collect()
        }
        fn facts(&self, device: &Path) -> Facts {
            let dog = self.dogs.iter().find(|(name, _)| Path::new(name) == device);
            let dog = dog.map(|(_, dog)| dog.clone()).unwrap_or_default();
            Facts {
                identity: Some("dog".into()),
                no_way_out: Some(dog.no_way_out),
                max_timeout: dog.max.map(Duration::from_secs),
                ..Facts::default()
            }
        }
        fn open(&mut self, device: &Path) -> Result<Box<dyn Timer>, WatchdogError> {
            let path = device.to_owned();
            let Some((_, dog)) = self.dogs.iter().find(|(name, _)| Path::new(name) == device)
            else {
                return Err(WatchdogError::Missing { path });
            };
            if dog.busy || self.taken.get() {
                return Err(WatchdogError::InUse { path });
            }
            Ok(Box::new(Running {
                dog: dog.clone(),
                timeout: Mutex::new(60),
                log: Arc::clone(&self.log),
            }))
        }
        fn has_successor(&self) -> bool {
            self.systemd.is_some()
        }
        fn succeed(&mut self, timeout: Duration) -> Result<(), String> {
            self.log
                .lock()
                .unwrap()
                .push(format!("systemd {}", timeout.as_secs()));
            match self.systemd {
                Some(Takes::Later(pauses)) if self.pauses < pauses => Err("no bus".into()),
                Some(Takes::Yes | Takes::Later(_)) => {
                    self.taken.set(true);
                    Ok(())
                }
                Some(Takes::No) => Ok(()),
                None => Err("no bus".into()),
            }
        }
        fn pause(&mut self) {
            self.pauses += 1;
        }
    }

    fn bench(dogs: &[(&'static str, Dog)]) -> Bench {
        Bench {
            dogs: dogs.to_vec(),
            ..Bench::default()
        }
    }

    fn auto() -> WatchdogConfig {
        WatchdogConfig::default()
    }

    #[test]
    fn a_busy_one_is_passed_over_and_a_second_taken() {
        let busy = Dog {
            busy: true,
            ..Dog::default()
        };
        let mut rack = bench(&[("/dev/a", busy), ("/dev/b", Dog::default())]);
        let guard = Guard::take(&auto(), &mut rack).unwrap();
        assert_eq!(
            guard.to_string(),
            "/dev/b (dog) restarts the machine after 30 s unfed; /dev/a is in use by another \
             program (systemd's RuntimeWatchdogSec=?)"
        );
    }

    #[test]
    fn without_any_the_trial_goes_on_and_says_so_unless_one_is_demanded() {
        let busy = Dog {
            busy: true,
            ..Dog::default()
        };
        let mut rack = bench(&[("/dev/a", busy)]);
        let guard = Guard::take(&auto(), &mut rack).unwrap();
        assert!(!guard.is_on());
        assert!(
            guard
                .to_string()
                .contains("/dev/a is in use by another program"),
            "{guard}"
        );
        let always = WatchdogConfig {
            demand: WatchdogDemand::Always,
            ..auto()
        };
        assert!(Guard::take(&always, &mut rack).is_err());
        assert!(Guard::take(&always, &mut bench(&[])).is_err());
        let never = WatchdogConfig {
            demand: WatchdogDemand::Never,
            ..auto()
        };
        let mut free = bench(&[("/dev/a", Dog::default())]);
        assert!(!Guard::take(&never, &mut free).unwrap().is_on());
    }

    #[test]
    fn a_shorter_maximum_is_what_it_gets_and_one_that_takes_none_keeps_its_own() {
        let table = [
            (
                Dog {
                    max: Some(12),
                    ..Dog::default()
                },
                12,
            ),
            (
                Dog {
                    accepts: Some(8),
                    ..Dog::default()
                },
                7,
            ),
            (
                Dog {
                    accepts: Some(0),
                    ..Dog::default()
                },
                60,
            ),
        ];
        for (dog, seconds) in table {
            let mut rack = bench(&[("/dev/a", dog)]);
            let guard = Guard::take(&auto(), &mut rack).unwrap();
            let expected = format!("after {seconds} s unfed");
            assert!(guard.to_string().ends_with(&expected), "{guard}");
        }
    }

    #[test]
    fn one_that_does_not_take_its_food_does_not_stop_the_trial() {
        let mut rack = bench(&[(
            "/dev/a",
            Dog {
                deaf: true,
                ..Dog::default()
            },
        )]);
        let mut guard = Guard::take(&auto(), &mut rack).unwrap();
        guard.feed();
        guard.feed();
        assert!(guard.is_on());
        assert_eq!(rack.log.lock().unwrap().len(), 3, "it is tried each time");
    }

    #[test]
    fn after_the_commit_systemd_takes_over_or_it_is_stopped() {
        let table = [
            (
                Some(Takes::Yes),
                "/dev/a is fed by systemd now",
                "feed, hand over, systemd 30",
            ),
            (
                Some(Takes::No),
                "systemd did not take over (it did not open it); /dev/a is stopped",
                "feed, hand over, systemd 30, stop",
            ),
            (
                Some(Takes::Later(2)),
                "/dev/a is fed by systemd now",
                "feed, hand over, systemd 30, hand over, systemd 30, hand over, systemd 30",
            ),
            (None, "/dev/a is stopped", "feed, stop"),
        ];
        for (systemd, told, log) in table {
            let mut rack = bench(&[("/dev/a", Dog::default())]);
            rack.systemd = systemd;
            let guard = Guard::take(&auto(), &mut rack).unwrap();
            assert_eq!(guard.release(Afterwards::Systemd, &mut rack), told);
            assert_eq!(rack.log.lock().unwrap().join(", "), log);
        }
    }

    #[test]
    fn where_there_is_never_a_bus_it_is_stopped_in_the_end() {
        let mut rack = bench(&[("/dev/a", Dog::default())]);
        rack.systemd = Some(Takes::Later(u32::MAX));
        let guard = Guard::take(&auto(), &mut rack).unwrap();
        let told = guard.release(Afterwards::Systemd, &mut rack);
        assert_eq!(
            told,
            "systemd did not take over (no bus); /dev/a is stopped"
        );
        assert_eq!(rack.pauses + 1, ATTEMPTS);
    }

    #[test]
    fn one_that_nobody_could_stop_or_feed_afterwards_is_not_started() {
        let mut rack = bench(&[(
            "/dev/a",
            Dog {
                no_way_out: true,
                ..Dog::default()
            },
        )]);
        assert!(!Guard::take(&auto(), &mut rack).unwrap().is_on());
        rack.systemd = Some(Takes::Yes);
        assert!(Guard::take(&auto(), &mut rack).unwrap().is_on());
    }
}
