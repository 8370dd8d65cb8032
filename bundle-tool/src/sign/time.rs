//! The signing time: UTCTime up to 2049, GeneralizedTime from then on.

use bundle_format::der::element;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Encodes seconds since 1970; `None` outside of 1970 to 9999.
pub(super) fn encode(time: i64) -> Option<Vec<u8>> {
    let (year, month, day) = date(time.div_euclid(DAY))?;
    let (hour, minute, second) = (
        time.rem_euclid(DAY) / 3600,
        time.rem_euclid(3600) / 60,
        time.rem_euclid(60),
    );
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    Some(match year {
        1970..=1999 => element(0x17, format!("{:02}{rest}", year - 1900).as_bytes()),
        2000..=2049 => element(0x17, format!("{:02}{rest}", year - 2000).as_bytes()),
        _ => element(0x18, format!("{year:04}{rest}").as_bytes()),
    })
}

/// Year, month and day of a day counted from 1970-01-01.
fn date(mut day: i64) -> Option<(i64, i64, i64)> {
    if !(0..=2_932_896).contains(&day) {
        return None;
    }
    let mut year = 1970;
    loop {
        let days = if is_leap(year) { 366 } else { 365 };
        if day < days {
            break;
        }
        day -= days;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    Some((year, month, day + 1))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(time: i64) -> String {
        String::from_utf8(encode(time).unwrap()[2..].to_vec()).unwrap()
    }

    #[test]
    fn known_times() {
        assert_eq!(text(0), "700101000000Z");
        assert_eq!(text(951_782_399), "000228235959Z");
        assert_eq!(text(951_782_400), "000229000000Z");
        assert_eq!(text(1_767_225_599), "251231235959Z");
        assert_eq!(text(2_524_607_999), "491231235959Z");
        assert_eq!(text(2_524_608_000), "20500101000000Z");
        assert_eq!(text(253_402_300_799), "99991231235959Z");
        assert_eq!(encode(253_402_300_800), None);
        assert_eq!(encode(-1), None);
    }
}
