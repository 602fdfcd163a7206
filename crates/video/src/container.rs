//! Facts of the container and its packets.

use std::collections::BTreeSet;
use std::path::Path;

use ffmpeg::codec::packet::side_data::Type as SideData;
use ffmpeg::format::context::Input;
use ffmpeg::format::stream::Disposition;
use ffmpeg::{Packet, media};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::orientation::Orientation;

/// FFmpeg's names of the demuxers that may open a file. Playlists and scripts are not among them,
/// so a file can never make the tool open another file or the network.
pub const FORMATS: &str = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,mpegts,mpeg,mxf,dv,ogg,flv,asf";

/// Pixels of the largest frame that is decoded, twice those of 8K: pictures in flight take memory.
pub(crate) const MAX_PIXELS: u64 = 1 << 26;

/// The largest time stamp, in ticks: whole numbers up to 2⁵³ are exact as 64-bit floats.
const MAX_TICKS: i64 = 1 << 53;

/// Aspects of pixels that pictures have; others are damage.
const PIXEL_ASPECTS: std::ops::RangeInclusive<f64> = 0.2..=5.0;

/// Frames that a decoder holds back at most to show them in order (H.264, section A.3.1).
const MAX_REORDERED: usize = 16;

/// A gap this many times longer than the usual one is a hole.
const HOLE: i64 = 3;

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
    /// Whether a stored frame is mirrored, left to right, before it is turned.
    pub is_mirrored: bool,
    /// Width of a pixel of the upright frame relative to its height: 1 for square pixels.
    pub pixel_aspect: f64,
    /// Numerator of the time base, seconds.
    pub time_base_num: i32,
    /// Denominator of the time base, seconds.
    pub time_base_den: i32,
    /// When the earliest stream starts, on the clock of the ticks, seconds. Players show this as zero.
    pub start_secs: f64,
    /// Duration declared by the container, seconds; `None` if not declared.
    pub announced_secs: Option<f64>,
}

impl Facts {
    /// Seconds since the container's start.
    pub fn t_secs(&self, pts_ticks: i64) -> f64 {
        pts_ticks as f64 * f64::from(self.time_base_num) / f64::from(self.time_base_den) - self.start_secs
    }

    /// Whether the container stores when frames are shown. AVI stores only their order; presentation times that
    /// FFmpeg makes up for AVI are late by the frames that the decoder reorders.
    pub(crate) fn has_presentation_times(&self) -> bool {
        self.container != "avi"
    }
}

/// One packet of the video stream, that is, one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketInfo {
    /// Presentation time, ticks.
    pub pts_ticks: i64,
    /// Duration, ticks; 0 if not declared.
    pub duration_ticks: i64,
    /// Whether decoding can start here.
    pub is_key: bool,
    /// Whether the container marks it as damaged.
    pub is_corrupt: bool,
}

/// Frames of a video as listed in its container.
#[derive(Debug, Clone)]
pub struct Index {
    /// Facts about the stream.
    pub facts: Facts,
    /// One entry per frame, in order of presentation, at distinct times.
    pub packets: Vec<PacketInfo>,
    /// Warnings about the container, for people.
    pub warnings: Vec<String>,
}

/// Checks whether a file is a video by its beginning, in a time that does not depend on its size.
///
/// # Errors
/// Every [`Error`] that needs no frame.
pub fn check(path: &Path) -> Result<()> {
    open(path).map(drop)
}

