//! What every face detector offers.

use video::Image;

use crate::geometry::Face;
use crate::yunet::YuNet;

/// Looks for faces in pictures. Every worker thread has one of its own.
pub trait Detector {
    /// Faces in an RGB picture, in its pixels; boxes may still overlap.
    ///
    /// # Errors
    /// Says what went wrong.
    fn detect(&mut self, picture: &Image) -> Result<Vec<Face>, String>;
}

/// Makes a detector for one more thread, or says why not.
pub type NewDetector<'a> = dyn Fn() -> Result<Box<dyn Detector + 'a>, String> + Sync + 'a;

/// YuNet; faces that score less than `min_score` are dropped.
pub struct YuNetDetector<'a> {
    /// The network, shared by all threads.
    pub network: &'a YuNet,
    /// Smallest score, 0 to 1.
    pub min_score: f32,
}

impl Detector for YuNetDetector<'_> {
    fn detect(&mut self, picture: &Image) -> Result<Vec<Face>, String> {
        let Image { width, height, data, .. } = picture;
        self.network.detect(data, *width, *height, self.min_score).map_err(|e| e.to_string())
    }
}
