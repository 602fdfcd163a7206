//! Aligned face images: cut from the full-resolution frame, measured, and the best few kept.

use geometry::{Landmarks, Point};
use opencv::core::{self, BORDER_REPLICATE, CV_64F, Mat, Scalar, Size};
use opencv::imgproc;
use opencv::prelude::{MatTraitConst as _, MatTraitConstManual as _};
use video::{Image, Region};

use crate::cv::{self, int};
use crate::face::Face;
use crate::tracker::{self, Appearance};

/// Side of a crop, pixels.
pub const SIDE: usize = 160;

/// Where the five points come to lie in a crop: the 112-pixel template that ArcFace and SFace were
/// trained on (Deng et al., CVPR 2019; the numbers as in insightface and OpenCV), with a margin of
/// 24 pixels around, so that the middle 112×112 pixels are exactly what those networks expect.
pub const TEMPLATE: Landmarks = Landmarks::new([
    (38.2946 + MARGIN, 51.6963 + MARGIN),
    (73.5318 + MARGIN, 51.5014 + MARGIN),
    (56.0252 + MARGIN, 71.7366 + MARGIN),
    (41.5493 + MARGIN, 92.3655 + MARGIN),
    (70.7299 + MARGIN, 92.2041 + MARGIN),
]);
const MARGIN: f32 = 24.0;

/// Variance of the Laplacian at which a crop counts as half sharp; about that of a well-lit
/// face 60 pixels wide.
const HALF_SHARP: f64 = 100.0;
/// Face size at which size counts as half good, pixels.
const HALF_SIZE: f32 = 40.0;

/// An aligned face image.
#[derive(Debug, Clone, PartialEq)]
pub struct FaceImage {
    /// RGB, [`SIDE`] × [`SIDE`] pixels.
    pub rgb: Vec<u8>,
    /// Affine map from frame to crop, row by row, corner-origin pixels.
    pub transform: [f32; 6],
    /// Contrast of fine detail, 0 to 1.
    pub sharpness: f32,
    /// Quality, 0 to 1.
    pub quality: f32,
    /// What the face looks like, for the tracker.
    pub appearance: Appearance,
}

/// How a face is brought into a crop, and what of the frame that takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Affine map from frame to crop, row by row, corner-origin pixels.
    transform: [f32; 6],
    /// The part of the frame that the crop shows.
    pub region: Region,
}

impl Cut {
    /// For a face in a frame of `width × height` pixels; `None` when the five points coincide.
    pub fn new(face: &Face, width: usize, height: usize) -> Option<Self> {
        let transform = similarity(&face.likely_landmarks(), &TEMPLATE)?;
        Some(Self { transform, region: source_region(&transform, width, height) })
    }

    /// The aligned image of `face`; `picture` is the region of the frame, RGB.
    ///
    /// # Errors
    /// OpenCV's words.
    pub fn take(&self, picture: &Image, face: &Face) -> Result<FaceImage, String> {
        let Self { transform, region } = *self;
        let warped = warp(picture, &transform, region).map_err(|e| e.message)?;
        let sharpness = sharpness(&warped).map_err(|e| e.message)?;
        let rgb = warped.data_bytes().map_err(|e| e.message)?.to_vec();
        let quality = face.score * face.bbox.size() / (face.bbox.size() + HALF_SIZE)
            * sharpness
            * face.landmarks.map_or(1.0, |landmarks| landmarks.frontality());
        let appearance = appearance(&rgb);
        Ok(FaceImage { rgb, transform, sharpness, quality, appearance })
    }
}

/// Cells along a side of an [`Appearance`].
const CELLS: usize = 12;
/// Pixels along a side of a cell.
const CELL_PX: usize = 10;

