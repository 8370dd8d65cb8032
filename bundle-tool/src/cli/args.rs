//! The arguments, as a structure that tests can compare.

use std::path::PathBuf;

use anyhow::Result;
use bundle_format::Trust;
use bundle_format::cms::{Purpose, Revocation};
use bundle_format::manifest::Format;
use clap::{Parser, Subcommand};

use crate::create::ImageSource;

/// Builds, signs and inspects update bundles.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "bundle-tool", version, after_help = EXAMPLE)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLE: &str = "\
Example, from nothing to a checked bundle:
  bundle-tool keys demo pki
  bundle-tool create --cert pki/signer.cert.pem --key pki/signer.key.pem \\
      --compatible my-board --version 1.0 --image rootfs=rootfs.ext4 update.raucb
  bundle-tool info --keyring pki/keyring.pem update.raucb
  bundle-tool verify --keyring pki/keyring.pem update.raucb

Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// The verbs.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Make keys to try things with
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Create a signed bundle
    Create(Box<CreateArgs>),
    /// Show what a bundle says about itself
    Info(InfoArgs),
    /// Check signature, every block and every image of a bundle
    Verify(VerifyArgs),
}

/// `keys …`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KeysCommand {
    /// Make a root and a signer in DIR: for demos, not for products
    Demo {
        /// Directory for the keys; created if it is missing
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Replace keys that are there already
        #[arg(long)]
        force: bool,
    },
}

/// `create …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = CREATE_EXAMPLE)]
pub struct CreateArgs {
    /// PEM file with the signer's certificate
    #[arg(long, value_name = "PEM")]
    pub cert: PathBuf,
    /// PEM file with the signer's key (pass phrase in RAUC_KEY_PASSPHRASE)
    #[arg(long, value_name = "PEM")]
    pub key: PathBuf,
    /// PEM file with certificates between signer and root; may be given several times
    #[arg(long, value_name = "PEM")]
    pub intermediate: Vec<PathBuf>,
    /// Check the finished bundle with this keyring, as a device would
    #[arg(long, value_name = "PEM")]
    pub keyring: Option<PathBuf>,
    /// How the payload is protected
    #[arg(long, default_value = "verity", value_parser = parse_format, value_name = "FORMAT")]
    pub format: Format,
    /// The kind of device that this is for
    #[arg(long, value_name = "TEXT", requires = "image")]
    pub compatible: Option<String>,
    /// Version of the system
    #[arg(long, value_name = "TEXT", requires = "image")]
    pub version: Option<String>,
    /// Description for people
    #[arg(long, value_name = "TEXT", requires = "image")]
    pub description: Option<String>,
    /// Build number or date
    #[arg(long, value_name = "TEXT", requires = "image")]
    pub build: Option<String>,
    /// An image for the slots of a class, like rootfs=rootfs.ext4; may be given several times
    #[arg(long, value_name = "CLASS[.VARIANT]=FILE", value_parser = parse_image, requires = "compatible")]
    pub image: Vec<ImageSource>,
    /// Salt of the hash tree (64 hex digits) instead of a random one, for reproducible bundles
    #[arg(long, value_name = "HEX", value_parser = parse_salt)]
    pub salt: Option<[u8; 32]>,
    /// Compressor of the payload: gzip, xz or zstd
    #[arg(long, value_name = "NAME", value_parser = ["gzip", "xz", "zstd"])]
    pub compressor: Option<String>,
    /// Replace OUTPUT if it is there already
    #[arg(long)]
    pub force: bool,
    /// INPUT_DIR with manifest.raucm and images, then OUTPUT; with --image, only OUTPUT
    #[arg(required = true, num_args = 1..=2, value_names = ["INPUT_DIR", "OUTPUT"])]
    pub paths: Vec<PathBuf>,
}

const CREATE_EXAMPLE: &str = "\
Straight from image files (the manifest is made):
  bundle-tool create --cert signer.cert.pem --key signer.key.pem \\
      --compatible my-board --version 1.0 --image rootfs=rootfs.ext4 update.raucb

