//! What is known of similarities before a video is seen.
//!
//! The numbers of SFace, the default embedder, are here, because linking, the gallery and synthetic data use
//! them; those of other embedders are in their rows of `embed`'s table.

/// Cosine distance, 0 to 2, up to which SFace's vectors of two tracks more likely show one person: its makers
/// publish a similarity of 0.363 as the threshold of verification, chosen by them on LFW.
pub const SFACE_SAME_UP_TO: f64 = 1.0 - 0.363;

/// Mean cosine similarity of SFace's vectors of tracks of different people, after what all vectors of a video
/// have in common is taken off.
pub const SFACE_DIFFERENT: f64 = 0.06;

/// Mean cosine similarity of SFace's vectors of tracks of one person, after what all vectors of a video have in
/// common is taken off.
pub const SFACE_SAME: f64 = 0.35;

/// Standard deviation of the similarity of two different people, as expected beforehand.
pub const DIFFERENT_SD: f64 = 0.12;

/// Number of pairs that [`DIFFERENT_SD`] and the expected mean are worth.
pub const DIFFERENT_PAIRS: f64 = 1000.0;

/// Squared length of what all vectors of a video have in common, as expected beforehand, relative to 1 of a
/// whole vector.
pub const COMMON_PRIOR: f64 = 0.04;

#[cfg(test)]
mod tests {
    use super::*;

    /// The footers of stored runs say 0.637.
    #[test]
    fn the_distance_of_sface_is_as_stored() {
        assert_eq!(SFACE_SAME_UP_TO, 0.637);
        assert_eq!(1.0 / COMMON_PRIOR, 25.0);
    }
}
