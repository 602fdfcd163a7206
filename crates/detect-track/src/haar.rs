//! Haar cascades: a face detector of 2001 that needs no weights.
//!
//! Source: Viola, Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features", CVPR
//! 2001; Lienhart, Maydt, "An Extended Set of Haar-like Features for Rapid Object Detection", ICIP
//! 2002. The cascades are OpenCV's, `frontalface_alt2` (Lienhart) and `profileface` (Bradley), which
//! Debian's package `opencv-data` installs. `profileface` detects faces that look to one side; for the
//! other side, the detector searches the mirrored picture.
//!
//! A cascade returns square windows, each with a weight: the sum of the cascade's last stage. The window gives
//! the box of a face, and the weight gives the score, by constants measured on 1630 windows of two labelled
//! clips of talking heads. The box has the median place and size of the label in the window. The score is that
//! of Platt, a logistic regression on the weight: the probability that the window shows a face, if half of all
//! windows did. Of correct frontal windows, 92 % score at least
//! 0.5 and 87 % at least 0.8, of false ones none; of correct profile windows 74 % and 34 %, of false ones
//! 18 % and 5 %.

use std::path::{Path, PathBuf};

use geometry::BBox;
use opencv::core::{self, Mat, Rect as Window, Size, Vector};
use opencv::imgproc;
use opencv::objdetect::CascadeClassifier;
use opencv::prelude::{CascadeClassifierTrait as _, CascadeClassifierTraitConst as _};
use run::manifest::Input;
use video::Image;

use crate::Error;
use crate::cv;
use crate::detector::Detector;
use crate::face::Face;

/// Ratio between the sizes of windows of two successive searches.
const SCALE_STEP: f64 = 1.2;
/// Number of other windows that must be found near a window. One is enough, because the score removes most false
/// windows.
const MIN_NEIGHBOURS: i32 = 1;
/// Size of a face that fills the smallest window of both cascades, 20 × 20 pixels.
const SMALLEST_PX: f64 = 18.5;

/// A cascade, and the constants by which its windows become faces.
#[derive(Debug)]
struct Cascade {
    file: &'static str,
    /// Offset from the centre of the window to that of the face, as shares of the window's side.
    shift: (f32, f32),
    /// Width and height of the face, as shares of the window's side.
    size: (f32, f32),
    /// Weight of a window that scores 0.5.
    middle: f64,
    /// Steepness of the score at that weight.
    slope: f64,
}

const FRONTAL: Cascade = Cascade {
    file: "haarcascade_frontalface_alt2.xml",
    shift: (0.0, 0.04),
    size: (0.8, 1.065),
    middle: 55.33,
    slope: 5.28,
};

const PROFILE: Cascade = Cascade {
    file: "haarcascade_profileface.xml",
    shift: (-0.134, 0.05),
    size: (0.79, 1.035),
    middle: 0.78,
    slope: 1.42,
};

impl Cascade {
    fn face(&self, window: Window, weight: f64) -> Face {
        let side = window.width as f32;
        let (x, y) =
            (window.x as f32 + side * (0.5 + self.shift.0), window.y as f32 + side * (0.5 + self.shift.1));
        let bbox = BBox::around((x, y), side * self.size.0, side * self.size.1);
        Face { bbox, landmarks: None, score: self.score(weight) }
    }

    /// Score of a window of that weight, 0 to 1.
    fn score(&self, weight: f64) -> f32 {
        (1.0 / (1.0 + (self.slope * (self.middle - weight)).exp())) as f32
    }
}

/// The files of the cascades.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    inputs: [Input; 2],
}

impl Files {
    /// Finds and hashes the files in a folder.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn find(folder: &Path) -> Result<Self, Error> {
        let input = |name: &str, cascade: &Cascade| {
            let path = folder.join(cascade.file);
            match std::fs::read(&path) {
                Ok(content) => Ok(Input { name: name.into(), sha256: hash::bytes(&content) }),
                Err(e) => Err(Error::Cascade { path, reason: e.to_string() }),
            }
        };
        let inputs = [input("frontal cascade", &FRONTAL)?, input("profile cascade", &PROFILE)?];
        Ok(Self { folder: folder.to_path_buf(), inputs })
    }

    /// Names and hashes for the manifest.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    fn load(&self, cascade: &Cascade) -> Result<CascadeClassifier, Error> {
        let path = self.folder.join(cascade.file);
        // OpenCV's own message is about its internals and several lines long.
        let classifier = CascadeClassifier::new(&path).ok().filter(|c| matches!(c.empty(), Ok(false)));
        classifier.ok_or_else(|| Error::Cascade { path, reason: "the file is not a Haar cascade".into() })
    }
}

