//! `slotmgr check-config`: what was understood, and what is risky.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use token_key::TokenAccess;

use super::args::Options;
use super::bootloader;
use super::exit;
use super::key_review;
use super::render::Output;
use super::session::conf_path;
use crate::config::{RepositoryKind, SlotmgrToml, SystemConf};
use crate::slot::{Access, SlotId, SlotKind};
use crate::storage::device::{DeviceDisks, EnvPlace, Mode};

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Weight {
    /// Nothing can be installed like this.
    Wrong,
    /// It works, until something happens.
    Risky,
    /// Good to know.
    Note,
}

/// Something that stands out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Finding {
    pub weight: Weight,
    /// What it is about: a slot, a section.
    pub about: String,
    /// What it is, what it means, what to do.
    pub what: String,
}

/// Collects findings.
#[derive(Default)]
pub(super) struct Review(Vec<Finding>);

impl Review {
    pub fn add(&mut self, weight: Weight, about: impl ToString, what: impl Into<String>) {
        self.0.push(Finding {
            weight,
            about: about.to_string(),
            what: what.into(),
        });
    }
}

pub(super) fn run(options: &Options, token: &TokenAccess, output: &Output) -> Result<ExitCode> {
    let path = conf_path(options)?;
    let conf = SystemConf::load_with(&path, &options.confopt)?;
    let own = SlotmgrToml::load(&path.with_file_name("slotmgr.toml"))?;
    let mut review = Review::default();
    review_settings(&mut review, options, &conf);
    key_review::review(&mut review, &conf, token);
    review_programs(&mut review, &conf);
    review_slots(&mut review, &conf);
    review_bootloader(&mut review, options, (&conf, &own));
    if own.checks.is_empty() {
        let what =
            "no [[check]] in slotmgr.toml: a new system is confirmed as soon as it has started";
        review.add(Weight::Risky, "slotmgr.toml", what);
    }
    output.config_checked(&path, &conf, &review.0);
    let wrong = review
        .0
        .iter()
        .any(|finding| finding.weight == Weight::Wrong);
    Ok(ExitCode::from(if wrong {
        exit::FAILED
    } else {
        exit::DONE
    }))
}

fn review_settings(review: &mut Review, options: &Options, conf: &SystemConf) {
    let keyring = &conf.keyring;
    let paths = [&options.keyring, &keyring.path, &keyring.directory];
    if paths.iter().all(|path| path.is_none()) {
        review.add(
            Weight::Wrong,
            "[keyring]",
            "no path= and no directory=: no bundle is trusted",
        );
    }
    for path in paths.into_iter().flatten().filter(|path| !path.exists()) {
        review.add(
            Weight::Wrong,
            "[keyring]",
            format!("{} is not there", path.display()),
        );
    }
    if conf.system.data_directory.is_none() {
        let what = "no data-directory=: nothing is remembered of installations, and with more than two slots the \
                    oldest is not known";
        review.add(Weight::Risky, "[system]", what);
    }
    for repository in &conf.repositories {
        let about = format!("[artifacts.{}]", repository.name);
        if !repository.path.is_dir() {
            let what = format!(
                "{} is not there, or no directory",
                repository.path.display()
            );
            review.add(Weight::Wrong, &about, what);
        }
        if repository.kind == RepositoryKind::Composefs {
            let what = "a bundle with artifacts for it is refused: composefs is not supported";
            review.add(Weight::Risky, &about, what);
        }
    }
    for place in &conf.idle {
        review.add(
            Weight::Note,
            place,
            "this section is understood, and nothing is done with it",
        );
    }
}

fn review_programs(review: &mut Review, conf: &SystemConf) {
    use std::os::unix::fs::PermissionsExt as _;
    let handlers = &conf.handlers;
    let all = [
        ("system-info", &handlers.system_info),
        ("pre-install", &handlers.pre_install),
        ("post-install", &handlers.post_install),
        ("install-failed", &handlers.install_failed),
        ("bootloader-custom-backend", &handlers.bootloader),
    ];
    for (name, path) in all {
        let Some(path) = path else { continue };
        let about = format!("[handlers] {name}");
        match std::fs::metadata(path) {
            Err(error) => review.add(Weight::Wrong, about, format!("{}: {error}", path.display())),
            Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
                review.add(
                    Weight::Wrong,
                    about,
                    format!("{} is not executable", path.display()),
                );
            }
            Ok(_) => {}
        }
    }
}

