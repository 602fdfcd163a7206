//! What to check first: constraints that the result violates, and the doubts about it, each with faces, times and a
//! command; with labels, also what is wrong.

use std::collections::BTreeMap;

use schema::tables::{Constraint, ConstraintKind, Doubt, DoubtKind, Identity, Track};
use serde_json::{Value, json};

use crate::faces::ThumbnailBudget;
use crate::input::LabelledTrack;
use crate::moments::Moments;
use crate::people::{LEAST_SHOWN, Truth};
use crate::{Report, format};

/// Most doubts, and most violated constraints.
const MAX_DOUBTS: usize = 24;
/// Most wrong tracks; of more, those that are longest on screen.
const MAX_WRONG: usize = 60;

/// The lists of pairs, each the most urgent first: violated constraints and doubts; tracks in a cluster that mainly
/// shows another person, and the number of all such tracks, shown or not; clusters of one person.
pub(crate) fn draw(
    report: &Report<'_>,
    truth: Option<&Truth<'_>>,
    moments: &Moments,
    thumbnails: &mut ThumbnailBudget,
) -> Value {
    let tables = report.tables;
    let cluster_of = tables.clusters.iter().map(|c| (c.track_id, c.cluster_id)).collect();
    let runner_up =
        tables.clusters.iter().filter_map(|c| Some((c.track_id, c.runner_up_cluster_id?))).collect();
    let mut checker = Checker { report, truth, moments, thumbnails, cluster_of, runner_up };
    let shown = tables.doubts.iter().filter(|doubt| doubt.probability >= LEAST_SHOWN).take(MAX_DOUBTS);
    // Pictures go to the lists in this order.
    let violated: Vec<_> = tables.violated.iter().take(MAX_DOUBTS).map(|row| checker.violated(row)).collect();
    let doubts: Vec<_> = shown.map(|doubt| checker.doubt(doubt)).collect();
    let (wrong, n_wrong) = checker.wrong();
    let splits = checker.splits();
    json!({
        "first": violated.into_iter().chain(doubts).collect::<Vec<_>>(),
        "wrong": wrong, "n_wrong": n_wrong, "splits": splits,
    })
}

/// Two faces beside each other, or one, and the reason to look at them.
#[derive(Default)]
struct Pair {
    sides: Vec<Value>,
    text: String,
    /// Moments to look at.
    moments: Vec<Value>,
    /// What to do, and the command that does it.
    acts: Vec<(&'static str, String)>,
    /// What the labels say of the pair; `None` when they say nothing.
    truth: Option<String>,
    /// Whether the labels contradict the result.
    wrong: bool,
}

impl Pair {
    fn drawn(self) -> Value {
        let act = |(what, command): (&str, String)| json!({ "what": what, "command": command });
        json!({
            "sides": self.sides, "text": self.text, "moments": self.moments,
            "acts": self.acts.into_iter().map(act).collect::<Vec<_>>(),
            "truth": self.truth, "wrong": self.wrong,
        })
    }
}

struct Checker<'r, 'a> {
    report: &'r Report<'a>,
    truth: Option<&'r Truth<'a>>,
    moments: &'r Moments,
    thumbnails: &'r mut ThumbnailBudget,
    cluster_of: BTreeMap<i64, Option<i64>>,
    runner_up: BTreeMap<i64, i64>,
}

impl Checker<'_, '_> {
    /// A constraint that the result violates: which two tracks, of which people, and when.
    fn violated(&mut self, row: &Constraint) -> Value {
        let (a, b) = (row.track_a, row.track_b);
        let who = self.name(self.cluster(a));
        // Both are on screen from the start of the later one.
        let tracks = [a, b].map(|track| self.report.tables.track(track).map(|t| t.first_t_secs));
        let at = tracks.into_iter().flatten().fold(0.0, f64::max);
        let (text, act) = match row.kind {
            ConstraintKind::CannotLink => (
                format!("tracks {a} and {b} are in one picture, but both are {who}"),
                ("take one of them out", command("split", &[b.to_string()])),
            ),
            ConstraintKind::MustLink => (
                format!("tracks {a} and {b} should be one person by a correction, but they are two"),
                ("look at the corrections", "facetrack edits list RUN".into()),
            ),
        };
        let (truth, wrong) = self.verdict(a, b, row.kind == ConstraintKind::CannotLink);
        let sides = vec![self.track(a), self.track(b)];
        Pair { sides, text, moments: vec![self.moments.at(at)], acts: vec![act], truth, wrong }.drawn()
    }

