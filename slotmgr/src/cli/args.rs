//! The arguments. Parsing does no I/O.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Setting;
use crate::service::Origin;

/// Installs updates into the slot that does not run, lets the bootloader try them, and keeps
/// them only if they prove themselves.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "slotmgr", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Options {
    /// Configuration file [default: the first of /etc/rauc, /run/rauc, /usr/lib/rauc with a
    /// system.conf]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub conf: Option<PathBuf>,

    /// Replace one setting of the system.conf; may be given several times
    #[arg(short = 'C', long, global = true, value_name = "SECTION:KEY=VALUE")]
    pub confopt: Vec<Setting>,

    /// Certificates that are trusted, instead of `[keyring] path=` of system.conf
    #[arg(long, global = true, value_name = "FILE")]
    pub keyring: Option<PathBuf>,

    /// Where U-Boot's environment is; for tests
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        hide = true,
        default_value = "/etc/fw_env.config"
    )]
    pub fw_env_config: PathBuf,

    /// slotmgr's folder in memory; for tests
    #[arg(
        long,
        global = true,
        value_name = "DIRECTORY",
        hide = true,
        default_value = "/run/slotmgr"
    )]
    pub run_directory: PathBuf,

    /// Where systemd's journal listens; for tests
    #[arg(
        long,
        global = true,
        value_name = "SOCKET",
        hide = true,
        default_value = crate::events::SOCKET
    )]
    pub journal_socket: PathBuf,

    /// The slot that is running, where the kernel command line does not tell
    #[arg(long, global = true, value_name = "SLOT")]
    pub override_boot_slot: Option<String>,

    /// What a bundle's own handler gets behind the bundle's arguments: the `rauc` command has an option for it.
    #[arg(skip)]
    pub handler_arguments: Option<String>,

    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,

    /// Say more about what is done; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

const EXAMPLES: &str = "Examples:
  slotmgr status                                 what runs, what is started next
  slotmgr install update.raucb                   from a file
  slotmgr install https://server/update.raucb    from a web server, nothing is staged
  slotmgr check-config                           before the first installation
  slotmgr trial                                  early in every boot: check and confirm

Exit codes: 0 done or nothing to do, 1 failed, 2 wrong command line, 6 another installation is
running, 9 preflight failed, 130 the installation was stopped (Ctrl-C, SIGTERM, cancel).";

/// For whom the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A person.
    Human,
    /// A program.
    Json,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Install a bundle into the slot that does not run
    Install(Install),
    /// Stop an installation that the service does
    #[cfg(feature = "dbus")]
    Cancel(Cancel),
    /// Tell what is being installed and what was, and with --follow what happens from now on
    Monitor(Monitor),
    /// Tell what runs, what is started next, and what became of the last update
    Status,
    /// If the running system is on trial: check it, and confirm it or restart
    Trial(Trial),
    /// Answer RAUC's clients on D-Bus until stopped
    #[cfg(feature = "dbus")]
    Daemon,
    /// Tell the bootloader by hand what to think of a slot
    Mark(Mark),
    /// Tell what is understood of system.conf and slotmgr.toml, and what is risky
    CheckConfig,
    /// Say, as an application, whether the new system works for you
    Vote(Vote),
    /// Go back to the other system by hand
    Rollback(Rollback),
    /// Bring back what the snapshot hooks kept of the data before an update
    RestoreData(RestoreData),
    /// Look whether an installation has a chance; writes nothing
    Preflight,
    /// Do everything that an installation does but write
    Simulate(Simulate),
    /// Write an image that is in no bundle into a slot; the slot is not started by itself
    WriteSlot(WriteSlot),
    /// Tell what happened: installations, trials, falls back to the old system
    History,
}

/// Where a bundle is, and how web servers are asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Source {
    /// The bundle: a file, or an http:// or https:// address
    #[arg(value_name = "BUNDLE")]
    pub bundle: String,

    /// Certificate of this machine for HTTPS, a PEM file or a pkcs11: URI [default: `[streaming] tls-cert=` of system.conf]
    #[arg(long, value_name = "FILE", help_heading = "Web servers")]
    pub tls_cert: Option<String>,

    /// Its key, a PEM file or a pkcs11: URI [default: `[streaming] tls-key=`]
    #[arg(long, value_name = "FILE", help_heading = "Web servers")]
    pub tls_key: Option<String>,

    /// Certificates of those who may vouch for the server [default: `[streaming] tls-ca=`, else those
    /// that the system trusts]
    #[arg(long, value_name = "FILE", help_heading = "Web servers")]
    pub tls_ca: Option<String>,

    /// Whoever answers is the server: the bundle's signature has to suffice
    #[arg(long, help_heading = "Web servers")]
    pub tls_no_verify: bool,

    /// Sent with every request, to this server only; may be given several times
    #[arg(
        short = 'H',
        long,
        value_name = "NAME: VALUE",
        help_heading = "Web servers"
    )]
    pub http_header: Vec<String>,
}

impl Source {
    /// The same, as every front says it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            source: self.bundle.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
            tls_ca: self.tls_ca.clone(),
            tls_no_verify: self.tls_no_verify,
            headers: self.http_header.clone(),
        }
    }
}

