//! Applies the edits of the user to the people that linking found.
//!
//! [`Found`] is an edit with the tracks of this run that show its faces; [`People`] applies edits one after the
//! other. An edit changes the people that result from the earlier edits. A group of faces stands for the person who
//! has most of the screen time of the faces. People that no edit mentions keep their tracks and their numbers.
//!
//! *Example.* Person 0 has the tracks 0 to 3, and person 1 has the tracks 4 and 5. The edit "split tracks 1 and 3"
//! leaves person 0 with the tracks 0 and 2, and makes the person 2 of the tracks 1 and 3.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use run::RunReader;
use run::edits::{Anchor, Edit, EditOp, Entry, Faces, Log};
use schema::cell::Category as _;
use schema::tables::{Cluster, Constraint, Track};

/// An edit, and the tracks that show its faces.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Key of the edit; 0 for an edit that is not in the log yet.
    pub edit_id: i64,
    /// Kind of the edit.
    pub op: EditOp,
    /// The name of the person; `None` unless `op` is `name`, and `None` removes a name.
    pub name: Option<String>,
    /// Tracks of each side, by id.
    pub sides: Vec<BTreeSet<i64>>,
}

impl Found {
    /// Looks for the faces of an edit of the log.
    pub fn of(entry: &Entry, faces: &Faces) -> Self {
        Self { edit_id: entry.edit_id, ..Self::new(&entry.edit, faces) }
    }

    /// Looks for the faces of an edit that is not in the log yet.
    pub fn new(edit: &Edit, faces: &Faces) -> Self {
        let side = |side: &Vec<_>| side.iter().flat_map(|mark| faces.find(mark)).collect();
        let sides = edit.sides.iter().map(side).collect();
        Self { edit_id: 0, op: edit.op, name: edit.name.clone(), sides }
    }

    fn side(&self, side: usize) -> BTreeSet<i64> {
        self.sides.get(side).cloned().unwrap_or_default()
    }
}

/// Reason why an edit is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The run has no track for a group of faces of the edit.
    NoFace,
    /// One person would be twice in a frame.
    OneFrame {
        /// Two tracks that share a frame.
        tracks: (i64, i64),
    },
    /// The edit contradicts an earlier one.
    Earlier {
        /// Key of the earlier edit.
        edit_id: i64,
        /// Kind of the earlier edit.
        op: EditOp,
        /// A track of either side of the contradiction.
        tracks: (i64, i64),
    },
}

impl Refusal {
    /// Returns the reason as a clause, with the time and the box of each face.
    pub fn reason(&self, faces: &Faces) -> String {
        let text = |track_id: i64, anchor: Option<Anchor>| match anchor {
            Some(Anchor { t_secs, bbox }) => format!(
                "track {track_id} (at {t_secs:.2} s, x {:.0}, y {:.0}, {:.0} × {:.0} pixels)",
                bbox.x_min,
                bbox.y_min,
                bbox.width(),
                bbox.height()
            ),
            None => format!("track {track_id}"),
        };
        let face = |track_id: i64| {
            text(track_id, faces.mark(track_id).and_then(|mark| mark.anchors.first().copied()))
        };
        match self {
            Self::NoFace => "this run has no track with the faces of the correction".into(),
            Self::OneFrame { tracks: (a, b) } => {
                let (first, second) = faces.together(*a, *b).unzip();
                let (first, second) = (text(*a, first), text(*b, second));
                format!("{first} and {second} are in one frame, so they show two people")
            }
            Self::Earlier { edit_id, op, tracks: (a, b) } => {
                format!("it contradicts correction {edit_id} ({}): {} and {}", op.word(), face(*a), face(*b))
            }
        }
    }
}

/// A track and its person.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Member {
    cluster: Option<i64>,
    is_face: bool,
    /// Whether an edit assigned the track to its person.
    is_edited: bool,
    frames: i64,
}

