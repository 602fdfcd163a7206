//! Bag of visual words: one vector per crop from the descriptors of its keypoints, as texts are compared by
//! word frequencies.
//!
//! Source: Sivic and Zisserman, "Video Google: A Text Retrieval Approach to Object Matching in Videos", ICCV
//! 2003. Visual words are the k-means centres of the descriptors of the run itself (k-means++: Arthur and
//! Vassilvitskii, SODA 2007). A visual word has less weight the more crops contain it. The formula is that of
//! scikit-learn's `TfidfTransformer`, which leaves every word some weight: on faces, where most words are
//! common, the formula of the paper was not better.
//!
//! Works on numbers only; [`crate::descriptors`] computes them from pictures.

use numeric::kmeans;
use numeric::random::SplitMix64;

/// Largest number of crops from which a vocabulary is learned; bounds memory.
const MAX_CROPS: usize = 512;
/// Largest number of descriptors in k-means; bounds time.
const MAX_ROWS: usize = 20_000;
/// Number of visual words. Twice or half as many do not separate people better.
pub const N_WORDS: usize = 128;
/// Largest number of k-means rounds. Later rounds change little.
const MAX_ROUNDS: usize = 20;

/// Descriptors of one crop's key points, one row each. Distances between rows are Euclidean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptors {
    dim: usize,
    values: Vec<u8>,
}

impl Descriptors {
    /// Rows of `dim` values each, one after the other. `None` unless `values` are whole rows.
    pub fn new(dim: usize, values: Vec<u8>) -> Option<Self> {
        (dim > 0 && values.len().is_multiple_of(dim)).then_some(Self { dim, values })
    }

    /// One row per key point, in no particular order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.values.chunks_exact(self.dim)
    }
}

/// Which of a run's `n_crops` crops, by number, to learn a vocabulary from: all, or some of them evenly spread.
pub fn sampled(n_crops: usize) -> impl Iterator<Item = usize> {
    evenly_spread(n_crops, MAX_CROPS)
}

/// Visual words and their weights.
#[derive(Debug, Clone, PartialEq)]
pub struct VisualVocabulary {
    /// Centres; fewer than weights where the descriptors did not have as many different rows.
    words: Vec<Vec<f32>>,
    /// Inverse document frequency of each word.
    weights: Vec<f32>,
}

impl VisualVocabulary {
    /// Learns `n_words` words from the descriptors of crops, which must all be of one kind. The order of
    /// crops has no influence, nor has that of the rows within a crop.
    pub fn learn(crops: &[Descriptors], n_words: usize, seed: u64) -> Self {
        let mut rows: Vec<&[u8]> = crops.iter().flat_map(Descriptors::rows).collect();
        rows.sort_unstable();
        let rows: Vec<_> = evenly_spread(rows.len(), MAX_ROWS).map(|i| floats(rows[i])).collect();
        Self::weigh(k_means(&rows, n_words, &mut SplitMix64::new(seed)), n_words, crops)
    }

    /// Computes the weights of the visual words, `ln((1 + n) / (1 + n with the word)) + 1` with n the number
    /// of crops.
    fn weigh(words: Vec<Vec<f32>>, n_words: usize, crops: &[Descriptors]) -> Self {
        let unweighted = Self { words, weights: vec![1.0; n_words] };
        let mut with_word = vec![0_usize; n_words];
        for crop in crops {
            let counts = unweighted.embed(crop);
            with_word.iter_mut().zip(counts).for_each(|(with, count)| *with += usize::from(count > 0.0));
        }
        let all = 1.0 + crops.len() as f32;
        let weights = with_word.into_iter().map(|with| (all / (1.0 + with as f32)).ln() + 1.0).collect();
        Self { weights, ..unweighted }
    }

    /// Dimension of the vectors: the requested number of visual words.
    pub fn dim(&self) -> usize {
        self.weights.len()
    }

    /// Frequency of each visual word in a crop, times the weight of the word; not normalized. All zeros when
    /// the crop has no key point.
    pub fn embed(&self, crop: &Descriptors) -> Vec<f32> {
        let mut vector = vec![0.0; self.dim()];
        for word in crop.rows().filter_map(|row| nearest(&self.words, &floats(row))) {
            vector[word] += self.weights[word];
        }
        vector
    }
}

