//! Variables for a shell to `eval`.

use std::fmt::Write as _;

use bundle_format::manifest::Image;
use bundle_tool::info::Info;

use super::{bundle_hooks, image_hooks, size};

/// One line per variable: those of RAUC 1.15, numbers without quotation marks as in 1.8.
pub(super) fn manifest(info: &Info) -> String {
    let manifest = &info.manifest;
    let mut text = Text(String::new());
    let update = &manifest.update;
    let or_empty = |value: &Option<String>| value.clone().unwrap_or_default();
    text.quoted("RAUC_MF_COMPATIBLE", &update.compatible);
    text.quoted("RAUC_MF_VERSION", &or_empty(&update.version));
    text.quoted("RAUC_MF_DESCRIPTION", &or_empty(&update.description));
    text.quoted("RAUC_MF_BUILD", &or_empty(&update.build));
    let hash = info.proof.hash().map(|hash| hash.to_string());
    text.quoted("RAUC_MF_HASH", &hash.unwrap_or_default());
    text.quoted("RAUC_MF_FORMAT", manifest.bundle.format.name());
    text.number("RAUC_MF_IMAGES", &manifest.images.len().to_string());
    text.quoted("RAUC_MF_HOOKS", &bundle_hooks(manifest).join(" "));
    for group in &manifest.meta {
        for (key, value) in &group.entries {
            text.quoted(
                &format!("RAUC_META_{}_{}", part(&group.label), part(key)),
                value,
            );
        }
    }
    for (number, image) in manifest.images.iter().enumerate() {
        text.image(number, image);
    }
    text.0
}

/// A part of a variable's name.
fn part(text: &str) -> String {
    text.to_ascii_uppercase().replace('-', "_")
}

/// Variables, one per line.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    /// The text of all of them.
    pub(crate) fn finish(self) -> String {
        self.0
    }

    /// One more.
    pub(crate) fn quoted(&mut self, name: &str, value: &str) {
        // A quotation mark ends the quotation, stands for itself, and begins the next one.
        let quoted = value.replace('\'', r"'\''");
        self.number(name, &format!("'{quoted}'"));
    }

    fn number(&mut self, name: &str, value: &str) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "{name}={value}");
    }

    fn image(&mut self, number: usize, image: &Image) {
        let name = |what: &str| format!("RAUC_IMAGE_{what}_{number}");
        self.quoted(&name("NAME"), image.filename.as_deref().unwrap_or_default());
        self.quoted(&name("CLASS"), &image.class);
        let artifact = image.artifact.as_deref();
        self.quoted(&name("ARTIFACT"), artifact.unwrap_or_default());
        self.quoted(
            &name("VARIANT"),
            image.variant.as_deref().unwrap_or_default(),
        );
        let digest = image.sha256.map(|digest| digest.to_string());
        self.quoted(&name("DIGEST"), &digest.unwrap_or_default());
        self.number(&name("SIZE"), &size(image));
        self.quoted(&name("HOOKS"), &image_hooks(image).join(" "));
        let lists = [
            ("ADAPTIVE", &image.adaptive),
            ("CONVERT", &image.convert),
            ("CONVERTED", &image.converted),
        ];
        for (what, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
            self.quoted(&name(what), &items.join(" "));
        }
    }
}
