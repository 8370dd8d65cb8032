//! `rauc mount`: for people who want to look into a bundle. No installation needs it.
//!
//! The kernel reads the bundle's squashfs. So all of it is checked first, and the file must be one
//! that nobody but root can change.

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bundle_format::manifest::Format;
use bundle_tool::cli::Environment;
use slotmgr::program::{self, Stop, Streams, Terms};
use slotmgr::source::protect;
use slotmgr::storage::mounts::Mounts;

use crate::arguments::MountArguments;
use crate::config::Config;
use crate::report::Output;

/// The system may have to load the driver of squashfs first.
const TERMS: Terms = Terms {
    limit: Duration::from_secs(60),
    keep: 4096,
    streams: Streams::Together,
};

pub(super) fn run(arguments: &MountArguments, output: &Output) -> Result<ExitCode> {
    let config = Config::load(&arguments.global, &Environment::default())?;
    let at = std::path::absolute(config.mount_prefix())?.join("bundle");
    if Mounts::now().has(&at) {
        let at = at.display();
        bail!("something is mounted on {at} already; `umount {at}` first");
    }
    let file = fs_err::File::open(&arguments.bundle)?;
    let bundle = arguments.bundle.display();
    protect(file.file()).with_context(|| format!("{bundle} may be changed while it is mounted"))?;
    // From here on it is this file, whatever its name leads to.
    let this = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    check(&config, &this).with_context(|| format!("{bundle} is not mounted"))?;
    fs_err::create_dir_all(&at)?;
    let this = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    mount(&this, &at).with_context(|| format!("cannot mount {bundle} on {}", at.display()))?;
    let at = at.display();
    output.line(&format!(
        "The bundle is mounted on {at} (`umount {at}` ends that)"
    ));
    Ok(ExitCode::SUCCESS)
}

fn check(config: &Config, bundle: &Path) -> Result<()> {
    let verified = config.source(bundle).verified(&config.trust()?)?;
    if verified.manifest().manifest().bundle.format == Format::Crypt {
        bail!("its content is encrypted, and the kernel cannot read it; use `rauc extract`");
    }
    verified
        .verify_payload(&mut |_, _| ())
        .context("the bundle is damaged")
}

/// Through a loop device that goes away by itself when nothing is mounted from it any more.
fn mount(bundle: &str, at: &Path) -> Result<()> {
    let mut command = Command::new("mount");
    command
        .args(["-t", "squashfs", "-o", "loop,ro,nosuid,nodev,noexec"])
        .arg(bundle)
        .arg(at);
    let ran = program::run(&mut command, &TERMS, &Stop::default());
    ensure!(
        ran.end.is_success(),
        "`mount` {}: {}",
        ran.end,
        ran.output.trim_end()
    );
    Ok(())
}
