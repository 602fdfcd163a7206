//! Boxes, facial landmarks, spans of frames and frame times.
//!
//! * [`BBox`]: an axis-aligned box, in `f32` where pictures are processed and in `f64` where results are
//!   evaluated; [`BBox::iou`] is the one intersection over union of the workspace.
//! * [`Landmarks`]: the five points of a face.
//! * [`Span`], [`union`]: stretches of frames.
//! * [`FrameTimes`]: when each frame of a video is shown, and for how long a span is.
//!
//! Plain numbers only: the crate imports nothing.

mod bbox;
mod landmarks;
mod times;

pub use crate::bbox::{BBox, Coordinate};
pub use crate::landmarks::{Landmarks, Point};
pub use crate::times::{FrameTimes, Span, usual_gap};
