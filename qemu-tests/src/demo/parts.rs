//! Makes what the demo needs before a machine can be turned on: programs, keys, systems, bundles.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use xtask::command::captured;
use xtask::debian::Debian;

use super::{Options, Stage};
use crate::cache::{Inputs, cached, remove};
use crate::disk::{Contents, Disk, GRUBENV};
use crate::grub;
use crate::kernel::Kernel;
use crate::programs;
use crate::rootfs::{App, DEMO, Version};

/// The name that bundles and the machine must have in common.
const COMPATIBLE: &str = "slotmgr-demo";

/// The parts that all versions of the system have in common.
pub struct Parts<'a> {
    stage: &'a Stage<'a>,
    dir: PathBuf,
    bundle_tool: PathBuf,
    slotmgr: PathBuf,
    kernel: Kernel,
    keys: PathBuf,
}

impl<'a> Parts<'a> {
    /// Builds or fetches all of them; quick when they are there.
    ///
    /// # Errors
    /// One of them cannot be made.
    pub fn prepare(stage: &'a Stage<'a>, debian: &Debian<'_>, options: &Options) -> Result<Self> {
        let (workspace, progress) = (stage.workspace, stage.progress);
        let dir = workspace.demo_dir();
        fs_err::create_dir_all(&dir)?;
        let (bundle_tool, slotmgr) = match &options.programs {
            Some(given) => (program(given, "bundle-tool")?, program(given, "slotmgr")?),
            None => (
                progress.step("build bundle-tool, for this computer", || {
                    programs::bundle_tool(workspace)
                })?,
                progress.step("build slotmgr, for the machine (statically linked)", || {
                    programs::guest_slotmgr(workspace)
                })?,
            ),
        };
        let kernel = progress.step("fetch and unpack Debian's kernel", || {
            Kernel::fetch(&dir.join("kernel"), debian)
        })?;
        let keys = progress.step("make keys and certificates (for this demo only)", || {
            let inputs = Inputs::new("demo keys 1").file(&bundle_tool)?;
            cached(&dir.join("keys"), &inputs, |part| {
                captured(Command::new(&bundle_tool).args(["keys", "demo"]).arg(part))?;
                Ok(())
            })
        })?;
        Ok(Self {
            stage,
            dir,
            bundle_tool,
            slotmgr,
            kernel,
            keys,
        })
    }

    /// The same parts, for another stage.
    #[must_use]
    pub fn on<'b>(&self, stage: &'b Stage<'b>) -> Parts<'b> {
        Parts {
            stage,
            dir: self.dir.clone(),
            bundle_tool: self.bundle_tool.clone(),
            slotmgr: self.slotmgr.clone(),
            kernel: self.kernel.clone(),
            keys: self.keys.clone(),
        }
    }

    /// The root file system of a version.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn image(&self, number: u32, app: App) -> Result<PathBuf> {
        let what = match app {
            App::Healthy => format!("make the system, version {number}"),
            App::Misconfigured => {
                format!("make the system, version {number}, with a mistake in its settings")
            }
        };
        self.stage.progress.step(&what, || {
            Version {
                number,
                app,
                kernel: &self.kernel,
                slotmgr: &self.slotmgr,
                keyring: &self.keyring(),
                variant: DEMO,
            }
            .image(&self.dir)
        })
    }

    /// Packs an image into a signed bundle in the folder that the web server serves, and shows
    /// what is in it; returns the name of the file there.
    ///
    /// # Errors
    /// `bundle-tool` fails.
    pub fn bundle(&self, number: u32, image: &Path) -> Result<String> {
        let name = format!("update-v{number}.raucb");
        let bundle = self.www().join(&name);
        fs_err::create_dir_all(self.www())?;
        remove(&bundle)?;
        self.stage
            .progress
            .step(&format!("make a signed bundle of version {number}"), || {
                let mut command = Command::new(&self.bundle_tool);
                command
                    .arg("create")
                    .arg("--cert")
                    .arg(self.keys.join("signer.cert.pem"));
                command.arg("--key").arg(self.keys.join("signer.key.pem"));
                command.args(["--compatible", COMPATIBLE, "--version", &number.to_string()]);
                command
                    .arg("--image")
                    .arg(format!("rootfs={}", image.display()))
                    .arg(&bundle);
                captured(&mut command)
            })?;
        let mut info = Command::new(&self.bundle_tool);
        info.arg("info")
            .arg("--keyring")
            .arg(self.keyring())
            .arg(&bundle);
        for line in captured(&mut info)?.lines() {
            self.stage.progress.say(&format!("    {line}"));
        }
        Ok(name)
    }

    /// A disk as it leaves the factory: `image` in slot A, nothing in slot B.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn factory_disk(&self, image: &Path, path: &Path) -> Result<Disk> {
        self.stage.progress.step(
            "make the disk: GRUB, slot A with version 1, slot B empty",
            || {
                let loader = grub::efi_image(&self.dir.join("grub.efi"))?;
                let config = grub::config(self.stage.workspace)?;
                let environment = grub::environment_block(&grub::FACTORY_ENVIRONMENT)?;
                let esp: [(&str, &[u8]); 3] = [
                    ("EFI/BOOT/BOOTX64.EFI", &loader),
                    ("grub/grub.cfg", &config),
                    (GRUBENV, &environment),
                ];
                Disk::create(
                    path,
                    &Contents {
                        esp: &esp,
                        slot_a: Some(image),
                        slot_b: None,
                    },
                )
            },
        )
    }

    /// What the disk after a good run is made of: when this changes, the run must be made again.
    ///
    /// # Errors
    /// A part cannot be read.
    pub fn inputs(&self, images: &[&Path]) -> Result<Inputs> {
        let config = grub::config(self.stage.workspace)?;
        let inputs = Inputs::new("good run 1")
            .bytes(&config)
            .file(&self.bundle_tool)?;
        images
            .iter()
            .try_fold(inputs, |inputs, image| inputs.file(image))
    }

    /// The folder that the web server serves.
    pub fn www(&self) -> PathBuf {
        self.dir.join("www")
    }

    fn keyring(&self) -> PathBuf {
        self.keys.join("keyring.pem")
    }
}

fn program(dir: &Path, name: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    if !path.is_file() {
        bail!("there is no program {}", path.display());
    }
    // A relative path without a slash would be looked for in $PATH.
    Ok(fs_err::canonicalize(path)?)
}
