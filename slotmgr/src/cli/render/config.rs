//! The answer of `slotmgr check-config`.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::SCHEMA;
use crate::cli::check_config::{Finding, Weight};
use crate::config::SystemConf;

pub(super) fn human(path: &Path, conf: &SystemConf, findings: &[Finding]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "file       {}", path.display());
    let _ = writeln!(
        text,
        "machine    {}, started by {}",
        conf.system.compatible,
        conf.system.bootloader.name()
    );
    for (_, slot) in conf.layout.iter() {
        let place = match (&slot.boot_name, &slot.parent) {
            (Some(name), _) => format!("booted as {name}"),
            (None, Some(parent)) => format!("belongs to {parent}"),
            (None, None) => "stands alone".to_owned(),
        };
        let _ = writeln!(
            text,
            "slot       {:12} {:6} {} ({place})",
            slot.name.to_string(),
            slot.kind.to_string(),
            slot.device.display()
        );
    }
    text.push('\n');
    for finding in findings {
        let weight = match finding.weight {
            Weight::Wrong => "wrong",
            Weight::Risky => "risky",
            Weight::Note => "note",
        };
        let _ = writeln!(text, "{weight:10} {}: {}", finding.about, finding.what);
    }
    let count = |weight| {
        findings
            .iter()
            .filter(|finding| finding.weight == weight)
            .count()
    };
    let next = match (count(Weight::Wrong), count(Weight::Risky)) {
        (0, 0) => "nothing to do: everything is as it should be".to_owned(),
        (0, risky) => format!("{risky} risky: it works, until something happens"),
        (wrong, _) => format!("{wrong} wrong: correct it, nothing can be installed like this"),
    };
    let _ = write!(text, "next step  {next}");
    text
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Checked<'v> {
    schema: u32,
    file: String,
    compatible: &'v str,
    bootloader: &'v str,
    slots: Vec<SlotView>,
    findings: &'v [Finding],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SlotView {
    name: String,
    device: String,
    #[serde(rename = "type")]
    kind: String,
    bootname: Option<String>,
    parent: Option<String>,
}

impl<'v> Checked<'v> {
    pub fn new(path: &Path, conf: &'v SystemConf, findings: &'v [Finding]) -> Self {
        let slots = conf.layout.iter().map(|(_, slot)| SlotView {
            name: slot.name.to_string(),
            device: slot.device.display().to_string(),
            kind: slot.kind.to_string(),
            bootname: slot.boot_name.as_ref().map(ToString::to_string),
            parent: slot.parent.as_ref().map(ToString::to_string),
        });
        Checked {
            schema: SCHEMA,
            file: path.display().to_string(),
            compatible: &conf.system.compatible,
            bootloader: conf.system.bootloader.name(),
            slots: slots.collect(),
            findings,
        }
    }
}
