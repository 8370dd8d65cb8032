//! From `bootloader=` to a backend, and where its environment is.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use uboot_env::config::EnvConfig;
use uboot_env::limits::MAX_CONFIG_BYTES;

use crate::boot::BootEnv;
use crate::boot::barebox::{Barebox, StateName};
use crate::boot::custom::Custom;
use crate::boot::efi::vars::EfiVarFs;
use crate::boot::efi::{Efi, Firmware, place};
use crate::boot::gpt_priority::GptPriority;
use crate::boot::grub::Grub;
use crate::boot::grub_pair::GrubPair;
use crate::boot::noop::Noop;
use crate::boot::program::Program;
use crate::boot::systemd_boot::SystemdBoot;
use crate::boot::systemd_boot::files::FatFolder;
use crate::boot::tryboot::{FirmwareFiles, Tryboot};
use crate::boot::uboot::UBoot;
use crate::config::{Bootloader, SlotmgrToml, SystemConf};
use crate::partition::live::sector_size;
use crate::storage::device::EnvPlace;
use crate::storage::uboot_copy;

/// How long a bootloader's own program may take. It writes some sectors.
const PROGRAM_LIMIT: Duration = Duration::from_secs(30);

/// `own` comes from `slotmgr.toml`, beside `conf`.
pub(super) fn of(
    conf: &SystemConf,
    own: &SlotmgrToml,
    fw_env: &Path,
) -> Result<(Box<dyn BootEnv>, EnvPlace)> {
    let layout = &conf.layout;
    let is_grub = matches!(conf.system.bootloader, Bootloader::Grub { .. });
    if own.grub_pair.is_some() && !is_grub {
        bail!("slotmgr.toml has [grub] paired, but system.conf has another bootloader than grub");
    }
    Ok(match &conf.system.bootloader {
        Bootloader::Grub { grubenv } => {
            if let Some(directory) = &own.grub_pair {
                let env = GrubPair::new(layout)?;
                return Ok((Box::new(env), EnvPlace::GrubPair(directory.clone())));
            }
            let place = EnvPlace::Grub(grubenv.clone());
            (Box::new(Grub::new(layout)), place)
        }
        Bootloader::UBoot { attempts, .. } => {
            let place = fw_env_config(fw_env)?;
            let scheme = uboot_copy::scheme(&place)?;
            let env = UBoot::new(layout, &place, *attempts).with_scheme(scheme);
            (Box::new(env), EnvPlace::UBoot(Box::new(place)))
        }
        Bootloader::Barebox {
            state,
            dtb,
            attempts,
            ..
        } => {
            let name = StateName {
                state: state.clone(),
                dtb: dtb.clone(),
            };
            let program = program(Path::new("barebox-state"));
            let env = Barebox::new(layout, program, name, *attempts);
            (Box::new(env), EnvPlace::Elsewhere)
        }
        Bootloader::Efi { activate } => {
            let vars = EfiVarFs {
                root: EfiVarFs::ROOT.into(),
            };
            let firmware = Firmware {
                vars: Box::new(vars),
                locate: place::of_device,
            };
            let env = Efi::new(layout, firmware, *activate);
            (Box::new(env), EnvPlace::Elsewhere)
        }
        Bootloader::SystemdBoot { entries } => {
            let files = FatFolder {
                entries: entries.clone(),
                variables: EfiVarFs::ROOT.into(),
            };
            let env = SystemdBoot::new(layout, Box::new(files));
            (Box::new(env), EnvPlace::Elsewhere)
        }
        Bootloader::Custom => {
            let path = conf.handlers.bootloader.as_deref();
            let path = path.context("bootloader=custom has no bootloader-custom-backend")?;
            let env = Custom::new(layout, program(path));
            (Box::new(env), EnvPlace::Elsewhere)
        }
        Bootloader::Noop => (Box::new(Noop), EnvPlace::Elsewhere),
        Bootloader::GptPriority { disk } => {
            let file = std::fs::File::open(disk)
                .with_context(|| format!("cannot open gpt-disk {}", disk.display()))?;
            let env = GptPriority::new(layout, sector_size(&file, disk)?);
            (Box::new(env), EnvPlace::Disk(disk.clone()))
        }
        Bootloader::Tryboot { config } => {
            let env = Tryboot::new(layout, FirmwareFiles::default());
            (Box::new(env), EnvPlace::File(config.clone()))
        }
    })
}

fn program(path: &Path) -> Program {
    Program {
        path: path.to_owned(),
        limit: PROGRAM_LIMIT,
    }
}

/// Reads U-Boot's `fw_env.config`, or libubootenv's YAML in its place, strictly.
fn fw_env_config(path: &Path) -> Result<EnvConfig> {
    let cannot = || {
        format!(
            "cannot read {}, which says where U-Boot's environment is",
            path.display()
        )
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(MAX_CONFIG_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        bail!("{} is larger than {MAX_CONFIG_BYTES} bytes", path.display());
    }
    let name = path.display().to_string();
    let found = uboot_env::config::parse(&name, &bytes)?;
    let tree = Path::new(uboot_env::config::DEVICE_TREE_NAMESPACE);
    let namespace = uboot_env::config::namespace_of_device_tree(&found, tree);
    Ok(uboot_env::config::select(
        &name,
        found,
        namespace.as_deref(),
    )?)
}
