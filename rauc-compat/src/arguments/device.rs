//! The commands of the device.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Global;

/// What RAUC does on a device.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum DeviceCommand {
    /// Install a bundle into the slots that do not run
    Install(Box<InstallArguments>),
    /// Check a bundle and mount it, to look into it
    Mount(Box<MountArguments>),
    /// Answer on D-Bus until stopped
    Service(Box<ServiceArguments>),
    /// Show the state of the slots, or mark one (mark-good, mark-bad, mark-active)
    Status(Box<StatusArguments>),
    /// Write an image to a slot, without any bundle; it is not started until it is marked
    WriteSlot(Box<WriteSlotArguments>),
}

/// `install …`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct InstallArguments {
    /// Install it although it is for another kind of machine
    #[arg(long)]
    pub ignore_compatible: bool,
    /// Install it although min-bundle-version wants a newer one
    #[arg(long)]
    pub ignore_version_limit: bool,
    /// Name of this installation in records and logs
    #[arg(long, value_name = "UUID")]
    pub transaction_id: Option<String>,
    /// The manifest that the bundle must have, by its SHA-256
    #[arg(long, value_name = "HASH")]
    pub require_manifest_hash: Option<String>,
    /// Has no effect: progress is always shown
    #[arg(long)]
    pub progress: bool,
    /// More arguments for the handler that a bundle brings (without a service)
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub handler_args: Option<String>,
    /// The slot that is running (without a service)
    #[arg(long, value_name = "BOOTNAME")]
    pub override_boot_slot: Option<String>,
    /// Certificate to show to the server
    #[arg(long, value_name = "PEMFILE|PKCS11-URL")]
    pub tls_cert: Option<String>,
    /// Key of that certificate
    #[arg(long, value_name = "PEMFILE|PKCS11-URL")]
    pub tls_key: Option<String>,
    /// Certificates to check the server with
    #[arg(long, value_name = "PEMFILE")]
    pub tls_ca: Option<String>,
    /// Do not check who the server is
    #[arg(long)]
    pub tls_no_verify: bool,
    /// Line to send with each request; may be given several times
    #[arg(short = 'H', long, value_name = "HEADER")]
    pub http_header: Vec<String>,
    /// The bundle: a file or an address
    pub bundle: String,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `status …`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct StatusArguments {
    /// Show what is in the slots as well
    #[arg(long)]
    pub detailed: bool,
    /// readable, shell, json or json-pretty
    #[arg(long, value_name = "FORMAT", default_value = "readable")]
    pub output_format: String,
    /// The slot that is running (without a service)
    #[arg(long, value_name = "BOOTNAME")]
    pub override_boot_slot: Option<String>,
    /// mark-good, mark-bad or mark-active
    pub mark: Option<String>,
    /// booted, other, or the name of a slot
    pub slot: Option<String>,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `service …`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ServiceArguments {
    /// More arguments for the handler that a bundle brings
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub handler_args: Option<String>,
    /// The slot that is running
    #[arg(long, value_name = "BOOTNAME")]
    pub override_boot_slot: Option<String>,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `write-slot …`. What is missing, or too much, is told in RAUC's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct WriteSlotArguments {
    /// What the image is (raw, ext4, tar, …), where the end of its name does not tell
    #[arg(short = 't', long, value_name = "TYPE")]
    pub image_type: Option<String>,
    /// The slot that is running
    #[arg(long, value_name = "BOOTNAME")]
    pub override_boot_slot: Option<String>,
    /// Name of the slot
    pub slotname: Option<String>,
    /// The image: a file
    pub image: Option<PathBuf>,
    /// Nothing else is taken
    #[arg(hide = true)]
    pub excess: Vec<String>,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

/// `mount …`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct MountArguments {
    /// The bundle: a file
    pub bundle: PathBuf,
    /// For every command.
    #[command(flatten)]
    pub global: Global,
}

impl DeviceCommand {
    /// The options that every command has.
    pub fn global(&self) -> &Global {
        match self {
            Self::Install(arguments) => &arguments.global,
            Self::Status(arguments) => &arguments.global,
            Self::Service(arguments) => &arguments.global,
            Self::Mount(arguments) => &arguments.global,
            Self::WriteSlot(arguments) => &arguments.global,
        }
    }
}
