//! For people.

use std::fmt::Write as _;

use bundle_format::cms::Recipient;
use bundle_format::manifest::{Format, Image, Manifest};
use bundle_format::{Envelope, encode_hex};
use bundle_tool::info::Info;

use super::{Style, bundle_hooks, image_hooks, size};

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const NORMAL: &str = "\x1b[0m";

/// Everything but the certificates.
pub(super) fn manifest(info: &Info, style: Style) -> String {
    let mut text = String::new();
    let manifest = &info.manifest;
    let update = &manifest.update;
    // What a printf of nothing gives; scripts look for it.
    let or_null = |value: &Option<String>| value.clone().unwrap_or_else(|| "(null)".to_owned());
    let hooks = bundle_hooks(manifest).join(" ");
    // Writing into a String cannot fail.
    let _ = writeln!(text, "Compatible: \t'{}'", update.compatible);
    let _ = writeln!(text, "Version:    \t'{}'", or_null(&update.version));
    let _ = writeln!(text, "Description:\t'{}'", or_null(&update.description));
    let _ = writeln!(text, "Build:      \t'{}'", or_null(&update.build));
    let _ = writeln!(text, "Hooks:      \t'{hooks}'");
    if let Some(version) = &update.min_rauc_version {
        let _ = writeln!(text, "Needs RAUC: \t'{version}'");
    }
    format(&mut text, info, style);
    let count = manifest.images.len();
    let (plural, colon) = (
        if count == 1 { "" } else { "s" },
        if count > 0 { ":" } else { "" },
    );
    let _ = writeln!(text, "\n{count} Image{plural}{colon}");
    for entry in &manifest.images {
        image(&mut text, entry, style);
    }
    meta(&mut text, manifest);
    text
}

fn format(text: &mut String, info: &Info, style: Style) {
    let bundle = &info.manifest.bundle;
    let (color, word) = match info.envelope {
        Envelope::Opened => (GREEN, "encrypted"),
        Envelope::None => (YELLOW, "unencrypted"),
    };
    let note = match (bundle.format, style) {
        (Format::Crypt, Style::Bold) => format!("{BOLD}{color} [{word} CMS]{NORMAL}"),
        (Format::Crypt, Style::Plain) => format!(" [{word} CMS]"),
        _ => String::new(),
    };
    let _ = writeln!(text, "Bundle Format: \t{}{note}", bundle.format.name());
    if bundle.format == Format::Crypt {
        let _ = writeln!(text, "  Crypt Key: \t'<hidden>'");
    }
    if let Some(verity) = &bundle.verity {
        let _ = writeln!(text, "  Verity Salt: \t'{}'", encode_hex(&verity.salt));
        let _ = writeln!(text, "  Verity Hash: \t'{}'", verity.root);
        let _ = writeln!(text, "  Verity Size: \t{}", verity.size);
    }
}

fn image(text: &mut String, image: &Image, style: Style) {
    let class = &image.class;
    let _ = match style {
        Style::Bold => writeln!(text, "  {BOLD}[{class}]{NORMAL}"),
        Style::Plain => writeln!(text, "  [{class}]"),
    };
    let mut lines = Vec::new();
    let mut line = |label: &str, value: &str| lines.push(format!("\t{label:10} {value}\n"));
    if let Some(variant) = &image.variant {
        line("Variant:", variant);
    }
    if let Some(artifact) = &image.artifact {
        line("Artifact:", artifact);
    }
    match &image.filename {
        Some(name) => {
            line("Filename:", name);
            if let Some(kind) = image.image_type {
                line("Type:", kind.name());
            }
            line(
                "Checksum:",
                &image
                    .sha256
                    .map(|digest| digest.to_string())
                    .unwrap_or_default(),
            );
            line("Size:", &size(image));
        }
        None => lines.push("\t(no image file)\n".to_owned()),
    }
    let mut line = |label: &str, value: &str| lines.push(format!("\t{label:10} {value}\n"));
    line("Hooks:", &image_hooks(image).join(" "));
    let names: Vec<_> = image
        .converted
        .iter()
        .map(|name| format!("'{name}'"))
        .collect();
    let lists = [
        ("Adaptive:", &image.adaptive),
        ("Convert:", &image.convert),
        ("Converted:", &names),
    ];
    for (label, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
        line(label, &items.join(" "));
    }
    text.extend(lines);
}

fn meta(text: &mut String, manifest: &Manifest) {
    if manifest.meta.is_empty() {
        return;
    }
    text.push_str("\nMetadata:\n");
    for group in &manifest.meta {
        let _ = writeln!(text, "  {}:", group.label);
        for (key, value) in &group.entries {
            let _ = writeln!(text, "\t{key}: {value}");
        }
    }
}

/// For whom a bundle is encrypted.
pub(super) fn recipients(all: &[Recipient]) -> String {
    if all.is_empty() {
        return "No recipient data to dump (bundle is not encrypted)\n\n".to_owned();
    }
    let plural = if all.len() == 1 { "" } else { "s" };
    let mut text = format!("{} Recipient{plural}:\n", all.len());
    for (number, recipient) in all.iter().enumerate() {
        let unknown = "unknown";
        let issuer = recipient.issuer.as_deref().unwrap_or(unknown);
        let serial = recipient.serial.as_deref().unwrap_or(unknown);
        let _ = writeln!(text, "  {number:<3} Issuer:    {issuer}");
        let _ = writeln!(text, "      Serial:    0x{serial}");
        let _ = writeln!(text, "      Algorithm: {}", recipient.algorithm);
    }
    text.push('\n');
    text
}
