//! All printing: results as text and as JSON.

mod chunks;
mod delta;
mod json;

pub(in crate::cli) use chunks::{
    assembled, chopped, index_fits, indexed, packed, stats, stats_json,
};
pub(in crate::cli) use delta::{delta_applied, delta_created, delta_stats, delta_stats_json};
pub(in crate::cli) use json::info_json;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use bundle_format::manifest::{Format, Image};
use bundle_format::{Envelope, Manifest, Signer};

use crate::convert::Converted;
use crate::create::{CreateRequest, Created, Signature};
use crate::image::MadeImage;
use crate::info::{Info, Proof};
use crate::keys::DemoPki;
use crate::output::OutputError;
use crate::unsigned::Signed;
use crate::verify::Verified;

/// Prints a result. A closed pipe is not an error worth a message.
pub(in crate::cli) fn print(text: &str) -> ExitCode {
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
pub(in crate::cli) fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    let exists = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(OutputError::Exists { .. }))
    };
    if error.chain().any(exists) {
        eprintln!("  next: give another name, or --force to replace it");
    }
}

pub(in crate::cli) fn image(path: &Path, made: &MadeImage) -> String {
    let mut text = Text::default();
    text.line("Image", path.display());
    text.line("Size", format!("{} ({} bytes)", size(made.len), made.len));
    let blocks = count(made.blocks, "block");
    text.line("Content", format!("{} in {blocks}", size(made.content)));
    text.0
}

pub(in crate::cli) fn demo_keys(directory: &Path, pki: &DemoPki) -> String {
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

pub(in crate::cli) fn created(request: &CreateRequest, created: &Created) -> String {
    let path = &request.output.path;
    let mut text = Text::default();
    text.line("Created", path.display());
    text.manifest(&created.manifest);
    text.line("Size", size(created.size));
    text.line("Manifest hash", created.manifest_hash);
    match &request.signature {
        Signature::Later => {
            let _ = writeln!(
                text.0,
                "NOT SIGNED yet. Next: bundle-tool sign --cert … --key … {} OUTPUT",
                path.display()
            );
        }
        Signature::By { recipients, .. } => {
            text.0
                .push_str("The bundle is signed and passed its own check.\n");
            if request.format == Format::Crypt && recipients.is_empty() {
                let _ = writeln!(
                    text.0,
                    "NOT ENCRYPTED yet, so no device accepts it. \
                     Next: bundle-tool encrypt --keyring … --to PEM {} OUTPUT",
                    path.display()
                );
            }
        }
    }
    text.0
}

pub(in crate::cli) fn signed(path: &Path, signed: &Signed) -> String {
    let mut text = Text::default();
    text.line("Signed", path.display());
    text.manifest(&signed.manifest);
    text.line("Size", size(signed.size));
    text.line("Manifest hash", signed.manifest_hash);
    text.0
        .push_str("The bundle is signed and passed its own check.\n");
    text.0
}

pub(in crate::cli) fn converted(path: &Path, converted: &Converted) -> String {
    let mut text = Text::default();
    text.line("Converted", path.display());
    text.manifest(&converted.bundle.manifest);
    text.line("Size", size(converted.bundle.size));
    text.line("Manifest hash", converted.bundle.manifest_hash);
    text.line(
        "Store",
        format!(
            "{} ({} added)",
            converted.store.display(),
            size(converted.added)
        ),
    );
    let images = count(converted.images, "image");
    let _ = writeln!(
        text.0,
        "{images} chunked. Next: publish bundle and store side by side.",
    );
    text.0
}

pub(in crate::cli) fn wrote(what: &str, path: &Path) -> String {
    format!("Wrote the {what} to {}.\n", path.display())
}

pub(in crate::cli) fn encrypted(path: &Path, recipients: usize) -> String {
    format!(
        "Wrote {}: {} can open it.\n",
        path.display(),
        count(recipients, "recipient")
    )
}

pub(in crate::cli) fn extracted(directory: &Path, files: usize) -> String {
    let files = if files == 1 {
        "1 entry".to_owned()
    } else {
        format!("{files} entries")
    };
    format!("Extracted {files} into {}.\n", directory.display())
}

pub(in crate::cli) fn verified(path: &Path, verified: &Verified) -> String {
    let mut text = Text::default();
    text.line("Bundle", path.display());
    text.manifest(verified.manifest.manifest());
    text.signers(verified.manifest.signers());
    text.line("Manifest hash", verified.manifest.hash());
    let payload = size(verified.payload);
    let _ = match verified.images {
        Some(images) => writeln!(
            text.0,
            "Good: the signature is trusted, all {payload} of payload and {} match it.",
            count(images, "image"),
        ),
        None => writeln!(
            text.0,
            "Good: the signature is trusted, and all {payload} of payload match it. The images were \
             not unpacked.",
        ),
    };
    text.0
}

pub(in crate::cli) fn info(info: &Info) -> String {
    let mut text = Text::default();
    text.line(
        "Bundle",
        format!("{} ({})", info.path.display(), size(info.size)),
    );
    text.manifest(&info.manifest);
    if info.manifest.bundle.format == Format::Crypt {
        text.line(
            "Encrypted",
            if info.envelope == Envelope::Opened {
                "yes"
            } else {
                "NOT YET"
            },
        );
    }
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
