//! Clips made by the `ffmpeg` tool, read by this crate: times, order, rotation, damage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use video::{Converter, Decoder, Error, index};

/// A folder and a clip in it, made with these arguments of `ffmpeg`.
fn clip(name: &str, arguments: &[&str]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    ffmpeg(&[arguments, &[path.to_str().unwrap()]].concat());
    (folder, path)
}

fn ffmpeg(arguments: &[&str]) {
    let done =
        Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Frame times as `ffprobe` sees them when it decodes, seconds.
fn probed(path: &Path) -> Vec<f64> {
    let arguments =
        ["-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0"];
    let done = Command::new("ffprobe").args(arguments).arg(path).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    // Frames with side data leave an empty line behind.
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_end_matches(',').parse().unwrap())
        .collect()
}

/// Asserts that index, decoder and ffprobe agree on every frame's time.
fn assert_times(path: &Path) {
    let index = index(path, |_| {}).unwrap();
    let facts = &index.facts;
    let secs = |pts| facts.t_secs(pts) + facts.start_secs;
    let indexed: Vec<f64> = index.packets.iter().map(|p| secs(p.pts_ticks)).collect();
    let mut decoder = Decoder::open(path, 2).unwrap();
    let mut decoded = Vec::new();
    while let Some(picture) = decoder.next_picture().unwrap() {
        decoded.push(secs(picture.pts_ticks.unwrap()));
    }
    let expected = probed(path);
    for times in [&indexed, &decoded] {
        assert_eq!(times.len(), expected.len());
        assert!(times.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{times:?}\n{expected:?}");
    }
}

const MOVING: &str = "testsrc2=size=320x180:rate=25:duration=2";

#[test]
fn times_with_b_frames_in_both_containers() {
    for name in ["a.mp4", "a.mkv"] {
        let (_folder, path) = clip(name, &["-f", "lavfi", "-i", MOVING, "-c:v", "libx264", "-bf", "3"]);
        assert_times(&path);
        assert!(index(&path, |_| {}).unwrap().packets[0].is_key);
    }
}

#[test]
fn times_of_a_variable_frame_rate() {
    let select = "select='not(mod(n\\,3))+lt(n\\,10)'";
    let arguments = ["-f", "lavfi", "-i", MOVING, "-vf", select, "-fps_mode", "vfr", "-c:v", "libx264"];
    let (_folder, path) = clip("vfr.mkv", &arguments);
    assert_times(&path);
}

#[test]
fn times_of_a_stream_that_starts_late() {
    let arguments = ["-f", "lavfi", "-i", MOVING, "-output_ts_offset", "7", "-c:v", "libx264"];
    let (_folder, path) = clip("late.mkv", &arguments);
    assert_times(&path);
    let index = index(&path, |_| {}).unwrap();
    assert!(index.facts.t_secs(index.packets[0].pts_ticks).abs() < 0.1);
}

#[test]
fn an_edit_list_hides_the_frames_before_the_start() {
    let source = ["-f", "lavfi", "-i", MOVING, "-c:v", "libx264", "-g", "25"];
    let (folder, whole) = clip("whole.mp4", &source);
    let path = folder.path().join("part.mp4");
    ffmpeg(&["-ss", "0.6", "-i", whole.to_str().unwrap(), "-c", "copy", path.to_str().unwrap()]);
    assert_times(&path);
    assert!(index(&path, |_| {}).unwrap().warnings[0].contains("before the start"));
}

#[test]
fn other_codecs_depths_and_odd_sizes() {
    let odd = "testsrc2=size=321x181:rate=25:duration=1";
    for (name, source, codec) in [
        ("hevc.mkv", MOVING, ["-c:v", "libx265", "-x265-params", "log-level=none"].as_slice()),
        ("ten-bit.mkv", MOVING, &["-c:v", "libx264", "-pix_fmt", "yuv420p10le"]),
        ("odd.mp4", odd, &["-c:v", "libx264", "-pix_fmt", "yuv444p"]),
        ("vp9.mkv", MOVING, &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]),
    ] {
        let (_folder, path) = clip(name, &[&["-f", "lavfi", "-i", source], codec].concat());
        assert_times(&path);
        let mut decoder = Decoder::open(&path, 1).unwrap();
        let picture = decoder.next_picture().unwrap().unwrap();
        assert_eq!(Converter::new(0).rgb(&picture, 64, 36).unwrap().data.len(), 64 * 36 * 3);
    }
}

