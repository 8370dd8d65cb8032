//! libubootenv's YAML: `namespace: {size, lockfile, writelist, devices}`.
//!
//! Its files use block mappings, block lists, plain or quoted scalars and comments, three levels
//! deep. Exactly that is read here, by lines and indentation. A general YAML crate would bring
//! anchors, tags, flow syntax and many documents, which no such file has and which all would have
//! to be refused again, and it would lose the line numbers that errors need.

use super::{CopyConfig, EnvConfig, FlashLock, Located, Problem, number};
use crate::access::Rule;
use std::path::PathBuf;

const SHAPE: &str = "expected `name:` or `name: value`, indented by spaces";

/// One line that says something.
struct Line<'a> {
    number: usize,
    indent: usize,
    /// The line starts a list item; `indent` is that of the dash.
    item: bool,
    key: Option<&'a str>,
    value: Option<&'a str>,
}

/// A first line of `word:` or `---`: no line of `fw_env.config` looks so.
pub(super) fn looks_like_yaml(text: &str) -> bool {
    let first = text
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty() && !l.starts_with('#'));
    first.is_some_and(|l| {
        let l = l.split(" #").next().unwrap_or(l).trim_end();
        l == "---" || (l.ends_with(':') && !l.contains(char::is_whitespace))
    })
}

pub(super) fn parse(text: &str) -> Result<Vec<EnvConfig>, Located> {
    let lines = lines_of(text)?;
    let mut envs: Vec<EnvConfig> = Vec::new();
    let mut rest = lines.as_slice();
    while let Some((head, tail)) = rest.split_first() {
        let (Some(name), None, 0, false) = (head.key, head.value, head.indent, head.item) else {
            return Err((
                head.number,
                Problem::Syntax {
                    what: "expected a namespace, `name:`",
                },
            ));
        };
        let (body, after) = block(tail, 0);
        if envs.iter().any(|e| e.namespace.as_deref() == Some(name)) {
            return Err((
                head.number,
                Problem::Twice {
                    key: name.to_owned(),
                },
            ));
        }
        envs.push(namespace(name, head.number, body)?);
        rest = after;
    }
    Ok(envs)
}

/// The lines that are indented deeper than `indent`, and the rest.
fn block<'l, 'a>(lines: &'l [Line<'a>], indent: usize) -> (&'l [Line<'a>], &'l [Line<'a>]) {
    let end = lines
        .iter()
        .position(|l| l.indent <= indent)
        .unwrap_or(lines.len());
    lines.split_at(end)
}

fn lines_of(text: &str) -> Result<Vec<Line<'_>>, Located> {
    let mut out = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let number = index + 1;
        let syntax = |what| (number, Problem::Syntax { what });
        let body = raw.trim_start_matches(' ');
        let indent = raw.len() - body.len();
        let body = without_comment(body).trim_end();
        if body.is_empty() || (body == "---" && out.is_empty()) {
            continue;
        }
        if body.starts_with('\t') {
            return Err(syntax("tabs cannot be used for indentation"));
        }
        let (item, body) = match body.strip_prefix('-') {
            Some(rest) if rest.starts_with(' ') || rest.is_empty() => (true, rest.trim_start()),
            _ => (false, body),
        };
        if body.starts_with(['{', '[', '&', '*', '!', '|', '>', '%', '@', '?']) {
            return Err(syntax("only plain block YAML is used in these files"));
        }
        let (key, value) = split(body).ok_or(syntax(SHAPE))?;
        out.push(Line {
            number,
            indent,
            item,
            key,
            value,
        });
    }
    Ok(out)
}

/// `key: value`, `key:` or a bare value.
fn split(body: &str) -> Option<(Option<&str>, Option<&str>)> {
    if body.is_empty() {
        return Some((None, None));
    }
    if body.starts_with(['"', '\'']) {
        return Some((None, Some(unquote(body)?)));
    }
    if let Some(key) = body.strip_suffix(':') {
        return Some((Some(key.trim_end()), None));
    }
    match body.split_once(": ") {
        Some((key, value)) => Some((Some(key.trim_end()), Some(unquote(value.trim())?))),
        None => Some((None, Some(body))),
    }
}

