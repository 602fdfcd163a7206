//! The picture of a video: its part of the stored frame, its pixel aspect and its rotation.
//!
//! A frame may have non-square pixels, bars around the picture, or a still frame around a window; a frame may also
//! lie on its side. A [`View`] is chosen once, from pictures spread over the video, before any face is detected.
//! Faces are detected, followed and cut in the *square frame*: the upright stored frame with square pixels, turned by
//! [`View::turn_degrees`]. All sizes and thresholds refer to [`View::picture`], the part of the square frame without
//! bars. Tables hold boxes in pixels of the upright stored frame; [`View::stored_box`] converts boxes to these
//! pixels.
//!
//! *Example.* A frame of 720 × 576 stored pixels with the aspect 64:45 has a square frame of 1024 × 576 pixels. With
//! black bars of 72 lines at the top and at the bottom, the picture is the region of 1024 × 432 pixels at (0, 72).

use std::path::Path;

use geometry::{BBox, Landmarks, Point};
use rayon::prelude::*;
use schema::footer;
use video::{Converter, Decoder, Facts, Image, Picture, Region, Sampler};

use crate::detector::{Detector, NewDetector};
use crate::face::suppress;
use crate::pipeline::detector_scale;
use crate::{Config, Error};

/// Largest number of key frames from which a view is chosen.
const SAMPLES: usize = 24;
/// Smallest number of key frames; with fewer key frames, the first frames of the video are decoded, too.
const MIN_KEYS: usize = 8;
/// Divisor of the number of frames that gives the number of first frames to decode, and the largest such number.
const FIRST_FRAMES: (usize, usize) = (3, 120);
/// Number of pictures, at most one more, in which combs are searched for, and faces are detected to find the rotation.
const FACE_SAMPLES: usize = 12;
/// Smallest score of a face without which a picture has no vote on the rotation, 0 to 1.
const CLEAR: f32 = 0.8;
/// Score above which a face counts for the vote of a picture, 0 to 1.
const DOUBTFUL: f32 = 0.5;
/// Number of votes by which no rotation must lead over every rotation.
const UPRIGHT_LEAD: usize = 2;
/// Number of votes by which a rotation must lead over all others and over none.
const TURNED_LEAD: usize = 3;
/// Largest side of the luma pictures in which bars are searched for, pixels.
pub const PROBE_WIDTH: usize = 480;
/// Largest luma of a black pixel, 0 to 255.
const BLACK: u8 = 28;
/// Largest difference of luma from that of a plain bar, 0 to 255; a plain bar has the same luma everywhere in all
/// pictures.
const PLAIN: u8 = 10;
/// Difference of luma over time above which a pixel is moving, 0 to 255.
const CHANGE: u8 = 14;
/// Largest share of the pixels of a line in a bar that are not black, plain or still, 0 to 1.
const STRAY: f64 = 0.02;
/// Smallest share of the pixels along the edge of the picture that differ from the bar, 0 to 1.
const EDGE: f64 = 0.5;
/// Smallest width of the bars on one side together, as a share of the width or height of the frame, 0 to 1; smaller bars
/// stay in the picture.
const MIN_BAR: f64 = 0.03;
/// Smallest width and height of the picture, as a share of those of the frame, 0 to 1.
const MIN_PICTURE: f64 = 0.1;
/// Smallest number of pictures from which a still frame around a window can be recognized.
const MIN_PROBES: usize = 4;

/// Smallest share of the pictures, and smallest number, with combs in an interlaced video. Of eleven progressive films,
/// at most 4 % of the pictures have combs; woven from two moments, at least 38 %.
const WOVEN: f64 = 0.2;
/// See [`WOVEN`].
const MIN_COMBED: usize = 2;

/// Place of the picture in the stored frame, with its pixel aspect and its rotation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Width and height of the upright stored frame, pixels.
    stored: (usize, usize),
    /// Clockwise turn in addition to the rotation that the container declares: 0, 90, 180 or 270 degrees.
    pub turn_degrees: u32,
    /// Width and height of the square frame, pixels.
    pub size: (usize, usize),
    /// The picture within the square frame.
    pub picture: Region,
    /// Whether frames show two moments in alternate rows, although they need not be declared as interlaced.
    pub is_woven: bool,
}

impl View {
    /// Returns a converter of frames that are turned by `rotation_degrees` clockwise as their container declares.
    pub(crate) fn converter(&self, rotation_degrees: u32) -> Converter {
        Converter::new((rotation_degrees + self.turn_degrees) % 360).woven(self.is_woven)
    }

