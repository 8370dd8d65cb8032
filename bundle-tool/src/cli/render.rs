//! All printing: results as text and as JSON.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use bundle_format::manifest::Image;
use bundle_format::{Manifest, Signer};
use serde::Serialize;

use crate::create::Created;
use crate::info::{Info, Proof};
use crate::keys::DemoPki;
use crate::verify::Verified;

/// Version of the JSON: raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// Prints a result. A closed pipe is not an error worth a message.
pub(super) fn print(text: &str) -> ExitCode {
    match std::io::stdout()
        .write_all(text.as_bytes())
        .and_then(|()| std::io::stdout().flush())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints an error and what caused it.
pub(super) fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}

pub(super) fn demo_keys(directory: &Path, pki: &DemoPki) -> String {
    format!(
        "Made demo keys in {}. They are NOT FOR PRODUCTS.\n\
         Signer:  {} (key: {})\n\
         Keyring: {}  (goes onto the device)\n\
         Next:    bundle-tool create --cert {} --key {} …\n",
        directory.display(),
        pki.signer_cert.display(),
        pki.signer_key.display(),
        pki.keyring.display(),
        pki.signer_cert.display(),
        pki.signer_key.display(),
    )
}

pub(super) fn created(path: &Path, created: &Created) -> String {
    let mut text = Text::default();
    text.line("Created", path.display());
    text.manifest(&created.manifest);
    text.line("Size", size(created.size));
    text.line("Manifest hash", created.manifest_hash);
    text.0
        .push_str("The bundle is signed and passed its own check.\n");
    text.0
}

pub(super) fn verified(path: &Path, verified: &Verified) -> String {
    let mut text = Text::default();
    text.line("Bundle", path.display());
    text.manifest(verified.manifest.manifest());
    text.signers(verified.manifest.signers());
    text.line("Manifest hash", verified.hash());
    let _ = writeln!(
        text.0,
        "Good: the signature is trusted, all {} of payload and {} match it.",
        size(verified.payload),
        count(verified.images, "image"),
    );
    text.0
}

pub(super) fn info(info: &Info) -> String {
    let mut text = Text::default();
    text.line(
        "Bundle",
        format!("{} ({})", info.path.display(), size(info.size)),
    );
    text.manifest(&info.manifest);
    match &info.proof {
        Proof::Verified { hash, signers, .. } => {
            text.signers(signers);
            text.line("Manifest hash", hash);
            text.0
                .push_str("The signature is trusted. (verify also checks the whole payload.)\n");
        }
        Proof::Unverified => text
            .0
            .push_str("NOT VERIFIED: anybody may have written this.\n"),
    }
    text.0
}

/// Aligned lines.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, label: &str, value: impl std::fmt::Display) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "{:14} {value}", format!("{label}:"));
    }

    fn manifest(&mut self, manifest: &Manifest) {
        self.line("Compatible", &manifest.update.compatible);
        let update = &manifest.update;
        let optional = [
            ("Version", &update.version),
            ("Description", &update.description),
            ("Build", &update.build),
            ("Needs RAUC", &update.min_rauc_version),
        ];
        for (label, value) in optional {
            if let Some(value) = value {
                self.line(label, value.escape_debug());
            }
        }
        self.line("Format", manifest.bundle.format.name());
        for image in &manifest.images {
            self.line("Image", image_line(image));
        }
    }

    fn signers(&mut self, signers: &[Signer]) {
        if let Some(signer) = signers.first() {
            self.line(
                "Signed by",
                format!("{} (valid until {})", signer.subject, signer.not_after),
            );
        }
        if let [_, .., root] = signers {
            self.line("Trusted by", &root.subject);
        }
    }
}

