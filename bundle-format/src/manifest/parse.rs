//! Text to manifest.

mod image;

use image::image;

use super::{BundleSection, CryptKey, Format, Handler, Hooks, Manifest, Meta, Update, VeritySpec};
use crate::digest::{Digest, decode_hex};
use crate::keyfile::{KeyFile, KeyFileError, Place, Section, SectionReader, parse_u64};
use crate::limits::{BLOCK_SIZE, MAX_IMAGES};
use crate::version::{RAUC_VERSION, Version};

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Syntax, an unknown or doubled key, a wrong value.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The name of a section does not fit its kind.
    #[error("{place}: section [{section}] {problem}")]
    SectionName {
        /// Where.
        place: Place,
        /// The whole name.
        section: String,
        /// The end of the sentence.
        problem: &'static str,
    },
    /// Keys that do not go together.
    #[error("{place}: [{section}] {problem}")]
    Conflict {
        /// The section's header.
        place: Place,
        /// The section.
        section: String,
        /// The end of the sentence.
        problem: &'static str,
    },
    /// The bundle relies on something that came later.
    #[error(
        "min-rauc-version={wanted}: the bundle needs a newer RAUC than {RAUC_VERSION}, which this program stands for"
    )]
    NewerRauc {
        /// What the manifest asks for.
        wanted: String,
    },
    /// More images than allowed.
    #[error("manifest: more than {MAX_IMAGES} images")]
    TooManyImages,
}

type Result<T, E = ManifestError> = std::result::Result<T, E>;

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// Everything that RAUC refuses, with `manifest.raucm:LINE`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let file = KeyFile::parse(bytes, super::MANIFEST_FILE)?;
        let mut manifest = Self {
            update: update(file.required("update")?)?,
            ..Self::default()
        };
        manifest.bundle.format = Format::Plain;
        manifest.bundle.format_assumed = true;
        for section in file.sections() {
            manifest.add_section(&file, section)?;
        }
        manifest.check_hooks(&file)?;
        Ok(manifest)
    }

    /// Whether we are new enough for this bundle: to be asked before it is used, though not before
    /// it is shown.
    ///
    /// # Errors
    /// It asks for a newer RAUC than [`RAUC_VERSION`].
    pub fn check_min_rauc_version(&self) -> Result<()> {
        let Some(wanted) = &self.update.min_rauc_version else {
            return Ok(());
        };
        // What cannot be compared is not known to be old enough.
        match (Version::parse(wanted), Version::parse(RAUC_VERSION)) {
            (Some(needed), Some(ours)) if needed <= ours => Ok(()),
            _ => Err(ManifestError::NewerRauc {
                wanted: wanted.clone(),
            }),
        }
    }

    fn add_section(&mut self, file: &KeyFile, section: &Section) -> Result<()> {
        let mut reader = file.read(section);
        match section.name.as_str() {
            // Read first of all, because it has to be there.
            "update" => {}
            "bundle" => self.bundle = bundle(reader)?,
            "handler" => {
                let filename = required_filename(&mut reader)?;
                self.handler = Some(Handler {
                    filename,
                    args: reader.string("args")?,
                });
                reader.finish()?;
            }
            "hooks" => self.hooks = Some(hooks(reader)?),
            "rollout" => self.rollout = all_entries(&mut reader)?,
            name if name.starts_with("image.") => {
                if self.images.len() == MAX_IMAGES {
                    return Err(ManifestError::TooManyImages);
                }
                self.images.push(image(file, reader)?);
            }
            name if name.starts_with("meta.") => self.meta.push(meta(file, reader)?),
            _ => return Err(file.unknown(section).into()),
        }
        Ok(())
    }

    /// A hook of an image needs the program that is to be asked.
    fn check_hooks(&self, file: &KeyFile) -> Result<()> {
        let asked = self.images.iter().find(|image| !image.hooks.is_empty());
        match (asked, &self.hooks) {
            (Some(image), None) => {
                let section = format!("image.{}", image.label());
                Err(ManifestError::Conflict {
                    place: file.place(file.section(&section).map_or(0, |section| section.line)),
                    section,
                    problem: "has hooks, but no [hooks] section names the hook program",
                })
            }
            _ => Ok(()),
        }
    }
}

fn update(mut section: SectionReader<'_>) -> Result<Update> {
    let update = Update {
        compatible: section.required("compatible")?,
        version: section.string("version")?,
        description: section.string("description")?,
        build: section.string("build")?,
        min_rauc_version: section.parse("min-rauc-version", min_rauc_version)?,
    };
    section.finish()?;
    Ok(update)
}

