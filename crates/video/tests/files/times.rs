//! Every frame at its time.

use crate::clip::{Clip, FRAMES, assert_frames, counter, seen};

const H264: [&str; 6] = ["-c:v", "libx264", "-bf", "3", "-g", "25"];

#[test]
fn a_variable_frame_rate() {
    // The first frames, then every third.
    let select = "select='not(mod(n,3))+lt(n,10)'";
    // Times that follow no grid.
    let jitter = "settb=1/1000,setpts='N*40+12*mod(N*N,3)'";
    let chosen = || (0..FRAMES).filter(|n| n % 3 == 0 || *n < 10);
    for container in ["mp4", "mkv"] {
        let with = |filter: &'static str| {
            [&["-vf", filter, "-fps_mode", "vfr", "-enc_time_base", "1/1000"], H264.as_slice()].concat()
        };
        let Some(clip) = Clip::of_counter(&format!("select.{container}"), &with(select)) else { return };
        assert_frames(&clip, chosen());
        assert_eq!(clip.index().warnings, [""; 0]);
        let Some(clip) = Clip::of_counter(&format!("jitter.{container}"), &with(jitter)) else { return };
        assert_frames(&clip, 0..FRAMES);
        let gaps: Vec<_> = seen(&clip.path, 1).0.windows(2).map(|w| w[1].secs - w[0].secs).collect();
        assert!(gaps.iter().any(|gap| *gap < 0.037) && gaps.iter().any(|gap| *gap > 0.043), "{gaps:?}");
        assert_eq!(clip.index().warnings, [""; 0]);
    }
}

#[test]
fn a_stream_that_starts_late() {
    for name in ["late.mkv", "late.mp4", "late.ts"] {
        let late = [H264.as_slice(), &["-output_ts_offset", "7"]].concat();
        let Some(clip) = Clip::of_counter(name, &late) else { return };
        assert_frames(&clip, 0..FRAMES);
        let index = clip.index();
        assert!(index.facts.start_secs >= 7.0, "{name}: {:?}", index.facts);
        // Players show it as zero, and nothing is missing.
        assert_eq!(index.facts.t_secs(index.packets[0].pts_ticks), 0.0, "{name}");
        assert_eq!(index.warnings, [""; 0], "{name}");
    }
}

#[test]
fn sound_that_starts_before_the_pictures() {
    for name in ["sound.mp4", "sound.mkv"] {
        let source = counter(128, 72, "yuv420p");
        let inputs =
            ["-f", "lavfi", "-i", "sine=duration=3", "-itsoffset", "0.5", "-f", "lavfi", "-i", &source];
        let streams = ["-map", "1:v", "-map", "0:a", "-c:a", "aac", "-fps_mode", "passthrough"];
        let Some(clip) = Clip::new(name, &[&inputs, H264.as_slice(), &streams].concat()) else { return };
        assert_frames(&clip, 0..FRAMES);
        let index = clip.index();
        let first_secs = index.facts.t_secs(index.packets[0].pts_ticks);
        assert!((first_secs - 0.5).abs() < 0.05, "{name}: {first_secs}");
        assert_eq!(index.warnings, [""; 0], "{name}");
    }
}

/// A cut without encoding keeps frames from the key frame before it. An mp4 hides them with an edit
/// list, an mkv shows them.
#[test]
fn edit_lists_hide_frames() {
    let Some(whole) = Clip::of_counter("whole.mp4", &["-c:v", "libx264", "-bf", "0", "-g", "25"]) else {
        return;
    };
    let cut = ["-ss", "1.2", "-t", "0.6"];
    let Some(clip) = whole.remade("cut.mp4", &cut, &["-c:v", "copy"]) else { return };
    assert_frames(&clip, 30..45);
    let index = clip.index();
    assert_eq!(index.facts.t_secs(index.packets[0].pts_ticks), 0.0);
    assert_eq!(index.warnings, ["frames skipped because they lie before the start of the presentation: 5"]);
    let Some(clip) = whole.remade("cut.mkv", &cut, &["-c:v", "copy"]) else { return };
    assert_frames(&clip, 25..45);
}

#[test]
fn of_two_videos_one_is_read_and_said_to_be() {
    for name in ["two.mp4", "two.mkv"] {
        let second = ["-f", "lavfi", "-i", "color=size=64x36:rate=10:duration=1", "-map", "0", "-map", "1"];
        let Some(clip) = Clip::of_counter(name, &[second.as_slice(), &H264].concat()) else { return };
        assert_frames(&clip, 0..FRAMES);
        assert_eq!(clip.index().warnings, ["the file has 2 video streams; only stream 0 is read"]);
    }
}
