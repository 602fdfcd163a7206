//! Single key frames out of order, for a first look at a video.

use std::path::Path;

use ffmpeg::format::context::Input;
use ffmpeg::{Packet, frame};

use crate::container::{self, Facts};
use crate::decoder::{self, Picture};
use crate::error::Result;

/// Packets of all streams that are read in search of a key frame.
const MAX_PACKETS: usize = 2000;

/// Decodes key frames anywhere in a video, each without the frames around it.
pub struct Sampler {
    input: Input,
    stream: usize,
    decoder: ffmpeg::decoder::Video,
    facts: Facts,
}

impl Sampler {
    /// Opens `path`.
    ///
    /// # Errors
    /// Every [`Error`](crate::Error).
    pub fn open(path: &Path) -> Result<Self> {
        let (input, stream, facts) = container::open(path)?;
        let decoder = decoder::open_codec(path, &input, stream, &facts, 1)?;
        Ok(Self { input, stream, decoder, facts })
    }

    /// The key frame at this time, ticks, or the nearest one that the container finds before; `None` if none can be
    /// decoded.
    pub fn key_frame(&mut self, ticks: i64) -> Option<Picture> {
        let micros = self.facts.t_secs(ticks) + self.facts.start_secs;
        let micros = (micros * 1e6) as i64;
        self.input.seek(micros, ..=micros).ok()?;
        self.decoder.flush();
        for _ in 0..MAX_PACKETS {
            let mut packet = Packet::empty();
            packet.read(&mut self.input).ok()?;
            if packet.stream() == self.stream && packet.is_key() && packet.size() > 0 {
                // At the end of the stream, the decoder waits for no further frame.
                self.decoder.send_packet(&packet).ok()?;
                self.decoder.send_eof().ok()?;
                let mut frame = frame::Video::empty();
                self.decoder.receive_frame(&mut frame).ok()?;
                let (is_mirrored, is_damaged) = (self.facts.is_mirrored, frame.is_corrupt());
                return Some(Picture { pts_ticks: frame.pts(), frame, is_mirrored, is_damaged });
            }
        }
        None
    }
}
