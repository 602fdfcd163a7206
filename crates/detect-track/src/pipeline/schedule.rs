//! Schedule of examined frames, which passes frames on in order, whatever the order of answers.
//!
//! Frames are admitted in order. Anchor frames (the first and last of every shot, and one at least every
//! `max_stride_secs`) are examined at once. The [`Policy`] decides about the frames between two anchor frames, an
//! anchor interval. Orders depend only on the faces that are found, never on the order of answers.

use std::collections::{BTreeMap, VecDeque};

use geometry::BBox;

use crate::face::{DetectedFace, Face};
use crate::follow::Trajectory;
use crate::shots::Boundary;
use crate::spans::{self, Look};

/// Treatment of the frames between two anchor frames of a shot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// The middle frame is examined around the faces at both ends, and each half is treated in the same way, until the
    /// faces at both ends agree by [`spans::agree`].
    Halve {
        /// Score from which a face needs a counterpart at the other end, 0 to 1.
        clear_score: f32,
    },
    /// The faces of the first anchor frame are followed to the second one.
    Follow,
}

/// Frames in order, some of them under examination. `P` is a picture, cheap to clone.
#[derive(Debug)]
pub struct Schedule<P> {
    policy: Policy,
    entries: VecDeque<Entry<P>>,
    /// Anchor intervals that wait for the faces at their ends.
    waiting: Vec<Interval>,
    /// Anchor intervals through which faces are being followed.
    followed: Vec<Interval>,
    /// Faces at the ends of waiting intervals, as far as known, by `frame_idx`.
    ends: BTreeMap<i64, Vec<Look>>,
    /// Last anchor frame of the shot; `None` before the first one, and at the end of the video.
    last_anchor: Option<i64>,
}

#[derive(Debug)]
struct Entry<P> {
    frame_idx: i64,
    /// Boundary of the shot that begins at the frame; `None` within a shot.
    boundary: Option<Boundary>,
    /// `None` once the picture is no longer needed.
    picture: Option<P>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Waits for a decision or for the answer of a worker.
    Open,
    Examined(Vec<DetectedFace>),
    Skipped,
}

/// Frames between two examined frames of a shot, the two included.
#[derive(Debug, Clone, Copy)]
struct Interval {
    from: i64,
    to: i64,
}

/// An order for a worker.
#[derive(Debug)]
pub struct Order<P> {
    /// Frame to examine, or the anchor frame from which faces are followed.
    pub frame_idx: i64,
    /// Task for the worker.
    pub task: Task<P>,
}

/// Task of a worker.
#[derive(Debug)]
pub enum Task<P> {
    /// Look for faces.
    Examine {
        /// The picture.
        picture: P,
        /// Boxes of the faces that are to be expected. Other faces need not be found; without boxes, all faces are.
        near: Vec<BBox>,
    },
    /// Follow these faces from the first picture, that of the order's frame, through the other pictures.
    Follow {
        /// Faces that were found in the first picture.
        faces: Vec<Face>,
        /// `frame_idx` and picture of each frame, in order.
        pictures: Vec<(i64, P)>,
    },
}

/// A frame that is passed on.
#[derive(Debug)]
pub struct ReadyFrame {
    /// The frame.
    pub frame_idx: i64,
    /// Boundary of the shot that begins at the frame; `None` within a shot.
    pub boundary: Option<Boundary>,
    /// Faces found in the frame; `None` when the frame was not examined.
    pub faces: Option<Vec<DetectedFace>>,
}

