//! Times as text, and the day on which data must be gone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Length of `YYYY-MM-DD`.
const DATE_LEN: usize = 10;
/// Longest time that data are kept by a number of days: a century; a date may be later.
const MOST_DAYS: u64 = 36_500;

/// Returns a time as text, UTC, to the second. Days are counted from 1 March of the year 0, so the leap day is the
/// last day of a year (Hinnant, "chrono-compatible low-level date algorithms").
pub fn utc(time: SystemTime) -> String {
    let secs = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, secs) = (secs / 86_400 + 719_468, secs % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (year + era * 400, month + 3),
        _ => (year + era * 400 + 1, month - 9),
    };
    let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns the present day, UTC, as `2026-11-28`.
pub fn today() -> String {
    day_after(SystemTime::now(), 0)
}

fn day_after(time: SystemTime, days: u64) -> String {
    let mut text = utc(time + Duration::from_secs(days * 86_400));
    text.truncate(DATE_LEN);
    text
}

/// Reads the day from which data must be gone: a date such as `2027-01-31`, or a number of days from the present one
/// such as `90d`. Returns the date.
///
/// # Errors
/// What a date must look like, for a text that is neither.
pub fn parse_expiry(text: &str) -> Result<String, String> {
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse().ok()) {
        let days = Some(days).filter(|days| (1..=MOST_DAYS).contains(days));
        return days
            .map(|days| day_after(SystemTime::now(), days))
            .ok_or_else(|| format!("must be 1d to {MOST_DAYS}d"));
    }
    if is_date(text) { Ok(text.to_owned()) } else { Err("must be a date such as 2027-01-31, or 90d".into()) }
}

/// Whether a text is a day of the calendar, as `2027-01-31`.
pub fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |text: &str, len: usize| {
        (text.len() == len && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u32>().ok())
            .flatten()
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_the_calendar() {
        let at = |secs: u64| utc(UNIX_EPOCH + Duration::from_secs(secs));
        // By `date -u -d @SECONDS`.
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(at(1_795_888_200), "2026-11-28T17:50:00Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn a_day_of_expiry_is_a_date_or_a_number_of_days() {
        for good in ["2027-01-31", "2028-02-29", "2000-02-29"] {
            assert_eq!(parse_expiry(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "2027-02-29",
            "2100-02-29",
            "2027-13-01",
            "27-01-01",
            "2027-1-1",
            "2027-01-00",
            "0d",
            "99999d",
            "d",
            "+027-01-01",
        ] {
            assert!(parse_expiry(bad).is_err(), "{bad}");
        }
        let late = parse_expiry("400d");
        assert!(late.is_ok_and(|late| is_date(&late) && late > today()));
    }
}
