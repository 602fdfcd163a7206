//! Videos whose picture or time is not plain: bars, odd pixels, a turn, flicker, holes, few frames, old containers.
//! Each is made from the test clip, and shots and faces are compared with those of the clip itself. In some photos,
//! the face is hard to see.

use std::fs;
use std::path::{Path, PathBuf};

use schema::footer::Picture;
use schema::io::{open, read_all};
use schema::tables::{Detection, Frame, Shot, Track, Video};
use testkit::assets;
use testkit::line::Line;

use crate::empty_folder;

/// Frames that are taken of the clip: two shots and the beginning of a third.
const FRAMES: usize = 150;
/// First frames of their shots.
const SHOTS: [i64; 3] = [0, 70, 135];

/// What the first two stages find.
struct Seen {
    video: Video,
    frames: Vec<Frame>,
    shots: Vec<i64>,
    tracks: Vec<Track>,
    boxes: Vec<Detection>,
    /// The picture in the footer of `detections`.
    picture: Picture,
    warnings: Vec<String>,
}

fn folder(name: &str) -> PathBuf {
    empty_folder("pictures", name)
}

/// Makes a video of the first frames of the clip with arguments of `ffmpeg`.
fn make(path: &Path, arguments: &[&str]) -> Option<()> {
    let clip = assets::require("FACETRACK_CLIP")?;
    let mut ffmpeg = assets::require_ffmpeg()?;
    ffmpeg.arg("-i").arg(clip).args(["-an", "-frames:v", &FRAMES.to_string()]).args(arguments).arg(path);
    assert!(ffmpeg.status().unwrap().success(), "{arguments:?}");
    Some(())
}

fn see(video: &Path) -> Option<Seen> {
    let run_dir = video.with_file_name("run");
    let line = Line::on(video, &run_dir)?;
    let said = ["ingest", "detect-track"].map(|stage| line.run(stage));
    let mut warnings = Vec::new();
    for said in &said {
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        let events = said.events.iter().filter(|event| event["event"] == "warning");
        warnings.extend(events.map(|event| event["message"].as_str().unwrap().to_owned()));
    }
    let detections = run_dir.join("detections.parquet");
    let mut boxes: Vec<Detection> = read_all(&detections).unwrap();
    boxes.retain(|row| row.track_id.is_some());
    let shots: Vec<Shot> = read_all(&run_dir.join("shots.parquet")).unwrap();
    Some(Seen {
        video: read_all(&run_dir.join("videos.parquet")).unwrap().remove(0),
        frames: read_all(&run_dir.join("frames.parquet")).unwrap(),
        shots: shots.iter().map(|shot| shot.first_frame_idx).collect(),
        tracks: read_all(&run_dir.join("tracks.parquet")).unwrap(),
        boxes,
        picture: open::<Detection>(&detections).unwrap().footer().picture.unwrap(),
        warnings,
    })
}

/// What is seen in the clip after `arguments`, in a file of this name.
fn seen(name: &str, arguments: &[&str]) -> Option<Seen> {
    let video = folder(name).join(name);
    make(&video, arguments)?;
    see(&video)
}

const CODEC: [&str; 4] = ["-c:v", "libx264", "-crf", "12"];

fn filtered(name: &str, filter: &str) -> Option<Seen> {
    seen(name, &[["-vf", filter].as_slice(), &CODEC].concat())
}

fn plain(name: &str) -> Option<Seen> {
    let plain = seen(name, &CODEC)?;
    assert_eq!((plain.shots.as_slice(), plain.warnings.len()), (&SHOTS[..], 0), "{:?}", plain.warnings);
    Some(plain)
}

/// Share of the boxes of `expected`, each edge moved by `place`, that `found` has too.
fn recall(expected: &Seen, found: &Seen, place: impl Fn([f32; 4]) -> [f32; 4]) -> f64 {
    let is_found = |row: &&Detection| {
        let [left, top, right, bottom] = place([row.x_min, row.y_min, row.x_max, row.y_max]);
        found.boxes.iter().filter(|other| other.frame_idx == row.frame_idx).any(|other| {
            let width = (right.min(other.x_max) - left.max(other.x_min)).max(0.0);
            let height = (bottom.min(other.y_max) - top.max(other.y_min)).max(0.0);
            let shared = width * height;
            let both =
                (right - left) * (bottom - top) + (other.x_max - other.x_min) * (other.y_max - other.y_min);
            shared > 0.5 * (both - shared)
        })
    };
    expected.boxes.iter().filter(is_found).count() as f64 / expected.boxes.len() as f64
}

