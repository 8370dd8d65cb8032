//! Manifest to text, in the order in which RAUC writes it.

use std::fmt::Write as _;

use super::{BundleSection, Image, ImageHook, Manifest, Update};
use crate::digest::encode_hex;
use crate::keyfile::{escape, escape_list};

impl Manifest {
    /// The manifest as text: `[update] [bundle] [handler] [hooks] [image.…] [meta.…] [rollout]`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Text(String::new());
        text.update(&self.update);
        text.bundle(&self.bundle);
        if let Some(handler) = &self.handler {
            text.section("handler");
            text.key("filename", &handler.filename);
            text.optional("args", handler.args.as_deref());
        }
        if let Some(hooks) = &self.hooks {
            text.section("hooks");
            text.key("filename", &hooks.filename);
            if hooks.install_check {
                text.list("hooks", &["install-check".to_owned()]);
            }
        }
        for image in &self.images {
            text.image(image);
        }
        for meta in &self.meta {
            text.section(&format!("meta.{}", meta.label));
            text.entries(&meta.entries);
        }
        if !self.rollout.is_empty() {
            text.section("rollout");
            text.entries(&self.rollout);
        }
        text.0.into_bytes()
    }
}

struct Text(String);

impl Text {
    fn section(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "[{name}]");
    }

    fn raw(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.0, "{key}={value}");
    }

    fn key(&mut self, key: &str, value: &str) {
        self.raw(key, &escape(value));
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key, value);
        }
    }

    fn list(&mut self, key: &str, items: &[String]) {
        if !items.is_empty() {
            self.raw(key, &escape_list(items));
        }
    }

    fn entries(&mut self, entries: &[(String, String)]) {
        for (key, value) in entries {
            self.key(key, value);
        }
    }

    fn update(&mut self, update: &Update) {
        self.section("update");
        self.key("compatible", &update.compatible);
        self.optional("version", update.version.as_deref());
        self.optional("description", update.description.as_deref());
        self.optional("build", update.build.as_deref());
        self.optional("min-rauc-version", update.min_rauc_version.as_deref());
    }

    fn bundle(&mut self, bundle: &BundleSection) {
        self.section("bundle");
        self.key("format", bundle.format.name());
        if let Some(key) = &bundle.crypt_key {
            self.raw("crypt-key", &encode_hex(&key.0));
        }
        if let Some(verity) = &bundle.verity {
            self.raw("verity-hash", &verity.root.to_string());
            self.raw("verity-salt", &encode_hex(&verity.salt));
            self.raw("verity-size", &verity.size.to_string());
        }
    }

    fn image(&mut self, image: &Image) {
        self.section(&format!("image.{}", image.label()));
        self.optional("type", image.image_type.map(super::ImageType::name));
        if let Some(sha256) = &image.sha256 {
            self.raw("sha256", &sha256.to_string());
        }
        if let Some(size) = image.size {
            self.raw("size", &size.to_string());
        }
        self.optional("filename", image.filename.as_deref());
        let hooks: Vec<_> = image
            .hooks
            .iter()
            .map(|hook| ImageHook::name(*hook).to_owned())
            .collect();
        self.list("hooks", &hooks);
        self.list("adaptive", &image.adaptive);
        self.list("convert", &image.convert);
        self.list("converted", &image.converted);
    }
}
