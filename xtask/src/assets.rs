//! The clip with real faces that the tests run on, composed on the machine.
//!
//! Its photos are official portraits, works of the US government, out of a package under the MIT
//! licence. They are third-party pictures, so they stay in the cache and never enter the
//! repository. Who is in which shot is known by construction and written beside the clip.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use console::{Error, Result, exit, process};
use fetch::Package;
use fetch::cache::{self, Scratch};

const FACE_RECOGNITION: Package = Package {
    name: "face_recognition",
    version: "1.3.0",
    file: "face_recognition-1.3.0.tar.gz",
    sha256: "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
};
/// Folder of the photos inside the package.
const PHOTO_FOLDER: &str = "face_recognition-1.3.0/tests/test_images";

/// A photo: file name, SHA-256, who is on it.
#[derive(Debug, PartialEq, Eq)]
struct Photo {
    file: &'static str,
    sha256: &'static str,
    person: &'static str,
}

const PORTRAIT: Photo = Photo {
    file: "obama.jpg",
    sha256: "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
    person: "obama",
};
const SPEECH: Photo = Photo {
    file: "obama2.jpg",
    sha256: "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
    person: "obama",
};
const STANDING: Photo = Photo {
    file: "obama3.jpg",
    sha256: "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
    person: "obama",
};
const BIDEN: Photo = Photo {
    file: "biden.jpg",
    sha256: "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
    person: "biden",
};
/// The same speech as a PNG: the networks are compared with their reference on it, because no two
/// JPEG decoders agree to the last bit.
const LOSSLESS: Photo = Photo {
    file: "32bit.png",
    sha256: "44dca895a7d635a4aedddd91a4f37af9a8a5b44e66154282a24645a757b5f627",
    person: "obama",
};
const PHOTOS: [&Photo; 5] = [&PORTRAIT, &SPEECH, &STANDING, &BIDEN, &LOSSLESS];

/// The upper left part of a photo, pixels, shown as high as the frame.
#[derive(Debug)]
struct Part {
    photo: &'static Photo,
    width: u32,
    height: u32,
}

const PORTRAIT_WHOLE: Part = Part { photo: &PORTRAIT, width: 910, height: 1137 };
/// Without the onlooker at the right edge, whose half face would have no label.
const SPEECH_CLOSE: Part = Part { photo: &SPEECH, width: 546, height: 1200 };
const STANDING_CLOSE: Part = Part { photo: &STANDING, width: 1434, height: 1500 };
const STANDING_FAR: Part = Part { photo: &STANDING, width: 1434, height: 2333 };
const BIDEN_CLOSE: Part = Part { photo: &BIDEN, width: 970, height: 1500 };
const BIDEN_FAR: Part = Part { photo: &BIDEN, width: 970, height: 2204 };

/// Where the camera looks: magnification, and the centre as fractions of width and height.
type View = (f64, f64, f64);

/// A shot: parts side by side, its length, and the camera's way.
#[derive(Debug)]
struct Shot {
    parts: &'static [Part],
    frames: u32,
    from: View,
    to: View,
}

/// Two people, each returning several times and at several scales, once together.
const SHOTS: [Shot; 9] = [
    Shot { parts: &[PORTRAIT_WHOLE], frames: 70, from: (1.0, 0.5, 0.5), to: (1.5, 0.5, 0.34) },
    Shot { parts: &[BIDEN_CLOSE], frames: 65, from: (1.4, 0.44, 0.36), to: (1.4, 0.60, 0.36) },
    Shot { parts: &[SPEECH_CLOSE], frames: 70, from: (1.3, 0.61, 0.40), to: (1.3, 0.45, 0.44) },
    Shot { parts: &[BIDEN_CLOSE], frames: 60, from: (1.9, 0.53, 0.30), to: (1.1, 0.5, 0.46) },
    Shot { parts: &[STANDING_CLOSE], frames: 70, from: (1.1, 0.5, 0.46), to: (1.8, 0.5, 0.32) },
    Shot { parts: &[SPEECH_CLOSE, BIDEN_CLOSE], frames: 75, from: (1.0, 0.5, 0.5), to: (1.12, 0.5, 0.46) },
    Shot { parts: &[BIDEN_FAR], frames: 60, from: (1.2, 0.46, 0.42), to: (1.2, 0.56, 0.42) },
    Shot { parts: &[PORTRAIT_WHOLE], frames: 65, from: (1.7, 0.58, 0.30), to: (1.7, 0.43, 0.33) },
    Shot { parts: &[STANDING_FAR], frames: 65, from: (1.15, 0.52, 0.44), to: (1.7, 0.5, 0.30) },
];

