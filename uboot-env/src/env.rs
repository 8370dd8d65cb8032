//! The variables of an environment: an ordered list of verbatim entries.
//!
//! An *entry* is what stands between two NUL bytes of the data area, normally `name=value`. Entries
//! that mean nothing to us (no `=`, a leading `#`, bytes that are no text) are kept as they are and
//! written back as they are. The one exception is an entry with a value and no name (libubootenv's
//! `fw_setenv "" x` makes one): U-Boot rejects the *whole* environment because of it, so that every
//! edit takes it out.

use thiserror::Error;

/// Why a name or a value cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VarError {
    /// U-Boot drops the *whole* environment when it meets an entry with an empty name.
    #[error("the variable name is empty (U-Boot would reject the whole environment)")]
    EmptyName,
    /// The name contains a byte that ends it or that a reader takes for something else.
    #[error("variable name {name:?} contains {what}, which no reader would take back as written")]
    BadName {
        /// The name, lossily decoded.
        name: String,
        /// The offending part, in words.
        what: &'static str,
    },
    /// A NUL would end the value and start a new entry.
    #[error("the value of {name:?} contains a NUL byte, which would start a new variable")]
    NulInValue {
        /// The variable.
        name: String,
    },
}

/// A validated variable name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarName(Vec<u8>);

impl VarName {
    /// Checks a name: not empty; no `=`, NUL or line break; no leading blank (U-Boot skips it) and
    /// no leading `#` (U-Boot takes the entry for a comment).
    ///
    /// # Errors
    /// [`VarError`] naming what is wrong.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self, VarError> {
        let name = name.as_ref();
        let bad = |what| VarError::BadName {
            name: lossy(name),
            what,
        };
        match name {
            [] => return Err(VarError::EmptyName),
            [b'#', ..] => return Err(bad("a leading `#`")),
            [b' ' | b'\t', ..] => return Err(bad("a leading blank")),
            _ => {}
        }
        for &byte in name {
            match byte {
                b'=' => return Err(bad("`=`")),
                0 => return Err(bad("a NUL byte")),
                b'\n' | b'\r' => return Err(bad("a line break")),
                _ => {}
            }
        }
        Ok(Self(name.to_vec()))
    }

    /// The name as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for VarName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// How values are read and written with regard to backslashes.
///
/// U-Boot removes one level of backslashes when it loads an environment (`\y` becomes `y`) and adds
/// one when it saves. The Linux tools do neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// The bytes as stored; what `fw_printenv` shows.
    #[default]
    Raw,
    /// What U-Boot has in memory after loading.
    Uboot,
}

impl View {
    /// A stored value as this view shows it.
    #[must_use]
    pub fn decode(self, stored: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw => stored.to_vec(),
            Self::Uboot => unescape(stored),
        }
    }

    /// A value of this view as it must be stored.
    #[must_use]
    pub fn encode(self, value: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw => value.to_vec(),
            Self::Uboot => value
                .iter()
                .flat_map(|&b| if b == b'\\' { vec![b, b] } else { vec![b] })
                .collect(),
        }
    }
}

fn unescape(stored: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stored.len());
    let mut bytes = stored.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            // A lone backslash at the end has nothing to escape and stays.
            b'\\' => out.push(bytes.next().unwrap_or(b'\\')),
            other => out.push(other),
        }
    }
    out
}

/// The variables, in stored order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Env {
    entries: Vec<Vec<u8>>,
}

impl Env {
    /// An environment without variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over verbatim entries. Entries that cannot be stored (empty, or holding a NUL) are
    /// impossible to meet when parsing and are refused here.
    #[must_use]
    pub(crate) fn from_entries(entries: Vec<Vec<u8>>) -> Self {
        debug_assert!(entries.iter().all(|e| !e.is_empty() && !e.contains(&0)));
        Self { entries }
    }