/// Detects faces by Haar cascades.
pub struct HaarDetector {
    frontal: CascadeClassifier,
    profile: CascadeClassifier,
    min_score: f32,
}

impl HaarDetector {
    /// Loads the cascades; faces that score less than `min_score`, 0 to 1, are dropped.
    ///
    /// # Errors
    /// When a file is not a cascade.
    pub fn new(files: &Files, min_score: f32) -> Result<Self, Error> {
        Ok(Self { frontal: files.load(&FRONTAL)?, profile: files.load(&PROFILE)?, min_score })
    }

    fn search(&mut self, picture: &Image) -> opencv::Result<Vec<Face>> {
        cv::use_one_thread()?;
        let width = picture.width as f32;
        let (mut luma, mut mirrored) = (Mat::default(), Mat::default());
        imgproc::cvt_color_def(&cv::rgb(picture)?, &mut luma, imgproc::COLOR_RGB2GRAY)?;
        core::flip(&luma, &mut mirrored, 1)?;
        let mut faces = windows(&mut self.frontal, &FRONTAL, &luma)?;
        faces.extend(windows(&mut self.profile, &PROFILE, &luma)?);
        let others = windows(&mut self.profile, &PROFILE, &mirrored)?;
        faces.extend(others.into_iter().map(|face| Face { bbox: face.bbox.mirrored(width), ..face }));
        faces.retain(|face| face.score >= self.min_score);
        Ok(faces)
    }
}

impl Detector for HaarDetector {
    fn smallest_px(&self) -> f64 {
        SMALLEST_PX
    }

    fn detect(&mut self, picture: &Image) -> Result<Vec<Face>, String> {
        self.search(picture).map_err(|e| e.message)
    }
}

fn windows(classifier: &mut CascadeClassifier, cascade: &Cascade, luma: &Mat) -> opencv::Result<Vec<Face>> {
    let (mut windows, mut levels, mut weights) = (Vector::new(), Vector::new(), Vector::new());
    let any = Size::default();
    classifier.detect_multi_scale3(
        luma,
        &mut windows,
        &mut levels,
        &mut weights,
        SCALE_STEP,
        MIN_NEIGHBOURS,
        0,
        any,
        any,
        true,
    )?;
    Ok(windows.iter().zip(&weights).map(|(window, weight)| cascade.face(window, weight)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A heavier window never scores less, and scores are shares.
        #[test]
        fn scores_grow_with_the_weight(a in -100.0..200.0_f64, b in -100.0..200.0_f64) {
            for cascade in [&FRONTAL, &PROFILE] {
                let (low, high) = (cascade.score(a.min(b)), cascade.score(a.max(b)));
                prop_assert!(0.0 <= low && low <= high && high <= 1.0, "{low} {high}");
            }
        }
    }

    #[test]
    fn the_middle_weight_is_an_even_chance() {
        assert_eq!(FRONTAL.score(FRONTAL.middle), 0.5);
        assert!(FRONTAL.score(FRONTAL.middle + 0.3) > 0.8);
    }

    #[test]
    fn a_profile_lies_on_the_side_it_looks_to() {
        let window = Window::new(100, 50, 40, 40);
        let face = PROFILE.face(window, 2.0);
        assert!(face.bbox.centre().0 < 120.0 && face.bbox.centre().1 > 70.0, "{face:?}");
        let (x, y) = face.bbox.mirrored(640.0).centre();
        assert_eq!((x, y), (640.0 - face.bbox.centre().0, face.bbox.centre().1));
        assert_eq!(face.landmarks, None);
    }

    #[test]
    fn an_error_names_a_missing_cascade() {
        let error = Files::find(Path::new("no/such/folder")).map_err(|e| e.to_string()).err();
        let expected = "failed to load the cascade `no/such/folder/haarcascade_frontalface_alt2.xml`: \
                        No such file or directory (os error 2)";
        assert_eq!(error.as_deref(), Some(expected));
    }
}
