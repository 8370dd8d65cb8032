//! Values of single arguments.

use bundle_format::cms::Purpose;
use bundle_format::manifest::Format;
use casync::ChunkSizes;
use casync::chunk::DigestKind;
use casync::chunker::CutRule;
use casync::codec::Packing;

use crate::create::ImageSource;

pub(super) fn format(text: &str) -> Result<Format, String> {
    match text {
        "verity" => Ok(Format::Verity),
        "crypt" => Ok(Format::Crypt),
        "plain" => Ok(Format::Plain),
        _ => Err("use verity, crypt or plain".to_owned()),
    }
}

pub(super) fn purpose(text: &str) -> Result<Purpose, String> {
    Purpose::from_name(text).ok_or_else(|| {
        "use any, smimesign, codesign, smimeencrypt, sslclient, sslserver or nssslserver".to_owned()
    })
}

pub(super) fn salt(text: &str) -> Result<[u8; 32], String> {
    bundle_format::decode_hex(text).map_err(|error| error.to_string())
}

pub(super) fn chunk_sizes(text: &str) -> Result<CutRule, String> {
    let parts: Vec<u64> = text.split(':').map(byte_count).collect::<Result<_, _>>()?;
    let sizes = match parts[..] {
        [avg] => ChunkSizes::from_avg(avg),
        [min, avg, max] => ChunkSizes::new(min, avg, max),
        _ => return Err("use AVG or MIN:AVG:MAX, like 64K or 16K:64K:256K".to_owned()),
    };
    let rule = sizes.map(CutRule::new).map_err(|error| error.to_string())?;
    rule.map_err(|error| error.to_string())
}

/// `65536`, `64K` or `1M`.
fn byte_count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1_u64),
    };
    let number = digits.parse::<u64>().ok();
    let bytes = number.and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| format!("'{text}' is no number of bytes; use 65536, 64K or 1M"))
}

pub(super) fn digest(text: &str) -> Result<DigestKind, String> {
    match text {
        "sha512-256" => Ok(DigestKind::Sha512_256),
        "sha256" => Ok(DigestKind::Sha256),
        _ => Err("use sha512-256 or sha256".to_owned()),
    }
}

pub(super) fn packing(text: &str) -> Result<Packing, String> {
    let (name, level) = match text.split_once(':') {
        Some((name, level)) => (name, Some(level)),
        None => (text, None),
    };
    match (name, level) {
        ("zstd", None) => Ok(Packing::default()),
        ("zstd", Some(level)) => match level.parse() {
            Ok(level @ 1..=22) => Ok(Packing::Zstd { level }),
            _ => Err("zstd has the levels 1 to 22".to_owned()),
        },
        ("xz", None) => Ok(Packing::Xz),
        ("gzip", None) => Ok(Packing::Gzip),
        _ => Err("use zstd, zstd:LEVEL, xz or gzip".to_owned()),
    }
}

pub(super) fn image(text: &str) -> Result<ImageSource, String> {
    let help = "use CLASS=FILE, like rootfs=rootfs.ext4";
    let (label, path) = text.split_once('=').ok_or(help)?;
    let (class, variant) = match label.split_once('.') {
        Some((class, variant)) => (class, Some(variant.to_owned())),
        None => (label, None),
    };
    if class.is_empty() || path.is_empty() || variant.as_deref() == Some("") {
        return Err(help.to_owned());
    }
    Ok(ImageSource {
        class: class.to_owned(),
        variant,
        path: path.into(),
    })
}
