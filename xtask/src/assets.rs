//! The clip with real faces that the tests run on, composed on the machine.
//!
//! Its photos are official portraits, works of the US government, out of a package under the MIT
//! licence. They are third-party pictures, so they stay in the cache and never enter the
//! repository. Who is in which shot is known by construction and written beside the clip.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use console::{Error, Result, process};
use fetch::Package;
use fetch::cache::{self, Scratch};
use serde::Deserialize;

const FACE_RECOGNITION: Package = Package {
    name: "face_recognition",
    version: "1.3.0",
    file: "face_recognition-1.3.0.tar.gz",
    sha256: "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
};
/// Folder of the photos inside the package.
const PHOTO_FOLDER: &str = "face_recognition-1.3.0/tests/test_images";

/// What the clip shows: two people, each returning several times and at several scales, once together.
const SCRIPT: &str = include_str!("clip.json");

/// Photos and shots of the clip.
#[derive(Debug, Deserialize)]
struct Script {
    photos: Vec<Photo>,
    shots: Vec<Shot>,
}

/// A photo of the package.
#[derive(Debug, Deserialize)]
struct Photo {
    file: String,
    sha256: String,
}

/// A shot: parts side by side, its length, and the camera's way.
#[derive(Debug, Deserialize)]
struct Shot {
    parts: Vec<Part>,
    frames: u32,
    from: View,
    to: View,
}

/// The upper left part of a photo, pixels, shown as high as the frame, and who is on it.
#[derive(Debug, Deserialize)]
struct Part {
    photo: String,
    width: u32,
    height: u32,
    person: String,
}

/// Where the camera looks: magnification, and the centre as fractions of width and height.
type View = (f64, f64, f64);

/// The canvas the camera moves over; three times the clip, so that slow moves stay smooth.
const CANVAS: (u32, u32) = (1920, 1080);
const SIZE: &str = "640x360";
const FPS: &str = "25";
/// The same bits on every machine with the same encoder: one thread, nothing of the day or the host.
const ENCODING: &str = "-c:v libx264 -preset medium -crf 18 -g 50 -threads 1 -map_metadata -1 -fflags +bitexact \
                        -flags:v +bitexact";

/// Nine shots of two people.
const CLIP: &str = "clip.mkv";
/// A clip without a face.
const NO_FACE: &str = "noface.mp4";
/// Columns shot, first_frame, end_frame_exclusive.
const SHOT_TRUTH: &str = "clip.shots.csv";
/// Columns shot, people; several are joined by `+`.
const PEOPLE_TRUTH: &str = "clip.people.csv";
const RECIPE: &str = "recipe.txt";

/// The composed files, and the variables by which the tests find them.
const FILES: [(&str, &str); 4] = [
    ("FACETRACK_CLIP", CLIP),
    ("FACETRACK_CLIP_SHOTS", SHOT_TRUTH),
    ("FACETRACK_CLIP_PEOPLE", PEOPLE_TRUTH),
    ("FACETRACK_CLIP_NO_FACE", NO_FACE),
];

/// Makes sure that the clips are there, composing them when their recipe has changed; returns the variables by
/// which the tests find clips and photos.
pub(crate) fn obtain() -> Result<Vec<(&'static str, OsString)>> {
    let script = script()?;
    let (dir, photos) = (cache::folder("clips")?, cache::folder("photos")?);
    let scratch = Scratch::new("clips")?;
    obtain_photos(&script, &photos, &scratch)?;
    let are_there = FILES.iter().all(|(_, file)| dir.join(file).is_file());
    if !are_there || fs::read_to_string(dir.join(RECIPE)).ok() != Some(script.recipe()) {
        script.compose(&photos, &scratch.path().join("clips"))?;
        scratch.publish("clips", &dir)?;
    }
    let mut found: Vec<_> = FILES.iter().map(|(variable, file)| (*variable, dir.join(file).into())).collect();
    found.push(("FACETRACK_PHOTOS_DIR", photos.into()));
    Ok(found)
}

/// The clip with two people, once [`obtain`] has made it.
pub(crate) fn clip() -> Result<PathBuf> {
    Ok(cache::folder("clips")?.join(CLIP))
}

fn script() -> Result<Script> {
    serde_json::from_str(SCRIPT).map_err(|e| Error::unexpected(format!("failed to read clip.json: {e}")))
}

