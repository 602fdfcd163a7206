//! Questions about the people of a run, in the order in which their answers put most screen time right: those of the
//! review page, and the doubts of the table `doubts`.
//!
//! The value of a question is the probability that the answer changes something, times the screen time that it
//! changes. For two people it is the time of the one seen less: two people who look like one with probability 0.4,
//! on screen for 90 s and 12 s, are worth 0.4 × 12 s = 4.8 s. A track of 3 s that is wrong with probability 0.5 is
//! worth 1.5 s and comes later. Equal values put whole people before tracks.
//!
//! Probabilities come from the log odds by which linking merges and reassigns ([`crate::method::Odds`]), for the people
//! as they are now; of an embedder without a quality table, from the similarity of vectors.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use geometry::{FrameTimes, main_cast};
use numeric::vector::{direction, dot_in_lanes};
use schema::tables;

use crate::edits::People;
use crate::method::{Odds, VideoModel};
use crate::seen::Seen;

/// Steepness of the probability of one person over cosine similarity, without a quality table.
const STEEPNESS: f64 = 14.0;
/// Log odds that two people are one, for those by which linking by several embedders took its second look: with its most
/// probable pairs merged, the pairs that are left are one person less often. A logistic regression on 2,702 pairs in 77 runs
/// on eleven labelled clips and their copies, 9 of them one person. With one embedder, the second look merges few pairs, and
/// the log odds hold as they are: on 2,838 pairs, 30 of them one person, the slope is 1.1 and the constant 0.1.
const LEFT_SLOPE: f64 = 1.7;
const LEFT_EVEN: f64 = -1.9;
/// How much more similar vectors of people, which are means, are than vectors of tracks, by cosine.
const CLOSER: f64 = 0.08;
/// Probability of another person, of a track in whose person linking has no confidence at all. Of the doubts of those runs
/// with one embedder, 9 of 384 are right, with 0.04 stated on average.
const STRANGERS: f64 = 0.35;
/// Share of this and the next probability with several embedders: 1 of 441 such doubts is right.
const STRANGERS_OF_SEVERAL: f64 = 0.1;
/// The same of a track whose vectors are nearest to another person.
const STRANGERS_BY_VECTORS: f64 = 0.05;
/// The same where an edit of the user made the nearest person of tracks of others.
const STRANGERS_BY_EDITS: f64 = 0.5;
/// Share of the tracks with the lowest scores that show no face, if they are alone or unsorted: in those runs, 6 of 11
/// tracks below 0.7, 12 of 33 from 0.7 to 0.75, and 4 of 1,351 above.
const NO_FACES: f64 = 0.6;
/// The same share of tracks that are a smaller part of a person with other tracks: in those runs, 4 of 110.
const NO_FACES_OF_PEOPLE: f64 = 0.1;
/// Mean score at which the share is half of that, 0 to 1.
const FACE_SCORE: f64 = 0.735;
/// Scale of the logistic curve by which the share falls with the score.
const FACE_SCORE_WIDTH: f64 = 0.012;
/// Largest number of people that are compared with each other; the people seen most are taken.
const MOST_COMPARED: usize = 200;
/// Largest number of questions about two people.
const MOST_PAIRS: usize = 300;
/// Smallest value of a question, as a share of the screen time of all tracks, 0 to 1.
const LEAST_SHARE: f64 = 2e-4;
/// Smallest value of a question, seconds.
const LEAST_SECS: f64 = 0.005;
/// Value of a question about a name, per second on screen; a name corrects an error only when two people get one
/// name.
const NAME_VALUE: f64 = 0.02;
/// Smallest probability of a doubt, 0 to 1.
const LEAST_DOUBT: f64 = 0.005;
/// Cosine similarity from which two tracks more likely show one person, for an embedder without a known distance.
const SAME_FROM: f64 = 0.4;

/// A run and its people, before or after edits.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Rows of `tracks`.
    pub tracks: &'a [tables::Track],
    /// Times of the frames.
    pub times: &'a FrameTimes,
    /// Vectors of the tracks.
    pub seen: &'a Seen,
    /// What linking has learned of the video; `None` for an embedder without a quality table.
    pub model: Option<&'a VideoModel>,
    /// The people.
    pub people: &'a People,
    /// Calibrated confidence of linking by track, 0 to 1; tracks without one count as certain.
    pub confidence: &'a HashMap<i64, f64>,
}