    /// Creates the view of a frame with square pixels and without bars.
    pub(crate) fn of_size(width: usize, height: usize) -> Self {
        let picture = Region { x: 0, y: 0, width, height };
        Self { stored: (width, height), turn_degrees: 0, size: (width, height), picture, is_woven: false }
    }

    /// Creates the view of the whole frame, not turned.
    pub fn whole(facts: &Facts) -> Self {
        let stored = (facts.width as usize, facts.height as usize);
        let (width, height) = (f64::from(facts.width), f64::from(facts.height));
        // The side with too few stored pixels is enlarged, so that no detail is lost.
        let size = match facts.pixel_aspect {
            aspect if aspect >= 1.0 => ((width * aspect).round() as usize, stored.1),
            aspect => (stored.0, (height / aspect).round() as usize),
        };
        let picture = Region { x: 0, y: 0, width: size.0, height: size.1 };
        Self { stored, turn_degrees: 0, size, picture, is_woven: false }
    }

    /// Returns the same view, turned clockwise by a multiple of 90 degrees.
    pub fn turned(self, degrees: u32) -> Self {
        let mut view = self;
        for _ in 0..degrees / 90 {
            let Region { x, y, width, height } = view.picture;
            let picture = Region { x: view.size.1 - y - height, y: x, width: height, height: width };
            let turn_degrees = (view.turn_degrees + 90) % 360;
            view = Self { turn_degrees, size: (view.size.1, view.size.0), picture, ..view };
        }
        view
    }

    /// Returns the size of the square frame scaled by about `scale`, and the region of the picture within it.
    pub fn scaled(&self, scale: f64) -> ((usize, usize), Region) {
        let side = |pixels: usize| ((pixels as f64 * scale).round() as usize).max(1);
        self.fitted(side(self.size.0), side(self.size.1), side(self.picture.width), side(self.picture.height))
    }

    /// Returns the size of the square frame scaled such that the picture has this width and height, and the region of
    /// the picture within the frame.
    pub fn squeezed(&self, width: usize, height: usize) -> ((usize, usize), Region) {
        let whole = |size: usize, picture: usize, side: usize| {
            ((size as f64 * side as f64 / picture as f64).round() as usize).max(side)
        };
        let (across, down) =
            (whole(self.size.0, self.picture.width, width), whole(self.size.1, self.picture.height, height));
        self.fitted(across, down, width, height)
    }

    fn fitted(&self, across: usize, down: usize, width: usize, height: usize) -> ((usize, usize), Region) {
        let place = |at: usize, whole: usize, scaled: usize, side: usize| {
            let place = (at as f64 * scaled as f64 / whole as f64).round() as usize;
            place.min(scaled.saturating_sub(side))
        };
        let (width, height) = (width.min(across), height.min(down));
        let x = place(self.picture.x, self.size.0, across, width);
        let y = place(self.picture.y, self.size.1, down, height);
        ((across, down), Region { x, y, width, height })
    }

    /// Converts a point of the square frame to the upright stored frame.
    fn stored_point(&self, x: f32, y: f32) -> Point {
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        let (x, y, width, height) = match self.turn_degrees {
            90 => (y, width - x, height, width),
            180 => (width - x, height - y, width, height),
            270 => (height - y, x, height, width),
            _ => (x, y, width, height),
        };
        Point { x: x * (self.stored.0 as f32 / width), y: y * (self.stored.1 as f32 / height) }
    }

    /// Converts a box of the square frame to the upright stored frame.
    pub fn stored_box(&self, bbox: &BBox) -> BBox {
        let (a, b) = (self.stored_point(bbox.x_min, bbox.y_min), self.stored_point(bbox.x_max, bbox.y_max));
        BBox { x_min: a.x.min(b.x), y_min: a.y.min(b.y), x_max: a.x.max(b.x), y_max: a.y.max(b.y) }
    }

    /// Returns the picture as the footer of `detections` has it, its edges rounded to pixels of the upright stored frame.
    pub fn stored_picture(&self) -> footer::Picture {
        let Region { x, y, width, height } = self.picture;
        let edges = BBox::from_corner(x as f32, y as f32, width as f32, height as f32);
        let [x_min, y_min, x_max, y_max] = self.stored_box(&edges).edges().map(|edge| edge.round() as i64);
        footer::Picture { x_min, y_min, x_max, y_max, turn_degrees: self.turn_degrees.into() }
    }

