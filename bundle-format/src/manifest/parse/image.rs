//! The sections of images.

use super::{ManifestError, Result, digest, file_name};
use crate::keyfile::{KeyFile, Section, SectionReader, parse_u64};
use crate::manifest::{Image, ImageHook, ImageType};

/// The whole section.
pub(super) fn image(file: &KeyFile, mut section: SectionReader<'_>) -> Result<Image> {
    let mut image = image_name(file, section.section())?;
    image.filename = section.parse("filename", file_name)?;
    image.sha256 = section.parse("sha256", digest)?;
    image.size = section.parse("size", parse_u64)?;
    section.not_empty("type")?;
    image.image_type = section.parse("type", |text| {
        ImageType::from_name(text).ok_or_else(|| "is not a known image type".to_owned())
    })?;
    image.hooks = image_hooks(&mut section)?;
    image.adaptive = section.list("adaptive")?;
    image.convert = section.list("convert")?;
    image.converted = section.list("converted")?;
    check_converted(&mut section, &image)?;
    // Obsolete: RAUC reads and ignores them.
    for key in ["version", "description", "build"] {
        section.take(key);
    }
    check_image(&section, &image)?;
    section.finish()?;
    Ok(image)
}

fn check_image(section: &SectionReader<'_>, image: &Image) -> Result<()> {
    let conflict = |problem| {
        let place = section.place_of_header();
        Err(ManifestError::Conflict {
            place,
            section: section.section().name.clone(),
            problem,
        })
    };
    let installs = image.hooks.contains(&ImageHook::Install);
    match (
        image.image_type == Some(ImageType::EmptyFs),
        &image.filename,
    ) {
        (true, Some(_)) => conflict("is of type emptyfs, so it must not have a filename"),
        (false, None) if !installs => Err(section.missing("filename").into()),
        _ => Ok(()),
    }
}

fn image_name(file: &KeyFile, section: &Section) -> Result<Image> {
    let wrong = |problem| ManifestError::SectionName {
        place: file.place(section.line),
        section: section.name.clone(),
        problem,
    };
    let label = section.name.strip_prefix("image.").unwrap_or_default();
    let (class, variant, artifact) = if let Some((repository, artifact)) = label.split_once('/') {
        (repository, None, Some(artifact))
    } else if let Some((class, variant)) = label.split_once('.') {
        (class, Some(variant), None)
    } else {
        (label, None, None)
    };
    if class.is_empty() || variant == Some("") || artifact == Some("") {
        return Err(wrong("has an empty name"));
    }
    if artifact.is_some_and(|artifact| artifact.contains('/') || artifact.starts_with('.')) {
        return Err(wrong("names an artifact with a path in it"));
    }
    Ok(Image {
        class: class.to_owned(),
        variant: variant.map(str::to_owned),
        artifact: artifact.map(str::to_owned),
        ..Image::default()
    })
}

fn image_hooks(section: &mut SectionReader<'_>) -> Result<Vec<ImageHook>> {
    let names = section.list("hooks")?;
    let Some(entry) = section.take("hooks") else {
        return Ok(Vec::new());
    };
    let hook = |name: &String| match name.as_str() {
        "pre-install" => Ok(ImageHook::PreInstall),
        "install" => Ok(ImageHook::Install),
        "post-install" => Ok(ImageHook::PostInstall),
        _ => Err(section
            .wrong(entry, format!("has the unknown hook '{name}'"))
            .into()),
    };
    names.iter().map(hook).collect()
}

/// File names made by `convert` are opened on the device just like `filename`.
fn check_converted(section: &mut SectionReader<'_>, image: &Image) -> Result<()> {
    let Some(entry) = section.take("converted") else {
        return Ok(());
    };
    for name in &image.converted {
        file_name(name).map_err(|problem| section.wrong(entry, problem))?;
    }
    Ok(())
}
