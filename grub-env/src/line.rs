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
    /// A comment.
    Comment,
    /// Text behind the last variable in which no `=` comes any more, with a newline at its end.
    Stray,
}

/// What the bytes at some place of a block are.
pub(crate) enum Next {
    /// A line of this kind; its length is that of its bytes.
    Line(Line),
    /// A line that is the last, with padding behind it.
    LastLine(Line),
    /// Padding up to the end.
    Padding,
    /// A line without an end.
    Unfinished,
}

impl Line {
    /// Reads what `rest`, all bytes to the end of the block, begins with.
    pub(crate) fn next(rest: &[u8]) -> Next {
        let cut = |len: usize| rest.get(..len).unwrap_or(rest).to_vec();
        if rest.first() == Some(&b'#') {
            return match line_len(rest) {
                Some(len) => Next::Line(Self::comment(&cut(len))),
                None if rest.iter().all(|b| *b == b'#') => Next::Padding,
                None => Next::Unfinished,
            };
        }
        // The name reaches over newlines, as GRUB has it.
        let Some(name_len) = rest.iter().position(|b| *b == b'=') else {
            let padding = rest.iter().rev().take_while(|b| **b == b'#').count();
            let raw = cut(rest.len() - padding);
            return match raw.last() {
                Some(b'\n') => Next::LastLine(Self {
                    raw,
                    kind: Kind::Stray,
                }),
                _ => Next::Unfinished,
            };
        };
        let value = rest.get(name_len + 1..).unwrap_or_default();
        let Some(value_len) = line_len(value) else {
            return Next::Unfinished;
        };
        let kind = Kind::Variable {
            name_len,
            value: unescape(value.get(..value_len - 1).unwrap_or_default()),
        };
        Next::Line(Self {
            raw: cut(name_len + 1 + value_len),
            kind,
        })
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
            kind: Kind::Comment,
        }
    }

    pub(crate) fn is_stray(&self) -> bool {
        self.kind == Kind::Stray
    }

    pub(crate) fn as_variable(&self) -> Option<(&[u8], &[u8])> {
        match &self.kind {
            Kind::Variable { name_len, value } => Some((self.raw.get(..*name_len)?, value)),
            Kind::Comment | Kind::Stray => None,
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
fn line_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'\n' => return Some(at + 1),
            _ => at += 1,
        }
    }
}
