//! Types and access rights of variables: `.flags` in the environment and libubootenv's `writelist`.
//!
//! `.flags` is `name:TA,name:TA,…` with a type T (`s`tring, `d`ecimal, he`x`, `b`ool, `i`p, `m`ac)
//! and an access A (`a`ny, `r`ead-only, write-`o`nce, `c`hange-default, `w`riteable). It is obeyed
//! and never rewritten. Names given as regular expressions (possible in U-Boot with
//! `CONFIG_REGEX`) match literally only. U-Boot's *compiled-in* list (`ethaddr`, `serial#`) is not
//! assumed, as it depends on the board; put such rules into `.flags`.

use crate::env::{Env, VarName, lossy};
use thiserror::Error;

/// The kind of value a variable takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VarType {
    /// Anything.
    #[default]
    String,
    /// Decimal digits, perhaps with a sign.
    Decimal,
    /// Hexadecimal digits, with or without `0x`.
    Hex,
    /// Starts with one of `1yYtT0nNfF`.
    Bool,
    /// Dotted quad.
    Ip,
    /// Six hexadecimal pairs.
    Mac,
}

/// What may be done with a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Everything.
    #[default]
    Any,
    /// Nothing.
    ReadOnly,
    /// Create it once.
    WriteOnce,
    /// Change it once from its default, which only U-Boot knows: here as write-once.
    ChangeDefault,
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccessError {
    /// By `.flags` or the writelist's flags.
    #[error("{name} may not be changed: it is marked {how}")]
    Denied {
        /// The variable.
        name: String,
        /// The mark, in words.
        how: &'static str,
    },
    /// The value is not of the declared type.
    #[error("{value:?} is no {kind}, which is what {name} is declared to hold")]
    Type {
        /// The variable.
        name: String,
        /// The value, lossily decoded.
        value: String,
        /// The type, in words.
        kind: &'static str,
    },
    /// There is a writelist and the variable is not on it.
    #[error("{name} is not in the writelist of the configuration")]
    NotListed {
        /// The variable.
        name: String,
    },
}

/// One declaration: variable, type, access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The variable, verbatim.
    pub name: Vec<u8>,
    /// Its type.
    pub kind: VarType,
    /// What may be done with it.
    pub access: Access,
}

impl Rule {
    /// Reads the letters after `name:`. Unknown letters have no effect, as in U-Boot.
    #[must_use]
    pub fn new(name: &[u8], letters: &[u8]) -> Self {
        let mut rule = Self {
            name: name.to_vec(),
            kind: VarType::String,
            access: Access::Any,
        };
        for letter in letters {
            match letter {
                b's' => rule.kind = VarType::String,
                b'd' => rule.kind = VarType::Decimal,
                b'x' => rule.kind = VarType::Hex,
                b'b' => rule.kind = VarType::Bool,
                b'i' => rule.kind = VarType::Ip,
                b'm' => rule.kind = VarType::Mac,
                b'a' | b'w' => rule.access = Access::Any,
                b'r' => rule.access = Access::ReadOnly,
                b'o' => rule.access = Access::WriteOnce,
                b'c' => rule.access = Access::ChangeDefault,
                _ => {}
            }
        }
        rule
    }

    fn check(&self, env: &Env, value: Option<&[u8]>) -> Result<(), AccessError> {
        let name = || lossy(&self.name);
        let denied = |how| Err(AccessError::Denied { name: name(), how });
        let exists = env.get(&self.name).is_some_and(|v| !v.is_empty());
        match (self.access, exists) {
            (Access::Any, _) | (Access::WriteOnce | Access::ChangeDefault, false) => {}
            (Access::ReadOnly, _) => return denied("read-only"),
            (Access::WriteOnce, true) => return denied("write-once and has a value"),
            (Access::ChangeDefault, true) => {
                return denied("change-default, and only U-Boot knows the default");
            }
        }
        match value {
            Some(v) if !v.is_empty() && !self.kind.accepts(v) => Err(AccessError::Type {
                name: name(),
                value: lossy(v),
                kind: self.kind.in_words(),
            }),
            _ => Ok(()),
        }
    }
}

impl VarType {
    fn accepts(self, value: &[u8]) -> bool {
        let all = |v: &[u8], f: fn(&u8) -> bool| !v.is_empty() && v.iter().all(f);
        match self {
            Self::String => true,
            Self::Decimal => all(
                value.strip_prefix(b"-").unwrap_or(value),
                u8::is_ascii_digit,
            ),
            Self::Hex => {
                let digits = value
                    .strip_prefix(b"0x")
                    .or_else(|| value.strip_prefix(b"0X"));
                all(digits.unwrap_or(value), u8::is_ascii_hexdigit)
            }
            Self::Bool => value.first().is_some_and(|b| b"1yYtT0nNfF".contains(b)),
            Self::Ip => {
                let parts: Vec<&[u8]> = value.split(|&b| b == b'.').collect();
                parts.len() == 4 && parts.iter().all(|p| lossy(p).parse::<u8>().is_ok())
            }
            Self::Mac => {
                let parts: Vec<&[u8]> = value.split(|&b| b == b':').collect();
                parts.len() == 6
                    && parts
                        .iter()
                        .all(|p| p.len() == 2 && all(p, u8::is_ascii_hexdigit))
            }
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Decimal => "decimal number",
            Self::Hex => "hexadecimal number",
            Self::Bool => "truth value (1/0, y/n, t/f)",
            Self::Ip => "IPv4 address",
            Self::Mac => "MAC address",
        }
    }
}

/// The declarations in the environment's `.flags`.
#[must_use]
pub fn declared(env: &Env) -> Vec<Rule> {
    let Some(flags) = env.get(b".flags") else {
        return Vec::new();
    };
    flags
        .split(|&b| b == b',')
        .filter_map(|item| {
            let colon = item.iter().position(|&b| b == b':')?;
            let (name, letters) = item.split_at_checked(colon)?;
            Some(Rule::new(name, letters.get(1..)?))
        })
        .collect()
}

/// Whether `name` may be set to `value` (`None`: deleted), given the environment as it is and the
/// writelist of the configuration (`None`: there is none).
///
/// # Errors
/// The first rule that forbids it.
pub fn check(
    env: &Env,
    writelist: Option<&[Rule]>,
    name: &VarName,
    value: Option<&[u8]>,
) -> Result<(), AccessError> {
    let same = |rule: &&Rule| rule.name == name.as_bytes();
    if env.get(name.as_bytes()) == value {
        return Ok(());
    }
    if let Some(list) = writelist {
        let rule = list.iter().find(same);
        rule.ok_or_else(|| AccessError::NotListed {
            name: name.to_string(),
        })?
        .check(env, value)?;
    }
    // As with doubled variables, the last declaration counts.
    declared(env)
        .iter()
        .rev()
        .find(same)
        .map_or(Ok(()), |rule| rule.check(env, value))
}

#[cfg(test)]
mod tests;
