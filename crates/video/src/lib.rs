//! Video files: metadata of the container, and frames with exact presentation times.
//!
//! * [`index`] reads packets only: metadata ([`Facts`]) and one [`PacketInfo`] per frame; no pixel is decoded.
//! * [`Decoder`] yields every [`Picture`] once, in order of presentation, decoded by FFmpeg's threads.
//! * [`Sampler`] decodes single key frames in any order, before the whole video is decoded.
//! * [`Converter`] converts a picture to upright RGB or luma of a given size, directly from the
//!   decoder's planes.
//!
//! **Architecture invariant:** no other crate imports FFmpeg's bindings (`facetrack` and `review` start the program
//! `ffmpeg`). Only local files are read, and only by the demuxers of [`FORMATS`]: no playlist, no network protocol.

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

/// Version of FFmpeg's decoders, `MAJOR.MINOR.MICRO`: other versions may decode other pictures.
pub fn decoder_version() -> String {
    let version = ffmpeg::codec::version();
    format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff)
}
