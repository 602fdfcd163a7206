//! Pictures of the page: face crops as small JPEGs in `data:` URLs.

use std::collections::BTreeMap;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use schema::footer::Picture;
use schema::io::TableReader;
use schema::tables::Crop;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::input::Tables;

/// JPEG quality; below it, small faces smear.
const JPEG_QUALITY: u8 = 82;
/// Longest edge of the picture that stands for a person, pixels.
const PORTRAIT_PX: u32 = 160;

/// Where the face is in a crop, from the forehead to the mouth and from eye to eye, as shares of the width and of the
/// height; the landmarks of `detect_track::crops::TEMPLATE` lie within.
const FACE_PART: [Range<f32>; 2] = [0.35..0.65, 0.35..0.75];
/// Number of sizes and places of squares that are tried along a side of a crop.
const SQUARE_STEPS: u32 = 40;

/// Most characters of pictures on the page. Those that come last, in long lists, are left out: with 2,000 tracks, the page
/// has less than 3 MB.
const MAX_PICTURE_CHARS: usize = 1_200_000;

/// A face as the page may show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    /// Track.
    pub track_id: i64,
    /// Frame.
    pub frame_idx: i64,
    /// Quality, 0 to 1.
    pub quality: f32,
    /// JPEG, at most `thumbnail_px` pixels.
    pub(crate) large: Vec<u8>,
    /// JPEG of half that size.
    pub(crate) small: Vec<u8>,
}

/// Every face that the page may show, by track, the best first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Faces {
    by_track: BTreeMap<i64, Vec<Face>>,
    /// The clearest face of each person, by cluster, with a larger picture.
    portraits: BTreeMap<i64, Face>,
}

