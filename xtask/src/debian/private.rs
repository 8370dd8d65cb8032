//! An apt with sources, lists and downloads of its own: the machine's stay as they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::logged;

/// `apt-get` that knows nothing of what is installed here.
#[derive(Debug)]
pub struct PrivateApt {
    folder: PathBuf,
    log: PathBuf,
}

impl PrivateApt {
    /// Keeps everything in `folder`, gets packages from what the `.sources` file `sources` names, and
    /// has the lists read.
    ///
    /// # Errors
    /// The folder cannot be written, or the lists cannot be fetched.
    pub fn new(folder: &Path, sources: &str, log: &Path) -> Result<Self> {
        for name in ["lists/partial", "archives/partial", "parts"] {
            fs_err::create_dir_all(folder.join(name))?;
        }
        fs_err::write(folder.join("status"), "")?;
        fs_err::write(folder.join("parts/these.sources"), sources)?;
        let apt = Self {
            folder: folder.to_owned(),
            log: log.to_owned(),
        };
        apt.run(&["update"])?;
        Ok(apt)
    }

    /// Runs `apt-get` in the folder.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("apt-get");
        let inside = |name: &str| self.folder.join(name).display().to_string();
        for option in [
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            format!("Dir::Etc::sourceparts={}", inside("parts")),
            format!("Dir::State::lists={}", inside("lists")),
            format!("Dir::State::status={}", inside("status")),
            format!("Dir::Cache::archives={}", inside("archives")),
            // Without a user to switch to: _apt cannot write to our folder, and says so.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ] {
            command.args(["-q", "-o", &option]);
        }
        logged(command.args(arguments).current_dir(&self.folder), &self.log)
    }

    /// Downloads `packages` and all that they need; gives the files, sorted by name.
    ///
    /// # Errors
    /// One is not there, or cannot be downloaded.
    pub fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let mut arguments = vec!["install", "-y", "--download-only"];
        arguments.push("--no-install-recommends");
        arguments.extend(packages.iter().map(String::as_str));
        self.run(&arguments)?;
        let mut files = Vec::new();
        for entry in fs_err::read_dir(self.folder.join("archives"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "deb") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}
