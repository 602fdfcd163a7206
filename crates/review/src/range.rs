//! The header `Range` (RFC 9110, section 14), one range of bytes at a time.

use std::ops::Range;

/// What a request wants of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: without the header, or one that is not understood, as the standard asks.
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that the file does not have.
    Beyond,
}

/// Reads the value of the header for a file of `length` bytes.
pub(crate) fn wanted(header: Option<&str>, length: u64) -> Wanted {
    let Some((first, last)) = header.and_then(|value| value.trim().strip_prefix("bytes=")?.split_once('-'))
    else {
        return Wanted::All;
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (number(first.trim()), last.trim()) {
        (Some(first), "") => first..length,
        (Some(first), last) => match number(last) {
            Some(last) if last >= first => first..last.saturating_add(1).min(length),
            _ => return Wanted::All,
        },
        (None, last) if first.trim().is_empty() => match number(last) {
            Some(count) => length.saturating_sub(count)..length,
            None => return Wanted::All,
        },
        (None, _) => return Wanted::All,
    };
    if range.is_empty() { Wanted::Beyond } else { Wanted::Part(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_standard() {
        let part = |header, range| assert_eq!(wanted(Some(header), 1000), Wanted::Part(range), "{header}");
        part("bytes=0-499", 0..500);
        part("bytes=500-", 500..1000);
        part("bytes=-200", 800..1000);
        part("bytes=-2000", 0..1000);
        part("bytes=999-99999999999999999999999", 999..1000);
        for beyond in ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(wanted(Some(beyond), 1000), Wanted::Beyond, "{beyond}");
        }
        for all in ["", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=0-1,5-6", "lines=0-1"]
        {
            assert_eq!(wanted(Some(all), 1000), Wanted::All, "{all}");
        }
        assert_eq!(wanted(None, 1000), Wanted::All);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Beyond);
    }
}