    /// Converts landmarks in the square frame to the upright stored frame.
    pub fn stored_landmarks(&self, landmarks: &Landmarks) -> Landmarks {
        Landmarks(landmarks.0.map(|point| self.stored_point(point.x, point.y)))
    }

    /// Converts an affine map from the square frame, row by row, to a map from the upright stored frame.
    pub fn from_stored(&self, [a, b, c, d, e, f]: [f32; 6]) -> [f32; 6] {
        if self.turn_degrees == 0 && self.stored == self.size {
            return [a, b, c, d, e, f];
        }
        // The map from the stored to the square frame.
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        let (stored_width, stored_height) = (self.stored.0 as f32, self.stored.1 as f32);
        let [xx, xy, x0, yx, yy, y0] = match self.turn_degrees {
            90 => [0.0, -width / stored_height, width, height / stored_width, 0.0, 0.0],
            180 => [-width / stored_width, 0.0, width, 0.0, -height / stored_height, height],
            270 => [0.0, width / stored_height, 0.0, -height / stored_width, 0.0, height],
            _ => [width / stored_width, 0.0, 0.0, 0.0, height / stored_height, 0.0],
        };
        let after = |p: f32, q: f32, r: f32| [p * xx + q * yx, p * xy + q * yy, p * x0 + q * y0 + r];
        let ([a, b, c], [d, e, f]) = (after(a, b, c), after(d, e, f));
        [a, b, c, d, e, f]
    }
}

impl std::fmt::Display for View {
    /// Writes the picture as `WIDTHxHEIGHT+X+Y of WIDTHxHEIGHT`, in pixels of the square frame, and the turn.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Region { x, y, width, height } = self.picture;
        write!(f, "{width}x{height}+{x}+{y} of {}x{}", self.size.0, self.size.1)?;
        if self.is_woven {
            write!(f, ", interlaced")?;
        }
        match self.turn_degrees {
            0 => Ok(()),
            degrees => write!(f, ", turned by {degrees} degrees"),
        }
    }
}

/// Inputs for the choice of a view.
pub struct Preview<'a> {
    /// The video.
    pub path: &'a Path,
    /// Times of the key frames, ticks, in order.
    pub keys: &'a [i64],
    /// Number of frames.
    pub n_frames: usize,
    /// Settings of the stage.
    pub config: &'a Config,
    /// Size of the smallest face that the detector finds reliably, pixels of its input picture.
    pub smallest_px: f64,
}

/// What is kept of some frames.
#[derive(Default)]
struct Glances {
    /// Luma of the whole frames, [`PROBE_WIDTH`] pixels on the longer side.
    lumas: Vec<Image>,
    /// Samples of the faces in some of the frames.
    samples: Vec<FaceSample>,
}

/// A picture in which combs are searched for, and faces are detected to find the rotation.
struct FaceSample {
    is_combed: bool,
    /// The picture as the detector's input.
    input: Image,
}

/// Looks at pictures one after the other.
struct Glancer<'a> {
    view: &'a View,
    /// Scale of the detector's input picture.
    scale: f64,
    converter: Converter,
    glances: Glances,
}

impl Glancer<'_> {
    fn look(&mut self, picture: &Picture, is_face_sample: bool) -> Result<(), String> {
        let (width, height) = probe_size(self.view);
        self.glances.lumas.push(self.converter.luma(picture, width, height)?);
        if is_face_sample {
            let ((width, height), part) = self.view.scaled(self.scale);
            let input = self.converter.rgb_region(picture, width, height, part)?;
            self.glances.samples.push(FaceSample { is_combed: Converter::new(0).is_combed(picture)?, input });
        }
        Ok(())
    }
}

/// Returns the size of the pictures in which bars are searched for.
fn probe_size(view: &View) -> (usize, usize) {
    let scale = (PROBE_WIDTH as f64 / view.size.0.max(view.size.1) as f64).min(1.0);
    view.scaled(scale).0
}