impl<'a> Situation<'a> {
    /// Returns the time on screen of the union of tracks, seconds.
    pub fn screen_secs(&self, tracks: &[i64]) -> f64 {
        let tracks = tracks.iter().filter_map(|track| {
            let at = self.tracks.binary_search_by_key(track, |row| row.track_id).ok()?;
            Some((self.tracks[at].first_frame_idx, self.tracks[at].last_frame_idx))
        });
        self.times.screen_secs(&self.times.union(tracks))
    }

    /// Returns the main people: see [`geometry::main_cast`].
    pub fn main_people(&self) -> BTreeSet<i64> {
        let people = self.people.clusters();
        let secs: Vec<_> = people.values().map(|tracks| self.screen_secs(tracks)).collect();
        let is_main = main_cast(&secs);
        people.into_keys().zip(is_main).filter_map(|(id, is_main)| is_main.then_some(id)).collect()
    }

    /// Returns the evidence about the people. `passed` has the keys of the questions that must not be asked again.
    pub fn evidence(&self, mut passed: BTreeSet<String>) -> Evidence<'a> {
        let Self { seen, people, .. } = *self;
        let main = self.main_people();
        let confirmed = people.confirmed();
        // After the answer that a track does not show a person, the question is not asked again.
        passed.extend(people.denied().map(|track| format!("join:{track}")));
        let track = |track: &tables::Track| {
            let item = seen.place(track.track_id);
            let span = (track.first_frame_idx, track.last_frame_idx);
            Track {
                track_id: track.track_id,
                secs: self.times.screen_secs(&[span]),
                person: people.cluster_of(track.track_id),
                is_face: people.is_face(track.track_id),
                is_confirmed: confirmed.contains(&track.track_id),
                confidence: self.confidence.get(&track.track_id).copied().unwrap_or(1.0),
                item,
                score: f64::from(track.mean_score),
                vector: item.map(|item| seen.vectors[item].embedding.as_slice()),
            }
        };
        let (labels, numbers) = seen.labels(|track| people.cluster_of(track));
        let person =
            |id: i64| (id, Person { is_named: people.name(id).is_some(), is_main: main.contains(&id) });
        let same_up_to = seen.embedder.as_ref().and_then(|embedder| embedder.same_up_to);
        Evidence {
            tracks: self.tracks.iter().map(track).collect(),
            people: people.clusters().into_keys().map(person).collect(),
            apart: people.people_apart(),
            same_from: same_up_to.map_or(SAME_FROM, |distance| 1.0 - distance),
            odds: self.model.map(|model| model.odds(labels)),
            numbers,
            passed,
        }
    }
}

/// Data of a track that the questions depend on.
#[derive(Debug, Clone)]
pub struct Track<'a> {
    /// Key of the track.
    pub track_id: i64,
    /// Time on screen, seconds.
    pub secs: f64,
    /// Key of the person; `None` for noise.
    pub person: Option<i64>,
    /// Whether no edit says that the track shows no face.
    pub is_face: bool,
    /// Whether the user confirmed that the track shows its person.
    pub is_confirmed: bool,
    /// Confidence of linking, 0 to 1.
    pub confidence: f64,
    /// Place of the track among those that linking sees.
    pub item: Option<usize>,
    /// Mean score of the detector, 0 to 1.
    pub score: f64,
    /// Vector of unit norm; `None` for a track without an embedding.
    pub vector: Option<&'a [f32]>,
}

/// Data of a person that the questions depend on.
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// Whether the person has a name.
    pub is_named: bool,
    /// Whether the person is one of the main people.
    pub is_main: bool,
}

/// Everything that the questions and their order depend on.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Tracks, by key.
    pub tracks: Vec<Track<'a>>,
    /// People, by key.
    pub people: BTreeMap<i64, Person>,
    /// Pairs of people who are known to be different, the smaller key first: they share a frame, or an edit separates
    /// them.
    pub apart: HashSet<(i64, i64)>,
    /// Cosine similarity from which two tracks more likely show one person than two, −1 to 1.
    pub same_from: f64,
    /// Log odds of the people as they are; `None` for an embedder without a quality table.
    pub odds: Option<Odds<'a>>,
    /// Number of each person in `odds`.
    pub numbers: HashMap<i64, usize>,
    /// Keys of the questions that must not be asked again.
    pub passed: BTreeSet<String>,
}

