//! Aligned crops of faces: warped out of the full-resolution frame, measured, and the best few kept.
//!
//! [`Alignment`] says where in the frame a crop comes from, [`AlignedCrop`] is the result, and
//! [`BestCrops`] keeps the best crops of a track. Warping (`warp`), shrinking (`shrink`) and sharpness
//! (`sharpness`) give the results of OpenCV, bit for bit.

mod best;
#[cfg(all(test, feature = "opencv"))]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod parity;
mod sharpness;
mod shrink;
mod warp;

use geometry::{Landmarks, Point};
use video::{Image, Region};

pub use self::best::BestCrops;
use self::sharpness::sharpness;
pub(crate) use self::shrink::shrink;
use self::warp::warped;
use crate::face::Face;
use crate::tracker::Appearance;

/// Side of a crop, pixels.
pub const SIDE: usize = 160;

/// Positions of the five landmarks in a crop, pixels: the 112-pixel template that ArcFace and SFace were
/// trained on (Deng et al., CVPR 2019; the numbers as in insightface and OpenCV), with a margin of 24
/// pixels around it, so that the middle 112×112 pixels are exactly what those networks expect.
pub const TEMPLATE: Landmarks = Landmarks::new([
    (38.2946 + MARGIN, 51.6963 + MARGIN),
    (73.5318 + MARGIN, 51.5014 + MARGIN),
    (56.0252 + MARGIN, 71.7366 + MARGIN),
    (41.5493 + MARGIN, 92.3655 + MARGIN),
    (70.7299 + MARGIN, 92.2041 + MARGIN),
]);
const MARGIN: f32 = 24.0;

/// Size of a box at which the size factor of the quality is 0.5, pixels.
const HALF_SIZE: f32 = 40.0;

/// An aligned crop of a face.
#[derive(Debug, Clone, PartialEq)]
pub struct AlignedCrop {
    /// 8-bit RGB, interleaved, [`SIDE`] × [`SIDE`] pixels.
    pub rgb: Vec<u8>,
    /// Affine map from frame to crop, a 2 × 3 matrix row by row; pixels with the origin at the image corner.
    pub transform: [f32; 6],
    /// Score of the detector, 0 to 1.
    pub score: f32,
    /// Contrast of fine detail, 0 to 1.
    pub sharpness: f32,
    /// Quality, 0 to 1: the product of score, size factor, sharpness and frontality.
    pub quality: f32,
    /// Coarse picture of the face, for the tracker.
    pub appearance: Appearance,
}

/// How a face is aligned, and the part of the frame that its crop shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// Affine map from frame to crop, as in [`AlignedCrop::transform`].
    transform: [f32; 6],
    /// The part of the frame that the crop shows.
    pub region: Region,
}

impl Alignment {
    /// Aligns a face in a frame of `width × height` pixels; `None` when the five landmarks coincide.
    pub fn new(face: &Face, width: usize, height: usize) -> Option<Self> {
        let transform = similarity(&face.likely_landmarks(), &TEMPLATE)?;
        Some(Self { transform, region: source_region(&transform, SIDE, width, height) })
    }

    /// Returns the aligned crop of `face`; `picture` is the part [`region`](Self::region) of the frame, RGB.
    pub fn crop(&self, picture: &Image, face: &Face) -> AlignedCrop {
        let Self { transform, region } = *self;
        let rgb = warp(picture, &transform, region, SIDE);
        let sharpness = sharpness(&rgb, SIDE);
        let quality = face.score * face.bbox.size() / (face.bbox.size() + HALF_SIZE)
            * sharpness
            * face.landmarks.map_or(1.0, |landmarks| landmarks.frontality());
        let appearance = appearance(&rgb);
        AlignedCrop { rgb, transform, score: face.score, sharpness, quality, appearance }
    }
}

/// Cells along a side of an [`Appearance`].
const CELLS: usize = 12;
/// Pixels along a side of a cell.
const CELL_PX: usize = 10;

