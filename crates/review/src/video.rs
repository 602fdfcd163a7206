//! The video: the original file in ranges of bytes, or a conversion by the program `ffmpeg` for the browser.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use run::RunReader;
use run::manifest::VideoFile;
use schema::tables::{Frame, Video};
use serde::Serialize;

/// Added to a time, seconds, so that the frame of that time is not missed by rounding.
const ROUNDING_SECS: f64 = 0.002;
/// By how much `ffmpeg` starts to search for a key frame too early when a copied stream has B-frames, seconds: 3/23
/// (`ffmpeg_opt.c`). Without a correction, a time at a key frame gives the key frame before it.
const EARLIER_SECS: f64 = 3.0 / 23.0;

/// How the browser plays the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// The file as it is.
    Direct,
    /// The video stream as it is, in another container; playing starts at a key frame.
    Remux,
    /// The video encoded again while it plays.
    Transcode,
    /// No video.
    Missing,
}

/// Data of the video for the page.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Facts {
    /// Name of the file.
    pub(crate) name: String,
    /// Duration, seconds.
    pub(crate) duration: f64,
    /// Size of the upright frame, pixels.
    pub(crate) width: i64,
    /// Size of the upright frame, pixels.
    pub(crate) height: i64,
    pub(crate) mode: Mode,
    /// Whether `ffmpeg` is installed, to convert a video that the browser does not play.
    pub(crate) has_ffmpeg: bool,
    /// Reason why the page has no video, in one or two sentences; `None` if it has one.
    pub(crate) problem: Option<String>,
    /// Times of key frames, seconds, for [`Mode::Remux`].
    pub(crate) keys: Vec<f64>,
}

/// The video of a run.
#[derive(Debug, Clone)]
pub(crate) struct VideoSource {
    pub(crate) facts: Facts,
    file: Option<PathBuf>,
}

impl VideoSource {
    /// Finds the video of a run; `given` is the file of `--video`.
    ///
    /// # Errors
    /// When the content of the given file differs from the video of the run, and when a table cannot be read.
    pub(crate) fn find(
        run: &RunReader,
        given: Option<&Path>,
        frames: &[Frame],
    ) -> Result<Self, crate::Error> {
        let recorded = run.video_file()?;
        let video: Video = run.read_one()?;
        let (file, problem) = match given {
            Some(path) if is_file_of(path, recorded, true) => (Some(path.to_path_buf()), None),
            Some(path) => return Err(crate::Error::OtherVideo { path: path.to_path_buf() }),
            None => {
                let path = Path::new(&recorded.path);
                match is_file_of(path, recorded, false) {
                    true => (Some(path.to_path_buf()), None),
                    false if path.is_file() => {
                        (None, Some("The video file has changed since the run, so it is not shown."))
                    }
                    false => (None, Some("The video file is not where it was when the run was made.")),
                }
            }
        };
        let has_ffmpeg = file.is_some() && has_ffmpeg();
        let mode = match file {
            Some(_) => mode(&video, &recorded.path),
            None => Mode::Missing,
        };
        let (mode, problem) = match mode {
            Mode::Remux | Mode::Transcode if !has_ffmpeg => (
                Mode::Missing,
                Some("Browsers do not play this kind of video; the program `ffmpeg` can convert it."),
            ),
            mode => (mode, problem),
        };
        let hint = match (mode, &file) {
            (Mode::Missing, None) => " Start `facetrack review` with `--video FILE`.",
            (Mode::Missing, Some(_)) => " Install `ffmpeg` and start `facetrack review` again.",
            _ => "",
        };
        let keys =
            frames.iter().filter(|frame| frame.is_key && mode == Mode::Remux).map(|frame| frame.t_secs);
        let facts = Facts {
            name: video.file_name.clone(),
            duration: video.duration_secs,
            width: video.width,
            height: video.height,
            mode,
            has_ffmpeg,
            problem: problem.map(|problem| format!("{problem}{hint}")),
            keys: keys.collect(),
        };
        Ok(Self { facts, file })
    }