impl Preview<'_> {
    /// Chooses the view of a video, and returns warnings about the view. If no picture can be decoded in advance, the
    /// view is the whole frame.
    ///
    /// # Errors
    /// When the video cannot be opened, and when the detector fails.
    pub fn choose(&self, new_detector: &NewDetector) -> Result<(View, Vec<String>), Error> {
        let facts = Decoder::open(self.path, 1)?.facts().clone();
        let whole = View::whole(&facts);
        let mut view = whole;
        let Glances { lumas, mut samples } = self.glances(&view, &facts)?;
        let n_combed = samples.iter().filter(|sample| sample.is_combed).count();
        view.is_woven = n_combed >= MIN_COMBED && n_combed as f64 >= WOVEN * samples.len() as f64;
        if let Some(part) = active(&lumas) {
            view.picture = enlarged(part, probe_size(&view), view.size);
        }
        // If the first look was at another view, the frames are decoded again: keeping large ones would take more memory
        // than the rest of the stage.
        if view != whole {
            samples = self.glances(&view, &facts)?.samples;
        }
        let turn = self.turn(&samples, new_detector).map_err(|reason| self.failed(reason))?;
        let warning = format!(
            "the faces are upright in the picture turned by {turn} degrees clockwise: the picture is turned, and \
             boxes refer to the frame as it is stored"
        );
        Ok((view.turned(turn), (turn > 0).then_some(warning).into_iter().collect()))
    }

    fn failed(&self, reason: String) -> Error {
        Error::Frame { path: self.path.to_path_buf(), frame_idx: 0, reason }
    }

    /// Looks at key frames spread over the video; of a video with few key frames, at pictures of its beginning, too, the
    /// more the fewer key frames there are.
    fn glances(&self, view: &View, facts: &Facts) -> Result<Glances, Error> {
        let new_glancer = || Glancer {
            view,
            scale: detector_scale(view, self.config.min_face_px, self.smallest_px),
            converter: view.converter(facts.rotation_degrees),
            glances: Glances::default(),
        };
        let n_keys = SAMPLES.min(self.keys.len());
        let n_first = if n_keys < MIN_KEYS { SAMPLES / n_keys.max(1) } else { 0 };
        // One picture in this number is a sample of faces.
        let step = (n_keys + n_first).div_ceil(FACE_SAMPLES);
        let keys = (0..n_keys).map(|i| (i, self.keys[(2 * i + 1) * self.keys.len() / (2 * n_keys)]));
        let keys: Vec<_> = keys.collect();
        let look = |keys: &[(usize, i64)]| {
            let (mut sampler, mut glancer) = (Sampler::open(self.path)?, new_glancer());
            for (i, ticks) in keys {
                if let Some(picture) = sampler.key_frame(*ticks) {
                    glancer.look(&picture, i % step == 0).map_err(|reason| self.failed(reason))?;
                }
            }
            Ok(glancer.glances)
        };
        let parts = keys.par_chunks(n_keys.div_ceil(rayon::current_num_threads()).max(1));
        let mut parts: Vec<Glances> = parts.map(look).collect::<Result<_, Error>>()?;
        if n_first > 0 {
            let has_keys = parts.iter().any(|part| !part.lumas.is_empty());
            parts.push(self.first_glances(n_first, step, has_keys, new_glancer())?);
        }
        let mut all = Glances::default();
        for part in parts {
            all.lumas.extend(part.lumas);
            all.samples.extend(part.samples);
        }
        Ok(all)
    }

    /// Looks at up to `wanted` pictures of the beginning of the video; if `has_keys`, only at those that are no key frames,
    /// which were looked at already.
    fn first_glances(
        &self,
        wanted: usize,
        step: usize,
        has_keys: bool,
        mut glancer: Glancer<'_>,
    ) -> Result<Glances, Error> {
        let mut decoder = Decoder::open(self.path, 1)?;
        let (share, most) = FIRST_FRAMES;
        let n_frames = (self.n_frames / share).clamp(1, most);
        let spacing = n_frames.div_ceil(wanted);
        let is_key = |i: usize, picture: &Picture| match picture.pts_ticks {
            Some(ticks) => self.keys.binary_search(&ticks).is_ok(),
            None => i == 0,
        };
        for i in 0..=(n_frames - 1) / spacing * spacing {
            // The later decoding of the whole video reports damage.
            let Ok(Some(picture)) = decoder.next_picture() else { break };
            if i % spacing == 0 && !(has_keys && is_key(i, &picture)) {
                let looked = glancer.look(&picture, (i / spacing) % step == 0);
                looked.map_err(|reason| self.failed(reason))?;
            }
        }
        Ok(glancer.glances)
    }

    /// Returns the clockwise turn after which the faces in the pictures are upright, in degrees. The detector also
    /// finds faces that lie on their side or upside down, with lower scores, so every turn is tried on one picture
    /// after the other until one turn leads.
    fn turn(&self, samples: &[FaceSample], new_detector: &NewDetector) -> Result<u32, String> {
        let mut votes = [0; 4];
        // Threads look at samples ahead, whose votes may not be needed.
        for ahead in samples.chunks(rayon::current_num_threads()) {
            let vote = |detector: &mut Result<Box<dyn Detector>, String>, sample: &FaceSample| {
                self.upright_quarter(
                    &sample.input,
                    detector.as_mut().map_err(|reason| reason.clone())?.as_mut(),
                )
            };
            let quarters = ahead.par_iter().map_init(new_detector, vote);
            for quarter in quarters.collect::<Result<Vec<_>, String>>()? {
                if let Some(quarter) = quarter {
                    votes[quarter] += 1;
                }
                let rivals = |quarter: usize| (0..4).filter(move |other| *other != quarter);
                let most = |quarter: usize| rivals(quarter).map(|other| votes[other]).max().unwrap_or(0);
                let lead = |quarter: usize| if quarter == 0 { UPRIGHT_LEAD } else { TURNED_LEAD };
                if let Some(best) = (0..4).find(|quarter| votes[*quarter] >= most(*quarter) + lead(*quarter))
                {
                    return Ok(best as u32 * 90);
                }
            }
        }
        Ok(0)
    }

    /// Returns the vote of a picture, see [`vote`].
    fn upright_quarter(&self, picture: &Image, detector: &mut dyn Detector) -> Result<Option<usize>, String> {
        let mut scores = [const { Vec::new() }; 4];
        for (degrees, scores) in (0..).step_by(90).zip(&mut scores) {
            let faces = detector.detect(&picture.clone().turned(degrees))?;
            let faces = suppress(faces, self.config.max_overlap as f32);
            scores.extend(faces.iter().map(|face| face.score));
        }
        Ok(vote(&scores))
    }
}

