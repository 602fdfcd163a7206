//! Frames in order of presentation.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use ffmpeg::codec::threading;
use ffmpeg::format::context::Input;
use ffmpeg::{Packet, frame};

use crate::clock::Clock;
use crate::container::{self, Facts};
use crate::error::{Error, Result};

/// Limit on errors after the last packet, above the number of packets that any decoder buffers.
const MAX_ERRORS_AT_END: u32 = 256;

/// A decoded frame, still in the decoder's own pixel format. Cheap to send to another thread.
pub struct Picture {
    pub(crate) frame: frame::Video,
    pub(crate) is_mirrored: bool,
    /// Presentation time, ticks; `None` when neither packet nor decoder knows.
    pub pts_ticks: Option<i64>,
    /// Whether parts may be concealed: the decoder reported damage, or a picture since the last key frame was
    /// lost.
    pub is_damaged: bool,
}

/// Decodes the best video stream of a file once, front to back.
///
/// Packets that cannot be decoded are counted in [`Decoder::lost`] and skipped: damage costs its own frames
/// only. Times increase strictly from picture to picture.
pub struct Decoder {
    path: PathBuf,
    input: Input,
    stream: usize,
    decoder: ffmpeg::decoder::Video,
    facts: Facts,
    clock: Clock,
    packet: Packet,
    /// The decoder was full: `packet` is still to be sent.
    is_pending: bool,
    draining: bool,
    /// Times of packets that are not to be decoded, ticks.
    skipped: Vec<RangeInclusive<i64>>,
    /// The last packet was not to be decoded.
    is_skipping: bool,
    /// Whether a picture was returned.
    has_begun: bool,
    /// Time of the last picture, ticks.
    last_ticks: Option<i64>,
    lost: u64,
    /// Something was lost since the last key frame.
    is_impaired: bool,
    /// Number of errors after the last packet, which limits the attempts to empty the decoder.
    errors_at_end: u32,
    first_error: Option<ffmpeg::Error>,
    stopped: Option<String>,
}

impl Decoder {
    /// Opens `path` for decoding on `threads` threads.
    ///
    /// # Errors
    /// Every [`Error`].
    pub fn open(path: &Path, threads: usize) -> Result<Self> {
        let (input, stream, facts) = container::open(path)?;
        let decoder = open_codec(path, &input, stream, &facts, threads)?;
        Ok(Self {
            path: path.to_path_buf(),
            clock: Clock::new(&input, stream),
            input,
            stream,
            decoder,
            facts,
            packet: Packet::empty(),
            is_pending: false,
            draining: false,
            skipped: Vec::new(),
            is_skipping: false,
            has_begun: false,
            last_ticks: None,
            lost: 0,
            is_impaired: false,
            errors_at_end: 0,
            first_error: None,
            stopped: None,
        })
    }

    /// Skips the pictures at these times, ticks, and the following pictures up to the next key frame.
    pub fn skip(&mut self, times: impl IntoIterator<Item = RangeInclusive<i64>>) {
        self.skipped = times.into_iter().collect();
    }