/// A name, and the edit that gave it.
#[derive(Debug, Clone, PartialEq)]
struct Name {
    text: Option<String>,
    edit_id: i64,
    tracks: BTreeSet<i64>,
}

/// The people of a run while edits are applied.
#[derive(Debug, Clone)]
pub struct People {
    members: BTreeMap<i64, Member>,
    names: BTreeMap<i64, Name>,
    next_cluster: i64,
    /// The edit that made a person, by person, and the number of the person among those of the edit.
    origins: BTreeMap<i64, (i64, i64)>,
    /// For each track, the tracks that share a frame with it and show other people.
    apart: Arc<HashMap<i64, Vec<i64>>>,
    /// Edits that count, in order.
    applied: Vec<Arc<Found>>,
}

impl People {
    /// The people of a run that linking found, before edits.
    ///
    /// # Errors
    /// A table is missing or damaged.
    pub fn read(run: &RunReader) -> run::Result<Self> {
        Ok(Self::linked(&run.read()?, &run.read()?, &run.read()?))
    }

    /// The people that linking found, before edits. Tracks that share a frame show two people.
    pub fn linked(clusters: &[Cluster], tracks: &[Track], constraints: &[Constraint]) -> Self {
        let frames: HashMap<i64, i64> =
            tracks.iter().map(|t| (t.track_id, t.last_frame_idx - t.first_frame_idx + 1)).collect();
        let member = |row: &Cluster| {
            // Before version 1.1.0 of the table, `cluster_id` is the result of linking.
            let cluster = if row.not_a_face.is_some() { row.linked_cluster_id } else { row.cluster_id };
            let frames = frames.get(&row.track_id).copied().unwrap_or(1);
            (row.track_id, Member { cluster, is_face: true, is_edited: false, frames })
        };
        let members: BTreeMap<_, _> = clusters.iter().map(member).collect();
        let next_cluster = members.values().filter_map(|m| m.cluster).max().map_or(0, |most| most + 1);
        let mut neighbours: HashMap<i64, Vec<i64>> = HashMap::new();
        for row in constraints.iter().filter(|row| row.forbids()) {
            neighbours.entry(row.track_a).or_default().push(row.track_b);
            neighbours.entry(row.track_b).or_default().push(row.track_a);
        }
        Self {
            members,
            names: BTreeMap::new(),
            next_cluster,
            origins: BTreeMap::new(),
            apart: Arc::new(neighbours),
            applied: Vec::new(),
        }
    }

    /// Applies the edits of a log that count, in their order. Returns the edits that are not applied, with the
    /// reasons.
    pub fn apply_all(&mut self, log: &Log, faces: &Faces) -> Vec<(i64, Refusal)> {
        let found = log.active().map(|entry| Found::of(entry, faces));
        found.filter_map(|found| Some((found.edit_id, self.apply(found).err()?))).collect()
    }

    /// Applies an edit, or changes nothing if the edit is refused.
    ///
    /// # Errors
    /// The reason why the edit is refused.
    pub fn apply(&mut self, edit: Found) -> Result<(), Refusal> {
        let mut next = self.clone();
        next.change(&edit)?;
        next.check(self, &edit)?;
        let made = (self.next_cluster..next.next_cluster).zip(0..);
        next.origins.extend(made.map(|(person, number)| (person, (edit.edit_id, number))));
        next.applied.push(Arc::new(edit));
        *self = next;
        Ok(())
    }

    /// Returns the person of a track; `None` for noise and for a track that shows no face.
    pub fn cluster_of(&self, track_id: i64) -> Option<i64> {
        self.members.get(&track_id)?.cluster
    }

    /// Returns whether a track shows a face, which an edit can deny.
    pub fn is_face(&self, track_id: i64) -> bool {
        self.members.get(&track_id).is_none_or(|member| member.is_face)
    }

    /// Returns whether an edit assigned the track to its person.
    pub fn is_edited(&self, track_id: i64) -> bool {
        self.members.get(&track_id).is_some_and(|member| member.is_edited)
    }

