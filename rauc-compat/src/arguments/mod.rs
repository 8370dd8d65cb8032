//! The arguments, as structures that tests can compare.

mod device;
mod groups;

pub use device::{
    DeviceCommand, InstallArguments, MountArguments, ServiceArguments, StatusArguments,
    WriteSlotArguments,
};
pub use groups::{Global, NewSignature};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Builds, signs and inspects update bundles with RAUC's command line.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "rauc",
    disable_version_flag = true,
    disable_help_subcommand = true,
    after_help = AFTER_HELP
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Options may stand before or after the command.

Example:
  rauc bundle --cert signer.cert.pem --key signer.key.pem input/ update.raucb
  rauc info --keyring keyring.pem update.raucb

Environment:
  RAUC_KEY_PASSPHRASE  pass phrase of the key
  RAUC_PKCS11_MODULE   library of the PKCS#11 token
  RAUC_PKCS11_PIN      PIN of the PKCS#11 token
  SOURCE_DATE_EPOCH    signing time, and all times in new bundles
  NO_COLOR             no bold text in `info`

Exit codes: 0 done, 1 failed; `install` also 2 (the service cannot be reached) and 3 (stopped).";

/// The verbs.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// The commands of the build machine.
    #[command(flatten)]
    Host(HostCommand),
    /// The commands of the device.
    #[command(flatten)]
    Device(DeviceCommand),
}

/// What RAUC does on a build machine.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum HostCommand {
    /// Create a bundle from a directory with a manifest.raucm
    Bundle(Box<BundleArguments>),
    /// Replace the signature of a bundle by one of your own
    Resign(Box<ResignArguments>),
    /// Move the images of a bundle into a casync chunk store beside it
    Convert(Box<ConvertArguments>),
    /// Encrypt a crypt bundle to those who may read it
    Encrypt(Box<EncryptArguments>),
    /// Put a signature from a file into a bundle
    ReplaceSignature(Box<ReplaceSignatureArguments>),
    /// Write the signature of a bundle into a file
    ExtractSignature(Box<ExtractArguments>),
    /// Take the files out of a bundle
    Extract(Box<ExtractArguments>),
    /// Show what a bundle says about itself
    Info(Box<InfoArguments>),
}

impl Command {
    /// The options that every command has.
    pub fn global(&self) -> &Global {
        match self {
            Self::Host(command) => command.global(),
            Self::Device(command) => command.global(),
        }
    }
}

impl HostCommand {
    fn global(&self) -> &Global {
        match self {
            Self::Bundle(arguments) => &arguments.global,
            Self::Resign(arguments) => &arguments.global,
            Self::Convert(arguments) => &arguments.global,
            Self::Encrypt(arguments) => &arguments.global,
            Self::ReplaceSignature(arguments) => &arguments.global,
            Self::ExtractSignature(arguments) | Self::Extract(arguments) => &arguments.global,
            Self::Info(arguments) => &arguments.global,
        }
    }
}

/// `bundle …`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BundleArguments {
    /// How the new bundle is signed and checked.
    #[command(flatten)]
    pub signature: NewSignature,
    /// Further arguments for mksquashfs, quoted like in a shell
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub mksquashfs_args: Option<String>,
    /// Directory with manifest.raucm and the files that it names
    pub inputdir: PathBuf,
    /// The bundle to create
    pub bundlename: PathBuf,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `resign …`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ResignArguments {
    /// How the new bundle is signed and checked.
    #[command(flatten)]
    pub signature: NewSignature,
    /// Do not check the old signature
    #[arg(long)]
    pub no_verify: bool,
    /// Accept an old signature whose certificates have expired
    #[arg(long)]
    pub no_check_time: bool,
    /// Keep the old signature beside the new one: RAUC up to 1.15.2 and slotmgr refuse such a bundle
    #[arg(long)]
    pub append: bool,
    /// The bundle
    pub inbundle: PathBuf,
    /// The bundle to create
    pub outbundle: PathBuf,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `convert …`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ConvertArguments {
    /// How the new bundle is signed and checked.
    #[command(flatten)]
    pub signature: NewSignature,
    /// Has no effect: a bundle is opened once, so nobody can exchange it after the check
    #[arg(long)]
    pub trust_environment: bool,
    /// Do not check the old signature
    #[arg(long)]
    pub no_verify: bool,
    /// Leave the images of this slot class as they are; may be given several times
    #[arg(long, value_name = "SLOTCLASS")]
    pub ignore_image: Vec<String>,
    /// Further arguments for mksquashfs, quoted like in a shell
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub mksquashfs_args: Option<String>,
    /// Arguments as casync has them: --chunk-size=, --digest=, --compression=, --with=unix
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub casync_args: Option<String>,
    /// The bundle
    pub inbundle: PathBuf,
    /// The bundle to create; the chunks go into a directory beside it that ends in .castr
    pub outbundle: PathBuf,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `encrypt …`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct EncryptArguments {
    /// PEM file with certificates of those who may read the bundle; may be given several times
    #[arg(long, value_name = "PEMFILE")]
    pub to: Vec<PathBuf>,
    /// The crypt bundle
    pub inbundle: PathBuf,
    /// The bundle to create
    pub outbundle: PathBuf,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `replace-signature …`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReplaceSignatureArguments {
    /// Check the new bundle with this keyring instead of that for the old one
    #[arg(long, value_name = "PEMFILE")]
    pub signing_keyring: Option<PathBuf>,
    /// Has no effect: a bundle is opened once, so nobody can exchange it after the check
    #[arg(long)]
    pub trust_environment: bool,
    /// Do not check the signature
    #[arg(long)]
    pub no_verify: bool,
    /// The bundle
    pub inbundle: PathBuf,
    /// The file with the new signature
    pub inputsig: PathBuf,
    /// The bundle to create
    pub outbundle: PathBuf,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `extract …` and `extract-signature …`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ExtractArguments {
    /// Has no effect: a bundle is opened once, so nobody can exchange it after the check
    #[arg(long)]
    pub trust_environment: bool,
    /// The bundle
    pub bundlename: PathBuf,
    /// What to write: a directory, or the file for the signature
    pub output: PathBuf,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `info …`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InfoArguments {
    /// Do not check the signature: never decide by what comes out
    #[arg(long)]
    pub no_verify: bool,
    /// Accept certificates that have expired
    #[arg(long)]
    pub no_check_time: bool,
    /// readable, shell, json, json-pretty or json-2
    #[arg(long, value_name = "FORMAT", default_value = "readable")]
    pub output_format: String,
    /// Show the certificates in the signature as well
    #[arg(long)]
    pub dump_cert: bool,
    /// Show for whom the bundle is encrypted as well
    #[arg(long)]
    pub dump_recipients: bool,
    /// The bundle
    pub file: PathBuf,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}
