//! The trial of a new system: checks, then a confirmation, or the way back.
//!
//! Whether the system is on trial is known from the bootloader, never from a file of ours. When it
//! is not, nothing is written.

pub mod check;
pub mod examine;
mod restart;
pub mod window;

pub use check::{Report, Verdict};
pub use examine::Examination;
pub use restart::restart;

use crate::boot::{self, BootError, Standing};
use crate::install::Machine;

/// How a trial ended.
#[derive(Debug)]
pub enum TrialEnd {
    /// There was none: the running system is confirmed, or not under our control.
    NotOnTrial {
        /// How the bootloader stands to the running slot.
        standing: Standing,
    },
    /// All required checks passed; the bootloader starts this system from now on.
    Confirmed {
        /// What each check said.
        reports: Vec<Report>,
    },
    /// A required check failed, or the window passed. The bootloader's count is left alone: this try is paid.
    Failed {
        /// What each check said.
        reports: Vec<Report>,
        /// How many further tries the bootloader will give.
        left: u8,
    },
}

/// Runs the trial of the running system, if it is on one.
///
/// `checks` is called only then. A failed trial is recorded; restarting the machine is left to the
/// caller ([`restart`]).
///
/// # Errors
/// When the bootloader's memory cannot be read or written: the system stays on trial, and the
/// bootloader's count decides.
pub fn trial(
    m: &mut Machine<'_>,
    boot_id: &str,
    checks: &mut dyn FnMut() -> Examination,
) -> Result<TrialEnd, BootError> {
    let standing = m.env.read(m.disks)?.standing(m.booted.id());
    let Standing::Trial { left } = standing else {
        return Ok(TrialEnd::NotOnTrial { standing });
    };
    let Examination { reports, failed } = checks();
    if let Some(reason) = failed {
        m.record.unhealthy(m.disks, &reason, boot_id);
        return Ok(TrialEnd::Failed { reports, left });
    }
    boot::confirm(m.env, m.disks, m.booted)?;
    // Only for people from here on: the commit is done.
    m.record.confirmed(m.disks, boot_id);
    Ok(TrialEnd::Confirmed { reports })
}
