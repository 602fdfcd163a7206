//! The people that members add up to.

use std::collections::{BTreeMap, HashMap};

use schema::UnitVector;
use schema::tables::{Member, Person};

/// The people of a library: the rows of `people` and the vectors of `person_vectors`, by `person_id`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct People {
    /// Rows of `people`.
    pub rows: BTreeMap<i64, Person>,
    /// Mean of the vectors in `members`, each as often as it has tracks, of unit norm.
    pub vectors: HashMap<i64, UnitVector>,
    /// Time of the correction that gave the name, as text; empty when not known.
    pub named_at: HashMap<i64, String>,
}

impl People {
    /// Adds the members of one video. Taking all videos in the order in which they were added gives the
    /// same as adding them as they came, to the last bit.
    pub fn add(&mut self, members: &[Member]) {
        for row in members {
            let person = self.rows.entry(row.person_id).or_insert_with(|| Person {
                person_id: row.person_id,
                n_videos: 0,
                n_tracks: 0,
                screen_secs: 0.0,
                first_video_id: row.video_id.clone(),
                first_cluster_id: row.cluster_id,
                cohesion: 1.0,
                name: None,
            });
            let vector = self.vectors.entry(row.person_id).or_insert_with(|| row.embedding.clone());
            // The mean of the vectors of a person and one more, each as often as it has tracks.
            let total = person.n_tracks.saturating_add(row.n_tracks);
            let old = person.n_tracks as f64 * f64::from(person.cohesion) / total as f64;
            let new = row.n_tracks as f64 / total as f64;
            let both = vector.as_slice().iter().zip(row.embedding.as_slice());
            let mean: Vec<f32> =
                both.map(|(a, b)| (old * f64::from(*a) + new * f64::from(*b)) as f32).collect();
            // Vectors that cancel out leave no direction; then the person keeps the one known so far.
            if let Some(direction) = UnitVector::normalised(&mean) {
                let length = mean.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
                (*vector, person.cohesion) = (direction, length.min(1.0));
            }
            let named_at = row.named_at.as_deref().unwrap_or_default();
            let last = self.named_at.entry(row.person_id).or_default();
            if row.name.is_some() && named_at >= last.as_str() {
                person.name.clone_from(&row.name);
                named_at.clone_into(last);
            }
            person.n_videos += 1;
            person.n_tracks = total;
            person.screen_secs += row.screen_secs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(video: &str, person_id: i64, n_tracks: i64, vector: [f32; 2]) -> Option<Member> {
        Some(Member {
            video_id: video.into(),
            cluster_id: 0,
            person_id,
            similarity: None,
            threshold: None,
            runner_up_person_id: None,
            margin: None,
            n_tracks,
            screen_secs: 2.0,
            embedding: UnitVector::normalised(&vector)?,
            name: None,
            linked_person_id: None,
            named_at: None,
            series_id: None,
            series_uid: None,
        })
    }

    fn added(rows: &[Option<Member>]) -> People {
        let mut people = People::default();
        rows.iter().for_each(|row| people.add(row.as_slice()));
        people
    }

    #[test]
    fn a_person_is_the_mean_over_tracks() {
        let people =
            added(&[row("a", 7, 3, [1.0, 0.0]), row("b", 8, 1, [1.0, 1.0]), row("c", 7, 1, [0.0, 1.0])]);
        assert_eq!(people.rows.keys().copied().collect::<Vec<_>>(), [7, 8]);
        let person = &people.rows[&7];
        assert_eq!((person.n_videos, person.n_tracks, person.screen_secs), (2, 4, 4.0));
        assert_eq!((person.first_video_id.as_str(), people.rows[&8].first_video_id.as_str()), ("a", "b"));
        // 3/4 of one axis and 1/4 of the other.
        let length = (0.75_f32 * 0.75 + 0.25 * 0.25).sqrt();
        assert!((person.cohesion - length).abs() < 1e-6);
        let expected = [0.75 / length, 0.25 / length];
        let vector = people.vectors[&7].as_slice();
        assert!(vector.len() == 2 && vector.iter().zip(expected).all(|(x, e)| (x - e).abs() < 1e-6));
        assert!((people.rows[&8].cohesion - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_name_that_was_given_last_counts() {
        let named = |video: &str, name: &str, named_at: &str| {
            let row = row(video, 1, 1, [1.0, 0.0])?;
            Some(Member { name: Some(name.into()), named_at: Some(named_at.into()), ..row })
        };
        let late = named("a", "Ross Geller", "2026-11-28T18:20:00Z");
        let early = named("b", "Ross", "2026-11-28T18:19:59Z");
        let name = |rows: &[Option<Member>]| added(rows).rows[&1].name.clone();
        assert_eq!(
            name(&[late.clone(), early.clone(), row("c", 1, 1, [1.0, 0.0])]),
            Some("Ross Geller".into())
        );
        assert_eq!(name(&[early, late]), Some("Ross Geller".into()));
    }

    #[test]
    fn opposite_vectors_leave_a_person_who_can_be_stored() {
        let people = added(&[row("a", 1, 1, [1.0, 0.0]), row("b", 1, 1, [-1.0, 0.0])]);
        assert_eq!(people.vectors[&1].as_slice(), [1.0, 0.0]);
        assert!(people.rows[&1].cohesion <= 1.0);
    }
}
