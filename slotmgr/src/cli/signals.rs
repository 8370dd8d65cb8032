//! Ctrl-C and SIGTERM end an installation in an orderly way.

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::program::Stop;

/// From now on the two signals set `stop` instead of ending the process; the second one is as patient
/// as the first. Programs that are started get the signals as usual.
///
/// Call it before there are other threads: those inherit what is blocked.
///
/// # Errors
/// The kernel refuses.
pub fn ask_to_stop(stop: &Stop) -> Result<()> {
    let signals = take()?;
    let stop = stop.clone();
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            tracing::warn!("{signal}: the installation stops; the running system stays as it is");
            stop.now();
        }
    });
    Ok(())
}

/// From now on the two signals do not end the process; what is given back waits for one of them.
///
/// Call it before there are other threads: those inherit what is blocked.
///
/// # Errors
/// The kernel refuses.
#[cfg(feature = "dbus")]
pub fn until_asked() -> Result<impl FnOnce() + Send + 'static> {
    let signals = take()?;
    Ok(move || {
        // An error is as good as a signal: nobody could end us in an orderly way any more.
        if let Ok(signal) = signals.wait() {
            tracing::info!("{signal}: the service ends");
        }
    })
}

fn take() -> Result<SigSet> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals
        .thread_block()
        .context("cannot take care of signals")?;
    Ok(signals)
}
