//! Values: escapes, lists, numbers and sizes. Errors end the sentence "value 'x' of key 'y' …".

/// A decimal number; the error ends "value 'x' of key 'y' …".
pub(crate) fn parse_u64(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("is not a whole number".to_owned());
    }
    text.parse().map_err(|_| "is too large a number".to_owned())
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number = parse_u64(number)
        .map_err(|_| "is not a size (a whole number, then K, M, G, T or nothing)".to_owned())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "is too large a size".to_owned())
}

pub(super) fn unescape(raw: &str) -> Result<String, String> {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' {
            unescape_one(chars.next())?
        } else {
            c
        });
    }
    Ok(text)
}

fn unescape_one(escaped: Option<char>) -> Result<char, String> {
    match escaped {
        Some('s') => Ok(' '),
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some('\\') => Ok('\\'),
        Some(c) => Err(format!("has the unknown escape '\\{c}'")),
        None => Err("ends in the middle of an escape".to_owned()),
    }
}

pub(super) fn split_list(raw: &str) -> Result<Vec<String>, String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            ';' => items.push(std::mem::take(&mut item)),
            '\\' => match chars.next() {
                Some(';') => item.push(';'),
                other => item.push(unescape_one(other)?),
            },
            c => item.push(c),
        }
    }
    if !item.is_empty() {
        items.push(item);
    }
    Ok(items)
}

/// Writes a value so that [`SectionReader::string`](super::SectionReader::string) gives it back.
pub fn escape(text: &str) -> String {
    let blanks = text.len() - text.trim_start_matches([' ', '\t']).len();
    let mut raw = String::with_capacity(text.len());
    for (position, c) in text.char_indices() {
        match c {
            ' ' if position < blanks => raw.push_str("\\s"),
            '\t' if position < blanks => raw.push_str("\\t"),
            '\n' => raw.push_str("\\n"),
            '\r' => raw.push_str("\\r"),
            '\\' => raw.push_str("\\\\"),
            c => raw.push(c),
        }
    }
    raw
}

/// Writes a list so that [`SectionReader::list`](super::SectionReader::list) gives it back; every item ends with `;`.
pub fn escape_list(items: &[String]) -> String {
    items
        .iter()
        .map(|item| escape(item).replace(';', "\\;") + ";")
        .collect()
}
