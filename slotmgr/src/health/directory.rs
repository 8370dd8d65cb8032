//! Checks and hooks that lie in folders, as greenboot has them: `check/required.d`,
//! `check/wanted.d`, `green.d`, `red.d`; and our own `rolled-back.d`.
//!
//! As with greenboot, `*.sh` is given to bash whatever its mode, anything else must be executable,
//! and what is neither (a README) is left alone. A name in a later folder does not replace the
//! same name in an earlier one: both run.

use std::fs::DirEntry;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::window::Demand;
use crate::config::{CheckConfig, TrialConfig};

/// The checks of all folders, required ones first, each folder in the order of its names.
#[must_use]
pub fn checks(trial: &TrialConfig) -> Vec<CheckConfig> {
    let mut found = Vec::new();
    for (folder, demand) in [
        ("check/required.d", Demand::Required),
        ("check/wanted.d", Demand::Wanted),
    ] {
        for path in scripts(trial, folder) {
            let name = path.display().to_string();
            // greenboot has no limit: what takes long there must not fail here, so the window is.
            let check = CheckConfig::new(name, command(&path), trial.window);
            found.push(CheckConfig { demand, ..check });
        }
    }
    found
}

/// The programs in `folder` of all directories, in order.
pub(crate) fn scripts(trial: &TrialConfig, folder: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for directory in &trial.directories {
        let disabled = greenboot_disabled(&directory.join("greenboot.conf"));
        let off = |name: &str| {
            trial
                .disabled
                .iter()
                .chain(&disabled)
                .any(|disabled| disabled == name)
        };
        // A folder that is not there holds nothing.
        let entries = std::fs::read_dir(directory.join(folder))
            .into_iter()
            .flatten();
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| !off(&entry.file_name().to_string_lossy()))
            .filter(runs)
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        all.extend(paths);
    }
    all
}

fn is_shell(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "sh")
}

fn runs(entry: &DirEntry) -> bool {
    let path = entry.path();
    // A link that leads nowhere is a check that vanished: it is run, and fails.
    let Ok(meta) = std::fs::metadata(&path) else {
        return is_shell(&path);
    };
    meta.is_file() && (is_shell(&path) || meta.permissions().mode() & 0o111 != 0)
}

/// How a script is started.
pub(crate) fn command(path: &Path) -> Vec<String> {
    let file = path.display().to_string();
    if !is_shell(path) {
        return vec![file];
    }
    let bash = ["/bin/bash", "/usr/bin/bash"];
    let shell = bash.into_iter().find(|bash| Path::new(bash).exists());
    vec![shell.unwrap_or("/bin/sh").to_owned(), file]
}

/// `DISABLED_HEALTHCHECKS=(a.sh "b.sh")` of greenboot's own configuration.
fn greenboot_disabled(conf: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(conf).unwrap_or_default();
    let list = text.lines().find_map(|line| {
        let list = line.trim().strip_prefix("DISABLED_HEALTHCHECKS=(")?;
        Some(list.split_once(')')?.0.to_owned())
    });
    let words = list.unwrap_or_default();
    let plain = |word: &str| word.trim_matches(['"', '\'']).to_owned();
    words.split_whitespace().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::check::{Verdict, run};
    use crate::program::{End, Stop};

    fn write(path: &Path, text: &str, mode: u32) {
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
        fs_err::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_greenboot_directory_runs_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let trial = TrialConfig {
            directories: vec![dir.path().join("none"), dir.path().to_owned()],
            disabled: vec!["off.sh".to_owned()],
            ..TrialConfig::default()
        };
        let required = dir.path().join("check/required.d");
        write(
            &required.join("20-bash.sh"),
            "[[ a == a ]] && exit 0\n",
            0o644,
        );
        write(&required.join("10-program"), "#!/bin/sh\nexit 3\n", 0o755);
        write(&required.join("README"), "about these checks", 0o644);
        write(&required.join("off.sh"), "exit 1", 0o644);
        write(&required.join("off-too.sh"), "exit 1", 0o644);
        write(&dir.path().join("check/wanted.d/x.sh"), "exit 4\n", 0o644);
        let conf = "# x\nDISABLED_HEALTHCHECKS=( \"off-too.sh\" other.sh )\n";
        write(&dir.path().join("greenboot.conf"), conf, 0o644);
        let checks = checks(&trial);
        let ended: Vec<(Demand, Verdict)> = checks
            .iter()
            .map(|check| (check.demand, run(check, &[], &Stop::default()).verdict))
            .collect();
        let expected = [
            (Demand::Required, Verdict::Failed(End::ExitCode(3))),
            (Demand::Required, Verdict::Passed),
            (Demand::Wanted, Verdict::Failed(End::ExitCode(4))),
        ];
        assert_eq!(ended, expected, "{checks:?}");
    }

    #[test]
    fn a_check_that_vanished_fails() {
        let dir = tempfile::tempdir().unwrap();
        let trial = TrialConfig {
            directories: vec![dir.path().to_owned()],
            ..TrialConfig::default()
        };
        let folder = dir.path().join("check/required.d");
        write(&folder.join("a.sh"), "exit 0", 0o644);
        let found = checks(&trial);
        fs_err::remove_file(folder.join("a.sh")).unwrap();
        assert!(run(&found[0], &[], &Stop::default()).failed());
        fs_err::os::unix::fs::symlink("/no/such", folder.join("b.sh")).unwrap();
        assert!(run(&checks(&trial)[0], &[], &Stop::default()).failed());
    }
}
