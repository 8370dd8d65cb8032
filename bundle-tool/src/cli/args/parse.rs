//! Values of single arguments.

use bundle_format::cms::Purpose;
use bundle_format::manifest::Format;

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
