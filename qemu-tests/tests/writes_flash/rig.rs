//! What the tests on simulated flash share: programs, keys, bundles, and a machine with chips.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use qemu_tests::cache::{Inputs, cached};
use qemu_tests::console::Outcome;
use qemu_tests::flash::{self, Setup, System};
use qemu_tests::kernel::Kernel;
use qemu_tests::machine::{BOOT_LIMIT, Machine, new_dir};
use qemu_tests::programs;
use qemu_tests::workspace::Workspace;
use sha2::{Digest, Sha256};
use xtask::command::captured;

/// One command in the guest, an installation included, on a host that is very busy.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(180);

/// 64 MiB of NAND in 512 blocks. Its partitions become `/dev/mtd0` and so on.
pub const NAND: &str = "modprobe nandsim id_bytes=0x20,0xa2,0x00,0x15";

/// What a factory does to U-Boot's environment.
pub const FACTORY: &str = "printf 'BOOT_ORDER=A B\\nBOOT_A_LEFT=3\\nBOOT_A_GOOD=1\\nBOOT_B_LEFT=0\\n' \
                       > /tmp/factory && uboot-env set --init -s /tmp/factory";

/// What is made once for all tests of a file.
pub struct Parts {
    pub dir: PathBuf,
    kernel: Kernel,
    slotmgr: PathBuf,
    uboot_env: PathBuf,
    bundle_tool: PathBuf,
    keys: PathBuf,
}

pub fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let workspace = Workspace::of_tests();
        let demo = workspace.demo_dir();
        let dir = demo.join("flash-tests");
        fs_err::create_dir_all(&dir).unwrap();
        let bundle_tool = programs::bundle_tool(&workspace).unwrap();
        let inputs = Inputs::new("keys of flash tests 1").file(&bundle_tool);
        let keys = cached(&dir.join("keys"), &inputs.unwrap(), |part| {
            captured(Command::new(&bundle_tool).args(["keys", "demo"]).arg(part))?;
            Ok(())
        });
        Parts {
            kernel: workspace
                .with_debian(|debian| Kernel::fetch_general(&demo.join("kernel-general"), debian))
                .unwrap(),
            slotmgr: programs::guest_slotmgr(&workspace).unwrap(),
            uboot_env: programs::guest_uboot_env(&workspace).unwrap(),
            bundle_tool,
            keys: keys.unwrap(),
            dir,
        }
    })
}

/// A signed bundle with these images: class of the slots, name of the file, content.
pub fn bundle(dir: &Path, version: u32, images: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let parts = parts();
    let dir = new_dir(&dir.join(format!("bundle-{version}"))).unwrap();
    let output = dir.join("update.raucb");
    let mut command = signed(parts);
    command.args(["--compatible", "flash", "--version", &version.to_string()]);
    for (class, name, content) in images {
        let file = dir.join(name);
        fs_err::write(&file, content).unwrap();
        let image = format!("{class}={}", file.display());
        command.arg("--image").arg(image);
    }
    captured(command.arg(&output)).unwrap();
    fs_err::read(output).unwrap()
}

/// `bundle-tool create` with the keys: the rest of the line is to be added.
pub fn signed(parts: &Parts) -> Command {
    let mut command = Command::new(&parts.bundle_tool);
    command.arg("create").arg("--cert");
    command.arg(parts.keys.join("signer.cert.pem")).arg("--key");
    command.arg(parts.keys.join("signer.key.pem"));
    command
}

/// Bytes that no compressor makes smaller, different for each seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    // The step and the shifts are those of xorshift64; zero would stay zero.
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// As `sha256sum` prints it.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A machine with flash, and a shell in it.
pub struct Guest {
    machine: Machine<'static>,
}

impl Guest {
    /// The guest has slotmgr, `uboot-env` and its two other names, `keyring.pem`, and `files`.
    pub fn archive(dir: &Path, files: &[(&str, &[u8])]) -> PathBuf {
        let parts = parts();
        let keyring = fs_err::read(parts.keys.join("keyring.pem")).unwrap();
        let mut all: Vec<(&str, &[u8])> = vec![("etc/rauc/keyring.pem", &keyring)];
        all.extend_from_slice(files);
        let system = System {
            kernel: &parts.kernel,
            programs: &[("slotmgr", &parts.slotmgr), ("uboot-env", &parts.uboot_env)],
            files: &all,
        };
        system.archive(dir).unwrap()
    }

    /// Turns it on.
    pub fn start(dir: &Path, archive: &Path, disks: &[PathBuf]) -> Guest {
        Self::with_emmc(dir, archive, disks, None)
    }

    /// The same with an eMMC.
    pub fn with_emmc(dir: &Path, archive: &Path, disks: &[PathBuf], emmc: Option<&Path>) -> Guest {
        let setup = Setup {
            kernel: &parts().kernel,
            archive,
            disks,
            emmc,
            log: &dir.join("console.log"),
        };
        let mut machine = flash::start(&setup, Box::new(|_| {})).unwrap();
        let console = &mut machine.console;
        let line = console.wait_for(&["slotmgr-flash: started"], BOOT_LIMIT);
        line.unwrap();
        Guest { machine }
    }

    pub fn run(&mut self, command: &str) -> Outcome {
        self.machine.console.run(command, COMMAND_LIMIT).unwrap()
    }

    /// The output of a command that must succeed, without the last line feed.
    pub fn ask(&mut self, command: &str) -> String {
        let outcome = self.run(command);
        assert_eq!(outcome.code, 0, "{command}\n{}", outcome.output);
        outcome.output.trim_end().to_owned()
    }

    /// What a command that must fail says.
    pub fn refused(&mut self, command: &str) -> String {
        let outcome = self.run(command);
        assert_ne!(outcome.code, 0, "{command}\n{}", outcome.output);
        outcome.output
    }

    /// Installs one of the bundles in the guest.
    pub fn install(&mut self, version: u32, options: &str) {
        self.ask(&format!(
            "slotmgr install {options} /bundles/{version}.raucb > /tmp/said 2>&1 || \
             {{ cat /tmp/said; false; }}"
        ));
    }

    pub fn cut_power(self) {
        self.machine.cut_power().unwrap();
    }
}