/// Returns the mean colours of the cells in the middle of a crop, and as the pattern the green, which is close to luma.
fn appearance(rgb: &[u8]) -> Appearance {
    let margin = (SIDE - CELLS * CELL_PX) / 2;
    let mut sums = vec![[0_u32; 3]; CELLS * CELLS];
    for (y, row) in rgb.chunks_exact(SIDE * 3).skip(margin).take(CELLS * CELL_PX).enumerate() {
        for (x, pixel) in row.chunks_exact(3).skip(margin).take(CELLS * CELL_PX).enumerate() {
            let cell = &mut sums[y / CELL_PX * CELLS + x / CELL_PX];
            cell.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(*value));
        }
    }
    let colours = sums.as_flattened().iter().map(|sum| (sum / (CELL_PX * CELL_PX) as u32) as u8).collect();
    let mut pattern: Vec<f32> = sums.iter().map(|cell| cell[1] as f32).collect();
    let mean = pattern.iter().sum::<f32>() / pattern.len() as f32;
    pattern.iter_mut().for_each(|cell| *cell -= mean);
    let norm = pattern.iter().map(|cell| cell * cell).sum::<f32>().sqrt().max(1.0);
    pattern.iter_mut().for_each(|cell| *cell /= norm);
    Appearance { pattern, colours }
}

/// Returns the crop of a face in a whole frame, RGB; `None` when the five landmarks coincide.
pub(crate) fn cut(frame: &Image, face: &Face) -> Option<AlignedCrop> {
    let alignment = Alignment::new(face, frame.width, frame.height)?;
    let Region { x, y, width, height } = alignment.region;
    let rows = frame.data.chunks_exact(frame.width * 3).skip(y).take(height);
    let data = rows.flat_map(|row| &row[3 * x..3 * (x + width)]).copied().collect();
    Some(alignment.crop(&Image { width, height, channels: 3, data }, face))
}

/// Warps `picture`, the part `region` of the frame, to a crop of `side × side` pixels; `transform` maps the frame to the
/// crop.
pub(crate) fn warp(picture: &Image, transform: &[f32; 6], region: Region, side: usize) -> Vec<u8> {
    let (left, top) = (region.x as f32, region.y as f32);
    let scale = transform[0].hypot(transform[3]);
    if scale >= 0.5 {
        return warp_part(picture, &from_part(transform, (left, top), (1.0, 1.0)), side);
    }
    // Bilinear sampling would skip pixels of such a large face, so the face is shrunk first.
    let size = |side: usize| (side as f32 * scale).round().max(1.0);
    let (width, height) = (size(picture.width), size(picture.height));
    let small = shrink(picture, width as usize, height as usize);
    let shrunk = (picture.width as f32 / width, picture.height as f32 / height);
    warp_part(&small, &from_part(transform, (left, top), shrunk), side)
}

/// Returns the map to the crop from a part of the frame that begins at (left, top) and is shrunk by (across, down).
fn from_part(transform: &[f32; 6], (left, top): (f32, f32), (across, down): (f32, f32)) -> [f32; 6] {
    let [a, b, c, d, e, f] = *transform;
    [a * across, b * down, a * left + b * top + c, d * across, e * down, d * left + e * top + f]
}

fn warp_part(picture: &Image, transform: &[f32; 6], side: usize) -> Vec<u8> {
    // `warped` has the origin at the centre of the first pixel; `transform` has it half a pixel away, at the corner.
    let [a, b, c, d, e, f] = transform.map(f64::from);
    let matrix = [a, b, c + 0.5 * (a + b) - 0.5, d, e, f + 0.5 * (d + e) - 0.5];
    warped(picture, matrix, side)
}

/// Returns the part of the frame that a crop of `side × side` pixels shows, with a margin of 8 pixels, cut at the border
/// of the frame.
pub(crate) fn source_region(transform: &[f32; 6], side: usize, width: usize, height: usize) -> Region {
    const AROUND: f32 = 8.0;
    let [a, b, c, d, e, f] = *transform;
    let determinant = a * e - b * d;
    let source = |(x, y): (f32, f32)| {
        let (x, y) = (x - c, y - f);
        ((e * x - b * y) / determinant, (a * y - d * x) / determinant)
    };
    let side = side as f32;
    let corners = [(0.0, 0.0), (side, 0.0), (0.0, side), (side, side)].map(source);
    let span = |values: [f32; 4], limit: usize| {
        let limit = limit as f32;
        let low = values.into_iter().fold(f32::INFINITY, f32::min) - AROUND;
        let high = values.into_iter().fold(f32::NEG_INFINITY, f32::max) + AROUND;
        let low = low.clamp(0.0, limit - 1.0).floor();
        (low as usize, (high.clamp(low + 1.0, limit).ceil() - low) as usize)
    };
    let (x, width) = span(corners.map(|p| p.0), width);
    let (y, height) = span(corners.map(|p| p.1), height);
    Region { x, y, width, height }
}