/// Where a box of the clip, as left, top, right and bottom, lies in a copy.
type Moved = Box<dyn Fn([f32; 4]) -> [f32; 4]>;

#[test]
fn bars_and_odd_pixels_change_neither_cuts_nor_faces() {
    let Some(plain) = plain("bars.mkv") else { return };
    let moved = |x: f32, y: f32| move |[l, t, r, b]: [f32; 4]| [l + x, t + y, r + x, b + y];
    let scaled = |x: f32, y: f32| move |[l, t, r, b]: [f32; 4]| [l * x, t * y, r * x, b * y];
    let cases: [(&str, &str, Moved); 10] = [
        ("sides.mp4", "pad=854:360:107:0", Box::new(moved(107.0, 0.0))),
        ("letterbox.mp4", "pad=640:480:0:60", Box::new(moved(0.0, 60.0))),
        ("around.mp4", "pad=960:540:200:100", Box::new(moved(200.0, 100.0))),
        ("wide.mkv", "scale=720:576,setsar=64/45", Box::new(scaled(1.125, 1.6))),
        ("flicker.mp4", "eq=brightness='0.06*sin(2*PI*t*8)':eval=frame", Box::new(|edges| edges)),
        ("window.mp4", "pad=1280:720:600:300:gray", Box::new(moved(600.0, 300.0))),
        // Bars that the window has itself never move.
        ("barred.mp4", "pad=640:440:0:40,pad=1280:720:600:200:gray", Box::new(moved(600.0, 240.0))),
        ("turned90.mp4", "transpose=1", Box::new(|[l, t, r, b]| [360.0 - b, l, 360.0 - t, r])),
        (
            "turned180.mp4",
            "hflip,vflip",
            Box::new(|[l, t, r, b]| [640.0 - r, 360.0 - b, 640.0 - l, 360.0 - t]),
        ),
        ("turned270.mp4", "transpose=2", Box::new(|[l, t, r, b]| [t, 640.0 - r, b, 640.0 - l])),
    ];
    for (name, filter, place) in cases {
        let Some(found) = filtered(name, filter) else { return };
        assert_eq!(found.shots, SHOTS, "{name}");
        let recall = recall(&plain, &found, &place);
        assert!(recall >= 0.95, "{name}: {recall}");
        // The table says where the picture is, to within a few pixels, as bars are searched in a small copy.
        let Picture { x_min, y_min, x_max, y_max, turn_degrees } = found.picture;
        let edges = [x_min, y_min, x_max, y_max];
        let whole = place([0.0, 0.0, 640.0, 360.0]);
        let is_near = edges.iter().zip(whole).all(|(found, edge)| (*found as f32 - edge).abs() <= 6.0);
        assert!(is_near, "{name}: {edges:?}, expected {whole:?}");
        assert_eq!(found.tracks.len(), plain.tracks.len(), "{name}");
        // Only a turned picture is worth a warning, which names the turn that puts it right.
        let expected = name.strip_prefix("turned").map(|degrees| match degrees {
            "90.mp4" => 270,
            "180.mp4" => 180,
            _ => 90,
        });
        assert_eq!(turn_degrees, expected.unwrap_or(0), "{name}");
        assert_eq!(found.warnings.len(), usize::from(expected.is_some()), "{name}: {:?}", found.warnings);
        let words = format!("turned by {turn_degrees} degrees");
        let is_named = expected.is_none() || found.warnings[0].contains(&words);
        assert!(is_named, "{name}: {:?}", found.warnings);
    }
}

