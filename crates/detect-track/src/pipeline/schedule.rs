//! Which frames are examined, and answers in order again.
//!
//! Frames are admitted in order. Key frames (the first and last of every shot, and one every so
//! often) are examined at once; between two of them, [`spans::agree`] decides. What is examined
//! depends on what is seen only, never on the order in which answers come.

use std::collections::{BTreeMap, VecDeque};

use crate::geometry::Face;
use crate::shots::Boundary;
use crate::spans;

/// Frames in order, some of them under examination. `P` is a picture, `R` what a worker makes of it.
#[derive(Debug)]
pub struct Schedule<P, R> {
    clear_score: f32,
    entries: VecDeque<Entry<P, R>>,
    /// Stretches between two key frames of a shot that are not settled.
    spans: Vec<Span>,
    /// Faces at the ends of those spans, as far as known.
    faces: BTreeMap<i64, Vec<Face>>,
    last_key: Option<i64>,
    pictures: usize,
}

#[derive(Debug)]
struct Entry<P, R> {
    frame_idx: i64,
    begins: Option<Boundary>,
    state: State<P, R>,
}

#[derive(Debug)]
enum State<P, R> {
    Held(P),
    Away,
    Examined(R),
    Skipped,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    to: i64,
}

/// A frame to examine.
#[derive(Debug)]
pub struct Order<P> {
    /// The frame.
    pub frame_idx: i64,
    /// Its picture.
    pub picture: P,
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

impl<P, R> Schedule<P, R> {
    /// An empty schedule; faces that score at least `clear_score` decide whether a span is settled.
    pub fn new(clear_score: f32) -> Self {
        Self {
            clear_score,
            entries: VecDeque::new(),
            spans: Vec::new(),
            faces: BTreeMap::new(),
            last_key: None,
            pictures: 0,
        }
    }

    /// Takes the next frame; gives it back as an order if it is a key frame.
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
        self.pictures += 1;
        self.entries.push_back(Entry { frame_idx, begins, state: State::Held(picture) });
        if !is_key {
            return None;
        }
        if let Some(from) = self.last_key.replace(frame_idx) {
            self.spans.push(Span { from, to: frame_idx });
        }
        self.order(self.entries.len() - 1)
    }

    /// Takes what was seen in a frame; gives the frames that must be examined because of it.
    pub fn answer(&mut self, frame_idx: i64, faces: Vec<Face>, result: R) -> Vec<Order<P>> {
        let place = self.place(frame_idx);
        if let Some(entry) = self.entries.get_mut(place) {
            entry.state = State::Examined(result);
            self.pictures -= 1;
        }
        self.faces.insert(frame_idx, faces);
        let mut orders = Vec::new();
        let known = |span: &Span| self.faces.contains_key(&span.from) && self.faces.contains_key(&span.to);
        let (decidable, open): (Vec<Span>, Vec<Span>) = self.spans.iter().partition(|span| known(span));
        self.spans = open;
        for span in decidable {
            orders.extend(self.decide(span));
        }
        let spans = &self.spans;
        let last_key = self.last_key;
        let is_needed = |frame: i64| spans.iter().any(|s| s.from == frame || s.to == frame);
        self.faces.retain(|frame, _| last_key.is_some_and(|key| key == *frame) || is_needed(*frame));
        orders
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
        let is_open = matches!(front.state, State::Held(_) | State::Away);
        if is_open || front.frame_idx >= settled_before {
            return None;
        }
        let Entry { frame_idx, begins, state } = self.entries.pop_front()?;
        let result = match state {
            State::Examined(result) => Some(result),
            _ => None,
        };
        Some(Step { frame_idx, begins, result })
    }

    /// Number of pictures in memory, held or under examination.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    /// Drops the pictures of a span that is settled, or halves it.
    fn decide(&mut self, span: Span) -> Option<Order<P>> {
        let (first, end) = (self.place(span.from + 1), self.place(span.to));
        let [from, to] = [span.from, span.to].map(|end| self.faces.get(&end).map_or(&[][..], Vec::as_slice));
        if first >= end {
            return None;
        }
        if spans::agree(from, to, self.clear_score) {
            self.pictures -= end - first;
            self.entries.range_mut(first..end).for_each(|entry| entry.state = State::Skipped);
            return None;
        }
        let middle = (first + end) / 2;
        let frame_idx = self.entries[middle].frame_idx;
        self.spans.push(Span { from: span.from, to: frame_idx });
        self.spans.push(Span { from: frame_idx, to: span.to });
        self.order(middle)
    }

