//! Command lines.

use crate::codec::Endian;
use crate::env::View;
use crate::script::Dialect;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

const CONFIG: &str = "/etc/fw_env.config";

/// Read, change and diagnose the U-Boot environment.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "uboot-env", version)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum Verb {
    /// Print variables
    Print(PrintArgs),
    /// Set or delete variables, all in one durable write
    Set(SetArgs),
    /// Show both copies, who would read which, and what is wrong
    Doctor(DoctorArgs),
}

/// Where the environment is; the same for every program.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Place {
    /// Configuration: fw_env.config, or libubootenv's YAML
    #[arg(short, long, value_name = "FILE", default_value = CONFIG)]
    pub(super) config: PathBuf,
    /// Environment of a YAML configuration (default: what the device tree says, else the first)
    #[arg(short = 'm', long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// Directory for the lock file, instead of /run and /var/lock
    #[arg(short, long, value_name = "DIR")]
    pub(super) lock: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Bytes {
    /// Byte order of the CRC
    #[arg(long, value_enum, default_value_t = EndianArg::Native)]
    pub(super) endian: EndianArg,
    /// Show or take values as stored, or as U-Boot sees them (one level of backslashes less)
    #[arg(long, value_enum, default_value_t = ViewArg::Raw)]
    pub(super) view: ViewArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum EndianArg {
    Native,
    Little,
    Big,
}

impl From<EndianArg> for Endian {
    fn from(arg: EndianArg) -> Self {
        match arg {
            EndianArg::Native => Self::native(),
            EndianArg::Little => Self::Little,
            EndianArg::Big => Self::Big,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ViewArg {
    Raw,
    Uboot,
}

impl From<ViewArg> for View {
    fn from(arg: ViewArg) -> Self {
        match arg {
            ViewArg::Raw => Self::Raw,
            ViewArg::Uboot => Self::Uboot,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DialectArg {
    /// U-Boot's: words after the name are joined; script lines `name value` or `name=value`
    Uboot,
    /// libubootenv's: pairs of names and values; script lines `name=value` only
    Libubootenv,
}

impl From<DialectArg> for Dialect {
    fn from(arg: DialectArg) -> Self {
        match arg {
            DialectArg::Uboot => Self::Both,
            DialectArg::Libubootenv => Self::Libubootenv,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct PrintArgs {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    pub(super) bytes: Bytes,
    /// Print values only
    #[arg(short, long)]
    pub(super) no_header: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Variables (default: all)
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<OsString>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    pub(super) bytes: Bytes,
    /// Read assignments from a file, `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(super) script: Option<PathBuf>,
    /// Start a new environment if no copy is valid
    #[arg(long)]
    pub(super) init: bool,
    /// With --init: the variables to start from
    #[arg(short = 'f', long, value_name = "FILE", requires = "init")]
    pub(super) defenv: Option<PathBuf>,
    /// Show what would be written, write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// `name=value` sets, `name=` or `name` deletes
    #[arg(value_name = "NAME=VALUE", required_unless_present = "script")]
    pub(super) assignments: Vec<OsString>,
}

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Byte order of the CRC
    #[arg(long, value_enum, default_value_t = EndianArg::Native)]
    pub(super) endian: EndianArg,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Write a bad copy anew, or both if readers could disagree
    #[arg(long, conflicts_with = "scan")]
    pub(super) repair: bool,
    /// Search a device or file for environments of unknown size and offset
    #[arg(long, value_name = "DEVICE")]
    pub(super) scan: Option<PathBuf>,
    /// With --scan: first byte to look at (0x… or decimal)
    #[arg(long, value_name = "OFFSET", default_value = "0", value_parser = number, requires = "scan")]
    pub(super) from: u64,
    /// With --scan: bytes to look at (0x… or decimal)
    #[arg(long, value_name = "BYTES", default_value = "0x4000000", value_parser = number, requires = "scan")]
    pub(super) length: u64,
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|e| e.to_string())
}

/// Print variables of the U-Boot environment.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
// Given twice, the last one counts, as with getopt.
#[command(
    name = "fw_printenv",
    version,
    disable_version_flag = true,
    args_override_self = true
)]
pub(super) struct FwPrintenv {
    #[command(flatten)]
    pub(super) place: Place,
    /// Print values only
    #[arg(short, long, visible_alias = "noheader")]
    pub(super) no_header: bool,
    /// Accepted and not used: no default environment is ever printed as if it were the stored one
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(super) defenv: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Variables (default: all)
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<OsString>,
}

/// Set or delete variables of the U-Boot environment.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
// Given twice, the last one counts, as with getopt.
#[command(
    name = "fw_setenv",
    version,
    disable_version_flag = true,
    args_override_self = true
)]
pub(super) struct FwSetenv {
    #[command(flatten)]
    pub(super) place: Place,
    /// Read assignments from a file, `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(super) script: Option<PathBuf>,
    /// With --init: the variables to start from
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(super) defenv: Option<PathBuf>,
    /// Start a new environment if no copy is valid
    #[arg(long)]
    pub(super) init: bool,
    /// Whose rules hold for more than two words and for scripts
    #[arg(long, value_enum, default_value_t = DialectArg::Uboot)]
    pub(super) dialect: DialectArg,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Variable, then its value; no value deletes
    #[arg(value_name = "NAME [VALUE...]")]
    pub(super) words: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_lines_are_consistent() {
        Cli::command().debug_assert();
        FwPrintenv::command().debug_assert();
        FwSetenv::command().debug_assert();
    }

    #[test]
    fn options_may_stand_anywhere_and_be_joined() {
        let a = FwPrintenv::try_parse_from(["fw_printenv", "a", "-nc/x", "b", "-l", "/d"]).unwrap();
        assert_eq!(a.names, ["a", "b"]);
        assert!(a.no_header);
        assert_eq!(a.place.config, PathBuf::from("/x"));
        let a =
            FwPrintenv::try_parse_from(["fw_printenv", "-c", "/y", "-n", "-n", "-c/x"]).unwrap();
        assert_eq!(a.place.config, PathBuf::from("/x"));
        let s = FwSetenv::try_parse_from(["fw_setenv", "a", "--", "-1", "-c"]).unwrap();
        assert_eq!(s.words, ["a", "-1", "-c"]);
    }
}