From a directory with a manifest.raucm and the files that it names:
  bundle-tool create --cert signer.cert.pem --key signer.key.pem input/ update.raucb

With the same input, key, --salt and SOURCE_DATE_EPOCH, RSA and Ed25519 keys give the same
bundle byte for byte; ECDSA signatures hold a random number.";

/// `info …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct InfoArgs {
    /// Whom to trust.
    #[command(flatten)]
    pub trust: OptionalTrustArgs,
    /// Show it without checking the signature: never decide by what this shows
    #[arg(long, conflicts_with = "keyring")]
    pub no_verify: bool,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// The bundle
    pub bundle: PathBuf,
}

/// `verify …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct VerifyArgs {
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// The bundle
    pub bundle: PathBuf,
}

/// Whom to trust.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct TrustArgs {
    /// PEM file with the certificates to trust
    #[arg(long, value_name = "PEM")]
    pub keyring: PathBuf,
    /// How to check.
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// Whom to trust, where that may be nobody.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct OptionalTrustArgs {
    /// PEM file with the certificates to trust
    #[arg(long, value_name = "PEM", required_unless_present = "no_verify")]
    pub keyring: Option<PathBuf>,
    /// How to check.
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// How certificates are checked.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct RuleArgs {
    /// What the signer's certificate has to be made for
    #[arg(long, value_name = "PURPOSE", value_parser = parse_purpose)]
    pub check_purpose: Option<Purpose>,
    /// Every certificate needs a revocation list in the keyring that does not name it
    #[arg(long)]
    pub check_crl: bool,
    /// Trust certificates of the keyring that are not self-signed
    #[arg(long)]
    pub partial_chain: bool,
}

impl TrustArgs {
    /// Reads the keyring.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn load(&self) -> Result<Trust> {
        Ok(self.rules.apply(Trust::from_keyring_file(&self.keyring)?))
    }
}

impl InfoArgs {
    /// Reads the keyring.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn trust(&self) -> Result<Trust> {
        let missing = || super::UsageError("give --keyring PEM or --no-verify".to_owned());
        let keyring = self.trust.keyring.as_ref().ok_or_else(missing)?;
        Ok(self.trust.rules.apply(Trust::from_keyring_file(keyring)?))
    }
}

impl RuleArgs {
    fn apply(&self, trust: Trust) -> Trust {
        let trust = trust.with_purpose(self.check_purpose.unwrap_or_default());
        let trust = if self.partial_chain {
            trust.with_partial_chain()
        } else {
            trust
        };
        if self.check_crl {
            trust.with_revocation(Revocation::CheckAll)
        } else {
            trust
        }
    }
}

fn parse_format(text: &str) -> Result<Format, String> {
    match text {
        "verity" => Ok(Format::Verity),
        "crypt" => Ok(Format::Crypt),
        "plain" => Ok(Format::Plain),
        _ => Err("use verity, crypt or plain".to_owned()),
    }
}

fn parse_purpose(text: &str) -> Result<Purpose, String> {
    Purpose::from_name(text).ok_or_else(|| {
        "use any, smimesign, codesign, smimeencrypt, sslclient, sslserver or nssslserver".to_owned()
    })
}

fn parse_salt(text: &str) -> Result<[u8; 32], String> {
    bundle_format::decode_hex(text).map_err(|error| error.to_string())
}

fn parse_image(text: &str) -> Result<ImageSource, String> {
    let help = "use CLASS=FILE, like rootfs=rootfs.ext4";
    let (label, path) = text.split_once('=').ok_or(help)?;
    let (class, variant) = match label.split_once('.') {
        Some((class, variant)) => (class, Some(variant.to_owned())),
        None => (label, None),
    };
    if class.is_empty() || path.is_empty() || variant.as_deref() == Some("") {
        return Err(help.to_owned());
    }
    Ok(ImageSource {
        class: class.to_owned(),
        variant,
        path: path.into(),
    })
}
