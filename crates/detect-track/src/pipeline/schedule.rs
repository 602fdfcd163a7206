//! Which frames are examined, and answers in order again.
//!
//! Frames are admitted in order. Key frames (the first and last of every shot, and one every so
//! often) are examined at once. What becomes of the frames between two of them is up to the
//! [`Policy`]. What is ordered depends on what is seen only, never on the order in which answers come.

use std::collections::{BTreeMap, VecDeque};

use crate::geometry::Face;
use crate::shots::Boundary;
use crate::spans;

/// What becomes of the frames between two key frames of a shot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    /// The frame in the middle is examined, and so on, until [`spans::agree`].
    Halve {
        /// Faces that score at least this must agree, 0 to 1.
        clear_score: f32,
    },
    /// The faces of the first key frame are followed to the second.
    Follow,
}

/// Frames in order, some of them under examination. `P` is a picture, cheap to clone; `R` what a
/// worker makes of it.
#[derive(Debug)]
pub struct Schedule<P, R> {
    policy: Policy,
    entries: VecDeque<Entry<P, R>>,
    /// Stretches between two key frames of a shot that wait for what is seen at their ends.
    spans: Vec<Span>,
    /// Those through which faces are being followed.
    followed: Vec<Span>,
    /// Faces at the ends of waiting spans, as far as known.
    faces: BTreeMap<i64, Vec<Face>>,
    last_key: Option<i64>,
}

#[derive(Debug)]
struct Entry<P, R> {
    frame_idx: i64,
    begins: Option<Boundary>,
    /// As long as somebody needs it.
    picture: Option<P>,
    state: State<R>,
}

#[derive(Debug)]
enum State<R> {
    Held,
    Away,
    Examined(R),
    Skipped,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
}

/// Something for a worker to do.
#[derive(Debug)]
pub struct Order<P> {
    /// The frame it is about.
    pub frame_idx: i64,
    /// What to do.
    pub task: Task<P>,
}

/// What a worker can do.
#[derive(Debug)]
pub enum Task<P> {
    /// Look for faces in this picture.
    Examine(P),
    /// Follow these faces of the first picture, that of the order's frame, through the others.
    Follow {
        /// The faces, as the answer gave them.
        faces: Vec<Face>,
        /// Frames and their pictures, in order.
        pictures: Vec<(i64, P)>,
    },
}

/// The next frame in order.
#[derive(Debug)]
pub struct Step<R> {
    /// The frame.
    pub frame_idx: i64,
    /// The shot that begins with it.
    pub begins: Option<Boundary>,
    /// What was seen in it; `None` when it needed no look.
    pub result: Option<R>,
}

