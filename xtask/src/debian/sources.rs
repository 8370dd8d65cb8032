//! Reads the machine's package sources and derives those of the backports from them.
//!
//! The mirror and its key are whatever the machine uses already: no host is named here. Both
//! forms that apt reads (see `sources.list(5)`) are understood: one-line `*.list` files, and
//! stanzas of fields in `*.sources` files.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// One file of package sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it lies; its ending says which form it has.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// One entry of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    uris: String,
    suites: Vec<String>,
    components: Vec<String>,
    /// The value of `Signed-By`, verbatim: a path, or a key over several lines.
    signed_by: Option<String>,
}

/// Reads all source files of apt's configuration directory `apt`.
///
/// # Errors
/// A file exists and cannot be read.
pub fn read(apt: &Path) -> Result<Vec<SourceFile>> {
    let mut paths = vec![apt.join("sources.list")];
    let parts = apt.join("sources.list.d");
    if parts.is_dir() {
        for entry in fs_err::read_dir(&parts)? {
            paths.push(entry?.path());
        }
    }
    paths.retain(|path| form(path).is_some() && path.is_file());
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            Ok(SourceFile {
                text: fs_err::read_to_string(&path)?,
                path,
            })
        })
        .collect()
}

/// The text of a `.sources` file for the backports of `release`; `None` when `files` have them.
///
/// # Errors
/// None of `files` has the packages of `release` itself, from which to derive the mirror.
pub fn backports(files: &[SourceFile], release: &str) -> Result<Option<String>> {
    let suite = format!("{release}-backports");
    let entries: Vec<Entry> = files.iter().flat_map(entries).collect();
    let has_main = |entry: &&Entry| entry.components.iter().any(|c| c == "main");
    if entries
        .iter()
        .filter(has_main)
        .any(|entry| entry.suites.contains(&suite))
    {
        return Ok(None);
    }
    let own = entries
        .iter()
        .filter(has_main)
        .find(|e| e.suites.iter().any(|s| s == release));
    let Some(own) = own else {
        bail!(
            "the package sources below /etc/apt have no entry for {release} (main), so the \
             mirror for {suite} is unknown; add {suite} to them by hand and try again"
        );
    };
    let signed_by = match &own.signed_by {
        Some(value) => format!("Signed-By:{value}\n"),
        None => String::new(),
    };
    Ok(Some(format!(
        "# Added for the tests of slotmgr, which need QEMU 10; nothing is taken from here unless\n\
         # it is asked for. May be removed.\n\
         Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n{signed_by}",
        own.uris
    )))
}

/// What a mirror delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Packages to install.
    Binary,
    /// The same as the release had them last, without what has come since.
    Released,
    /// What they are built from.
    Source,
}

/// The text of a `.sources` file for the packages of everything whose suite belongs to `release`:
/// the release itself, its updates and its security fixes.
///
/// # Errors
/// None of `files` has packages of `release`, from which to derive the mirror.
pub fn packages(files: &[SourceFile], release: &str, kind: Kind) -> Result<String> {
    let types = match kind {
        Kind::Binary | Kind::Released => "deb",
        Kind::Source => "deb-src",
    };
    let mut text = String::new();
    for entry in files.iter().flat_map(entries) {
        let ours = |suite: &&String| match kind {
            Kind::Released => suite.as_str() == release,
            _ => suite.starts_with(release) && !suite.ends_with("-backports"),
        };
        let suites: Vec<&str> = entry
            .suites
            .iter()
            .filter(ours)
            .map(|s| s.as_str())
            .collect();
        if suites.is_empty() || !entry.components.iter().any(|c| c == "main") {
            continue;
        }
        text.push_str(&format!(
            "Types: {types}\nURIs: {}\nSuites: {}\nComponents: main\n",
            entry.uris,
            suites.join(" ")
        ));
        if let Some(value) = &entry.signed_by {
            text.push_str(&format!("Signed-By:{value}\n"));
        }
        text.push('\n');
    }
    if text.is_empty() {
        bail!(
            "the package sources below /etc/apt have no entry for {release} (main), so the mirror \
             for its packages is unknown"
        );
    }
    Ok(text)
}

/// The two forms of source files.
#[derive(Clone, Copy)]
enum Form {
    Lines,
    Stanzas,
}

fn form(path: &Path) -> Option<Form> {
    match path.extension()?.to_str()? {
        "list" => Some(Form::Lines),
        "sources" => Some(Form::Stanzas),
        _ => None,
    }
}

/// The entries of one file that deliver binary packages.
fn entries(file: &SourceFile) -> Vec<Entry> {
    match form(&file.path) {
        Some(Form::Lines) => file.text.lines().filter_map(line_entry).collect(),
        Some(Form::Stanzas) => stanzas(&file.text)
            .iter()
            .map(Vec::as_slice)
            .filter_map(stanza_entry)
            .collect(),
        None => Vec::new(),
    }
}

/// Reads `deb [option=value …] uri suite component…`.
fn line_entry(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let mut rest = line
        .strip_prefix("deb")?
        .strip_prefix([' ', '\t'])?
        .trim_start();
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(|path| format!(" {path}"));
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Entry {
        uris: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by,
    })
}