/// Returns the similarity transform (rotation, scale, shift) that brings `from` closest to `to` by least squares
/// (Umeyama, PAMI 1991, without reflection); `None` when the points of `from` coincide.
fn similarity(Landmarks(from): &Landmarks, Landmarks(to): &Landmarks) -> Option<[f32; 6]> {
    let mean = |points: &[Point; 5]| {
        let sum = points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.x, sum.1 + p.y));
        (sum.0 / 5.0, sum.1 / 5.0)
    };
    let (from_mean, to_mean) = (mean(from), mean(to));
    let (mut dot, mut cross, mut spread) = (0.0, 0.0, 0.0);
    for (p, q) in from.iter().zip(to) {
        let (px, py) = (p.x - from_mean.0, p.y - from_mean.1);
        let (qx, qy) = (q.x - to_mean.0, q.y - to_mean.1);
        dot += px * qx + py * qy;
        cross += px * qy - py * qx;
        spread += px * px + py * py;
    }
    let (cos, sin) = (dot / spread, cross / spread);
    let usable = spread > f32::EPSILON && cos.is_finite() && sin.is_finite() && cos.hypot(sin) > f32::EPSILON;
    let shift_x = to_mean.0 - (cos * from_mean.0 - sin * from_mean.1);
    let shift_y = to_mean.1 - (sin * from_mean.0 + cos * from_mean.1);
    usable.then_some([cos, -sin, shift_x, sin, cos, shift_y])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use geometry::BBox;

    use super::*;

    /// A face `scale` times as large as the template, its crop's corner at (`left`, `top`).
    fn face(scale: f32, left: f32, top: f32) -> Face {
        let point = |p: Point| Point { x: p.x * scale + left, y: p.y * scale + top };
        let landmarks = Some(Landmarks(TEMPLATE.0.map(point)));
        Face { bbox: BBox::from_corner(left, top, 9.0, 9.0), landmarks, score: 1.0 }
    }

    /// Red grows with x, green with y, each by one per `step` pixels.
    fn ramp(width: usize, height: usize, step: usize) -> Image {
        let pixel = |x: usize, y: usize| [(x / step) as u8, (y / step) as u8, 0];
        let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
        Image { width, height, channels: 3, data }
    }

    #[test]
    fn a_shift_by_whole_pixels_copies_pixels() {
        let crop = cut(&ramp(250, 250, 1), &face(1.0, 30.0, 50.0)).unwrap();
        assert_eq!(crop.rgb[..3], [30, 50, 0]);
        assert_eq!(crop.rgb[(100 * SIDE + 20) * 3..][..3], [50, 150, 0]);
        assert!(
            crop.transform.iter().zip([1.0, 0.0, -30.0, 0.0, 1.0, -50.0]).all(|(a, b)| (a - b).abs() < 1e-4)
        );
    }

    #[test]
    fn a_large_face_is_shrunk_in_place() {
        let crop = cut(&ramp(1000, 1000, 4), &face(4.0, 200.0, 100.0)).unwrap();
        for (x, y) in [(0, 0), (50, 70), (159, 159)] {
            let found = &crop.rgb[(y * SIDE + x) * 3..][..2];
            assert!(
                found[0].abs_diff(x as u8 + 50) <= 1 && found[1].abs_diff(y as u8 + 25) <= 1,
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_face_beyond_the_frame_repeats_its_border() {
        let crop = cut(&ramp(200, 200, 1), &face(6.0, -900.0, 150.0)).unwrap();
        assert_eq!(crop.rgb.len(), SIDE * SIDE * 3);
    }

    #[test]
    fn coinciding_points_give_no_crop() {
        let mut face = face(1.0, 0.0, 0.0);
        face.landmarks = Some(Landmarks::new([(5.0, 5.0); 5]));
        assert_eq!(cut(&ramp(200, 200, 1), &face), None);
    }
}
