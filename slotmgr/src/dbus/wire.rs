//! Our answers as D-Bus values, in the shapes that RAUC's clients read.

use std::collections::HashMap;

use bundle_format::manifest::{Image, ImageType, Manifest};
use bundle_format::{Digest, VerifiedManifest};
use zbus::{OwnedVariant, Variant};

use super::failure::Failure;
use crate::service::{
    ArtifactStatus, Happening, InstallRequest, InstanceStatus, Origin, RepositoryStatus,
    SlotStatus, TrialStatus,
};

/// `a{sv}`.
pub(super) type Dict = HashMap<String, OwnedVariant>;

pub(super) struct Builder(HashMap<String, Variant<'static>>);

impl Builder {
    pub fn new() -> Self {
        Self(HashMap::new())
    }

    pub fn put(&mut self, key: &str, value: impl Into<Variant<'static>>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Absent keys are left out: RAUC's clients take an empty text for a value.
    pub fn maybe(&mut self, key: &str, value: Option<impl Into<Variant<'static>>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    pub fn finish(self) -> Result<Dict, Failure> {
        let owned = self
            .0
            .into_iter()
            .map(|(key, value)| Ok((key, OwnedVariant::try_from(value)?)));
        owned.collect::<zbus::Result<_>>().map_err(Failure::from)
    }

    /// A dictionary inside a variant inside a variant, as RAUC sends the parts of a manifest.
    fn wrapped(self) -> Variant<'static> {
        Variant::new(Variant::from(self.0))
    }
}

/// The answer of `GetTrial`.
pub(super) fn trial(trial: TrialStatus) -> Result<Dict, Failure> {
    let mut dict = Builder::new();
    dict.put("state", trial.state);
    dict.maybe("slot", trial.slot);
    dict.maybe("release", trial.release);
    dict.maybe("reason", trial.reason);
    dict.maybe("deadline", trial.deadline);
    dict.finish()
}

/// The answer of `GetHistory`. The numbers have leading zeros, so that sorted keys are in order.
pub(super) fn history(events: Vec<Happening>) -> Result<HashMap<String, Dict>, Failure> {
    let entry = |(number, event): (usize, Happening)| {
        let mut dict = Builder::new();
        dict.put("what", event.what);
        dict.put("at", event.at);
        dict.maybe("slot", event.slot);
        dict.maybe("release", event.release);
        dict.maybe("job", event.job);
        dict.maybe("why", event.why);
        Ok((format!("{number:04}"), dict.finish()?))
    };
    events.into_iter().enumerate().map(entry).collect()
}

/// One slot of `GetSlotStatus`.
pub(super) fn slot(slot: SlotStatus) -> Result<(String, Dict), Failure> {
    let mut dict = Builder::new();
    dict.put("class", slot.class);
    dict.put("device", slot.device);
    dict.put("type", slot.kind);
    dict.put("state", slot.state);
    dict.maybe("bootname", slot.bootname);
    dict.maybe("description", slot.description);
    dict.maybe("parent", slot.parent);
    dict.maybe("mountpoint", slot.mountpoint);
    dict.maybe("boot-status", slot.boot_status);
    for (key, value) in slot.content {
        // As RAUC types them: a size is a `t`, a count a `u`, everything else text.
        match key.as_str() {
            "size" => dict.maybe(&key, value.parse::<u64>().ok()),
            "installed.count" | "activated.count" => dict.maybe(&key, value.parse::<u32>().ok()),
            _ => dict.put(&key, value),
        }
    }
    Ok((slot.name, dict.finish()?))
}

/// One repository of `GetArtifactStatus`.
pub(super) fn repository(repository: RepositoryStatus) -> Result<Dict, Failure> {
    let instance = |instance: InstanceStatus| {
        let mut dict = Builder::new();
        dict.put("checksum", instance.checksum);
        dict.put("references", instance.references);
        dict.0
    };
    let artifact = |artifact: ArtifactStatus| {
        let instances: Vec<_> = artifact.instances.into_iter().map(instance).collect();
        let mut dict = Builder::new();
        dict.put("name", artifact.name);
        dict.put("instances", Variant::from(instances));
        dict.0
    };
    let artifacts: Vec<_> = repository.artifacts.into_iter().map(artifact).collect();
    let mut dict = Builder::new();
    dict.put("name", repository.name);
    dict.maybe("description", repository.description);
    dict.put("path", repository.path);
    dict.put("type", repository.kind);
    dict.maybe("parent-class", repository.parent_class);
    dict.put("artifacts", Variant::from(artifacts));
    dict.finish()
}

/// The answer of `InspectBundle`: the parts of the manifest, each wrapped twice.
pub(super) fn inspected(verified: &VerifiedManifest) -> Result<Dict, Failure> {
    let manifest = verified.manifest();
    let mut answer = Builder::new();
    answer.put("manifest-hash", verified.hash().to_string());
    answer.put("update", update(manifest).wrapped());
    answer.put("bundle", bundle(manifest).wrapped());
    if let Some(hooks) = &manifest.hooks {
        let mut dict = Builder::new();
        dict.put("filename", hooks.filename.clone());
        let names: Vec<&str> = hooks
            .install_check
            .then_some("install-check")
            .into_iter()
            .collect();
        dict.put("hooks", Variant::new(Variant::from(names)));
        answer.put("hooks", dict.wrapped());
    }
    if let Some(handler) = &manifest.handler {
        let mut dict = Builder::new();
        dict.put("filename", handler.filename.clone());
        dict.maybe("args", handler.args.clone());
        answer.put("handler", dict.wrapped());
    }
    let images: Vec<_> = manifest.images.iter().map(|one| image(one).0).collect();
    answer.put("images", Variant::new(Variant::from(images)));
    answer.put("meta", Variant::new(Variant::from(meta(manifest))));
    answer.finish()
}

fn update(manifest: &Manifest) -> Builder {
    let mut dict = Builder::new();
    dict.put("compatible", manifest.update.compatible.clone());
    dict.maybe("version", manifest.update.version.clone());
    dict.maybe("description", manifest.update.description.clone());
    dict.maybe("build", manifest.update.build.clone());
    dict
}

fn bundle(manifest: &Manifest) -> Builder {
    let mut dict = Builder::new();
    dict.put("format", manifest.bundle.format.name());
    if let Some(verity) = &manifest.bundle.verity {
        dict.put("verity-size", verity.size);
        dict.put("verity-salt", Digest::from_bytes(verity.salt).to_string());
        dict.put("verity-hash", verity.root.to_string());
    }
    dict
}

fn image(image: &Image) -> Builder {
    let mut dict = Builder::new();
    dict.put("slot-class", image.class.clone());
    dict.maybe("variant", image.variant.clone());
    dict.maybe("artifact", image.artifact.clone());
    dict.maybe("filename", image.filename.clone());
    dict.maybe("type", image.told_kind().map(ImageType::name));
    dict.maybe("checksum", image.sha256.map(|digest| digest.to_string()));
    // RAUC's -1 where there is no file.
    dict.put("size", image.size.unwrap_or(u64::MAX));
    let hooks: Vec<&str> = image.hooks.iter().map(|hook| hook.name()).collect();
    dict.put("hooks", hooks);
    for (key, items) in [
        ("adaptive", &image.adaptive),
        ("convert", &image.convert),
        ("converted", &image.converted),
    ] {
        if !items.is_empty() {
            dict.put(key, items.clone());
        }
    }
    dict
}

fn meta(manifest: &Manifest) -> HashMap<String, HashMap<String, String>> {
    let sections = manifest.meta.iter();
    sections
        .map(|section| {
            (
                section.label.clone(),
                section.entries.iter().cloned().collect(),
            )
        })
        .collect()
}

/// The arguments of `InstallBundle`.
pub(super) fn install_request(source: String, arguments: Dict) -> Result<InstallRequest, Failure> {
    let mut request = InstallRequest {
        origin: Origin {
            source,
            ..Origin::default()
        },
        ..InstallRequest::default()
    };
    for (key, value) in arguments {
        match key.as_str() {
            "ignore-compatible" => request.ignore_compatible = read(&key, value)?,
            "ignore-version-limit" => request.ignore_version_limit = read(&key, value)?,
            "transaction-id" => request.transaction = Some(read(&key, value)?),
            "try-again" => request.try_again = read(&key, value)?,
            "require-manifest-hash" => request.manifest_hash = Some(read(&key, value)?),
            _ => origin_argument(&mut request.origin, &key, value)?,
        }
    }
    Ok(request)
}

/// The arguments of `InspectBundle`.
pub(super) fn origin(source: String, arguments: Dict) -> Result<Origin, Failure> {
    let mut origin = Origin {
        source,
        ..Origin::default()
    };
    for (key, value) in arguments {
        origin_argument(&mut origin, &key, value)?;
    }
    Ok(origin)
}

fn origin_argument(origin: &mut Origin, key: &str, value: OwnedVariant) -> Result<(), Failure> {
    match key {
        "tls-cert" => origin.tls_cert = Some(read(key, value)?),
        "tls-key" => origin.tls_key = Some(read(key, value)?),
        "tls-ca" => origin.tls_ca = Some(read(key, value)?),
        "tls-no-verify" => origin.tls_no_verify = read(key, value)?,
        "http-headers" => origin.headers = read(key, value)?,
        other => return Err(Failure::Failed(format!("Unsupported key: {other}"))),
    }
    Ok(())
}

fn read<T: TryFrom<OwnedVariant>>(key: &str, value: OwnedVariant) -> Result<T, Failure> {
    T::try_from(value)
        .map_err(|_| Failure::Failed(format!("the value of `{key}` has a wrong type")))
}