/// Returns the number of quarter turns after which the faces of a picture have the best scores, from the scores of
/// the faces that were found after 0 to 3 quarter turns; `None` if no face is clear.
fn vote(scores: &[Vec<f32>; 4]) -> Option<usize> {
    let weight =
        |quarter: usize| scores[quarter].iter().map(|score| (score - DOUBTFUL).max(0.0)).sum::<f32>();
    let best = (0..4).rev().max_by(|a, b| weight(*a).total_cmp(&weight(*b)))?;
    scores[best].iter().any(|score| *score >= CLEAR).then_some(best)
}

/// Converts a region of a small copy of a frame to a region of the frame, rounded outwards.
fn enlarged(part: Region, probe: (usize, usize), size: (usize, usize)) -> Region {
    let span = |at: usize, length: usize, from: usize, to: usize| {
        let (first, end) = (at * to / from, ((at + length) * to).div_ceil(from));
        (first, end.min(to) - first)
    };
    let (x, width) = span(part.x, part.width, probe.0, size.0);
    let (y, height) = span(part.y, part.height, probe.1, size.1);
    Region { x, y, width, height }
}

/// Returns the part of pictures of one size that is neither bars, black or of another plain colour, nor, with at least
/// `MIN_PROBES` pictures, a still frame around a window; `None` if this part is the whole picture. A part that would be
/// too small is no picture. The edges of the part must be straight: half of the pixels along an edge must differ from the
/// bar, so a dark, a plain or a still background does not count as a bar.
pub fn active(pictures: &[Image]) -> Option<Region> {
    let first = pictures.first()?;
    let whole = Region { x: 0, y: 0, width: first.width, height: first.height };
    let range = |at: usize| {
        let values = pictures.iter().map(|picture| picture.data[at]);
        values.fold((u8::MAX, 0), |(low, high), v| (low.min(v), high.max(v)))
    };
    // Titles may cross a black bar for a moment; other bars are the same in all pictures.
    let bright = Mask::new(whole, |at| {
        let n_bright = pictures.iter().filter(|picture| picture.data[at] > BLACK).count();
        (n_bright * 10 > pictures.len(), n_bright > 0)
    });
    let always = |differs: &dyn Fn(u8, u8) -> bool| {
        Mask::new(whole, |at| {
            let (low, high) = range(at);
            let differs = differs(low, high);
            (differs, differs)
        })
    };
    let moving = (pictures.len() >= MIN_PROBES).then(|| always(&|low, high| high - low > CHANGE));
    let is_large = |part: &Region| {
        part.width as f64 >= MIN_PICTURE * whole.width as f64
            && part.height as f64 >= MIN_PICTURE * whole.height as f64
    };
    let shrunk = |mask: &Mask, part: Region| Some(mask.shrunk(part)).filter(is_large).unwrap_or(part);
    let mut part = whole;
    // A window may have bars itself.
    loop {
        let before = part;
        part = shrunk(&bright, part);
        for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let corner = (part.x + x * (part.width - 1), part.y + y * (part.height - 1));
            let (low, high) = range(corner.1 * whole.width + corner.0);
            if high - low <= PLAIN {
                let colour = low + (high - low) / 2;
                let is_other =
                    |low: u8, high: u8| low.abs_diff(colour) > PLAIN || high.abs_diff(colour) > PLAIN;
                part = shrunk(&always(&is_other), part);
            }
        }
        part = moving.as_ref().map_or(part, |moving| shrunk(moving, part));
        if part == before {
            break;
        }
    }
    (part != whole).then_some(part)
}

