//! The arguments, as a structure that tests can compare.

mod chunks;
mod delta;
mod groups;
mod image;
mod parse;

pub use chunks::{
    AssembleArgs, ChopArgs, ImageArgs, IndexArgs, PackArgs, StatsArgs, StoringArgs, ThreadArgs,
    VerifyIndexArgs,
};
pub use delta::{DeltaApplyArgs, DeltaCommand, DeltaCreateArgs, DeltaStatsArgs};
pub use groups::{
    CheckArgs, Checked, DecryptArgs, ExpiryArgs, ForceArgs, RecipientArgs, RuleArgs, SignerArgs,
};
pub use image::MakeImageArgs;

use std::path::PathBuf;

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
    /// Create a bundle
    Create(Box<CreateArgs>),
    /// Sign an unsigned bundle (made by create --unsigned)
    Sign(SignArgs),
    /// Replace the signature of a bundle by one of your own
    Resign(Box<ResignArgs>),
    /// Encrypt a crypt bundle to those who may read it
    Encrypt(EncryptArgs),
    /// Show what a bundle says about itself
    Info(InfoArgs),
    /// Check signature, every block and every image of a bundle
    Verify(VerifyArgs),
    /// Move the images of a bundle into a casync chunk store beside it
    Convert(Box<ConvertArgs>),
    /// Take the files out of a bundle
    Extract(ExtractArgs),
    /// Write the signature of a bundle into a file
    ExtractSignature(ExtractSignatureArgs),
    /// Put a signature from a file into a bundle
    ReplaceSignature(ReplaceSignatureArgs),
    /// Make casync's index of an image (.caibx), and store its chunks
    Index(Box<IndexArgs>),
    /// Store the chunks of an image by an index that exists already
    Chop(Box<ChopArgs>),
    /// Put an image together from its index, stores and seeds
    Assemble(AssembleArgs),
    /// Compare every chunk of an image with an index
    VerifyIndex(Box<VerifyIndexArgs>),
    /// Put all chunks of an image into one file, for few and large requests
    Pack(PackArgs),
    /// Show an index in numbers, and what an update to it fetches
    Stats(StatsArgs),
    /// Make a squashfs of a directory, or another one of a squashfs: such that deltas are small
    Image(MakeImageArgs),
    /// Make and apply deltas: smaller than chunks
    #[command(subcommand)]
    Delta(DeltaCommand),
    /// Print the script that completes verbs and options in a shell: bash, zsh, fish, elvish, powershell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
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
    /// PEM file with the signer's certificate, or its pkcs11: URI
    #[arg(
        long,
        value_name = "PEM|URI",
        requires = "key",
        required_unless_present = "unsigned"
    )]
    pub cert: Option<PathBuf>,
    /// PEM file with the signer's key (pass phrase in RAUC_KEY_PASSPHRASE), or its pkcs11: URI
    /// (PIN in RAUC_PKCS11_PIN, module in RAUC_PKCS11_MODULE)
    #[arg(long, value_name = "PEM|URI", requires = "cert")]
    pub key: Option<PathBuf>,
    /// PEM file (or pkcs11: URI) with certificates between signer and root; may be given several
    /// times
    #[arg(long, value_name = "PEM|URI", requires = "cert")]
    pub intermediate: Vec<PathBuf>,
    /// Whether certificates have to be valid.
    #[command(flatten)]
    pub expiry: ExpiryArgs,
    /// Do not sign: `bundle-tool sign` does that elsewhere
    #[arg(long, conflicts_with_all = ["cert", "keyring", "to"])]
    pub unsigned: bool,
    /// Check the finished bundle with this keyring, as a device would
    #[arg(long, value_name = "PEM")]
    pub keyring: Option<PathBuf>,
    /// To whom it is encrypted.
    #[command(flatten)]
    pub recipients: RecipientArgs,
    /// How the payload is protected: verity, crypt or plain (plain is for old devices)
    #[arg(long, default_value = "verity", value_parser = parse::format, value_name = "FORMAT")]
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
    #[arg(long, value_name = "CLASS[.VARIANT]=FILE", value_parser = parse::image, requires = "compatible")]
    pub image: Vec<ImageSource>,
    /// Salt of the hash tree (64 hex digits), instead of a random one or, with SOURCE_DATE_EPOCH,
    /// one made from the manifest
    #[arg(long, value_name = "HEX", value_parser = parse::salt)]
    pub salt: Option<[u8; 32]>,
    /// Compressor of the payload: gzip, xz or zstd
    #[arg(long, value_name = "NAME", value_parser = ["gzip", "xz", "zstd"])]
    pub compressor: Option<String>,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
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

Encrypted, for two groups of devices:
  bundle-tool create --format crypt --to fleet1.pem --to fleet2.pem … update.raucb

With a key on a token (smart card, HSM), through the PKCS#11 module of its maker:
  export RAUC_PKCS11_MODULE=/usr/lib/softhsm/libsofthsm2.so RAUC_PKCS11_PIN=…
  bundle-tool create --cert signer.cert.pem --key 'pkcs11:token=Release;object=signer' …

With the same input, key and SOURCE_DATE_EPOCH, RSA and Ed25519 keys give the same bundle byte for
byte; ECDSA signatures hold a random number, and so do encrypted bundles. RAUC devices
accept RSA and ECDSA; Ed25519 is for devices with slotmgr only.";

/// `sign …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = SIGN_EXAMPLE)]
pub struct SignArgs {
    /// Who signs.
    #[command(flatten)]
    pub signer: SignerArgs,
    /// Whether certificates have to be valid.
    #[command(flatten)]
    pub expiry: ExpiryArgs,
    /// Check the finished bundle with this keyring, as a device would
    #[arg(long, value_name = "PEM")]
    pub keyring: Option<PathBuf>,
    /// To whom it is encrypted.
    #[command(flatten)]
    pub recipients: RecipientArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The unsigned bundle
    pub input: PathBuf,
    /// The bundle to create
    pub output: PathBuf,
}

