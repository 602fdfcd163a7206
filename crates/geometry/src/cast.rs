//! Which people of a video count as main, by their time on screen.

/// Time on screen from which a person counts as main, seconds; people with less are usually passers-by.
pub const MAIN_SECS: f64 = 4.0;
/// Smallest share of the screen time of all people that the main people have together, 0 to 1.
const MAIN_SHARE: f64 = 0.9;

/// Returns for each person whether the person is one of the main people: everyone on screen for at least
/// [`MAIN_SECS`], and the people seen most who together have 90 % of the screen time. `secs` is the time on screen of
/// each person, seconds. Of people with the same time, the first ones count first.
///
/// *Example.* Of people on screen for 3, 2 and 0.4 s, the first two have 93 % of the time and are the main people.
pub fn main_cast(secs: &[f64]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..secs.len()).collect();
    order.sort_by(|a, b| secs[*b].total_cmp(&secs[*a]).then(a.cmp(b)));
    let total: f64 = order.iter().map(|person| secs[*person]).sum();
    let (mut before, mut is_main) = (0.0, vec![false; secs.len()]);
    for person in order {
        is_main[person] = secs[person] >= MAIN_SECS || before < MAIN_SHARE * total;
        before += secs[person];
    }
    is_main
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_people_are_seen_for_long_or_have_most_of_the_time() {
        assert_eq!(main_cast(&[0.4, 3.0, 2.0]), [false, true, true]);
        assert_eq!(main_cast(&[100.0, 4.0, 3.9]), [true, true, false], "4 s are enough beside 100 s");
        assert_eq!(main_cast(&[1.0, 1.0]), [true, true], "one of two has half of the time");
        assert_eq!(main_cast(&[]), [] as [bool; 0]);
    }
}
