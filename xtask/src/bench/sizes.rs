//! What the programs take on a small device.

use std::path::Path;

use anyhow::Result;

use super::Bench;
use super::home::{Home, Of};
use super::service::{Bus, Usage};

/// Our programs, stripped as they are released.
const PROGRAMS: [&str; 3] = ["slotmgr", "bundle-tool", "rauc"];

/// Prints the size of each program, and the memory of the services that wait.
///
/// # Errors
/// One was not built, or does not start.
pub fn measure(bench: &Bench<'_>, place: &Path) -> Result<()> {
    println!("\nsizes of the stripped programs");
    for name in PROGRAMS {
        let bytes = fs_err::metadata(bench.program(name))?.len();
        println!("  {name:<44} {:>6} KiB", bytes / 1024);
    }
    let home = Home::new(bench, place)?;
    println!("\nmemory of the idle service, after one question     resident   its own");
    for (name, whose) in [("rauc service", Of::Rauc), ("slotmgr daemon", Of::Us)] {
        let bus = Bus::start()?;
        let service = home.serve(whose, &bus, &home.second)?;
        bus.ask(&bench.log())?;
        let usage = Usage::of(service.id())?;
        println!(
            "  {name:<44} {:>6} KiB {:>6} KiB",
            usage.resident_kib, usage.own_kib
        );
    }
    Ok(())
}
