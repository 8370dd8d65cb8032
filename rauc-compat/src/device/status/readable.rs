//! For people, as RAUC shows it: root slots with what belongs to them below.

use std::fmt::Write as _;

use slotmgr::service::{RepositoryStatus, SlotStatus};

use super::{Depth, Shown};

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const BLUE: &str = "\x1b[34m";
const END: &str = "\x1b[0m";

pub(super) fn text(shown: &Shown, no_color: bool) -> String {
    let coloured = colours(shown);
    if !no_color {
        return coloured;
    }
    [BOLD, RED, GREEN, BLUE, END]
        .iter()
        .fold(coloured, |text, code| text.replace(code, ""))
}

// Writing into a String cannot fail.
fn colours(shown: &Shown) -> String {
    let mut text = String::new();
    let identity = &shown.identity;
    let _ = writeln!(text, "=== System Info ===");
    let _ = writeln!(text, "Compatible:  {}", identity.compatible);
    let _ = writeln!(text, "Variant:     {}", identity.variant);
    if !identity.system_version.is_empty() {
        let _ = writeln!(text, "Version:     {}", identity.system_version);
    }
    let booted = shown.booted().map_or("(null)", |slot| &slot.name);
    let _ = writeln!(text, "Booted from: {booted} ({})", identity.boot_slot);
    let _ = writeln!(text, "\n=== Bootloader ===");
    let primary = shown.primary.as_deref();
    let _ = match primary {
        Some(name) => {
            let bootname = shown.slots.iter().find(|slot| slot.name == name);
            let bootname = bootname.and_then(|slot| slot.bootname.as_deref());
            writeln!(text, "Activated: {name} ({})", bootname.unwrap_or(""))
        }
        None => writeln!(text, "Activated: none"),
    };
    let _ = writeln!(text, "\n=== Slot States ===");
    for slot in shown.slots.iter().filter(|slot| slot.parent.is_none()) {
        let sign = if primary == Some(&slot.name) {
            "⏺"
        } else {
            "○"
        };
        let _ = write!(text, "{sign} ");
        root(&mut text, slot, shown.depth);
        let belongs = |child: &&SlotStatus| child.parent.as_ref() == Some(&slot.name);
        for child in shown.slots.iter().filter(belongs) {
            let _ = write!(text, "    ");
            head(&mut text, child);
            details(&mut text, child, shown.depth);
        }
        text.push('\n');
    }
    if !shown.repositories.is_empty() {
        let _ = writeln!(text, "=== Artifact Repo States ===");
    }
    for repository in &shown.repositories {
        self::repository(&mut text, repository);
        text.push('\n');
    }
    text.push('\n');
    text
}

fn repository(text: &mut String, repository: &RepositoryStatus) {
    let (name, path) = (&repository.name, &repository.path);
    let _ = writeln!(text, "{BOLD}[{name}]{END} ({path})");
    let _ = writeln!(text, "  type: {}", repository.kind);
    if let Some(class) = &repository.parent_class {
        let _ = writeln!(text, "  parent class: {class}");
    }
    let none = if repository.artifacts.is_empty() {
        " (none)"
    } else {
        ""
    };
    let _ = writeln!(text, "  artifacts:{none}");
    for artifact in &repository.artifacts {
        let _ = writeln!(text, "    {BOLD}[{}]{END}", artifact.name);
        for instance in &artifact.instances {
            let _ = writeln!(text, "      checksum: {}", instance.checksum);
            let references = &instance.references;
            let used = match (&repository.parent_class, references.is_empty()) {
                (None, false) => "active".to_owned(),
                (None, true) => "inactive".to_owned(),
                (Some(_), false) => format!("references: '{}'", references.join(" ")),
                (Some(_), true) => "references: (none)".to_owned(),
            };
            let _ = writeln!(text, "        {used}");
        }
    }
}

fn head(text: &mut String, slot: &SlotStatus) {
    let (colour, state) = match slot.state.as_str() {
        "booted" => (format!("{GREEN}{GREEN}"), format!("{BOLD}booted")),
        "active" => (GREEN.to_owned(), "active".to_owned()),
        other => (String::new(), other.to_owned()),
    };
    let (name, device, kind) = (&slot.name, &slot.device, &slot.kind);
    let _ = writeln!(
        text,
        "{colour}{BOLD}[{name}]{END} ({device}, {kind}, {state}{END})"
    );
}

fn root(text: &mut String, slot: &SlotStatus, depth: Depth) {
    head(text, slot);
    if let Some(name) = &slot.bootname {
        let _ = writeln!(text, "\tbootname: {BLUE}{name}{END}");
    }
    details(text, slot, depth);
}

fn details(text: &mut String, slot: &SlotStatus, depth: Depth) {
    for (name, value) in [
        ("description", &slot.description),
        ("mounted", &slot.mountpoint),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "\t{name}: {value}");
        }
    }
    if let Some(status) = &slot.boot_status {
        let colour = if status == "good" { GREEN } else { RED };
        let _ = writeln!(text, "\tboot status: {colour}{status}{END}");
    }
    if depth == Depth::Detailed {
        content(text, slot);
    }
}

fn content(text: &mut String, slot: &SlotStatus) {
    let value = |key: &str| slot.content.get(key);
    let compatible = value("bundle.compatible").map_or("(null)", String::as_str);
    let _ = writeln!(text, "      slot status:\n          bundle:");
    let _ = writeln!(text, "              compatible={compatible}");
    for key in ["version", "description", "build", "hash"] {
        if let Some(found) = value(&format!("bundle.{key}")) {
            let _ = writeln!(text, "              {key}={found}");
        }
    }
    for (part, keys) in [
        ("checksum", &[("sha256", "sha256"), ("size", "size")][..]),
        (
            "installed",
            &[
                ("transaction", "installed.transaction"),
                ("timestamp", "installed.timestamp"),
                ("count", "installed.count"),
            ],
        ),
        (
            "activated",
            &[
                ("timestamp", "activated.timestamp"),
                ("count", "activated.count"),
            ],
        ),
    ] {
        let mut found = keys
            .iter()
            .filter_map(|(name, key)| Some((name, value(key)?)));
        let Some((name, first)) = found.next() else {
            continue;
        };
        let _ = writeln!(text, "          {part}:\n              {name}={first}");
        for (name, value) in found {
            let _ = writeln!(text, "              {name}={value}");
        }
    }
    if let Some(status) = value("status") {
        let _ = writeln!(text, "          status={status}");
    }
}
