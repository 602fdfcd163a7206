//! Boxes, facial landmarks, spans of frames, frame times and the main people.
//!
//! * [`BBox`]: an axis-aligned box, in `f32` where pictures are processed and in `f64` where results are
//!   evaluated; [`BBox::iou`] is the one intersection over union of the workspace.
//! * [`Landmarks`]: the five points of a face.
//! * [`Span`], [`union`]: stretches of frames.
//! * [`main_cast`]: which people count as main.
//! * [`FrameTimes`]: when each frame of a video is shown, and for how long a span is.
//!
//! Plain numbers only: the crate imports nothing.

mod bbox;
mod cast;
mod landmarks;
mod times;

pub use crate::bbox::{BBox, Coordinate};
pub use crate::cast::{MAIN_SECS, main_cast};
pub use crate::landmarks::{Landmarks, Point};
pub use crate::times::{FrameTimes, Span, usual_gap};