fn obtain_photos(script: &Script, dir: &Path, scratch: &Scratch) -> Result<()> {
    for Photo { file, sha256 } in &script.photos {
        let path = dir.join(file);
        if path.is_file() {
            fetch::verify(&path, sha256)?;
            continue;
        }
        let archive = archive(dir, scratch)?;
        fetch::extract(&archive, &format!("{PHOTO_FOLDER}/{file}"), sha256, &scratch.path().join(file))?;
        scratch.publish(file, &path)?;
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

impl Script {
    fn compose(&self, photos: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to).map_err(Error::io("create", to))?;
        let encode = |file: &str, inputs: &[OsString], options: &[&str]| {
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-nostdin", "-v", "error", "-y"]).args(inputs).args(options);
            let done = process::capture(ffmpeg.args(ENCODING.split(' ')).arg(to.join(file)))?;
            if done.status.success() {
                return Ok(());
            }
            let why = process::tail(&done.stderr, 2);
            Err(Error::unexpected(format!("ffmpeg failed to compose the test clip: {why}")))
        };
        let parts = self.shots.iter().flat_map(|shot| &shot.parts);
        let inputs: Vec<_> = parts.flat_map(|part| ["-i".into(), photos.join(&part.photo).into()]).collect();
        let graph = ["-filter_complex_threads", "1", "-filter_complex", &self.filter(), "-map", "[clip]"];
        encode(CLIP, &inputs, &graph)?;
        let inputs = ["-f", "lavfi", "-i", &no_face_source()].map(OsString::from);
        encode(NO_FACE, &inputs, &["-pix_fmt", "yuv420p"])?;
        let texts =
            [(SHOT_TRUTH, self.shot_truth()), (PEOPLE_TRUTH, self.people_truth()), (RECIPE, self.recipe())];
        for (name, text) in texts {
            let path = to.join(name);
            fs::write(&path, text).map_err(Error::io("write", &path))?;
        }
        Ok(())
    }

    /// Everything that decides the clips, to notice when they are out of date.
    fn recipe(&self) -> String {
        let inputs: String =
            self.photos.iter().map(|photo| format!("{} {}\n", photo.sha256, photo.file)).collect();
        let (shots, people) = (self.shot_truth(), self.people_truth());
        let parts = [inputs, self.filter(), no_face_source(), ENCODING.to_owned(), shots, people];
        format!("{}\n", hash::bytes(parts.join("\n").as_bytes()))
    }

    /// The filter graph: inputs are the parts of all shots in order.
    fn filter(&self) -> String {
        let mut graph = Vec::new();
        let mut input = 0;
        for (number, shot) in self.shots.iter().enumerate() {
            let first = input;
            for part in &shot.parts {
                graph.push(cell(input, part, CANVAS.0 / shot.parts.len() as u32));
                input += 1;
            }
            graph.push(camera(number, first..input, shot));
        }
        let all: String = (0..self.shots.len()).map(|number| format!("[shot{number}]")).collect();
        graph.push(format!("{all}concat=n={}[clip]", self.shots.len()));
        graph.join(";")
    }

    fn shot_truth(&self) -> String {
        let mut text = String::from("shot,first_frame,end_frame_exclusive\n");
        let mut first = 0;
        for (number, shot) in self.shots.iter().enumerate() {
            let end = first + shot.frames;
            text += &format!("{number},{first},{end}\n");
            first = end;
        }
        text
    }

    fn people_truth(&self) -> String {
        let mut text = String::from("shot,people\n");
        for (number, shot) in self.shots.iter().enumerate() {
            let people: Vec<_> = shot.parts.iter().map(|part| part.person.as_str()).collect();
            text += &format!("{number},{}\n", people.join("+"));
        }
        text
    }
}

fn no_face_source() -> String {
    format!("testsrc2=size={SIZE}:rate={FPS}:duration=2")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_follows_from_the_shots() {
        let script = script().unwrap_or_else(|error| unreachable!("{error:?}"));
        assert!(script.shot_truth().ends_with("\n8,535,600\n"), "{}", script.shot_truth());
        assert!(script.people_truth().contains("\n5,obama+biden\n"), "{}", script.people_truth());
    }

    #[test]
    fn the_graph_names_every_input_once() {
        let graph = script().map(|script| script.filter()).unwrap_or_default();
        for input in 0..10 {
            assert_eq!(graph.matches(&format!("[{input}:v]")).count(), 1);
        }
        assert!(!graph.contains("[10:v]"));
    }

    #[test]
    fn the_camera_stays_inside_the_canvas() {
        for shot in script().iter().flat_map(|script| &script.shots) {
            for (zoom, x, y) in [shot.from, shot.to] {
                let half = 0.5 / zoom - 1e-9;
                assert!(x >= half && x <= 1.0 - half, "{shot:?}");
                assert!(y >= half && y <= 1.0 - half, "{shot:?}");
            }
        }
    }
}