/// Kind of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Are two people the same person?
    Same,
    /// Does a track without a person show this person?
    Join,
    /// Does a track show its person?
    Belongs,
    /// Does a track show a face?
    Face,
    /// Who is this?
    Name,
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Key; the same question keeps its key when the questions are computed again.
    pub key: String,
    /// What is asked.
    pub kind: Kind,
    /// The person of each side; `None` for a track without a person.
    pub people: Vec<Option<i64>>,
    /// The tracks of each side, by key.
    pub sides: Vec<Vec<i64>>,
    /// Probability that the answer changes something.
    pub probability: f64,
    /// Screen time that the answer is expected to put right, seconds.
    pub value_secs: f64,
}

impl Question {
    /// Lowers the probability of a question about two people to that of pairs that a second look of linking has left.
    /// The order of the review page's questions keeps the higher probabilities: with the lower ones, users need more answers.
    fn left_by_the_second_look(&mut self) {
        let secs = self.value_secs / self.probability;
        let log_odds = (self.probability / (1.0 - self.probability)).ln();
        self.probability = sigmoid(LEFT_SLOPE * log_odds + LEFT_EVEN);
        self.value_secs = self.probability * secs;
    }

    /// Compares two questions: the larger value first, then whole people before tracks.
    fn order(&self, other: &Self) -> Ordering {
        let by_value = other.value_secs.total_cmp(&self.value_secs);
        by_value.then(self.kind.cmp(&other.kind)).then_with(|| self.key.cmp(&other.key))
    }
}

/// The questions, and the share of the screen time that needs no question.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Questions, the most valuable first.
    pub questions: Vec<Question>,
    /// Share of the screen time that is expected to be right, 0 to 1.
    pub settled: f64,
    /// Probability that a track is assigned to the wrong person, 0 to 1; one value per track, in the order of the
    /// tracks.
    pub doubts: Vec<f64>,
}