/// Reads every packet of the best video stream. Reports the bytes read to `progress` after each packet.
///
/// # Errors
/// Every [`Error`]; [`Error::Decoder`] when there is no decoder for the stream.
pub fn index(path: &Path, mut progress: impl FnMut(u64)) -> Result<Index> {
    let (mut input, stream, facts) = open(path)?;
    let mut warnings = oddities(&input, stream);
    let [mut empty, mut untimed, mut before_start] = [0; 3];
    let start = input.stream(stream).map(|s| s.start_time()).filter(|t| *t != ffmpeg::ffi::AV_NOPTS_VALUE);
    let mut clock = Clock::new(&input, stream);
    let is_in_range = |ticks: &i64| ticks.unsigned_abs() <= MAX_TICKS as u64;
    let (mut packets, mut without_pts, mut decoding) = (Vec::new(), Vec::new(), Vec::new());
    let stopped = loop {
        // Reading does not release what a packet held: only dropping it does.
        let mut packet = Packet::empty();
        match packet.read(&mut input) {
            Ok(()) if packet.stream() == stream => {}
            Ok(()) => continue,
            Err(ffmpeg::Error::Eof) => break None,
            Err(e) => break Some(e),
        }
        progress(u64::try_from(packet.position()).unwrap_or(0));
        clock.set(&mut packet);
        let frame = |pts_ticks| PacketInfo {
            pts_ticks,
            duration_ticks: packet.duration().clamp(0, MAX_TICKS),
            is_key: packet.is_key(),
            is_corrupt: packet.is_corrupt(),
        };
        // Only damage is counted here.
        let pts = packet.pts().filter(|_| facts.has_presentation_times());
        decoding.extend(packet.dts().filter(|_| packet.size() > 0).filter(is_in_range));
        match (pts.filter(is_in_range), packet.dts().filter(is_in_range)) {
            _ if packet.size() == 0 => empty += 1,
            // An edit list drops frames before the start: they are decoded, never shown.
            (Some(pts), _) if start.is_some_and(|start| pts < start) && !clock.may_jump() => {
                before_start += 1
            }
            (Some(pts), _) => packets.push(frame(pts)),
            (None, Some(dts)) => without_pts.push(frame(dts)),
            (None, None) => untimed += 1,
        }
    };
    let listed = packets.len() + without_pts.len();
    place(&mut packets, without_pts, decoding);
    packets.dedup_by_key(|p| p.pts_ticks);
    if packets.is_empty() {
        return Err(Error::NoFrames { path: path.to_path_buf() });
    }
    warnings.extend(stopped.map(|why| format!("reading stopped after frame number {listed}: {why}")));
    warn_of_jumps(&mut warnings, &facts, clock.jumps());
    for (count, what) in [
        (empty, "skipped because they are empty"),
        (untimed, "skipped because they have no presentation time"),
        (before_start, "skipped because they lie before the start of the presentation"),
        (listed - packets.len(), "skipped because another frame has the same time"),
        (packets.iter().filter(|p| p.is_corrupt).count(), "marked as damaged by the container"),
    ] {
        if count > 0 {
            warnings.push(format!("frames {what}: {count}"));
        }
    }
    warn_of_holes(&mut warnings, &facts, &packets);
    if clock.jumps().is_empty() {
        warn_if_short(&mut warnings, &facts, &packets);
    }
    Ok(Index { facts, packets, warnings })
}

