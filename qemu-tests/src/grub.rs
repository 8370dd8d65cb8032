//! GRUB for UEFI machines, and its environment block as seen from outside.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use xtask::command::captured;

use crate::workspace::Workspace;

/// Everything that our `grub.cfg` uses: there is no folder of modules on the test machines.
const MODULES: [&str; 18] = [
    "boot",
    "echo",
    // Without a video driver GRUB says "error: no suitable video mode found" at each start.
    "efi_gop",
    "ext2",
    "fat",
    "linux",
    "loadenv",
    "normal",
    "part_gpt",
    "reboot",
    "regexp",
    "search",
    "serial",
    "sleep",
    "squash4",
    "terminal",
    "test",
    "configfile",
];

/// The size of an environment block; GRUB never changes it.
const BLOCK_SIZE: usize = 1024;
/// The size of each of the paired files.
const SECTOR: usize = 512;
const SIGNATURE: &str = "# GRUB Environment Block\n";

/// What the factory writes: the system in A is confirmed, B is empty.
pub const FACTORY_ENVIRONMENT: [(&str, &str); 6] = [
    ("ORDER", "A B"),
    ("A_OK", "1"),
    ("A_TRY", "0"),
    ("A_LEFT", "good"),
    ("B_OK", "0"),
    ("B_TRY", "0"),
];

/// The boot loader as a UEFI program that reads `/grub/grub.cfg` on the partition it came from.
///
/// # Errors
/// `grub-mkimage` fails.
pub fn efi_image(part: &Path) -> Result<Vec<u8>> {
    mkimage(part, &[])
}

/// The same with a configuration of its own in it; it reads none on its partition.
///
/// # Errors
/// As [`efi_image`].
pub fn efi_image_with(part: &Path, config: &str) -> Result<Vec<u8>> {
    let file = part.with_extension("cfg");
    fs_err::write(&file, config)?;
    let image = mkimage(part, &["-c", &file.to_string_lossy()])?;
    fs_err::remove_file(&file)?;
    Ok(image)
}

fn mkimage(part: &Path, options: &[&str]) -> Result<Vec<u8>> {
    captured(
        Command::new("grub-mkimage")
            .args(["-O", "x86_64-efi", "-p", "/grub", "-o"])
            .arg(part)
            .args(options)
            .args(MODULES),
    )?;
    let image = fs_err::read(part)?;
    fs_err::remove_file(part)?;
    Ok(image)
}

/// The configuration that slotmgr ships for GRUB.
///
/// # Errors
/// It cannot be read.
pub fn config(workspace: &Workspace) -> Result<Vec<u8>> {
    Ok(fs_err::read(
        workspace.root.join("slotmgr/bootloader/grub.cfg"),
    )?)
}

/// The one for the paired files.
///
/// # Errors
/// It cannot be read.
pub fn pair_config(workspace: &Workspace) -> Result<Vec<u8>> {
    Ok(fs_err::read(
        workspace.root.join("slotmgr/bootloader/grub-pair.cfg"),
    )?)
}

/// The paired files as a factory makes them: their names, and what is in them. The system in A is
/// confirmed, B is empty.
#[must_use]
pub fn factory_pair() -> [(&'static str, Vec<u8>); 3] {
    let copy = |number: u32| {
        format!(
            "ab_seq={number}\nab_primary=A\nab_fallback=none\nab_trial=none\nab_tries=0\n\
             ab_end={number}\n"
        )
    };
    let counter = "ab_counted=000000000\nab_used=0\n".to_owned();
    [
        ("ab1", copy(100_000_000)),
        ("ab2", copy(100_000_001)),
        ("ab3", counter),
    ]
    .map(|(name, lines)| {
        let mut bytes = format!("{SIGNATURE}{lines}").into_bytes();
        bytes.resize(SECTOR, b'#');
        (name, bytes)
    })
}

/// The bytes of an environment block with `variables`.
///
/// # Errors
/// A value needs escapes, or they do not all fit in the first sector.
pub fn environment_block(variables: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut text = SIGNATURE.to_owned();
    for (name, value) in variables {
        if value.contains(['\\', '\n']) {
            bail!("the value of {name} would need escapes, which nothing here has");
        }
        text.push_str(&format!("{name}={value}\n"));
    }
    if text.len() > SECTOR {
        bail!(
            "the variables take {} bytes, more than a sector",
            text.len()
        );
    }
    let mut block = text.into_bytes();
    block.resize(BLOCK_SIZE, b'#');
    Ok(block)
}

/// The variables of an environment block.
///
/// # Errors
/// It is not one.
pub fn environment(block: &[u8]) -> Result<BTreeMap<String, String>> {
    if block.len() != BLOCK_SIZE {
        bail!(
            "the environment block has {} bytes instead of {BLOCK_SIZE}",
            block.len()
        );
    }
    let text = std::str::from_utf8(block).context("the environment block is not UTF-8")?;
    let text = text
        .strip_prefix(SIGNATURE)
        .context("the environment block has no signature")?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Ok(lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grub_editenv_reads_what_we_write_and_we_what_it_writes() {
        let path = std::env::temp_dir().join(format!("slotmgr-grubenv-{}", std::process::id()));
        fs_err::write(&path, environment_block(&FACTORY_ENVIRONMENT).unwrap()).unwrap();
        let list = captured(Command::new("grub-editenv").arg(&path).arg("list")).unwrap();
        assert_eq!(
            list,
            "ORDER=A B\nA_OK=1\nA_TRY=0\nA_LEFT=good\nB_OK=0\nB_TRY=0\n"
        );
        captured(
            Command::new("grub-editenv")
                .arg(&path)
                .args(["set", "B_LEFT=2"]),
        )
        .unwrap();
        let read = environment(&fs_err::read(&path).unwrap()).unwrap();
        fs_err::remove_file(&path).unwrap();
        assert_eq!(read["B_LEFT"], "2");
        assert_eq!(read["ORDER"], "A B");
        assert_eq!(read.len(), 7);
    }

    #[test]
    fn damaged_blocks_are_refused() {
        let block = environment_block(&FACTORY_ENVIRONMENT).unwrap();
        assert!(environment(&block[..512]).is_err());
        assert!(environment(&[0; BLOCK_SIZE]).is_err());
        assert!(environment_block(&[("A", "x\\y")]).is_err());
        assert!(environment_block(&[("A", &"x".repeat(500))]).is_err());
    }
}