const SIGN_EXAMPLE: &str = "\
Build in one place, sign in another:
  bundle-tool create --unsigned input/ update.unsigned
  bundle-tool sign --cert signer.cert.pem --key signer.key.pem update.unsigned update.raucb

Or with any other program that makes a CMS signature of the manifest:
  bundle-tool extract-signature --no-verify update.unsigned manifest.txt
  openssl cms -sign -binary -nodetach -nosmimecap -outform DER -signer … -in manifest.txt -out sig
  bundle-tool replace-signature --keyring keyring.pem update.unsigned sig update.raucb";

/// `resign …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ResignArgs {
    /// Who signs.
    #[command(flatten)]
    pub signer: SignerArgs,
    /// Whom to trust with the old signature.
    #[command(flatten)]
    pub check: CheckArgs,
    /// Check the new signature with this keyring
    #[arg(long, value_name = "PEM")]
    pub signing_keyring: Option<PathBuf>,
    /// Keep the old signature beside the new one: slotmgr and RAUC up to 1.15.2 refuse such a
    /// bundle, newer RAUC wants to trust both signers
    #[arg(long)]
    pub append: bool,
    /// To whom it is encrypted.
    #[command(flatten)]
    pub recipients: RecipientArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The bundle
    pub input: PathBuf,
    /// The bundle to create
    pub output: PathBuf,
}

/// `encrypt …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct EncryptArgs {
    /// Whom to trust.
    #[command(flatten)]
    pub check: CheckArgs,
    /// To whom it is encrypted.
    #[command(flatten)]
    pub recipients: RecipientArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The crypt bundle
    pub input: PathBuf,
    /// The bundle to create
    pub output: PathBuf,
}

/// `info …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct InfoArgs {
    /// Whom to trust.
    #[command(flatten)]
    pub check: CheckArgs,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// The bundle
    pub bundle: PathBuf,
}

/// `verify …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct VerifyArgs {
    /// PEM file with the certificates to trust, or a directory of them (openssl rehash)
    #[arg(long, value_name = "PEM")]
    pub keyring: PathBuf,
    /// Check signature and blocks, but do not unpack the images to compare their digests
    #[arg(long)]
    pub payload_only: bool,
    /// How to check.
    #[command(flatten)]
    pub rules: RuleArgs,
    /// How to open.
    #[command(flatten)]
    pub decrypt: DecryptArgs,
    /// The bundle
    pub bundle: PathBuf,
}

/// `convert …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = CONVERT_EXAMPLE)]
pub struct ConvertArgs {
    /// Who signs.
    #[command(flatten)]
    pub signer: SignerArgs,
    /// Whom to trust with the old signature.
    #[command(flatten)]
    pub check: CheckArgs,
    /// Check the new bundle with this keyring
    #[arg(long, value_name = "PEM")]
    pub signing_keyring: Option<PathBuf>,
    /// Leave the images of this slot class as they are; may be given several times
    #[arg(long, value_name = "CLASS")]
    pub ignore_image: Vec<String>,
    /// How large chunks are in bytes: AVG or MIN:AVG:MAX
    #[arg(long, value_name = "SIZES", default_value = "65536", value_parser = crate::convert::sizes)]
    pub chunk_size: casync::ChunkSizes,
    /// What names chunks: sha512-256 or sha256
    #[arg(long, value_name = "NAME", default_value = "sha512-256", value_parser = crate::convert::digest)]
    pub digest: casync::chunk::DigestKind,
    /// How chunks are packed: zstd, xz or gzip
    #[arg(long, value_name = "NAME", default_value = "zstd", value_parser = crate::convert::packing)]
    pub compression: casync::codec::Packing,
    /// To whom it is encrypted.
    #[command(flatten)]
    pub recipients: RecipientArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The bundle
    pub input: PathBuf,
    /// The bundle to create; the chunks go into a directory beside it that ends in .castr
    pub output: PathBuf,
}

const CONVERT_EXAMPLE: &str = "\
Example:
  bundle-tool convert --keyring keyring.pem --cert signer.cert.pem --key signer.key.pem \\
      update.raucb update-chunked.raucb

writes update-chunked.raucb and the directory update-chunked.castr. Put both on the web server, side
by side: devices look for the chunks there. Tar images become archives of casync (.caidx), without
extended attributes; all others are cut as they are (.caibx).";

/// `extract …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ExtractArgs {
    /// PEM file with the certificates to trust, or a directory of them (openssl rehash)
    #[arg(long, value_name = "PEM")]
    pub keyring: PathBuf,
    /// How to check.
    #[command(flatten)]
    pub rules: RuleArgs,
    /// How to open.
    #[command(flatten)]
    pub decrypt: DecryptArgs,
    /// The bundle
    pub bundle: PathBuf,
    /// The directory to create
    pub directory: PathBuf,
}

/// `extract-signature …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ExtractSignatureArgs {
    /// Whom to trust.
    #[command(flatten)]
    pub check: CheckArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The bundle
    pub input: PathBuf,
    /// The file to create
    pub output: PathBuf,
}

/// `replace-signature …`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ReplaceSignatureArgs {
    /// Whom to trust with the new signature.
    #[command(flatten)]
    pub check: CheckArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub force: ForceArgs,
    /// The bundle (or unsigned bundle)
    pub input: PathBuf,
    /// The file with the new signature
    pub signature: PathBuf,
    /// The bundle to create
    pub output: PathBuf,
}