impl Faces {
    /// Reads the crops batch by batch and keeps what the page needs: the best of every track, the one with the largest
    /// `quality` of every person, and more of people with few tracks.
    ///
    /// `samples` is the number of pictures per person, `thumbnail_px` the longest edge of the large ones in
    /// pixels. After each batch, `progress` gets the number of rows read and the number of all rows.
    ///
    /// # Errors
    /// When the table breaks the contract, or a picture cannot be decoded.
    pub fn read(
        reader: TableReader<Crop>,
        tables: &Tables,
        samples: usize,
        thumbnail_px: u32,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Self> {
        let tracks_of: BTreeMap<i64, i64> =
            tables.identities.iter().map(|i| (i.cluster_id, i.n_tracks.max(1))).collect();
        // One more than the samples, because the exemplar may be among them.
        let samples = i64::try_from(samples + 1).unwrap_or(i64::MAX);
        // How many of the best faces of each track.
        let ranks: BTreeMap<i64, i64> = (tables.clusters.iter())
            .filter_map(|c| Some((c.track_id, samples / tracks_of.get(&c.cluster_id?)? + 1)))
            .collect();
        let person_of: BTreeMap<i64, i64> =
            tables.clusters.iter().filter_map(|c| Some((c.track_id, c.cluster_id?))).collect();
        let total = reader.row_count();
        let (mut done, mut faces) = (0, Self::default());
        for batch in reader {
            for crop in batch? {
                done += 1;
                let Crop { track_id, frame_idx, quality, rank, .. } = crop;
                let is_wanted = rank < ranks.get(&track_id).copied().unwrap_or(1);
                let person = person_of.get(&track_id).filter(|person| {
                    faces.portraits.get(person).is_none_or(|clearest| quality > clearest.quality)
                });
                let Some(encoded) = crop.image.as_ref().filter(|_| is_wanted || person.is_some()) else {
                    continue;
                };
                let unreadable = |source| Error::Crop { track_id, frame_idx, source };
                let image = shown(&crop, encoded, tables.picture.as_ref()).map_err(unreadable)?;
                let large = jpeg(&image, thumbnail_px).map_err(unreadable)?;
                let small = jpeg(&image, thumbnail_px / 2).map_err(unreadable)?;
                let face = Face { track_id, frame_idx, quality, large, small };
                if let Some(person) = person {
                    let large = jpeg(&image, PORTRAIT_PX.max(thumbnail_px)).map_err(unreadable)?;
                    faces.portraits.insert(*person, Face { large, ..face.clone() });
                }
                if is_wanted {
                    faces.by_track.entry(track_id).or_default().push(face);
                }
            }
            progress(done, total);
        }
        Ok(faces)
    }

    /// The best face of a track.
    pub fn best(&self, track_id: i64) -> Option<&Face> {
        self.of(track_id).first()
    }

    /// The clearest face of a person, whose large picture is larger than that of other faces.
    pub fn portrait(&self, cluster_id: i64) -> Option<&Face> {
        self.portraits.get(&cluster_id)
    }

    /// Up to `limit` faces of `tracks`, in their order: one of each of some tracks evenly spread over
    /// them, or of every track several.
    pub fn sample(&self, tracks: &[i64], limit: usize) -> Vec<&Face> {
        let shown: Vec<&[Face]> = tracks.iter().map(|id| self.of(*id)).filter(|f| !f.is_empty()).collect();
        if shown.len() >= limit {
            return (0..limit).map(|i| &shown[i * shown.len() / limit][0]).collect();
        }
        let mut places: Vec<(usize, usize)> = shown
            .iter()
            .enumerate()
            .flat_map(|(t, faces)| (0..faces.len()).map(move |rank| (rank, t)))
            .collect();
        places.sort_unstable();
        places.truncate(limit);
        let mut faces: Vec<&Face> = places.iter().map(|&(rank, t)| &shown[t][rank]).collect();
        faces.sort_by_key(|face| face.frame_idx);
        faces
    }

    fn of(&self, track_id: i64) -> &[Face] {
        self.by_track.get(&track_id).map_or(&[], Vec::as_slice)
    }
}

/// Returns the picture `encoded` of a crop as pages show it: without bars and what is beyond the frame, where `picture`, the
/// part of the frame without bars, is known.
pub(crate) fn shown(
    crop: &Crop,
    encoded: &[u8],
    picture: Option<&Picture>,
) -> image::ImageResult<DynamicImage> {
    let image = picture::decode(encoded, crop.width, crop.height)?;
    let is_whole = (i64::from(image.width()), i64::from(image.height())) == (crop.width, crop.height);
    let part = picture.filter(|_| is_whole).and_then(|picture| within(crop, picture));
    Ok(match part {
        Some((x, y, side)) => image.crop_imm(x, y, side, side),
        None => image,
    })
}

/// Returns the largest square of a square crop that shows no bars and nothing beyond the frame, as its left upper corner
/// and its side in pixels; `None` if every such square cuts off the face between forehead and mouth.
fn within(crop: &Crop, picture: &Picture) -> Option<(u32, u32, u32)> {
    let (across, down) =
        (picture.x_min as f32..=picture.x_max as f32, picture.y_min as f32..=picture.y_max as f32);
    let [a, b, c, d, e, f] = crop.transform;
    let determinant = a * e - b * d;
    let is_shown = |(x, y): (u32, u32)| {
        let (x, y) = (x as f32 - c, y as f32 - f);
        let (x, y) = ((e * x - b * y) / determinant, (a * y - d * x) / determinant);
        across.contains(&x) && down.contains(&y)
    };
    let whole = u32::try_from(crop.width).ok().filter(|_| crop.width == crop.height)?;
    let step = (whole / SQUARE_STEPS).max(1);
    let [face_across, face_down] =
        FACE_PART.map(|part| (whole as f32 * part.start) as u32..(whole as f32 * part.end) as u32);
    // Where a square may begin so that it shows the face.
    let starts = |side: u32, face: &Range<u32>| {
        (face.end.saturating_sub(side)..=face.start.min(whole - side)).step_by(step as usize)
    };
    (1..=whole).rev().step_by(step as usize).find_map(|side| {
        let middle = (whole - side) / 2;
        let squares = starts(side, &face_across)
            .flat_map(|x| starts(side, &face_down).map(move |y| (x, y)))
            .filter(|(x, y)| {
                [(0, 0), (side, 0), (0, side), (side, side)].iter().all(|c| is_shown((x + c.0, y + c.1)))
            });
        let (x, y) = squares.min_by_key(|(x, y)| x.abs_diff(middle).pow(2) + y.abs_diff(middle).pow(2))?;
        Some((x, y, side))
    })
}

/// The image as JPEG, no edge longer than `px`.
pub(crate) fn jpeg(image: &DynamicImage, px: u32) -> image::ImageResult<Vec<u8>> {
    let large = image.width().max(image.height()) > px;
    let rgb = if large { image.resize(px, px, FilterType::CatmullRom).to_rgb8() } else { image.to_rgb8() };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(&rgb)?;
    Ok(bytes)
}

/// Limits the size of all pictures on the page, and counts the pictures left out. A picture has a `data:`
/// address and a text in its place.
#[derive(Debug)]
pub(crate) struct ThumbnailBudget {
    chars_left: usize,
    pub(crate) left_out: usize,
}

impl Default for ThumbnailBudget {
    /// The whole budget.
    fn default() -> Self {
        Self { chars_left: MAX_PICTURE_CHARS, left_out: 0 }
    }
}

impl ThumbnailBudget {
    /// A picture of a face; `None` when the budget is spent.
    pub(crate) fn picture(&mut self, jpeg: &[u8], alt: String) -> Option<Value> {
        let src = format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg));
        let Some(left) = self.chars_left.checked_sub(src.len()) else {
            self.left_out += 1;
            return None;
        };
        self.chars_left = left;
        Some(json!({ "src": src, "alt": alt }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(track_id: i64, frame_idx: i64) -> Face {
        Face { track_id, frame_idx, quality: 0.5, large: vec![0; 3000], small: vec![0; 300] }
    }

    fn faces(counts: &[usize]) -> Faces {
        let by_track = (0..).zip(counts).map(|(track, n)| {
            (track, (0..).take(*n).map(|rank| face(track, 100 * track + rank)).collect::<Vec<_>>())
        });
        Faces { by_track: by_track.collect(), ..Faces::default() }
    }

    fn frames(sample: &[&Face]) -> Vec<i64> {
        sample.iter().map(|face| face.frame_idx).collect()
    }

    #[test]
    fn samples_spread_over_many_tracks_and_fill_up_from_few() {
        let many = faces(&[1; 10]);
        let tracks: Vec<i64> = (0..10).collect();
        assert_eq!(frames(&many.sample(&tracks, 5)), [0, 200, 400, 600, 800]);
        let few = faces(&[3, 1]);
        assert_eq!(frames(&few.sample(&[0, 1], 3)), [0, 1, 100]);
        assert_eq!(frames(&few.sample(&[0, 1, 7], 9)), [0, 1, 2, 100]);
        assert_eq!(frames(&few.sample(&[], 9)), [] as [i64; 0]);
    }

    #[test]
    fn a_face_at_the_border_is_shown_without_what_lies_beyond_the_picture() {
        let picture =
            |y_min: i64, x_max: i64| Picture { x_min: 0, y_min, x_max, y_max: 400, turn_degrees: 0 };
        // The crop has half the scale of the frame, and its left upper corner is the pixel (100, 40).
        let mut crop = Crop {
            video_id: "v".into(),
            track_id: 0,
            rank: 0,
            frame_idx: 0,
            image: None,
            width: 160,
            height: 160,
            transform: [0.5, 0.0, -50.0, 0.0, 0.5, -20.0],
            quality: 0.5,
        };
        assert_eq!(within(&crop, &picture(0, 640)), Some((0, 0, 160)));
        // A bar of 16 pixels at the top of the crop.
        assert_eq!(within(&crop, &picture(72, 640)), Some((8, 16, 144)));
        // A bar of 16 pixels on the right, too.
        assert_eq!(within(&crop, &picture(72, 388)), Some((0, 16, 144)));
        assert_eq!(within(&crop, &picture(180, 640)), None, "the eyes are in the bar");
        // A mirrored crop, and one that is turned by a quarter.
        crop.transform = [-0.5, 0.0, 210.0, 0.0, 0.5, -20.0];
        assert_eq!(within(&crop, &picture(72, 388)), Some((16, 16, 144)));
        crop.transform = [0.0, -0.5, 180.0, 0.5, 0.0, -50.0];
        assert_eq!(within(&crop, &picture(72, 640)), Some((0, 8, 144)));
        crop.transform = [0.0; 6];
        assert_eq!(within(&crop, &picture(0, 640)), None);
    }

    #[test]
    fn no_picture_exceeds_the_budget() {
        let mut thumbnails = ThumbnailBudget { chars_left: 5000, left_out: 0 };
        let face = face(0, 0);
        assert!(thumbnails.picture(&face.large, String::new()).is_some());
        assert!(thumbnails.picture(&face.large, String::new()).is_none());
        assert!(thumbnails.picture(&face.small, String::new()).is_some());
        assert_eq!(thumbnails.left_out, 1);
    }
}
