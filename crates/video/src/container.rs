//! What the container says, read from its packets.

use std::path::Path;

use ffmpeg::codec::packet::side_data::Type as SideData;
use ffmpeg::format::context::Input;
use ffmpeg::format::stream::Disposition;
use ffmpeg::{Packet, media};

use crate::error::{Error, Result};

/// FFmpeg's names of the demuxers that may open a file. Playlists and scripts are not among them,
/// so a file can never make the tool open another file or the network.
pub const FORMATS: &str = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,mpegts,mpeg,ogg,flv,asf";

/// Facts about the video stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Container format as FFmpeg names it.
    pub container: String,
    /// Codec as FFmpeg names it.
    pub codec: String,
    /// Width of the upright frame, pixels.
    pub width: u32,
    /// Height of the upright frame, pixels.
    pub height: u32,
    /// Clockwise turn that makes a stored frame upright: 0, 90, 180 or 270 degrees.
    pub rotation_degrees: u32,
    /// Numerator of the time base, seconds.
    pub time_base_num: i32,
    /// Denominator of the time base, seconds.
    pub time_base_den: i32,
    /// When the earliest stream starts, on the clock of the ticks, seconds. Players show this as zero.
    pub start_secs: f64,
    /// Duration that the container announces, seconds; `None` when it says nothing.
    pub announced_secs: Option<f64>,
}

impl Facts {
    /// Seconds since the container's start.
    pub fn t_secs(&self, pts_ticks: i64) -> f64 {
        pts_ticks as f64 * f64::from(self.time_base_num) / f64::from(self.time_base_den) - self.start_secs
    }
}

/// One packet of the video stream, that is, one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketInfo {
    /// Presentation time, ticks.
    pub pts_ticks: i64,
    /// Duration, ticks; 0 when the container does not say.
    pub duration_ticks: i64,
    /// Whether decoding can start here.
    pub is_key: bool,
    /// Whether the container marks it as damaged.
    pub is_corrupt: bool,
}

/// The frames of a video as its container announces them.
#[derive(Debug, Clone)]
pub struct Index {
    /// Facts about the stream.
    pub facts: Facts,
    /// One entry per frame, in order of presentation, at distinct times.
    pub packets: Vec<PacketInfo>,
    /// What was odd about the container, in words for people.
    pub warnings: Vec<String>,
}

/// Reads every packet of the best video stream. `progress` hears of bytes read.
///
/// # Errors
/// Every [`Error`] but [`Error::Decoder`].
pub fn index(path: &Path, mut progress: impl FnMut(u64)) -> Result<Index> {
    let (mut input, stream) = open(path)?;
    let facts = facts(path, &input, stream)?;
    let first_ticks = input.stream(stream).map_or(i64::MIN, |s| s.start_time());
    let mut packets = Vec::new();
    let mut warnings = Vec::new();
    let mut packet = Packet::empty();
    let (mut untimed, mut before_start) = (0, 0);
    loop {
        match packet.read(&mut input) {
            Ok(()) => {}
            Err(ffmpeg::Error::Eof) => break,
            Err(e) => {
                warnings.push(format!("reading stopped after {} frames: {e}", packets.len()));
                break;
            }
        }
        if packet.stream() != stream {
            continue;
        }
        progress(u64::try_from(packet.position()).unwrap_or(0));
        match packet.pts().or(packet.dts()) {
            None => untimed += 1,
            // An edit list drops frames before the start: they are decoded, never shown.
            Some(pts) if first_ticks != ffmpeg::ffi::AV_NOPTS_VALUE && pts < first_ticks => before_start += 1,
            Some(pts_ticks) => packets.push(PacketInfo {
                pts_ticks,
                duration_ticks: packet.duration().max(0),
                is_key: packet.is_key(),
                is_corrupt: packet.is_corrupt(),
            }),
        }
    }
    packets.sort_by_key(|p| p.pts_ticks);
    let announced = packets.len();
    packets.dedup_by_key(|p| p.pts_ticks);
    if packets.is_empty() {
        return Err(Error::NoFrames { path: path.to_path_buf() });
    }
    count_warning(&mut warnings, untimed, "have no presentation time and are left out");
    count_warning(&mut warnings, before_start, "lie before the start of the presentation and are left out");
    count_warning(
        &mut warnings,
        announced - packets.len(),
        "share the time of another frame and are left out",
    );
    warn_if_short(&mut warnings, &facts, &packets);
    Ok(Index { facts, packets, warnings })
}

fn count_warning(warnings: &mut Vec<String>, count: usize, what: &str) {
    if count > 0 {
        warnings.push(format!("{count} frames {what}"));
    }
}

