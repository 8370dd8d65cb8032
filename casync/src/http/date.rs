//! Dates as web servers write them.

/// Names of the months in a date.
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that servers may write
/// (RFC 9110, section 5.6.7).
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (_, date) = text.split_once(", ")?;
    let mut words = date.split(' ');
    let mut next = || words.next();
    let day: u64 = number(next()?, 1..=31)?;
    let name = next()?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let year = number(next()?, 1970..=9999)?;
    let mut time = next()?.split(':');
    let hour = number(time.next()?, 0..=23)?;
    let minute = number(time.next()?, 0..=59)?;
    let second = number(time.next()?, 0..=60)?;
    (next() == Some("GMT")).then_some(())?;
    let days = days_before(year, month) + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(text: &str, within: std::ops::RangeInclusive<u64>) -> Option<u64> {
    text.parse().ok().filter(|number| within.contains(number))
}

/// Days from 1970 to the first of a month (0: January).
fn days_before(year: u64, month: usize) -> u64 {
    const DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = leaps(year) > leaps(year - 1);
    let whole_years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let months: u64 = DAYS.iter().take(month).sum();
    whole_years + months + u64::from(is_leap && month > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `date -u +%s -d`.
    #[test]
    fn dates_and_what_is_none() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "7",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Now 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