#[test]
fn containers_of_archives_are_read_like_others() {
    let Some(plain) = plain("archives.mkv") else { return };
    for (name, arguments) in [
        ("bframes.avi", ["-c:v", "mpeg4", "-q:v", "2", "-bf", "2", "-vtag", "XVID"].as_slice()),
        ("film.mxf", &["-vf", "scale=1440:1080,setsar=4/3", "-c:v", "mpeg2video", "-q:v", "3"]),
        ("narrow.mpg", &["-vf", "scale=352:576,setsar=24/11", "-c:v", "mpeg2video", "-q:v", "3"]),
    ] {
        let Some(found) = seen(name, arguments) else { return };
        assert_eq!(found.warnings, [""; 0], "{name}");
        assert_eq!(found.shots, SHOTS, "{name}");
        assert_eq!(found.frames.len(), FRAMES, "{name}");
        let (across, down) = (found.video.width as f32 / 640.0, found.video.height as f32 / 360.0);
        let recall = recall(&plain, &found, |[l, t, r, b]| [l * across, t * down, r * across, b * down]);
        assert!(recall >= 0.95, "{name}: {recall}");
    }
}

/// Fifty moments a second, two in a frame: what is seen is every second frame of the same video.
#[test]
fn fields_are_not_combed() {
    let interlaced = ["-flags", "+ildct+ilme", "-r", "25", "-frames:v", "75"];
    let select = ["-vf", "select='not(mod(n,2))',setpts=N/25/TB", "-r", "25", "-frames:v", "75"];
    let Some(plain) = seen("every-second.mkv", &[select.as_slice(), &CODEC].concat()) else { return };
    assert_eq!(plain.shots, [0, 35, 68]);
    let weave = "setpts=N/50/TB,fps=50,tinterlace=interleave_top,setfield=tff";
    let tape = "setpts=N/50/TB,fps=50,scale=720:576,setsar=64/45,tinterlace=interleave_bottom,setfield=bff";
    // Nothing in this file says that its frames are two moments.
    let unmarked = "setpts=N/50/TB,fps=50,tinterlace=interleave_top,setfield=prog";
    for (name, filter, codec) in [
        ("fields.mkv", weave, CODEC.as_slice()),
        ("unmarked.mkv", unmarked, &CODEC),
        ("fields.vob", weave, &["-c:v", "mpeg2video", "-q:v", "2"]),
        ("fields.dv", tape, &["-pix_fmt", "yuv420p", "-c:v", "dvvideo"]),
    ] {
        let flags = if filter == unmarked { &interlaced[2..] } else { &interlaced };
        let arguments = [["-vf", filter].as_slice(), codec, flags].concat();
        let Some(found) = seen(name, &arguments) else { return };
        assert_eq!(found.warnings, [""; 0], "{name}");
        assert_eq!((found.frames.len(), found.shots.as_slice()), (75, plain.shots.as_slice()), "{name}");
        let (across, down) = (found.video.width as f32 / 640.0, found.video.height as f32 / 360.0);
        let recall = recall(&plain, &found, |[l, t, r, b]| [l * across, t * down, r * across, b * down]);
        assert!(recall >= 0.95, "{name}: {recall}");
    }
}

/// The clip as PQ and as HLG, with the white of the clip at the reference white of ITU-R BT.2408.
#[test]
fn high_dynamic_range_shows_the_same_faces() {
    let Some(()) = assets::require_filter("zscale") else { return };
    let Some(plain) = plain("range.mkv") else { return };
    for transfer in ["smpte2084", "arib-std-b67"] {
        let filter = format!(
            "setparams=colorspace=smpte170m:color_primaries=bt709:color_trc=bt709:range=tv,\
             zscale=p=bt2020:t={transfer}:m=bt2020nc:npl=203,format=yuv420p10le"
        );
        let tags = ["-color_trc", transfer, "-color_primaries", "bt2020", "-colorspace", "bt2020nc"];
        let Some(found) = seen("deep.mkv", &[&["-vf", &filter], CODEC.as_slice(), &tags].concat()) else {
            return;
        };
        assert_eq!(found.warnings, [""; 0], "{transfer}");
        assert_eq!(found.shots, SHOTS, "{transfer}");
        let recall = recall(&plain, &found, |edges| edges);
        assert!(recall >= 0.95, "{transfer}: {recall}");
    }
}