/// The canvas the camera moves over; three times the clip, so that slow moves stay smooth.
const CANVAS: (u32, u32) = (1920, 1080);
const SIZE: &str = "640x360";
const FPS: &str = "25";

const CLIP: &str = "clip.mkv";
const NO_FACE: &str = "noface.mp4";
const SHOT_TRUTH: &str = "clip.shots.csv";
const PEOPLE_TRUTH: &str = "clip.people.csv";
const RECIPE: &str = "recipe.txt";

/// The composed files.
#[derive(Debug)]
pub(crate) struct Clips {
    /// Nine shots of two people.
    pub(crate) clip: PathBuf,
    /// Columns shot, first_frame, end_frame_exclusive.
    pub(crate) shots: PathBuf,
    /// Columns shot, people; several are joined by `+`.
    pub(crate) people: PathBuf,
    /// A clip without a face.
    pub(crate) no_face: PathBuf,
    /// Folder of the photos.
    pub(crate) photos: PathBuf,
}

impl Clips {
    fn at(dir: &Path, photos: PathBuf) -> Self {
        Self {
            clip: dir.join(CLIP),
            shots: dir.join(SHOT_TRUTH),
            people: dir.join(PEOPLE_TRUTH),
            no_face: dir.join(NO_FACE),
            photos,
        }
    }

    fn are_there(&self) -> bool {
        [&self.clip, &self.shots, &self.people, &self.no_face].iter().all(|path| path.is_file())
    }
}

/// Makes sure that the clips are there, composing them when their recipe has changed.
pub(crate) fn obtain() -> Result<Clips> {
    let dir = cache::folder("clips")?;
    let clips = Clips::at(&dir, cache::folder("photos")?);
    let scratch = Scratch::new("clips")?;
    obtain_photos(&clips.photos, &scratch)?;
    let recipe = recipe();
    if clips.are_there() && fs::read_to_string(dir.join(RECIPE)).is_ok_and(|found| found == recipe) {
        return Ok(clips);
    }
    compose(&clips.photos, &scratch.path().join("clips"), &recipe)?;
    scratch.publish("clips", &dir)?;
    Ok(clips)
}

fn obtain_photos(dir: &Path, scratch: &Scratch) -> Result<()> {
    for photo in PHOTOS {
        let path = dir.join(photo.file);
        if path.is_file() {
            fetch::verify(&path, photo.sha256)?;
            continue;
        }
        let archive = archive(dir, scratch)?;
        let member = format!("{PHOTO_FOLDER}/{}", photo.file);
        fetch::extract(&archive, &member, photo.sha256, &scratch.path().join(photo.file))?;
        scratch.publish(photo.file, &path)?;
    }
    Ok(())
}

/// The package, put beside the photos by hand or downloaded.
fn archive(dir: &Path, scratch: &Scratch) -> Result<PathBuf> {
    let by_hand = dir.join(FACE_RECOGNITION.file);
    if by_hand.is_file() {
        return fetch::verify(&by_hand, FACE_RECOGNITION.sha256).map(|()| by_hand);
    }
    let downloaded = scratch.path().join(FACE_RECOGNITION.file);
    if !downloaded.is_file() {
        fetch::download(&FACE_RECOGNITION, scratch).map_err(|error| {
            let Package { file, sha256, .. } = FACE_RECOGNITION;
            let hint = format!("or save {file} (SHA-256 {sha256}) as `{}`", by_hand.display());
            if error.is_interrupt() || error.hint.is_some() { error } else { error.hint(hint) }
        })?;
    }
    Ok(downloaded)
}

fn compose(photos: &Path, to: &Path, recipe: &str) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    let mut clip = ffmpeg();
    for part in SHOTS.iter().flat_map(|shot| shot.parts) {
        clip.arg("-i").arg(photos.join(part.photo.file));
    }
    clip.args(["-filter_complex_threads", "1", "-filter_complex", &filter(), "-map", "[clip]"]);
    encode(clip.args(ENCODING).arg(to.join(CLIP)))?;
    let mut no_face = ffmpeg();
    no_face.args(["-f", "lavfi", "-i", &no_face_source(), "-pix_fmt", "yuv420p"]);
    encode(no_face.args(ENCODING).arg(to.join(NO_FACE)))?;
    for (name, text) in
        [(SHOT_TRUTH, shot_truth()), (PEOPLE_TRUTH, people_truth()), (RECIPE, recipe.to_owned())]
    {
        let path = to.join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

/// The same bits on every machine with the same encoder: one thread, nothing of the day or the host.
const ENCODING: [&str; 16] = [
    "-c:v",
    "libx264",
    "-preset",
    "medium",
    "-crf",
    "18",
    "-g",
    "50",
    "-threads",
    "1",
    "-map_metadata",
    "-1",
    "-fflags",
    "+bitexact",
    "-flags:v",
    "+bitexact",
];

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]);
    command
}