    fn order(&mut self, place: usize) -> Option<Order<P>> {
        let entry = self.entries.get_mut(place)?;
        match std::mem::replace(&mut entry.state, State::Away) {
            State::Held(picture) => Some(Order { frame_idx: entry.frame_idx, picture }),
            other => {
                entry.state = other;
                None
            }
        }
    }

    /// Place of the first entry that is not before `frame_idx`.
    fn place(&self, frame_idx: i64) -> usize {
        self.entries.partition_point(|entry| entry.frame_idx < frame_idx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schema::tables::Transition;

    use super::*;
    use crate::geometry::Rect;

    const STRIDE: usize = 8;

    fn face(x: f32) -> Face {
        let rect = Rect { x_min: x, y_min: 0.0, x_max: x + 40.0, y_max: 40.0 };
        Face { rect, points: [(x, 0.0); 5], score: 0.9 }
    }

    /// Runs a video whose frames show a face at these places; a shot begins where `begins` says.
    /// `pick` chooses which of the outstanding orders is answered next. Gives what came in order.
    fn run(
        places: &[Option<f32>],
        begins: &[usize],
        mut pick: impl FnMut(usize) -> usize,
    ) -> Vec<(i64, bool, bool)> {
        let cut = Boundary { transition: Transition::Cut, score: None };
        let mut schedule: Schedule<usize, ()> = Schedule::new(0.8);
        let mut orders = Vec::new();
        let mut last_key = 0;
        for i in 0..places.len() {
            let starts = i == 0 || begins.contains(&i);
            let ends = i + 1 == places.len() || begins.contains(&(i + 1));
            let is_key = starts || ends || i - last_key >= STRIDE;
            last_key = if is_key { i } else { last_key };
            orders.extend(schedule.admit(i as i64, i, starts.then_some(cut), is_key));
        }
        let mut steps = Vec::new();
        while !orders.is_empty() {
            let Order { frame_idx, picture } = orders.swap_remove(pick(orders.len()));
            let faces = places[picture].map(face).into_iter().collect();
            orders.extend(schedule.answer(frame_idx, faces, ()));
            while let Some(step) = schedule.next(i64::MAX) {
                steps.push((step.frame_idx, step.begins.is_some(), step.result.is_some()));
            }
        }
        assert_eq!((schedule.pictures(), schedule.entries.len(), schedule.spans.len()), (0, 0, 0));
        steps
    }

    #[test]
    fn a_calm_shot_needs_few_looks() {
        let steps = run(&[Some(5.0); 33], &[], |_| 0);
        let examined: Vec<_> = steps.iter().filter(|s| s.2).map(|s| s.0).collect();
        assert_eq!(examined, [0, 8, 16, 24, 32]);
    }

    #[test]
    fn a_face_that_comes_is_found_to_the_frame() {
        let places: Vec<_> = (0..17).map(|i| (i >= 11).then_some(5.0)).collect();
        let steps = run(&places, &[], |_| 0);
        assert!(steps[10].2 && steps[11].2, "{steps:?}");
    }

    #[test]
    fn both_sides_of_a_cut_are_examined() {
        let steps = run(&[None; 20], &[5], |_| 0);
        assert!(steps[4].2 && steps[5].2 && steps[5].1, "{steps:?}");
    }

    #[test]
    fn a_late_boundary_is_passed_on_and_nothing_before_it_is_settled() {
        let mut schedule: Schedule<(), ()> = Schedule::new(0.8);
        for i in 0..3 {
            let order = schedule.admit(i, (), (i == 0).then_some(Boundary::START), true);
            assert!(order.is_some());
            schedule.answer(i, Vec::new(), ());
        }
        assert!(schedule.next(0).is_none());
        schedule.begin_at(1, Boundary { transition: Transition::Dissolve, score: Some(0.5) });
        let begins: Vec<_> = std::iter::from_fn(|| schedule.next(2)).map(|s| s.begins.is_some()).collect();
        assert_eq!(begins, [true, true]);
    }

    proptest! {
        /// What is examined does not depend on the order of answers, and every frame comes once.
        #[test]
        fn the_order_of_answers_changes_nothing(
            places in prop::collection::vec(prop::option::of(0.0..200.0_f32), 1..80),
            begins in prop::collection::vec(1_usize..80, 0..4),
            seed in any::<u64>(),
        ) {
            let in_order = run(&places, &begins, |_| 0);
            let mut state = seed;
            let shuffled = run(&places, &begins, |n| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % n
            });
            prop_assert_eq!(&in_order, &shuffled);
            let frames: Vec<i64> = in_order.iter().map(|s| s.0).collect();
            prop_assert_eq!(frames, (0..places.len() as i64).collect::<Vec<_>>());
        }
    }
}