    /// All entries, verbatim and in order, known or not.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(Vec::as_slice)
    }

    /// `(name, stored value)` of every entry that U-Boot would take as a variable, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().filter_map(|e| split(e))
    }

    /// The stored value of a variable. If the name occurs twice, the *last* one counts: that is
    /// what U-Boot ends up with (`fw_printenv` of U-Boot shows the first).
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.entries
            .iter()
            .rev()
            .filter_map(|e| split(e))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }

    /// Sets a variable to stored bytes, in place if it exists. A new variable goes to its sorted
    /// place if the entries are sorted (U-Boot and libubootenv write them so), else to the end
    /// (as U-Boot's `fw_setenv` does). Returns what changed.
    ///
    /// # Errors
    /// [`VarError::NulInValue`].
    pub fn set(&mut self, name: &VarName, stored: &[u8]) -> Result<Change, VarError> {
        if stored.contains(&0) {
            return Err(VarError::NulInValue {
                name: name.to_string(),
            });
        }
        self.drop_rejected();
        let mut entry = name.0.clone();
        entry.push(b'=');
        entry.extend_from_slice(stored);
        let places = self.places(name);
        let Some((&last, doubles)) = places.split_last() else {
            let at = self.insertion_point(name);
            self.entries.insert(at, entry);
            return Ok(Change::Created);
        };
        if doubles.is_empty() && self.entries.get(last) == Some(&entry) {
            return Ok(Change::Equal);
        }
        if let Some(old) = self.entries.get_mut(last) {
            *old = entry;
        }
        for &at in doubles.iter().rev() {
            self.entries.remove(at);
        }
        Ok(Change::Overwritten)
    }

    /// Deletes a variable, every occurrence of it.
    pub fn remove(&mut self, name: &VarName) -> Change {
        self.drop_rejected();
        let before = self.entries.len();
        self.entries
            .retain(|e| split(e).is_none_or(|(n, _)| n != name.as_bytes()));
        if self.entries.len() == before {
            Change::Equal
        } else {
            Change::Deleted
        }
    }

    /// Whether U-Boot rejects all of this, and starts with its built-in default instead.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.entries.iter().any(|e| is_nameless(e))
    }

    /// Takes out what makes U-Boot reject everything.
    pub fn drop_rejected(&mut self) {
        self.entries.retain(|e| !is_nameless(e));
    }

    /// Bytes that the entries take in the data area, with all NULs.
    #[must_use]
    pub fn stored_len(&self) -> u64 {
        self.entries.iter().map(|e| e.len() as u64 + 1).sum::<u64>() + 1
    }

    /// Things that are stored properly and yet will surprise somebody.
    #[must_use]
    pub fn warnings(&self, env_size: u64) -> Vec<EnvWarning> {
        let mut out = Vec::new();
        let mut names: Vec<&[u8]> = Vec::new();
        for entry in &self.entries {
            match split(entry) {
                None if is_nameless(entry) => out.push(EnvWarning::Nameless {
                    entry: lossy(entry),
                }),
                None => out.push(EnvWarning::NotAVariable {
                    entry: lossy(entry),
                }),
                Some((name, value)) => {
                    names.push(name);
                    if value.contains(&b'\\') {
                        out.push(EnvWarning::Backslash { name: lossy(name) });
                    }
                    if value.is_empty() {
                        out.push(EnvWarning::EmptyValue { name: lossy(name) });
                    }
                }
            }
        }
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [a, b] = pair
                && a == b
            {
                out.push(EnvWarning::Duplicate { name: lossy(a) });
            }
        }
        let limit = (64 + env_size / 8).min(512);
        if names.len() as u64 > limit {
            out.push(EnvWarning::TooManyVariables {
                count: names.len(),
                limit,
            });
        }
        out
    }

    fn places(&self, name: &VarName) -> Vec<usize> {
        let is_it = |e: &Vec<u8>| split(e).is_some_and(|(n, _)| n == name.as_bytes());
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, e)| is_it(e))
            .map(|(i, _)| i)
            .collect()
    }

    fn insertion_point(&self, name: &VarName) -> usize {
        let names: Vec<&[u8]> = self
            .entries
            .iter()
            .map(|e| split(e).map_or(e.as_slice(), |(n, _)| n))
            .collect();
        if names.is_sorted() {
            names.partition_point(|n| *n < name.as_bytes())
        } else {
            names.len()
        }
    }
}

/// What an edit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The variable was not there before.
    Created,
    /// The variable had another value.
    Overwritten,
    /// The variable is gone.
    Deleted,
    /// Nothing changed.
    Equal,
}

/// Something about the content that will surprise somebody.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvWarning {
    /// See [`View`].
    #[error("{name}: has a backslash; U-Boot shows it with one level of backslashes removed")]
    Backslash {
        /// The variable.
        name: String,
    },
    /// U-Boot deletes such a variable while loading.
    #[error("{name}: is empty; U-Boot drops it when it loads the environment")]
    EmptyValue {
        /// The variable.
        name: String,
    },
    /// Readers disagree about which one counts.
    #[error("{name}: is stored more than once; U-Boot uses the last one, fw_printenv the first")]
    Duplicate {
        /// The variable.
        name: String,
    },
    /// Kept verbatim, ignored by readers.
    #[error("entry {entry:?} is no variable; it is kept as it is")]
    NotAVariable {
        /// The entry, lossily decoded.
        entry: String,
    },
    /// See [`Env::is_rejected`].
    #[error("entry {entry:?} has no name: U-Boot rejects the whole environment because of it")]
    Nameless {
        /// The entry, lossily decoded.
        entry: String,
    },
    /// U-Boot's hash table is full before the area is.
    #[error("{count} variables are stored; U-Boot has room for about {limit}")]
    TooManyVariables {
        /// Variables stored.
        count: usize,
        /// U-Boot's table size for this environment size.
        limit: u64,
    },
}

/// `name=value` as U-Boot splits it: leading blanks skipped, `#` starts a comment. An entry with
/// no `=` or no name is not a variable.
fn split(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = entry.iter().position(|b| !matches!(b, b' ' | b'\t'))?;
    let entry = entry.get(start..)?;
    if entry.first() == Some(&b'#') {
        return None;
    }
    let eq = entry.iter().position(|&b| b == b'=')?;
    let (name, rest) = entry.split_at_checked(eq)?;
    if name.is_empty() {
        None
    } else {
        Some((name, rest.get(1..)?))
    }
}

/// `=value`. A bare `=` is a deletion of nothing, which U-Boot takes.
fn is_nameless(entry: &[u8]) -> bool {
    let start = entry.iter().position(|b| !matches!(b, b' ' | b'\t'));
    let entry = start.and_then(|at| entry.get(at..)).unwrap_or_default();
    matches!(entry, [b'=', _, ..])
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
