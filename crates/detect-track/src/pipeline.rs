//! One decode, faces in worker threads, and everything in order again.
//!
//! The decoding thread numbers its orders; workers answer in any order; answers wait in a small
//! buffer until their turn. Orders under way are limited, and so is memory.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use schema::stage::Progress;
use schema::tables::{Frame, Transition};
use video::{Converter, Decoder, Picture};

use crate::crops::{self, FaceImage};
use crate::geometry::{Face, Points, suppress};
use crate::shots::{self, Boundary, LOOKAHEAD, ShotDetector, Thresholds};
use crate::yunet::YuNet;
use crate::{Config, Error};

/// A face and its aligned image.
#[derive(Debug)]
pub struct Seen {
    /// The face, in pixels of the full-size frame.
    pub face: Face,
    /// Its image; `None` when it could not be aligned.
    pub image: Option<FaceImage>,
}

/// What the pipeline tells, strictly in order of frames.
pub trait Listener {
    /// A shot begins at this frame.
    fn begin_shot(&mut self, frame_idx: i64, boundary: Boundary) -> Result<(), Error>;
    /// Faces were looked for in this frame of the current shot, and these were seen.
    fn examined(&mut self, frame_idx: i64, faces: Vec<Seen>) -> Result<(), Error>;
    /// The current shot ends with this frame.
    fn end_shot(&mut self, frame_idx: i64) -> Result<(), Error>;
    /// Number and time of every frame.
    fn clock(&self) -> &Clock;
}

/// Frame numbers and times as `ingest` read them.
#[derive(Debug)]
pub struct Clock {
    frames: Vec<Frame>,
}

impl Clock {
    /// From the rows of `frames`.
    pub fn new(frames: Vec<Frame>) -> Self {
        Self { frames }
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Time of a frame, seconds; the last known time for numbers beyond the end.
    pub fn t_secs(&self, frame_idx: i64) -> f64 {
        let i = usize::try_from(frame_idx).unwrap_or(0).min(self.frames.len().saturating_sub(1));
        self.frames.get(i).map_or(0.0, |frame| frame.t_secs)
    }

    /// The frame shown at `pts_ticks`, if the container announced one.
    fn frame_at(&self, pts_ticks: i64) -> Option<usize> {
        self.frames.binary_search_by_key(&pts_ticks, |frame| frame.pts_ticks).ok()
    }
}

enum Answer {
    Begin(i64, Boundary),
    Examined(i64, Result<Vec<Seen>, String>),
    End(i64),
}

struct Order {
    number: u64,
    frame_idx: i64,
    picture: Picture,
}

/// Decodes the video once and tells `listener` of shots and faces; gives warnings.
///
/// # Errors
/// Those of the decoder, of a frame, and of the listener.
pub fn run(
    path: &Path,
    network: &YuNet,
    config: &Config,
    threads: usize,
    listener: &mut dyn Listener,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, Error> {
    let decoder = Decoder::open(path, threads)?;
    let facts = decoder.facts();
    let size = (facts.width as usize, facts.height as usize);
    let rotation_degrees = facts.rotation_degrees;
    let (orders, taken) = channel::<Order>();
    let (answers, received) = channel();
    let taken = Mutex::new(taken);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (taken, answers) = (&taken, answers.clone());
            scope
                .spawn(move || work(taken, &answers, Examiner::new(network, config, size, rotation_degrees)));
        }
        drop(answers);
        let desk = Desk {
            path,
            orders,
            received,
            ready: BTreeMap::new(),
            next: 0,
            issued: 0,
            under_way: 0,
            limit: 2 * threads as u64 + 2,
            listener,
        };
        Reel::new(decoder, config, desk).run(progress)
    })
}

/// A worker: takes orders until there are none.
fn work(taken: &Mutex<Receiver<Order>>, answers: &Sender<(u64, Answer)>, mut examiner: Examiner<'_>) {
    loop {
        let order = match taken.lock() {
            Ok(taken) => taken.recv(),
            Err(_) => return,
        };
        let Ok(Order { number, frame_idx, picture }) = order else { return };
        // A panic must not leave the reader waiting for an answer that never comes.
        let examined = catch_unwind(AssertUnwindSafe(|| examiner.examine(&picture)));
        let examined = examined.unwrap_or_else(|_| Err("the worker panicked".into()));
        if answers.send((number, Answer::Examined(frame_idx, examined))).is_err() {
            return;
        }
    }
}

/// Finds and cuts the faces of pictures.
struct Examiner<'a> {
    network: &'a YuNet,
    config: &'a Config,
    /// Width and height that every box is given in, whatever size a picture of the stream has.
    size: (usize, usize),
    small: Converter,
    full: Converter,
}