    /// Returns the original file, its length in bytes, and its media type; `None` if the file cannot be opened.
    pub(crate) fn open(&self) -> Option<(File, u64, &'static str)> {
        let path = self.file.as_ref()?;
        let file = File::open(path).ok()?;
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        let is_webm = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("webm"));
        Some((file, length, if is_webm { "video/webm" } else { "video/mp4" }))
    }

    /// Starts `ffmpeg` at a time in seconds; `ffmpeg` writes fragmented MP4. `None` if `ffmpeg` cannot be started.
    pub(crate) fn convert(&self, from_secs: f64, encode: bool) -> Option<Converted> {
        let path = self.file.as_ref().filter(|_| self.facts.has_ffmpeg)?;
        let mut command = Command::new("ffmpeg");
        let from_secs =
            from_secs.max(0.0) + if encode { ROUNDING_SECS } else { ROUNDING_SECS + EARLIER_SECS };
        command.args(["-nostdin", "-v", "error", "-ss", &format!("{from_secs:.4}"), "-i"]);
        // A name that begins with a protocol, such as `concat:`, is still a file.
        command.arg(format!("file:{}", path.display())).args(["-map", "0:v:0", "-map", "0:a:0?"]);
        match encode {
            true => {
                command.args(["-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-pix_fmt", "yuv420p"])
            }
            false => command.args(["-c:v", "copy"]),
        };
        command.args(["-vf", "scale='min(1280,iw)':-2"].iter().filter(|_| encode));
        command.args(["-c:a", "aac", "-ac", "2", "-movflags", "frag_keyframe+empty_moov+default_base_moof"]);
        command.args(["-f", "mp4", "pipe:1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let pipe = child.stdout.take()?;
        Some(Converted { child, pipe })
    }
}

/// A running conversion, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Converted {
    child: Child,
    pipe: ChildStdout,
}

impl Read for Converted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.pipe.read(buffer)
    }
}

impl Drop for Converted {
    fn drop(&mut self) {
        // The process may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns whether a path is the video file of the run. For the path in the manifest, size and modification time
/// suffice.
fn is_file_of(path: &Path, recorded: &VideoFile, by_hash: bool) -> bool {
    let Some(found) = VideoFile::stat(path).ok().filter(|_| path.is_file()) else { return false };
    let is_same = found.size_bytes == recorded.size_bytes && found.modified_ns == recorded.modified_ns;
    !by_hash && is_same
        || found.size_bytes == recorded.size_bytes
            && hash::file(path).is_ok_and(|sha256| sha256 == recorded.sha256)
}

/// Returns how present browsers play a video, by container and codec.
fn mode(video: &Video, path: &str) -> Mode {
    let is_mp4 = video.container.split(',').any(|name| name == "mp4");
    let is_webm = video.container.split(',').any(|name| name == "webm")
        && Path::new(path).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("webm"));
    match video.codec.as_str() {
        "h264" | "av1" | "vp9" if is_mp4 => Mode::Direct,
        "vp8" | "vp9" | "av1" if is_webm => Mode::Direct,
        "h264" | "av1" | "vp9" => Mode::Remux,
        _ => Mode::Transcode,
    }
}

fn has_ffmpeg() -> bool {
    let mut command = Command::new("ffmpeg");
    command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
        let done =
            Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    /// A second of red and a second of blue, with B-frames and a key frame at each beginning.
    #[test]
    fn a_copied_stream_begins_at_the_key_frame_of_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let [video, copied] = ["two.mkv", "copied.mp4"].map(|name| folder.path().join(name));
        let colours = ["red", "blue"].map(|colour| format!("color={colour}:size=64x64:rate=25:duration=1"));
        let inputs = ["-f", "lavfi", "-i", &colours[0], "-f", "lavfi", "-i", &colours[1]];
        let encode = ["-filter_complex", "concat", "-c:v", "libx264", "-bf", "2", "-x264-params"];
        let keys = "b-adapt=0:scenecut=0:keyint=25:min-keyint=25";
        ffmpeg(&[&inputs[..], &encode, &[keys, video.to_str().unwrap()]].concat());
        let facts = Facts {
            name: String::new(),
            duration: 2.0,
            width: 64,
            height: 64,
            mode: Mode::Remux,
            has_ffmpeg: true,
            problem: None,
            keys: vec![0.0, 1.0],
        };
        let source = VideoSource { facts, file: Some(video) };
        for (from_secs, is_blue) in [(0.0, false), (1.0, true)] {
            for encode in [false, true] {
                let mut bytes = Vec::new();
                source.convert(from_secs, encode).unwrap().read_to_end(&mut bytes).unwrap();
                std::fs::write(&copied, &bytes).unwrap();
                let frame = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
                let pixels = ffmpeg(&[&["-i", copied.to_str().unwrap()][..], &frame].concat());
                assert_eq!(pixels[2] > pixels[0], is_blue, "from {from_secs} s, encoded: {encode}");
            }
        }
    }
}