/// Sorts packets by time and gives those without a presentation time, which have their decoding times, a place
/// among them.
///
/// A decoder that reorders frames shows the first one a few frames after it has decoded it. So the presentation times, in
/// order, are the decoding times, in order, from the frame on that many places later. The smallest such number that
/// explains all presentation times leaves as many times free as packets need. In AVI, where no packet has a
/// presentation time, the number is zero. In a program stream with small frames, many reference frames have none.
///
/// If no number explains all times, a decoding time that another packet has is replaced by the end of the video.
fn place(packets: &mut Vec<PacketInfo>, without_pts: Vec<PacketInfo>, mut decoding: Vec<i64>) {
    packets.sort_by_key(|p| p.pts_ticks);
    if without_pts.is_empty() {
        return;
    }
    let known: BTreeSet<i64> = packets.iter().map(|p| p.pts_ticks).collect();
    decoding.sort_unstable();
    let step = without_pts.iter().map(|p| p.duration_ticks.max(1)).min().unwrap_or(1);
    let end = decoding.last().map_or(0, |last| last + step);
    decoding.extend((0..MAX_REORDERED as i64).map(|later| end + later * step));
    let n_packets = known.len() + without_pts.len();
    let free = (0..=MAX_REORDERED).find_map(|delay| {
        let shown: BTreeSet<i64> = decoding.iter().skip(delay).take(n_packets).copied().collect();
        let free: Vec<i64> = shown.difference(&known).copied().collect();
        // No frame is shown before it is decoded.
        let is_late = |(time, packet): (&i64, &PacketInfo)| *time >= packet.pts_ticks;
        let is_right = free.len() == without_pts.len() && free.iter().zip(&without_pts).all(is_late);
        is_right.then_some(free)
    });
    // Reference frames, which are the ones without times, are shown in the order in which they are decoded.
    for (i, mut packet) in without_pts.into_iter().enumerate() {
        if let Some(free) = free.as_ref().and_then(|free| free.get(i)) {
            packet.pts_ticks = *free;
        } else if known.contains(&packet.pts_ticks)
            && let Some(last) = packets.iter().max_by_key(|p| p.pts_ticks)
        {
            packet.pts_ticks = last.pts_ticks + last.duration_ticks.max(1);
        }
        packets.push(packet);
    }
    packets.sort_by_key(|p| p.pts_ticks);
}

/// Warnings about properties of the stream that lower accuracy.
fn oddities(input: &Input, stream: usize) -> Vec<String> {
    let Some(found) = input.stream(stream) else { return Vec::new() };
    let mut odd = Vec::new();
    let videos = input.streams().filter(|s| is_video(s)).count();
    if videos > 1 {
        odd.push(format!("the file has {videos} video streams; only stream {stream} is read"));
    }
    if orientation(&found).is_none() {
        odd.push(
            "the file declares a rotation that is not a multiple of 90 degrees; the rotation is ignored"
                .into(),
        );
    }
    odd
}

/// A clock that jumps shows where recordings were joined.
fn warn_of_jumps(warnings: &mut Vec<String>, facts: &Facts, jumps: &[(i64, i64)]) {
    let Some((at, by)) = jumps.first() else { return };
    let (at, by) = (facts.t_secs(*at), facts.t_secs(-by) - facts.t_secs(0));
    let (n, noun) = (jumps.len(), if jumps.len() == 1 { "time" } else { "times" });
    warnings.push(format!(
        "the clock of the file jumps {n} {noun}, first by {by:+.1} s at {at:.1} s: the jumps are closed, as players do"
    ));
}

/// A gap in the times is damage that the demuxer skipped silently, or a still picture in a stream of variable
/// frame rate; the two cannot be distinguished.
fn warn_of_holes(warnings: &mut Vec<String>, facts: &Facts, packets: &[PacketInfo]) {
    let mut gaps: Vec<_> =
        packets.windows(2).map(|w| (w[1].pts_ticks - w[0].pts_ticks, w[0].pts_ticks)).collect();
    gaps.sort_unstable();
    // Nine gaps of ten are no longer than this one, whether the rate is constant or not.
    let Some((usual, _)) = gaps.get(gaps.len() * 9 / 10).copied() else { return };
    let holes = gaps.iter().filter(|(gap, _)| *gap > HOLE * usual).count();
    if let Some((gap, from)) = gaps.last().filter(|_| holes > 0) {
        let (begin, end) = (facts.t_secs(*from), facts.t_secs(from + gap));
        warnings.push(format!(
            "gaps without frames, perhaps damage: {holes}, the longest from {begin:.1} s to {end:.1} s"
        ));
    }
}