/// Pixels that are not bars: in many pictures, and in at least one picture.
struct Mask {
    frame: Region,
    often: Vec<bool>,
    ever: Vec<bool>,
}

/// A side of a region.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Left,
    Top,
    Right,
    Bottom,
}

const SIDES: [Side; 4] = [Side::Left, Side::Top, Side::Right, Side::Bottom];

impl Mask {
    fn new(frame: Region, pixel: impl Fn(usize) -> (bool, bool)) -> Self {
        let (often, ever) = (0..frame.width * frame.height).map(pixel).unzip();
        Self { frame, often, ever }
    }

    /// Returns the share of the pixels in a line of the region, `depth` lines inside a side, that are set, 0 to 1. In a
    /// region with fewer lines, the line is the last one.
    fn share(&self, pixels: &[bool], part: Region, side: Side, depth: usize) -> f64 {
        let Region { x, y, width, height } = part;
        let lines = if matches!(side, Side::Left | Side::Right) { width } else { height };
        let depth = depth.min(lines.saturating_sub(1));
        let row = |y: usize| {
            (0..width).filter(|i| pixels[y * self.frame.width + x + i]).count() as f64 / width as f64
        };
        let column = |x: usize| {
            (0..height).filter(|i| pixels[(y + i) * self.frame.width + x]).count() as f64 / height as f64
        };
        match side {
            Side::Left => column(x + depth),
            Side::Right => column(x + width - 1 - depth),
            Side::Top => row(y + depth),
            Side::Bottom => row(y + height - 1 - depth),
        }
    }

    /// Returns the region without its bars.
    fn shrunk(&self, from: Region) -> Region {
        let mut kept: Vec<Side> = Vec::new();
        loop {
            let part = self.without_bars(from, &kept);
            let wrong =
                SIDES.into_iter().find(|side| cut_off(from, part, *side) > 0 && !self.is_edge(part, *side));
            match wrong {
                Some(side) => kept.push(side),
                None => return part,
            }
        }
    }

    /// Removes lines that are bars from all sides except those in `kept`.
    fn without_bars(&self, from: Region, kept: &[Side]) -> Region {
        let mut part = from;
        loop {
            let before = part;
            for side in SIDES.into_iter().filter(|side| !kept.contains(side)) {
                while part.width > 2 && part.height > 2 && self.share(&self.often, part, side, 0) <= STRAY {
                    match side {
                        Side::Left => (part.x, part.width) = (part.x + 1, part.width - 1),
                        Side::Top => (part.y, part.height) = (part.y + 1, part.height - 1),
                        Side::Right => part.width -= 1,
                        Side::Bottom => part.height -= 1,
                    }
                }
            }
            if part == before {
                return part;
            }
        }
    }

    /// Returns whether the bars beyond a side of the region are wide enough and end in a straight edge.
    fn is_edge(&self, part: Region, side: Side) -> bool {
        let Region { width, height, .. } = self.frame;
        let whole = if matches!(side, Side::Left | Side::Right) { width } else { height };
        // Bars are measured together, from the border of the frame: a line between two bars blends their colours.
        let cut = cut_off(self.frame, part, side);
        // The first line may be half bar: codecs and scalers blur edges.
        let share =
            [1, 2].map(|depth| self.share(&self.ever, part, side, depth)).into_iter().fold(0.0, f64::max);
        cut as f64 >= MIN_BAR * whole as f64 && share >= EDGE
    }
}

