//! What the programs take on a small device.

use anyhow::Result;

use super::Bench;

/// Our programs, stripped as they are released.
const PROGRAMS: [&str; 3] = ["slotmgr", "bundle-tool", "rauc"];

/// Prints the size of each program.
///
/// # Errors
/// One was not built.
pub fn measure(bench: &Bench<'_>) -> Result<()> {
    println!("\nsizes of the stripped programs");
    for name in PROGRAMS {
        let bytes = fs_err::metadata(bench.program(name))?.len();
        println!("  {name:<44} {:>6} KiB", bytes / 1024);
    }
    Ok(())
}