/// A file that was cut off while being copied still announces its whole length.
fn warn_if_short(warnings: &mut Vec<String>, facts: &Facts, packets: &[PacketInfo]) {
    let (Some(announced), Some(last)) = (facts.announced_secs, packets.last()) else { return };
    let end = facts.t_secs(last.pts_ticks + last.duration_ticks);
    if end + 1.0 < announced * 0.98 {
        warnings.push(format!(
            "the video ends at {end:.1} s although the file announces {announced:.1} s: it may be truncated"
        ));
    }
}

/// Opens a local file and finds its best video stream.
pub(crate) fn open(path: &Path) -> Result<(Input, usize)> {
    let metadata =
        std::fs::metadata(path).map_err(|source| Error::Unreadable { path: path.to_path_buf(), source })?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path: path.to_path_buf() });
    }
    if metadata.len() == 0 {
        return Err(Error::Empty { path: path.to_path_buf() });
    }
    let not_video = |reason: String| Error::NotVideo { path: path.to_path_buf(), reason };
    ffmpeg::init().map_err(|e| not_video(e.to_string()))?;
    ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
    let mut options = ffmpeg::Dictionary::new();
    options.set("format_whitelist", FORMATS);
    options.set("protocol_whitelist", "file");
    // `file:` keeps a name with a colon in it from being taken for a protocol.
    let mut url = std::ffi::OsString::from("file:");
    url.push(path);
    let input = ffmpeg::format::input_with_dictionary(url, options).map_err(|e| not_video(e.to_string()))?;
    // Cover art is a picture that goes with sound, not a video.
    let is_cover = |s: &ffmpeg::Stream<'_>| s.disposition().contains(Disposition::ATTACHED_PIC);
    let best = input.streams().best(media::Type::Video).filter(|s| !is_cover(s)).map(|s| s.index());
    match best {
        Some(stream) => Ok((input, stream)),
        None => Err(Error::NoVideoStream { path: path.to_path_buf(), streams: kinds(&input) }),
    }
}

fn kinds(input: &Input) -> String {
    let mut kinds: Vec<_> =
        input.streams().map(|s| format!("{:?}", s.parameters().medium()).to_lowercase()).collect();
    kinds.sort();
    kinds.dedup();
    if kinds.is_empty() { "an empty container".into() } else { kinds.join(" and ") }
}

pub(crate) fn facts(path: &Path, input: &Input, stream: usize) -> Result<Facts> {
    let no_frames = || Error::NoFrames { path: path.to_path_buf() };
    let found = input.stream(stream).ok_or_else(no_frames)?;
    let codec = found.parameters().id().name().to_owned();
    let context =
        ffmpeg::codec::Context::from_parameters(found.parameters()).map_err(Error::decoder(path, &codec))?;
    let picture = context.decoder().video().map_err(Error::decoder(path, &codec))?;
    let rotation_degrees = rotation(&found);
    let (width, height) = if rotation_degrees.is_multiple_of(180) {
        (picture.width(), picture.height())
    } else {
        (picture.height(), picture.width())
    };
    if width == 0 || height == 0 {
        return Err(no_frames());
    }
    Ok(Facts {
        container: input.format().name().to_owned(),
        codec,
        width,
        height,
        rotation_degrees,
        time_base_num: found.time_base().numerator(),
        time_base_den: found.time_base().denominator(),
        start_secs: start_secs(input),
        announced_secs: Some(input.duration()).filter(|d| *d > 0).map(|d| d as f64 / 1e6),
    })
}

fn start_secs(input: &Input) -> f64 {
    let starts = input
        .streams()
        .filter(|s| s.start_time() != ffmpeg::ffi::AV_NOPTS_VALUE)
        .map(|s| s.start_time() as f64 * f64::from(s.time_base()));
    starts.min_by(f64::total_cmp).unwrap_or(0.0)
}

/// Reads the display matrix: nine 32-bit integers, of which the first, second, fourth and fifth
/// turn the picture (libavutil/display.h). Other angles than quarter turns count as none.
fn rotation(stream: &ffmpeg::Stream<'_>) -> u32 {
    let Some(matrix) = stream.side_data().find(|s| s.kind() == SideData::DisplayMatrix) else { return 0 };
    let entry = |i: usize| -> i32 {
        let bytes = matrix.data().get(4 * i..4 * i + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, i32::from_ne_bytes)
    };
    match (entry(0).signum(), entry(1).signum(), entry(3).signum(), entry(4).signum()) {
        (0, 1, -1, 0) => 90,
        (-1, 0, 0, -1) => 180,
        (0, -1, 1, 0) => 270,
        _ => 0,
    }
}
