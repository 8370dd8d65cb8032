//! JSON: RAUC's flat form (json, json-pretty), and the one by sections (json-2).

use std::io;

use anyhow::Result;
use bundle_format::encode_hex;
use bundle_format::manifest::{Image, ImageType, Manifest};
use bundle_tool::info::Info;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Map, Value, json};

use super::{bundle_hooks, image_hooks};

/// On how many lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Line,
    Pretty,
}

#[derive(Serialize)]
struct Flat<'a> {
    compatible: &'a str,
    version: Option<&'a str>,
    description: Option<&'a str>,
    build: Option<&'a str>,
    format: &'static str,
    hooks: Vec<&'static str>,
    hash: Option<String>,
    images: Vec<FlatImage<'a>>,
}

/// One image: an object with the slot class as its only key.
struct FlatImage<'a>(&'a str, FlatFields<'a>);

impl Serialize for FlatImage<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, &self.1)])
    }
}

#[derive(Serialize)]
struct FlatFields<'a> {
    artifact: Option<&'a str>,
    variant: Option<&'a str>,
    filename: Option<&'a str>,
    r#type: Option<&'static str>,
    checksum: Option<String>,
    size: Size,
    hooks: Vec<&'static str>,
    adaptive: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    convert: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    converted: &'a [String],
}

/// RAUC's -1 where there is no size.
struct Size(Option<u64>);

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(size) => serializer.serialize_u64(size),
            None => serializer.serialize_i64(-1),
        }
    }
}

/// The flat form, with the fields of RAUC 1.15.
pub(super) fn flat(info: &Info, layout: Layout) -> Result<String> {
    let manifest = &info.manifest;
    let update = &manifest.update;
    let flat = Flat {
        compatible: &update.compatible,
        version: update.version.as_deref(),
        description: update.description.as_deref(),
        build: update.build.as_deref(),
        format: manifest.bundle.format.name(),
        hooks: bundle_hooks(manifest),
        hash: info.proof.hash().map(|hash| hash.to_string()),
        images: manifest.images.iter().map(flat_image).collect(),
    };
    printed(&flat, layout)
}

/// Any value, in either layout.
pub(crate) fn printed(value: &impl Serialize, layout: Layout) -> Result<String> {
    match layout {
        Layout::Line => Ok(serde_json::to_string(value)?),
        Layout::Pretty => pretty(value),
    }
}

fn flat_image(image: &Image) -> FlatImage<'_> {
    let fields = FlatFields {
        artifact: image.artifact.as_deref(),
        variant: image.variant.as_deref(),
        filename: image.filename.as_deref(),
        r#type: image.told_kind().map(ImageType::name),
        checksum: image.sha256.map(|digest| digest.to_string()),
        size: Size(image.size),
        hooks: image_hooks(image),
        adaptive: &image.adaptive,
        convert: &image.convert,
        converted: &image.converted,
    };
    FlatImage(&image.class, fields)
}

/// The form since RAUC 1.10: one object for each section of the manifest.
pub(super) fn nested(info: &Info) -> Result<String> {
    let manifest = &info.manifest;
    let update = &manifest.update;
    let mut root = Map::new();
    if let Some(hash) = info.proof.hash() {
        root.insert("manifest-hash".to_owned(), hash.to_string().into());
    }
    let mut section = object([("compatible", Some(update.compatible.as_str()))]);
    section.extend(object([
        ("version", update.version.as_deref()),
        ("description", update.description.as_deref()),
        ("build", update.build.as_deref()),
        ("min-rauc-version", update.min_rauc_version.as_deref()),
    ]));
    root.insert("update".to_owned(), section.into());
    root.insert("bundle".to_owned(), bundle(manifest));
    if let Some(hooks) = &manifest.hooks {
        let value = json!({ "filename": hooks.filename, "hooks": bundle_hooks(manifest) });
        root.insert("hooks".to_owned(), value);
    }
    if let Some(handler) = &manifest.handler {
        let file = Some(handler.filename.as_str());
        let value = object([("filename", file), ("args", handler.args.as_deref())]);
        root.insert("handler".to_owned(), value.into());
    }
    let images: Vec<Value> = manifest.images.iter().map(nested_image).collect();
    root.insert("images".to_owned(), images.into());
    root.insert("meta".to_owned(), meta(manifest));
    pretty(&Value::from(root))
}

fn bundle(manifest: &Manifest) -> Value {
    let bundle = &manifest.bundle;
    let mut value = object([("format", Some(bundle.format.name()))]);
    if let Some(verity) = &bundle.verity {
        value.insert("verity-hash".to_owned(), verity.root.to_string().into());
        value.insert("verity-salt".to_owned(), encode_hex(&verity.salt).into());
        value.insert("verity-size".to_owned(), verity.size.into());
    }
    value.into()
}

fn nested_image(image: &Image) -> Value {
    let digest = image.sha256.map(|digest| digest.to_string());
    let mut value = object([
        ("slot-class", Some(image.class.as_str())),
        ("artifact", image.artifact.as_deref()),
        ("variant", image.variant.as_deref()),
        ("filename", image.filename.as_deref()),
        ("type", image.told_kind().map(ImageType::name)),
        ("checksum", digest.as_deref()),
    ]);
    match (image.size, &image.filename) {
        (Some(size), _) => value.insert("size".to_owned(), size.into()),
        (None, None) => value.insert("size".to_owned(), (-1).into()),
        (None, Some(_)) => None,
    };
    value.insert("hooks".to_owned(), image_hooks(image).into());
    let lists = [
        ("adaptive", &image.adaptive),
        ("convert", &image.convert),
        ("converted", &image.converted),
    ];
    for (key, items) in lists.into_iter().filter(|(_, items)| !items.is_empty()) {
        value.insert(key.to_owned(), items.clone().into());
    }
    value.into()
}

fn meta(manifest: &Manifest) -> Value {
    let group = |entries: &[(String, String)]| {
        object(
            entries
                .iter()
                .map(|(key, value)| (key.as_str(), Some(value.as_str()))),
        )
    };
    let groups = manifest
        .meta
        .iter()
        .map(|meta| (meta.label.clone(), group(&meta.entries).into()));
    Value::Object(groups.collect())
}

/// An object of the fields that there are.
fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Map<String, Value> {
    fields
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.into())))
        .collect()
}

/// On several lines, with a space before each colon, as RAUC's JSON library writes it.
fn pretty(value: &impl Serialize) -> Result<String> {
    let mut bytes = Vec::new();
    let layout = SpacedColons(PrettyFormatter::new());
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut bytes, layout,
    ))?;
    Ok(String::from_utf8(bytes)?)
}

struct SpacedColons<'a>(PrettyFormatter<'a>);

type Written = io::Result<()>;

impl Formatter for SpacedColons<'_> {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> Written {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> Written {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> Written {
        writer.write_all(b" : ")
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> Written {
        self.0.end_object_value(writer)
    }
}
