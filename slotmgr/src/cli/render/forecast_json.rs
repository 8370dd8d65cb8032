//! The JSON answers about an installation that was not done: what would happen, and what it would cost.

use serde::Serialize;

use super::SCHEMA;
use crate::health::preflight::Finding;
use crate::install::{Cost, Estimate, Simulated, Step};
use crate::slot::Layout;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Preflight<'v> {
    schema: u32,
    findings: Vec<FindingView<'v>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FindingView<'v> {
    what: &'v str,
    fine: bool,
    text: &'v str,
}

impl<'v> Preflight<'v> {
    pub fn new(findings: &'v [Finding]) -> Self {
        let view = |finding: &'v Finding| FindingView {
            what: finding.what,
            fine: finding.found.is_ok(),
            text: match &finding.found {
                Ok(text) | Err(text) => text,
            },
        };
        Preflight {
            schema: SCHEMA,
            findings: findings.iter().map(view).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Simulation<'v> {
    #[serde(flatten)]
    preflight: Preflight<'v>,
    would_write: Vec<Write<'v>>,
    would_start: String,
    unknown: &'v [&'static str],
}

/// What an installation would fetch and write.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Estimated<'v> {
    schema: u32,
    images: Vec<ImageCost<'v>>,
    fetch: u64,
    write: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ImageCost<'v> {
    image: &'v str,
    slot: String,
    size: u64,
    fetch: u64,
    write: u64,
}

impl<'v> Estimated<'v> {
    pub fn new(estimate: &'v Estimate, seconds: Option<u64>) -> Self {
        let image = |(step, cost): &'v (Step, Cost)| ImageCost {
            image: &step.filename,
            slot: step.slot.to_string(),
            size: step.size,
            fetch: cost.fetch,
            write: cost.write,
        };
        let total = estimate.total();
        Estimated {
            schema: SCHEMA,
            images: estimate.images.iter().map(image).collect(),
            fetch: total.fetch,
            write: total.write,
            seconds,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Write<'v> {
    image: &'v str,
    size: u64,
    sha256: String,
    slot: String,
    device: String,
}

impl<'v> Simulation<'v> {
    pub fn new(layout: &Layout, findings: &'v [Finding], simulated: &'v Simulated) -> Self {
        let write = |step: &'v Step| Write {
            image: &step.filename,
            size: step.size,
            sha256: step.sha256.to_string(),
            slot: step.slot.to_string(),
            device: layout.slot(step.target.id()).device.display().to_string(),
        };
        Simulation {
            preflight: Preflight::new(findings),
            would_write: simulated.steps.iter().map(write).collect(),
            would_start: layout.slot(simulated.boot_target.id()).name.to_string(),
            unknown: &simulated.unknown,
        }
    }
}
