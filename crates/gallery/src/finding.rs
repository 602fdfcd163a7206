//! People who resemble a face: candidates, none of which is an identification.
//!
//! The face of a photo counts as a person of a video with one track, and is compared with every person by
//! [evidence](crate::evidence). The *likelihood ratio* of a candidate says how many times more likely the similarity is if
//! the person is that of the photo than if not. How similar different people are is measured in this very gallery, and how
//! similar strangers are to this very photo, so that the ratio allows for photos and galleries in which all faces are
//! similar. A person of many tracks and videos is known better, so that the same similarity says more.
//!
//! The *odds* allow for the size of the gallery, too. Before the photo is seen, the person of the photo is taken to be
//! in the gallery or not with equal probability, and to be each of its people with equal probability.
//!
//! *Example.* One person of 10 has a ratio of 30, and all others have small ones: the odds are about 30/10 = 3 to 1.

use schema::footer::Embedder;

use crate::evidence::Sum;
use crate::matching::{self, Scale};

/// Largest likelihood ratio, and the reciprocal of the smallest one: normal distributions say nothing reliable about
/// similarities far from their means. Of photos with higher odds than 1000, all were right among 4,000.
const MOST: f64 = 1e6;

/// A person who resembles a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Key of the person.
    pub person_id: i64,
    /// Cosine similarity, −1 to 1, in the space in which people are compared.
    pub similarity: f64,
    /// Likelihood ratio and odds; `None` for an embedder of whose similarities nothing is known.
    pub odds: Option<Odds>,
}

/// Odds that a candidate is the person of a photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Odds {
    /// Probability of the similarity for this person, relative to that for others.
    pub likelihood_ratio: f64,
    /// Probability that the photo shows this person, relative to the probability that it does not.
    pub odds: f64,
}

/// A person of the gallery, as compared with a face.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// Key of the person.
    pub(crate) person_id: i64,
    /// Mean embedding.
    pub(crate) vector: &'a [f32],
    /// Number of videos, from 1.
    pub(crate) n_videos: i64,
    /// Number of tracks, from 1.
    pub(crate) n_tracks: i64,
}

/// Compares a face with all people. Returns all of them, the most similar first.
pub(crate) fn candidates(embedder: &Embedder, people: &[Known<'_>], face: &[f32]) -> Vec<Candidate> {
    let scale = Scale::of(embedder);
    let known: Vec<&[f32]> = people.iter().map(|person| person.vector).collect();
    let similarities = matching::similarities(&scale, &known, &[face]);
    let row = similarities.first().map_or(&[][..], Vec::as_slice);
    let some: Vec<&[f32]> = matching::evenly(known.len()).map(|at| known[at]).collect();
    let rows = matching::centred(&some, &scale.common(&known, &[face]));
    let row_of = |at: usize| &rows[at * face.len()..][..face.len()];
    let sample = matching::sample(some.len(), row_of, |_, _| true);
    let measure = scale.measure(known.len(), &sample).cautious();
    let mean = scale.strangers(known.len(), &similarities).map(|strangers| strangers.mean);
    let photo = Sum::of(&measure, measure.precision(1.0));
    let ratio = |person: &Known<'_>, similarity: f64| {
        let mean = mean?;
        let n_videos = person.n_videos.max(1) as f64;
        let precision = n_videos * measure.precision(person.n_tracks.max(1) as f64 / n_videos);
        let sum = Sum::of(&measure, precision);
        // What is common to the photo and all people says nothing.
        let cosine = (similarity - mean) / (1.0 - mean);
        let log_ratio = measure.log_ratio(&photo, &sum, cosine * (photo.square * sum.square).sqrt());
        Some(log_ratio.exp().clamp(MOST.recip(), MOST))
    };
    let ratios: Vec<Option<f64>> =
        people.iter().zip(row).map(|(person, similarity)| ratio(person, *similarity)).collect();
    // Relative to the prior probability that the person of the photo is not in the gallery.
    let weight = |ratio: f64| ratio / known.len() as f64;
    let all: f64 = 1.0 + ratios.iter().flatten().map(|ratio| weight(*ratio)).sum::<f64>();
    let candidate = |((person, similarity), ratio): ((&Known<'_>, &f64), &Option<f64>)| Candidate {
        person_id: person.person_id,
        similarity: *similarity,
        odds: ratio.map(|likelihood_ratio| {
            let own = weight(likelihood_ratio);
            Odds { likelihood_ratio, odds: own / (all - own) }
        }),
    };
    let mut found: Vec<Candidate> = people.iter().zip(row).zip(&ratios).map(candidate).collect();
    found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.person_id.cmp(&b.person_id)));
    found
}

#[cfg(test)]
mod tests {
    use schema::footer::Similarity;

    use super::*;

    fn embedder(similarity: Option<Similarity>) -> Embedder {
        Embedder {
            name: "e".into(),
            dim: 40,
            weights_sha256: String::new(),
            license: String::new(),
            same_up_to: None,
            similarity,
            quality: None,
        }
    }

    /// People on axes of their own, and a face at a similarity of `cosine` to the first.
    fn found(n: usize, cosine: f32, similarity: Option<Similarity>) -> Vec<Candidate> {
        let axis = |at: usize| (0..40).map(|i| f32::from(u8::from(i == at))).collect::<Vec<_>>();
        let vectors: Vec<Vec<f32>> = (0..n).map(axis).collect();
        let people: Vec<Known<'_>> = (10..)
            .zip(&vectors)
            .map(|(person_id, vector)| Known { person_id, vector, n_videos: 1, n_tracks: 1 })
            .collect();
        let mut face = axis(39);
        (face[0], face[39]) = (cosine, (1.0 - cosine * cosine).sqrt());
        candidates(&embedder(similarity), &people, &face)
    }

    const KNOWN: Option<Similarity> = Some(Similarity { different: 0.06, same: 0.35 });

    #[test]
    fn the_most_similar_person_comes_first_with_better_odds() {
        let people = found(5, 0.8, KNOWN);
        let odds: Vec<f64> = people.iter().filter_map(|person| Some(person.odds?.odds)).collect();
        assert_eq!((people.len(), odds.len(), people[0].person_id), (5, 5, 10));
        assert!(odds[0] > 10.0 && odds[1] < 0.1, "{odds:?}");
        assert!(people[1..].iter().map(|person| person.person_id).is_sorted(), "{people:?}");
    }

    #[test]
    fn the_same_ratio_says_less_among_more_people_and_probabilities_add_up() {
        let [few, many] = [3, 30].map(|n| found(n, 0.6, KNOWN));
        let odds =
            |people: &[Candidate]| people[0].odds.map_or(0.0, |odds| odds.odds / odds.likelihood_ratio);
        assert!(odds(&few) > 2.0 * odds(&many), "{} {}", odds(&few), odds(&many));
        let probability =
            |person: &Candidate| person.odds.map_or(0.0, |Odds { odds, .. }| odds / (1.0 + odds));
        let sum: f64 = many.iter().map(probability).sum();
        assert!(sum > 0.0 && sum < 1.0, "{sum}");
    }

    #[test]
    fn nothing_is_said_of_an_embedder_whose_similarities_are_unknown() {
        assert!(found(3, 0.8, None).iter().all(|person| person.odds.is_none()));
        assert_eq!(found(0, 0.8, KNOWN), []);
    }
}
