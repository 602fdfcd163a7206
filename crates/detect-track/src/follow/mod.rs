//! Follows faces from an anchor frame through the frames after it; see [`Follower`].

#[cfg(feature = "opencv")]
mod kcf;

#[cfg(feature = "opencv")]
pub use self::kcf::Follower;
use geometry::BBox;

/// Boxes of one face in the frames after its detection, as pairs of `frame_idx` and box, in order of frames,
/// up to the frame in which the tracker loses the face.
pub type Trajectory = Vec<(i64, BBox)>;

/// Placeholder for the correlation filters in a build without OpenCV. The type has no values: `Config::check`
/// refuses the tracker `correlation` before the video is opened.
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