/// Mean of the red channel of a part of the upright picture, given as fractions.
fn redness(path: &Path, (x, y): (f64, f64)) -> u8 {
    let mut decoder = Decoder::open(path, 1).unwrap();
    let (width, height) = (decoder.facts().width as usize, decoder.facts().height as usize);
    let mut converter = Converter::new(decoder.facts().rotation_degrees);
    let image = converter.rgb(&decoder.next_picture().unwrap().unwrap(), width, height).unwrap();
    image.data[((y * height as f64) as usize * width + (x * width as f64) as usize) * 3]
}

#[test]
fn pictures_come_upright() {
    // Red on the left, black elsewhere: where the red is after a turn is known. The tag of this
    // FFmpeg turns counter-clockwise.
    let source = "color=black:size=160x90:rate=25:duration=1,drawbox=x=0:y=0:w=40:h=90:color=red:t=fill";
    let (folder, stored) = clip("stored.mp4", &["-f", "lavfi", "-i", source, "-c:v", "libx264"]);
    for (rotate, size, red, black) in [
        ("0", (160, 90), (0.1, 0.5), (0.9, 0.5)),
        ("90", (90, 160), (0.5, 0.9), (0.5, 0.1)),
        ("180", (160, 90), (0.9, 0.5), (0.1, 0.5)),
        ("270", (90, 160), (0.5, 0.1), (0.5, 0.9)),
    ] {
        let turned = folder.path().join(format!("{rotate}.mp4"));
        let tag = format!("rotate={rotate}");
        let (from, to) = (stored.to_str().unwrap(), turned.to_str().unwrap());
        ffmpeg(&["-i", from, "-c", "copy", "-metadata:s:v:0", &tag, to]);
        let facts = index(&turned, |_| {}).unwrap().facts;
        assert_eq!((facts.width, facts.height), size, "{rotate}");
        assert!(redness(&turned, red) > 150 && redness(&turned, black) < 60, "{rotate}");
        // FFmpeg's own idea of upright.
        let upright = folder.path().join("upright.mp4");
        ffmpeg(&["-i", to, "-c:v", "libx264", upright.to_str().unwrap()]);
        assert!(redness(&upright, red) > 150 && redness(&upright, black) < 60, "{rotate}");
    }
}

#[test]
fn a_file_that_was_cut_off_gives_what_it_has_and_says_so() {
    let (_folder, path) = clip("whole.mkv", &["-f", "lavfi", "-i", MOVING, "-c:v", "libx264", "-g", "10"]);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
    let index = index(&path, |_| {}).unwrap();
    assert!((5..45).contains(&index.packets.len()));
    assert!(index.warnings.iter().any(|w| w.contains("may be truncated")), "{:?}", index.warnings);
}

/// Every codec has its own way of failing on damage; none may end the run.
#[test]
fn damaged_packets_cost_their_own_frames_only() {
    let small = "testsrc2=size=160x90:rate=25:duration=2";
    for (name, codec) in [
        ("h264.mkv", ["-c:v", "libx264", "-g", "10"].as_slice()),
        ("vp9.mkv", &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "10"]),
        ("av1.mkv", &["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "10"]),
        ("mpeg4.avi", &["-c:v", "mpeg4", "-g", "10"]),
    ] {
        let (_folder, path) = clip(name, &[&["-f", "lavfi", "-i", small], codec].concat());
        let mut bytes = std::fs::read(&path).unwrap();
        let third = bytes.len() / 3;
        bytes[third..2 * third].iter_mut().step_by(97).for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&path, bytes).unwrap();
        for threads in [1, 2] {
            let mut decoder = Decoder::open(&path, threads).unwrap();
            let mut decoded = 0;
            while decoder.next_picture().unwrap_or_else(|e| panic!("{name}: {e}")).is_some() {
                decoded += 1;
            }
            assert!(decoded >= 10, "{name}: {decoded} frames");
        }
    }
}

#[test]
fn what_is_no_video_is_refused() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("empty.mp4"), "").unwrap();
    std::fs::write(at("text.mp4"), "so long, and thanks for all the fish").unwrap();
    std::fs::write(at("list.mkv"), "#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n").unwrap();
    ffmpeg(&["-f", "lavfi", "-i", "sine=duration=1", at("audio.mp4").to_str().unwrap()]);
    assert!(matches!(index(&at("missing.mp4"), |_| {}), Err(Error::Unreadable { .. })));
    assert!(matches!(index(folder.path(), |_| {}), Err(Error::NotAFile { .. })));
    assert!(matches!(index(&at("empty.mp4"), |_| {}), Err(Error::Empty { .. })));
    assert!(matches!(index(&at("text.mp4"), |_| {}), Err(Error::NotVideo { .. })));
    assert!(matches!(index(&at("list.mkv"), |_| {}), Err(Error::NotVideo { .. })));
    assert!(matches!(index(&at("audio.mp4"), |_| {}), Err(Error::NoVideoStream { .. })));
}
