//! Distinguished names as text, the way `openssl x509 -nameopt oneline` writes them.

use openssl::x509::{X509NameEntryRef, X509NameRef};

/// `O = Example, CN = "a, b"`. What is not printable ASCII becomes `\XX`, byte by byte of its UTF-8.
pub fn one_line(name: &X509NameRef) -> String {
    name.entries().map(entry).collect::<Vec<_>>().join(", ")
}

fn entry(entry: &X509NameEntryRef) -> String {
    let object = entry.object();
    let key = match object.nid().short_name() {
        Ok(name) if name != "UNDEF" => name.to_owned(),
        _ => object.to_string(),
    };
    let value = match entry.data().to_string() {
        Ok(text) => quoted(&text),
        Err(_) => "?".to_owned(),
    };
    format!("{key} = {value}")
}

fn quoted(value: &str) -> String {
    let special = |c: char| matches!(c, ',' | '+' | '"' | '<' | '>' | ';' | '\\');
    let needs_quotes = value.starts_with(['#', ' '])
        || value.ends_with(' ')
        || value.contains(|c| special(c) && !matches!(c, '"' | '\\'));
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:02X}")),
        }
    }
    if needs_quotes {
        format!("\"{text}\"")
    } else {
        text
    }
}