fn review_slots(review: &mut Review, conf: &SystemConf) {
    let mut sizes: BTreeMap<&str, Vec<(SlotId, u64)>> = BTreeMap::new();
    for (id, slot) in conf.layout.iter() {
        match size_of(&slot.device, slot.kind) {
            Ok(Some(0)) => {
                let what = format!(
                    "{} has no bytes: its medium is not there, or it is not set up",
                    slot.device.display()
                );
                review.add(Weight::Wrong, &slot.name, what);
            }
            Ok(Some(size)) => sizes.entry(slot.name.class()).or_default().push((id, size)),
            Ok(None) => {}
            Err(error) => {
                let what = format!("{} cannot be used: {error}", slot.device.display());
                review.add(Weight::Wrong, &slot.name, what);
            }
        }
        if slot.kind == SlotKind::Jffs2 {
            review.add(
                Weight::Note,
                &slot.name,
                "RAUC itself does not accept slots of type jffs2",
            );
        }
    }
    for slots in sizes.values() {
        let largest = slots.iter().map(|(_, size)| *size).max().unwrap_or(0);
        for (id, size) in slots.iter().filter(|(_, size)| *size < largest) {
            let what = format!(
                "has {size} bytes, and another slot of its class {largest}: an image that fits there need not fit here"
            );
            review.add(Weight::Risky, &conf.layout.slot(*id).name, what);
        }
    }
    let writable = |id: &SlotId| conf.layout.slot(*id).access == Access::Writable;
    if conf
        .layout
        .bootable()
        .filter(|(id, _)| writable(id))
        .count()
        < 2
    {
        let what = "fewer than two slots have a bootname and can be written: there is nothing to fall back to";
        review.add(Weight::Wrong, "slots", what);
    }
}

/// `None` for devices that have no plain length (flash, UBI volumes).
fn size_of(device: &Path, kind: SlotKind) -> std::io::Result<Option<u64>> {
    use std::os::unix::fs::FileTypeExt as _;
    let file = devio::block::open_for_reading(device)?;
    if !file.metadata()?.file_type().is_char_device() {
        return devio::block::device_len(&file).map(Some);
    }
    // Flash has no such length; whether it fits is known when it is opened.
    match kind {
        SlotKind::Nand | SlotKind::Nor | SlotKind::Jffs2 | SlotKind::Ubivol | SlotKind::Ubifs => {
            Ok(None)
        }
        _ => Err(std::io::Error::other("it is no block device")),
    }
}

fn review_bootloader(
    review: &mut Review,
    options: &Options,
    (conf, own): (&SystemConf, &SlotmgrToml),
) {
    let about = format!("bootloader={}", conf.system.bootloader.name());
    let (env, place) = match bootloader::of(conf, own, &options.fw_env_config) {
        Ok(found) => found,
        Err(error) => return review.add(Weight::Wrong, about, format!("{error:#}")),
    };
    if let EnvPlace::UBoot(config) = &place
        && config.second.is_none()
    {
        let what = "the environment has one copy only: a power cut while it is written can destroy it. Give \
                    U-Boot a second one (CONFIG_ENV_REDUNDANT) and name it in fw_env.config";
        review.add(Weight::Risky, &about, what);
    }
    let mut disks = DeviceDisks::new(&conf.layout, place, None, Mode::ReadOnly);
    match env.read(&mut disks) {
        Err(error) => {
            review.add(
                Weight::Wrong,
                about,
                format!("{:#}", anyhow::Error::from(error)),
            );
        }
        Ok(state) => {
            for (id, name) in conf
                .layout
                .bootable()
                .filter(|(id, _)| !state.order.contains(id))
            {
                let slot = &conf.layout.slot(id).name;
                let what = format!("the bootloader does not know `{name}`: it is in no boot order");
                review.add(Weight::Risky, slot, what);
            }
        }
    }
}