fn unquote(text: &str) -> Option<&str> {
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            // Escapes inside quotes have no use here and are refused.
            return rest
                .strip_suffix(quote)
                .filter(|t| !t.contains(['"', '\'', '\\']));
        }
    }
    if text.starts_with(['{', '[', '&', '*', '!', '|', '>', '%', '@']) {
        None
    } else {
        Some(text)
    }
}

fn without_comment(body: &str) -> &str {
    if body.starts_with('#') {
        ""
    } else {
        body.split(" #").next().unwrap_or(body)
    }
}

#[derive(Default)]
struct Fields {
    size: Option<u64>,
    lockfile: Option<PathBuf>,
    writelist: Option<Vec<Rule>>,
    devices: Option<Vec<CopyConfig>>,
}

fn namespace(name: &str, line: usize, mut body: &[Line<'_>]) -> Result<EnvConfig, Located> {
    let mut fields = Fields::default();
    let depth = body.first().map_or(0, |l| l.indent);
    while let Some((head, tail)) = body.split_first() {
        let (Some(key), false) = (head.key, head.item) else {
            return Err((head.number, Problem::Syntax { what: SHAPE }));
        };
        if head.indent != depth {
            return Err((
                head.number,
                Problem::Syntax {
                    what: "this line is indented differently",
                },
            ));
        }
        let (inner, after) = list_block(tail, depth);
        field(&mut fields, (key, head), inner)?;
        body = after;
    }
    let missing = |what| (line, Problem::Missing { what });
    let mut devices = fields
        .devices
        .ok_or_else(|| missing("`devices:`"))?
        .into_iter();
    let first = devices.next().ok_or_else(|| missing("a device"))?;
    let second = devices.next();
    if let Some(third) = devices.next() {
        return Err((third.line, Problem::ThirdCopy));
    }
    Ok(EnvConfig {
        namespace: Some(name.to_owned()),
        size: fields.size.ok_or_else(|| missing("`size:`"))?,
        first,
        second,
        lockfile: fields.lockfile,
        writelist: fields.writelist,
        hints: Vec::new(),
    })
}

/// Like [`block`], but the items of a list may stand at the indentation of their key.
fn list_block<'l, 'a>(lines: &'l [Line<'a>], depth: usize) -> (&'l [Line<'a>], &'l [Line<'a>]) {
    let ends = |l: &Line<'_>| l.indent < depth || (l.indent == depth && !l.item);
    let end = lines.iter().position(ends).unwrap_or(lines.len());
    lines.split_at(end)
}

fn field(
    fields: &mut Fields,
    (key, head): (&str, &Line<'_>),
    inner: &[Line<'_>],
) -> Result<(), Located> {
    let at = |what| (head.number, what);
    let twice = match key {
        "size" => fields.size.replace(size(head)?).is_some(),
        "lockfile" => fields
            .lockfile
            .replace(PathBuf::from(scalar(head)?))
            .is_some(),
        "writelist" => fields.writelist.replace(writelist(inner)?).is_some(),
        "devices" => fields.devices.replace(devices(inner)?).is_some(),
        _ => {
            let help = "known here: size, lockfile, writelist, devices";
            return Err(at(Problem::Key {
                key: key.to_owned(),
                help,
            }));
        }
    };
    let is_list = matches!(key, "writelist" | "devices");
    if twice {
        return Err(at(Problem::Twice {
            key: key.to_owned(),
        }));
    }
    if is_list && head.value.is_some() || !is_list && !inner.is_empty() {
        return Err(at(Problem::Syntax { what: SHAPE }));
    }
    Ok(())
}

fn scalar<'a>(line: &Line<'a>) -> Result<&'a str, Located> {
    line.value
        .ok_or((line.number, Problem::Missing { what: "the value" }))
}

