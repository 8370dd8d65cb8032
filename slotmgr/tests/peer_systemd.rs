//! What systemd says of the units.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::path::Path;
use std::process::Command;

/// Root, mounts, raw disks and the network are its work: much lower is not possible.
const EXPOSURE: f64 = 4.0;

#[test]
fn the_service_is_hardened() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/slotmgr.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(unit)
        .output()
        .expect("systemd-analyze (Debian's package `systemd`) runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    println!("{said}");
    let words = said.split_whitespace();
    let score: f64 = words.flat_map(str::parse).next().expect(said);
    assert!(score <= EXPOSURE, "{text}");
}
