//! SIFT and ORB: key points of a crop and what is around them, by OpenCV.
//!
//! Sources: Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004; Rublee,
//! Rabaud, Konolige and Bradski, "ORB: An efficient alternative to SIFT or SURF", ICCV 2011.
//! Both are OpenCV's, Apache-2.0; the patent on SIFT expired in 2020.
//! Input: a crop as `detect-track` aligns it, RGB, made grey.

use std::sync::OnceLock;

use opencv::core::{self, CV_8U, Mat, Vec3b, Vector};
use opencv::features2d::{ORB, ORB_ScoreType, SIFT};
use opencv::imgproc;
use opencv::prelude::{Feature2DTrait as _, MatTraitConst as _, MatTraitConstManual as _};

use crate::bow::Descriptors;

/// Key points of a crop at most, the clearest ones and their equals: bounds memory.
const MAX_POINTS: i32 = 300;

/// What describes the key points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Histograms of gradients, 128 values of 0 to 255.
    Sift,
    /// Comparisons of pixels, 256 values of 0 or 1, so that squared Euclidean distances are Hamming's.
    Orb,
}

/// Why a crop cannot be described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a square RGB picture of that side.
    #[error("has {len} bytes, an RGB picture of {side}×{side} pixels has three a pixel")]
    Size {
        /// Bytes given.
        len: usize,
        /// Side, pixels.
        side: usize,
    },
    /// What OpenCV gave are no descriptors of that kind.
    #[error("OpenCV gave {len} bytes, which are no whole descriptors")]
    Rows {
        /// Bytes given.
        len: usize,
    },
    /// OpenCV failed.
    #[error("OpenCV: {}", .0.message)]
    OpenCv(#[from] opencv::Error),
}

impl Kind {
    /// Values in a row.
    pub fn dim(self) -> usize {
        match self {
            Self::Sift => 128,
            Self::Orb => 256,
        }
    }
}

/// Descriptors of a crop's key points: RGB, `side × side` pixels. A crop without detail has none.
///
/// # Errors
/// The bytes are no such picture, or OpenCV's own.
pub fn describe(kind: Kind, rgb: &[u8], side: usize) -> Result<Descriptors, Error> {
    let wrong_size = || Error::Size { len: rgb.len(), side };
    let rows = i32::try_from(side).ok().filter(|side| *side > 0).ok_or_else(wrong_size)?;
    if side.checked_pow(2).and_then(|pixels| pixels.checked_mul(3)) != Some(rgb.len()) {
        return Err(wrong_size());
    }
    keep_opencv_single_threaded()?;
    let mut luma = Mat::default();
    let rgb = Mat::new_rows_cols_with_bytes::<Vec3b>(rows, rows, rgb)?;
    imgproc::cvt_color_def(&rgb, &mut luma, imgproc::COLOR_RGB2GRAY)?;
    let found = detect(kind, &luma)?;
    let bytes = if found.empty() { &[] } else { found.data_bytes()? };
    let values = match kind {
        Kind::Sift => bytes.to_vec(),
        Kind::Orb => bits(bytes),
    };
    Descriptors::new(kind.dim(), values).ok_or(Error::Rows { len: bytes.len() })
}

/// Thresholds are lower than OpenCV's, made for photos of large things: a crop enlarged from a small
/// face has little contrast, and with OpenCV's own thresholds up to a third of a clip's have no ORB.
fn detect(kind: Kind, luma: &Mat) -> opencv::Result<Mat> {
    let (mut points, mut rows) = (Vector::new(), Mat::default());
    match kind {
        Kind::Sift => SIFT::create_with_descriptor_type(MAX_POINTS, 3, 0.005, 10.0, 1.6, CV_8U)?
            .detect_and_compute_def(luma, &core::no_array(), &mut points, &mut rows)?,
        // Smaller patches than the default's 31 pixels, nearer to the edge: a face is no larger than 112.
        Kind::Orb => ORB::create(MAX_POINTS, 1.2, 8, 10, 0, 2, ORB_ScoreType::HARRIS_SCORE, 20, 2)?
            .detect_and_compute_def(luma, &core::no_array(), &mut points, &mut rows)?,
    }
    Ok(rows)
}

/// Workers are threads enough.
fn keep_opencv_single_threaded() -> opencv::Result<()> {
    static KEPT: OnceLock<Result<(), (i32, String)>> = OnceLock::new();
    let kept = KEPT.get_or_init(|| core::set_num_threads(1).map_err(|e| (e.code, e.message)));
    kept.clone().map_err(|(code, message)| opencv::Error::new(code, message))
}

/// Bits as 0 or 1, lowest first.
fn bits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| (0..u8::BITS).map(move |bit| byte >> bit & 1)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    const SIDE: usize = 160;

    /// A grey disc of a given strength on grey.
    fn disc(strength: u8) -> Vec<u8> {
        let inside = |i: usize| (i % SIDE).abs_diff(80).pow(2) + (i / SIDE).abs_diff(80).pow(2) < 400;
        (0..SIDE * SIDE).flat_map(|i| [100 + if inside(i) { strength } else { 0 }; 3]).collect()
    }

    #[test]
    fn faint_detail_is_enough_and_none_is_none() {
        for kind in [Kind::Sift, Kind::Orb] {
            let faint = describe(kind, &disc(10), SIDE).unwrap();
            assert!(faint.rows().all(|row| row.len() == kind.dim()));
            assert!(faint.rows().len() > 0, "{kind:?}");
            assert_eq!(describe(kind, &disc(0), SIDE).unwrap().rows().len(), 0, "{kind:?}");
        }
    }

    #[test]
    fn a_picture_too_small_for_opencv_is_an_error() {
        assert!(matches!(describe(Kind::Orb, &[7; 3], 1), Err(Error::OpenCv(_))));
    }

    #[test]
    fn a_picture_of_another_size_is_refused() {
        let refused = |len: usize, side| describe(Kind::Orb, &vec![0; len], side).unwrap_err().to_string();
        assert_eq!(refused(12, 3), "has 12 bytes, an RGB picture of 3×3 pixels has three a pixel");
        assert!(matches!(describe(Kind::Sift, &[], 0), Err(Error::Size { len: 0, side: 0 })));
        assert!(matches!(describe(Kind::Sift, &[], usize::MAX), Err(Error::Size { .. })));
    }

    #[test]
    fn bits_come_lowest_first() {
        assert_eq!(bits(&[0b1000_0001, 2]), [1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
}
