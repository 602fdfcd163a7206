//! Codecs, containers, sizes and pixel formats.

use crate::clip::{Clip, FRAMES, assert_frames, seen};

const H265: [&str; 4] = ["-c:v", "libx265", "-x265-params", "log-level=none:bframes=3"];
const VP9: [&str; 6] = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"];

#[test]
fn codecs_in_both_containers() {
    for (name, codec) in [
        ("h264", ["-c:v", "libx264", "-bf", "3"].as_slice()),
        ("hevc", &H265),
        ("vp9", &VP9),
        // Two passes give it frames that are decoded early and shown later.
        (
            "vp9-alt-ref",
            &["-c:v", "libvpx-vp9", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-cpu-used", "5"],
        ),
        ("av1", &["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"]),
        ("svt-av1", &["-c:v", "libsvtav1", "-preset", "12"]),
    ] {
        for container in ["mp4", "mkv"] {
            let Some(clip) = Clip::of_counter(&format!("{name}.{container}"), codec) else { continue };
            assert_frames(&clip, 0..FRAMES);
            let index = clip.index();
            assert_eq!((index.facts.width, index.facts.height), (128, 72), "{name}");
            assert!(index.packets[0].is_key, "{name}");
            assert_eq!(index.warnings, [""; 0], "{name}");
        }
    }
}

#[test]
fn depths_and_subsampling() {
    for (format, codec) in [
        ("yuv420p10le", ["-c:v", "libx264"].as_slice()),
        ("yuv420p10le", &H265),
        ("yuv420p12le", &H265),
        ("yuv420p10le", &[VP9.as_slice(), &["-profile:v", "2"]].concat()),
        ("yuv422p", &["-c:v", "libx264"]),
        ("yuv422p10le", &["-c:v", "libx264"]),
        ("yuv444p", &["-c:v", "libx264"]),
        ("gbrp", &["-c:v", "libx264rgb"]),
        ("yuvj420p", &["-c:v", "mjpeg", "-q:v", "2"]),
    ] {
        let Some(clip) = Clip::of_counter_sized("depth.mkv", (128, 72), format, codec) else { continue };
        assert_frames(&clip, 0..FRAMES);
        assert_eq!(clip.index().warnings, [""; 0], "{format}");
    }
}

/// Grey has no red and blue, but its frames count all the same.
#[test]
fn grey() {
    for format in ["gray", "gray10le"] {
        let codec = ["-c:v", "libx264"];
        let Some(clip) = Clip::of_counter_sized("grey.mkv", (128, 72), format, &codec) else { return };
        let numbers: Vec<_> = seen(&clip.path, 1).0.iter().map(|frame| frame.number).collect();
        assert_eq!(numbers, Vec::from_iter(0..FRAMES), "{format}");
    }
}

#[test]
fn odd_sizes() {
    for ((width, height), format, codec) in [
        ((129, 73), "yuv444p", ["-c:v", "libx264"].as_slice()),
        ((161, 91), "yuv444p10le", &["-c:v", "libx264"]),
        ((129, 73), "yuv420p", &VP9),
        ((321, 181), "yuv420p", &["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8"]),
        ((129, 72), "yuv422p", &["-c:v", "mpeg2video", "-q:v", "2"]),
        ((131, 75), "yuv420p", &["-c:v", "mpeg4", "-q:v", "2"]),
    ] {
        let Some(clip) = Clip::of_counter_sized("odd.mkv", (width, height), format, codec) else { continue };
        assert_frames(&clip, 0..FRAMES);
        let facts = clip.index().facts;
        assert_eq!((facts.width, facts.height), (width, height), "{format}");
    }
}

/// Both fields are read as one picture, at its own time, with a warning.
#[test]
fn interlaced_video_is_read_as_it_is() {
    // Every frame twice, so that the two fields show one number.
    let woven = ["-vf", "fps=50,tinterlace=interleave_top,fieldorder=tff", "-flags", "+ildct+ilme"];
    for (name, codec) in [
        ("h264.mp4", ["-c:v", "libx264"].as_slice()),
        ("h264.mkv", &["-c:v", "libx264"]),
        ("h264.ts", &["-c:v", "libx264"]),
        ("mpeg2.mkv", &["-c:v", "mpeg2video", "-q:v", "2"]),
    ] {
        let Some(clip) = Clip::of_counter(name, &[woven.as_slice(), codec].concat()) else { return };
        assert_frames(&clip, 0..FRAMES);
        let warning = "the video is interlaced and is not deinterlaced: moving faces have combed edges";
        assert_eq!(clip.index().warnings, [warning], "{name}");
    }
}

#[test]
fn the_aspect_of_pixels_is_known() {
    for name in ["wide.mp4", "wide.mkv"] {
        let Some(clip) = Clip::of_counter(name, &["-vf", "setsar=64/45", "-c:v", "libx264"]) else { return };
        assert_frames(&clip, 0..FRAMES);
        let index = clip.index();
        assert_eq!((index.facts.width, index.facts.height), (128, 72));
        assert!((index.facts.pixel_aspect - 64.0 / 45.0).abs() < 1e-6, "{}", index.facts.pixel_aspect);
        assert_eq!(index.warnings, [""; 0]);
    }
}

#[test]
fn high_dynamic_range_is_reported() {
    let hdr = [
        ["-c:v", "libx265", "-x265-params"].as_slice(),
        &["log-level=none:transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc"],
    ];
    let Some(clip) = Clip::of_counter_sized("hdr.mkv", (128, 72), "yuv420p10le", &hdr.concat()) else {
        return;
    };
    assert_frames(&clip, 0..FRAMES);
    assert!(clip.index().warnings[0].contains("high dynamic range"), "{:?}", clip.index().warnings);
}