fn encode(command: &mut Command) -> Result<()> {
    let done = process::capture(command)?;
    if done.status.success() {
        return Ok(());
    }
    let why = process::tail(&done.stderr, 2);
    Err(Error::new(exit::UNEXPECTED, format!("ffmpeg failed to compose the test clip: {why}")))
}

fn no_face_source() -> String {
    format!("testsrc2=size={SIZE}:rate={FPS}:duration=2")
}

/// Everything that decides the clips, to notice when they are out of date.
fn recipe() -> String {
    let inputs: String = PHOTOS.iter().map(|photo| format!("{} {}\n", photo.sha256, photo.file)).collect();
    let parts = [inputs, filter(), no_face_source(), ENCODING.join(" "), shot_truth(), people_truth()];
    format!("{}\n", hash::bytes(parts.join("\n").as_bytes()))
}

/// The filter graph: inputs are the parts of all shots in order.
fn filter() -> String {
    let mut graph = Vec::new();
    let mut input = 0;
    for (number, shot) in SHOTS.iter().enumerate() {
        let width = CANVAS.0 / shot.parts.len() as u32;
        let first = input;
        for part in shot.parts {
            graph.push(cell(input, part, width));
            input += 1;
        }
        graph.push(camera(number, first..input, shot));
    }
    let all: String = (0..SHOTS.len()).map(|number| format!("[shot{number}]")).collect();
    graph.push(format!("{all}concat=n={}[clip]", SHOTS.len()));
    graph.join(";")
}

/// A part of a photo as high as the canvas, before its own blurred magnification.
fn cell(input: usize, part: &Part, width: u32) -> String {
    let height = CANVAS.1;
    let Part { width: w, height: h, .. } = part;
    format!(
        "[{input}:v]crop={w}:{h}:0:0,split[back{input}][front{input}];\
         [back{input}]scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height},\
         gblur=sigma=40[blur{input}];\
         [front{input}]scale=-2:{height}[sharp{input}];\
         [blur{input}][sharp{input}]overlay=(W-w)/2:0,setsar=1,format=yuv444p[cell{input}]"
    )
}

/// Parts side by side, and the camera moving over them.
fn camera(number: usize, inputs: std::ops::Range<usize>, shot: &Shot) -> String {
    let together = if inputs.len() > 1 { format!("hstack=inputs={},", inputs.len()) } else { String::new() };
    let cells: String = inputs.map(|input| format!("[cell{input}]")).collect();
    let frames = shot.frames;
    let between = |a: f64, b: f64| format!("({a}+({b}-{a})*on/{})", frames - 1);
    let (zoom, x, y) =
        (between(shot.from.0, shot.to.0), between(shot.from.1, shot.to.1), between(shot.from.2, shot.to.2));
    format!(
        "{cells}{together}zoompan=z='{zoom}':x='iw*{x}-iw/zoom/2':y='ih*{y}-ih/zoom/2':\
         d={frames}:s={SIZE}:fps={FPS},format=yuv420p[shot{number}]"
    )
}

fn shot_truth() -> String {
    let mut text = String::from("shot,first_frame,end_frame_exclusive\n");
    let mut first = 0;
    for (number, shot) in SHOTS.iter().enumerate() {
        let end = first + shot.frames;
        text += &format!("{number},{first},{end}\n");
        first = end;
    }
    text
}

fn people_truth() -> String {
    let mut text = String::from("shot,people\n");
    for (number, shot) in SHOTS.iter().enumerate() {
        let people: Vec<_> = shot.parts.iter().map(|part| part.photo.person).collect();
        text += &format!("{number},{}\n", people.join("+"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_follows_from_the_shots() {
        assert!(shot_truth().ends_with("\n8,535,600\n"), "{}", shot_truth());
        assert!(people_truth().contains("\n5,obama+biden\n"), "{}", people_truth());
    }

    #[test]
    fn the_graph_names_every_input_once() {
        let graph = filter();
        for input in 0..10 {
            assert_eq!(graph.matches(&format!("[{input}:v]")).count(), 1);
        }
        assert!(!graph.contains("[10:v]"));
    }

    #[test]
    fn the_camera_stays_inside_the_canvas() {
        for shot in &SHOTS {
            for (zoom, x, y) in [shot.from, shot.to] {
                let half = 0.5 / zoom - 1e-9;
                assert!(x >= half && x <= 1.0 - half, "{shot:?}");
                assert!(y >= half && y <= 1.0 - half, "{shot:?}");
            }
        }
    }
}
