//! All that `grub-env` prints.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::doctor::{Content, Health, Inside, Report, atomicity};
use crate::block::Block;
use crate::file::Written;
use crate::paired::{Boot, Pair, State, Which};

/// How to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Version of the JSON answers; it changes when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

fn put_json(out: &mut dyn Write, mut value: Value) -> io::Result<()> {
    if let Some(object) = value.as_object_mut() {
        object.insert("schema".to_owned(), json!(SCHEMA));
    }
    writeln!(out, "{value:#}")
}

/// Text as itself; other bytes in hexadecimal under another key, so that nothing is lost.
fn put_bytes(object: &mut Value, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object[key] = json!(text),
        Err(_) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            object[format!("{key}_hex")] = json!(hex);
        }
    }
}

/// `name=value`, a line each, bytes as they are.
pub fn variables(out: &mut dyn Write, block: &Block, format: Format) -> io::Result<()> {
    if format == Format::Json {
        let entries = block.iter().map(|(name, value)| {
            let mut entry = json!({});
            put_bytes(&mut entry, "name", name);
            put_bytes(&mut entry, "value", value);
            entry
        });
        return put_json(out, json!({ "variables": entries.collect::<Vec<_>>() }));
    }
    for (name, value) in block.iter() {
        out.write_all(&[name, b"=", value, b"\n"].concat())?;
    }
    Ok(())
}

/// What a write did.
pub fn written(out: &mut dyn Write, path: &Path, what: Written, format: Format) -> io::Result<()> {
    let sectors = match what {
        Written::Nothing => 0,
        Written::OneSector => 1,
        Written::Sectors(n) => n,
    };
    let path = path.display();
    if format == Format::Json {
        return put_json(
            out,
            json!({ "file": path.to_string(), "sectors_written": sectors }),
        );
    }
    match what {
        Written::Nothing => writeln!(out, "{path}: nothing to change"),
        Written::OneSector => writeln!(out, "{path}: written in place and read back"),
        Written::Sectors(n) => writeln!(
            out,
            "{path}: written in place and read back, but over {n} sectors: a power cut in between \
             would have left a mixture (see 'grub-env doctor')"
        ),
    }
}

/// A new file.
pub fn created(out: &mut dyn Write, path: &Path, size: usize, format: Format) -> io::Result<()> {
    let path = path.display();
    if format == Format::Json {
        return put_json(out, json!({ "file": path.to_string(), "size": size }));
    }
    writeln!(
        out,
        "{path}: created with {size} bytes; GRUB sees it after a clean unmount"
    )
}

/// What both copies say, and what GRUB makes of it.
pub fn pair(out: &mut dyn Write, pair: &Pair, boot: &Boot, format: Format) -> io::Result<()> {
    let copies = [Which::First, Which::Second].map(|which| {
        let text = match pair.copy(which) {
            Ok(record) => state(&record.state),
            Err(error) => format!("does not count: {error}"),
        };
        (which, text)
    });
    let in_force = pair.in_force().map(|(which, _)| which);
    if format == Format::Json {
        let copies = copies.map(|(which, text)| {
            json!({ "file": which.file(), "says": text, "in_force": in_force == Some(which) })
        });
        let next = json!({ "slot": boot.slot.as_str(), "why": boot.why.as_str() });
        return put_json(out, json!({ "copies": copies, "next_boot": next }));
    }
    for (which, text) in copies {
        let mark = if in_force == Some(which) {
            ", in force"
        } else {
            ""
        };
        writeln!(out, "{}{mark}: {text}", which.file())?;
    }
    let (slot, why) = (&boot.slot, boot.why.as_str());
    writeln!(out, "GRUB starts {slot} next ({why}).")
}

fn state(state: &State) -> String {
    let trial = state.trial.map_or("confirmed".to_owned(), |trial| {
        format!("on trial with {} tries", trial.tries())
    });
    let fallback = match &state.fallback {
        Some(fallback) => format!("fallback {fallback}"),
        None => "no fallback".to_owned(),
    };
    format!("{} {trial}, {fallback}", state.primary)
}

/// What the doctor says.
pub fn report(out: &mut dyn Write, report: &Report, format: Format) -> io::Result<()> {
    if format == Format::Json {
        let mut value = serde_json::to_value(report)?;
        value["health"] = serde_json::to_value(report.health())?;
        return put_json(out, value);
    }
    writeln!(out, "{}: {} bytes", report.path.display(), report.len)?;
    match &report.content {
        Inside::Broken { why } => writeln!(out, "  content    broken: {why}")?,
        Inside::Valid(c) => content(out, c)?,
    }
    match report.placement.as_slice() {
        [] => writeln!(
            out,
            "  place      ok: GRUB sees each write, and can save there itself"
        )?,
        all => all
            .iter()
            .try_for_each(|m| writeln!(out, "  place      {}", m.what))?,
    }
    writeln!(out, "{}", verdict(report))
}

fn content(out: &mut dyn Write, c: &Content) -> io::Result<()> {
    writeln!(
        out,
        "  content    ok, {} variables, {} bytes free",
        c.variables, c.free
    )?;
    for odd in &c.oddities {
        writeln!(out, "  odd        {odd}")?;
    }
    writeln!(out, "  power cut  {}", atomicity(c))?;
    let Some(rauc) = &c.rauc else { return Ok(()) };
    let slots: Vec<String> = rauc.slots.iter().map(|s| s.describe()).collect();
    writeln!(
        out,
        "  RAUC       order {:?}; {}",
        rauc.order.join(" "),
        slots.join("; ")
    )?;
    match &rauc.next {
        Some(next) => writeln!(out, "             GRUB boots {next} next"),
        None => writeln!(out, "             no slot qualifies for the next boot"),
    }
}

fn verdict(report: &Report) -> &'static str {
    match (report.health(), &report.content) {
        (Health::Fit, _) => "The file is fit for slots. Nothing to do.",
        (Health::Weak, _) => "The file works, with the weaknesses above.",
        (Health::Unfit, Inside::Broken { .. }) => {
            "The file is not fit: make a new one with 'grub-env create', then set its variables."
        }
        (Health::Unfit, Inside::Valid(_)) => "The file is not fit for slots: see 'place' above.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_loses_no_byte() {
        let mut block = Block::new();
        block.set("a", "x\ny").unwrap();
        block.set("b", b"\xff\x00".get(..1).unwrap()).unwrap();
        let mut out = Vec::new();
        variables(&mut out, &block, Format::Json).unwrap();
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(
            value["variables"][0],
            json!({ "name": "a", "value": "x\ny" })
        );
        assert_eq!(
            value["variables"][1],
            json!({ "name": "b", "value_hex": "ff" })
        );
    }
}
