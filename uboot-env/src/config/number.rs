//! Numbers as C's `strtol` family writes them.

/// `%lx`: hexadecimal with or without `0x`.
pub(super) fn hex(text: &str) -> Option<u64> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    unsigned(digits, 16)
}

/// `%lli`: `0x…` hexadecimal, `0…` octal, else decimal; with a sign.
pub(super) fn any_base(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = i64::try_from(any_base_unsigned(digits)?).ok()?;
    Some(if negative { -value } else { value })
}

/// `strtoull(…, 0)` without a sign.
pub(super) fn any_base_unsigned(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        unsigned(digits, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        unsigned(text, 8)
    } else {
        unsigned(text, 10)
    }
}

/// `from_str_radix` without the sign that it would let through.
fn unsigned(digits: &str, radix: u32) -> Option<u64> {
    if digits.starts_with(['+', '-']) {
        None
    } else {
        u64::from_str_radix(digits, radix).ok()
    }
}