    /// Returns the name that edits gave a person; `None` for a person without a name.
    pub fn name(&self, cluster: i64) -> Option<&str> {
        self.names.get(&cluster)?.text.as_deref()
    }

    /// Returns the edit that made a person, and the number of the person among those of the edit; `None` for a person
    /// of linking.
    pub fn origin(&self, cluster: i64) -> Option<(i64, i64)> {
        self.origins.get(&cluster).copied()
    }

    /// Pairs of tracks that show two people, whatever edits say.
    pub fn apart(&self) -> impl Iterator<Item = (i64, i64)> {
        let pairs = self.apart.iter().flat_map(|(a, others)| others.iter().map(|b| (*a, *b)));
        pairs.filter(|(a, b)| a < b)
    }

    /// Returns the pairs of people who are known to be different, the smaller key first, because they share a frame or
    /// an edit separates them.
    pub fn people_apart(&self) -> HashSet<(i64, i64)> {
        let pair = |(a, b): (i64, i64)| (a != b).then(|| (a.min(b), a.max(b)));
        let by_frames = self.apart().filter_map(|(a, b)| pair((self.cluster_of(a)?, self.cluster_of(b)?)));
        let said = self.applied.iter().filter(|edit| matches!(edit.op, EditOp::Different | EditOp::Split));
        let by_edits = said.filter_map(|edit| {
            let (a, b) = (edit.sides.first()?, edit.sides.get(1)?);
            pair((self.holder(a)?, self.holder(b)?))
        });
        by_frames.chain(by_edits).collect()
    }

    /// Returns the people who have the name of a person and may be that person, and the person last; `None` if there is
    /// no other one. People who are known to be different are left out.
    pub fn same_name(&self, person: i64) -> Option<Vec<i64>> {
        let name = self.name(person)?.to_lowercase();
        let apart = self.people_apart();
        let is_same = |id: &i64| {
            *id != person
                && !apart.contains(&((*id).min(person), (*id).max(person)))
                && self.name(*id).is_some_and(|other| other.to_lowercase() == name)
        };
        let others: Vec<i64> = self.clusters().into_keys().filter(is_same).collect();
        (!others.is_empty()).then(|| others.into_iter().chain([person]).collect())
    }

