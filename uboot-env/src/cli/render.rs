//! All printing of `doctor`.

use super::doctor::{CopyReport, Report};
use super::{Console, JSON_SCHEMA};
use crate::codec::{Endian, Layout};
use crate::scan::{Hit, Scan, Window};
use crate::select::{FlagScheme, Pick, Standing};
use crate::snapshot::Shape;
use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

pub(super) const fn layout(layout: Layout) -> &'static str {
    match layout {
        Layout::Single => "single",
        Layout::Redundant => "redundant",
    }
}

pub(super) const fn endian(endian: Endian) -> &'static str {
    match endian {
        Endian::Little => "little-endian",
        Endian::Big => "big-endian",
    }
}

const fn scheme(scheme: FlagScheme) -> &'static str {
    match scheme {
        FlagScheme::Boolean => "active/obsolete flags",
        FlagScheme::Incremental => "counting flags",
    }
}

fn pick(pick: Pick) -> String {
    match pick {
        Pick::Copy(copy) => copy.to_string(),
        Pick::Default => "its built-in default environment".to_owned(),
        Pick::Fails => "nothing, it stops at the unreadable copy".to_owned(),
    }
}

/// One environment found, in words.
pub(super) fn hit(hit: &Hit) -> String {
    let flags = hit
        .flags
        .map(|f| format!(", flags {f:#04x}"))
        .unwrap_or_default();
    format!(
        "a {} environment of {:#x} bytes, {}{flags}",
        layout(hit.layout),
        hit.size,
        endian(hit.endian)
    )
}

pub(super) fn report(report: &Report, as_json: bool, console: &mut Console<'_>) -> Result<()> {
    if as_json {
        writeln!(console.stdout, "{}", report_json(report))?;
        return Ok(());
    }
    let out = &mut *console.stdout;
    writeln!(out, "environment  {}", head(report.shape))?;
    for copy in &report.copies {
        writeln!(out, "{}       {}: {}", copy.id, copy.place, copy_text(copy))?;
        if let Some(hint) = &copy.hint {
            writeln!(out, "             {hint}")?;
        }
    }
    for (reader, choice) in &report.picks {
        writeln!(out, "read by      {}: {}", reader.name(), pick(*choice))?;
    }
    for warning in &report.warnings {
        writeln!(out, "note         {warning}")?;
    }
    for (path, found) in &report.found {
        let (path, at) = (path.display(), found.offset);
        writeln!(out, "found        {path} at {at:#x}: {}", hit(found))?;
    }
    if let Some(repaired) = &report.repaired {
        writeln!(out, "repair       {repaired}")?;
    }
    let (state, next) = verdict(report);
    writeln!(out, "state        {state}\nnext         {next}")?;
    Ok(())
}

/// The first line: what kind of environment this is.
fn head(shape: Shape) -> String {
    let size = shape.size;
    let flags = match shape.layout {
        Layout::Single => String::new(),
        Layout::Redundant => format!(", {}", scheme(shape.scheme)),
    };
    let (layout, endian) = (layout(shape.layout), endian(shape.endian));
    format!("{layout}, {size:#x} bytes per copy{flags}, {endian}")
}

fn copy_text(copy: &CopyReport) -> String {
    match &copy.state {
        Err(problem) => problem.clone(),
        Ok(v) => {
            let flags = v
                .flags
                .map(|f| format!(", flags {f:#04x}"))
                .unwrap_or_default();
            let Some(percent) = (v.used * 100).checked_div(v.room) else {
                return "valid".to_owned();
            };
            format!(
                "valid, crc {:08x}{flags}, {} variables, {} of {} bytes ({percent} %)",
                v.crc, v.variables, v.used, v.room
            )
        }
    }
}