/// Splits a file into stanzas, each a list of fields with their values verbatim.
fn stanzas(text: &str) -> Vec<Vec<(String, String)>> {
    let mut stanzas = vec![Vec::new()];
    for line in text.lines() {
        let last = stanzas.len() - 1;
        if line.starts_with('#') {
            continue;
        } else if line.trim().is_empty() {
            stanzas.push(Vec::new());
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanzas[last].last_mut() {
                *value = format!("{value}\n{line}");
            }
        } else if let Some((field, value)) = line.split_once(':') {
            stanzas[last].push((field.to_ascii_lowercase(), value.to_owned()));
        }
    }
    stanzas
}

fn stanza_entry(stanza: &[(String, String)]) -> Option<Entry> {
    let value = |name: &str| {
        stanza
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value)
    };
    let words = |name: &str| -> Vec<String> {
        value(name)
            .map(|v| v.split_whitespace().map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let enabled = value("enabled").is_none_or(|v| !v.trim().eq_ignore_ascii_case("no"));
    if !enabled || !words("types").iter().any(|kind| kind == "deb") {
        return None;
    }
    Some(Entry {
        uris: words("uris").join(" "),
        suites: words("suites"),
        components: words("components"),
        signed_by: value("signed-by").cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile {
            path: PathBuf::from(name),
            text: text.to_owned(),
        }
    }

    fn settings(text: &str) -> String {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect()
    }

    #[test]
    fn derives_from_a_stanza() {
        let files = [file(
            "debian.sources",
            "Types: deb deb-src\n# was: old\nURIs: http://mirror.test/debian\n\
             Suites: bookworm bookworm-updates\nComponents: main contrib\n\
             Signed-By: /usr/share/keyrings/archive.gpg\n\n\
             Types: deb\nURIs: http://mirror.test/security\nSuites: bookworm-security\n\
             Components: main\n",
        )];
        let text = backports(&files, "bookworm").unwrap().unwrap();
        assert_eq!(
            settings(&text),
            "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm-backports\n\
             Components: main\nSigned-By: /usr/share/keyrings/archive.gpg\n"
        );
    }

    #[test]
    fn keeps_a_key_of_several_lines() {
        let key = "\n -----BEGIN\n .\n abc\n -----END";
        let text = format!(
            "Types: deb\nURIs: http://m.test/\nSuites: bookworm\nComponents: main\nSigned-By:{key}\n"
        );
        let derived = backports(&[file("x.sources", &text)], "bookworm")
            .unwrap()
            .unwrap();
        assert!(
            derived.ends_with(&format!("Signed-By:{key}\n")),
            "{derived}"
        );
    }

    #[test]
    fn derives_from_a_line() {
        let files = [file(
            "sources.list",
            "# deb http://no.test/ bookworm main\ndeb-src http://src.test/ bookworm main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://m.test/debian/ bookworm main non-free\n",
        )];
        let text = backports(&files, "bookworm").unwrap().unwrap();
        assert_eq!(
            settings(&text),
            "Types: deb\nURIs: http://m.test/debian/\nSuites: bookworm-backports\n\
             Components: main\nSigned-By: /k.gpg\n"
        );
    }

    #[test]
    fn source_packages_come_from_the_same_mirrors() {
        let files = [file(
            "debian.sources",
            "Types: deb\nURIs: http://m.test/debian\nSuites: bookworm bookworm-updates\n\
             Components: main\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://m.test/security\n\
             Suites: bookworm-security\nComponents: main\n\nTypes: deb\nURIs: http://o.test/\n\
             Suites: other bookworm-backports\nComponents: main\n",
        )];
        assert_eq!(
            packages(&files, "bookworm", Kind::Source).unwrap(),
            "Types: deb-src\nURIs: http://m.test/debian\nSuites: bookworm bookworm-updates\n\
             Components: main\nSigned-By: /k.gpg\n\nTypes: deb-src\nURIs: http://m.test/security\n\
             Suites: bookworm-security\nComponents: main\n\n"
        );
        assert_eq!(
            packages(&files, "bookworm", Kind::Released).unwrap(),
            "Types: deb\nURIs: http://m.test/debian\nSuites: bookworm\nComponents: main\n\
             Signed-By: /k.gpg\n\n"
        );
        assert!(packages(&files, "trixie", Kind::Source).is_err());
    }

    #[test]
    fn nothing_to_add_when_the_machine_has_them() {
        let files = [
            file("sources.list", "deb http://m.test/ bookworm main\n"),
            file("bpo.list", "deb http://m.test/ bookworm-backports main\n"),
        ];
        assert_eq!(backports(&files, "bookworm").unwrap(), None);
    }

    #[test]
    fn disabled_and_foreign_entries_do_not_count() {
        let files = [
            file(
                "a.sources",
                "Enabled: no\nTypes: deb\nURIs: http://m.test/\nSuites: bookworm\nComponents: main\n",
            ),
            file("b.list", "deb http://other.test/ nodistro main\n"),
            file("c.list.disabled", "deb http://m.test/ bookworm main\n"),
        ];
        let error = backports(&files, "bookworm").unwrap_err().to_string();
        assert!(error.contains("no entry for bookworm"), "{error}");
    }
}
