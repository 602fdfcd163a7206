//! Groups of items with must-link constraints. A linking method treats each group as one item.

use numeric::merges::Merges;
use numeric::vector::{add, direction};

use crate::linkage::{Merge, numbered};
use crate::method::{Assignment, Crop, Error, Evidence, FurtherView, Items, Method, Outfit, Tree, mean_norm};

/// Groups of items that must be linked.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// Group of each item; groups are numbered by their first items.
    of: Vec<usize>,
    count: usize,
}

impl Groups {
    /// Creates the groups of `n` items from must-link pairs.
    pub fn new(n: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut sets = Merges::new(n);
        for (a, b) in pairs {
            sets.unite(a as u32, b as u32);
        }
        let of = sets.labels(n);
        let count = of.iter().max().map_or(0, |last| last + 1);
        Self { of, count }
    }

    /// Returns the group of an item.
    pub fn of(&self, item: usize) -> usize {
        self.of[item]
    }

    /// Returns whether two items belong to one group; `false` if one of them is `None`.
    pub fn are_one(&self, a: Option<usize>, b: Option<usize>) -> bool {
        a.zip(b).is_some_and(|(a, b)| self.of[a] == self.of[b])
    }

    /// Links the groups with a method. Each group is one item, with the mean of its vectors, the crops of
    /// all its items, and the largest of their detection scores. A cannot-link pair applies to the groups of both items; a
    /// cannot-link pair within a group is ignored.
    ///
    /// # Errors
    /// Returns the errors of the method.
    pub fn assign(
        &self,
        method: &dyn Method,
        items: &Items<'_>,
        advance: &mut dyn FnMut(usize, usize),
    ) -> Result<Assignment, Error> {
        if self.count == self.of.len() {
            return method.assign(items, advance);
        }
        let means = self.means(items.vectors());
        let cannot_link = items.cannot_link().iter().map(|(a, b)| (self.of[*a], self.of[*b]));
        let cannot_link = cannot_link.filter(|(a, b)| a != b).collect();
        let mut crops: Vec<Crop<'_>> =
            items.crops().iter().map(|crop| Crop { item: self.of[crop.item], ..*crop }).collect();
        crops.sort_by_key(|crop| crop.item);
        let seen: Vec<_> = items.views().iter().map(|view| self.seen(&view.seen)).collect();
        let views = items.views().iter().zip(&seen).map(|(view, seen)| FurtherView {
            quality: view.quality,
            seen: seen
                .iter()
                .map(|seen| seen.as_ref().map(|(vector, norm)| (vector.as_slice(), *norm)))
                .collect(),
        });
        let outfits = items.outfits().iter().map(|outfit| Outfit { item: self.of[outfit.item], ..*outfit });
        let mut scores = vec![0.0_f32; if items.scores().is_empty() { 0 } else { self.count }];
        for (group, score) in self.of.iter().zip(items.scores()) {
            scores[*group] = scores[*group].max(*score);
        }
        let joined = Items::new(means.iter().map(Vec::as_slice).collect(), cannot_link)?
            .with_crops(crops)?
            .with_views(views.collect())?
            .with_outfits(outfits.collect())?;
        let joined = if scores.is_empty() { joined } else { joined.with_scores(scores)? };
        Ok(self.spread(method.assign(&joined, advance)?))
    }

    /// Returns the mean direction of each group, or the first vector of the group if its vectors cancel each
    /// other out.
    fn means(&self, vectors: &[&[f32]]) -> Vec<Vec<f32>> {
        let mut members = vec![Vec::new(); self.count];
        self.of.iter().zip(vectors).for_each(|(group, vector)| members[*group].push(*vector));
        members.iter().map(|members| mean(members)).collect()
    }

    /// Returns the vector and the raw norm of each group in the view of a further embedder: the mean direction of its
    /// items, and the mean of their norms by [`mean_norm`]; `None` for a group without a vector in this view.
    fn seen(&self, seen: &[Option<(&[f32], f32)>]) -> Vec<Option<(Vec<f32>, f32)>> {
        let mut members: Vec<Vec<(&[f32], f32)>> = vec![Vec::new(); self.count];
        self.of.iter().zip(seen).for_each(|(group, seen)| members[*group].extend(*seen));
        let of = |members: Vec<(&[f32], f32)>| {
            let (vectors, norms): (Vec<_>, Vec<_>) = members.into_iter().unzip();
            (!vectors.is_empty()).then(|| (mean(&vectors), mean_norm(norms.into_iter()) as f32))
        };
        members.into_iter().map(of).collect()
    }

    /// Converts an assignment of groups to an assignment of their items.
    fn spread(&self, found: Assignment) -> Assignment {
        let of_items = |labels: &[Option<usize>]| self.of.iter().map(|group| labels[*group]).collect();
        Assignment {
            labels: of_items(&found.labels),
            tree: found.tree.map(|tree| Tree { merges: self.grown(&tree.merges), ..tree }),
            fits: found.fits.map(|fits| self.of.iter().map(|group| fits[*group]).collect()),
            calibration: found.calibration,
            evidence: found.evidence.map(|evidence| Evidence { items: self.firsts(), ..evidence }),
            cuts: found.cuts.into_iter().map(|(threshold, labels)| (threshold, of_items(&labels))).collect(),
        }
    }

