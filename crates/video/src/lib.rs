//! Video files: facts of the container, and frames with exact presentation times.
//!
//! * [`index`] reads packets only: facts and one [`PacketInfo`] per frame, no pixel decoded.
//! * [`Decoder`] yields every [`Picture`] once, in order of presentation, on FFmpeg's threads.
//! * [`Sampler`] decodes single key frames, for a first look.
//! * [`Converter`] turns a picture into upright RGB or luma at a wanted size, straight from the
//!   decoder's planes.
//!
//! **Architecture invariant:** nothing else in the project opens a video. Only local files are
//! read, and only by the demuxers of [`FORMATS`]: no playlist, no network protocol.

mod clock;
mod colour;
mod container;
mod decoder;
mod error;
mod interlace;
mod orientation;
mod pixels;
mod planes;
mod resample;
mod sampler;
mod tone;

pub use container::{FORMATS, Facts, Index, PacketInfo, check, index};
pub use decoder::{Decoder, Picture};
pub use error::{Error, Result};
pub use orientation::Region;
pub use pixels::{Converter, Image};
pub use sampler::Sampler;