/// Returns the number of lines between a side of a region and the same side of a part of the region.
fn cut_off(from: Region, part: Region, side: Side) -> usize {
    match side {
        Side::Left => part.x - from.x,
        Side::Top => part.y - from.y,
        Side::Right => from.x + from.width - part.x - part.width,
        Side::Bottom => from.y + from.height - part.y - part.height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a luma picture of `width × height` pixels.
    fn picture(width: usize, height: usize, pixel: impl Fn(usize, usize) -> u8) -> Image {
        let data =
            (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| pixel(x, y)).collect();
        Image { width, height, channels: 1, data }
    }

    /// Returns the luma of a pixel in a scene with much detail, which depends on `seed`.
    fn busy(seed: usize, x: usize, y: usize) -> u8 {
        let hash = (seed * 7919 + x * 104_729 + y * 1_299_709) ^ (x * y * 31 + seed * 17);
        60 + (hash % 180) as u8
    }

    /// Returns pictures with changing detail inside a region and `outside` around the region.
    fn framed(region: Region, outside: impl Fn(usize, usize) -> u8) -> Vec<Image> {
        let Region { x: left, y: top, width, height } = region;
        let inside =
            |x: usize, y: usize| (left..left + width).contains(&x) && (top..top + height).contains(&y);
        let pixel = |seed, x, y| if inside(x, y) { busy(seed, x, y) } else { outside(x, y) };
        (0..6).map(|seed| picture(96, 54, |x, y| pixel(seed, x, y))).collect()
    }

    #[test]
    fn bars_at_any_side_are_no_part_of_the_picture() {
        for region in [
            Region { x: 12, y: 0, width: 72, height: 54 },
            Region { x: 0, y: 7, width: 96, height: 40 },
            Region { x: 0, y: 0, width: 70, height: 54 },
            Region { x: 20, y: 10, width: 50, height: 30 },
        ] {
            assert_eq!(active(&framed(region, |_, _| 1)), Some(region));
        }
    }

    #[test]
    fn bars_of_a_plain_colour_are_no_part_of_a_still_picture() {
        let region = Region { x: 50, y: 20, width: 40, height: 30 };
        let still: Vec<_> = (0..6)
            .map(|_| {
                let inside = |x: usize, y: usize| (50..90).contains(&x) && (20..50).contains(&y);
                picture(96, 54, |x, y| if inside(x, y) { busy(3, x, y) / 2 } else { 200 + (x % 3) as u8 })
            })
            .collect();
        assert_eq!(active(&still), Some(region));
        // Different colours on the left and on the right.
        let region = Region { x: 20, y: 0, width: 60, height: 54 };
        assert_eq!(active(&framed(region, |x, _| if x < 50 { 250 } else { 90 })), Some(region));
        // A window with black bars of its own.
        let bars = |x: usize, y: usize| if (10..90).contains(&x) && (6..48).contains(&y) { 0 } else { 180 };
        let region = Region { x: 10, y: 12, width: 80, height: 30 };
        assert_eq!(active(&framed(region, bars)), Some(region));
        // A window between black bars, in a grey frame: one line is half grey.
        let blended = |x: usize, y: usize| match (x, y) {
            (10..90, 5) => 90,
            (10..90, 6..48) => 0,
            _ => 180,
        };
        let region = Region { x: 10, y: 12, width: 80, height: 30 };
        assert_eq!(active(&framed(region, blended)), Some(region));
        // A person before a plain wall has no straight edge; in close-ups, the person hides all but the corners.
        for near in [0, 2, 4] {
            let person = |seed: usize, x: usize, y: usize| {
                let (dx, dy) = (x as f64 - 160.0, y as f64 - 90.0);
                let radius = if seed < near { 165.0 } else { 60.0 };
                if dx.hypot(dy) < radius { busy(seed, x, y) } else { 250 }
            };
            let pictures: Vec<_> = (0..24).map(|seed| picture(320, 180, |x, y| person(seed, x, y))).collect();
            assert_eq!(active(&pictures), None, "{near}");
        }
    }

    #[test]
    fn bars_around_a_still_scene_with_little_motion_are_found() {
        let region = Region { x: 0, y: 8, width: 96, height: 38 };
        let spot = |seed: usize, x: usize, y: usize| match (x, y) {
            (_, ..8 | 46..) => 0,
            (40..45, 20..24) => (seed * 40) as u8,
            _ => 120,
        };
        let pictures: Vec<_> = (0..6).map(|seed| picture(96, 54, |x, y| spot(seed, x, y))).collect();
        assert_eq!(active(&pictures), Some(region));
    }

    #[test]
    fn a_still_frame_around_a_window_is_no_part_of_the_picture() {
        let region = Region { x: 50, y: 20, width: 40, height: 30 };
        assert_eq!(active(&framed(region, |x, y| busy(99, x, y))), Some(region));
        assert_eq!(active(&framed(region, |x, y| busy(99, x, y))[..2]), None, "two pictures are too few");
    }

    #[test]
    fn dark_and_calm_backgrounds_are_part_of_the_picture() {
        let whole = Region { x: 0, y: 0, width: 96, height: 54 };
        assert_eq!(active(&framed(whole, |_, _| 0)), None);
        // A round spot in the dark, and a person before a wall.
        let round = |seed: usize, calm: u8, x: usize, y: usize| {
            let (dx, dy) = (x as f64 - 160.0, y as f64 - 90.0);
            if dx.hypot(dy) < 70.0 { busy(seed, x, y) } else { calm }
        };
        for calm in [2, 130] {
            let pictures: Vec<_> =
                (0..6).map(|seed| picture(320, 180, |x, y| round(seed, calm, x, y))).collect();
            assert_eq!(active(&pictures), None, "{calm}");
        }
        assert_eq!(active(&[]), None);
    }

    #[test]
    fn a_video_without_motion_is_the_whole_picture() {
        let same: Vec<_> = (0..8).map(|_| picture(96, 54, |x, y| busy(3, x, y))).collect();
        assert_eq!(active(&same), None);
        let black: Vec<_> = (0..8).map(|_| picture(96, 54, |_, _| 16)).collect();
        assert_eq!(active(&black), None);
        // One corner moves.
        let corner = |seed: usize| {
            picture(96, 54, |x, y| if x > 93 && y > 51 { (seed * 60) as u8 } else { busy(3, x, y) })
        };
        assert_eq!(active(&(0..5).map(corner).collect::<Vec<_>>()), None);
    }

    #[test]
    fn places_return_to_the_stored_frame() {
        let wide = View { size: (1024, 576), ..View::of_size(720, 576) };
        for degrees in [0, 90, 180, 270] {
            let picture = Region { x: 100, y: 40, width: 800, height: 500 };
            let view = View { picture, ..wide }.turned(degrees);
            let lying = degrees % 180 != 0;
            assert_eq!(view.size, if lying { (576, 1024) } else { (1024, 576) });
            let bbox = |r: Region| BBox::from_corner(r.x as f32, r.y as f32, r.width as f32, r.height as f32);
            let stored = view.stored_box(&bbox(view.picture));
            for (found, expected) in stored.edges().iter().zip([70.3125, 40.0, 632.8125, 540.0]) {
                assert!((found - expected).abs() < 1e-3, "{degrees}: {stored:?}");
            }
            let turn_degrees = degrees.into();
            let expected = footer::Picture { x_min: 70, y_min: 40, x_max: 633, y_max: 540, turn_degrees };
            assert_eq!(view.stored_picture(), expected);
            // The converted map, applied to the stored point, must equal the original map, applied to the square
            // point.
            let map = [0.5, 0.1, 3.0, -0.2, 0.4, 7.0];
            let [a, b, c, d, e, f] = view.from_stored(map);
            let Point { x, y } = view.stored_point(200.0, 300.0);
            let expected =
                (map[0] * 200.0 + map[1] * 300.0 + map[2], map[3] * 200.0 + map[4] * 300.0 + map[5]);
            let found = (a * x + b * y + c, d * x + e * y + f);
            assert!((found.0 - expected.0).abs() < 1e-2 && (found.1 - expected.1).abs() < 1e-2, "{degrees}");
        }
    }

    #[test]
    fn the_picture_has_the_wanted_size() {
        let view =
            View { picture: Region { x: 107, y: 0, width: 640, height: 360 }, ..View::of_size(854, 360) };
        let ((width, height), part) = view.squeezed(64, 36);
        assert_eq!(((width, height), part), ((85, 36), Region { x: 11, y: 0, width: 64, height: 36 }));
        assert_eq!(view.scaled(1.0), ((854, 360), view.picture));
        assert_eq!(View::of_size(9, 5).squeezed(64, 36).1, Region { x: 0, y: 0, width: 64, height: 36 });
    }

    #[test]
    fn the_turn_with_the_clearest_faces_has_the_vote_of_a_picture() {
        let vote = |scores: [&[f32]; 4]| vote(&scores.map(<[f32]>::to_vec));
        assert_eq!(vote([&[0.95], &[0.82], &[0.88], &[0.78]]), Some(0));
        assert_eq!(vote([&[0.88], &[0.78], &[0.95], &[0.82]]), Some(2));
        assert_eq!(vote([&[0.9], &[0.85, 0.86], &[], &[]]), Some(1), "more faces");
        assert_eq!(vote([&[0.9], &[0.9], &[], &[]]), Some(0));
        assert_eq!(vote([&[], &[], &[], &[0.71]]), None);
        assert_eq!(vote([&[], &[], &[], &[]]), None);
    }
}
