//! `fw_env.config`: `device offset size [sector-size [sectors [disable-lock]]]`, one or two lines.

use super::{CopyConfig, EnvConfig, FlashLock, Hint, Located, Problem, number};
use std::path::PathBuf;

pub(super) fn parse(text: &str) -> Result<EnvConfig, Located> {
    let mut hints = Vec::new();
    let mut copies: Vec<(CopyConfig, u64)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        // A comment may also stand after the fields: the peers stop reading at it, too.
        let fields: Vec<&str> = line
            .split_whitespace()
            .take_while(|field| !field.starts_with('#'))
            .collect();
        if fields.is_empty() {
            continue;
        }
        if copies.len() == 2 {
            return Err((number, Problem::ThirdCopy));
        }
        let parsed = line_of(&fields, number, &mut hints).map_err(|p| (number, p))?;
        copies.push(parsed);
    }
    let mut copies = copies.into_iter();
    let (first, size) = copies.next().ok_or((0, Problem::Empty))?;
    let second = match copies.next() {
        Some((copy, other)) if other != size => {
            return Err((
                copy.line,
                Problem::UnequalSizes {
                    first: size,
                    second: other,
                },
            ));
        }
        Some((copy, _)) => Some(copy),
        None => None,
    };
    Ok(EnvConfig {
        namespace: None,
        size,
        first,
        second,
        lockfile: None,
        writelist: None,
        hints,
    })
}

fn line_of(
    fields: &[&str],
    line: usize,
    hints: &mut Vec<Hint>,
) -> Result<(CopyConfig, u64), Problem> {
    let [device, offset, size, rest @ ..] = fields else {
        return Err(Problem::TooFewFields { have: fields.len() });
    };
    let bad = |field, text: &str| Problem::Number {
        field,
        text: text.to_owned(),
    };
    let hex = |field, text: &str| number::hex(text).ok_or_else(|| bad(field, text));
    let offset_value = number::any_base(offset).ok_or_else(|| bad("offset", offset))?;
    let size_value = hex("environment size", size)?;
    let (sector, sectors, disable) = match rest {
        [] => (None, None, None),
        [a] => (Some(a), None, None),
        [a, b] => (Some(a), Some(b), None),
        [a, b, c] => (Some(a), Some(b), Some(c)),
        _ => return Err(Problem::TooManyFields),
    };
    // Zero stands for "not stated", as in the peers.
    let optional = |field, text: Option<&&str>| -> Result<Option<u64>, Problem> {
        Ok(text.map(|t| hex(field, t)).transpose()?.filter(|&v| v != 0))
    };
    let lock = match disable.copied() {
        None | Some("0") => FlashLock::Respect,
        Some("1") => FlashLock::Ignore,
        Some(other) => return Err(bad("disable-lock (0 or 1)", other)),
    };
    remark_on_decimal_size(size, line, hints);
    remark_on_octal_offset(offset, line, hints);
    let copy = CopyConfig {
        path: PathBuf::from(device),
        offset: offset_value,
        sector_size: optional("sector size", sector)?,
        sectors: optional("number of sectors", sectors)?,
        lock,
        line,
    };
    Ok((copy, size_value))
}

/// `16384` is read as 0x16384. A round decimal number was most likely meant as one.
fn remark_on_decimal_size(text: &str, line: usize, hints: &mut Vec<Hint>) {
    if text.starts_with("0x") || text.starts_with("0X") {
        return;
    }
    if let Ok(decimal) = text.parse::<u64>()
        && decimal >= 1024
        && decimal.is_multiple_of(512)
    {
        hints.push(Hint {
            line,
            text: format!(
                "size {text} is read as 0x{text}; if {decimal} bytes are meant, write {decimal:#x}"
            ),
        });
    }
}

fn remark_on_octal_offset(text: &str, line: usize, hints: &mut Vec<Hint>) {
    let octal = text.len() > 1 && text.starts_with('0') && !text[1..].starts_with(['x', 'X']);
    if octal && text.chars().any(|c| c != '0') {
        hints.push(Hint {
            line,
            text: format!("offset {text} is read as octal because of its leading zero; write 0x…"),
        });
    }
}
