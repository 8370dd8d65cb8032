//! Runs other programs: with their output in a log file, or with their output handed back.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How many lines of a log are shown when the program that wrote it failed.
const TAIL_LINES: usize = 25;

/// Runs `command` without input and appends what it prints to `log`.
///
/// # Errors
/// The program cannot be started, or it fails: the error then carries the end of the log and its
/// path.
pub fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let shown = shown(command);
    if let Some(dir) = log.parent() {
        fs_err::create_dir_all(dir)?;
    }
    let mut file = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)?;
    writeln!(file, "$ {shown}")?;
    let output = file.into_file();
    let status = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("sharing the log file")?)
        .stderr(output)
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!(
            "`{shown}` failed ({status}). The end of {}:\n{}",
            log.display(),
            tail(log)
        );
    }
    Ok(())
}

/// Runs `command` without input and returns its standard output.
///
/// # Errors
/// The program cannot be started, fails (the error carries its standard error), or prints
/// something that is not UTF-8.
pub fn captured(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}): {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed other than UTF-8"))
}

/// The command as a person would type it (not quoted for a shell).
#[must_use]
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// The last lines of a log, each moved in; empty when the log cannot be read.
#[must_use]
pub fn tail(log: &Path) -> String {
    let bytes = fs_err::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines[from..]
        .iter()
        .map(|line| format!("    {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_shows_its_last_words_and_the_log() {
        let log = std::env::temp_dir().join(format!("xtask-command-{}.log", std::process::id()));
        let error = logged(
            Command::new("sh").args(["-c", "echo last words; exit 3"]),
            &log,
        )
        .unwrap_err()
        .to_string();
        fs_err::remove_file(&log).unwrap();
        assert!(error.contains("    last words\n"), "{error}");
        assert!(error.contains("xtask-command-"), "{error}");
    }

    #[test]
    fn captured_returns_output_and_reports_failure() {
        assert_eq!(
            captured(Command::new("echo").arg("slot")).unwrap(),
            "slot\n"
        );
        let error = captured(Command::new("sh").args(["-c", "echo why >&2; false"])).unwrap_err();
        assert!(error.to_string().ends_with(": why"), "{error}");
    }
}