fn size(line: &Line<'_>) -> Result<u64, Located> {
    let text = scalar(line)?;
    let bad = || Problem::Number {
        field: "size",
        text: text.to_owned(),
    };
    number::any_base_unsigned(text).ok_or_else(|| (line.number, bad()))
}

fn writelist(lines: &[Line<'_>]) -> Result<Vec<Rule>, Located> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in lines {
        let shape = (
            line.number,
            Problem::Syntax {
                what: "expected a list item, `- variable:flags`",
            },
        );
        let (true, None, Some(text)) = (line.item, line.key, line.value) else {
            return Err(shape);
        };
        let (name, letters) = text.split_once(':').ok_or(shape)?;
        if rules.iter().any(|r| r.name == name.as_bytes()) {
            return Err((
                line.number,
                Problem::Twice {
                    key: name.to_owned(),
                },
            ));
        }
        rules.push(Rule::new(name.as_bytes(), letters.as_bytes()));
    }
    Ok(rules)
}

fn devices(mut lines: &[Line<'_>]) -> Result<Vec<CopyConfig>, Located> {
    let mut out = Vec::new();
    while let Some((head, tail)) = lines.split_first() {
        if !head.item {
            return Err((
                head.number,
                Problem::Syntax {
                    what: "expected a list item, `- path: …`",
                },
            ));
        }
        let end = tail.iter().position(|l| l.item).unwrap_or(tail.len());
        let (body, after) = tail.split_at(end);
        out.push(device(head, body)?);
        lines = after;
    }
    Ok(out)
}

#[derive(Default)]
struct Device {
    path: Option<PathBuf>,
    offset: Option<i64>,
    sector: Option<u64>,
    lock: Option<FlashLock>,
}

impl Device {
    /// Takes one `key: value`; says whether the key had come before.
    fn take(&mut self, key: &str, text: &str) -> Result<bool, Problem> {
        let bad = |field| Problem::Number {
            field,
            text: text.to_owned(),
        };
        Ok(match key {
            "path" => self.path.replace(PathBuf::from(text)).is_some(),
            "offset" => {
                let value = number::any_base(text).ok_or_else(|| bad("offset"))?;
                self.offset.replace(value).is_some()
            }
            "sectorsize" => {
                let value = number::any_base_unsigned(text).ok_or_else(|| bad("sectorsize"))?;
                self.sector.replace(value).is_some()
            }
            "disablelock" => {
                let value = yes_or_no(text).ok_or_else(|| bad("disablelock"))?;
                self.lock.replace(value).is_some()
            }
            _ => {
                return Err(Problem::Key {
                    key: key.to_owned(),
                    help: device_help(key),
                });
            }
        })
    }
}

fn device(head: &Line<'_>, body: &[Line<'_>]) -> Result<CopyConfig, Located> {
    let mut device = Device::default();
    for line in std::iter::once(head)
        .filter(|l| l.key.is_some())
        .chain(body)
    {
        let at = |what| (line.number, what);
        let key = line.key.ok_or(at(Problem::Syntax { what: SHAPE }))?;
        if device.take(key, scalar(line)?).map_err(at)? {
            return Err(at(Problem::Twice {
                key: key.to_owned(),
            }));
        }
    }
    Ok(CopyConfig {
        path: device
            .path
            .ok_or((head.number, Problem::Missing { what: "`path:`" }))?,
        offset: device.offset.unwrap_or(0),
        sector_size: device.sector.filter(|&v| v != 0),
        sectors: None,
        lock: device.lock.unwrap_or_default(),
        line: head.number,
    })
}

fn yes_or_no(text: &str) -> Option<FlashLock> {
    match text {
        "yes" => Some(FlashLock::Ignore),
        "no" => Some(FlashLock::Respect),
        _ => None,
    }
}

fn device_help(key: &str) -> &'static str {
    match key {
        "unlock" => {
            "libubootenv's documentation shows it, but no version reads it: use `disablelock: yes`"
        }
        _ => "known here: path, offset, sectorsize, disablelock (yes or no)",
    }
}