/// Numbers below `n`, ascending and evenly spread: all of them, or `limit` of them.
fn evenly_spread(n: usize, limit: usize) -> impl Iterator<Item = usize> {
    let taken = n.min(limit);
    (0..taken).map(move |i| i * n / taken)
}

fn floats(row: &[u8]) -> Vec<f32> {
    row.iter().copied().map(f32::from).collect()
}

/// The centre closest to a row, the first of several; `None` where there is no centre.
fn nearest(centres: &[Vec<f32>], row: &[f32]) -> Option<usize> {
    kmeans::nearest(centres.iter().map(|centre| squared_distance(row, centre)))
}

fn squared_distance(row: &[f32], centre: &[f32]) -> f32 {
    kmeans::squared_distance::<f32, 16>(row, centre)
}

/// At most `n` centres of rows.
fn k_means(rows: &[Vec<f32>], n: usize, random: &mut SplitMix64) -> Vec<Vec<f32>> {
    let distances =
        |drawn: usize| rows.iter().map(|row| squared_distance(row, &rows[drawn]).into()).collect();
    let first = kmeans::first_rows(rows.len(), n, 1, random, distances);
    let centres: Vec<_> = first.into_iter().map(|row| rows[row].clone()).collect();
    let assign =
        |centres: &mut Vec<Vec<f32>>| rows.iter().filter_map(|row| nearest(centres, row)).collect::<Vec<_>>();
    kmeans::lloyd(centres, MAX_ROUNDS, assign, |centres, owners| means(rows, owners, centres)).0
}

