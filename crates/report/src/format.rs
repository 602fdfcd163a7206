//! Numbers as text for people. Every function accepts any input.

/// A moment of the video: `0:07.3`, `12:05.0`, `1:02:03.4`.
pub(crate) fn moment(secs: f64) -> String {
    let tenths = (secs.max(0.0) * 10.0).round() as u64;
    let (minutes, rest) = (tenths / 600, tenths % 600);
    let seconds = format!("{:02}.{}", rest / 10, rest % 10);
    if minutes < 60 {
        format!("{minutes}:{seconds}")
    } else {
        format!("{}:{:02}:{seconds}", minutes / 60, minutes % 60)
    }
}

/// A mark on a time axis: `0:05`, `12:00`, `1:02:00`.
pub(crate) fn tick(secs: f64) -> String {
    let text = moment(secs.round());
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A length of time: `4.2 s`, `1 min 5 s`, `1 h 2 min`.
pub(crate) fn length(secs: f64) -> String {
    let secs = secs.max(0.0);
    if secs < 59.95 {
        return format!("{secs:.1}\u{a0}s");
    }
    let whole = secs.round() as u64;
    if whole < 3600 {
        format!("{}\u{a0}min {}\u{a0}s", whole / 60, whole % 60)
    } else {
        format!("{}\u{a0}h {}\u{a0}min", whole / 3600, whole % 3600 / 60)
    }
}

/// A length or place in a drawing, user units.
pub(crate) fn units(value: f64) -> String {
    format!("{value:.1}")
}

/// Frames per second: `25`, `23.976`.
pub(crate) fn rate(rate: f64) -> String {
    let text = format!("{rate:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share of one: `43 %`, `< 1 %`.
pub(crate) fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.005 {
        return "<\u{a0}1\u{a0}%".into();
    }
    format!("{:.0}\u{a0}%", share * 100.0)
}

/// A whole number with thousands apart: `12 345`.
pub(crate) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A count and what it counts: `1 track`, `12 tracks`.
pub(crate) fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{}\u{a0}{}", count(n), if n == 1 { one } else { many })
}

/// Width and height in pixels: `640 × 360`.
pub(crate) fn size(width: i64, height: i64) -> String {
    format!("{width}\u{a0}×\u{a0}{height}")
}

/// A figure: whole numbers as they are, others with three decimals.
pub(crate) fn figure(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        let sign = if value < 0.0 { "\u{2212}" } else { "" };
        return format!("{sign}{}", count(value.abs() as usize));
    }
    format!("{value:.3}").replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_carry_over_correctly() {
        assert_eq!(
            [moment(0.0), moment(59.96), moment(3599.97), moment(-1.0)],
            ["0:00.0", "1:00.0", "1:00:00.0", "0:00.0"]
        );
        assert_eq!([tick(5.0), tick(3720.0)], ["0:05", "1:02:00"]);
        assert_eq!(
            [length(4.25), length(59.96), length(3725.0)],
            ["4.2\u{a0}s", "1\u{a0}min 0\u{a0}s", "1\u{a0}h 2\u{a0}min"]
        );
    }

    #[test]
    fn numbers_are_grouped_and_shares_never_vanish() {
        assert_eq!(
            [count(12), count(1234), count(1_234_567)],
            ["12", "1\u{202f}234", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!(
            [percent(0.0), percent(0.001), percent(0.43)],
            ["0\u{a0}%", "<\u{a0}1\u{a0}%", "43\u{a0}%"]
        );
        assert_eq!([rate(25.0), rate(24000.0 / 1001.0), rate(0.0)], ["25", "23.976", "0"]);
        assert_eq!([figure(12.0), figure(0.12345), figure(-0.5)], ["12", "0.123", "\u{2212}0.500"]);
    }
}
