//! Frames in order of presentation.

use std::path::{Path, PathBuf};

use ffmpeg::codec::threading;
use ffmpeg::format::context::Input;
use ffmpeg::{Packet, frame};

use crate::container::{self, Facts};
use crate::error::{Error, Result};

/// A decoded frame, still in the decoder's own pixel format. Cheap to send to another thread.
pub struct Picture {
    pub(crate) frame: frame::Video,
    /// Presentation time, ticks; `None` when neither packet nor decoder knows.
    pub pts_ticks: Option<i64>,
    /// Whether the decoder had to make parts of it up.
    pub is_damaged: bool,
}

/// Decodes the best video stream of a file once, front to back.
///
/// Packets that cannot be decoded are counted in [`Decoder::lost`] and passed over: a damaged
/// middle costs its own frames only.
pub struct Decoder {
    path: PathBuf,
    input: Input,
    stream: usize,
    decoder: ffmpeg::decoder::Video,
    facts: Facts,
    packet: Packet,
    /// The decoder was full: `packet` is still to be sent.
    is_pending: bool,
    draining: bool,
    lost: u64,
    stopped: Option<String>,
}

impl Decoder {
    /// Opens `path` for decoding on `threads` threads.
    ///
    /// # Errors
    /// Every [`Error`].
    pub fn open(path: &Path, threads: usize) -> Result<Self> {
        let (input, stream) = container::open(path)?;
        let facts = container::facts(path, &input, stream)?;
        let failed = Error::decoder(path, &facts.codec);
        let no_frames = || Error::NoFrames { path: path.to_path_buf() };
        let parameters = input.stream(stream).ok_or_else(no_frames)?;
        let mut context =
            ffmpeg::codec::Context::from_parameters(parameters.parameters()).map_err(&failed)?;
        context.set_threading(threading::Config {
            kind: threading::Type::Frame,
            count: threads,
            ..threading::Config::default()
        });
        let decoder = context.decoder().video().map_err(&failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            input,
            stream,
            decoder,
            facts,
            packet: Packet::empty(),
            is_pending: false,
            draining: false,
            lost: 0,
            stopped: None,
        })
    }

    /// Facts about the stream.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Number of packets that could not be decoded so far.
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
    /// [`Error::Decoder`] when the decoder fails in a way that no later packet can mend.
    pub fn next_picture(&mut self) -> Result<Option<Picture>> {
        loop {
            let mut frame = frame::Video::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {
                    let pts_ticks = frame.timestamp().or(frame.pts());
                    let is_damaged = frame.is_corrupt();
                    return Ok(Some(Picture { frame, pts_ticks, is_damaged }));
                }
                Err(ffmpeg::Error::Eof) => return Ok(None),
                Err(e) if is_again(&e) => self.feed()?,
                Err(ffmpeg::Error::InvalidData) => self.lost += 1,
                Err(e) => return Err(Error::decoder(&self.path, &self.facts.codec)(e)),
            }
        }
    }

    /// Sends one packet, or says that there are no more.
    fn feed(&mut self) -> Result<()> {
        while !self.is_pending {
            match self.packet.read(&mut self.input) {
                Ok(()) => self.is_pending = self.packet.stream() == self.stream,
                Err(e) => {
                    if e != ffmpeg::Error::Eof {
                        self.stopped = Some(e.to_string());
                    }
                    return self.drain();
                }
            }
        }
        match self.decoder.send_packet(&self.packet) {
            Ok(()) => self.is_pending = false,
            // A packet that makes no sense is lost; the next one may be whole.
            Err(ffmpeg::Error::InvalidData) => {
                self.is_pending = false;
                self.lost += 1;
            }
            Err(e) if is_again(&e) => {}
            Err(e) => return Err(Error::decoder(&self.path, &self.facts.codec)(e)),
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        if self.draining {
            return Ok(());
        }
        self.draining = true;
        self.decoder.send_eof().map_err(Error::decoder(&self.path, &self.facts.codec))
    }
}

/// Whether the decoder asks to be called the other way round first: received from, or fed.
fn is_again(error: &ffmpeg::Error) -> bool {
    matches!(error, ffmpeg::Error::Other { errno } if *errno == libc::EAGAIN)
}