/// The state in one sentence, and what to do.
fn verdict(report: &Report) -> (String, &'static str) {
    const REPAIR: &str =
        "`uboot-env doctor --repair` writes both copies anew (so does the next change)";
    match report.standing {
        _ if report.rejected => (
            "U-Boot rejects all of it and starts with its built-in default: an entry has no name"
                .into(),
            "`uboot-env doctor --repair` takes that entry out (so does the next change)",
        ),
        Standing::Sound { current } => (format!("sound: {current} is in use"), "nothing"),
        Standing::OneCopy { .. } if report.one_sector => (
            "sound: one sector, which is written as a whole".into(),
            "nothing",
        ),
        Standing::OneCopy { .. } if report.shape.layout == Layout::Single => (
            "valid; a power cut during a write can destroy it, since there is no second copy"
                .into(),
            "nothing; consider a redundant environment (CONFIG_ENV_REDUNDANT)",
        ),
        Standing::OneCopy { current } => (
            format!("only {current} is valid: the next interrupted write has no fallback"),
            "`uboot-env doctor --repair` writes the other copy anew (so does the next change)",
        ),
        Standing::Odd { current } => (
            format!("{current} is in use, but no writer leaves such flags"),
            REPAIR,
        ),
        Standing::Ambiguous { ours } => (
            format!("readers disagree about which copy counts; here {ours} does"),
            REPAIR,
        ),
        Standing::Nothing => (
            "no valid environment: U-Boot starts with its built-in default".into(),
            "correct device, offset and size in the configuration (see `found`, or try --scan DEVICE); \
             if it is really lost: `uboot-env set --init NAME=VALUE`",
        ),
    }
}

fn report_json(report: &Report) -> Value {
    let copies: Vec<Value> = report
        .copies
        .iter()
        .map(|c| match &c.state {
            Ok(v) => json!({
                "copy": c.id.index(), "place": c.place, "valid": true, "crc": format!("{:08x}", v.crc),
                "flags": v.flags, "variables": v.variables, "used": v.used, "room": v.room,
            }),
            Err(problem) => json!({
                "copy": c.id.index(), "place": c.place, "valid": false, "problem": problem, "hint": c.hint,
            }),
        })
        .collect();
    let picks: Vec<Value> = report
        .picks
        .iter()
        .map(|(r, p)| json!({ "reader": r.name(), "uses": pick(*p) }))
        .collect();
    let found: Vec<Value> = report.found.iter().map(|(p, h)| hit_json(p, h)).collect();
    let (state, next) = verdict(report);
    json!({
        "schema": JSON_SCHEMA, "layout": layout(report.shape.layout), "size": report.shape.size,
        "scheme": scheme(report.shape.scheme), "endian": endian(report.shape.endian),
        "copies": copies, "readers": picks, "notes": report.warnings, "found": found,
        "repair": report.repaired, "healthy": report.is_healthy(),
        "current": report.standing.current().map(crate::select::CopyId::index),
        "state": state, "next": next,
    })
}

fn hit_json(path: &Path, hit: &Hit) -> Value {
    json!({
        "path": path.display().to_string(), "offset": hit.offset, "size": hit.size,
        "layout": layout(hit.layout), "endian": endian(hit.endian), "flags": hit.flags,
    })
}

/// The result of `--scan`, with lines for `fw_env.config`.
pub(super) fn scan(
    path: &Path,
    window: Window,
    found: &Scan,
    as_json: bool,
    console: &mut Console<'_>,
) -> Result<()> {
    let out = &mut *console.stdout;
    let Scan {
        hits,
        end,
        unreadable,
    } = found;
    if as_json {
        let hits: Vec<Value> = hits.iter().map(|h| hit_json(path, h)).collect();
        let report = json!({
            "schema": JSON_SCHEMA, "from": window.from, "end": end, "unreadable": unreadable,
            "found": hits,
        });
        writeln!(out, "{report}")?;
        return Ok(());
    }
    for found in hits {
        writeln!(out, "found  at {:#x}: {}", found.offset, hit(found))?;
    }
    if *unreadable > 0 {
        writeln!(out, "note   {unreadable:#x} bytes cannot be read")?;
    }
    if hits.is_empty() {
        return nothing_found(window, *end, out);
    }
    writeln!(
        out,
        "next   lines for fw_env.config (a redundant environment needs both copies):"
    )?;
    for h in hits {
        writeln!(out, "{} {:#x} {:#x}", path.display(), h.offset, h.size)?;
    }
    Ok(())
}

/// How far the search came, and where it can go on.
fn nothing_found(window: Window, end: u64, out: &mut dyn Write) -> Result<()> {
    let from = window.from;
    writeln!(out, "state  nothing found from {from:#x} to {end:#x}")?;
    let next = if from.checked_add(window.len) == Some(end) {
        format!("go on with --from {end:#x}, or look at more with --length")
    } else {
        "this is the end of it; look at another device".to_owned()
    };
    writeln!(out, "next   {next}")?;
    Ok(())
}
