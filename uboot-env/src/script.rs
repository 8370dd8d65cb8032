//! Scripts of `fw_setenv -s` and default environment files, in the dialects of both tools.
//!
//! | | U-Boot's `fw_setenv` | libubootenv | here, [`Dialect::Both`] |
//! |---|---|---|---|
//! | a line | `name value`, newer also `name=value` | `name=value` | either |
//! | `name` alone | deletes | ignored | deletes |
//! | `name=` | deletes | deletes | deletes |
//! | line without `=` | see above | ignored | as U-Boot's |
//! | last line without line end | error | taken | taken |
//! | lines over 1023 bytes (2047 in 0.3.7) | taken | **cut; the rest becomes a new variable** | taken |
//! | `name = value` | value `= value` | name with a blank | error: unclear |

use crate::env::{VarError, VarName};
use thiserror::Error;

/// How lines are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The name ends at the first blank or `=`.
    #[default]
    Both,
    /// The name ends at the first `=`; a line without one is an error.
    Libubootenv,
}

/// One line: a variable to set, or to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: VarName,
    /// The new value; `None` deletes.
    pub value: Option<Vec<u8>>,
    /// Line in the script, from 1.
    pub line: usize,
}

/// A line that is not understood. Nothing of the script is then carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of the script")]
pub struct ScriptError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    #[source]
    pub what: ScriptProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScriptProblem {
    /// The name or value cannot be stored.
    #[error(transparent)]
    Var(#[from] VarError),
    /// `name = value`.
    #[error("`name = value` is read differently by different tools: write `name=value`")]
    Unclear,
    /// No `=` in [`Dialect::Libubootenv`].
    #[error("has no `=` (libubootenv would ignore the line)")]
    NoEquals,
}

/// Reads a script.
///
/// # Errors
/// [`ScriptError`] for the first line that is not understood.
pub fn parse(text: &[u8], dialect: Dialect) -> Result<Vec<Assignment>, ScriptError> {
    let mut out = Vec::new();
    for (index, raw) in text.split(|&b| b == b'\n').enumerate() {
        let line = index + 1;
        let body = raw.strip_suffix(b"\r").unwrap_or(raw);
        if body.trim_ascii().is_empty() || body.first() == Some(&b'#') {
            continue;
        }
        let (name, value) = split(body, dialect).map_err(|what| ScriptError { line, what })?;
        let var = |e: VarError| ScriptError {
            line,
            what: e.into(),
        };
        let name = VarName::new(name).map_err(var)?;
        if value.contains(&0) {
            return Err(var(VarError::NulInValue {
                name: name.to_string(),
            }));
        }
        let value = (!value.is_empty()).then(|| value.to_vec());
        out.push(Assignment { name, value, line });
    }
    Ok(out)
}

fn split(body: &[u8], dialect: Dialect) -> Result<(&[u8], &[u8]), ScriptProblem> {
    let is_blank = |b: &u8| matches!(b, b' ' | b'\t');
    let skip_blanks = |s: &[u8]| s.iter().take_while(|b| is_blank(b)).count();
    if dialect == Dialect::Libubootenv {
        let eq = body
            .iter()
            .position(|&b| b == b'=')
            .ok_or(ScriptProblem::NoEquals)?;
        let (name, rest) = body.split_at(eq);
        return Ok((name, rest.get(1..).unwrap_or_default()));
    }
    let (_, body) = body.split_at(skip_blanks(body));
    let end = body
        .iter()
        .position(|b| is_blank(b) || *b == b'=')
        .unwrap_or(body.len());
    let (name, rest) = body.split_at(end);
    if let Some(value) = rest.strip_prefix(b"=") {
        return Ok((name, value));
    }
    let (_, value) = rest.split_at(skip_blanks(rest));
    if value.first() == Some(&b'=') {
        Err(ScriptProblem::Unclear)
    } else {
        Ok((name, value))
    }
}

#[cfg(test)]
mod tests;
