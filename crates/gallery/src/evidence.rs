//! How much the similarity of people of different videos says.
//!
//! A person of a video is the unit vector `u` of the mean of the tracks there, less what all vectors have in common. Of
//! `n` tracks, it is modelled as
//!
//! ```text
//! u = a · person + noise        a² = λ/(1 + λ)        1/λ = video + track/n
//! ```
//!
//! with normal vectors for the person, for how the person looks in this video and for each track; `video` and `track` are
//! the variances of the latter two relative to the first. So a mean over many tracks is more reliable, but no number of
//! tracks outweighs the differences between videos. With `F = Σ √(λ(1 + λ)) u` and `Λ = Σ λ` over the members of a
//! cluster, the log likelihood ratio of one common person against none is, with `E` independent components,
//!
//! ```text
//! L(C) = E/2 · (|F|² / (1 + Λ) − ln(1 + Λ))
//! ```
//!
//! The log odds that the clusters A and B are one person are `L(A∪B) − L(A) − L(B)` and the prior of
//! [`Prior`](cluster::prior::Prior), which expects as many people as the library has: with more people, a stranger is more
//! likely to resemble one of them.
//!
//! Some vectors are similar to many strangers. `E` of a pair is therefore divided by the root of the product of both
//! [spreads](Sum::spread): the variance of the similarities of a vector and a cohort of strangers of this library, relative
//! to that of all pairs. This is the symmetric score normalisation of speaker verification (Kenny, Odyssey 2010; Matějka and
//! others, Interspeech 2017).
//!
//! *Example.* One track has λ = 0.64 and 30 tracks have λ = 2.5. The expected cosine of one person in two videos is 0.39
//! with one track each, and 0.71 with 30 tracks each.

/// Variance of how a person looks in a video, relative to the variance of people; with [`TRACK`], two tracks of one
/// person have a cosine of 0.53 in one video and of 0.39 in two videos. On ten labelled clips cut into 30 episodes, B³ is
/// from 0.92 to 0.93 for 0.36 to 0.6 and tracks of 0.8 to 1.8.
const VIDEO: f64 = 0.36;
/// Variance of one track, relative to the variance of people.
const TRACK: f64 = 1.21;
/// Share of the independent components that counts for the odds of a photo. The reliability of the odds was measured with
/// this value (docs/design/gallery.md).
const CAUTION: f64 = 0.8;
/// Log odds that a merge must have: the probability of a wrong merge is then at most 2 %. A wrong merge costs more than a
/// missed one. On pictures of 2,673 people, B³ precision and recall are 0.995 and 0.987 with 3, 0.997 and 0.984 with 4,
/// 0.997 and 0.982 with 5; on ten labelled clips cut into 30 episodes, F1 is from 0.924 to 0.927 for 2 to 5.
const LEAST_GAIN: f64 = 4.0;
/// A pair that gains less by at most so much is kept.
const SLACK: f64 = 3.0;
/// The same for cosines.
const COSINE_SLACK: f64 = 0.15;

/// Smallest standard deviation that the model allows for, which no embedder has.
const LEAST_SD: f64 = 0.01;

/// How clusters are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measure {
    /// By their evidence.
    Evidence {
        /// `E`: number of independent components.
        dim: f64,
    },
    /// By the cosine of their means, of an embedder of whose similarities nothing is known.
    Cosine {
        /// Least cosine of one person.
        threshold: f64,
    },
}

/// Sums over the members of a cluster, but for `F`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sum {
    /// `|F|²`.
    pub(crate) square: f64,
    /// `Λ`.
    pub(crate) precision: f64,
    /// Number of members.
    pub(crate) count: u32,
    /// Variance of the similarities with strangers, relative to that of all pairs of strangers.
    pub(crate) spread: f64,
}

impl Sum {
    /// Of one person of a video, or of what counts as much, who is as similar to strangers as most people are.
    pub(crate) fn of(measure: &Measure, precision: f64) -> Self {
        let length = measure.length(precision);
        Self { square: length * length, precision, count: 1, spread: 1.0 }
    }
}

impl Measure {
    /// By evidence, where the similarities of different people have the standard deviation `sd`.
    pub(crate) fn evidence(sd: f64) -> Self {
        Self::Evidence { dim: sd.max(LEAST_SD).powi(-2) }
    }

    /// The same with less evidence, for photos.
    pub(crate) fn cautious(self) -> Self {
        match self {
            Self::Evidence { dim } => Self::Evidence { dim: CAUTION * dim },
            Self::Cosine { .. } => self,
        }
    }

    /// Returns the gain that a merge must have: log odds, or for cosines 0.
    pub(crate) fn least_gain(&self) -> f64 {
        match self {
            Self::Evidence { .. } => LEAST_GAIN,
            Self::Cosine { .. } => 0.0,
        }
    }

    /// Returns the gain from which a pair is kept, because merges can raise it.
    pub(crate) fn least_kept(&self) -> f64 {
        match self {
            Self::Evidence { .. } => LEAST_GAIN - SLACK,
            Self::Cosine { .. } => -COSINE_SLACK,
        }
    }