/// `slotmgr install`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Install {
    /// Where it is.
    #[command(flatten)]
    pub source: Source,

    /// Install it although it is for another kind of machine
    #[arg(long)]
    pub ignore_compatible: bool,

    /// Install it although min-bundle-version in system.conf, or version-floor in slotmgr.toml,
    /// wants a newer one
    #[arg(long)]
    pub ignore_version_limit: bool,

    /// Name of this installation in records and logs [default: a new one]
    #[arg(long, value_name = "ID")]
    pub transaction_id: Option<String>,
    /// Install a bundle that was tried three times and did not stay
    #[arg(long)]
    pub try_again: bool,
    /// Do it in this process, although a service answers
    #[arg(long)]
    pub here: bool,

    /// Only tell what would be fetched and written, and how long fetching takes
    #[arg(long)]
    pub dry_run: bool,
}

/// `slotmgr cancel`
#[cfg(feature = "dbus")]
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Cancel {
    /// The name of the job [default: the one that runs]
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
}

/// `slotmgr monitor`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Monitor {
    /// Go on telling what happens, until stopped
    #[arg(short, long)]
    pub follow: bool,
}

/// `slotmgr write-slot`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct WriteSlot {
    /// A boot name (B) or a slot name (rootfs.1)
    #[arg(value_name = "SLOT")]
    pub slot: String,

    /// The image: a file
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,

    /// What the image is (raw, ext4, tar, ...), where the end of its name does not tell
    #[arg(short = 't', long, value_name = "TYPE")]
    pub image_type: Option<String>,
}

/// `slotmgr simulate`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Simulate {
    /// Where it is.
    #[command(flatten)]
    pub source: Source,

    /// As if it were for this kind of machine
    #[arg(long)]
    pub ignore_compatible: bool,

    /// As if no bundle were too old
    #[arg(long)]
    pub ignore_version_limit: bool,
}

/// `slotmgr trial`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Trial {
    /// When a check fails, only say so; something else restarts the machine (the watchdog does,
    /// if one was found)
    #[arg(long)]
    pub no_reboot: bool,
}

/// `slotmgr vote`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Vote {
    /// The name of a `[[check]]` with `vote = true`
    pub name: String,
    /// ok: it works. bad: it does not, and the system is not kept
    #[arg(value_enum)]
    pub voice: Voice,
    /// Why it does not work
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// What an application says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Voice {
    /// It works.
    Ok,
    /// It does not.
    Bad,
}

/// `slotmgr rollback`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Rollback {
    /// Restart the machine at once
    #[arg(long)]
    pub now: bool,
    /// Only say whether it would be done
    #[arg(long, conflicts_with = "now")]
    pub dry_run: bool,
    /// Go back even if the other slot does not hold any more what was installed into it
    #[arg(long)]
    pub changed: bool,
}

/// `slotmgr restore-data`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RestoreData {
    /// The number of a snapshot [default: the last one]
    pub snapshot: Option<u64>,
    /// Only tell which there are
    #[arg(long, conflicts_with = "snapshot")]
    pub list: bool,
}

/// `slotmgr mark`
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Mark {
    /// good: it has proved itself. bad: do not start it. active: start it next
    #[arg(value_enum)]
    pub state: MarkState,
    /// booted, other, a boot name (A) or a slot name (rootfs.0)
    #[arg(value_name = "SLOT", default_value = "booted")]
    pub slot: String,
}

/// What a slot is marked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MarkState {
    /// It has proved itself.
    Good,
    /// Do not start it.
    Bad,
    /// Start it next.
    Active,
}

impl Options {
    /// The machine that a front of another kind works on: what no command line says is as if
    /// `slotmgr` had been called without options.
    #[must_use]
    pub fn for_machine(
        conf: Option<PathBuf>,
        confopt: Vec<Setting>,
        keyring: Option<PathBuf>,
        booted: Option<String>,
    ) -> Options {
        Options {
            conf,
            confopt,
            keyring,
            override_boot_slot: booted,
            ..Options::parse_from(["slotmgr", "status"])
        }
    }

    /// Whether the command line describes a machine that a service need not know.
    #[must_use]
    pub fn says_its_own_machine(&self) -> bool {
        self.conf.is_some()
            || !self.confopt.is_empty()
            || self.keyring.is_some()
            || self.override_boot_slot.is_some()
    }

    /// For whom the answer is.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::Human
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("slotmgr").chain(words.split(' ')))
    }

    #[test]
    fn command_lines() {
        let options = parse("install --json http://h/b -c /x --override-boot-slot A").unwrap();
        assert_eq!(
            options.verb,
            Verb::Install(Install {
                source: Source {
                    bundle: "http://h/b".into(),
                    ..Source::default()
                },
                ignore_compatible: false,
                ignore_version_limit: false,
                transaction_id: None,
                try_again: false,
                here: false,
                dry_run: false,
            })
        );
        assert_eq!(options.conf, Some("/x".into()));
        assert_eq!(options.format(), Format::Json);
        assert_eq!(options.override_boot_slot.as_deref(), Some("A"));
        let marked = Mark {
            state: MarkState::Good,
            slot: "booted".into(),
        };
        assert_eq!(parse("mark good").unwrap().verb, Verb::Mark(marked));
        for wrong in [
            "",
            "install",
            "mark",
            "mark perfect",
            "status now",
            "--nonsense status",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
