//! The pairs of faces to check first: those about which the result is least sure and, with labels, those
//! that are wrong.

use std::collections::BTreeMap;

use schema::tables::Identity;
use serde::Serialize;

use crate::error::Result;
use crate::faces::{Picture, ThumbnailBudget};
use crate::people::{self, Truth};
use crate::{Report, dendrogram, format, palette};

/// Most pairs of each list.
const MAX_PAIRS: usize = 12;
/// Most wrong tracks; of more, those that are longest on screen.
const MAX_WRONG: usize = 60;

/// Two faces beside each other, and the reason to look at them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Pair {
    sides: [Side; 2],
    text: String,
    /// What the labels say of the pair; `None` when they say nothing.
    truth: Option<String>,
    /// Whether the labels contradict the result.
    wrong: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Side {
    face: Option<Picture>,
    name: String,
    class: String,
    anchor: String,
}

/// Lists of pairs, each the most urgent first.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub(crate) struct Review {
    /// Branches that meet nearest to where the tree was cut.
    merges: Vec<Pair>,
    /// Tracks that almost fit another person as well.
    margins: Vec<Pair>,
    /// Tracks in a cluster that mainly shows another person.
    wrong: Vec<Pair>,
    /// Number of all such tracks, shown or not.
    n_wrong: usize,
    /// Clusters of one person.
    splits: Vec<Pair>,
}

/// Draws all lists.
pub(crate) fn draw(
    report: &Report<'_>,
    truth: Option<&Truth<'_>>,
    thumbnails: &mut ThumbnailBudget,
) -> Result<Review> {
    let mut reviewer = Reviewer::new(report, truth, thumbnails);
    let (wrong, n_wrong) = reviewer.wrong();
    Ok(Review {
        wrong,
        n_wrong,
        splits: reviewer.splits(),
        merges: report.cut.map_or(Ok(Vec::new()), |cut| reviewer.merges(cut))?,
        margins: reviewer.margins(),
    })
}

struct Reviewer<'r, 'a> {
    report: &'r Report<'a>,
    truth: Option<&'r Truth<'a>>,
    thumbnails: &'r mut ThumbnailBudget,
    cluster_of: BTreeMap<i64, Option<i64>>,
    identities: BTreeMap<i64, &'a Identity>,
}

impl<'r, 'a> Reviewer<'r, 'a> {
    fn new(
        report: &'r Report<'a>,
        truth: Option<&'r Truth<'a>>,
        thumbnails: &'r mut ThumbnailBudget,
    ) -> Self {
        let tables = report.tables;
        let cluster_of = tables.clusters.iter().map(|c| (c.track_id, c.cluster_id)).collect();
        let identities = tables.identities.iter().map(|i| (i.cluster_id, i)).collect();
        Self { report, truth, thumbnails, cluster_of, identities }
    }

    fn merges(&mut self, cut: f64) -> Result<Vec<Pair>> {
        let mut merges = dendrogram::merges(self.report)?;
        merges.sort_by(|a, b| (a.height - cut).abs().total_cmp(&(b.height - cut).abs()));
        merges.truncate(MAX_PAIRS);
        let pair = |merge: &dendrogram::Merge| {
            let [a, b] = merge.tracks;
            let same = self.cluster(a) == self.cluster(b) && self.cluster(a).is_some();
            let result = if same { "linked" } else { "kept apart" };
            let sides = [self.track(a), self.track(b)];
            let (truth, wrong) = self.verdict(a, b, same);
            let text = format!("{result}; merged at {:.3}, the cut is at {cut:.3}", merge.height);
            Pair { sides, text, truth, wrong }
        };
        Ok(merges.iter().map(pair).collect())
    }

    /// What the labels say of two tracks that are, or are not, taken for one person.
    fn verdict(&self, a: i64, b: i64, same: bool) -> (Option<String>, bool) {
        let person = |track| self.truth.and_then(|truth| truth.person(track));
        let Some((a, b)) = person(a).zip(person(b)) else { return (None, false) };
        let text = if a == b { format!("both are {a}") } else { format!("{a} and {b}") };
        (Some(text), same != (a == b))
    }

    fn margins(&mut self) -> Vec<Pair> {
        let clusters = self.report.tables.clusters.iter();
        let mut doubtful: Vec<_> = clusters
            .filter_map(|c| Some((c.margin?, c.track_id, c.cluster_id?, c.runner_up_cluster_id?)))
            .collect();
        doubtful.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
        doubtful.truncate(MAX_PAIRS);
        let pair = |&(margin, track, own, other): &(f32, i64, i64, i64)| {
            let sides = [self.track(track), self.person(other)];
            let near = if margin < 0.0 { "nearer" } else { "almost as near" };
            let text = format!(
                "assigned to {}, but {} is {near}: margin {}",
                self.name(own),
                self.name(other),
                format::figure(f64::from(margin))
            );
            let person = self.truth.and_then(|truth| truth.person(track));
            let wrong = self.truth.is_some_and(|truth| truth.is_wrong(track, own));
            Pair { sides, text, truth: person.map(str::to_owned), wrong }
        };
        doubtful.iter().map(pair).collect()
    }

    fn wrong(&mut self) -> (Vec<Pair>, usize) {
        let Some(truth) = self.truth else { return (Vec::new(), 0) };
        let mut wrong = truth.wrong_tracks();
        let n = wrong.len();
        wrong.sort_by_key(|track| std::cmp::Reverse(track.n_boxes));
        wrong.truncate(MAX_WRONG);
        let pair = |track: &people::WrongTrack<'_>| Pair {
            sides: [self.track(track.track_id), self.person(track.cluster_id)],
            text: format!(
                "is in {}, which mainly shows {}; {}",
                self.name(track.cluster_id),
                track.majority,
                format::counted(track.n_boxes, "labelled box", "labelled boxes")
            ),
            truth: Some(track.person.to_owned()),
            wrong: true,
        };
        (wrong.iter().map(pair).collect(), n)
    }

    fn splits(&mut self) -> Vec<Pair> {
        let splits = self.truth.map(Truth::splits).unwrap_or_default();
        let pair = |(person, a, b): &(&str, i64, i64)| Pair {
            sides: [self.person(*a), self.person(*b)],
            text: "are two clusters of one person".into(),
            truth: Some(format!("both are {person}")),
            wrong: true,
        };
        splits.iter().map(pair).collect()
    }

    fn cluster(&self, track_id: i64) -> Option<i64> {
        self.cluster_of.get(&track_id).copied().flatten()
    }

    fn name(&self, cluster_id: i64) -> String {
        self.identities.get(&cluster_id).map_or_else(|| format!("Person {cluster_id}"), |i| people::name(i))
    }

    fn track(&mut self, track_id: i64) -> Side {
        let cluster = self.cluster(track_id);
        let who = cluster.map_or("noise".into(), |id| self.name(id));
        let face = self.report.faces.best(track_id);
        Side {
            face: face.and_then(|face| self.thumbnails.large(face, format!("Track {track_id}, {who}"))),
            name: format!("Track {track_id}"),
            class: palette::class(cluster),
            anchor: format!("t{track_id}"),
        }
    }

    fn person(&mut self, cluster_id: i64) -> Side {
        let name = self.name(cluster_id);
        let exemplar = self.identities.get(&cluster_id);
        let face = exemplar.and_then(|i| self.report.faces.at(i.exemplar_track_id, i.exemplar_frame_idx));
        Side {
            face: face.and_then(|face| self.thumbnails.large(face, format!("Best picture of {name}"))),
            name,
            class: palette::class(Some(cluster_id)),
            anchor: format!("p{cluster_id}"),
        }
    }
}