/// RAUC knows the key from 1.14 on, and refuses lower values.
fn min_rauc_version(text: &str) -> Result<String, String> {
    match (Version::parse(text), Version::parse("1.13")) {
        (None, _) => Err("is not a version number like 1.14".to_owned()),
        (Some(wanted), last_without) if Some(&wanted) <= last_without.as_ref() => {
            Err("must be above 1.13, the last version that did not know this key".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

fn bundle(mut section: SectionReader<'_>) -> Result<BundleSection> {
    let format = section.parse("format", |text| match text {
        "plain" => Ok(Format::Plain),
        "verity" => Ok(Format::Verity),
        "crypt" => Ok(Format::Crypt),
        _ => Err("is none of plain, verity, crypt".to_owned()),
    })?;
    let format_assumed = format.is_none();
    let format = format.unwrap_or(Format::Plain);
    let root = section.parse("verity-hash", digest)?;
    let salt = section.parse("verity-salt", hex32)?;
    let size = section.parse("verity-size", tree_size)?;
    let crypt_key = section.parse("crypt-key", hex32)?.map(CryptKey);
    let verity = match (root, salt, size) {
        (None, None, None) => None,
        (Some(root), Some(salt), Some(size)) => Some(VeritySpec { root, salt, size }),
        (None, ..) => return Err(section.missing("verity-hash").into()),
        (_, None, _) => return Err(section.missing("verity-salt").into()),
        (.., None) => return Err(section.missing("verity-size").into()),
    };
    let problem = match format {
        Format::Plain if verity.is_some() => "says plain, so it must not have verity keys",
        Format::Plain | Format::Verity if crypt_key.is_some() => {
            "has a crypt-key, but its format is not crypt"
        }
        _ => {
            section.finish()?;
            return Ok(BundleSection {
                format,
                format_assumed,
                verity,
                crypt_key,
            });
        }
    };
    let place = section.place_of_header();
    Err(ManifestError::Conflict {
        place,
        section: "bundle".to_owned(),
        problem,
    })
}

fn hooks(mut section: SectionReader<'_>) -> Result<Hooks> {
    let filename = required_filename(&mut section)?;
    let names = section.list("hooks")?;
    let entry = section.take("hooks");
    for name in &names {
        if let (true, Some(entry)) = (name != "install-check", entry) {
            return Err(section
                .wrong(entry, format!("has the unknown hook '{name}'"))
                .into());
        }
    }
    section.finish()?;
    Ok(Hooks {
        filename,
        install_check: !names.is_empty(),
    })
}

fn meta(file: &KeyFile, mut section: SectionReader<'_>) -> Result<Meta> {
    let plain = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    let wrong = |line, problem| ManifestError::SectionName {
        place: file.place(line),
        section: section.section().name.clone(),
        problem,
    };
    let label = section
        .section()
        .name
        .strip_prefix("meta.")
        .unwrap_or_default();
    if label.is_empty() || !plain(label) {
        return Err(wrong(
            section.section().line,
            "may use only letters, digits, '_' and '-'",
        ));
    }
    if let Some(entry) = section
        .section()
        .entries
        .iter()
        .find(|entry| !plain(&entry.key))
    {
        return Err(wrong(
            entry.line,
            "has a key with something other than letters, digits, '_' and '-'",
        ));
    }
    for entry in &section.section().entries {
        section.not_empty(&entry.key)?;
    }
    Ok(Meta {
        label: label.to_owned(),
        entries: all_entries(&mut section)?,
    })
}

fn all_entries(section: &mut SectionReader<'_>) -> Result<Vec<(String, String)>> {
    let entries = &section.section().entries;
    entries
        .iter()
        .map(|entry| {
            Ok((
                entry.key.clone(),
                section.string(&entry.key)?.unwrap_or_default(),
            ))
        })
        .collect()
}

fn required_filename(section: &mut SectionReader<'_>) -> Result<String> {
    section
        .parse("filename", file_name)?
        .ok_or_else(|| section.missing("filename").into())
}

/// A file of the payload's root directory: a manifest must not be able to reach anything else.
fn file_name(text: &str) -> Result<String, String> {
    match text {
        "." | ".." => Err("is not a file name".to_owned()),
        _ if text.contains('/') => {
            Err("has a '/': images lie in the root directory of the bundle".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

fn digest(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn hex32(text: &str) -> Result<[u8; 32], String> {
    decode_hex(text).map_err(|error| format!("{error}"))
}

fn tree_size(text: &str) -> Result<u64, String> {
    match parse_u64(text)? {
        0 => Err("must not be 0".to_owned()),
        size if size % BLOCK_SIZE != 0 => Err(format!("is not a multiple of {BLOCK_SIZE}")),
        size => Ok(size),
    }
}