/// A file that was truncated while being copied still declares its whole length.
fn warn_if_short(warnings: &mut Vec<String>, facts: &Facts, packets: &[PacketInfo]) {
    let (Some(announced), Some(last)) = (facts.announced_secs, packets.last()) else { return };
    // Some containers announce when the video ends, others how long it is.
    let end = facts.t_secs(last.pts_ticks + last.duration_ticks) + facts.start_secs.max(0.0);
    if end + 1.0 < announced * 0.98 {
        warnings.push(format!(
            "the video ends at {end:.1} s although the file declares {announced:.1} s: it may be truncated"
        ));
    }
}

/// Opens a local file and finds its best video stream, with the facts about the stream.
pub(crate) fn open(path: &Path) -> Result<(Input, usize, Facts)> {
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
    let input = ffmpeg::format::input_with_dictionary(url, options).map_err(|e| match e {
        // FFmpeg reports both in this way.
        ffmpeg::Error::Other { errno: libc::ENOMEM } => {
            not_video("it needs too much memory, or has more than 1000 streams".into())
        }
        e => not_video(e.to_string()),
    })?;
    let best = input.streams().best(media::Type::Video).filter(is_video).map(|s| s.index());
    let Some(stream) = best else {
        let kinds: BTreeSet<_> =
            input.streams().map(|s| format!("{:?}", s.parameters().medium()).to_lowercase()).collect();
        let kinds = kinds.into_iter().collect::<Vec<_>>().join(" and ");
        let streams = if kinds.is_empty() { "an empty container".into() } else { kinds };
        return Err(Error::NoVideoStream { path: path.to_path_buf(), streams });
    };
    let facts = facts(path, &input, stream)?;
    Ok((input, stream, facts))
}

/// Cover art is a picture that goes with sound, not a video.
fn is_video(stream: &ffmpeg::Stream<'_>) -> bool {
    let is_cover = stream.disposition().contains(Disposition::ATTACHED_PIC);
    stream.parameters().medium() == media::Type::Video && !is_cover
}

fn facts(path: &Path, input: &Input, stream: usize) -> Result<Facts> {
    let no_frames = || Error::NoFrames { path: path.to_path_buf() };
    let found = input.stream(stream).ok_or_else(no_frames)?;
    let codec = found.parameters().id().name().to_owned();
    let context =
        ffmpeg::codec::Context::from_parameters(found.parameters()).map_err(Error::decoder(path, &codec))?;
    let picture = context.decoder().video().map_err(Error::decoder(path, &codec))?;
    let orientation = orientation(&found).unwrap_or(Orientation::STORED);
    let (width, height) = orientation.size((picture.width(), picture.height()));
    if width == 0 || height == 0 {
        return Err(no_frames());
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::TooLarge { path: path.to_path_buf(), width, height });
    }
    let started = input.streams().filter(|s| s.start_time() != ffmpeg::ffi::AV_NOPTS_VALUE);
    let starts = started.map(|s| s.start_time() as f64 * f64::from(s.time_base()));
    Ok(Facts {
        container: input.format().name().to_owned(),
        codec,
        width,
        height,
        rotation_degrees: orientation.rotation_degrees,
        is_mirrored: orientation.is_mirrored,
        pixel_aspect: pixel_aspect(&found, &picture, orientation),
        time_base_num: found.time_base().numerator(),
        time_base_den: found.time_base().denominator(),
        start_secs: starts.min_by(f64::total_cmp).unwrap_or(0.0),
        announced_secs: Some(input.duration()).filter(|d| *d > 0).map(|d| d as f64 / 1e6),
    })
}

/// Width of a pixel of the upright frame relative to its height, from the container or, where the container has
/// none, from the codec, as FFmpeg's `av_guess_sample_aspect_ratio` chooses. 1 for what no picture has.
fn pixel_aspect(
    stream: &ffmpeg::Stream<'_>,
    picture: &ffmpeg::decoder::Video,
    orientation: Orientation,
) -> f64 {
    let ratio = |aspect: ffmpeg::Rational| {
        let is_known = aspect.numerator() > 0 && aspect.denominator() > 0;
        is_known.then(|| f64::from(aspect)).filter(|aspect| PIXEL_ASPECTS.contains(aspect))
    };
    let stored = ratio(stream.sample_aspect_ratio()).or_else(|| ratio(picture.aspect_ratio())).unwrap_or(1.0);
    if orientation.is_lying() { 1.0 / stored } else { stored }
}