/// The mean of each centre's rows; a centre without rows stays where it was.
fn means(rows: &[Vec<f32>], owners: &[usize], mut centres: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let dim = centres.first().map_or(0, Vec::len);
    let rows = rows.iter().map(Vec::as_slice).zip(owners.iter().copied());
    let sums = kmeans::sums::<f32>(centres.len(), dim, rows);
    for (centre, (sum, count)) in centres.iter_mut().zip(sums).filter(|(_, (_, count))| *count > 0) {
        centre.iter_mut().zip(sum).for_each(|(x, sum)| *x = sum / count as f32);
    }
    centres
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What scikit-learn gives: `tests/make_bow.py`.
    #[derive(serde::Deserialize)]
    struct Expected {
        crops: Vec<Vec<Vec<u8>>>,
        words: Vec<Vec<f32>>,
        inertia: f32,
        owners: Vec<Vec<usize>>,
        tf_idf: Vec<Vec<f32>>,
    }

    fn expected() -> (Expected, Vec<Descriptors>) {
        let expected: Expected = serde_json::from_str(include_str!("../tests/bow.json")).unwrap();
        let crops = expected.crops.iter().map(|rows| crop(rows)).collect();
        (expected, crops)
    }

    fn crop(rows: &[Vec<u8>]) -> Descriptors {
        Descriptors::new(rows.first().map_or(1, Vec::len), rows.concat()).unwrap()
    }

    /// Sum of the squared distances of rows from the nearest of some words.
    fn inertia(words: &[Vec<f32>], crops: &[Descriptors]) -> f32 {
        let rows = crops.iter().flat_map(Descriptors::rows).map(floats);
        rows.map(|row| squared_distance(&words[nearest(words, &row).unwrap()], &row)).sum()
    }

    #[test]
    fn assigns_and_weighs_as_scikit_learn_does() {
        let (expected, crops) = expected();
        for (crop, owners) in crops.iter().zip(&expected.owners) {
            let found: Vec<_> =
                crop.rows().filter_map(|row| nearest(&expected.words, &floats(row))).collect();
            assert_eq!(found, *owners);
        }
        let vocabulary = VisualVocabulary::weigh(expected.words.clone(), expected.words.len(), &crops);
        assert_eq!((crops.len(), expected.tf_idf.len()), (40, 40));
        for (crop, expected) in crops.iter().zip(&expected.tf_idf) {
            for (found, expected) in vocabulary.embed(crop).iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-5 * expected.max(1.0), "{found} {expected}");
            }
        }
    }

    /// scikit-learn keeps the best of ten tries, so the best of twenty of ours must be as good.
    #[test]
    fn finds_words_as_good_as_scikit_learn_does() {
        let (expected, crops) = expected();
        let found =
            |seed| inertia(&VisualVocabulary::learn(&crops, expected.words.len(), seed).words, &crops);
        let best = (0..20).map(found).min_by(f32::total_cmp).unwrap();
        assert!((inertia(&expected.words, &crops) / expected.inertia - 1.0).abs() < 1e-3);
        assert!((best / expected.inertia - 1.0).abs() < 0.01, "{best} {}", expected.inertia);
    }

    #[test]
    fn rounds_move_centres_to_the_means() {
        let rows = [0.0, 2.0, 10.0, 14.0].map(|x| vec![x]);
        for seed in 0..20 {
            let mut centres = k_means(&rows, 2, &mut SplitMix64::new(seed));
            centres.sort_by(|a, b| a[0].total_cmp(&b[0]));
            assert_eq!(centres, [[1.0], [12.0]]);
        }
    }

    #[test]
    fn a_crop_without_key_points_is_all_zeros() {
        let (_, crops) = expected();
        let vocabulary = VisualVocabulary::learn(&crops, 4, 1);
        assert_eq!(vocabulary.embed(&Descriptors::new(19, Vec::new()).unwrap()), [0.0; 4]);
    }

    #[test]
    fn nothing_to_learn_from_still_has_its_length() {
        let empty = Descriptors::new(2, Vec::new()).unwrap();
        for crops in [&[][..], &[empty]] {
            let vocabulary = VisualVocabulary::learn(crops, 3, 1);
            assert_eq!(vocabulary.embed(&crop(&[vec![1, 2]])), [0.0; 3]);
        }
    }

    /// Fewer different rows than words, and a word that every crop has weighs one.
    #[test]
    fn identical_crops_have_identical_vectors() {
        let one = crop(&[vec![1, 2], vec![1, 2], vec![9, 9]]);
        for n_crops in [1, 5] {
            let crops = vec![one.clone(); n_crops];
            let mut vector = VisualVocabulary::learn(&crops, 4, 3).embed(&one);
            vector.sort_by(f32::total_cmp);
            assert_eq!(vector, [0.0, 0.0, 1.0, 2.0]);
        }
    }

    #[test]
    fn rows_must_be_whole() {
        assert_eq!(Descriptors::new(2, vec![1, 2, 3]), None);
        assert_eq!(Descriptors::new(0, Vec::new()), None);
    }

    #[test]
    fn long_runs_are_sampled_evenly() {
        assert_eq!(evenly_spread(3, 5).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(evenly_spread(10, 4).collect::<Vec<_>>(), [0, 2, 5, 7]);
        assert_eq!(sampled(7000).count(), MAX_CROPS);
        assert_eq!(sampled(0).count(), 0);
    }

    fn crops() -> impl Strategy<Value = Vec<Descriptors>> {
        vec(vec(vec(0..20_u8, 3), 0..6).prop_map(|rows| Descriptors::new(3, rows.concat()).unwrap()), 1..8)
    }

    proptest! {
        #[test]
        fn the_order_of_crops_has_no_influence(
            (crops, shuffled) in crops().prop_flat_map(|crops| (Just(crops.clone()), Just(crops).prop_shuffle())),
            n_words in 0..10_usize,
            seed: u64,
        ) {
            let learned = VisualVocabulary::learn(&crops, n_words, seed);
            prop_assert_eq!(learned, VisualVocabulary::learn(&shuffled, n_words, seed));
        }

        #[test]
        fn vectors_hold_every_key_point_once(crops in crops(), n_words in 1..10_usize, seed: u64) {
            let vocabulary = VisualVocabulary::learn(&crops, n_words, seed);
            for crop in &crops {
                let vector = vocabulary.embed(crop);
                prop_assert_eq!(vector.len(), n_words);
                // Weights are at least one.
                let counts: f32 = vector.iter().zip(&vocabulary.weights).map(|(x, weight)| x / weight).sum();
                prop_assert!((counts - crop.rows().len() as f32).abs() < 1e-3);
                prop_assert!(vocabulary.weights.iter().all(|weight| *weight >= 1.0));
            }
        }
    }
}
