//! The `slotmgr` program.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use slotmgr::cli::{self, Surroundings, args::Options};
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    let options = Options::parse();
    let level = match options.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    match surroundings().and_then(|around| cli::run(&options, &around)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("slotmgr: {error:#}");
            ExitCode::from(cli::exit::FAILED)
        }
    }
}

fn surroundings() -> anyhow::Result<Surroundings> {
    let kernel = |path: &str| fs_err::read_to_string(path).map(|text| text.trim().to_owned());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Surroundings {
        cmdline: kernel("/proc/cmdline")?,
        boot_id: kernel("/proc/sys/kernel/random/boot_id")?,
        transaction: kernel("/proc/sys/kernel/random/uuid")?,
        now: i64::try_from(now.as_secs())?,
        notify_socket: std::env::var_os("NOTIFY_SOCKET"),
    })
}