impl<'a> Examiner<'a> {
    fn new(network: &'a YuNet, config: &'a Config, size: (usize, usize), rotation_degrees: u32) -> Self {
        let converter = || Converter::new(rotation_degrees);
        Self { network, config, size, small: converter(), full: converter() }
    }

    fn examine(&mut self, picture: &Picture) -> Result<Vec<Seen>, String> {
        let Self { network, config, size: (width, height), .. } = *self;
        let (small_width, small_height) = fitted(width, height, config.detection_px as usize);
        let small = self.small.rgb(picture, small_width, small_height)?;
        let faces = network.detect(&small.data, small_width, small_height, config.min_score as f32);
        let faces = suppress(faces.map_err(|e| e.to_string())?, config.max_overlap as f32);
        if faces.is_empty() {
            return Ok(Vec::new());
        }
        let across = width as f32 / small_width as f32;
        let down = height as f32 / small_height as f32;
        let mut faces: Vec<Face> = faces.into_iter().map(|face| enlarged(face, across, down)).collect();
        faces.sort_by(|a, b| {
            a.rect.x_min.total_cmp(&b.rect.x_min).then(a.rect.y_min.total_cmp(&b.rect.y_min))
        });
        let is_full = (small_width, small_height) == (width, height);
        let full = if is_full { small } else { self.full.rgb(picture, width, height)? };
        faces.into_iter().map(|face| Ok(Seen { face, image: crops::cut(&full, &face)? })).collect()
    }
}

/// Size of a picture brought down to a long side of at most `limit` pixels.
fn fitted(width: usize, height: usize, limit: usize) -> (usize, usize) {
    let long = width.max(height);
    if long <= limit {
        return (width, height);
    }
    let scaled = |side: usize| (side * limit + long / 2).checked_div(long).unwrap_or(1).max(1);
    (scaled(width), scaled(height))
}

fn enlarged(face: Face, across: f32, down: f32) -> Face {
    let mut rect = face.rect;
    (rect.x_min, rect.x_max) = (rect.x_min * across, rect.x_max * across);
    (rect.y_min, rect.y_max) = (rect.y_min * down, rect.y_max * down);
    let points: Points = face.points.map(|(x, y)| (x * across, y * down));
    Face { rect, points, score: face.score }
}

/// Gives out orders and passes answers on in order.
struct Desk<'a> {
    path: &'a Path,
    orders: Sender<Order>,
    received: Receiver<(u64, Answer)>,
    ready: BTreeMap<u64, Answer>,
    /// Number of the next answer to pass on.
    next: u64,
    /// Number of the next order.
    issued: u64,
    under_way: usize,
    limit: u64,
    listener: &'a mut dyn Listener,
}

