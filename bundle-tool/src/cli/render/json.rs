//! Results as JSON.

use anyhow::Result;
use bundle_format::manifest::{Image, ImageType};
use bundle_format::{Envelope, Manifest, Signer};
use serde::Serialize;

use crate::info::{Info, Proof};

/// Version of the JSON: raised when a field changes its meaning or goes away.
pub(super) const SCHEMA: u32 = 1;

/// Everything as one JSON object.
pub(in crate::cli) fn info_json(info: &Info) -> Result<String> {
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
    encrypted: bool,
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
            encrypted: info.envelope == Envelope::Opened,
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
            r#type: image.kind().map(ImageType::name),
            size: image.size,
            sha256: image.sha256.map(|digest| digest.to_string()),
            hooks: image.hooks.iter().map(|hook| hook.name()).collect(),
            adaptive: &image.adaptive,
        }
    }
}