impl<P: Clone> Schedule<P> {
    /// Creates an empty schedule.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            entries: VecDeque::new(),
            waiting: Vec::new(),
            followed: Vec::new(),
            ends: BTreeMap::new(),
            last_anchor: None,
        }
    }

    /// Admits the next frame; returns the order to examine the frame if it is an anchor frame.
    pub fn admit(
        &mut self,
        frame_idx: i64,
        picture: P,
        boundary: Option<Boundary>,
        is_anchor: bool,
    ) -> Option<Order<P>> {
        if boundary.is_some() {
            self.last_anchor = None;
        }
        self.entries.push_back(Entry { frame_idx, boundary, picture: Some(picture), state: State::Open });
        if !is_anchor {
            return None;
        }
        if let Some(from) = self.last_anchor.replace(frame_idx) {
            self.waiting.push(Interval { from, to: frame_idx });
        }
        self.order_examination(self.entries.len() - 1, Vec::new())
    }

    /// Ends the video: no frame follows.
    pub fn end(&mut self) {
        self.last_anchor = None;
    }

    /// Records the faces that were found in a frame; returns the orders that follow from these faces.
    pub fn record_faces(&mut self, frame_idx: i64, faces: Vec<DetectedFace>) -> Vec<Order<P>> {
        self.ends.insert(frame_idx, faces.iter().map(Look::of).collect());
        let place = self.place(frame_idx);
        if let Some(entry) = self.entries.get_mut(place) {
            entry.state = State::Examined(faces);
        }
        let (decidable, open) = self.waiting.iter().partition(|interval| self.is_decidable(interval));
        self.waiting = open;
        let decidable: Vec<Interval> = decidable;
        let orders = decidable.into_iter().flat_map(|interval| self.decide(interval)).collect();
        let waiting = &self.waiting;
        let last_anchor = self.last_anchor;
        let is_needed = |frame: i64| waiting.iter().any(|i| i.from == frame || i.to == frame);
        self.ends.retain(|frame, _| last_anchor == Some(*frame) || is_needed(*frame));
        self.release_pictures();
        orders
    }

    /// Records that the faces of an anchor frame were followed to the next anchor frame: a trajectory for each face.
    pub fn record_trajectories(&mut self, frame_idx: i64, trajectories: Vec<Trajectory>) {
        if let Some(place) = self.followed.iter().position(|interval| interval.from == frame_idx) {
            let interval = self.followed.swap_remove(place);
            self.skip(interval);
        }
        let place = self.place(frame_idx);
        if let Some(Entry { state: State::Examined(faces), .. }) = self.entries.get_mut(place) {
            for (found, trajectory) in faces.iter_mut().zip(trajectories) {
                found.trajectory = trajectory;
            }
        }
        self.release_pictures();
    }

    /// Records a shot that turned out to begin at `frame_idx`, a frame that has not been passed on.
    pub fn begin_at(&mut self, frame_idx: i64, boundary: Boundary) {
        let place = self.place(frame_idx);
        if let Some(entry) = self.entries.get_mut(place) {
            entry.boundary = entry.boundary.or(Some(boundary));
        }
    }

    /// Returns the next frame in order, if the frame waits for nothing and is before `settled_before`, the first frame
    /// at which a shot may still turn out to begin.
    pub fn pop_ready(&mut self, settled_before: i64) -> Option<ReadyFrame> {
        let front = self.entries.front()?;
        if self.is_open(front) || front.frame_idx >= settled_before {
            return None;
        }
        let Entry { frame_idx, boundary, state, .. } = self.entries.pop_front()?;
        let faces = match state {
            State::Examined(faces) => Some(faces),
            _ => None,
        };
        Some(ReadyFrame { frame_idx, boundary, faces })
    }

    /// Returns the number of pictures in memory, held here or by a worker.
    pub fn pictures(&self) -> usize {
        self.entries.iter().filter(|entry| entry.picture.is_some()).count()
    }

    fn is_decidable(&self, interval: &Interval) -> bool {
        let is_known = |frame| self.ends.contains_key(&frame);
        is_known(interval.from) && (self.policy == Policy::Follow || is_known(interval.to))
    }

    fn decide(&mut self, interval: Interval) -> Option<Order<P>> {
        match self.policy {
            Policy::Halve { clear_score } => self.halve(interval, clear_score),
            Policy::Follow => self.follow(interval),
        }
    }

    /// Skips the frames of an interval whose ends agree; halves any other interval.
    fn halve(&mut self, interval: Interval, clear_score: f32) -> Option<Order<P>> {
        let (first, end) = self.between(interval);
        let [from, to] =
            [interval.from, interval.to].map(|end| self.ends.get(&end).map_or(&[][..], Vec::as_slice));
        if first >= end {
            return None;
        }
        if spans::agree(from, to, clear_score) {
            self.skip(interval);
            return None;
        }
        let middle = (first + end) / 2;
        let frame_idx = self.entries[middle].frame_idx;
        self.waiting.push(Interval { from: interval.from, to: frame_idx });
        self.waiting.push(Interval { from: frame_idx, to: interval.to });
        let near = from.iter().chain(to).map(|look| look.face.bbox).collect();
        self.order_examination(middle, near)
    }

    /// Skips the frames of an anchor interval that begins without a face; for any other interval, returns the order to
    /// follow the faces.
    fn follow(&mut self, interval: Interval) -> Option<Order<P>> {
        let looks = self.ends.get(&interval.from).map_or(&[][..], Vec::as_slice);
        let faces: Vec<Face> = looks.iter().map(|look| look.face).collect();
        if faces.is_empty() {
            self.skip(interval);
            return None;
        }
        let whole = self.place(interval.from)..=self.place(interval.to);
        let pictures = self.entries.range(whole).filter_map(|e| Some((e.frame_idx, e.picture.clone()?)));
        let task = Task::Follow { faces, pictures: pictures.collect() };
        self.followed.push(interval);
        Some(Order { frame_idx: interval.from, task })
    }

    /// Marks the frames between the ends of an interval as not to be examined.
    fn skip(&mut self, interval: Interval) {
        let (first, end) = self.between(interval);
        self.entries.range_mut(first..end).for_each(|entry| entry.state = State::Skipped);
    }

    fn order_examination(&self, place: usize, near: Vec<BBox>) -> Option<Order<P>> {
        let entry = self.entries.get(place)?;
        let task = Task::Examine { picture: entry.picture.clone()?, near };
        Some(Order { frame_idx: entry.frame_idx, task })
    }

    /// Drops pictures that are no longer needed.
    fn release_pictures(&mut self) {
        let done: Vec<bool> = self.entries.iter().map(|entry| !self.is_open(entry)).collect();
        let entries = self.entries.iter_mut().zip(done);
        entries.filter(|(_, is_done)| *is_done).for_each(|(entry, _)| entry.picture = None);
    }

    /// Returns whether a frame waits for a decision or an answer: its own, or with [`Policy::Follow`] that of an anchor
    /// interval that contains the frame.
    fn is_open(&self, entry: &Entry<P>) -> bool {
        let frame = entry.frame_idx;
        let mut intervals = self.waiting.iter().chain(&self.followed);
        matches!(entry.state, State::Open)
            || self.policy == Policy::Follow
                && (self.last_anchor == Some(frame) || intervals.any(|i| (i.from..=i.to).contains(&frame)))
    }

    /// Returns the places of the entries between the ends of an interval: the first, and one past the last.
    fn between(&self, interval: Interval) -> (usize, usize) {
        (self.place(interval.from + 1), self.place(interval.to))
    }

    /// Returns the place of the first entry that is not before `frame_idx`.
    fn place(&self, frame_idx: i64) -> usize {
        self.entries.partition_point(|entry| entry.frame_idx < frame_idx)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::{Rc, Weak};

    use numeric::random::SplitMix64;
    use proptest::prelude::*;
    use schema::tables::Transition;

    use super::*;

    const STRIDE: usize = 8;
    const HALVE: Policy = Policy::Halve { clear_score: 0.8 };

    fn found(x: f32) -> DetectedFace {
        let face = Face { bbox: BBox::from_corner(x, 0.0, 40.0, 40.0), landmarks: None, score: 0.9 };
        DetectedFace { face, crop: None, torso: None, surroundings: None, trajectory: Vec::new() }
    }

    /// Boxes around which an order looks for faces.
    fn near<P>(order: &Order<P>) -> &[BBox] {
        match &order.task {
            Task::Examine { near, .. } => near,
            Task::Follow { .. } => &[],
        }
    }

    /// What came in order: a frame, whether a shot begins there, and if it was examined, the frames
    /// through which its faces were followed.
    type Passed = (i64, bool, Option<Vec<i64>>);

    /// A video whose frames show a face at these places; a shot begins where `begins` says.
    struct Video<'a> {
        places: &'a [Option<f32>],
        begins: &'a [usize],
    }

    impl Video<'_> {
        fn starts(&self, frame: usize) -> bool {
            frame == 0 || self.begins.contains(&frame)
        }

        /// Does what is ordered.
        fn work(&self, order: Order<Rc<usize>>, schedule: &mut Schedule<Rc<usize>>) -> Vec<Order<Rc<usize>>> {
            let faces_in = |picture: &usize| self.places[*picture].map(found).into_iter().collect::<Vec<_>>();
            let frame_idx = order.frame_idx;
            match order.task {
                Task::Examine { picture, .. } => {
                    let faces = faces_in(&picture);
                    drop(picture);
                    let orders = schedule.record_faces(frame_idx, faces);
                    if matches!(schedule.policy, Policy::Halve { .. }) {
                        assert!(orders.iter().all(|order| !near(order).is_empty()), "around faces");
                    }
                    orders
                }
                Task::Follow { faces, pictures } => {
                    let frames: Vec<i64> = pictures.iter().map(|(frame, _)| *frame).collect();
                    assert!(frames.iter().zip(frame_idx..).all(|(frame, expected)| *frame == expected));
                    assert!(
                        pictures.iter().skip(1).all(|(_, picture)| !self.starts(**picture)),
                        "across a cut"
                    );
                    let expected: Vec<_> = faces_in(&pictures[0].1).iter().map(|found| found.face).collect();
                    assert_eq!(faces, expected);
                    drop(pictures);
                    let trajectory = frames[1..].iter().map(|frame| (*frame, faces[0].bbox)).collect();
                    schedule.record_trajectories(frame_idx, vec![trajectory]);
                    Vec::new()
                }
            }
        }

        /// `pick` chooses which of the outstanding orders is done next.
        fn run(&self, policy: Policy, mut pick: impl FnMut(usize) -> usize) -> Vec<Passed> {
            let cut = Boundary { transition: Transition::Cut, score: None };
            let mut schedule = Schedule::new(policy);
            let mut orders = Vec::new();
            let mut pictures: Vec<Weak<usize>> = Vec::new();
            let mut last_anchor = 0;
            for i in 0..self.places.len() {
                let boundary = self.starts(i).then_some(cut);
                let ends = i + 1 == self.places.len() || self.starts(i + 1);
                let is_anchor = boundary.is_some() || ends || i - last_anchor >= STRIDE;
                last_anchor = if is_anchor { i } else { last_anchor };
                let picture = Rc::new(i);
                pictures.push(Rc::downgrade(&picture));
                let order = schedule.admit(i as i64, picture, boundary, is_anchor);
                assert_eq!(order.is_some(), is_anchor);
                orders.extend(order.inspect(|order| assert!(near(order).is_empty(), "the whole picture")));
            }
            schedule.end();
            let mut passed = Vec::new();
            while !orders.is_empty() {
                let order = orders.swap_remove(pick(orders.len()));
                orders.extend(self.work(order, &mut schedule));
                while let Some(step) = schedule.pop_ready(i64::MAX) {
                    let followed =
                        |found: &DetectedFace| found.trajectory.iter().map(|(frame, _)| *frame).collect();
                    let faces = step.faces.map(|faces| faces.first().map(followed).unwrap_or_default());
                    passed.push((step.frame_idx, step.boundary.is_some(), faces));
                }
                let alive = pictures.iter().filter(|picture| picture.strong_count() > 0).count();
                assert!(alive <= schedule.pictures(), "{alive} pictures are in memory");
            }
            let left = (
                schedule.pictures(),
                schedule.entries.len(),
                schedule.waiting.len(),
                schedule.followed.len(),
            );
            assert_eq!(left, (0, 0, 0, 0));
            passed
        }
    }

    /// Numbers of the examined frames.
    fn examined(policy: Policy, places: &[Option<f32>], begins: &[usize]) -> Vec<i64> {
        let passed = Video { places, begins }.run(policy, |_| 0);
        passed.iter().filter(|passed| passed.2.is_some()).map(|passed| passed.0).collect()
    }

    #[test]
    fn a_calm_shot_needs_few_looks() {
        assert_eq!(examined(HALVE, &[Some(5.0); 33], &[]), [0, 8, 16, 24, 32]);
    }

    #[test]
    fn a_face_that_comes_is_found_to_the_frame() {
        let places: Vec<_> = (0..17).map(|i| (i >= 11).then_some(5.0)).collect();
        let examined = examined(HALVE, &places, &[]);
        assert!(examined.contains(&10) && examined.contains(&11), "{examined:?}");
    }

    #[test]
    fn both_sides_of_a_cut_are_examined() {
        for policy in [HALVE, Policy::Follow] {
            let examined = examined(policy, &[None; 20], &[5]);
            assert!(examined.contains(&4) && examined.contains(&5), "{examined:?}");
        }
    }

    #[test]
    fn faces_are_followed_from_anchor_to_anchor() {
        let places: Vec<_> = (0..24).map(|i| (i < 10).then_some(i as f32 * 30.0)).collect();
        let passed = Video { places: &places, begins: &[20] }.run(Policy::Follow, |_| 0);
        let followed: Vec<_> =
            passed.into_iter().filter_map(|(frame, _, followed)| Some((frame, followed?))).collect();
        let through = |frames: std::ops::RangeInclusive<i64>| frames.collect::<Vec<_>>();
        let expected = [
            (0, through(1..=8)),
            (8, through(9..=16)),
            (16, vec![]),
            (19, vec![]),
            (20, vec![]),
            (23, vec![]),
        ];
        assert_eq!(followed, expected);
    }

    #[test]
    fn a_late_boundary_is_passed_on_and_nothing_before_it_is_settled() {
        let mut schedule: Schedule<()> = Schedule::new(HALVE);
        for i in 0..3 {
            let order = schedule.admit(i, (), (i == 0).then_some(Boundary::START), true);
            assert!(order.is_some());
            schedule.record_faces(i, Vec::new());
        }
        assert!(schedule.pop_ready(0).is_none());
        schedule.begin_at(1, Boundary { transition: Transition::Dissolve, score: Some(0.5) });
        let boundary: Vec<_> =
            std::iter::from_fn(|| schedule.pop_ready(2)).map(|s| s.boundary.is_some()).collect();
        assert_eq!(boundary, [true, true]);
    }

    proptest! {
        /// What is done does not depend on the order of answers, and every frame comes once.
        #[test]
        fn the_order_of_answers_changes_nothing(
            places in prop::collection::vec(prop::option::of(0.0..200.0_f32), 1..80),
            begins in prop::collection::vec(1_usize..80, 0..4),
            follows in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let policy = if follows { Policy::Follow } else { HALVE };
            let video = Video { places: &places, begins: &begins };
            let in_order = video.run(policy, |_| 0);
            let mut random = SplitMix64::new(seed);
            let shuffled = video.run(policy, |n| random.below(n));
            prop_assert_eq!(&in_order, &shuffled);
            let frames: Vec<i64> = in_order.iter().map(|passed| passed.0).collect();
            prop_assert_eq!(frames, (0..places.len() as i64).collect::<Vec<_>>());
        }
    }
}
