//! The `slotmgr` program.

use std::process::ExitCode;

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
    match Surroundings::of_this_machine().and_then(|around| cli::run(&options, &around)) {
        Ok(code) => code,
        Err(error) => cli::failed(&options, &error),
    }
}