fn image_line(image: &Image) -> String {
    let mut line = image.label();
    match (&image.filename, image.kind()) {
        (Some(name), Some(kind)) => {
            let _ = write!(line, " = {name} ({})", kind.name());
        }
        (Some(name), None) => {
            let _ = write!(line, " = {name}");
        }
        (None, _) => line.push_str(" (no file)"),
    }
    if let Some(bytes) = image.size {
        let _ = write!(line, ", {}", size(bytes));
    }
    line
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

fn count(number: usize, what: &str) -> String {
    if number == 1 {
        format!("{number} {what}")
    } else {
        format!("{number} {what}s")
    }
}

/// Everything as one JSON object.
pub(super) fn info_json(info: &Info) -> Result<String> {
    let mut text = serde_json::to_string_pretty(&InfoJson::of(info))?;
    text.push('\n');
    Ok(text)
}

#[derive(Serialize)]
struct InfoJson<'a> {
    schema: u32,
    path: String,
    size: u64,
    signature_size: u64,
    verified: bool,
    manifest_hash: Option<String>,
    signing_time: Option<i64>,
    signers: Vec<SignerJson<'a>>,
    compatible: &'a str,
    version: Option<&'a str>,
    description: Option<&'a str>,
    build: Option<&'a str>,
    min_rauc_version: Option<&'a str>,
    format: &'static str,
    images: Vec<ImageJson<'a>>,
    meta: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct SignerJson<'a> {
    subject: &'a str,
    issuer: &'a str,
    fingerprint: String,
    not_before: &'a str,
    not_after: &'a str,
}

#[derive(Serialize)]
struct ImageJson<'a> {
    class: &'a str,
    variant: Option<&'a str>,
    artifact: Option<&'a str>,
    filename: Option<&'a str>,
    r#type: Option<&'static str>,
    size: Option<u64>,
    sha256: Option<String>,
    hooks: Vec<&'static str>,
    adaptive: &'a [String],
}

impl<'a> InfoJson<'a> {
    fn of(info: &'a Info) -> Self {
        let update = &info.manifest.update;
        let (hash, signers, signing_time) = match &info.proof {
            Proof::Verified {
                hash,
                signers,
                signing_time,
            } => (Some(hash.to_string()), signers.as_slice(), *signing_time),
            Proof::Unverified => (None, &[][..], None),
        };
        Self {
            schema: SCHEMA,
            path: info.path.display().to_string(),
            size: info.size,
            signature_size: info.signature,
            verified: hash.is_some(),
            manifest_hash: hash,
            signing_time,
            signers: signers.iter().map(SignerJson::of).collect(),
            compatible: &update.compatible,
            version: update.version.as_deref(),
            description: update.description.as_deref(),
            build: update.build.as_deref(),
            min_rauc_version: update.min_rauc_version.as_deref(),
            format: info.manifest.bundle.format.name(),
            images: info.manifest.images.iter().map(ImageJson::of).collect(),
            meta: meta(&info.manifest),
        }
    }
}

fn meta(manifest: &Manifest) -> serde_json::Map<String, serde_json::Value> {
    let group = |entries: &[(String, String)]| {
        entries
            .iter()
            .map(|(key, value)| (key.clone(), serde_json::Value::from(value.as_str())))
            .collect()
    };
    manifest
        .meta
        .iter()
        .map(|meta| (meta.label.clone(), group(&meta.entries)))
        .collect()
}

impl<'a> SignerJson<'a> {
    fn of(signer: &'a Signer) -> Self {
        Self {
            subject: &signer.subject,
            issuer: &signer.issuer,
            fingerprint: signer.fingerprint.to_string(),
            not_before: &signer.not_before,
            not_after: &signer.not_after,
        }
    }
}

impl<'a> ImageJson<'a> {
    fn of(image: &'a Image) -> Self {
        Self {
            class: &image.class,
            variant: image.variant.as_deref(),
            artifact: image.artifact.as_deref(),
            filename: image.filename.as_deref(),
            r#type: image.kind().map(bundle_format::manifest::ImageType::name),
            size: image.size,
            sha256: image.sha256.map(|digest| digest.to_string()),
            hooks: image.hooks.iter().map(|hook| hook.name()).collect(),
            adaptive: &image.adaptive,
        }
    }
}
