//! Colours and scaling as FFmpeg's own tool has them when it is asked for its best.

use video::{Converter, Decoder, Image};

use crate::clip::{Clip, ffmpeg};

/// A smooth picture in many colours, so that how colour pixels are spread out hardly counts.
const SMOOTH: &str = "gradients=size=SIZE:c0=red:c1=green:c2=blue:c3=yellow:nb_colors=4:x0=0:y0=0:x1=W:y1=H:duration=0.2:seed=7";

/// First picture of a clip, and what FFmpeg's scaler makes of it with these options.
fn both(clip: &Clip, (width, height): (usize, usize), options: &str) -> Option<(Image, Vec<u8>)> {
    let mut decoder = Decoder::open(&clip.path, 1).unwrap();
    let picture = decoder.next_picture().unwrap().unwrap();
    let ours = Converter::new(0).rgb(&picture, width, height).unwrap();
    let flags = "flags=area+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact";
    let filter = format!("scale={width}:{height}:{flags}{options},format=rgb24");
    let from = ["-i", clip.path.to_str().unwrap(), "-frames:v", "1"];
    let theirs = ffmpeg(&[from.as_slice(), &["-vf", &filter, "-f", "rawvideo", "-"]].concat())?;
    assert_eq!(ours.data.len(), theirs.len());
    Some((ours, theirs))
}

fn assert_similar(name: &str, (ours, theirs): (Image, Vec<u8>)) {
    let difference = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b));
    let differences: Vec<_> = ours.data.iter().zip(&theirs).map(difference).collect();
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let most = differences.iter().copied().fold(0.0, f64::max);
    assert!(mean < 1.0 && most <= 6.0, "{name}: {mean:.2} on average, {most} at most");
}

fn smooth(name: &str, (width, height): (u32, u32), arguments: &[&str]) -> Option<Clip> {
    let source = SMOOTH.replace("SIZE", &format!("{width}x{height}"));
    let source = source.replace('W', &width.to_string()).replace('H', &height.to_string());
    let coded = ["-f", "lavfi", "-i", &source, "-c:v", "libx264", "-qp", "4"];
    Clip::new(name, &[coded.as_slice(), arguments].concat())
}

#[test]
fn streams_say_what_their_colours_mean() {
    for (space, range, format) in [
        ("bt709", "tv", "yuv420p"),
        ("bt709", "pc", "yuv420p"),
        ("smpte170m", "tv", "yuv422p"),
        ("bt470bg", "pc", "yuv444p"),
        ("bt2020nc", "tv", "yuv420p10le"),
        ("bt2020nc", "pc", "yuv444p10le"),
        ("smpte240m", "tv", "yuv420p"),
        ("fcc", "tv", "yuv444p"),
    ] {
        let name = format!("{space} {range} {format}");
        let filter =
            format!("scale=out_color_matrix={}:out_range={range},format={format}", space.replace("nc", ""));
        let tags = ["-vf", &filter, "-colorspace", space, "-color_range", range];
        let Some(clip) = smooth("tagged.mkv", (160, 96), &tags) else { return };
        // At half the size no colour pixel is spread over several.
        assert_similar(&name, both(&clip, (80, 48), "").unwrap());
    }
}

#[test]
fn streams_that_say_nothing_are_taken_as_players_take_them() {
    for (size, space) in
        [((160, 96), "bt601"), ((1024, 576), "bt601"), ((1280, 720), "bt709"), ((720, 1280), "bt709")]
    {
        let Some(clip) = smooth("untagged.mkv", size, &["-pix_fmt", "yuv444p"]) else { return };
        let size = (size.0 as usize, size.1 as usize);
        assert_similar(space, both(&clip, size, &format!(":in_color_matrix={space}")).unwrap());
    }
}

#[test]
fn pictures_without_luma_keep_their_colours() {
    let source = SMOOTH.replace("SIZE", "160x96").replace('W', "160").replace('H', "96");
    for (codec, format) in [("libx264rgb", "gbrp"), ("ffv1", "bgr0"), ("png", "rgb24"), ("libx264", "gray")] {
        let arguments = ["-f", "lavfi", "-i", &source, "-c:v", codec, "-qp", "4", "-pix_fmt", format];
        let Some(clip) = Clip::new("rgb.mkv", &arguments) else { return };
        assert_similar(format, both(&clip, (160, 96), "").unwrap());
    }
}

#[test]
fn pictures_are_scaled_by_area() {
    let Some(clip) = smooth("scaled.mkv", (320, 180), &["-pix_fmt", "yuv420p"]) else { return };
    for size in [(160, 90), (128, 72), (107, 60), (64, 36), (80, 180), (320, 45)] {
        assert_similar(&format!("{size:?}"), both(&clip, size, "").unwrap());
    }
    // FFmpeg enlarges by area in steps; interpolation is bilinear.
    let (ours, theirs) = both(&clip, (640, 360), ":flags=bilinear+accurate_rnd+full_chroma_int").unwrap();
    assert_similar("enlarged", (ours, theirs));
}

#[test]
fn the_same_bytes_every_time() {
    let Some(clip) = smooth("again.mkv", (320, 180), &["-pix_fmt", "yuv420p10le"]) else { return };
    let bytes = |threads| {
        let mut decoder = Decoder::open(&clip.path, threads).unwrap();
        let (mut converter, mut all) = (Converter::new(0), Vec::new());
        while let Some(picture) = decoder.next_picture().unwrap() {
            all.extend(converter.rgb(&picture, 100, 56).unwrap().data);
            all.extend(converter.luma(&picture, 64, 36).unwrap().data);
        }
        all
    };
    assert!(bytes(1) == bytes(3));
}