/// The middle of a crop in coarse cells of green (close to luma), brought to mean 0 and norm 1.
fn appearance(rgb: &[u8]) -> Appearance {
    let margin = (SIDE - CELLS * CELL_PX) / 2;
    let mut cells = vec![0.0_f32; CELLS * CELLS];
    for (y, row) in rgb.chunks_exact(SIDE * 3).skip(margin).take(CELLS * CELL_PX).enumerate() {
        for (x, pixel) in row.chunks_exact(3).skip(margin).take(CELLS * CELL_PX).enumerate() {
            cells[y / CELL_PX * CELLS + x / CELL_PX] += f32::from(pixel[1]);
        }
    }
    let mean = cells.iter().sum::<f32>() / cells.len() as f32;
    cells.iter_mut().for_each(|cell| *cell -= mean);
    let norm = cells.iter().map(|cell| cell * cell).sum::<f32>().sqrt().max(1.0);
    cells.iter_mut().for_each(|cell| *cell /= norm);
    cells
}

fn warp(picture: &Image, transform: &[f32; 6], region: Region) -> opencv::Result<Mat> {
    let source = cv::rgb(picture)?;
    let (left, top) = (region.x as f32, region.y as f32);
    let scale = transform[0].hypot(transform[3]);
    if scale >= 0.5 {
        return warp_with(&source, &from_part(transform, (left, top), (1.0, 1.0)));
    }
    // Bilinear sampling would skip pixels of so large a face: shrink it first.
    let width = (picture.width as f32 * scale).round().max(1.0);
    let height = (picture.height as f32 * scale).round().max(1.0);
    let mut small = Mat::default();
    let size = Size::new(width as i32, height as i32);
    imgproc::resize(&source, &mut small, size, 0.0, 0.0, imgproc::INTER_AREA)?;
    let shrunk = (picture.width as f32 / width, picture.height as f32 / height);
    warp_with(&small, &from_part(transform, (left, top), shrunk))
}

/// The map from a part of the frame that begins at (left, top) and is shrunk by (across, down).
fn from_part(transform: &[f32; 6], (left, top): (f32, f32), (across, down): (f32, f32)) -> [f32; 6] {
    let [a, b, c, d, e, f] = *transform;
    [a * across, b * down, a * left + b * top + c, d * across, e * down, d * left + e * top + f]
}

fn warp_with(source: &impl core::ToInputArray, transform: &[f32; 6]) -> opencv::Result<Mat> {
    // OpenCV counts from pixel centres, the contract from the image corner: half a pixel apart.
    let [a, b, c, d, e, f] = transform.map(f64::from);
    let rows = [[a, b, c + 0.5 * (a + b) - 0.5], [d, e, f + 0.5 * (d + e) - 0.5]];
    let matrix = Mat::from_slice_2d(&rows)?;
    let mut warped = Mat::default();
    let size = Size::new(int(SIDE), int(SIDE));
    imgproc::warp_affine(
        source,
        &mut warped,
        &matrix,
        size,
        imgproc::INTER_LINEAR,
        BORDER_REPLICATE,
        Scalar::default(),
    )?;
    Ok(warped)
}

