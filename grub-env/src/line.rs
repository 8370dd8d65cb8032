//! One line of a block, kept as it was found. The rules are in [`crate::block`].

/// One line, kept as it was found.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// All bytes, with the newline.
    pub(crate) raw: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// `name_len` bytes of `raw` are the name; `value` is unescaped.
    Variable { name_len: usize, value: Vec<u8> },
    /// A comment, an empty line, a line without `=`.
    Other,
}

impl Line {
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let raw = raw.to_vec();
        let name_len = raw.iter().position(|b| *b == b'=');
        let kind = match (raw.first(), name_len) {
            (Some(b'#'), _) | (_, None) => Kind::Other,
            (_, Some(name_len)) => {
                let escaped = raw.get(name_len + 1..raw.len() - 1).unwrap_or_default();
                Kind::Variable {
                    name_len,
                    value: unescape(escaped),
                }
            }
        };
        Self { raw, kind }
    }

    pub(crate) fn variable(name: &[u8], value: &[u8]) -> Self {
        let mut raw = name.to_vec();
        raw.push(b'=');
        for byte in value {
            if matches!(byte, b'\\' | b'\n') {
                raw.push(b'\\');
            }
            raw.push(*byte);
        }
        raw.push(b'\n');
        Self {
            raw,
            kind: Kind::Variable {
                name_len: name.len(),
                value: value.to_vec(),
            },
        }
    }

    /// A comment line; `raw` must begin with `#` and end with a newline.
    pub(crate) fn comment(raw: &[u8]) -> Self {
        Self {
            raw: raw.to_vec(),
            kind: Kind::Other,
        }
    }

    pub(crate) fn as_variable(&self) -> Option<(&[u8], &[u8])> {
        match &self.kind {
            Kind::Variable { name_len, value } => Some((self.raw.get(..*name_len)?, value)),
            Kind::Other => None,
        }
    }

    pub(crate) fn is_named(&self, name: &[u8]) -> bool {
        self.as_variable().is_some_and(|(n, _)| n == name)
    }

    /// A whole line of nothing but `#`.
    pub(crate) fn looks_like_padding(&self) -> bool {
        match self.raw.split_last() {
            Some((b'\n', rest)) => !rest.is_empty() && rest.iter().all(|b| *b == b'#'),
            _ => false,
        }
    }
}

fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => value.extend(bytes.next()),
            other => value.push(*other),
        }
    }
    value
}

/// The length of the line at the start of `bytes`, newline included; `None` if it has no end.
pub(crate) fn line_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'\n' => return Some(at + 1),
            _ => at += 1,
        }
    }
}