    /// Returns the tracks that the user assigned to their person, or confirmed there.
    pub fn confirmed(&self) -> HashSet<i64> {
        let side = |edit: &'_ Arc<Found>| -> Option<BTreeSet<i64>> {
            let is_single = |side: &&BTreeSet<i64>| side.len() == 1;
            match edit.op {
                EditOp::Split | EditOp::Move | EditOp::Lock => edit.sides.first().cloned(),
                // An answer about a single track.
                EditOp::Same => edit.sides.iter().find(is_single).cloned(),
                _ => None,
            }
        };
        self.applied.iter().filter_map(side).flatten().collect()
    }

    /// Returns the single tracks of which the user said that they do not show a person.
    pub fn denied(&self) -> impl Iterator<Item = i64> {
        let different = self.applied.iter().filter(|edit| edit.op == EditOp::Different);
        let side = different.filter_map(|edit| edit.sides.first().filter(|side| side.len() == 1));
        side.flatten().copied()
    }

    /// Returns the tracks of every person, by key of the person.
    pub fn clusters(&self) -> BTreeMap<i64, Vec<i64>> {
        let mut clusters: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (track_id, member) in &self.members {
            member.cluster.iter().for_each(|cluster| clusters.entry(*cluster).or_default().push(*track_id));
        }
        clusters
    }

    /// Returns the person who has most frames of these tracks; of several, the person with the smallest number.
    /// `None` if all tracks are without a person.
    pub fn holder(&self, tracks: &BTreeSet<i64>) -> Option<i64> {
        let most = self.shares(tracks).into_iter().max_by_key(|(cluster, frames)| (*frames, -cluster));
        most.map(|(cluster, _)| cluster)
    }

    /// Returns the number of frames of these tracks, by person.
    fn shares(&self, tracks: &BTreeSet<i64>) -> BTreeMap<i64, i64> {
        let mut shares = BTreeMap::new();
        for member in tracks.iter().filter_map(|track| self.members.get(track)) {
            member.cluster.iter().for_each(|cluster| *shares.entry(*cluster).or_default() += member.frames);
        }
        shares
    }

    /// Returns the people of a group of faces: the holder, and every person with more than half of the frames in the
    /// group, for example when a later run splits the person of the group.
    fn people(&self, tracks: &BTreeSet<i64>) -> BTreeSet<i64> {
        let mut whole: BTreeMap<i64, i64> = BTreeMap::new();
        for member in self.members.values() {
            member.cluster.iter().for_each(|cluster| *whole.entry(*cluster).or_default() += member.frames);
        }
        let shares = self.shares(tracks).into_iter();
        let most = shares.filter(|(cluster, frames)| 2 * frames > whole.get(cluster).copied().unwrap_or(0));
        most.map(|(cluster, _)| cluster).chain(self.holder(tracks)).collect()
    }

    fn tracks_of(&self, cluster: i64) -> BTreeSet<i64> {
        let members = self.members.iter().filter(|(_, member)| member.cluster == Some(cluster));
        members.map(|(track_id, _)| *track_id).collect()
    }

    /// Returns those of the tracks that show a face and have no person.
    fn noise(&self, tracks: &BTreeSet<i64>) -> BTreeSet<i64> {
        let is_noise = |track: &&i64| {
            self.members.get(track).is_some_and(|member| member.cluster.is_none() && member.is_face)
        };
        tracks.iter().filter(is_noise).copied().collect()
    }

    fn put(&mut self, tracks: &BTreeSet<i64>, cluster: Option<i64>) {
        for track in tracks {
            if let Some(member) = self.members.get_mut(track).filter(|member| member.is_face) {
                member.is_edited |= member.cluster != cluster;
                member.cluster = cluster;
            }
        }
    }

    /// Makes a new person of these tracks, unless the tracks are exactly one person already. Returns the person.
    fn found(&mut self, tracks: &BTreeSet<i64>) -> i64 {
        if let Some(cluster) = self.holder(tracks).filter(|cluster| self.tracks_of(*cluster) == *tracks) {
            return cluster;
        }
        let cluster = self.next_cluster;
        self.next_cluster += 1;
        self.put(tracks, Some(cluster));
        cluster
    }

    /// Returns the holder of the tracks, or a new person if all tracks are noise; assigns the noise among the tracks
    /// to that person.
    fn gather(&mut self, tracks: &BTreeSet<i64>) -> i64 {
        let noise = self.noise(tracks);
        let Some(cluster) = self.holder(tracks) else { return self.found(tracks) };
        self.put(&noise, Some(cluster));
        cluster
    }

    fn change(&mut self, edit: &Found) -> Result<(), Refusal> {
        let is_shown = |side: BTreeSet<i64>| -> BTreeSet<i64> {
            side.into_iter().filter(|track| self.members.get(track).is_some_and(|m| m.is_face)).collect()
        };
        let (first, second) = (is_shown(edit.side(0)), is_shown(edit.side(1)));
        let needs_second = matches!(edit.op, EditOp::Merge | EditOp::Move | EditOp::Same | EditOp::Different);
        if first.is_empty() || needs_second && second.is_empty() {
            return Err(Refusal::NoFace);
        }
        match edit.op {
            EditOp::Merge | EditOp::Same => {
                let target = self.gather(&first);
                for side in 1..edit.sides.len() {
                    let side = edit.side(side);
                    let noise = self.noise(&side);
                    for person in self.people(&side).into_iter().filter(|person| *person != target) {
                        self.put(&self.tracks_of(person), Some(target));
                        if let Some(name) = self.names.remove(&person) {
                            self.names.entry(target).or_insert(name);
                        }
                    }
                    self.put(&noise, Some(target));
                }
            }
            EditOp::Split => {
                self.found(&first);
            }
            EditOp::Move => {
                let rest = second.difference(&first).copied().collect();
                let target = self.holder(&rest).ok_or(Refusal::NoFace)?;
                self.put(&first, Some(target));
            }
            EditOp::Name => {
                let person = self.gather(&first);
                self.give_name(person, edit, first)?;
            }
            EditOp::Lock => {
                let person = self.gather(&first);
                self.put(&first, Some(person));
            }
            EditOp::NotAFace => {
                self.put(&first, None);
                for track in &first {
                    self.members.get_mut(track).into_iter().for_each(|member| member.is_face = false);
                }
            }
            EditOp::Different => self.separate(&first, &second)?,
            EditOp::Undo => {}
        }
        Ok(())
    }

    /// Names a person. If two edits name different faces of one person, for example when a later run merges two
    /// people, the name with more screen time stays.
    fn give_name(&mut self, person: i64, edit: &Found, tracks: BTreeSet<i64>) -> Result<(), Refusal> {
        if let Some(earlier) = self.names.get(&person).filter(|name| name.tracks.is_disjoint(&tracks)) {
            let share = |tracks| self.shares(tracks).get(&person).copied().unwrap_or(0);
            if share(&earlier.tracks) >= share(&tracks) {
                let pair = earlier.tracks.first().zip(tracks.first());
                return Err(Refusal::Earlier {
                    edit_id: earlier.edit_id,
                    op: EditOp::Name,
                    tracks: pair.map_or((0, 0), |(a, b)| (*a, *b)),
                });
            }
        }
        self.names.insert(person, Name { text: edit.name.clone(), edit_id: edit.edit_id, tracks });
        Ok(())
    }

    /// Makes two people of the two sides. If both sides are one person, the tracks of the second side leave the
    /// person, or those of the first side if the person has no tracks besides the second side.
    fn separate(&mut self, first: &BTreeSet<i64>, second: &BTreeSet<i64>) -> Result<(), Refusal> {
        let is_most_of = |tracks: &BTreeSet<i64>, side: &BTreeSet<i64>| {
            let n_frames = |tracks: &mut dyn Iterator<Item = &i64>| -> i64 {
                tracks.filter_map(|track| self.members.get(track)).map(|member| member.frames).sum()
            };
            2 * n_frames(&mut tracks.intersection(side)) > n_frames(&mut tracks.iter())
        };
        let says_one = |earlier: &&Arc<Found>| {
            let side_of = |tracks| earlier.sides.iter().position(|side| is_most_of(tracks, side));
            let (a, b) = (side_of(first), side_of(second));
            match earlier.op {
                EditOp::Merge | EditOp::Same => a.is_some() && b.is_some() && a != b,
                EditOp::Lock => a.is_some() && b.is_some(),
                _ => false,
            }
        };
        if let Some(earlier) = self.applied.iter().find(says_one) {
            return Err(earlier_than(earlier, first, second));
        }
        let (Some(person), other) = (self.holder(first), self.holder(second)) else { return Ok(()) };
        if other != Some(person) {
            return Ok(());
        }
        let of_person = self.tracks_of(person);
        let leaving = |tracks: &BTreeSet<i64>, staying: &BTreeSet<i64>| -> BTreeSet<i64> {
            tracks.difference(staying).filter(|track| of_person.contains(track)).copied().collect()
        };
        let leave = Some(leaving(second, first)).filter(|leave| !leave.is_empty() && *leave != of_person);
        let leave = leave.unwrap_or_else(|| leaving(first, second));
        if !leave.is_empty() && leave != of_person {
            self.found(&leave);
        }
        Ok(())
    }

    /// Checks the state after an edit against shared frames and earlier edits; `before` is the state before the edit.
    fn check(&self, before: &Self, edit: &Found) -> Result<(), Refusal> {
        let are_one = |state: &Self, a: i64, b: i64| {
            state.cluster_of(a).is_some() && state.cluster_of(a) == state.cluster_of(b)
        };
        let moved =
            self.members.keys().filter(|track| self.cluster_of(**track) != before.cluster_of(**track));
        for track in moved {
            let others = self.apart.get(track).into_iter().flatten();
            for other in others.filter(|other| are_one(self, *track, **other)) {
                if !are_one(before, *track, *other) {
                    return Err(Refusal::OneFrame { tracks: (*track.min(other), *track.max(other)) });
                }
            }
        }
        for earlier in &self.applied {
            let (first, second) = (earlier.side(0), earlier.side(1));
            let is_broken = match earlier.op {
                EditOp::Different => {
                    let is_one = |state: &Self| {
                        let holder = state.holder(&first);
                        holder.is_some() && holder == state.holder(&second)
                    };
                    is_one(self) && !is_one(before)
                }
                EditOp::Lock => {
                    let people = |state: &Self| -> BTreeSet<Option<i64>> {
                        first.iter().map(|track| state.cluster_of(*track)).collect()
                    };
                    let (was, is) = (people(before), people(self));
                    // No edit takes locked tracks apart, and no second lock joins them with other tracks.
                    is.len() > was.len() || edit.op == EditOp::Lock && was.len() == 1 && is != was
                }
                _ => false,
            };
            if is_broken {
                return Err(earlier_than(earlier, &edit.side(0), &edit.side(1)));
            }
        }
        Ok(())
    }
}

