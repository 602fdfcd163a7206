//! Unusual videos through the programs: the same faces at the same times, or a clear warning.
//! What the decoder makes of formats is tested in `crates/video`.

use std::fs;
use std::path::{Path, PathBuf};

use schema::Row;
use schema::io::read_all;
use schema::tables::{Detection, Frame, Track, Video};
use testkit::files::untidy;
use testkit::line::{Line, Said};
use testkit::{assets, mp4};

use crate::empty_folder;

const STAGES: [&str; 2] = ["ingest", "detect-track"];

/// The first shots of the test clip, made with these arguments of `ffmpeg`.
fn video(name: &str, arguments: &[&str]) -> Option<PathBuf> {
    let folder = empty_folder("formats", name);
    let (clip, path) = (assets::require("FACETRACK_CLIP")?, folder.join(name));
    let mut ffmpeg = assets::require_ffmpeg()?;
    ffmpeg.args(["-t", "4", "-i"]).arg(clip).args(["-c:v", "libx264", "-crf", "16"]);
    let done = ffmpeg.args(arguments).arg(&path).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(path)
}

/// Where faces were found, by frame.
struct Found {
    line: Line,
    said: Vec<(&'static str, Said)>,
}

impl Found {
    fn new(video: &Path) -> Option<Self> {
        let line = Line::on(video, &video.with_file_name("r"))?;
        let said = line.run_stages(&STAGES);
        assert!(said.len() == 2 && said.iter().all(|(_, said)| said.code == Some(0)), "{said:?}");
        assert_eq!(untidy(&line.run_dir), [""; 0]);
        Some(Self { line, said })
    }

    fn read<R: Row + Clone>(&self) -> Vec<R> {
        read_all(&self.line.run_dir.join(R::TABLE.file_name())).unwrap()
    }

    fn warnings(&self) -> Vec<&str> {
        self.said.iter().flat_map(|(_, said)| said.warnings()).collect()
    }

    /// Asserts that the same faces were found in the same places, as far as coding again allows.
    fn assert_like(&self, other: &Self) {
        let (mine, others) = (self.read::<Detection>(), other.read::<Detection>());
        let near = |a: &Detection, b: &Detection| {
            let sides = [(a.x_min, b.x_min), (a.y_min, b.y_min), (a.x_max, b.x_max), (a.y_max, b.y_max)];
            a.frame_idx == b.frame_idx && sides.iter().all(|(a, b)| (a - b).abs() < 6.0)
        };
        let matched = mine.iter().filter(|face| others.iter().any(|other| near(face, other))).count();
        let all = mine.len().max(others.len());
        assert!(all > 20 && matched * 100 >= all * 95, "{matched} of {} and {}", mine.len(), others.len());
        assert_eq!(self.read::<Track>().len(), other.read::<Track>().len());
        let times = |found: &Self| found.read::<Frame>().iter().map(|f| f.t_secs).collect::<Vec<_>>();
        let (mine, others) = (times(self), times(other));
        assert_eq!(mine.len(), others.len());
        assert!(mine.iter().zip(&others).all(|(a, b)| (a - b).abs() < 1e-3));
    }
}

#[test]
fn faces_are_found_in_turned_deep_and_late_videos() {
    let Some(Some(plain)) = video("plain.mp4", &[]).map(|video| Found::new(&video)) else { return };
    assert_eq!(plain.warnings(), [""; 0]);
    let one = 1 << 16;
    for (name, arguments, matrix) in [
        ("turned.mp4", ["-vf", "transpose=cclock"].as_slice(), Some([0, one, -one, 0])),
        ("mirrored.mp4", &["-vf", "hflip"], Some([-one, 0, 0, one])),
        ("deep.mkv", &["-pix_fmt", "yuv420p10le"], None),
        ("late.mkv", &["-output_ts_offset", "100"], None),
    ] {
        let Some(path) = video(name, arguments) else { return };
        if let Some(matrix) = matrix {
            let mut bytes = fs::read(&path).unwrap();
            mp4::set_matrix(&mut bytes, matrix);
            fs::write(&path, bytes).unwrap();
        }
        let Some(found) = Found::new(&path) else { return };
        found.assert_like(&plain);
        assert_eq!(found.warnings(), [""; 0], "{name}");
        let size =
            |found: &Found| found.read::<Video>().iter().map(|v| (v.width, v.height)).collect::<Vec<_>>();
        assert_eq!(size(&found), size(&plain), "{name}");
    }
}

/// Damage costs frames, never the run; the times of the other frames stay correct, and a warning is printed.
#[test]
fn a_damaged_middle_is_reported() {
    for name in ["damaged.mkv", "damaged.mp4"] {
        let Some(path) = video(name, &["-g", "25", "-cluster_time_limit", "1000"]) else { return };
        let mut bytes = fs::read(&path).unwrap();
        let (from, to) = (bytes.len() * 50 / 100, bytes.len() * 60 / 100);
        bytes[from..to].iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * i % 251) as u8);
        fs::write(&path, bytes).unwrap();
        let Some(found) = Found::new(&path) else { return };
        let warnings = found.warnings();
        let expected = ["gaps without frames, perhaps damage", "could not be decoded"];
        let is_reported = |words: &&str| warnings.iter().any(|warning| warning.contains(*words));
        assert!(expected.iter().any(is_reported), "{name}: {warnings:?}");
        let frames = found.read::<Frame>();
        assert!(frames.len() > 60, "{name}: {}", frames.len());
        assert!(frames.iter().all(|f| (f.t_secs * 25.0 - (f.t_secs * 25.0).round()).abs() < 0.05), "{name}");
        assert!(frames.last().unwrap().t_secs > 3.9, "{name}");
        let faces = found.read::<Detection>();
        let last = faces.iter().map(|face| face.frame_idx).max().unwrap();
        assert!(frames[usize::try_from(last).unwrap()].t_secs > 3.5, "{name}: no faces after the damage");
    }
}
