//! Ctrl-C and SIGTERM end an installation in an orderly way.

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::program::Stop;

/// From now on the two signals set `stop` instead of ending the process; the second one is as patient
/// as the first. Programs that are started get the signals as usual.
///
/// Call it before there are other threads: those inherit what is blocked.
pub(crate) fn ask_to_stop(stop: &Stop) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals
        .thread_block()
        .context("cannot take care of signals")?;
    let stop = stop.clone();
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            tracing::warn!("{signal}: the installation stops; the running system stays as it is");
            stop.now();
        }
    });
    Ok(())
}