/// Returns the refusal of an edit that contradicts an earlier one.
fn earlier_than(earlier: &Found, first: &BTreeSet<i64>, second: &BTreeSet<i64>) -> Refusal {
    let a = first.first().copied().unwrap_or(0);
    let b = second.first().or(earlier.sides.iter().flatten().find(|track| **track != a)).copied();
    Refusal::Earlier { edit_id: earlier.edit_id, op: earlier.op, tracks: (a, b.unwrap_or(a)) }
}

#[cfg(test)]
mod tests {
    use numeric::random::SplitMix64;

    use super::*;
    use crate::constraints::{Pairs, known};

    /// Returns four people with nine tracks of ten frames each; track 9 is noise. Tracks 0 and 4 share a frame.
    fn people() -> People {
        let of = [Some(0), Some(0), Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), Some(3), None];
        let cluster = |(track_id, cluster_id): (i64, Option<i64>)| Cluster {
            video_id: "v".into(),
            track_id,
            cluster_id,
            is_noise: cluster_id.is_none(),
            confidence: 0.5,
            runner_up_cluster_id: None,
            margin: None,
            linked_cluster_id: cluster_id,
            not_a_face: Some(false),
        };
        let track = |track_id: i64| Track {
            video_id: "v".into(),
            track_id,
            shot_idx: 0,
            first_frame_idx: 0,
            last_frame_idx: 9,
            first_t_secs: 0.0,
            last_t_secs: 1.0,
            n_detections: 1,
            mean_score: 0.9,
            best_frame_idx: 0,
            torso: None,
            is_still: None,
        };
        let clusters: Vec<_> = (0..).zip(of).map(cluster).collect();
        let overlap = known(&"v".into(), &[(0, 4)], &Pairs::default(), |_| false);
        People::linked(&clusters, &(0..10).map(track).collect::<Vec<_>>(), &overlap)
    }

    fn edit(edit_id: i64, op: EditOp, sides: &[&[i64]]) -> Found {
        let sides = sides.iter().map(|side| side.iter().copied().collect()).collect();
        Found { edit_id, op, name: None, sides }
    }

    fn named(edit_id: i64, name: &str, tracks: &[i64]) -> Found {
        Found { name: Some(name.into()), ..edit(edit_id, EditOp::Name, &[tracks]) }
    }

    /// Returns the tracks of every person, as text.
    fn shown(people: &People) -> String {
        let person = |(id, tracks): (&i64, &Vec<i64>)| {
            format!("{id}:{}", tracks.iter().map(i64::to_string).collect::<Vec<_>>().join(","))
        };
        people.clusters().iter().map(person).collect::<Vec<_>>().join(" ")
    }

    fn after(edits: &[Found]) -> (String, Vec<Refusal>) {
        let mut people = people();
        let refused = edits.iter().filter_map(|edit| people.apply(edit.clone()).err()).collect();
        (shown(&people), refused)
    }

    fn applied(edits: &[Found]) -> String {
        let (shown, refused) = after(edits);
        assert_eq!(refused, []);
        shown
    }

    #[test]
    fn each_kind_does_what_it_says_and_leaves_the_others() {
        assert_eq!(applied(&[]), "0:0,1,2,3 1:4,5 2:6,7 3:8");
        assert_eq!(applied(&[edit(1, EditOp::Merge, &[&[6, 7], &[8]])]), "0:0,1,2,3 1:4,5 2:6,7,8");
        assert_eq!(applied(&[edit(1, EditOp::Merge, &[&[8], &[6, 7], &[4, 5]])]), "0:0,1,2,3 3:4,5,6,7,8");
        assert_eq!(applied(&[edit(1, EditOp::Same, &[&[8], &[9]])]), "0:0,1,2,3 1:4,5 2:6,7 3:8,9");
        assert_eq!(applied(&[edit(1, EditOp::Split, &[&[1, 3]])]), "0:0,2 1:4,5 2:6,7 3:8 4:1,3");
        assert_eq!(
            applied(&[edit(1, EditOp::Split, &[&[6, 7]])]),
            "0:0,1,2,3 1:4,5 2:6,7 3:8",
            "a split of all tracks of a person changes nothing"
        );
        assert_eq!(applied(&[edit(1, EditOp::Move, &[&[9, 3], &[8]])]), "0:0,1,2 1:4,5 2:6,7 3:3,8,9");
        assert_eq!(applied(&[edit(1, EditOp::NotAFace, &[&[8, 9, 1]])]), "0:0,2,3 1:4,5 2:6,7");
        assert_eq!(applied(&[edit(1, EditOp::Different, &[&[0], &[1]])]), "0:0,2,3 1:4,5 2:6,7 3:8 4:1");
        assert_eq!(applied(&[edit(1, EditOp::Different, &[&[0], &[8]])]), "0:0,1,2,3 1:4,5 2:6,7 3:8");
    }

    /// In a later run, an edit changes the people who have most of the screen time of its faces.
    #[test]
    fn an_edit_is_about_who_holds_most_of_its_faces() {
        // Three of the four tracks of the first group belong to person 0; track 8 keeps its person.
        let found = applied(&[edit(1, EditOp::Merge, &[&[1, 2, 3, 8], &[6]])]);
        assert_eq!(found, "0:0,1,2,3,6,7 1:4,5 3:8");
        // A person who was split is merged with all parts, and a lock joins the people of its tracks.
        let found = applied(&[edit(1, EditOp::Merge, &[&[8], &[4, 5, 6, 7]])]);
        assert_eq!(found, "0:0,1,2,3 3:4,5,6,7,8");
        assert_eq!(applied(&[edit(1, EditOp::Lock, &[&[6, 7, 8, 9]])]), "0:0,1,2,3 1:4,5 2:6,7,8,9");
    }

    #[test]
    fn names_go_with_people() {
        let mut people = people();
        let edits = [
            named(1, "Ross", &[6, 7]),
            edit(2, EditOp::Merge, &[&[8], &[6, 7]]),
            named(3, "Ann", &[4, 5]),
            named(4, "Anna", &[4, 5]),
        ];
        edits.into_iter().for_each(|edit| assert_eq!(people.apply(edit), Ok(())));
        assert_eq!((people.name(3), people.name(1), people.name(0)), (Some("Ross"), Some("Anna"), None));
        // Two names for different faces of one person: the name of more screen time stays.
        let smaller = people.apply(named(5, "Joey", &[8]));
        assert!(matches!(smaller, Err(Refusal::Earlier { edit_id: 1, .. })), "{smaller:?}");
        assert_eq!(people.name(3), Some("Ross"));
    }

    #[test]
    fn contradictions_are_refused_and_change_nothing() {
        let refused = |edits: &[Found]| {
            let (before, after) = (applied(&edits[..edits.len() - 1]), after(edits));
            assert_eq!(after.0, before);
            after.1.into_iter().next_back()
        };
        let frame = Some(Refusal::OneFrame { tracks: (0, 4) });
        assert_eq!(refused(&[edit(1, EditOp::Merge, &[&[0, 1], &[4, 5]])]), frame);
        assert_eq!(refused(&[edit(1, EditOp::Move, &[&[4], &[0, 1]])]), frame);
        assert_eq!(refused(&[edit(1, EditOp::Merge, &[&[0], &[55]])]), Some(Refusal::NoFace));
        let earlier = |op: EditOp, edits: &[Found]| match refused(edits) {
            Some(Refusal::Earlier { edit_id: 1, op: found, .. }) => assert_eq!(found, op),
            other => assert_eq!(other, None, "{edits:?}"),
        };
        let lock = || edit(1, EditOp::Lock, &[&[0, 1, 2, 3]]);
        earlier(EditOp::Lock, &[lock(), edit(2, EditOp::Split, &[&[1]])]);
        earlier(EditOp::Lock, &[lock(), edit(2, EditOp::Move, &[&[1], &[8]])]);
        earlier(EditOp::Lock, &[lock(), edit(2, EditOp::NotAFace, &[&[1]])]);
        earlier(EditOp::Lock, &[lock(), edit(2, EditOp::Lock, &[&[3, 6, 7]])]);
        earlier(EditOp::Lock, &[lock(), edit(2, EditOp::Different, &[&[0], &[1]])]);
        let different = || edit(1, EditOp::Different, &[&[6, 7], &[8]]);
        earlier(EditOp::Different, &[different(), edit(2, EditOp::Same, &[&[8], &[7]])]);
        earlier(EditOp::Different, &[different(), edit(2, EditOp::Merge, &[&[4], &[7], &[8]])]);
        let same = edit(1, EditOp::Same, &[&[6, 7], &[8]]);
        earlier(EditOp::Same, &[same, edit(2, EditOp::Different, &[&[6], &[8]])]);
    }

    #[test]
    fn people_that_no_edit_mentions_keep_their_tracks() {
        let mut random = SplitMix64::new(7);
        let mut below = |n: usize| random.below(n) as i64;
        for _ in 0..2000 {
            let mut people = people();
            let mut touched = BTreeSet::new();
            for edit_id in 1..6 {
                let ops = [
                    EditOp::Merge,
                    EditOp::Split,
                    EditOp::Move,
                    EditOp::Lock,
                    EditOp::NotAFace,
                    EditOp::Different,
                ];
                let op = ops[below(ops.len()) as usize];
                let sides = [[below(10), below(10)], [below(10), below(10)]];
                let edit = edit(edit_id, op, &[&sides[0], &sides[1]]);
                let tracks = sides.concat();
                let before = people.clone();
                touched.extend(tracks.iter().filter_map(|track| before.cluster_of(*track)));
                if people.apply(edit).is_err() {
                    assert_eq!(shown(&people), shown(&before));
                }
            }
            let start = self::people().clusters();
            let now = people.clusters();
            for (id, tracks) in start.iter().filter(|(id, _)| !touched.contains(*id)) {
                assert_eq!(now.get(id), Some(tracks));
            }
        }
    }
}