    /// Returns the first item of each group.
    fn firsts(&self) -> Vec<usize> {
        let mut firsts: Vec<usize> = (0..self.of.len()).collect();
        let mut seen = 0;
        firsts.retain(|item| {
            let is_first = self.of[*item] == seen;
            seen += usize::from(is_first);
            is_first
        });
        firsts
    }

    /// Converts the tree of the groups to a tree of the items; the items of a group are merged first, at
    /// height 0.
    fn grown(&self, merges: &[Merge]) -> Vec<Merge> {
        // One item below each node of the tree of the groups.
        let mut under = self.firsts();
        let items = self.of.iter().enumerate().filter(|(item, group)| under[**group] != *item);
        let mut all: Vec<_> = items.map(|(item, group)| (under[*group], item, 0.0)).collect();
        for merge in merges {
            all.push((under[merge.left], under[merge.right], merge.height));
            under.push(under[merge.left]);
        }
        numbered(self.of.len(), all)
    }
}

fn mean(vectors: &[&[f32]]) -> Vec<f32> {
    let Some(first) = vectors.first() else { return Vec::new() };
    let mut sum = vec![0.0; first.len()];
    vectors.iter().for_each(|vector| add(&mut sum, vector));
    direction(&sum, 1e-3).unwrap_or_else(|| first.to_vec())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::linkage::cut;
    use crate::method::tests::{cases, items, methods};

    #[test]
    fn groups_are_transitive() {
        let groups = Groups::new(6, [(4, 1), (2, 5), (5, 4)]);
        assert_eq!(groups, Groups { of: vec![0, 1, 1, 2, 1, 1], count: 3 });
    }

    proptest! {
        /// With every method, the items of a group have one label and the tree has n − 1 merges.
        #[test]
        fn every_method_keeps_groups_together((vectors, cannot_link) in cases(), pairs in prop::collection::vec((0..16_usize, 0..16_usize), 0..4)) {
            let n = vectors.len();
            let pairs: Vec<_> = pairs.into_iter().filter(|(a, b)| *a.max(b) < n).collect();
            let groups = Groups::new(n, pairs.iter().copied());
            let items = items(&vectors, &cannot_link);
            for method in methods() {
                let found = groups.assign(method.as_ref(), &items, &mut |_, _| ());
                let Ok(found) = found else {
                    // `k` may be larger than the number of groups.
                    let too_few = matches!(found, Err(Error::TooFewTracks { .. }));
                    prop_assert!(too_few);
                    continue;
                };
                prop_assert!(pairs.iter().all(|(a, b)| found.labels[*a] == found.labels[*b]));
                if let Some(tree) = &found.tree {
                    prop_assert_eq!(tree.merges.len(), n.saturating_sub(1));
                    let inner = cut(n, &tree.merges, 0.0);
                    prop_assert!(pairs.iter().all(|(a, b)| inner[*a] == inner[*b]));
                    prop_assert!(tree.merges.windows(2).all(|pair| pair[0].height <= pair[1].height));
                }
            }
        }
    }

    /// A group is as clear as its clearest item, so that a correction does not make a person unclear.
    #[test]
    fn a_group_has_the_largest_detection_score() {
        struct Scores;
        impl Method for Scores {
            fn assign(
                &self,
                items: &Items<'_>,
                _: &mut dyn FnMut(usize, usize),
            ) -> Result<Assignment, Error> {
                let labels = items.scores().iter().map(|score| Some((score * 100.0) as usize)).collect();
                Ok(Assignment { labels, ..Assignment::default() })
            }
        }
        let vectors = vec![vec![1.0]; 4];
        let items = items(&vectors, &[]).with_scores(vec![0.25, 0.5, 0.75, 0.125]).unwrap();
        let found = Groups::new(4, [(1, 3)]).assign(&Scores, &items, &mut |_, _| ()).unwrap();
        assert_eq!(found.labels, [Some(25), Some(50), Some(75), Some(50)]);
    }

    #[test]
    fn a_constraint_of_one_item_holds_for_its_whole_group() {
        let vectors = vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0]];
        let scale = crate::method::Scale::Distance(0.5);
        let link = crate::method::Link {
            scale,
            cut: crate::method::Cut::Best,
            clothes: crate::method::Clothes::Off,
            without: Vec::new(),
            threads: 1,
        };
        let linked = |pairs: &[(usize, usize)], cannot_link: &[(usize, usize)]| {
            let groups = Groups::new(3, pairs.iter().copied());
            groups.assign(&link, &items(&vectors, cannot_link), &mut |_, _| ()).unwrap().labels
        };
        assert_eq!(linked(&[], &[]), [Some(0), Some(1), Some(0)]);
        assert_eq!(linked(&[(0, 1)], &[]), [Some(0), Some(0), Some(0)]);
        assert_eq!(linked(&[(0, 1)], &[(1, 2)]), [Some(0), Some(0), Some(1)]);
        assert_eq!(linked(&[(0, 1)], &[(0, 1)]), [Some(0), Some(0), Some(0)], "must-link overrides");
    }
}