    /// Returns `λ` of a person of a video with so many tracks.
    pub(crate) fn precision(&self, n_tracks: f64) -> f64 {
        match self {
            Self::Evidence { .. } => (VIDEO + TRACK / n_tracks).recip(),
            Self::Cosine { .. } => n_tracks,
        }
    }

    /// Returns the length of `F` of a person of a video.
    pub(crate) fn length(&self, precision: f64) -> f64 {
        match self {
            Self::Evidence { .. } => (precision * (1.0 + precision)).sqrt(),
            Self::Cosine { .. } => precision,
        }
    }

    /// Returns the log odds that two clusters are one person, `product` the inner product of their `F`; by cosine, the
    /// cosine above the threshold.
    pub(crate) fn gain(&self, a: &Sum, b: &Sum, product: f64, log_alpha: f64) -> f64 {
        match self {
            Self::Evidence { .. } => {
                self.log_ratio(a, b, product) + f64::from(a.count.max(b.count)).ln() - log_alpha
            }
            Self::Cosine { threshold } => {
                let lengths = (a.square * b.square).sqrt();
                if lengths > 0.0 { product / lengths - threshold } else { -1.0 }
            }
        }
    }

    /// Returns the log likelihood ratio of one person against two; 0 by cosine.
    pub(crate) fn log_ratio(&self, a: &Sum, b: &Sum, product: f64) -> f64 {
        let Self::Evidence { dim } = self else { return 0.0 };
        let dim = dim / (a.spread * b.spread).sqrt();
        let of = |square: f64, precision: f64| square / (1.0 + precision) - precision.ln_1p();
        let both = of(a.square + b.square + 2.0 * product, a.precision + b.precision);
        0.5 * dim * (both - of(a.square, a.precision) - of(b.square, b.precision))
    }

    /// Returns the cosine of two clusters with which their gain is `gain`.
    pub(crate) fn cosine(&self, a: &Sum, b: &Sum, gain: f64, log_alpha: f64) -> f64 {
        match self {
            Self::Evidence { dim } => {
                let at_right_angles = self.gain(a, b, 0.0, log_alpha);
                let dim = dim / (a.spread * b.spread).sqrt();
                let per_product = dim / (1.0 + a.precision + b.precision);
                (gain - at_right_angles) / per_product / (a.square * b.square).sqrt().max(f64::MIN_POSITIVE)
            }
            Self::Cosine { threshold } => threshold + gain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACES: Measure = Measure::Evidence { dim: 64.0 };

    fn seen(n_tracks: f64) -> Sum {
        Sum::of(&FACES, FACES.precision(n_tracks))
    }

    fn gain(a: &Sum, b: &Sum, cosine: f64) -> f64 {
        FACES.gain(a, b, cosine * (a.square * b.square).sqrt(), 5.0)
    }

    #[test]
    fn the_cosine_that_a_gain_needs_gives_this_gain() {
        for (a, b) in [(1.0, 1.0), (1.0, 30.0), (30.0, 30.0)] {
            let (a, b) = (seen(a), Sum { count: 7, spread: 1.2, ..seen(b) });
            let needs = FACES.cosine(&a, &b, 3.0, 5.0);
            assert!((0.2..0.9).contains(&needs), "{needs}");
            assert!((gain(&a, &b, needs) - 3.0).abs() < 1e-9);
        }
        let cosine = Measure::Cosine { threshold: 0.4 };
        let sum = Sum::of(&cosine, 2.0);
        assert!((cosine.gain(&sum, &sum, cosine.cosine(&sum, &sum, 0.1, 5.0) * 4.0, 5.0) - 0.1).abs() < 1e-9);
    }

    /// The expected cosine of one person in two videos is `a b`, with `a² = λ/(1 + λ)`.
    #[test]
    fn more_tracks_say_more_and_more_people_ask_for_more() {
        let expected = |sum: &Sum| (sum.precision / (1.0 + sum.precision)).sqrt();
        let [one, many] = [1.0, 30.0].map(seen);
        assert!(
            (expected(&one).powi(2) - 0.39).abs() < 0.01 && (expected(&many).powi(2) - 0.71).abs() < 0.01
        );
        let [few, all] = [one, many].map(|sum| gain(&sum, &sum, expected(&sum).powi(2)));
        assert!(all > few + 5.0, "{few} {all}");
        // Strangers are the less similar, the more is known of both.
        assert!(gain(&many, &many, 0.0) < gain(&one, &one, 0.0) && gain(&one, &one, 0.0) < 0.0);
        assert!(FACES.gain(&one, &one, 0.3, 9.0) < FACES.gain(&one, &one, 0.3, 5.0));
        let similar_to_many = Sum { spread: 1.5, ..one };
        assert!(FACES.gain(&one, &similar_to_many, 0.5, 5.0) < FACES.gain(&one, &one, 0.5, 5.0));
        assert!(FACES.cautious().log_ratio(&one, &one, one.square) < FACES.log_ratio(&one, &one, one.square));
    }
}
