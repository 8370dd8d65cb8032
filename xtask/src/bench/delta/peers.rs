//! The peers that only this bench needs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::super::Bench;
use crate::command::logged;

/// The release of bita that is measured: published for Rust, and so built with what builds us.
const BITA: &str = "0.15.0";

/// The program `bita`, built if it is not there; `None`, with the reason told, if it cannot be.
///
/// # Errors
/// Never because of bita itself.
pub fn bita(bench: &Bench<'_>) -> Result<Option<PathBuf>> {
    // Not in the bench's folder, which is made anew each time.
    let home = bench.root.join("target/bench-peers");
    let program = home.join("bin/bita");
    if program.exists() {
        return Ok(Some(program));
    }
    let mut install = Command::new(&bench.cargo);
    install.args(["install", "bita", "--locked", "--version", BITA, "--root"]);
    install.arg(&home);
    let what = format!("building bita {BITA}");
    let built = bench.progress.step(&what, || {
        let built = logged(&mut install, &bench.log());
        Ok(built.map_err(|error| error.to_string()))
    })?;
    match built {
        Ok(()) => Ok(Some(program)),
        Err(error) => {
            let first = error.lines().next().unwrap_or_default();
            bench.progress.say(&format!("bita is left out: {first}"));
            Ok(None)
        }
    }
}
