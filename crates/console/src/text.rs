//! Durations and numbers as text for people.

/// Returns a number as text: with three significant digits up to 1000, but with at most three decimals.
pub fn rounded(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Returns a duration in seconds as text with units: `0.8 s`, `42 s`, `3 min 5 s`, `2 h 4 min`; `0.0 s` below 0.
pub fn duration(secs: f64) -> String {
    if secs < 9.95 {
        return format!("{:.1} s", secs.max(0.0));
    }
    let whole = secs.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// Returns a count with its noun, `one` for 1 and `many` otherwise: `1 track`, `12 tracks`.
pub fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(
            [duration(0.84), duration(42.0), duration(185.0), duration(7440.0)],
            ["0.8 s", "42 s", "3 min 5 s", "2 h 4 min"]
        );
    }

    #[test]
    fn numbers_keep_about_three_figures() {
        assert_eq!(
            [rounded(0.0), rounded(0.1234), rounded(4.567), rounded(45.67), rounded(456.7)],
            ["0", "0.123", "4.57", "45.7", "457"]
        );
    }
}