impl Desk<'_> {
    fn tell(&mut self, answer: Answer) -> Result<(), Error> {
        self.ready.insert(self.issued, answer);
        self.issued += 1;
        self.pass_on()
    }

    fn order(&mut self, frame_idx: i64, picture: Picture) -> Result<(), Error> {
        // Answers that wait for an earlier one count too: they hold crops.
        while self.issued - self.next >= self.limit && self.under_way > 0 {
            self.receive()?;
        }
        let order = Order { number: self.issued, frame_idx, picture };
        self.issued += 1;
        self.under_way += 1;
        self.orders.send(order).map_err(|_| self.gone())
    }

    fn receive(&mut self) -> Result<(), Error> {
        let (number, answer) = self.received.recv().map_err(|_| self.gone())?;
        self.under_way -= 1;
        self.ready.insert(number, answer);
        self.pass_on()
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        while let Some(answer) = self.ready.remove(&self.next) {
            self.next += 1;
            match answer {
                Answer::Begin(frame_idx, boundary) => self.listener.begin_shot(frame_idx, boundary)?,
                Answer::End(frame_idx) => self.listener.end_shot(frame_idx)?,
                Answer::Examined(frame_idx, faces) => {
                    let path = self.path.to_path_buf();
                    let faces = faces.map_err(|reason| Error::Frame { path, frame_idx, reason })?;
                    self.listener.examined(frame_idx, faces)?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        while self.under_way > 0 {
            self.receive()?;
        }
        Ok(())
    }

    fn gone(&self) -> Error {
        let reason = "every worker has stopped".into();
        Error::Frame { path: self.path.to_path_buf(), frame_idx: 0, reason }
    }
}

/// Frames on their way from the decoder to the desk. A frame waits until it is known whether a
/// shot begins at the frame after it.
struct Reel<'a> {
    decoder: Decoder,
    config: &'a Config,
    desk: Desk<'a>,
    shots: ShotDetector,
    waiting: VecDeque<(i64, Picture)>,
    /// For each waiting frame, from the front: the shot that begins there, once judged.
    judged: VecDeque<Option<Boundary>>,
    luma: Converter,
    shot_first: i64,
    last_idx: Option<i64>,
    damaged: u64,
    untimed: u64,
}

impl<'a> Reel<'a> {
    fn new(decoder: Decoder, config: &'a Config, desk: Desk<'a>) -> Self {
        let thresholds = Thresholds { min_change: config.min_cut_change, min_ratio: config.min_cut_ratio };
        Self {
            luma: Converter::new(decoder.facts().rotation_degrees),
            decoder,
            config,
            desk,
            shots: ShotDetector::new(thresholds),
            waiting: VecDeque::new(),
            judged: VecDeque::new(),
            shot_first: 0,
            last_idx: None,
            damaged: 0,
            untimed: 0,
        }
    }

    fn run(mut self, progress: &mut dyn Progress) -> Result<Vec<String>, Error> {
        let total = self.desk.listener.clock().len() as u64;
        let mut decoded = 0;
        while let Some(picture) = self.decoder.next_picture()? {
            let Some(frame_idx) = self.number(&picture) else { continue };
            self.last_idx = Some(frame_idx);
            decoded += 1;
            progress.advance(decoded, total.max(decoded), "frames");
            let luma = self.luma.luma(&picture, shots::WIDTH, shots::HEIGHT);
            let path = self.desk.path;
            let luma = luma.map_err(|reason| Error::Frame { path: path.to_path_buf(), frame_idx, reason })?;
            self.waiting.push_back((frame_idx, picture));
            let verdict = self.shots.push(luma.data);
            if decoded > LOOKAHEAD as u64 {
                self.judged.push_back(verdict);
            }
            self.release(false)?;
        }
        let owed = self.shots.finish();
        self.judged.extend(owed);
        self.release(true)?;
        let warnings = self.warnings(decoded, total);
        let nothing = Error::NothingDecoded { path: self.desk.path.to_path_buf() };
        self.desk.finish()?;
        if decoded == 0 { Err(nothing) } else { Ok(warnings) }
    }

    /// Number of a decoded frame: by its time, or the next one when it has none. Frames that the
    /// container did not announce, or that come twice, get no number.
    fn number(&mut self, picture: &Picture) -> Option<i64> {
        self.damaged += u64::from(picture.is_damaged);
        let clock = self.desk.listener.clock();
        let next = self.last_idx.map_or(0, |last| last + 1);
        let frame_idx = match picture.pts_ticks {
            Some(pts) => clock.frame_at(pts).and_then(|i| i64::try_from(i).ok()),
            None => Some(next).filter(|i| usize::try_from(*i).is_ok_and(|i| i < clock.len())),
        };
        let usable = frame_idx.filter(|i| *i >= next);
        self.untimed += u64::from(usable.is_none());
        usable
    }

    /// Passes on every frame whose successor has been judged; at the end, all of them.
    fn release(&mut self, at_end: bool) -> Result<(), Error> {
        while self.judged.len() > 1 || (at_end && !self.judged.is_empty()) {
            let Some((frame_idx, picture)) = self.waiting.pop_front() else { return Ok(()) };
            let begins = self.judged.pop_front().flatten();
            if self.desk.issued == 0 {
                // Frames before the first that could be decoded belong to the first shot.
                let start = Boundary { transition: Transition::Start, score: None };
                self.desk.tell(Answer::Begin(0, start))?;
                self.shot_first = frame_idx;
            } else if let Some(boundary) = begins {
                self.desk.tell(Answer::Begin(frame_idx, boundary))?;
                self.shot_first = frame_idx;
            }
            let ends = self.judged.front().is_none_or(Option::is_some);
            if ends || (frame_idx - self.shot_first) % i64::from(self.config.stride) == 0 {
                self.desk.order(frame_idx, picture)?;
            }
            if ends {
                // Frames that could not be decoded belong to the shot before them.
                let last_of_all = self.desk.listener.clock().len() as i64 - 1;
                let last = self.waiting.front().map_or(last_of_all, |(next, _)| next - 1);
                self.desk.tell(Answer::End(last))?;
            }
        }
        Ok(())
    }

    fn warnings(&self, decoded: u64, announced: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |count: u64, one: &str, many: &str| match count {
            0 => {}
            1 => warnings.push(format!("1 frame {one}")),
            _ => warnings.push(format!("{count} frames {many}")),
        };
        warn(
            announced.saturating_sub(decoded).max(self.decoder.lost()),
            "could not be decoded and is left out",
            "could not be decoded and are left out",
        );
        warn(self.damaged, "is damaged; faces in it may be wrong", "are damaged; faces in them may be wrong");
        warn(
            self.untimed,
            "has a time that the file does not list and is left out",
            "have a time that the file does not list and are left out",
        );
        warnings.extend(self.decoder.stopped().map(|why| format!("decoding stopped early: {why}")));
        warnings
    }
}
