//! Pairs things of two kinds one to one.

use std::collections::{BTreeMap, BTreeSet};

/// Pairs that have most in common, one to one: the pair with the largest number first; of equal numbers, the smaller pair.
/// Things whose partners are all taken stay alone.
///
/// *Example.* If (1, a) have 3 in common, (1, b) 2 and (2, a) 1, only 1 and a are paired.
pub fn one_to_one<A: Ord + Clone, B: Ord + Clone>(
    shared: impl IntoIterator<Item = ((A, B), i64)>,
) -> BTreeMap<A, B> {
    let mut pairs: Vec<_> = shared.into_iter().map(|(pair, number)| (-number, pair)).collect();
    pairs.sort_unstable();
    let (mut paired, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (_, (a, b)) in pairs {
        if !paired.contains_key(&a) && taken.insert(b.clone()) {
            paired.insert(a, b);
        }
    }
    paired
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_in_common_comes_first_and_nothing_is_paired_twice() {
        let pairs = |shared: &[((i64, char), i64)]| {
            one_to_one(shared.iter().copied()).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(pairs(&[((1, 'b'), 2), ((2, 'a'), 1), ((1, 'a'), 3)]), [(1, 'a')]);
        assert_eq!(pairs(&[((1, 'b'), 2), ((2, 'b'), 2), ((2, 'a'), 1)]), [(1, 'b'), (2, 'a')]);
        assert_eq!(pairs(&[]), []);
    }
}
