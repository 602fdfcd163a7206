//! SIFT and ORB: the key points of a crop and descriptors of their surroundings.
//!
//! Sources: Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004; Rublee,
//! Rabaud, Konolige and Bradski, "ORB: An efficient alternative to SIFT or SURF", ICCV 2011.
//! Both are OpenCV's, Apache-2.0, and need the feature `opencv`; the patent on SIFT expired in 2020.
//! Input: a crop as `detect-track` aligns it, RGB, converted to grey.

#[cfg(feature = "opencv")]
mod keypoints;

#[cfg(feature = "opencv")]
use self::keypoints::descriptors;
use crate::bow::Descriptors;

/// Method that finds and describes the key points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Histograms of gradients, 128 values of 0 to 255.
    Sift,
    /// Comparisons of pixels, 256 values of 0 or 1, so that the squared Euclidean distance is the Hamming
    /// distance.
    Orb,
}

impl Kind {
    /// Number of values of a descriptor.
    pub fn dim(self) -> usize {
        match self {
            Self::Sift => 128,
            Self::Orb => 256,
        }
    }
}

/// Describes the key points of a crop: RGB, `side × side` pixels. A crop without detail has none.
///
/// # Errors
/// A message about the crop: the bytes are not such a picture, OpenCV fails, or the program was built without OpenCV.
pub fn describe(kind: Kind, rgb: &[u8], side: usize) -> Result<Descriptors, String> {
    let len = rgb.len();
    let wrong_size =
        || format!("has {len} bytes; an RGB image of {side}×{side} pixels needs three bytes per pixel");
    let rows = i32::try_from(side).ok().filter(|side| *side > 0).ok_or_else(wrong_size)?;
    if side.checked_pow(2).and_then(|pixels| pixels.checked_mul(3)) != Some(len) {
        return Err(wrong_size());
    }
    let bytes = descriptors(kind, rgb, rows)?;
    let len = bytes.len();
    let values = match kind {
        Kind::Sift => bytes,
        Kind::Orb => bits(&bytes),
    };
    let wrong_rows = || format!("OpenCV returned {len} bytes, which is not a whole number of descriptors");
    Descriptors::new(kind.dim(), values).ok_or_else(wrong_rows)
}

/// Always fails: the settings that need descriptors are refused before a crop is read.
#[cfg(not(feature = "opencv"))]
fn descriptors(_: Kind, _: &[u8], _: i32) -> Result<Vec<u8>, String> {
    Err("cannot be described without OpenCV".into())
}

/// Bits as 0 or 1, lowest first.
fn bits(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| (0..u8::BITS).map(move |bit| byte >> bit & 1)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// A grey disc of a given strength on grey, 160×160 pixels.
    #[cfg(feature = "opencv")]
    fn disc(strength: u8) -> Vec<u8> {
        let inside = |i: usize| (i % 160).abs_diff(80).pow(2) + (i / 160).abs_diff(80).pow(2) < 400;
        (0..160 * 160).flat_map(|i| [100 + if inside(i) { strength } else { 0 }; 3]).collect()
    }

    #[test]
    #[cfg(feature = "opencv")]
    fn faint_detail_is_enough_and_none_is_none() {
        for kind in [Kind::Sift, Kind::Orb] {
            let faint = describe(kind, &disc(10), 160).unwrap();
            assert!(faint.rows().all(|row| row.len() == kind.dim()));
            assert!(faint.rows().len() > 0, "{kind:?}");
            assert_eq!(describe(kind, &disc(0), 160).unwrap().rows().len(), 0, "{kind:?}");
        }
    }

    #[test]
    #[cfg(feature = "opencv")]
    fn a_picture_too_small_for_opencv_is_an_error() {
        assert!(matches!(describe(Kind::Orb, &[7; 3], 1), Err(message) if message.starts_with("OpenCV: ")));
    }

    #[test]
    #[cfg(not(feature = "opencv"))]
    fn without_opencv_nothing_is_described() {
        let refused = describe(Kind::Orb, &[7; 3], 1).unwrap_err();
        assert_eq!(refused, "cannot be described without OpenCV");
    }

    #[test]
    fn a_picture_of_another_size_is_refused() {
        let refused = |kind, len: usize, side| describe(kind, &vec![0; len], side).unwrap_err();
        let wrong = refused(Kind::Orb, 12, 3);
        assert_eq!(wrong, "has 12 bytes; an RGB image of 3×3 pixels needs three bytes per pixel");
        assert!(refused(Kind::Sift, 0, 0).starts_with("has 0 bytes; an RGB image of 0×0 pixels"));
        assert!(refused(Kind::Sift, 0, usize::MAX).starts_with("has 0 bytes; an RGB image of "));
    }

    #[test]
    fn bits_come_lowest_first() {
        assert_eq!(bits(&[0b1000_0001, 2]), [1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
}