    fn doubt(&mut self, doubt: &Doubt) -> Value {
        let percent = format::percent(doubt.probability);
        let number = |person: Option<i64>| Identity::number(person.unwrap_or_default()).to_string();
        let track = doubt.track_id.unwrap_or_default();
        let own = self.cluster(track);
        let pair = match doubt.kind {
            DoubtKind::Split => {
                let people = [doubt.cluster_id, doubt.other_cluster_id];
                let numbers = people.map(number);
                let first = |person: &Option<i64>| {
                    let identity = self.report.tables.identity((*person)?)?;
                    Some(self.moments.at(identity.first_t_secs))
                };
                Pair {
                    moments: people.iter().filter_map(first).collect(),
                    text: format!("{percent} likely to be one person"),
                    acts: vec![
                        ("one person", command("same", &numbers)),
                        ("two people", command("different", &numbers)),
                    ],
                    sides: people.iter().flatten().map(|person| self.person(*person)).collect(),
                    ..Pair::default()
                }
            }
            DoubtKind::Stranger => {
                let next = self.runner_up.get(&track).copied();
                let as_next = next.map(|next| {
                    ("that person", command("move", &[track.to_string(), "--to".into(), number(Some(next))]))
                });
                let like =
                    next.map_or(String::new(), |next| format!(", most like {}", self.name(Some(next))));
                let apart = ("a new person", command("split", &[track.to_string()]));
                let acts = as_next.into_iter().chain([apart]).collect();
                let sides = vec![Some(self.track(track)), own.map(|own| self.person(own))];
                Pair {
                    text: format!("{percent} likely to be another person{like}"),
                    acts,
                    sides: sides.into_iter().flatten().collect(),
                    ..self.about(track)
                }
            }
            DoubtKind::Unsorted => Pair {
                text: format!("not sorted, {percent} likely to be this person"),
                acts: vec![(
                    "this person",
                    command("move", &[track.to_string(), "--to".into(), number(doubt.cluster_id)]),
                )],
                sides: [Some(self.track(track)), doubt.cluster_id.map(|person| self.person(person))]
                    .into_iter()
                    .flatten()
                    .collect(),
                ..self.about(track)
            },
            DoubtKind::NotAFace => Pair {
                text: match own {
                    Some(_) => format!("of {}, {percent} likely not to be a face", self.name(own)),
                    None => format!("{percent} likely not to be a face"),
                },
                acts: vec![("not a face", command("not-a-face", &[track.to_string()]))],
                sides: vec![self.track(track)],
                ..self.about(track)
            },
        };
        pair.drawn()
    }

    /// When a track is on screen, and what the labels say of it.
    fn about(&self, track: i64) -> Pair {
        let at = |row: &Track| self.moments.at(row.first_t_secs);
        let own = self.cluster(track);
        Pair {
            moments: self.report.tables.track(track).map(at).into_iter().collect(),
            truth: self.truth.and_then(|truth| truth.person(track)).map(str::to_owned),
            wrong: self.truth.zip(own).is_some_and(|(truth, own)| truth.is_wrong(track, own)),
            ..Pair::default()
        }
    }