/// Reads the display matrix: nine 32-bit integers, of which the first two say where the stored x
/// axis goes, the fourth and fifth where the y axis goes (libavutil/display.h). `None` for other
/// angles than quarter turns.
fn orientation(stream: &ffmpeg::Stream<'_>) -> Option<Orientation> {
    let Some(matrix) = stream.side_data().find(|s| s.kind() == SideData::DisplayMatrix) else {
        return Some(Orientation::STORED);
    };
    let entry = |i: usize| -> i32 {
        let bytes = matrix.data().get(4 * i..4 * i + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, i32::from_ne_bytes).signum()
    };
    let (x_axis, y_axis) = ((entry(0), entry(1)), (entry(3), entry(4)));
    let is_mirrored = x_axis.0 * y_axis.1 < x_axis.1 * y_axis.0;
    let x_axis = if is_mirrored { (-x_axis.0, -x_axis.1) } else { x_axis };
    let rotation_degrees = match (x_axis, y_axis) {
        ((1, 0), (0, 1)) => 0,
        ((0, 1), (-1, 0)) => 90,
        ((-1, 0), (0, -1)) => 180,
        ((0, -1), (1, 0)) => 270,
        _ => return None,
    };
    Some(Orientation { is_mirrored, rotation_degrees })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times after placing, and which of them are key frames; packets are in decoding order, each a presentation time,
    /// or -1, and a decoding time; the first one of each `keys` is a key frame.
    fn placed(packets: &[(i64, i64)], keys: &[usize]) -> (Vec<i64>, Vec<i64>) {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for (i, (pts, dts)) in packets.iter().enumerate() {
            let info = |pts_ticks| PacketInfo {
                pts_ticks,
                duration_ticks: 10,
                is_key: keys.contains(&i),
                is_corrupt: false,
            };
            if *pts < 0 { without.push(info(*dts)) } else { with.push(info(*pts)) }
        }
        place(&mut with, without, packets.iter().map(|(_, dts)| *dts).collect());
        let keys = with.iter().filter(|p| p.is_key).map(|p| p.pts_ticks);
        (with.iter().map(|p| p.pts_ticks).collect(), keys.collect())
    }

    /// I P B B P B B I B B P in decoding order; in a program stream most reference frames have no time.
    #[test]
    fn reference_frames_without_a_time_get_those_that_are_free() {
        let packets = [
            (10, 0),
            (-1, 10),
            (20, 20),
            (30, 30),
            (-1, 40),
            (50, 50),
            (60, 60),
            (100, 70),
            (80, 80),
            (90, 90),
            (-1, 100),
        ];
        let times = (1..=11).map(|i| 10 * i).collect::<Vec<_>>();
        assert_eq!(placed(&packets, &[0, 7]), (times, vec![10, 100]));
    }

    #[test]
    fn a_last_frame_without_a_time_is_shown_last() {
        assert_eq!(placed(&[(10, 0), (40, 10), (20, 20), (30, 30), (-1, 40)], &[4]).0, [10, 20, 30, 40, 50]);
    }

    #[test]
    fn decoding_times_in_order_are_presentation_times_where_there_are_no_others() {
        assert_eq!(placed(&[(-1, 0), (-1, 10), (-1, 20)], &[1]), (vec![0, 10, 20], vec![10]));
    }

    /// Times of damage that nothing explains.
    #[test]
    fn a_time_that_is_taken_is_replaced_by_the_end() {
        assert_eq!(placed(&[(5, 0), (7, 10), (-1, 7)], &[]).0, [5, 7, 17]);
    }
}
