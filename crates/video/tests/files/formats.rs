//! Codecs, containers, sizes and pixel formats.

use video::{Converter, Decoder};

use crate::clip::{Clip, FRAMES, RATE, assert_frames, ffmpeg, number_in, seen};

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

/// Film that is coded as interlaced: both fields show one moment, and every row stays.
#[test]
fn fields_of_one_moment_are_one_picture() {
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
        assert_eq!(clip.index().warnings, [""; 0], "{name}");
    }
}

/// Mean difference of luma between two videos, 0 to 255: each picture of the first one, as this crate reads it, and
/// what `ffmpeg` makes of the second one with a filter.
fn difference(clip: &Clip, other: &Clip, filter: &str) -> Option<f64> {
    let filter = format!("{filter},scale=out_range=full,format=gray");
    let input = ["-i", other.path.to_str().unwrap()];
    let theirs = ffmpeg(&[input.as_slice(), &["-vf", &filter, "-f", "rawvideo", "-"]].concat())?;
    let mut decoder = Decoder::open(&clip.path, 1).unwrap();
    let (width, height) = (decoder.facts().width as usize, decoder.facts().height as usize);
    let mut ours = Vec::new();
    while let Some(picture) = decoder.next_picture().unwrap() {
        ours.extend(Converter::new(0).luma(&picture, width, height).unwrap().data);
    }
    assert_eq!(ours.len(), theirs.len());
    let sum: u64 = ours.iter().zip(&theirs).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    Some(sum as f64 / ours.len() as f64)
}

/// Fields of two moments: what is shown is the picture of the first one, about as well as `ffmpeg` computes it.
#[test]
fn combs_are_removed() {
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=50:duration=1"];
    let encoded = |name: &str, filter: &str, codec: &[&str]| {
        Clip::new(name, &[source.as_slice(), &["-vf", filter], codec].concat())
    };
    let lossless = ["-c:v", "libx264", "-qp", "0"];
    let interlaced = ["-flags", "+ildct+ilme"];
    for (name, first, order, codec) in [
        ("h264.mkv", "0", "interleave_top,setfield=tff", lossless.as_slice()),
        ("below.mkv", "0", "interleave_bottom,setfield=bff", &lossless),
        ("deep.mkv", "0", "interleave_top,setfield=tff,format=yuv422p10le", &lossless),
        ("mpeg2.mpg", "0", "interleave_top,setfield=tff", &["-c:v", "mpeg2video", "-q:v", "1"]),
    ] {
        let Some(woven) = encoded(name, &format!("tinterlace={order}"), &[codec, &interlaced].concat())
        else {
            return;
        };
        let select = format!("select='eq(mod(n,2),{first})',setpts=N/25/TB");
        let Some(truth) = encoded("truth.mkv", &select, &[&lossless, ["-r", "25"].as_slice()].concat())
        else {
            return;
        };
        let (Some(ours), Some(theirs)) =
            (difference(&woven, &truth, "null"), difference(&truth, &woven, "bwdif=mode=send_frame"))
        else {
            return;
        };
        assert!(ours < 1.5 * theirs + 0.1, "{name}: {ours:.3} here, {theirs:.3} by bwdif");
    }
}

/// Frames in the containers of archives and of cameras: each with its own time, none lost.
#[test]
fn containers_of_archives() {
    let mpeg2 = ["-c:v", "mpeg2video", "-q:v", "2", "-bf", "2"];
    let h264 = ["-c:v", "libx264", "-bf", "2"];
    let dv = ["-c:v", "dvvideo"];
    let cases: [(&str, &[&str]); 14] = [
        ("film.avi", &["-c:v", "mpeg4", "-q:v", "2", "-bf", "2", "-vtag", "XVID"]),
        ("plain.avi", &["-c:v", "mpeg4", "-q:v", "2"]),
        ("film.mpg", &mpeg2),
        ("old.mpg", &["-c:v", "mpeg1video", "-q:v", "2", "-bf", "2"]),
        ("film.vob", &mpeg2),
        ("film.mxf", &mpeg2),
        ("film.ts", &mpeg2),
        ("card.mts", &[&h264, ["-f", "mpegts", "-mpegts_m2ts_mode", "1"].as_slice()].concat()),
        ("disc.m2ts", &h264),
        ("tape.dv", &dv),
        ("tape.avi", &dv),
        ("film.mov", &["-c:v", "prores_ks"]),
        ("film.wmv", &["-c:v", "wmv2", "-q:v", "2"]),
        ("film.flv", &["-c:v", "flv", "-q:v", "2"]),
    ];
    for (name, codec) in cases {
        let size = if codec == dv { (720, 576) } else { (128, 72) };
        let format = if name == "film.mov" { "yuv422p10le" } else { "yuv420p" };
        let Some(clip) = Clip::of_counter_sized(name, size, format, codec) else { return };
        let index = clip.index();
        assert_eq!(index.warnings, [""; 0], "{name}");
        let secs = |ticks| index.facts.t_secs(ticks);
        let times: Vec<_> = index.packets.iter().map(|packet| secs(packet.pts_ticks)).collect();
        let is_at_its_time = |(i, t): (usize, &f64)| (t - times[0] - i as f64 / RATE).abs() < 2e-3;
        assert!(times.len() == FRAMES && times.iter().enumerate().all(is_at_its_time), "{name}: {times:?}");
        let mut decoder = Decoder::open(&clip.path, 2).unwrap();
        let mut number = 0;
        while let Some(picture) = decoder.next_picture().unwrap() {
            let image = Converter::new(0).rgb(&picture, 128, 72).unwrap();
            assert_eq!((number_in(&image), picture.is_damaged), (number, false), "{name}");
            assert!(
                picture.pts_ticks.is_none_or(|ticks| ticks == index.packets[number].pts_ticks),
                "{name}: {number}"
            );
            number += 1;
        }
        assert_eq!((number, decoder.lost()), (FRAMES, 0), "{name}");
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
fn high_dynamic_range_is_read_without_a_warning() {
    let hdr = [
        ["-c:v", "libx265", "-x265-params"].as_slice(),
        &["log-level=none:transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc"],
    ];
    let Some(clip) = Clip::of_counter_sized("hdr.mkv", (128, 72), "yuv420p10le", &hdr.concat()) else {
        return;
    };
    assert_frames(&clip, 0..FRAMES);
    assert_eq!(clip.index().warnings, [""; 0]);
}