#[test]
fn holes_and_jumps_of_the_clock_do_not_stretch_a_video() {
    let hole =
        ["-vf", "setpts='PTS+if(gte(N,100),600/TB,0)'", "-fps_mode", "vfr", "-enc_time_base", "1/1000"];
    let Some(found) = seen("hole.mkv", &[hole.as_slice(), &CODEC].concat()) else { return };
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
    assert!((found.video.duration_secs - 606.0).abs() < 0.1, "{}", found.video.duration_secs);
    let is_cut_off = |track: &Track| track.last_frame_idx < 100 || track.first_frame_idx >= 100;
    assert!(found.tracks.iter().all(is_cut_off));
    // A track is cut off at the hole, not before it.
    assert!(found.tracks.iter().any(|track| track.last_frame_idx == 99));

    let folder = folder("joined");
    let (first, second) = (folder.join("a.ts"), folder.join("b.ts"));
    for (path, offset) in [(&first, "1000"), (&second, "20")] {
        let Some(()) = make(path, &[CODEC.as_slice(), &["-output_ts_offset", offset]].concat()) else {
            return;
        };
    }
    let joined = folder.join("joined.ts");
    fs::write(&joined, [fs::read(first).unwrap(), fs::read(second).unwrap()].concat()).unwrap();
    let Some(found) = see(&joined) else { return };
    assert!((found.video.duration_secs - 12.0).abs() < 0.1, "{}", found.video.duration_secs);
    assert!(found.warnings.iter().any(|warning| warning.contains("clock of the file jumps 1 time")));
    assert_eq!(found.frames.len(), 2 * FRAMES);
}

#[test]
fn slow_videos_and_single_frames_have_people() {
    let slow = ["-vf", "select='not(mod(n,25))',setpts=N/TB", "-r", "1"];
    for (name, arguments) in [
        ("slow.mp4", [slow.as_slice(), &CODEC].concat()),
        ("two.mkv", [&["-frames:v", "2"], CODEC.as_slice()].concat()),
        ("one.mkv", [&["-frames:v", "1"], CODEC.as_slice()].concat()),
    ] {
        let Some(found) = seen(name, &arguments) else { return };
        assert!(!found.tracks.is_empty(), "{name}");
        assert_eq!(found.warnings, [""; 0], "{name}");
    }
}

/// What is seen in two seconds of a photo of the tests, after a chain of filters that may move with `n`.
fn seen_of_photo(name: &str, photo: &str, filter: &str) -> Option<Seen> {
    let photos = assets::require("FACETRACK_PHOTOS_DIR")?;
    let mut ffmpeg = assets::require_ffmpeg()?;
    let video = folder(name).join("photo.mkv");
    ffmpeg.args(["-loop", "1", "-framerate", "25", "-i"]).arg(photos.join(photo)).args(["-t", "2"]);
    ffmpeg.args(["-filter_complex", filter, "-pix_fmt", "yuv420p"]).args(CODEC).arg(&video);
    assert!(ffmpeg.status().unwrap().success(), "{filter}");
    see(&video)
}

#[test]
fn a_face_larger_than_the_picture_is_found() {
    // The face has 236 x 339 pixels of the photo, of which 134 rows are shown.
    let close = "crop=240:134:364+n/5:187,scale=640:360,setsar=1";
    let Some(found) = seen_of_photo("close", "obama.jpg", close) else { return };
    assert_eq!(found.tracks.len(), 1);
    let sizes: Vec<f64> = found.boxes.iter().map(|row| f64::from(row.size_px)).collect();
    assert!(sizes.iter().all(|size| *size > 400.0), "{sizes:?}");
}

#[test]
fn a_doubtful_face_is_looked_at_again() {
    // A face of 40 pixels, the mouth and the chin covered, before the blurred photo.
    let masked = "split[a][b];[a]scale=700:360,gblur=20[behind];\
        [b]drawbox=x=iw*0.05:y=397:w=iw*0.9:h=ih:color=0x504648:t=fill,scale=iw*40/393:-2[face];\
        [behind][face]overlay=270:100,crop=640:360:30-n/5:0,setsar=1";
    let Some(found) = seen_of_photo("masked", "biden.jpg", masked) else { return };
    assert_eq!(found.tracks.len(), 1);
    let scores: Vec<f32> = found.boxes.iter().filter_map(|row| row.score).collect();
    assert!(!scores.is_empty() && scores.iter().all(|score| *score < 0.8), "{scores:?}");
}
