//! Follows faces from an anchor frame through the frames after it; see [`Follower`].

#[cfg(feature = "opencv")]
mod kcf;

#[cfg(feature = "opencv")]
pub use self::kcf::Follower;
use geometry::BBox;

/// Frame and box of a face in the frames after the one in which it was detected, in order, until the face
/// was lost.
pub type Trajectory = Vec<(i64, BBox)>;

/// Stands in for the correlation filters in a build without OpenCV. There is no value of this type: the
/// settings that need one are refused before a video is opened.
#[cfg(not(feature = "opencv"))]
pub enum Follower {}

#[cfg(not(feature = "opencv"))]
impl Follower {
    /// Always fails.
    ///
    /// # Errors
    /// The program was built without OpenCV.
    pub fn new(_: &video::Image, _: &[BBox]) -> Result<Self, String> {
        Err("correlation filters need OpenCV, which this program was built without".into())
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn step(&mut self, _: i64, _: &video::Image) -> Result<(), String> {
        match *self {}
    }

    /// Cannot be called.
    pub fn finish(self) -> Vec<Trajectory> {
        match self {}
    }
}