/// Cosine of two vectors of unit norm; `None` where one is missing.
fn cosine(a: &[f32], b: &[f32]) -> Option<f64> {
    (!a.is_empty() && a.len() == b.len()).then(|| f64::from(dot_in_lanes(a, b)))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A person's tracks, time and mean vector.
struct Group {
    person: i64,
    tracks: Vec<usize>,
    secs: f64,
    /// Whether the user put a track there.
    is_edited: bool,
    /// Sum of the vectors of the tracks, each weighted by [`weight`].
    sum: Vec<f64>,
    /// Direction of the sum; empty without vectors.
    vector: Vec<f32>,
}

/// Returns the weight of a track in the mean of its person: its seconds, limited to 0.1 to 5.
fn weight(track: &Track<'_>) -> f64 {
    track.secs.clamp(0.1, 5.0)
}

impl Evidence<'_> {
    /// Returns all questions with a sufficient value, the most valuable first.
    pub fn queue(&self) -> Queue {
        let groups = self.groups();
        let mut doubts = vec![0.0_f64; self.tracks.len()];
        let mut questions = self.pairs(&groups);
        let place: HashMap<i64, usize> = self.tracks.iter().map(|t| t.track_id).zip(0..).collect();
        for question in &questions {
            for track in question.sides.get(1).into_iter().flatten().filter_map(|track| place.get(track)) {
                doubts[*track] = doubts[*track].max(question.probability);
            }
        }
        let mut wrong = vec![0.0; self.tracks.len()];
        for question in self.of_tracks(&groups, false) {
            let track = question.sides[0].first().and_then(|track| place.get(track));
            for track in track.into_iter().copied() {
                wrong[track] = f64::max(wrong[track], question.probability);
            }
            questions.push(question);
        }
        let total: f64 = self.tracks.iter().filter(|track| track.is_face).map(|track| track.secs).sum();
        let least = LEAST_SECS.max(LEAST_SHARE * total);
        questions
            .retain(|q| (q.kind == Kind::Name || q.value_secs >= least) && !self.passed.contains(&q.key));
        // A track without a question counts as settled: the question was answered, or its value is too small.
        let asked: HashSet<i64> =
            questions.iter().filter(|q| q.kind != Kind::Name).flat_map(touched).collect();
        let expected: f64 = (0..self.tracks.len())
            .filter(|at| asked.contains(&self.tracks[*at].track_id))
            .map(|at| doubts[at].max(wrong[at]) * self.tracks[at].secs)
            .sum();
        questions.extend(self.names(&groups).into_iter().filter(|q| !self.passed.contains(&q.key)));
        questions.sort_by(Question::order);
        let settled = if total > 0.0 { 1.0 - (expected / total).clamp(0.0, 1.0) } else { 1.0 };
        Queue { questions, settled, doubts: wrong }
    }

    /// Returns what may be wrong, in the order of the questions: errors with a probability of at least 0.5 %, also those
    /// that are too short to be asked about. Questions about names are left out.
    pub fn doubts(&self) -> Vec<Question> {
        let groups = self.groups();
        let mut doubts = self.pairs(&groups);
        if self.has_several_views() {
            doubts.iter_mut().for_each(Question::left_by_the_second_look);
        }
        doubts.extend(self.of_tracks(&groups, true));
        doubts.retain(|doubt| doubt.probability >= LEAST_DOUBT && !self.passed.contains(&doubt.key));
        doubts.sort_by(Question::order);
        doubts
    }

    fn groups(&self) -> Vec<Group> {
        let mut members: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (at, track) in self.tracks.iter().enumerate() {
            track.person.iter().for_each(|person| members.entry(*person).or_default().push(at));
        }
        let group = |(person, tracks): (i64, Vec<usize>)| {
            let mut sum: Vec<f64> = Vec::new();
            for at in &tracks {
                let Some(vector) = self.tracks[*at].vector else { continue };
                sum.resize(vector.len().max(sum.len()), 0.0);
                let weight = weight(&self.tracks[*at]);
                sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * f64::from(*x));
            }
            let secs = tracks.iter().map(|at| self.tracks[*at].secs).sum();
            let vector = direction(&sum, 1e-9).unwrap_or_default();
            let is_edited = tracks.iter().any(|at| self.tracks[*at].is_confirmed);
            Group { person, tracks, secs, is_edited, sum, vector }
        };
        let mut groups: Vec<_> = members.into_iter().map(group).collect();
        groups.sort_by(|a, b| b.secs.total_cmp(&a.secs).then(a.person.cmp(&b.person)));
        groups
    }

    fn are_apart(&self, a: i64, b: i64) -> bool {
        self.apart.contains(&(a.min(b), a.max(b)))
    }

    /// Log odds that two people are one.
    fn same_person(&self, a: &Group, b: &Group) -> f64 {
        match (&self.odds, self.numbers.get(&a.person), self.numbers.get(&b.person)) {
            (Some(odds), Some(a), Some(b)) => odds.same_person_given_apart(*a, *b),
            _ => {
                let similarity = cosine(&a.vector, &b.vector).unwrap_or(self.same_from);
                STEEPNESS * (similarity - self.same_from - CLOSER)
            }
        }
    }

    /// Log odds that a track belongs to a person by the similarity of vectors, against being alone; `None` where that cannot
    /// be.
    fn by_vectors(&self, track: &Track<'_>, to: &Group) -> Option<f64> {
        let vector = track.vector?;
        let similarity = if track.person == Some(to.person) {
            // The track's own part of the mean is taken off.
            let weight = weight(track);
            let rest = to.sum.iter().zip(vector).map(|(sum, x)| sum - weight * f64::from(*x));
            cosine(vector, &direction(&rest.collect::<Vec<_>>(), 1e-9)?)
        } else {
            cosine(vector, &to.vector)
        };
        Some(STEEPNESS * (similarity? - self.same_from))
    }

    /// Returns the questions about two people.
    fn pairs(&self, groups: &[Group]) -> Vec<Question> {
        let groups = &groups[..groups.len().min(MOST_COMPARED)];
        let mut found = Vec::new();
        for (at, a) in groups.iter().enumerate() {
            for b in groups[at + 1..].iter().filter(|b| !self.are_apart(a.person, b.person)) {
                let probability = sigmoid(self.same_person(a, b));
                // Groups are in the order of screen time, so `b` is seen less than `a`.
                found.push((probability * b.secs, probability, a, b));
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.truncate(MOST_PAIRS);
        let question = |(value_secs, probability, a, b): (f64, f64, &Group, &Group)| {
            let sides = vec![self.ids(a), self.ids(b)];
            let first = |side: &Vec<i64>| side.iter().min().copied().unwrap_or(0);
            let (x, y) = (first(&sides[0]), first(&sides[1]));
            Question {
                key: format!("same:{}:{}", x.min(y), x.max(y)),
                kind: Kind::Same,
                people: vec![Some(a.person), Some(b.person)],
                sides,
                probability,
                value_secs,
            }
        };
        found.into_iter().map(question).collect()
    }

    /// Returns the questions about single tracks. A track with more than half of the time of its person cannot be a
    /// stranger in that person; whether it shows a face is asked with `all`.
    fn of_tracks(&self, groups: &[Group], all: bool) -> Vec<Question> {
        let by_person: HashMap<i64, &Group> = groups.iter().map(|group| (group.person, group)).collect();
        let mut questions = Vec::new();
        for track in self.tracks.iter().filter(|track| track.is_face && !track.is_confirmed) {
            let track_id = track.track_id;
            let own = track.person.and_then(|person| by_person.get(&person));
            let about = match own {
                Some(own) if 2.0 * track.secs > own.secs => None,
                Some(own) => Some((Kind::Belongs, *own, self.stranger(track, own, groups))),
                None => {
                    let shares = self.shares(track, groups);
                    let best = shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
                    best.map(|(group, probability)| (Kind::Join, group, probability))
                }
            };
            if about.is_none() && !all {
                continue;
            }
            let kind = about.as_ref().map(|(kind, ..)| *kind);
            questions.extend(about.map(|(kind, other, probability)| Question {
                key: format!("{}:{track_id}", if kind == Kind::Join { "join" } else { "belongs" }),
                kind,
                people: vec![track.person, Some(other.person)],
                sides: vec![
                    vec![track_id],
                    self.ids(other).into_iter().filter(|id| *id != track_id).collect(),
                ],
                probability,
                value_secs: probability * track.secs,
            }));
            let share = if kind == Some(Kind::Belongs) { NO_FACES_OF_PEOPLE } else { NO_FACES };
            let no_face = share * sigmoid((FACE_SCORE - track.score) / FACE_SCORE_WIDTH);
            questions.push(Question {
                key: format!("face:{track_id}"),
                kind: Kind::Face,
                people: vec![track.person],
                sides: vec![vec![track_id]],
                probability: no_face,
                value_secs: no_face * track.secs,
            });
        }
        questions
    }

    /// Returns whether several embedders see the tracks.
    fn has_several_views(&self) -> bool {
        self.odds.as_ref().is_some_and(Odds::has_several_views)
    }

    /// Returns the probability that a track shows another person than its own, 0 to 1.
    fn stranger(&self, track: &Track<'_>, own: &Group, groups: &[Group]) -> f64 {
        let mut shares = self.shares(track, groups);
        let own_share = shares.iter().position(|(group, _)| group.person == own.person);
        let own_share = own_share.map_or(1.0, |at| shares.swap_remove(at).1);
        let edited = shares.iter().filter(|(group, _)| group.is_edited).map(|(_, share)| share).sum::<f64>();
        let share = if self.has_several_views() { STRANGERS_OF_SEVERAL } else { 1.0 };
        let by_vectors =
            share * STRANGERS_BY_VECTORS * (1.0 - own_share - edited) + STRANGERS_BY_EDITS * edited;
        by_vectors.max(share * STRANGERS * (1.0 - track.confidence))
    }

    /// Returns the people that a track may show, each with the probability by the vectors against the others and a new
    /// person.
    fn shares<'g>(&self, track: &Track<'_>, groups: &'g [Group]) -> Vec<(&'g Group, f64)> {
        let is_own = |group: &Group| track.person == Some(group.person);
        let compared = groups.iter().enumerate().filter(|(at, group)| *at < MOST_COMPARED || is_own(group));
        let by_odds = self.odds.as_ref().map(|odds| track.item.map(|item| odds.membership(item)));
        let belongs = |group: &Group| match &by_odds {
            Some(by_odds) => by_odds.as_ref()?(*self.numbers.get(&group.person)?),
            None => self.by_vectors(track, group),
        };
        let odds = compared.filter_map(|(_, group)| Some((group, belongs(group)?)));
        let odds: Vec<(&Group, f64)> = odds.collect();
        // Relative to the most likely, so that no exponential is too large.
        let most = odds.iter().map(|(_, odds)| *odds).fold(0.0, f64::max);
        let all = odds.iter().map(|(_, odds)| (odds - most).exp()).sum::<f64>() + (-most).exp();
        odds.into_iter().map(|(group, odds)| (group, (odds - most).exp() / all)).collect()
    }

    /// Returns the questions about the names of the main people.
    fn names(&self, groups: &[Group]) -> Vec<Question> {
        let is_open = |group: &&Group| {
            self.people.get(&group.person).is_some_and(|person| person.is_main && !person.is_named)
        };
        let question = |group: &Group| {
            let tracks = self.ids(group);
            Question {
                key: format!("name:{}", tracks.iter().min().copied().unwrap_or(0)),
                kind: Kind::Name,
                people: vec![Some(group.person)],
                sides: vec![tracks],
                probability: NAME_VALUE,
                value_secs: NAME_VALUE * group.secs,
            }
        };
        groups.iter().filter(is_open).map(question).collect()
    }

    fn ids(&self, group: &Group) -> Vec<i64> {
        group.tracks.iter().map(|at| self.tracks[*at].track_id).collect()
    }
}