impl<P: Clone, R> Schedule<P, R> {
    /// An empty schedule.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            entries: VecDeque::new(),
            spans: Vec::new(),
            followed: Vec::new(),
            faces: BTreeMap::new(),
            last_key: None,
        }
    }

    /// Takes the next frame; orders a look at it if it is a key frame.
    pub fn admit(
        &mut self,
        frame_idx: i64,
        picture: P,
        begins: Option<Boundary>,
        is_key: bool,
    ) -> Option<Order<P>> {
        if begins.is_some() {
            self.last_key = None;
        }
        self.entries.push_back(Entry { frame_idx, begins, picture: Some(picture), state: State::Held });
        if !is_key {
            return None;
        }
        if let Some(from) = self.last_key.replace(frame_idx) {
            self.spans.push(Span { from, to: frame_idx });
        }
        self.look(self.entries.len() - 1)
    }

    /// No frame will follow.
    pub fn end(&mut self) {
        self.last_key = None;
    }

    /// Takes what was seen in a frame; gives what must be done because of it.
    pub fn examined(&mut self, frame_idx: i64, faces: Vec<Face>, result: R) -> Vec<Order<P>> {
        let place = self.place(frame_idx);
        if let Some(entry) = self.entries.get_mut(place) {
            entry.state = State::Examined(result);
        }
        self.faces.insert(frame_idx, faces);
        let (decidable, open) = self.spans.iter().partition(|span| self.is_decidable(span));
        self.spans = open;
        let decidable: Vec<Span> = decidable;
        let orders = decidable.into_iter().flat_map(|span| self.decide(span)).collect();
        let spans = &self.spans;
        let last_key = self.last_key;
        let is_needed = |frame: i64| spans.iter().any(|s| s.from == frame || s.to == frame);
        self.faces.retain(|frame, _| last_key == Some(*frame) || is_needed(*frame));
        self.let_go();
        orders
    }

    /// The faces of a frame have been followed to the next key frame; `note` adds what came of it to
    /// what was seen.
    pub fn followed(&mut self, frame_idx: i64, note: impl FnOnce(&mut R)) {
        if let Some(place) = self.followed.iter().position(|span| span.from == frame_idx) {
            let span = self.followed.swap_remove(place);
            self.skip(span);
        }
        let place = self.place(frame_idx);
        if let Some(Entry { state: State::Examined(result), .. }) = self.entries.get_mut(place) {
            note(result);
        }
        self.let_go();
    }

    /// A shot turned out to begin at `frame_idx`, which has not been passed on.
    pub fn begin_at(&mut self, frame_idx: i64, boundary: Boundary) {
        let place = self.place(frame_idx);
        if let Some(entry) = self.entries.get_mut(place) {
            entry.begins = entry.begins.or(Some(boundary));
        }
    }

    /// The next frame in order, if it is before `settled_before` and nothing is open about it.
    pub fn next(&mut self, settled_before: i64) -> Option<Step<R>> {
        let front = self.entries.front()?;
        if self.is_open(front) || front.frame_idx >= settled_before {
            return None;
        }
        let Entry { frame_idx, begins, state, .. } = self.entries.pop_front()?;
        let result = match state {
            State::Examined(result) => Some(result),
            _ => None,
        };
        Some(Step { frame_idx, begins, result })
    }

    /// Number of pictures in memory, held or with a worker.
    pub fn pictures(&self) -> usize {
        self.entries.iter().filter(|entry| entry.picture.is_some()).count()
    }

    fn is_decidable(&self, span: &Span) -> bool {
        let is_known = |frame| self.faces.contains_key(&frame);
        is_known(span.from) && (self.policy == Policy::Follow || is_known(span.to))
    }

    fn decide(&mut self, span: Span) -> Option<Order<P>> {
        match self.policy {
            Policy::Halve { clear_score } => self.halve(span, clear_score),
            Policy::Follow => self.follow(span),
        }
    }

    /// Passes over a span whose ends agree, or halves it.
    fn halve(&mut self, span: Span, clear_score: f32) -> Option<Order<P>> {
        let (first, end) = self.between(span);
        let [from, to] = [span.from, span.to].map(|end| self.faces.get(&end).map_or(&[][..], Vec::as_slice));
        if first >= end {
            return None;
        }
        if spans::agree(from, to, clear_score) {
            self.skip(span);
            return None;
        }
        let middle = (first + end) / 2;
        let frame_idx = self.entries[middle].frame_idx;
        self.spans.push(Span { from: span.from, to: frame_idx });
        self.spans.push(Span { from: frame_idx, to: span.to });
        self.look(middle)
    }

    /// Passes over a span that begins without a face, or has its faces followed.
    fn follow(&mut self, span: Span) -> Option<Order<P>> {
        let faces = self.faces.get(&span.from).filter(|faces| !faces.is_empty()).cloned();
        let Some(faces) = faces else {
            self.skip(span);
            return None;
        };
        let whole = self.place(span.from)..=self.place(span.to);
        let pictures = self.entries.range(whole).filter_map(|e| Some((e.frame_idx, e.picture.clone()?)));
        let task = Task::Follow { faces, pictures: pictures.collect() };
        self.followed.push(span);
        Some(Order { frame_idx: span.from, task })
    }

    /// No frame between the ends of the span needs a look.
    fn skip(&mut self, span: Span) {
        let (first, end) = self.between(span);
        self.entries.range_mut(first..end).for_each(|entry| entry.state = State::Skipped);
    }

    fn look(&mut self, place: usize) -> Option<Order<P>> {
        let entry = self.entries.get_mut(place)?;
        entry.state = State::Away;
        let task = Task::Examine(entry.picture.clone()?);
        Some(Order { frame_idx: entry.frame_idx, task })
    }

    /// Drops pictures that nobody needs any more.
    fn let_go(&mut self) {
        let done: Vec<bool> = self.entries.iter().map(|entry| !self.is_open(entry)).collect();
        let entries = self.entries.iter_mut().zip(done);
        entries.filter(|(_, is_done)| *is_done).for_each(|(entry, _)| entry.picture = None);
    }

    /// Whether a frame waits for a verdict or an answer, its own or, where faces are followed, that
    /// of a span that it is part of.
    fn is_open(&self, entry: &Entry<P, R>) -> bool {
        let frame = entry.frame_idx;
        let mut spans = self.spans.iter().chain(&self.followed);
        matches!(entry.state, State::Held | State::Away)
            || self.policy == Policy::Follow
                && (self.last_key == Some(frame) || spans.any(|s| (s.from..=s.to).contains(&frame)))
    }

    /// Places of the entries between the ends of a span: first, and one past the last.
    fn between(&self, span: Span) -> (usize, usize) {
        (self.place(span.from + 1), self.place(span.to))
    }

    /// Place of the first entry that is not before `frame_idx`.
    fn place(&self, frame_idx: i64) -> usize {
        self.entries.partition_point(|entry| entry.frame_idx < frame_idx)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::{Rc, Weak};

    use proptest::prelude::*;
    use schema::tables::Transition;

    use super::*;
    use crate::geometry::Rect;

    const STRIDE: usize = 8;
    const HALVE: Policy = Policy::Halve { clear_score: 0.8 };

    fn face(x: f32) -> Face {
        let rect = Rect { x_min: x, y_min: 0.0, x_max: x + 40.0, y_max: 40.0 };
        Face { rect, points: None, score: 0.9 }
    }

    /// What came in order: a frame, whether a shot begins there, and if it was examined, the frames
    /// through which its faces were followed.
    type Told = (i64, bool, Option<Vec<i64>>);

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
        fn work(
            &self,
            order: Order<Rc<usize>>,
            schedule: &mut Schedule<Rc<usize>, Vec<i64>>,
        ) -> Vec<Order<Rc<usize>>> {
            let faces_in = |picture: &usize| self.places[*picture].map(face).into_iter().collect::<Vec<_>>();
            let frame_idx = order.frame_idx;
            match order.task {
                Task::Examine(picture) => {
                    let faces = faces_in(&picture);
                    drop(picture);
                    schedule.examined(frame_idx, faces, Vec::new())
                }
                Task::Follow { faces, pictures } => {
                    let frames: Vec<i64> = pictures.iter().map(|(frame, _)| *frame).collect();
                    assert!(frames.iter().zip(frame_idx..).all(|(frame, expected)| *frame == expected));
                    assert!(
                        pictures.iter().skip(1).all(|(_, picture)| !self.starts(**picture)),
                        "across a cut"
                    );
                    assert_eq!(faces, faces_in(&pictures[0].1));
                    drop(pictures);
                    schedule.followed(frame_idx, |followed| *followed = frames[1..].to_vec());
                    Vec::new()
                }
            }
        }

        /// `pick` chooses which of the outstanding orders is done next.
        fn run(&self, policy: Policy, mut pick: impl FnMut(usize) -> usize) -> Vec<Told> {
            let cut = Boundary { transition: Transition::Cut, score: None };
            let mut schedule = Schedule::new(policy);
            let mut orders = Vec::new();
            let mut pictures: Vec<Weak<usize>> = Vec::new();
            let mut last_key = 0;
            for i in 0..self.places.len() {
                let begins = self.starts(i).then_some(cut);
                let ends = i + 1 == self.places.len() || self.starts(i + 1);
                let is_key = begins.is_some() || ends || i - last_key >= STRIDE;
                last_key = if is_key { i } else { last_key };
                let picture = Rc::new(i);
                pictures.push(Rc::downgrade(&picture));
                orders.extend(schedule.admit(i as i64, picture, begins, is_key));
            }
            schedule.end();
            let mut told = Vec::new();
            while !orders.is_empty() {
                let order = orders.swap_remove(pick(orders.len()));
                orders.extend(self.work(order, &mut schedule));
                while let Some(step) = schedule.next(i64::MAX) {
                    told.push((step.frame_idx, step.begins.is_some(), step.result));
                }
                let alive = pictures.iter().filter(|picture| picture.strong_count() > 0).count();
                assert!(alive <= schedule.pictures(), "{alive} pictures are in memory");
            }
            let left =
                (schedule.pictures(), schedule.entries.len(), schedule.spans.len(), schedule.followed.len());
            assert_eq!(left, (0, 0, 0, 0));
            told
        }
    }

    /// Numbers of the examined frames.
    fn examined(policy: Policy, places: &[Option<f32>], begins: &[usize]) -> Vec<i64> {
        let told = Video { places, begins }.run(policy, |_| 0);
        told.iter().filter(|told| told.2.is_some()).map(|told| told.0).collect()
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
    fn faces_are_followed_from_key_frame_to_key_frame() {
        let places: Vec<_> = (0..24).map(|i| (i < 10).then_some(i as f32 * 30.0)).collect();
        let told = Video { places: &places, begins: &[20] }.run(Policy::Follow, |_| 0);
        let followed: Vec<_> =
            told.into_iter().filter_map(|(frame, _, followed)| Some((frame, followed?))).collect();
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
        let mut schedule: Schedule<(), ()> = Schedule::new(HALVE);
        for i in 0..3 {
            let order = schedule.admit(i, (), (i == 0).then_some(Boundary::START), true);
            assert!(order.is_some());
            schedule.examined(i, Vec::new(), ());
        }
        assert!(schedule.next(0).is_none());
        schedule.begin_at(1, Boundary { transition: Transition::Dissolve, score: Some(0.5) });
        let begins: Vec<_> = std::iter::from_fn(|| schedule.next(2)).map(|s| s.begins.is_some()).collect();
        assert_eq!(begins, [true, true]);
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
            let mut state = seed;
            let shuffled = video.run(policy, |n| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % n
            });
            prop_assert_eq!(&in_order, &shuffled);
            let frames: Vec<i64> = in_order.iter().map(|told| told.0).collect();
            prop_assert_eq!(frames, (0..places.len() as i64).collect::<Vec<_>>());
        }
    }
}
