//! What slotmgr itself remembers: for people and for the choice among several slots.
//!
//! The bootloader is the truth. Whatever stands here is compared with it ([`outcome`]) and loses;
//! an installation does not fail because the record cannot be written.

mod body;
mod codec;
mod date;
mod floor;
mod history;
mod job;
mod outcome;
pub mod raucs;
mod reconcile;
mod record;
pub mod status_files;

pub(crate) use date::utc_timestamp;
pub(crate) use history::tail;
pub use history::{Baseline, CheckWords, Event, EventKind, FellBack, Traces, When};
pub use job::{ImageRecord, Job, JobStage, Release, SlotRecord, SlotStatus};
pub use outcome::{Outcome, outcome};
pub use raucs::{RaucStatus, SlotChange};
pub use reconcile::{Repair, missing_ends, repair};
pub use record::{RECORD_SIZE, Record};
pub use status_files::StatusFiles;

/// An error with all its causes, in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
