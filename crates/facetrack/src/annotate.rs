//! `facetrack run --annotate OUT`: the video with every face's box and name drawn in, by ffmpeg, from the
//! subtitles that `evaluate` wrote.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use console::{Error, Result, exit, process};

/// The subtitles, in the folder of the page.
const BOXES: &str = "boxes.ass";

/// How ffmpeg calls the containers that we write, by the ending of the file.
fn container(out: &Path) -> Result<&'static str> {
    match out.extension().and_then(|ending| ending.to_str()) {
        Some("mp4" | "m4v") => Ok("mp4"),
        Some("mkv") => Ok("matroska"),
        _ => {
            let message = format!("`{}` must end with .mp4 or .mkv", out.display());
            Err(Error::new(exit::USAGE, message).hint("use another file name with --annotate"))
        }
    }
}

/// What can be found wrong before anything runs: a container that we cannot write, the video itself as
/// target, a folder that is not there.
pub(crate) fn check(video: &Path, out: &Path) -> Result<()> {
    container(out)?;
    if fs::canonicalize(out).is_ok_and(|out| fs::canonicalize(video).is_ok_and(|video| video == out)) {
        let message = format!("--annotate would overwrite the video `{}`", video.display());
        return Err(Error::new(exit::USAGE, message).hint("use another file name with --annotate"));
    }
    let folder = absolute(out)?.parent().map(Path::to_path_buf).unwrap_or_default();
    if folder.is_dir() {
        return Ok(());
    }
    Err(Error::new(exit::USAGE, format!("the folder `{}` of --annotate does not exist", folder.display())))
}

/// Draws the boxes of the run into a copy of its video. The file is there when it is whole.
pub(crate) fn annotate(video: &Path, run_dir: &Path, out: &Path, quiet: bool) -> Result<()> {
    let (video, out) = (absolute(video)?, absolute(out)?);
    let part = unfinished(&out);
    let mut ffmpeg = command(&video, &run_dir.join("report"), &part, container(&out)?);
    if !quiet {
        eprintln!("writing boxes and names to {}", out.display());
        ffmpeg.arg("-stats");
    }
    let drawn = process::show(&mut ffmpeg).and_then(|()| {
        File::open(&part).and_then(|file| file.sync_all()).map_err(Error::io("write", &part))?;
        fs::rename(&part, &out).map_err(Error::io("rename", &part))
    });
    if drawn.is_err() {
        // The partial file is useless; a failure to remove it does not change the error.
        let _ = fs::remove_file(&part);
    }
    drawn.map_err(|error| {
        error.hint_unless_interrupted("see the messages of ffmpeg above; ffmpeg needs libx264 and libass")
    })
}

/// Runs in the folder of the subtitles: their name needs no escaping there, whatever the folder is called.
fn command(video: &Path, report: &Path, part: &Path, container: &str) -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.current_dir(report).args(["-nostdin", "-hide_banner", "-v", "error", "-y", "-i"]);
    // Most players want even sides.
    let filters = format!("ass={BOXES},pad=ceil(iw/2)*2:ceil(ih/2)*2,format=yuv420p");
    ffmpeg.arg(local(video)).args(["-vf", &filters, "-sn", "-dn", "-c:v", "libx264", "-preset", "veryfast"]);
    ffmpeg.args(["-crf", "20", "-c:a", "aac", "-f", container]).arg(local(part));
    ffmpeg
}

/// A name that ffmpeg takes for a file whatever it looks like.
fn local(path: &Path) -> OsString {
    let mut name = OsString::from("file:");
    name.push(path);
    name
}

fn unfinished(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("resolve", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_found_at_once() {
        let tell = |out: &str| {
            check(Path::new("Cargo.toml"), Path::new(out)).map_err(|error| (error.code, error.message)).err()
        };
        assert_eq!(tell("out.avi"), Some((2, "`out.avi` must end with .mp4 or .mkv".into())));
        assert!(tell("/no/such/folder/out.mp4").is_some_and(|(code, _)| code == 2));
        assert_eq!(tell("out.mkv"), None);
    }

    #[test]
    fn ffmpeg_runs_beside_the_subtitles_and_writes_an_unfinished_name() {
        let command = command(
            Path::new("/v/-a:b.mkv"),
            Path::new("/r/report"),
            &unfinished(Path::new("/o/x.mp4")),
            "mp4",
        );
        assert_eq!(command.get_current_dir(), Some(Path::new("/r/report")));
        let line = process::line(&command);
        assert!(line.contains("-i file:/v/-a:b.mkv -vf ass=boxes.ass,"), "{line}");
        assert!(line.ends_with("-f mp4 file:/o/x.mp4.tmp"), "{line}");
    }
}
