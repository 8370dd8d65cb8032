//! `rauc status`, in RAUC's formats.

mod json;
mod readable;
mod shell;

use std::process::ExitCode;

use anyhow::{Result, bail};
use slotmgr::service::{Identity, RepositoryStatus, SlotStatus};

use super::DeviceEnvironment;
use super::face::{Face, Own};
use crate::arguments::StatusArguments;
use crate::info::json::Layout;
use crate::report;

/// How much of a slot is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Short,
    Detailed,
}

/// Everything that is shown.
struct Shown {
    identity: Identity,
    primary: Option<String>,
    slots: Vec<SlotStatus>,
    repositories: Vec<RepositoryStatus>,
    depth: Depth,
}

pub(super) fn run(
    arguments: &StatusArguments,
    around: &DeviceEnvironment,
    no_color: bool,
) -> Result<ExitCode> {
    let format = arguments.output_format.as_str();
    if !["readable", "shell", "json", "json-pretty"].contains(&format) {
        bail!("Unknown output format: '{format}'. Use readable, shell, json or json-pretty.");
    }
    let own = Own::booted(arguments.override_boot_slot.as_deref());
    let face = Face::open(&arguments.global, own, around)?;
    let shown = Shown {
        identity: face.identity()?,
        primary: face.primary(),
        slots: face.slots()?,
        repositories: face.repositories()?,
        depth: if arguments.detailed {
            Depth::Detailed
        } else {
            Depth::Short
        },
    };
    let text = match format {
        "shell" => shell::text(&shown),
        "json" => json::text(&shown, Layout::Line)?,
        "json-pretty" => json::text(&shown, Layout::Pretty)?,
        _ => readable::text(&shown, no_color),
    };
    Ok(report::print(&text))
}

impl Shown {
    fn booted(&self) -> Option<&SlotStatus> {
        self.slots.iter().find(|slot| slot.state == "booted")
    }
}