/// The part of the frame that a crop shows, with a few pixels around it.
fn source_region(transform: &[f32; 6], width: usize, height: usize) -> Region {
    const AROUND: f32 = 8.0;
    let [a, b, c, d, e, f] = *transform;
    let determinant = a * e - b * d;
    let source = |(x, y): (f32, f32)| {
        let (x, y) = (x - c, y - f);
        ((e * x - b * y) / determinant, (a * y - d * x) / determinant)
    };
    let side = SIDE as f32;
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

/// Variance of the Laplacian of the luma (Pech-Pacheco et al., ICPR 2000), brought to 0..1.
fn sharpness(rgb: &Mat) -> opencv::Result<f32> {
    let mut luma = Mat::default();
    imgproc::cvt_color_def(rgb, &mut luma, imgproc::COLOR_RGB2GRAY)?;
    let mut detail = Mat::default();
    imgproc::laplacian_def(&luma, &mut detail, CV_64F)?;
    let (mut mean, mut deviation) = (Mat::default(), Mat::default());
    core::mean_std_dev_def(&detail, &mut mean, &mut deviation)?;
    let variance = deviation.at::<f64>(0)?.powi(2);
    Ok((variance / (variance + HALF_SHARP)) as f32)
}

/// Rotation, scale and shift that bring `from` closest to `to` in the least-squares sense
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

/// Likeness from which a further image of a face tells nothing new.
const SAME_LOOKS: f32 = 0.95;
/// Images that are kept of a track even if they look the same.
const FEWEST: usize = 3;

/// Keeps the best image of every stretch of a track. Stretches double in length whenever there are
/// too many of them, so memory is bounded however long the track, and the choice is spread over it.
#[derive(Debug)]
pub struct Album {
    capacity: usize,
    stretch: usize,
    seen: usize,
    /// Best of each stretch: number of the stretch, frame, image.
    best: Vec<(usize, i64, FaceImage)>,
}

impl Album {
    /// An album that yields at most `capacity` images and holds at most twice as many.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), stretch: 1, seen: 0, best: Vec::new() }
    }

    /// Offers the next image of the track.
    pub fn offer(&mut self, frame_idx: i64, image: FaceImage) {
        let number = self.seen / self.stretch;
        self.seen += 1;
        self.keep_better((number, frame_idx, image));
        if self.best.len() > 2 * self.capacity {
            self.stretch *= 2;
            for (number, frame_idx, image) in std::mem::take(&mut self.best) {
                self.keep_better((number / 2, frame_idx, image));
            }
        }
    }

    fn keep_better(&mut self, offered: (usize, i64, FaceImage)) {
        match self.best.last_mut() {
            Some(held) if held.0 == offered.0 => {
                if offered.2.quality > held.2.quality {
                    *held = offered;
                }
            }
            _ => self.best.push(offered),
        }
    }

    /// The best image, then those that are good and unlike the ones before them: a second picture of
    /// the same pose and light tells little. Ties go to the earlier frame.
    pub fn finish(mut self) -> Vec<(i64, FaceImage)> {
        let mut chosen: Vec<(i64, FaceImage)> = Vec::new();
        while chosen.len() < self.capacity && !self.best.is_empty() {
            let worth = |image: &FaceImage| {
                let closest = chosen
                    .iter()
                    .map(|(_, held)| tracker::similarity(&held.appearance, &image.appearance))
                    .fold(0.0, f32::max);
                image.quality * (1.0 - closest)
            };
            let worths: Vec<f32> = self.best.iter().map(|(.., image)| worth(image)).collect();
            let best =
                worths.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
            let (_, frame_idx, image) = self.best.remove(best);
            let is_new = |held: &(i64, FaceImage)| {
                tracker::similarity(&held.1.appearance, &image.appearance) <= SAME_LOOKS
            };
            if chosen.len() < FEWEST || chosen.iter().all(is_new) {
                chosen.push((frame_idx, image));
            }
        }
        chosen
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use geometry::BBox;

    use super::*;

    fn image(quality: f32) -> FaceImage {
        FaceImage { rgb: Vec::new(), transform: [0.0; 6], sharpness: 0.0, quality, appearance: Vec::new() }
    }

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

    /// The crop of a face in a whole frame.
    fn cut(frame: &Image, face: &Face) -> Option<FaceImage> {
        let cut = Cut::new(face, frame.width, frame.height)?;
        let Region { x, y, width, height } = cut.region;
        let rows = frame.data.chunks_exact(frame.width * 3).skip(y).take(height);
        let data = rows.flat_map(|row| &row[3 * x..3 * (x + width)]).copied().collect();
        Some(cut.take(&Image { width, height, channels: 3, data }, face).unwrap())
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

    #[test]
    fn an_album_is_bounded_and_spread() {
        let mut album = Album::new(4);
        for i in 0..1000_u16 {
            album.offer(i.into(), image(f32::from(i % 7)));
            assert!(album.best.len() <= 8);
        }
        let mut frames: Vec<_> = album.finish().into_iter().map(|(frame, _)| frame).collect();
        assert_eq!(frames.len(), 4);
        frames.sort();
        assert!(frames.windows(2).all(|pair| pair[1] - pair[0] > 50), "{frames:?}");
    }

    #[test]
    fn an_album_yields_the_best_first() {
        let mut album = Album::new(2);
        [0.1, 0.9, 0.5].into_iter().enumerate().for_each(|(i, q)| album.offer(i as i64, image(q)));
        let qualities: Vec<_> = album.finish().into_iter().map(|(_, image)| image.quality).collect();
        assert_eq!(qualities, [0.9, 0.5]);
    }
}