    /// What the labels say of two tracks that are, or are not, taken for one person.
    fn verdict(&self, a: i64, b: i64, same: bool) -> (Option<String>, bool) {
        let person = |track| self.truth.and_then(|truth| truth.person(track));
        let Some((a, b)) = person(a).zip(person(b)) else { return (None, false) };
        let text = if a == b { format!("both are {a}") } else { format!("{a} and {b}") };
        (Some(text), same != (a == b))
    }

    fn wrong(&mut self) -> (Vec<Value>, usize) {
        let Some(truth) = self.truth else { return (Vec::new(), 0) };
        let people = &truth.labels.people;
        let wrong = |track: &LabelledTrack| {
            let cluster = track.cluster_id?;
            let majority = truth.majority(cluster).filter(|majority| *majority != track.person)?;
            Some((*track, cluster, &people[majority]))
        };
        let mut wrong: Vec<_> = truth.tracks.values().filter_map(wrong).collect();
        let n = wrong.len();
        wrong.sort_by_key(|(track, ..)| std::cmp::Reverse(track.n_boxes));
        wrong.truncate(MAX_WRONG);
        let draw = |&(track, cluster, majority): &(LabelledTrack, i64, &String)| {
            let sides = [self.track(track.track_id), self.person(cluster)];
            let boxes = format::counted(track.n_boxes, "labelled box", "labelled boxes");
            let text = format!("is in {}, which mainly shows {majority}; {boxes}", self.name(Some(cluster)));
            let truth = Some(people[track.person].clone());
            Pair { sides: sides.into(), text, truth, wrong: true, ..self.about(track.track_id) }.drawn()
        };
        (wrong.iter().map(draw).collect(), n)
    }

    fn splits(&mut self) -> Vec<Value> {
        let Some(truth) = self.truth else { return Vec::new() };
        let mut first: BTreeMap<usize, i64> = BTreeMap::new();
        let mut splits = Vec::new();
        for cluster in truth.labels.boxes.keys().copied().flatten() {
            let Some(person) = truth.majority(cluster) else { continue };
            let earlier = *first.entry(person).or_insert(cluster);
            if earlier != cluster {
                let both = format!("both are {}", truth.labels.people[person]);
                let sides = [self.person(earlier), self.person(cluster)];
                let (text, truth) = ("are two clusters of one person".into(), Some(both));
                splits
                    .push(Pair { sides: sides.into(), text, truth, wrong: true, ..Pair::default() }.drawn());
            }
        }
        splits
    }

    fn cluster(&self, track_id: i64) -> Option<i64> {
        self.cluster_of.get(&track_id).copied().flatten()
    }

    fn name(&self, cluster_id: Option<i64>) -> String {
        self.report.tables.name(cluster_id)
    }

    fn track(&mut self, track_id: i64) -> Value {
        let cluster = self.cluster(track_id);
        let alt = format!("Track {track_id}, {}", self.name(cluster));
        let face = self.report.faces.best(track_id);
        json!({
            "face": face.and_then(|face| self.thumbnails.picture(&face.large, alt)),
            "name": format!("Track {track_id}"),
            "class": self.report.tables.colours()(cluster).0,
            "anchor": format!("t{track_id}"),
        })
    }

    fn person(&mut self, cluster_id: i64) -> Value {
        let name = self.name(Some(cluster_id));
        let face =
            self.report.faces.portrait(cluster_id).and_then(|face| self.report.faces.best(face.track_id));
        json!({
            "face": face.and_then(|face| self.thumbnails.picture(&face.large, name.clone())),
            "name": name,
            "class": self.report.tables.colours()(Some(cluster_id)).0,
            "anchor": format!("p{cluster_id}"),
        })
    }
}

/// A command that adds a correction; `RUN` stands for the run directory.
fn command(act: &str, arguments: &[String]) -> String {
    let first: Vec<_> = arguments.iter().map(String::as_str).collect();
    format!("facetrack edits add {act} RUN {}", first.join(" "))
}