/// Returns the tracks whose person a question is about: those of the person who is seen less, or the single track.
fn touched(question: &Question) -> impl Iterator<Item = i64> + use<> {
    let side = usize::from(question.kind == Kind::Same);
    question.sides.get(side).cloned().unwrap_or_default().into_iter()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a unit vector in a plane, by its angle in degrees.
    fn vector(degrees: f32) -> Vec<f32> {
        vec![degrees.to_radians().cos(), degrees.to_radians().sin()]
    }

    /// Returns evidence of tracks with a person, seconds and a vector each.
    fn evidence<'a>(rows: &[(Option<i64>, f64)], vectors: &'a [Vec<f32>]) -> Evidence<'a> {
        let track = |track_id: usize| Track {
            track_id: track_id as i64,
            secs: rows[track_id].1,
            person: rows[track_id].0,
            is_face: true,
            is_confirmed: false,
            confidence: 1.0,
            item: None,
            score: 0.95,
            vector: Some(&vectors[track_id]),
        };
        Evidence {
            tracks: (0..rows.len()).map(track).collect(),
            people: rows.iter().filter_map(|row| Some((row.0?, Person::default()))).collect(),
            apart: HashSet::new(),
            same_from: 0.4,
            odds: None,
            numbers: HashMap::new(),
            passed: BTreeSet::new(),
        }
    }

    fn keys(queue: &Queue) -> Vec<&str> {
        queue.questions.iter().map(|question| question.key.as_str()).collect()
    }

    #[test]
    fn the_people_with_most_time_at_stake_come_first() {
        // People 0 and 1 are similar. People 2 and 3 are similar too, and are seen for longer. Person 4 is like no
        // other.
        let vectors: Vec<_> = [0.0, 50.0, 120.0, 170.0, 260.0].map(vector).into();
        let rows = [(Some(0), 60.0), (Some(1), 5.0), (Some(2), 40.0), (Some(3), 30.0), (Some(4), 20.0)];
        let queue = evidence(&rows, &vectors).queue();
        assert_eq!(keys(&queue)[..2], ["same:2:3", "same:0:1"]);
        let (first, second) = (&queue.questions[0], &queue.questions[1]);
        assert!((first.value_secs / second.value_secs - 6.0).abs() < 0.01, "the time of the one seen less");
        assert_eq!(first.sides, [[2], [3]]);
        assert!(queue.settled > 0.5 && queue.settled < 1.0);
    }

    #[test]
    fn what_was_answered_is_not_asked_again() {
        let vectors: Vec<_> = [0.0, 50.0].map(vector).into();
        let mut evidence = evidence(&[(Some(0), 60.0), (Some(1), 5.0)], &vectors);
        assert_eq!(keys(&evidence.queue()), ["same:0:1"]);
        evidence.passed.insert("same:0:1".into());
        assert_eq!((keys(&evidence.queue()), evidence.queue().settled), (vec![], 1.0));
        evidence.passed.clear();
        evidence.apart.insert((0, 1));
        assert_eq!(keys(&evidence.queue()), [""; 0]);
    }

    #[test]
    fn whole_people_come_before_tracks_of_the_same_value() {
        let question = |kind, key: &str| Question {
            key: key.into(),
            kind,
            people: vec![],
            sides: vec![],
            probability: 0.5,
            value_secs: 1.0,
        };
        let mut questions =
            [question(Kind::Belongs, "a"), question(Kind::Face, "b"), question(Kind::Same, "c")];
        questions.sort_by(Question::order);
        assert_eq!(questions.map(|question| question.key), ["c", "a", "b"]);
    }

    #[test]
    fn a_stranger_in_a_person_is_found_and_stands_out() {
        let vectors: Vec<_> = [0.0, 5.0, 355.0, 90.0, 95.0, 86.0].map(vector).into();
        // Track 3 is with person 0 and looks like person 1.
        let people = [0, 0, 0, 0, 1, 1].map(|person| (Some(person), 4.0));
        let mut evidence = evidence(&people, &vectors);
        let queue = evidence.queue();
        let question = queue.questions.iter().find(|question| question.kind == Kind::Belongs).unwrap();
        assert_eq!((question.sides[0].as_slice(), question.sides[1].as_slice()), (&[3][..], &[0, 1, 2][..]));
        let most = queue.doubts.iter().copied().fold(0.0, f64::max);
        assert_eq!(queue.doubts[3], most);
        evidence.tracks[3].is_confirmed = true;
        assert!(!evidence.queue().questions.iter().any(|question| question.key == "belongs:3"));
    }

    #[test]
    fn noise_is_offered_to_the_person_it_looks_like() {
        let vectors: Vec<_> = [0.0, 90.0, 84.0].map(vector).into();
        let queue = evidence(&[(Some(0), 50.0), (Some(1), 40.0), (None, 3.0)], &vectors).queue();
        let question = queue.questions.iter().find(|question| question.kind == Kind::Join).unwrap();
        assert_eq!((question.key.as_str(), question.people.as_slice()), ("join:2", &[None, Some(1)][..]));
    }

    #[test]
    fn unsure_detections_are_asked_about_and_sure_ones_are_not() {
        let vectors: Vec<_> = [0.0, 2.0, 4.0].map(vector).into();
        let mut evidence = evidence(&[(Some(0), 9.0), (Some(0), 8.0), (Some(0), 2.0)], &vectors);
        evidence.tracks[2].score = 0.6;
        assert_eq!(keys(&evidence.queue()), ["face:2"]);
    }

    #[test]
    fn names_of_the_main_cast_are_asked_for() {
        let vectors: Vec<_> = [0.0, 180.0].map(vector).into();
        let mut evidence = evidence(&[(Some(0), 90.0), (Some(1), 80.0)], &vectors);
        evidence.people.insert(0, Person { is_named: false, is_main: true });
        evidence.people.insert(1, Person { is_named: true, is_main: true });
        assert_eq!(keys(&evidence.queue()), ["name:0"]);
        assert_eq!(evidence.queue().settled, 1.0, "a name is no screen time");
    }

    proptest! {
        #[test]
        fn any_evidence_gives_an_ordered_queue(
            rows in prop::collection::vec((prop::option::of(0_i64..6), 0.0_f64..50.0, 0.0_f32..360.0), 0..40)
        ) {
            let vectors: Vec<_> = rows.iter().map(|row| vector(row.2)).collect();
            let rows: Vec<_> = rows.iter().map(|row| (row.0, row.1)).collect();
            let queue = evidence(&rows, &vectors).queue();
            prop_assert!(queue.questions.is_sorted_by(|a, b| a.value_secs >= b.value_secs));
            let distinct: BTreeSet<_> = keys(&queue).into_iter().collect();
            prop_assert_eq!(distinct.len(), queue.questions.len());
            prop_assert!((0.0..=1.0).contains(&queue.settled));
            prop_assert_eq!(queue.doubts.len(), rows.len());
            let sides = queue.questions.iter().flat_map(|question| &question.sides);
            prop_assert!(sides.into_iter().all(|side| !side.is_empty()));
        }
    }
}
