//! What a machine tells of itself: its variant, and what its system-info handler says.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::config::{SystemConf, VariantSource};
use crate::install::{Environment, Program};
use crate::program::Stop;

/// How long the system-info handler may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the kernel shows the device tree's `compatible`: texts that end with NUL each.
const DEVICE_TREE: &str = "/sys/firmware/devicetree/base/compatible";

/// What hooks and handlers are told, and which images fit.
pub(crate) struct MachineFacts {
    pub variant: Option<String>,
    pub told: Environment,
}

impl MachineFacts {
    pub fn gather(conf: &SystemConf, conf_path: &Path, stop: &Stop) -> Result<MachineFacts> {
        let mut told = vec![(
            "RAUC_SYSTEM_CONFIG".to_owned(),
            conf_path.display().to_string(),
        )];
        told.extend(system_info(conf, stop)?);
        let said = told.iter().find(|(name, _)| name == "RAUC_SYSTEM_VARIANT");
        let variant = match said {
            Some((_, variant)) => Some(variant.clone()),
            None => configured_variant(&conf.system.variant)?,
        };
        Ok(MachineFacts { variant, told })
    }
}

fn configured_variant(source: &VariantSource) -> Result<Option<String>> {
    let read = |path: &Path| {
        let bytes = fs_err::read(path).context("the variant of this machine is not known")?;
        let first = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        anyhow::Ok(Some(String::from_utf8_lossy(first).trim().to_owned()))
    };
    match source {
        VariantSource::None => Ok(None),
        VariantSource::Name(name) => Ok(Some(name.clone())),
        VariantSource::File(path) => read(path),
        VariantSource::DeviceTree => read(Path::new(DEVICE_TREE)),
    }
}

/// Runs the handler; keeps its lines `RAUC_…=value`.
fn system_info(conf: &SystemConf, stop: &Stop) -> Result<Environment> {
    let Some(handler) = &conf.handlers.system_info else {
        return Ok(Environment::new());
    };
    let program = Program {
        name: "the system-info handler".to_owned(),
        command: vec![handler.display().to_string()],
        environment: Environment::new(),
        limit: LIMIT,
    };
    let output = program.run(stop)?;
    let lines = output.lines().filter_map(|line| line.split_once('='));
    let facts = lines.filter(|(name, _)| name.starts_with("RAUC_"));
    Ok(facts
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect())
}