    /// Facts about the stream.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Number of packets so far that could not be decoded, or only to a picture out of its order.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Why reading ended before the end of the file, if it did.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// The next frame in order of presentation; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Decoder`] when not a single frame can be decoded, or memory runs out.
    pub fn next_picture(&mut self) -> Result<Option<Picture>> {
        loop {
            let mut frame = frame::Video::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {
                    if let Some(picture) = self.picture(frame) {
                        return Ok(Some(picture));
                    }
                }
                Err(ffmpeg::Error::Eof) => return self.end(),
                Err(e) if is_errno(&e, libc::EAGAIN) => self.feed()?,
                Err(e) => {
                    self.lose(e)?;
                    self.errors_at_end += u32::from(self.draining);
                    if self.errors_at_end > MAX_ERRORS_AT_END {
                        return self.end();
                    }
                }
            }
        }
    }

    fn end(&mut self) -> Result<Option<Picture>> {
        match self.first_error.take() {
            Some(e) if !self.has_begun => Err(Error::decoder(&self.path, &self.facts.codec)(e)),
            _ => Ok(None),
        }
    }

    /// Returns `None` for pictures that a damaged stream outputs late or twice.
    fn picture(&mut self, frame: frame::Video) -> Option<Picture> {
        // Without a presentation time, FFmpeg guesses from the decoding time, which is late by the frames that
        // the decoder reorders.
        let pts_ticks = frame.pts().filter(|_| self.facts.has_presentation_times());
        if pts_ticks.is_some() && pts_ticks <= self.last_ticks {
            self.lost += 1;
            self.is_impaired = true;
            return None;
        }
        self.has_begun = true;
        self.last_ticks = pts_ticks.or(self.last_ticks);
        self.is_impaired &= !frame.is_key();
        let is_damaged = frame.is_corrupt() || self.is_impaired;
        Some(Picture { frame, is_mirrored: self.facts.is_mirrored, pts_ticks, is_damaged })
    }

    /// Skips what cannot be decoded: decoders fail on damage in many ways, and the next packet may be intact.
    fn lose(&mut self, e: ffmpeg::Error) -> Result<()> {
        if is_errno(&e, libc::ENOMEM) {
            return Err(Error::decoder(&self.path, &self.facts.codec)(e));
        }
        self.lost += 1;
        self.is_impaired = true;
        self.first_error.get_or_insert(e);
        Ok(())
    }

    /// Sends one packet, or the end of the stream.
    fn feed(&mut self) -> Result<()> {
        while !self.is_pending {
            // Reading does not release what the packet held: only dropping it does.
            self.packet = Packet::empty();
            match self.packet.read(&mut self.input) {
                // To a decoder, an empty packet is the end.
                Ok(()) if self.packet.stream() != self.stream || self.packet.size() == 0 => {}
                Ok(()) => {
                    self.clock.set(&mut self.packet);
                    self.is_pending = !self.skips();
                }
                Err(e) => {
                    if e != ffmpeg::Error::Eof {
                        self.stopped = Some(e.to_string());
                    }
                    if std::mem::replace(&mut self.draining, true) {
                        return Ok(());
                    }
                    return self.decoder.send_eof().or_else(|e| self.lose(e));
                }
            }
        }
        match self.decoder.send_packet(&self.packet) {
            Err(e) if is_errno(&e, libc::EAGAIN) => Ok(()),
            sent => {
                self.is_pending = false;
                sent.or_else(|e| self.lose(e))
            }
        }
    }

    /// Whether the packet is not to be decoded.
    fn skips(&mut self) -> bool {
        let time = self.packet.pts().or(self.packet.dts());
        let is_named = time.is_some_and(|time| self.skipped.iter().any(|times| times.contains(&time)));
        // Behind a gap, other pictures would be made from what is missing.
        self.is_skipping = is_named || (self.is_skipping && !self.packet.is_key());
        self.lost += u64::from(self.is_skipping);
        self.is_impaired |= self.is_skipping;
        self.is_skipping
    }
}

/// The decoder of a stream, on `threads` threads.
pub(crate) fn open_codec(
    path: &Path,
    input: &Input,
    stream: usize,
    facts: &Facts,
    threads: usize,
) -> Result<ffmpeg::decoder::Video> {
    let failed = Error::decoder(path, &facts.codec);
    let no_frames = || Error::NoFrames { path: path.to_path_buf() };
    let parameters = input.stream(stream).ok_or_else(no_frames)?;
    let mut context = ffmpeg::codec::Context::from_parameters(parameters.parameters()).map_err(&failed)?;
    context.set_threading(threading::Config {
        kind: threading::Type::Frame,
        count: threads,
        ..threading::Config::default()
    });
    let decoder = context.decoder();
    let codec = ffmpeg::decoder::find(decoder.id()).ok_or(ffmpeg::Error::DecoderNotFound);
    let mut limits = ffmpeg::Dictionary::new();
    // A stream may change its size half way.
    limits.set("max_pixels", container::MAX_PIXELS.to_string());
    let opened = codec.and_then(|codec| decoder.open_as_with(codec, limits));
    opened.and_then(|decoder| decoder.video()).map_err(&failed)
}

fn is_errno(error: &ffmpeg::Error, number: i32) -> bool {
    matches!(error, ffmpeg::Error::Other { errno } if *errno == number)
}
